"""The states of a remote consultation and every allowed step, as one table (TM-5.4). What is not in it is not allowed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from broker.telemedicine.errors import ConsultationMoveNotAllowed, NotYourConsultation


class State(StrEnum):
    """Where a consultation stands."""

    BOOKED = "booked"
    CONFIRMED = "confirmed"
    OPEN = "open"
    CLOSED = "closed"
    FOLLOWED_UP = "followed-up"
    CANCELLED = "cancelled"
    MISSED = "missed"


class Step(StrEnum):
    """What is done, and recorded."""

    BOOK = "book"
    CONFIRM = "confirm"
    IDENTIFY = "identify"
    OPEN = "open"
    RECORD = "record"
    PRESCRIBE = "prescribe"
    CLOSE = "close"
    FOLLOW_UP = "follow-up"
    CANCEL = "cancel"


class Part(StrEnum):
    """In which part somebody takes a step."""

    BOOKER = "booker"  #: who applied for the data
    CONSULTANT = "consultant"  #: the clinician who is consulted


@dataclass(frozen=True)
class Move:
    """One allowed step: where it leads, and who takes it."""

    to: State
    by: frozenset[Part]


_CONSULTANT, _BOOKER = frozenset({Part.CONSULTANT}), frozenset({Part.BOOKER})
_EITHER = _CONSULTANT | _BOOKER

MOVES: MappingProxyType[tuple[State, Step], Move] = MappingProxyType(
    {
        (State.BOOKED, Step.CONFIRM): Move(State.CONFIRMED, _CONSULTANT),
        (State.BOOKED, Step.CANCEL): Move(State.CANCELLED, _EITHER),
        (State.CONFIRMED, Step.IDENTIFY): Move(State.CONFIRMED, _EITHER),
        (State.CONFIRMED, Step.CANCEL): Move(State.CANCELLED, _EITHER),
        (State.CONFIRMED, Step.OPEN): Move(State.OPEN, _CONSULTANT),
        (State.OPEN, Step.RECORD): Move(State.OPEN, _CONSULTANT),
        (State.OPEN, Step.PRESCRIBE): Move(State.OPEN, _CONSULTANT),
        (State.OPEN, Step.CLOSE): Move(State.CLOSED, _CONSULTANT),
        # What was said is written down afterwards too; that gives no access to anything.
        (State.CLOSED, Step.RECORD): Move(State.CLOSED, _CONSULTANT),
        (State.CLOSED, Step.PRESCRIBE): Move(State.CLOSED, _CONSULTANT),
        (State.CLOSED, Step.FOLLOW_UP): Move(State.FOLLOWED_UP, _EITHER),
    }
)


def state_at(stored: State, ends_at: datetime, now: datetime) -> State:
    """Where it stands at a moment: an open one is closed by its last minute, and one that was never opened is missed."""
    if now < ends_at:
        return stored
    if stored is State.OPEN:
        return State.CLOSED
    return State.MISSED if stored in (State.BOOKED, State.CONFIRMED) else stored


def check_move(state: State, step: Step, parts: frozenset[Part]) -> Move:
    """The move. Raises ConsultationMoveNotAllowed, or NotYourConsultation where somebody else may take it."""
    move = MOVES.get((state, step))
    if move is None:
        raise ConsultationMoveNotAllowed
    if not move.by & parts:
        raise NotYourConsultation
    return move


def possible(state: State, parts: frozenset[Part]) -> tuple[Step, ...]:
    """What somebody in these parts can do now."""
    return tuple(step for (at, step), move in MOVES.items() if at is state and move.by & parts)
