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

from broker.audit import store
from broker.audit.leaf import read_leaf


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


_PLACE = "INSERT INTO log_follower (name, xid, seq) VALUES (%s, '0', 0) ON CONFLICT DO NOTHING"

# Only transactions that can no longer grow: an older one that is still open would otherwise be passed by.
_NEXT = """
SELECT e.xid::text, e.seq, e.id, e.at, e.type, e.actor, e.application, e.grant_id::uuid, e.recipient, e.purpose, e.patient_key, e.release_id, e.leaf
FROM audit_event e
WHERE (e.xid, e.seq) > (%(xid)s::xid8, %(seq)s) AND e.xid < pg_snapshot_xmin(pg_current_snapshot()) AND e.type = ANY(%(types)s)
ORDER BY e.xid, e.seq LIMIT %(limit)s
"""


def follow(session: Session, name: str, types: Collection[str], *, limit: int = 500) -> list[Happened]:
    """The next events of these types for the reader of this name, whose place moves on with this transaction.

    Two at once wait for each other. Fewer than ``limit``: there are no more for now. Only committed events come.
    """
    connection = store.raw(session)
    connection.execute(_PLACE, (name,))
    place = connection.execute("SELECT xid::text, seq FROM log_follower WHERE name = %s FOR UPDATE", (name,)).fetchone()
    if place is None:
        return []
    rows = connection.execute(_NEXT, {"xid": place[0], "seq": place[1], "types": sorted(types), "limit": limit}).fetchall()
    if rows:
        connection.execute("UPDATE log_follower SET xid = %s::xid8, seq = %s WHERE name = %s", (rows[-1][0], rows[-1][1], name))
    return [Happened._make((*row[2:12], read_leaf(row[12]).get("facts", {}))) for row in rows]
