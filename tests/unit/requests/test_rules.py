"""Clocks, grounds and moves of patients' requests (PIPL 44 to 50)."""

from datetime import UTC, date, datetime

import pytest

from broker.requests import lifecycle, rules
from broker.requests.errors import RequestMoveNotAllowed
from broker.requests.lifecycle import Action, State
from broker.requests.rules import By, Ground, Kind


def test_the_last_day_itself_is_in_time():
    last = date(2026, 12, 14)
    assert not rules.is_late(last, None, last)
    assert rules.is_late(last, None, date(2026, 12, 15))
    assert not rules.is_late(last, datetime(2026, 12, 14, 9, tzinfo=UTC), date(2027, 1, 1))
    assert rules.is_late(last, datetime(2026, 12, 15, 9, tzinfo=UTC), date(2026, 12, 15))


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
