"""The states of a patient's request and every allowed move, as one table. What is not in it is not allowed."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from broker.requests.errors import RequestMoveNotAllowed


class State(StrEnum):
    """Where a request stands."""

    TO_IDENTIFY = "to-identify"  #: somebody asks for another: who they are, and by which right, is not on record yet
    RECEIVED = "received"
    ORDERED = "ordered"  #: deletion: a destruction order waits for its second person
    FULFILLED = "fulfilled"
    REFUSED = "refused"
    APPEALED = "appealed"
    UPHELD = "upheld"  #: the refusal stands after the appeal
    WITHDRAWN = "withdrawn"


class Action(StrEnum):
    """What can be done with it."""

    IDENTIFY = "identify"
    EXTEND = "extend"
    FULFIL = "fulfil"
    ORDER = "order"
    REFUSE = "refuse"
    APPEAL = "appeal"
    UPHOLD = "uphold"
    WITHDRAW = "withdraw"
    LIFT = "lift"  #: a restriction ends


#: The clock runs in these.
OPEN = (State.TO_IDENTIFY, State.RECEIVED, State.APPEALED)

MOVES: MappingProxyType[tuple[State, Action], State] = MappingProxyType(
    {
        (State.TO_IDENTIFY, Action.IDENTIFY): State.RECEIVED,
        (State.TO_IDENTIFY, Action.REFUSE): State.REFUSED,
        (State.TO_IDENTIFY, Action.WITHDRAW): State.WITHDRAWN,
        (State.RECEIVED, Action.EXTEND): State.RECEIVED,
        (State.RECEIVED, Action.FULFIL): State.FULFILLED,
        (State.RECEIVED, Action.ORDER): State.ORDERED,
        (State.RECEIVED, Action.REFUSE): State.REFUSED,
        (State.RECEIVED, Action.WITHDRAW): State.WITHDRAWN,
        (State.ORDERED, Action.FULFIL): State.FULFILLED,
        (State.ORDERED, Action.REFUSE): State.REFUSED,
        (State.FULFILLED, Action.APPEAL): State.APPEALED,
        (State.FULFILLED, Action.LIFT): State.FULFILLED,
        (State.REFUSED, Action.APPEAL): State.APPEALED,
        (State.APPEALED, Action.FULFIL): State.FULFILLED,
        (State.APPEALED, Action.ORDER): State.ORDERED,
        (State.APPEALED, Action.UPHOLD): State.UPHELD,
        (State.APPEALED, Action.WITHDRAW): State.WITHDRAWN,
    }
)


def check_move(state: State, action: Action) -> State:
    """Where it leads, or RequestMoveNotAllowed (409)."""
    to = MOVES.get((state, action))
    if to is None:
        raise RequestMoveNotAllowed(f"{action.value} is not possible while the request is {state.value}.")
    return to


def possible(state: State) -> tuple[Action, ...]:
    """What can be done now, in the table's order."""
    return tuple(action for at, action in MOVES if at is state)
