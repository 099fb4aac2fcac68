"""The states of a filed consent and the moves between them, as one table. Pure.

R4 has more states; the registry holds consents that are or were in force. ``active`` and then ``inactive``, never back: whoever
changes their mind again gives a new consent.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Consent.status, so far as the registry keeps it."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class Change(StrEnum):
    """What happens to a consent."""

    FILED = "filed"
    REVOKED = "revoked"
    REPLACED = "replaced"


#: (state before; None: there was none) and change → state after. What isn't here isn't allowed.
MOVES: dict[tuple[State | None, Change], State] = {
    (None, Change.FILED): State.ACTIVE,
    (State.ACTIVE, Change.REVOKED): State.INACTIVE,
    (State.ACTIVE, Change.REPLACED): State.INACTIVE,
}


def move(state: State | None, change: Change) -> State | None:
    """The state after the change, or None if the change isn't allowed in that state."""
    return MOVES.get((state, change))
