"""The states of an application and of its grant, and every allowed move, as two tables.

What is not in a table is not allowed. ``docs/state-diagram.md`` is drawn from here (``python -m broker.applications.diagram``)
and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from broker.applications.errors import MoveNotAllowed, NotYourMove


class State(StrEnum):
    """Where an application stands."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    ENDORSED = "endorsed"
    APPROVED = "approved"
    REFUSED = "refused"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"


class GrantState(StrEnum):
    """Where a grant stands. Data leave while it is ``active``, and only then."""

    AWAITING = "awaiting"  #: terms of use are still to be accepted by the recipient
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"
    CLOSED = "closed"


class Action(StrEnum):
    """What can be done with an application."""

    EDIT = "edit"
    SUBMIT = "submit"
    ASSESS = "assess"
    ENDORSE = "endorse"
    AGREE = "agree"  #: for the department to which the data belong
    LEGALITY = "legality"  #: found lawful
    NECESSITY = "necessity"  #: found necessary, and no more than necessary
    CONCUR = "concur"  #: one more who decides for it, where more than one must
    RECUSE = "recuse"  #: an interest is declared; whoever does takes no other step of this application
    APPROVE = "approve"
    NARROW = "narrow"
    RETURN = "return"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"


class GrantAction(StrEnum):
    """What can be done with a grant."""

    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"
    CLOSE = "close"
    EXPIRE = "expire"
    ACCEPT = "accept"  #: the terms of use were accepted
    REPLACE = "replace"  #: by a renewal or an amendment


class Part(StrEnum):
    """In which part somebody acts. A person may play several, but of one application only one (see ``rules.check_four_eyes``)."""

    REQUESTER = "requester"  #: the person who applied, whatever roles they hold
    DEPARTMENT_HEAD = "department_head"  #: head of the requester's or the recipient's department, or of what it belongs to
    OWNING_HEAD = "owning_head"  #: head of a department to which data of this application belong
    INFORMATION_MANAGER = "information_manager"
    RECIPIENT = "recipient"  #: head of the recipient's department, or of what it belongs to
    CLOCK = "clock"  #: nobody: time has passed


@dataclass(frozen=True)
class Move:
    """One allowed move.

    ``reason``: a sentence must be given. ``exact``: If-Match must name the version that was looked at; what takes something
    away can be done without having looked at the newest version. ``decides``: nobody may do it who took another step of this
    round (``rules.check_four_eyes``). ``reviews``: nobody may do it who applied or endorsed; whoever reviews may decide too.
    """

    to: StrEnum
    by: frozenset[Part]
    reason: bool = False
    exact: bool = True
    decides: bool = False
    reviews: bool = False


def _by(*parts: Part) -> frozenset[Part]:
    return frozenset(parts)


_REQUESTER = _by(Part.REQUESTER)
_HEAD = _by(Part.DEPARTMENT_HEAD)
_MANAGER = _by(Part.INFORMATION_MANAGER)
_OWNER = _by(Part.OWNING_HEAD)
_EITHER = _by(Part.DEPARTMENT_HEAD, Part.INFORMATION_MANAGER)
_ANY_OF_THEM = _by(Part.DEPARTMENT_HEAD, Part.OWNING_HEAD, Part.INFORMATION_MANAGER)
_RECIPIENT = _by(Part.RECIPIENT)
_CLOCK = _by(Part.CLOCK)

MOVES: MappingProxyType[tuple[State, Action], Move] = MappingProxyType(
    {
        (State.DRAFT, Action.EDIT): Move(State.DRAFT, _REQUESTER),
        (State.DRAFT, Action.SUBMIT): Move(State.SUBMITTED, _REQUESTER),
        (State.DRAFT, Action.WITHDRAW): Move(State.WITHDRAWN, _REQUESTER, exact=False),
        (State.RETURNED, Action.EDIT): Move(State.RETURNED, _REQUESTER),
        (State.RETURNED, Action.SUBMIT): Move(State.SUBMITTED, _REQUESTER),
        (State.RETURNED, Action.WITHDRAW): Move(State.WITHDRAWN, _REQUESTER, exact=False),
        (State.SUBMITTED, Action.ASSESS): Move(State.SUBMITTED, _EITHER, exact=False),
        (State.SUBMITTED, Action.ENDORSE): Move(State.ENDORSED, _HEAD, decides=True),
        (State.SUBMITTED, Action.RECUSE): Move(State.SUBMITTED, _ANY_OF_THEM, reason=True, exact=False),
        (State.SUBMITTED, Action.RETURN): Move(State.RETURNED, _EITHER, reason=True, decides=True),
        (State.SUBMITTED, Action.REFUSE): Move(State.REFUSED, _EITHER, reason=True, decides=True),
        (State.SUBMITTED, Action.WITHDRAW): Move(State.WITHDRAWN, _REQUESTER, exact=False),
        (State.ENDORSED, Action.ASSESS): Move(State.ENDORSED, _EITHER, exact=False),
        (State.ENDORSED, Action.AGREE): Move(State.ENDORSED, _OWNER, decides=True),
        (State.ENDORSED, Action.LEGALITY): Move(State.ENDORSED, _MANAGER, reviews=True),
        (State.ENDORSED, Action.NECESSITY): Move(State.ENDORSED, _MANAGER, reviews=True),
        (State.ENDORSED, Action.CONCUR): Move(State.ENDORSED, _MANAGER, decides=True),
        (State.ENDORSED, Action.RECUSE): Move(State.ENDORSED, _ANY_OF_THEM, reason=True, exact=False),
        (State.ENDORSED, Action.APPROVE): Move(State.APPROVED, _MANAGER, decides=True),
        (State.ENDORSED, Action.NARROW): Move(State.APPROVED, _MANAGER, reason=True, decides=True),
        (State.ENDORSED, Action.RETURN): Move(State.RETURNED, _by(Part.OWNING_HEAD, Part.INFORMATION_MANAGER), reason=True, decides=True),
        (State.ENDORSED, Action.REFUSE): Move(State.REFUSED, _by(Part.OWNING_HEAD, Part.INFORMATION_MANAGER), reason=True, decides=True),
        (State.ENDORSED, Action.WITHDRAW): Move(State.WITHDRAWN, _REQUESTER, exact=False),
    }
)

