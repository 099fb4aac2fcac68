"""Notices and the rules of asking: what the law wants told, who may answer, when the same may be asked again (PI-3.1; PIPL 14-17, 23, 29-31)."""

from __future__ import annotations

import copy
import dataclasses
from datetime import UTC, date, datetime, timedelta

import pytest

from broker.consent import asking_rules, notices
from broker.consent.asking_rules import Answerer, Scope
from broker.fhir.ages import full_years

GIVEN = notices.given()[0]


@pytest.mark.parametrize("notice", notices.given(), ids=lambda one: one["name"])
def test_the_notices_that_come_with_the_broker_are_whole(notice):
    assert notices.problems(notice) == []
    text = notices.rendered(notice, dict.fromkeys(notices.BLANKS, "CANARY"), "zh")
    assert "{" not in text.whole
    assert [name for name, _ in text.parts][:2] == ["title", "handler"]
    assert "—" in notices.rendered(notice, {}, "en").whole  # What is not known shows, instead of an empty place.


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("part", [*notices.required(("other-processor", "sensitive"))])
def test_a_notice_without_a_part_that_the_law_asks_for_is_refused(language, part):
    wrong = copy.deepcopy(GIVEN)
    del wrong["texts"][language][part]
    (problem,) = notices.problems(wrong)
    assert (problem.path, problem.code) == (f"/texts/{language}/{part}", "missing")
    assert "PIPL" in problem.message
    wrong["texts"][language][part] = "  "
    assert [one.code for one in notices.problems(wrong)] == ["missing"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "With Spaces"}, "name"),
        ({"kinds": ["sensitive", "sensitive"]}, "kinds"),
        ({"kinds": ["free-for-all"]}, "kinds"),
        ({"kinds": "sensitive"}, "kinds"),
        ({"texts": {"zh": GIVEN["texts"]["zh"]}}, "languages"),
        ({"texts": {"zh": GIVEN["texts"]["zh"], "en": "x"}}, "shape"),
        ({"texts": {"zh": GIVEN["texts"]["zh"], "en": GIVEN["texts"]["en"] | {"other": "x"}}}, "unknown-part"),
        ({"texts": {"zh": GIVEN["texts"]["zh"], "en": GIVEN["texts"]["en"] | {"title": "{patient}"}}}, "blank"),
        ({"texts": {"zh": GIVEN["texts"]["zh"], "en": GIVEN["texts"]["en"] | {"title": "{purpose.__class__}"}}}, "blank"),
        ({"texts": {"zh": GIVEN["texts"]["zh"], "en": GIVEN["texts"]["en"] | {"title": "{purpose!r:>99}"}}}, "blank"),
        ({"texts": {"zh": GIVEN["texts"]["zh"], "en": GIVEN["texts"]["en"] | {"title": "{"}}}, "blank"),
        ({"extra": 1}, "shape"),
    ],
)
def test_odd_notices_are_refused(change, code):
    assert code in {one.code for one in notices.problems(GIVEN | change)}


def test_what_is_no_notice():
    assert [one.code for one in notices.problems([])] == ["shape"]
    with_abroad = copy.deepcopy(GIVEN) | {"kinds": ["abroad"]}
    assert "PIPL 39" in {one.message.split("Required by ")[-1].rstrip(".") for one in notices.problems(with_abroad)}


TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("born", "years"),
    [("2012-11-23", 14), ("2012-11-24", 13), ("2012-11", 13), ("2012-10", 14), ("2012", 13), ("2011", 14), (None, None), ("", None), ("soon", None)],
)
def test_an_incomplete_birth_date_counts_as_the_youngest_it_allows(born, years):
    assert full_years(born, TODAY) == years


CHILD, ADULT = 13, 14


@pytest.mark.parametrize(
    ("answerer", "years", "evidence", "codes"),
    [
        (Answerer("self"), ADULT, set(), []),
        (Answerer("self"), CHILD, set(), ["guardian-needed"]),
        (Answerer("self"), None, set(), ["age-unknown"]),
        (Answerer("guardian", "parent"), CHILD, set(), []),
        (Answerer("guardian"), CHILD, set(), ["missing"]),
        (Answerer("guardian", "parent"), ADULT, set(), ["guardian-not-needed"]),
        (Answerer("guardian", "spouse", "no-capacity"), ADULT, set(), ["authority-missing"]),
        (Answerer("guardian", "spouse", "no-capacity"), ADULT, {"document"}, []),
        (Answerer("guardian", "spouse", "no-capacity"), ADULT, {"witness"}, ["authority-missing"]),
    ],
)
def test_who_may_answer(answerer, years, evidence, codes):
    assert [one.code for one in asking_rules.who_may_answer(answerer, years, frozenset(evidence))] == codes


def test_health_data_always_need_a_separate_consent_and_others_add_theirs():
    assert asking_rules.separate_needed(other_processor=False, abroad=False) == {"sensitive"}
    assert asking_rules.separate_needed(other_processor=True, abroad=True) == {"sensitive", "other-processor", "abroad"}


@pytest.mark.parametrize(
    ("kinds", "separate", "evidence", "given", "codes"),
    [
        ({"other-processor", "sensitive"}, {"other-processor", "sensitive"}, {"document"}, True, []),
        ({"other-processor", "sensitive"}, {"other-processor", "sensitive"}, {"witness"}, True, []),
        ({"other-processor", "sensitive"}, {"sensitive"}, {"document"}, True, ["separate-consent-missing"]),
        ({"sensitive"}, {"other-processor", "sensitive"}, {"document"}, True, ["notice-does-not-say"]),
        ({"other-processor", "sensitive"}, {"other-processor", "sensitive"}, set(), True, ["evidence-missing"]),
        ({"other-processor", "sensitive"}, set(), set(), False, []),  # A refusal needs neither.
        ({"sensitive"}, set(), set(), False, ["notice-does-not-say"]),
    ],
)
def test_what_an_answer_must_come_with(kinds, separate, evidence, given, codes):
    needed = frozenset({"other-processor", "sensitive"})
    found = asking_rules.what_is_missing(kinds, frozenset(separate), needed, frozenset(evidence), given=given)
    assert [one.code for one in found] == codes


HELD = Scope("shengli", "TREAT", "fhir-api", frozenset({"a", "b"}), frozenset({"PSY"}), date(2027, 1, 1))


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({}, ()),
        ({"data": frozenset({"a"}), "sensitive": frozenset()}, ()),
        ({"purpose": "HRESCH"}, ("purpose",)),
        ({"method": "bulk-file"}, ("method",)),
        ({"recipient": "renhe"}, ("recipient",)),
        ({"data": frozenset({"a", "c"})}, ("types",)),
        ({"sensitive": frozenset({"HIV"})}, ("topics",)),
        ({"method": "bulk-file", "purpose": "HRESCH"}, ("purpose", "method")),
    ],
)
def test_another_purpose_method_or_type_asks_anew(change, reasons):
    """PIPL 14, second paragraph."""
    wanted = dataclasses.replace(HELD, until=TODAY, **change)
    assert asking_rules.asks_anew(HELD, wanted, TODAY) == reasons
    assert asking_rules.asks_anew(HELD, wanted, date(2027, 1, 2)) == (*reasons, "expired")


def test_a_refusal_is_respected_for_a_while():
    refused = datetime(2026, 11, 1, tzinfo=UTC)
    assert asking_rules.may_ask_from(refused, 90) == refused + timedelta(days=90)
    assert asking_rules.may_ask_from(None, 90) is None
