"""Cases against people and organisations: states, moves and graded sanctions, as tables (RS-7.3). Pure."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from broker.incidents.errors import CaseMoveNotAllowed, TwoPeople


class CaseState(StrEnum):
    """Where a case stands."""

    OPENED = "opened"
    HEARD = "heard"
    PROPOSED = "proposed"
    DECIDED = "decided"
    APPEALED = "appealed"
    UPHELD = "upheld"
    ENDED = "ended"
    DISMISSED = "dismissed"


class CaseAction(StrEnum):
    """What can be done with a case."""

    HEAR = "hear"  #: the accused says something
    PROPOSE = "propose"
    DECIDE = "decide"
    RETURN = "return"
    APPEAL = "appeal"
    UPHOLD = "uphold"
    OVERTURN = "overturn"
    END = "end"
    DISMISS = "dismiss"


class Sanction(StrEnum):
    """From the mildest to the gravest. ``retraining``, ``suspended`` and ``closed`` take something away, at once."""

    WARNING = "warning"
    RETRAINING = "retraining"  #: applies and decides no more until trained (people)
    SUSPENDED = "suspended"  #: can't sign in, or get anything, for some days
    CLOSED = "closed"  #: for good: account closed, or sharing with the organisation ended


CASE_MOVES: MappingProxyType[tuple[CaseState, CaseAction], CaseState] = MappingProxyType(
    {
        (CaseState.OPENED, CaseAction.HEAR): CaseState.HEARD,
        (CaseState.OPENED, CaseAction.PROPOSE): CaseState.PROPOSED,  # Only once the time to be heard is over (``may_propose``).
        (CaseState.OPENED, CaseAction.DISMISS): CaseState.DISMISSED,
        (CaseState.HEARD, CaseAction.HEAR): CaseState.HEARD,
        (CaseState.HEARD, CaseAction.PROPOSE): CaseState.PROPOSED,
        (CaseState.HEARD, CaseAction.DISMISS): CaseState.DISMISSED,
        (CaseState.PROPOSED, CaseAction.DECIDE): CaseState.DECIDED,
        (CaseState.PROPOSED, CaseAction.RETURN): CaseState.HEARD,
        (CaseState.DECIDED, CaseAction.APPEAL): CaseState.APPEALED,
        (CaseState.DECIDED, CaseAction.END): CaseState.ENDED,
        (CaseState.APPEALED, CaseAction.UPHOLD): CaseState.UPHELD,
        (CaseState.APPEALED, CaseAction.OVERTURN): CaseState.DISMISSED,
        (CaseState.UPHELD, CaseAction.END): CaseState.ENDED,
    }
)


def check_case_move(state: CaseState, action: CaseAction) -> CaseState:
    """Where it leads, or CaseMoveNotAllowed (409)."""
    to = CASE_MOVES.get((state, action))
    if to is None:
        raise CaseMoveNotAllowed(f"{action.value} is not possible while the case is {state.value}.")
    return to


def check_uninvolved(who: str, *involved: str | None) -> None:
    """Raises TwoPeople for whoever took part in the case before."""
    if who in involved:
        raise TwoPeople


def possible_for(person: bool) -> tuple[Sanction, ...]:
    """The sanctions that a person, or an organisation, can be given."""
    return tuple(one for one in Sanction if person or one is not Sanction.RETRAINING)
