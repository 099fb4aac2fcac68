"""Reading the log for those who look back: newest first with filters, or onwards from a place that the reader keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlmodel import Session

from broker.audit import store
from broker.audit.leaf import first_id, read_leaf


class Recorded(NamedTuple):
    """An event with what its leaf says."""

    id: UUID
    at: datetime
    type: str
    actor: str
    application: str | None
    recipient: str | None
    purpose: str | None
    patient: UUID | None
    release: UUID | None
    outcome: str | None
    facts: Mapping[str, Any]


class Place(NamedTuple):
    """How far a reader has come. The text form is opaque to whoever keeps it."""

    xid: int
    seq: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """The place that a reader kept; None when it isn't one."""
        xid, dash, seq = text.partition("-")
        if not dash or not (xid.isdecimal() and seq.isdecimal() and text.isascii()) or len(xid) > 19 or len(seq) > 18:
            return None
        place = cls(int(xid), int(seq))
        return place if place.xid < 2**63 else None


_COLUMNS = "e.id, e.at, e.type, e.actor, e.application, e.recipient, e.purpose, e.patient_key, e.release_id, e.outcome, e.leaf"

_CONDITIONS = {
    "patient": " AND e.patient_key = %(patient)s",
    "recipient": " AND e.recipient = %(recipient)s",
    "application": " AND e.application = %(application)s",
    "since": " AND e.id >= %(since)s",
    "until": " AND e.id < %(until)s",
    "before": " AND e.id < %(before)s",
}

# Only transactions that can no longer grow: an older one that is still open would otherwise be passed by.
_AFTER = f"""
SELECT {_COLUMNS}, e.xid::text AS xid_text, e.seq FROM audit_event e
WHERE (e.xid, e.seq) > (%(xid)s::xid8, %(seq)s) AND e.xid < pg_snapshot_xmin(pg_current_snapshot()) AND e.type LIKE ANY(%(types)s)
ORDER BY e.xid, e.seq LIMIT %(limit)s
"""


def recorded(
    session: Session,
    types: Collection[str],
    *,
    patient: UUID | None = None,
    recipient: str | None = None,
    application: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: UUID | None = None,
    limit: int = 100,
) -> list[Recorded]:
    """Events of these types, newest first: ``since`` is included, ``until`` and ``before`` (an event's id, to go on from) are not."""
    given = store.conditions(patient=patient, recipient=recipient, application=application, since=since, until=until)
    if before is not None:
        given["before"] = before
    query = f"SELECT {_COLUMNS} FROM audit_event e WHERE e.type = ANY(%(types)s)" + "".join(_CONDITIONS[name] for name in given)
    rows = store.raw(session).execute(f"{query} ORDER BY e.id DESC LIMIT %(limit)s", {**given, "types": sorted(types), "limit": limit})
    return [_of(row) for row in rows.fetchall()]


def recorded_since(session: Session, moment: datetime) -> bool:
    """Whether an event was recorded after a moment; those whose transaction was still under way then are not all seen."""
    found = store.raw(session).execute("SELECT EXISTS (SELECT FROM audit_event WHERE id >= %s)", (first_id(moment + timedelta(milliseconds=1)),))
    row = found.fetchone()
    return bool(row and row[0])


def onwards(session: Session, place: Place, types: Collection[str], *, limit: int = 200) -> tuple[list[Recorded], Place]:
    """The next events whose type is like one of these patterns, in the log's own order, and the place behind the last; each event once."""
    rows = store.raw(session).execute(_AFTER, {"xid": str(place.xid), "seq": place.seq, "types": sorted(types), "limit": limit}).fetchall()
    return [_of(row[:11]) for row in rows], Place(int(rows[-1][11]), rows[-1][12]) if rows else place


def _of(row: tuple[Any, ...]) -> Recorded:
    facts = read_leaf(row[10]).get("facts", {})
    return Recorded._make((*row[:10], facts if isinstance(facts, dict) else {}))
