"""The tables forget no case: every state with every action, for every part that somebody may play."""

from datetime import UTC, datetime, timedelta
from itertools import chain, combinations

import pytest

from broker.applications.errors import MoveNotAllowed, NotYourMove
from broker.applications.lifecycle import (
    FINAL,
    GRANT_FINAL,
    GRANT_MOVES,
    MOVES,
    Action,
    GrantAction,
    GrantState,
    Part,
    State,
    check_grant_move,
    check_move,
    grant_state_at,
    possible,
    possible_with_grant,
)

R, H, M, C = Part.REQUESTER, Part.DEPARTMENT_HEAD, Part.INFORMATION_MANAGER, Part.CLOCK

#: Written apart from the code, from the hospital's rules (RS-5.3): state, action, who, to.
APPLICATION = """
draft      edit      requester                            draft
draft      submit    requester                            submitted
draft      withdraw  requester                            withdrawn
returned   edit      requester                            returned
returned   submit    requester                            submitted
returned   withdraw  requester                            withdrawn
submitted  assess    department_head,information_manager  submitted
submitted  endorse   department_head                      endorsed
submitted  recuse    department_head,owning_head,information_manager  submitted
submitted  return    department_head,information_manager  returned
submitted  refuse    department_head,information_manager  refused
submitted  withdraw  requester                            withdrawn
endorsed   assess    department_head,information_manager  endorsed
endorsed   agree     owning_head                          endorsed
endorsed   legality  information_manager                  endorsed
endorsed   necessity information_manager                  endorsed
endorsed   concur    information_manager                  endorsed
endorsed   recuse    department_head,owning_head,information_manager  endorsed
endorsed   approve   information_manager                  approved
endorsed   narrow    information_manager                  approved
endorsed   return    owning_head,information_manager                  returned
endorsed   refuse    owning_head,information_manager                  refused
endorsed   withdraw  requester                            withdrawn
"""

GRANT = """
awaiting   accept    recipient            active
awaiting   revoke    information_manager,clock  revoked
awaiting   close     requester            closed
awaiting   replace   information_manager  closed
awaiting   expire    clock                expired
active     replace   information_manager  closed
suspended  replace   information_manager  closed
active     suspend   information_manager,clock  suspended
active     revoke    information_manager,clock  revoked
active     close     requester            closed
active     expire    clock                expired
suspended  resume    information_manager  active
suspended  revoke    information_manager,clock  revoked
suspended  close     requester            closed
suspended  expire    clock                expired
"""


def table(text):
    rows = (line.split() for line in text.strip().splitlines())
    return {(state, action): (set(by.split(",")), to) for state, action, by, to in rows}


def every_set_of_parts():
    return [frozenset(some) for some in chain.from_iterable(combinations(Part, size) for size in range(len(Part) + 1))]


@pytest.mark.parametrize(
    ("check", "states", "actions", "expected"),
    [(check_move, State, Action, table(APPLICATION)), (check_grant_move, GrantState, GrantAction, table(GRANT))],
    ids=["application", "grant"],
)
def test_every_state_with_every_action_in_every_part(check, states, actions, expected):
    for state in states:
        for action in actions:
            by, to = expected.get((state.value, action.value), (None, None))
            for parts in every_set_of_parts():
                if by is None:
                    with pytest.raises(MoveNotAllowed):
                        check(state, action, parts)
                elif parts & by:
                    assert check(state, action, parts).to.value == to
                else:
                    with pytest.raises(NotYourMove):
                        check(state, action, parts)


def test_what_is_final_leads_nowhere_and_everything_else_somewhere():
    assert {State.APPROVED, State.REFUSED, State.WITHDRAWN} == FINAL
    assert {GrantState.REVOKED, GrantState.EXPIRED, GrantState.CLOSED} == GRANT_FINAL


def test_every_state_can_be_reached():
    for moves, first, states in ((MOVES, State.DRAFT, State), (GRANT_MOVES, GrantState.AWAITING, GrantState)):
        reached = {first}
        while more := {move.to for (state, _), move in moves.items() if state in reached} - reached:
            reached |= more
        assert reached == set(states)


def test_what_people_are_told_no_with_has_a_reason():
    needed = {action.value for moves in (MOVES, GRANT_MOVES) for (_, action), move in moves.items() if move.reason}
    assert needed == {"return", "refuse", "narrow", "recuse", "suspend", "resume", "revoke", "close"}


def test_only_what_takes_away_or_changes_nothing_may_be_done_unseen():
    unseen = {action.value for (_, action), move in MOVES.items() if not move.exact}
    assert unseen == {"withdraw", "assess", "recuse"}


def test_everything_that_decides_needs_four_eyes():
    deciding = {action.value for moves in (MOVES, GRANT_MOVES) for (_, action), move in moves.items() if move.decides}
    assert deciding == {"endorse", "agree", "concur", "approve", "narrow", "return", "refuse", "resume"}
    assert all(R not in move.by for move in MOVES.values() if move.decides)


def test_possible_is_what_check_lets_through():
    for state in State:
        for parts in every_set_of_parts():
            allowed = set()
            for action in Action:
                try:
                    check_move(state, action, parts)
                except (MoveNotAllowed, NotYourMove):
                    continue
                allowed.add(action)
            assert set(possible(state, parts)) == allowed
    assert set(possible_with_grant(GrantState.ACTIVE, {M})) == {GrantAction.SUSPEND, GrantAction.REVOKE, GrantAction.REPLACE}
    assert set(possible_with_grant(GrantState.ACTIVE, {C})) == {GrantAction.SUSPEND, GrantAction.REVOKE, GrantAction.EXPIRE}
    assert possible_with_grant(GrantState.REVOKED, set(Part)) == {}
    assert set(possible(State.SUBMITTED, {H})) == {Action.ASSESS, Action.ENDORSE, Action.RECUSE, Action.RETURN, Action.REFUSE}


def test_past_its_end_a_grant_is_expired_whatever_is_written():
    end = datetime(2026, 12, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    for stored in GrantState:
        assert grant_state_at(stored, end, end - second) is stored
        assert grant_state_at(stored, end, end) is (stored if stored in GRANT_FINAL else GrantState.EXPIRED)
        assert grant_state_at(stored, end, end + second) is (stored if stored in GRANT_FINAL else GrantState.EXPIRED)
