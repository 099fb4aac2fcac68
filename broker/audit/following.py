"""Reading the log as it grows: what happened since one looked last, in order, each event once.

Whatever must follow from an event (a recall after a withdrawal, an incident after a failed check) follows from the log, so that it can't
be forgotten by the verb that caused it. A reader's place is kept in the transaction that does the work: both are kept, or neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlmodel import Session

from broker.audit import places, store
from broker.audit.leaf import read_leaf
from broker.audit.places import Standing


class Happened(NamedTuple):
    """An event as the log has it."""

    id: UUID
    at: datetime
    type: str
    actor: str
    application: str | None
    grant: UUID | None
    recipient: str | None
    purpose: str | None
    patient: UUID | None
    release: UUID | None
    facts: Mapping[str, Any]


_NEXT = """
SELECT e.xid::text, e.seq, e.id, e.at, e.type, e.actor, e.application, e.grant_id::uuid, e.recipient, e.purpose, e.patient_key, e.release_id, e.leaf
FROM audit_event e
WHERE {behind} AND e.type = ANY(%(types)s)
ORDER BY e.xid, e.seq LIMIT %(limit)s
"""


def follow(session: Session, name: str, types: Collection[str], *, limit: int = 500) -> list[Happened]:
    """The next events of these types for the reader of this name, whose place moves on with this transaction.

    Two at once wait for each other. Fewer than ``limit``: there are no more for now. Only committed events come.
    """
    connection = store.raw(session)
    places.begin(connection, name)
    found: list[tuple[Any, ...]] = []
    place = places.standing(connection, name, alone=True)
    if place.left_over:
        found = _read(connection, name, place, types, limit)
        if len(found) == limit:
            return [_happened(row) for row in found]
        places.rebase(connection, name, place)
        place = places.standing(connection, name)
    found += _read(connection, name, place, types, limit - len(found))
    return [_happened(row) for row in found]


def _read(connection: store.Connection, name: str, place: Standing, types: Collection[str], limit: int) -> list[tuple[Any, ...]]:
    query = _NEXT.format(behind=places.LEFT_OVER if place.left_over else places.BEHIND)
    rows = connection.execute(query, {**place.parameters, "types": sorted(types), "limit": limit}).fetchall()
    if rows:
        places.move(connection, name, place, rows[-1][0], rows[-1][1])
    return rows


def _happened(row: tuple[Any, ...]) -> Happened:
    return Happened._make((*row[2:12], read_leaf(row[12]).get("facts", {})))
