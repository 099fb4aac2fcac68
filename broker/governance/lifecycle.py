"""The states of a revision and every allowed move, as one table. What is not in it is not allowed.

Approved is the last state; when a revision decides is a matter of its activations, of which it may have several.
"""

from __future__ import annotations

from enum import StrEnum

from broker.governance.errors import RevisionMoveNotAllowed


class State(StrEnum):
    """Where a revision stands."""

    DRAFT = "draft"
    TESTED = "tested"
    REPLAYED = "replayed"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"


class Action(StrEnum):
    """What can be done with a revision."""

    TEST = "test"
    REPLAY = "replay"
    APPROVE = "approve"
    WITHDRAW = "withdraw"


MOVES: dict[tuple[State, Action], State] = {
    (State.DRAFT, Action.TEST): State.TESTED,
    (State.TESTED, Action.TEST): State.TESTED,
    (State.TESTED, Action.REPLAY): State.REPLAYED,
    (State.REPLAYED, Action.REPLAY): State.REPLAYED,
    (State.REPLAYED, Action.APPROVE): State.APPROVED,
    (State.DRAFT, Action.WITHDRAW): State.WITHDRAWN,
    (State.TESTED, Action.WITHDRAW): State.WITHDRAWN,
    (State.REPLAYED, Action.WITHDRAW): State.WITHDRAWN,
}


def after(state: State, action: Action) -> State:
    """The state after an action. Raises RevisionMoveNotAllowed."""
    if (state, action) not in MOVES:
        raise RevisionMoveNotAllowed
    return MOVES[state, action]


def possible(state: State) -> list[Action]:
    """What can be done in a state, sorted."""
    return sorted(action for (at, action) in MOVES if at is state)
