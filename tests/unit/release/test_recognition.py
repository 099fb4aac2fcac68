"""When a result may be taken over instead of repeated (RS-2.2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import Invalid
from broker.policy import service as policy
from broker.release import recognition
from broker.release.answers import Item
from broker.release.recognition import Examination, Question, UnknownExamination

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HBA1C = Examination("hba1c", "糖化血红蛋白", "Haemoglobin A1c", frozenset({"http://loinc.org|4548-4", "urn:local|HBA1C"}), 90)
ASKED = Question(HBA1C, "p1", NOW)


def result(effective: str | dict | None = "2026-11-01T08:00:00+08:00", status: str = "final") -> bytes:
    element = {} if effective is None else {"effectivePeriod" if isinstance(effective, dict) else "effectiveDateTime": effective}
    return json.dumps({"resourceType": "Observation", "id": "o1", "status": status, **element}).encode()


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        (result(), True),
        (result("2026-11-23"), True),  # today, at whatever hour
        (result("2026-08-25"), True),  # the last day
        (result("2026-08-24"), False),
        (result("2026-08-25T11:59:58Z"), False),
        (result("2026-11"), True),
        (result("2026-07"), False),
        (result("2026-11-23T12:00:01Z"), False),  # to come
        (result("2027-01-01"), False),
        (result(None), False),
        (result("soon"), False),
        (result("ge2026-11-01"), False),
        (result({"start": "2026-10-01", "end": "2026-11-01"}), True),
        (result({"start": "2026-11-01"}), False),
        (result({"start": "2026-05-01", "end": "2026-06-01"}), False),
        (result(status="amended"), True),
        (result(status="preliminary"), False),
        (result(status="entered-in-error"), False),
        (result(status="cancelled"), False),
    ],
)
def test_what_counts(body, counts):
    assert (recognition.newest(ASKED, [body]) is not None) == counts


@given(st.lists(st.integers(-400, 40), max_size=8))
def test_the_newest_that_counts_is_named(days):
    bodies = [result((NOW + timedelta(days=each)).isoformat().replace("+00:00", "Z")) for each in days]
    found = recognition.newest(ASKED, bodies)
    good = [each for each in days if -90 <= each <= 0]
    assert (found is None) == (not good)
    if found is not None:
        assert days[found[0]] == max(good)
        assert found[0] == days.index(max(good))


def test_the_answer_says_where_the_result_is_and_not_what_it_is():
    body = json.loads(result())
    body["valueQuantity"] = {"value": 7.7}
    items = (Item("Observation", "o1", 3, "aa"),)
    ready = recognition.ready(ASKED, uuid4(), (("Observation", "o1", json.dumps(body).encode()),), items, 0)
    told = json.loads(ready.body)
    assert told["recognised"] is True
    assert told["result"] == {
        "reference": "Observation/o1", "effective": "2026-11-01T08:00:00+08:00", "status": "final",
        "recognised_until": "2027-01-30T08:00:00+08:00",
    }  # fmt: skip
    assert b"7.7" not in ready.body
    assert (ready.items, ready.answered, ready.media) == (items, "yes", "application/json")


def test_no_is_one_answer():
    nothing = recognition.ready(ASKED, uuid4(), (), (), 0)
    old = recognition.ready(ASKED, uuid4(), (("Observation", "o1", result("2020-01-01")),), (Item("Observation", "o1", 1, "aa"),), 4)
    assert nothing.body == old.body
    assert json.loads(nothing.body)["recognised"] is False
    assert nothing.items == old.items == ()
    assert nothing.answered == old.answered == "no"


@pytest.mark.parametrize(
    ("pairs", "path"),
    [
        ([("patient", "p1")], "/code"),
        ([("code", "http://loinc.org|4548-4")], "/patient"),
        ([("patient", "p1"), ("code", "4548-4")], "/code"),
        ([("patient", "p1"), ("code", "http://loinc.org|4548-4,http://loinc.org|718-7")], "/code"),
        ([("patient", "p 1"), ("code", "http://loinc.org|4548-4")], "/patient"),
        ([("patient", "p1"), ("patient", "p2"), ("code", "http://loinc.org|4548-4")], "/patient"),
        ([("patient", "p1"), ("code", "http://loinc.org|4548-4"), ("days", "9999")], "/"),
        ([("patient", "p1"), ("code", "http://loinc.org|4548-4"), ("_include", "*")], "/"),
    ],
)
def test_a_question_that_is_none(pairs, path):
    with pytest.raises(Invalid) as raised:
        recognition.question(pairs, [HBA1C], NOW)
    assert path in {problem.path for problem in raised.value.problems}


def test_codes_of_one_examination_are_equal():
    for code in HBA1C.codes:
        asked = recognition.question([("code", code), ("patient", "p1")], [HBA1C], NOW)
        assert asked == ASKED
        assert set(asked.wanted.filters[0][1].split(",")) == HBA1C.codes
    with pytest.raises(UnknownExamination):
        recognition.question([("code", "http://loinc.org|1"), ("patient", "p1")], [HBA1C], NOW)


def test_no_code_is_in_two_examinations():
    rules = recognition.examinations(policy.recognition())
    codes = [code for one in rules for code in one.codes]
    assert len(codes) == len(set(codes)) > 20
