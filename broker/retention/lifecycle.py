"""The states of a destruction order and every allowed move, as one table. What is not in it is not allowed."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from broker.retention.errors import OrderMoveNotAllowed


class State(StrEnum):
    """Where a destruction order stands."""

    PROPOSED = "proposed"
    EXECUTED = "executed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What can be done with it."""

    APPROVE = "approve"  #: one of two; the second carries it out
    EXECUTE = "execute"
    CANCEL = "cancel"


MOVES: MappingProxyType[tuple[State, Action], State] = MappingProxyType(
    {
        (State.PROPOSED, Action.APPROVE): State.PROPOSED,
        (State.PROPOSED, Action.EXECUTE): State.EXECUTED,
        (State.PROPOSED, Action.CANCEL): State.CANCELLED,
    }
)


def check_move(state: State, action: Action) -> State:
    """Where it leads, or OrderMoveNotAllowed (409)."""
    to = MOVES.get((state, action))
    if to is None:
        raise OrderMoveNotAllowed(f"{action.value} is not possible while the order is {state.value}.")
    return to
