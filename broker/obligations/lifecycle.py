"""The states of an obligation and of a recall's notice, and every allowed move, as two tables. What is not in them is not allowed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from broker.obligations.errors import ObligationMoveNotAllowed


class State(StrEnum):
    """Where an obligation stands. Overdue is no state: an open one whose day has passed is overdue."""

    OPEN = "open"
    FULFILLED = "fulfilled"
    KEPT = "kept"  #: not deleted, since a law requires it to be kept
    WAIVED = "waived"


class Action(StrEnum):
    """What can be done with an obligation."""

    FULFIL = "fulfil"
    KEEP = "keep"
    WAIVE = "waive"
    REJECT = "reject"
    RENEW = "renew"  #: data were sent again


class Part(StrEnum):
    """In which part somebody acts."""

    RECIPIENT = "recipient"
    MANAGER = "information_manager"
    LOG = "log"


@dataclass(frozen=True)
class Move:
    """One allowed move; every one but the log's own needs words."""

    to: State
    by: Part


MOVES: MappingProxyType[tuple[State, Action], Move] = MappingProxyType(
    {
        (State.OPEN, Action.FULFIL): Move(State.FULFILLED, Part.RECIPIENT),
        (State.OPEN, Action.KEEP): Move(State.KEPT, Part.RECIPIENT),
        (State.OPEN, Action.WAIVE): Move(State.WAIVED, Part.MANAGER),
        (State.OPEN, Action.RENEW): Move(State.OPEN, Part.LOG),
        (State.FULFILLED, Action.REJECT): Move(State.OPEN, Part.MANAGER),
        (State.FULFILLED, Action.RENEW): Move(State.OPEN, Part.LOG),
        (State.KEPT, Action.REJECT): Move(State.OPEN, Part.MANAGER),
        (State.KEPT, Action.RENEW): Move(State.OPEN, Part.LOG),
        (State.WAIVED, Action.RENEW): Move(State.OPEN, Part.LOG),
    }
)


def check_move(state: State, action: Action, part: Part) -> Move:
    """The move, or ObligationMoveNotAllowed (409)."""
    move = MOVES.get((state, action))
    if move is None or move.by is not part:
        raise ObligationMoveNotAllowed(f"{action.value} is not possible while it is {state.value}.")
    return move


class Done(StrEnum):
    """What a recipient did about a recall."""

    DELETED = "deleted"
    CORRECTED = "corrected"
    KEPT = "kept"  #: by law, which is named
    NOTHING_HELD = "nothing-held"
