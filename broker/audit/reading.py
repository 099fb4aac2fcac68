"""Reading the log for those who look back: newest first with filters, or onwards from a place that the reader keeps."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlmodel import Session

from broker.audit import log_keys, store
from broker.audit.leaf import first_id, read_leaf
from broker.errors import Invalid


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
    """How far a reader of the sealed log has come: how many entries, and the last of them. The text form is opaque to whoever keeps it.

    The last entry's id says whether the log is still the one that was read: a log that lost entries, and went on, has others there.
    """

    entries: int
    last: UUID

    def __str__(self) -> str:
        return f"{self.entries}-{self.last.hex}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """The place that a reader kept; None when it isn't one."""
        match = _PLACE.fullmatch(text)
        return None if match is None else cls(int(match[1]), UUID(hex=match[2]))


class Onwards(NamedTuple):
    """The next events, and from where to ask for those after them."""

    events: list[Recorded]
    place: Place | None  #: None while the log is empty
    more: bool  #: whether there are entries behind the place already
    restarted: bool  #: entries before the place are lost; what came after the loss is told


_COLUMNS = "e.id, e.at, e.type, e.actor, e.application, e.recipient, e.purpose, e.patient_key, e.release_id, e.outcome, e.leaf"

_CONDITIONS = {
    "patient": " AND e.patient_key = %(patient)s",
    "recipient": " AND e.recipient = %(recipient)s",
    "application": " AND e.application = %(application)s",
    "since": " AND e.id >= %(since)s",
    "until": " AND e.id < %(until)s",
    "before": " AND e.id < %(before)s",
}

#: Entries that one answer looks at, whatever it is asked for.
WINDOW = 20_000

_PLACE = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{32})")

_SEALED = f"""
SELECT {_COLUMNS}, l.index FROM log_entry l JOIN audit_event e ON e.id = l.event_id
WHERE l.index >= %(begin)s AND l.index < %(end)s AND e.type LIKE ANY(%(types)s)
ORDER BY l.index LIMIT %(limit)s
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


def onwards(session: Session, place: Place | None, types: Collection[str], *, limit: int = 200) -> Onwards:
    """The next sealed events whose type is like one of these patterns, by their index in the log; each once, and each can be proved.

    An index is for ever: neither a restart, a rotated key nor a restore with ``audit recover`` moves it. Where the log lost entries and
    went on under a new name, a place behind the loss leads nowhere: then what came after the loss is told, and ``restarted`` says so.

    Raises Invalid for a place of another log, and while the log is shorter than the place (a backup came back and is not brought up to date).
    """
    connection = store.raw(session)
    published = store.latest(connection)
    size = 0 if published is None else published.size
    begin, restarted = 0 if place is None else place.entries, False
    if place is not None and (place.entries > size or _event_at(connection, place.entries - 1) != place.last):
        losses = [one for one in log_keys.openings(connection) if one < place.entries]
        if not losses:
            raise Invalid(f"after: {'the log is shorter than that; a backup came back' if place.entries > size else 'a place of another log'}")
        begin, restarted = losses[0], True
    end = min(size, begin + WINDOW)
    rows = connection.execute(_SEALED, {"begin": begin, "end": end, "types": sorted(types), "limit": limit}).fetchall()
    reached = rows[-1][11] + 1 if len(rows) == limit else end
    last = _event_at(connection, reached - 1)
    return Onwards([_of(row[:11]) for row in rows], None if last is None else Place(reached, last), reached < size, restarted)


def _event_at(connection: store.Connection, index: int) -> UUID | None:
    row = connection.execute("SELECT event_id FROM log_entry WHERE index = %s", (index,)).fetchone()
    return None if row is None else row[0]


def _of(row: tuple[Any, ...]) -> Recorded:
    facts = read_leaf(row[10]).get("facts", {})
    return Recorded._make((*row[:10], facts if isinstance(facts, dict) else {}))
