"""The transmission log: each release as time, sender, receiver, content, purpose and application (PI-3.3).

A release leaves two events: the intent, committed before its first byte, and the outcome. Where the outcome is missing, the
data count as disclosed until somebody explains otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session

from broker import clock
from broker.audit import places, store
from broker.audit.leaf import first_id, read_leaf

INTENT = "release.permitted"
#: What may follow an intent. ``release.failed`` says that not one byte left.
EXPLAINED = ("release.sent", "release.partial", "release.failed")
#: ``release.unknown`` is written for an intent whose process died (``audit.orphans``); a later one of the others explains it.
OUTCOMES = (*EXPLAINED, "release.unknown")
RELEASE_EVENTS = frozenset({INTENT, *OUTCOMES})
#: The reader that closes what was cut off (``audit.orphans``): every intent up to its place has an outcome.
ORPHANS = "audit.orphans"


@dataclass(frozen=True)
class Transmission:
    """One release. ``at`` is when it was permitted, ``finished`` when its outcome was recorded."""

    release: UUID
    at: datetime
    finished: datetime | None
    sender: str | None  #: organisation id, from the fact ``sender``
    receiver: str | None  #: organisation id
    actor: str  #: the client that fetched
    application: str | None
    grant: str | None
    purpose: str | None
    patient: UUID | None
    manifest: str | None  #: SHA-256 of the manifest (resources, versions, hashes), from the fact ``manifest``
    items: int | None  #: how many resources, from the fact ``items``
    outcome: str  #: sent, partial, failed; ``unknown`` while there is none
    disclosed: bool  #: False only when it is known that nothing left
    intent_event: UUID
    outcome_event: UUID | None


@dataclass(frozen=True)
class Unfinished:
    """An intent of which nobody knows how it ended: it counts as disclosed and needs an explanation."""

    release: UUID
    at: datetime
    actor: str
    application: str | None
    receiver: str | None
    intent_event: UUID


@dataclass(frozen=True)
class Backlog:
    """Events that are recorded and not sealed yet: how many, and when the oldest happened."""

    events: int
    oldest: datetime | None


_TRANSMISSIONS = """
SELECT i.release_id, i.at, i.recipient, i.actor, i.application, i.grant_id, i.purpose, i.patient_key, i.id, i.leaf,
       o.id, o.at, o.type, o.outcome, o.leaf
FROM audit_event i
LEFT JOIN LATERAL (
  SELECT id, at, type, outcome, leaf FROM audit_event o
  WHERE o.release_id = i.release_id AND o.type = ANY(%(outcomes)s)
  ORDER BY o.xid DESC, o.seq DESC LIMIT 1
) o ON true
WHERE i.type = '{intent}'{conditions}
ORDER BY i.id DESC
LIMIT %(limit)s
"""

# The type of what was cut off is written out, so that the index on it alone is used.
_UNFINISHED = f"""
SELECT i.release_id, i.at, i.actor, i.application, i.recipient, i.id FROM (
  SELECT e.release_id, e.at, e.actor, e.application, e.recipient, e.id FROM audit_event e
  WHERE (e.xid, e.seq) > (%(xid)s::xid8, %(seq)s) AND e.seq > %(done_seq)s AND e.type = '{INTENT}'
  UNION
  SELECT e.release_id, e.at, e.actor, e.application, e.recipient, e.id FROM audit_event u
  JOIN audit_event e ON e.release_id = u.release_id AND e.type = '{INTENT}'
  WHERE u.type = 'release.unknown'
) i
WHERE i.id < %(before)s AND NOT EXISTS (SELECT FROM audit_event o WHERE o.release_id = i.release_id AND o.type = ANY(%(explained)s))
ORDER BY i.id
"""

_CONDITIONS = {
    "patient": " AND i.patient_key = %(patient)s",
    "recipient": " AND i.recipient = %(recipient)s",
    "application": " AND i.application = %(application)s",
    "since": " AND i.id >= %(since)s",
    "until": " AND i.id < %(until)s",
}


def _facts(leaf: str | None) -> Mapping[str, Any]:
    facts = read_leaf(leaf).get("facts", {}) if leaf else {}
    return facts if isinstance(facts, dict) else {}


def _transmission(row: tuple[Any, ...]) -> Transmission:
    release, at, recipient, actor, application, grant, purpose, patient, intent_event, leaf, event, finished, kind, outcome, outcome_leaf = row
    facts = {**_facts(leaf), **_facts(outcome_leaf)}
    items = facts.get("items")
    outcome = outcome or (kind.removeprefix("release.") if kind else "unknown")
    return Transmission(
        release=release,
        at=at,
        finished=finished,
        sender=facts.get("sender"),
        receiver=recipient,
        actor=actor,
        application=application,
        grant=grant,
        purpose=purpose,
        patient=patient,
        manifest=facts.get("manifest"),
        items=items if isinstance(items, int) else None,
        outcome=outcome,
        # A failure that nevertheless counted bytes did disclose something.
        disclosed=outcome != "failed" or bool(facts.get("bytes")),
        intent_event=intent_event,
        outcome_event=event,
    )


def transmissions(
    session: Session,
    *,
    patient: UUID | None = None,
    recipient: str | None = None,
    application: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
) -> list[Transmission]:
    """Releases, newest first: ``since`` is included, ``until`` is not. Refused requests are no transmissions and not here."""
    given = store.conditions(patient=patient, recipient=recipient, application=application, since=since, until=until)
    query = _TRANSMISSIONS.format(intent=INTENT, conditions="".join(_CONDITIONS[name] for name in given))
    rows = store.raw(session).execute(query, {**given, "outcomes": list(OUTCOMES), "limit": limit}).fetchall()
    return [_transmission(row) for row in rows]


def unfinished(session: Session, older_than: timedelta) -> list[Unfinished]:
    """Intents older than that of which nobody knows how they ended, oldest first: without an outcome, or closed as unknown.

    Costs what is open and what was ever cut off, not what was ever sent.
    """
    connection = store.raw(session)
    place = places.standing(connection, ORPHANS)
    # A place from before a restore says nothing of what was recorded since.
    values = {
        **(places.BEGINNING if place.left_over else place).parameters,
        "before": first_id(clock.now() - older_than),
        "explained": list(EXPLAINED),
    }
    return [Unfinished(*row) for row in connection.execute(_UNFINISHED, values).fetchall()]


def backlog(session: Session) -> Backlog:
    """What waits to be sealed. More than a few seconds of it means that the sequencer stands still: an alarm."""
    row = (
        store.raw(session)
        .execute("SELECT count(*), min(e.at) FROM audit_event e, log_state s WHERE (e.xid, e.seq) > (s.cursor_xid, s.cursor_seq)")
        .fetchone()
    )
    return Backlog(*row) if row else Backlog(0, None)
