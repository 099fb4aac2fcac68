"""The front door of the log: record what happened, ask who was sent what, prove that an event is in the log.

``record`` is one INSERT in the caller's transaction. Index, tiles and signature come within a second from the sequencer
(``broker.audit.sequencer``), so that a release never waits for the log's order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session

from broker import clock, jobs
from broker.audit import log_keys, orphans, receipt, store
from broker.audit.errors import LogDamaged, NotRecordable, NotSealedYet
from broker.audit.events import Event
from broker.audit.following import Happened, follow
from broker.audit.health import Cosigned, cosigned, health
from broker.audit.leaf import leaf, uuid7
from broker.audit.log_keys import Signed
from broker.audit.reading import Onwards, Place, Recorded, onwards, recorded, recorded_since
from broker.audit.tiles import node_reader
from broker.audit.transmissions import RELEASE_EVENTS, Backlog, Transmission, Unfinished, backlog, transmissions, unfinished
from broker.audit.tree import ProofInvalid, check_inclusion, inclusion_proof, leaf_hash
from broker.database import Database
from broker.errors import NotFound

__all__ = [
    "INSERT_EVENT",
    "Backlog",
    "Cosigned",
    "Happened",
    "Onwards",
    "Place",
    "Recorded",
    "Signed",
    "Transmission",
    "Unfinished",
    "background",
    "backlog",
    "close_orphans",
    "cosigned",
    "entries_of_release",
    "event_row",
    "follow",
    "health",
    "onwards",
    "proof",
    "published_checkpoint",
    "record",
    "record_search",
    "recorded",
    "recorded_since",
    "signed_by",
    "transmissions",
    "unfinished",
    "uuid7",
    "witnessed_checkpoint",
]

#: The one statement that records an event; parameters from :func:`event_row`. The release path runs it on its raw connection.
INSERT_EVENT = """
INSERT INTO audit_event
  (id, at, type, actor, application, grant_id, recipient, purpose, patient_key, subject, release_id, outcome, leaf)
VALUES
  (%(id)s, %(at)s, %(type)s, %(actor)s, %(application)s, %(grant_id)s, %(recipient)s, %(purpose)s, %(patient_key)s, %(subject)s,
   %(release_id)s, %(outcome)s, %(leaf)s)
"""


def _whole_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def event_row(event: Event) -> dict[str, Any]:
    """The row of an event that happens now; ``id`` is new. Raises NotRecordable when the event may not stand in the log."""
    if event.subject is not None and event.patient is None:
        raise NotRecordable("subject: an event that names a subject names the blinded patient key too")
    if event.type in RELEASE_EVENTS and event.release is None:
        raise NotRecordable("release: an intent and its outcome are joined by it")
    at = _whole_milliseconds(clock.now())
    event_id = uuid7(at)
    return {
        "id": event_id,
        "at": at,
        "type": event.type,
        "actor": event.actor,
        "application": event.application,
        "grant_id": event.grant,
        "recipient": event.recipient,
        "purpose": event.purpose,
        "patient_key": event.patient,
        "subject": event.subject,
        "release_id": event.release,
        "outcome": event.outcome,
        "leaf": leaf(event, event_id, at),
    }


def record(session: Session, event: Event) -> UUID:
    """Record an event in the transaction of ``session``: it is in the log exactly if that commits. Returns its id."""
    row = event_row(event)
    session.connection().exec_driver_sql(INSERT_EVENT, row)
    event_id: UUID = row["id"]
    return event_id


def record_search(session: Session, actor: str, patient: UUID | None) -> None:
    """Record that somebody asked what was sent of one patient, whichever view answers; nothing where no patient is asked for."""
    if patient is not None:
        record(session, Event("transmissions.searched", actor, patient=patient))


def proof(session: Session, event_id: UUID) -> str:
    """The receipt (``.tlog-proof``) of an event under the newest checkpoint.

    Raises NotFound for an unknown event, NotSealedYet in the second before it is sealed, LogDamaged when tiles are missing
    or do not lead to the signed root.
    """
    connection = store.raw(session)
    row = connection.execute("SELECT leaf FROM audit_event WHERE id = %s", (event_id,)).fetchone()
    if row is None:
        raise NotFound("there is no such event")
    index = store.index_of(connection, event_id)
    # What witnesses have cosigned proves more; an entry that is younger has the log's own word for the time being.
    published = store.latest_witnessed(connection)
    if published is None or index is None or published.size <= index:
        published = store.latest(connection)
    if index is None or published is None or published.size <= index:
        raise NotSealedYet(headers={"Retry-After": "1"})
    size = published.size
    hashes = inclusion_proof(index, size, node_reader(size, lambda level, number, width: store.hashes(connection, level, number, width)))
    try:
        check_inclusion(index, size, leaf_hash(row[0].encode()), hashes, published.root)
    except ProofInvalid as error:
        raise LogDamaged(f"entry {index} is not under the signed root") from error
    return receipt.write(index, hashes, published.note + store.cosignatures(connection, size))


def entries_of_release(session: Session, release_id: UUID) -> list[tuple[UUID, bytes]]:
    """Id and leaf hash of each event about a release, oldest first. Not the leaf: it says what was held back."""
    rows = store.raw(session).execute("SELECT id, leaf FROM audit_event WHERE release_id = %s ORDER BY xid, seq", (release_id,))
    return [(row[0], leaf_hash(row[1].encode())) for row in rows.fetchall()]


def published_checkpoint(session: Session) -> str | None:
    """The newest signed checkpoint, with the cosignatures that it has; None before the first."""
    published = store.latest(store.raw(session))
    return None if published is None else published.note + store.cosignatures(store.raw(session), published.size)


def witnessed_checkpoint(session: Session) -> str | None:
    """The newest checkpoint that a witness has cosigned; None where there is none."""
    published = store.latest_witnessed(store.raw(session))
    return None if published is None else published.note + store.cosignatures(store.raw(session), published.size)


def signed_by(session: Session) -> list[Signed]:
    """Every key that signed the log, from which size to which, oldest first."""
    return log_keys.signed_by(store.raw(session))


def background() -> list[jobs.Job]:
    """What the log does by itself."""
    return orphans.background(record)


def close_orphans(database: Database) -> int:
    """Give every intent whose process died its outcome, ``release.unknown``; returns how many."""
    return orphans.close_orphans(database, record)
