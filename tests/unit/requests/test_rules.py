"""Clocks, grounds and moves of patients' requests (PIPL 44 to 50)."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.requests import lifecycle, rules
from broker.requests.errors import RequestMoveNotAllowed
from broker.requests.lifecycle import Action, State
from broker.requests.rules import By, Ground, Kind


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 60))
def test_the_clock_counts_working_days(received, days):
    last = rules.due(received, days)
    between = [date.fromordinal(one) for one in range(received.toordinal() + 1, last.toordinal() + 1)]
    assert sum(one.weekday() < 5 for one in between) == days
    assert last.weekday() < 5
    assert not rules.is_late(last, None, last)
    assert rules.is_late(last, None, date.fromordinal(last.toordinal() + 1))


def test_fifteen_working_days_from_a_monday_are_three_weeks():
    assert rules.due(date(2026, 11, 23)) == date(2026, 12, 14)


def test_next_of_kin_may_see_copy_correct_and_delete_and_no_more():
    assert {kind for kind in Kind if rules.may_ask(kind, By.NEXT_OF_KIN)} == {Kind.COPY, Kind.CORRECTION, Kind.DELETION, Kind.EXPLANATION}
    assert all(rules.may_ask(kind, by) for kind in Kind for by in (By.SELF, By.GUARDIAN))


def test_a_ground_fits_what_is_asked_and_who_asks():
    for kind in Kind:
        assert Ground.NOT_ENTITLED not in rules.grounds(kind, By.SELF)
        assert Ground.NOT_ENTITLED in rules.grounds(kind, By.GUARDIAN)
        assert rules.grounds(kind, By.SELF)[0] is Ground.NOT_IDENTIFIED
    assert Ground.KEPT_BY_LAW not in rules.grounds(Kind.COPY, By.SELF)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("action", list(Action))
def test_what_is_not_in_the_table_is_refused(state, action):
    if action in lifecycle.possible(state):
        assert lifecycle.check_move(state, action) in State
    else:
        with pytest.raises(RequestMoveNotAllowed):
            lifecycle.check_move(state, action)


def test_nobody_is_answered_before_they_were_identified():
    assert not {Action.FULFIL, Action.ORDER} & set(lifecycle.possible(State.TO_IDENTIFY))
