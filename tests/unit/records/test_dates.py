from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.records.dates import clinical_dates, span
from tests.factories.records import condition, observation


def _at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", _at(2026, 1, 1), _at(2026, 12, 31, 23, 59, 59, 999999)),
        ("2024-02", _at(2024, 2, 1), _at(2024, 2, 29, 23, 59, 59, 999999)),
        ("2026-12", _at(2026, 12, 1), _at(2026, 12, 31, 23, 59, 59, 999999)),
        ("2026-03-01", _at(2026, 3, 1), _at(2026, 3, 1, 23, 59, 59, 999999)),
        ("2026-03-01T08:00:00+08:00", _at(2026, 3, 1), _at(2026, 3, 1)),
        ("2026-03-01T08:00:00.1234567Z", _at(2026, 3, 1, 8, 0, 0, 123456), _at(2026, 3, 1, 8, 0, 0, 123456)),
        ("2016-12-31T23:59:60Z", _at(2016, 12, 31, 23, 59, 59), _at(2016, 12, 31, 23, 59, 59)),
    ],
)
def test_a_date_is_the_whole_time_it_names(text: str, first: datetime, last: datetime):
    assert span(text) == (first, last)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13", "2026-02-30", "20260301", "2026-03-01T25:00:00Z"])
def test_what_is_no_date_is_none(text: str):
    assert span(text) is None


@given(
    st.text(max_size=30)
    | st.from_regex(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][01][0-9]:00))?)?)?", fullmatch=True)
)
def test_any_text_is_a_span_or_none(text: str):
    found = span(text)
    assert found is None or found[0] <= found[1]


def test_the_best_date_counts():
    assert clinical_dates(observation(issued="2026-09-09T00:00:00Z")) == (_at(2026, 3, 1), _at(2026, 3, 1))
    without = {name: value for name, value in observation(issued="2026-09-09T00:00:00Z").items() if name != "effectiveDateTime"}
    assert clinical_dates(without)[0] == _at(2026, 9, 9)
    assert clinical_dates({"resourceType": "Patient", "birthDate": "1980-01-01"}) == (None, None)


def test_a_period_may_be_open_at_either_end():
    assert clinical_dates({"resourceType": "Encounter", "period": {"start": "2026-01-01"}}) == (_at(2026, 1, 1), None)
    begins, ends = clinical_dates({"resourceType": "Encounter", "period": {"end": "2026-01-01"}})
    assert begins < _at(100, 1, 1)
    assert ends == _at(2026, 1, 1, 23, 59, 59, 999999)
    assert clinical_dates({"resourceType": "Appointment", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z"}) == (
        _at(2026, 1, 1),
        _at(2026, 1, 1, 1),
    )


def test_a_state_lasts_until_it_abates():
    active = {"clinicalStatus": {"coding": [{"code": "active"}]}}
    over = {"clinicalStatus": {"coding": [{"code": "resolved"}]}}
    assert clinical_dates(condition(**active)) == (_at(2020, 1, 1), None)
    assert clinical_dates(condition(**over)) == (_at(2020, 1, 1), _at(2020, 1, 1, 23, 59, 59, 999999))
    assert clinical_dates(condition(**over, recordedDate="2021-01-01T00:00:00Z"))[1] == _at(2021, 1, 1)
    assert clinical_dates(condition(abatementDateTime="2022-02-02"))[1] == _at(2022, 2, 2, 23, 59, 59, 999999)