GRANT_MOVES: MappingProxyType[tuple[GrantState, GrantAction], Move] = MappingProxyType(
    {
        (GrantState.AWAITING, GrantAction.ACCEPT): Move(GrantState.ACTIVE, _RECIPIENT, exact=False),
        (GrantState.AWAITING, GrantAction.REVOKE): Move(GrantState.REVOKED, _by(Part.INFORMATION_MANAGER, Part.CLOCK), reason=True, exact=False),
        (GrantState.AWAITING, GrantAction.CLOSE): Move(GrantState.CLOSED, _REQUESTER, reason=True, exact=False),
        (GrantState.AWAITING, GrantAction.REPLACE): Move(GrantState.CLOSED, _MANAGER, exact=False),
        (GrantState.AWAITING, GrantAction.EXPIRE): Move(GrantState.EXPIRED, _CLOCK, exact=False),
        (GrantState.ACTIVE, GrantAction.SUSPEND): Move(GrantState.SUSPENDED, _by(Part.INFORMATION_MANAGER, Part.CLOCK), reason=True, exact=False),
        (GrantState.ACTIVE, GrantAction.REVOKE): Move(GrantState.REVOKED, _by(Part.INFORMATION_MANAGER, Part.CLOCK), reason=True, exact=False),
        (GrantState.ACTIVE, GrantAction.CLOSE): Move(GrantState.CLOSED, _REQUESTER, reason=True, exact=False),
        (GrantState.ACTIVE, GrantAction.REPLACE): Move(GrantState.CLOSED, _MANAGER, exact=False),
        (GrantState.ACTIVE, GrantAction.EXPIRE): Move(GrantState.EXPIRED, _CLOCK, exact=False),
        (GrantState.SUSPENDED, GrantAction.RESUME): Move(GrantState.ACTIVE, _MANAGER, reason=True, exact=False, decides=True),
        (GrantState.SUSPENDED, GrantAction.REVOKE): Move(GrantState.REVOKED, _by(Part.INFORMATION_MANAGER, Part.CLOCK), reason=True, exact=False),
        (GrantState.SUSPENDED, GrantAction.CLOSE): Move(GrantState.CLOSED, _REQUESTER, reason=True, exact=False),
        (GrantState.SUSPENDED, GrantAction.REPLACE): Move(GrantState.CLOSED, _MANAGER, exact=False),
        (GrantState.SUSPENDED, GrantAction.EXPIRE): Move(GrantState.EXPIRED, _CLOCK, exact=False),
    }
)

#: States that nothing leads out of. Approved ends the application; what follows is the grant's life.
FINAL: frozenset[State] = frozenset(State) - {state for state, _ in MOVES}
GRANT_FINAL: frozenset[GrantState] = frozenset(GrantState) - {state for state, _ in GRANT_MOVES}


def check_move(state: State, action: Action, parts: Collection[Part]) -> Move:
    """The move, or MoveNotAllowed (409) if the state forbids it, or NotYourMove (403) if somebody else must take it."""
    move = MOVES.get((state, action))
    if move is None:
        raise MoveNotAllowed(f"{action.value} is not possible while the application is {state.value}.")
    if move.by.isdisjoint(parts):
        raise NotYourMove(f"{action.value} is for: {', '.join(sorted(move.by))}.")
    return move


def check_grant_move(state: GrantState, action: GrantAction, parts: Collection[Part]) -> Move:
    """As :func:`check_move`, for a grant."""
    move = GRANT_MOVES.get((state, action))
    if move is None:
        raise MoveNotAllowed(f"{action.value} is not possible while the grant is {state.value}.")
    if move.by.isdisjoint(parts):
        raise NotYourMove(f"{action.value} is for: {', '.join(sorted(move.by))}.")
    return move


def possible(state: State, parts: Collection[Part]) -> dict[Action, Move]:
    """What somebody in these parts can do now, in the table's order; pages show these buttons and no others."""
    return {action: move for (at, action), move in MOVES.items() if at is state and not move.by.isdisjoint(parts)}


def possible_with_grant(state: GrantState, parts: Collection[Part]) -> dict[GrantAction, Move]:
    """As :func:`possible`, for a grant."""
    return {action: move for (at, action), move in GRANT_MOVES.items() if at is state and not move.by.isdisjoint(parts)}


def grant_state_at(stored: GrantState, valid_until: datetime, at: datetime) -> GrantState:
    """What a grant is at a moment: past its end it is expired, whether or not anybody has written that down yet."""
    return GrantState.EXPIRED if stored not in GRANT_FINAL and at >= valid_until else stored
