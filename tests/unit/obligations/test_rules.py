"""What a release obliges to, until when, and who may answer (PI-3.5, DS4P)."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.obligations.errors import EvidenceRequired, ObligationMoveNotAllowed
from broker.obligations.lifecycle import MOVES, Action, Done, Part, State, check_move
from broker.obligations.rules import ATTEST_DAYS, check_answer, due, is_overdue, suspends

SENT = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
ENDS = datetime(2027, 1, 1, tzinfo=UTC)


def test_what_has_days_is_due_then_and_the_rest_is_confirmed_at_the_end():
    found = {one.code: one.on for one in due(["DELAU:30", "NORDSCLCD", "ENCRYPT"], SENT, ENDS)}
    end = (ENDS + timedelta(days=ATTEST_DAYS)).date()
    assert found == {"DELAU": date(2026, 12, 23), "NORDSCLCD": end, "ENCRYPT": end}
    assert due([], SENT, ENDS) == ()


@given(st.lists(st.sampled_from(["DELAU:0", "DELAU:30", "NOREUSE", "ENCRYPT", "DELAU:x", ""])), st.integers(0, 400))
def test_nothing_owed_is_lost_and_none_stands_twice(codes, days):
    found = due(codes, SENT, ENDS)
    assert {one.code for one in found} == {code.partition(":")[0] for code in codes if code}
    assert len(set(found)) == len(found)
    day = SENT.date() + timedelta(days=days)
    for one in found:
        assert is_overdue(one.on, day) is (day > one.on)
        assert not suspends(one.on, day, 7) or is_overdue(one.on, day)
    assert not suspends(day, day + timedelta(days=7), 7)
    assert suspends(day, day + timedelta(days=8), 7)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("part", Part)
def test_only_what_the_table_names_is_possible(state, action, part):
    move = MOVES.get((state, action))
    if move is not None and move.by is part:
        assert check_move(state, action, part) is move
    else:
        with pytest.raises(ObligationMoveNotAllowed):
            check_move(state, action, part)


def test_new_data_open_every_answer_again():
    assert {state for state, action in MOVES if action is Action.RENEW} == set(State)


@pytest.mark.parametrize("done", Done)
def test_an_answer_says_how_and_where_it_can_be_seen(done):
    check_answer(done, "wiped", "log 7")
    if done is not Done.NOTHING_HELD:
        for method, evidence in (("", "x"), ("x", " ")):
            with pytest.raises(EvidenceRequired):
                check_answer(done, method, evidence)
