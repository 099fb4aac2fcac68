"""When what is kept has come to its end, and that one person is not two (PI-3.5, PIPL 19)."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.retention.errors import OrderMoveNotAllowed, TwoForDestruction
from broker.retention.lifecycle import MOVES, Action, State, check_move
from broker.retention.rules import Law, Line, ScheduleUnusable, approved, ends, read_schedule

AT = datetime(2026, 11, 23, tzinfo=UTC)
LAW = Law("法", "law")
SCHEDULE = (Line("records", "consent", 10, LAW), Line("records", "contract", 30, LAW), Line("records", "none", 5, LAW))


def test_the_schedule_that_is_shipped_can_be_read_and_says_why():
    lines = read_schedule()
    assert {"consent", "contract", "none", "vital_interests"} <= {line.lawful_basis for line in lines}
    assert all(line.law for line in lines)


@pytest.mark.parametrize(("data_class", "years"), [("paper-outpatient", 15), ("paper-inpatient", 30)])
def test_records_on_paper_are_kept_for_whole_years_whichever_day_they_begin(data_class, years):
    """医疗机构病历管理规定（2013年版）29: no less than so many years, leap days and all."""
    (line,) = [one for one in read_schedule() if one.data_class == data_class]
    assert line.standing == "counsel"
    for year in range(2000, 2060):
        assert datetime(year, 2, 28, tzinfo=UTC) + timedelta(days=line.days) >= datetime(year + years, 2, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"days": 0},
        {"days": "1"},
        {"law": "x"},
        {"law": {"zh": "x"}},
        {"law": {"zh": "x", "en": " "}},
        {"more": 1},
        {"days": True},
        {"standing": "hearsay"},
    ],
)
def test_a_schedule_that_is_none_is_refused(tmp_path, change):
    good = {"data_class": "records", "lawful_basis": "consent", "days": 1, "law": {"zh": "x", "en": "x"}, "standing": "house"}
    file = tmp_path / "schedule.json"
    for bad in ([{**good, **change}], [good, good], [[]], [{}]):
        file.write_text(json.dumps(bad))
        with pytest.raises(ScheduleUnusable):
            read_schedule(file)


@given(st.dictionaries(st.sampled_from(["consent", "contract", "none"]), st.integers(0, 100), min_size=1))
def test_data_are_kept_as_long_as_any_basis_needs_them(used):
    last = {basis: AT - timedelta(days=ago) for basis, ago in used.items()}
    days = {line.lawful_basis: line.days for line in SCHEDULE}
    assert ends(SCHEDULE, "records", last) == max(at + timedelta(days=days[basis]) for basis, at in last.items())


def test_what_the_schedule_does_not_speak_of_is_kept():
    assert ends(SCHEDULE, "records", {"none": AT, "statutory_duty": AT}) is None
    assert ends(SCHEDULE, "pictures", {"none": AT}) is None
    assert ends(SCHEDULE, "records", {}) is None


def test_two_natural_persons():
    assert not approved([], "a")
    assert approved(["a"], "b")
    with pytest.raises(TwoForDestruction):
        approved(["a"], "a")


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("action", Action)
def test_only_what_the_table_names_is_possible(state, action):
    if (state, action) in MOVES:
        check_move(state, action)
        assert state is State.PROPOSED, "what was carried out is not undone"
    else:
        with pytest.raises(OrderMoveNotAllowed):
            check_move(state, action)
