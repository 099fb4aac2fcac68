"""Random walks through the tables of moves: whatever people try, in whatever order, the four eyes are four and nothing revives what is over."""

from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.applications.errors import FourEyes, MoveNotAllowed, NotYourMove
from broker.applications.lifecycle import (
    FINAL,
    GRANT_FINAL,
    Action,
    GrantAction,
    GrantState,
    Part,
    State,
    check_grant_move,
    check_move,
    grant_state_at,
)
from broker.applications.models import EYES
from broker.applications.rules import check_four_eyes

PEOPLE = ("applicant", "head", "owner", "manager", "second")
PARTS = {
    "applicant": {Part.REQUESTER, Part.DEPARTMENT_HEAD, Part.INFORMATION_MANAGER},  # Holds every office, and still can't decide on their own.
    "head": {Part.DEPARTMENT_HEAD, Part.RECIPIENT},
    "owner": {Part.OWNING_HEAD, Part.INFORMATION_MANAGER},
    "manager": {Part.INFORMATION_MANAGER},
    "second": {Part.INFORMATION_MANAGER, Part.DEPARTMENT_HEAD},
}


class Walk(RuleBasedStateMachine):
    """One application and its grant, and everybody trying everything."""

    def __init__(self):
        super().__init__()
        self.state, self.grant = State.DRAFT, None
        self.taken = {"request": "applicant"}
        self.ended = []

    @rule(action=st.sampled_from(Action), who=st.sampled_from(PEOPLE))
    def step(self, action, who):
        try:
            move = check_move(self.state, action, PARTS[who])
            if move.decides:
                check_four_eyes(self.taken, who)
        except (MoveNotAllowed, NotYourMove, FourEyes):
            return
        if action is Action.SUBMIT:
            self.taken = {"request": "applicant", "submit": who}
        elif action in EYES:
            self.taken = {**self.taken, f"{action.value}:{len(self.taken)}": who}
        self.state = State(move.to)
        if action in (Action.APPROVE, Action.NARROW):
            assert self.grant is None
            self.grant = GrantState.ACTIVE

    @rule(action=st.sampled_from(GrantAction), who=st.sampled_from([*PEOPLE, "clock"]))
    def step_of_the_grant(self, action, who):
        if self.grant is None:
            return
        try:
            move = check_grant_move(self.grant, action, {Part.CLOCK} if who == "clock" else PARTS[who])
        except (MoveNotAllowed, NotYourMove):
            return
        assert self.grant not in GRANT_FINAL
        self.grant = GrantState(move.to)
        self.ended.append(self.grant)

    @invariant()
    def four_eyes_are_four(self):
        taken = [person for step, person in self.taken.items() if step.partition(":")[0] in {one.value for one in EYES}]
        assert len(taken) == len(set(taken))
        if self.state is State.APPROVED:
            steps = {step.partition(":")[0] for step in self.taken}
            assert "endorse" in steps
            assert steps & {"approve", "narrow"}
            assert len(set(self.taken.values())) >= 3

    @invariant()
    def a_grant_comes_of_an_approval_alone_and_what_is_over_is_over(self):
        assert (self.grant is not None) == (self.state is State.APPROVED)
        assert all(state not in GRANT_FINAL for state in self.ended[:-1])
        if self.grant is not None:
            past = datetime(2026, 1, 1, tzinfo=UTC)
            assert grant_state_at(self.grant, past, past) in GRANT_FINAL
        assert State.APPROVED in FINAL


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
