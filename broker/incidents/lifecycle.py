"""The states of an incident and every allowed move, as one table. What is not in it is not allowed.

Containing and notifying are no states: they happen in any of them, as often as needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from broker.incidents.errors import IncidentMoveNotAllowed


class State(StrEnum):
    """Where an incident stands."""

    REPORTED = "reported"
    ASSESSED = "assessed"
    INVESTIGATING = "investigating"
    CLOSED = "closed"
    DISMISSED = "dismissed"


class Action(StrEnum):
    """What can be done with an incident."""

    ASSESS = "assess"
    CONTAIN = "contain"
    NOTIFY = "notify"
    INVESTIGATE = "investigate"
    CLOSE = "close"
    DISMISS = "dismiss"
    REOPEN = "reopen"


@dataclass(frozen=True)
class Move:
    """One allowed move. ``reason``: a sentence must be given."""

    to: State
    reason: bool = False


_OPEN = (State.REPORTED, State.ASSESSED, State.INVESTIGATING)

MOVES: MappingProxyType[tuple[State, Action], Move] = MappingProxyType(
    {
        **{(state, Action.CONTAIN): Move(state, reason=True) for state in _OPEN},
        (State.REPORTED, Action.ASSESS): Move(State.ASSESSED),
        (State.REPORTED, Action.DISMISS): Move(State.DISMISSED, reason=True),
        (State.ASSESSED, Action.ASSESS): Move(State.ASSESSED),
        (State.ASSESSED, Action.NOTIFY): Move(State.ASSESSED),
        (State.ASSESSED, Action.INVESTIGATE): Move(State.INVESTIGATING),
        (State.ASSESSED, Action.DISMISS): Move(State.DISMISSED, reason=True),
        (State.INVESTIGATING, Action.ASSESS): Move(State.INVESTIGATING),
        (State.INVESTIGATING, Action.NOTIFY): Move(State.INVESTIGATING),
        (State.INVESTIGATING, Action.CLOSE): Move(State.CLOSED, reason=True),
        (State.CLOSED, Action.REOPEN): Move(State.INVESTIGATING, reason=True),
        (State.DISMISSED, Action.REOPEN): Move(State.REPORTED, reason=True),
    }
)

#: States in which something is still to be done.
OPEN: frozenset[State] = frozenset(_OPEN)


def check_move(state: State, action: Action) -> Move:
    """The move, or IncidentMoveNotAllowed (409)."""
    move = MOVES.get((state, action))
    if move is None:
        raise IncidentMoveNotAllowed(f"{action.value} is not possible while the incident is {state.value}.")
    return move


def possible(state: State) -> tuple[Action, ...]:
    """What can be done now, in the table's order; pages show these buttons and no others."""
    return tuple(action for at, action in MOVES if at is state)
