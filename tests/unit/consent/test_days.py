"""Days of a consent that name no zone (TM-5.2, QA-4.2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.consent import days, times

SHANGHAI = ZoneInfo("Asia/Shanghai")
ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu"]


def period(start=None, end=None, zone=SHANGHAI):
    given_ = {name: value for name, value in (("start", start), ("end", end)) if value is not None}
    return days.placed({"provision": {"period": given_}}, zone)["provision"]["period"]


@pytest.mark.parametrize(
    ("start", "end", "placed"),
    [
        ("2026-12-31", "2026-12-31", ("2026-12-31T00:00:00+08:00", "2026-12-31T23:59:59+08:00")),
        ("2026-02", "2026-02", ("2026-02-01T00:00:00+08:00", "2026-02-28T23:59:59+08:00")),
        ("2026-12", "2026-12", ("2026-12-01T00:00:00+08:00", "2026-12-31T23:59:59+08:00")),
        ("2026", "2026", ("2026-01-01T00:00:00+08:00", "2026-12-31T23:59:59+08:00")),
        ("2028-02-29", "2028-02", ("2028-02-29T00:00:00+08:00", "2028-02-29T23:59:59+08:00")),
        # What names its zone, and what can't be read, is left to the reader.
        ("2026-12-31T10:00:00Z", "2026-12-31T10:00:00+01:00", ("2026-12-31T10:00:00Z", "2026-12-31T10:00:00+01:00")),
        ("2026-02-30", "9999-12-31", ("2026-02-30", "9999-12-31")),
        ("0000", "２０２６", ("0000", "２０２６")),
    ],
)  # fmt: skip
def test_a_day_is_the_hospital_s(start, end, placed):
    found = period(start, end)
    assert (found["start"], found["end"]) == placed


def test_a_day_on_which_clocks_change_is_as_long_as_it_is():
    found = period("2026-03-08", "2026-03-08", ZoneInfo("America/New_York"))
    first, last = (datetime.fromisoformat(found[name]) for name in ("start", "end"))
    assert last.timestamp() - first.timestamp() == timedelta(hours=23).total_seconds() - 1


def test_only_periods_are_looked_at_wherever_rules_nest():
    day = {"start": "2026-01-01", "end": "2026-01-02"}
    given_ = {
        "dateTime": "2026-01-01", "period": dict(day),
        "provision": [{"period": dict(day), "dataPeriod": dict(day), "provision": [{"period": {**day, "id": "x"}}, 5]}],
        "contained": [{"resourceType": "Group", "member": [{"period": dict(day)}]}],
        "identifier": [{"period": dict(day)}],
    }  # fmt: skip
    before = json.dumps(given_)
    found = days.placed(given_, SHANGHAI)
    assert json.dumps(given_) == before
    placed = {"start": "2026-01-01T00:00:00+08:00", "end": "2026-01-02T23:59:59+08:00"}
    assert found["period"] == placed
    assert found["provision"][0]["period"] == placed
    assert found["provision"][0]["dataPeriod"] == day
    assert found["provision"][0]["provision"] == [{"period": {**placed, "id": "x"}}, 5]
    assert found["contained"][0]["member"][0]["period"] == placed
    assert found["identifier"] == given_["identifier"]
    assert found["dateTime"] == "2026-01-01"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda of: st.lists(of, max_size=3) | st.dictionaries(
    st.sampled_from(["period", "provision", "contained", "member", "start", "end", "type"]), of, max_size=4), max_leaves=12))  # fmt: skip
def test_nothing_that_is_json_makes_it_fail(value):
    days.placed(value if isinstance(value, dict) else {"provision": value}, SHANGHAI)


@given(st.dates(min_value=datetime(1971, 1, 1).date(), max_value=datetime(2100, 1, 1).date()), st.sampled_from(ZONES))  # noqa: DTZ001  (Days, not moments.)
def test_a_period_holds_through_its_days_there_and_no_second_longer(day, name):
    zone = ZoneInfo(name)
    span = times.read_period(period(day.isoformat(), day.isoformat(), zone))
    assert datetime.fromtimestamp(span.start, UTC).astimezone(zone).date() == day
    assert datetime.fromtimestamp(span.start - 1, UTC).astimezone(zone).date() < day
    assert datetime.fromtimestamp(span.end, UTC).astimezone(zone).date() == day
    assert datetime.fromtimestamp(span.end + 1, UTC).astimezone(zone).date() > day
