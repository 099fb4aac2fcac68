"""A patient's own copy (PIPL 45): everything that is kept of them as one FHIR R4 Bundle, byte for byte, on record before it leaves.

It goes to the patient and to nobody else, so no consent and no least-necessary profile narrows it; it stands in the transmission log
and in the patient's accounting like every other sending, with the request's number where an application's would be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent import service as consent
from broker.consent.models import Consent
from broker.crypto import Keys
from broker.database import Database, gate_lock, hold_gate
from broker.incidents import service as incidents
from broker.records import service as records
from broker.requests.errors import RequestMoveNotAllowed
from broker.requests.lifecycle import State
from broker.requests.models import PatientRequest
from broker.requests.rules import Kind

#: Whether somebody waits for an advisory lock alone that others share (PostgreSQL 53.13: a 64-bit key stands in two halves).
_AWAITED = """
SELECT EXISTS (
    SELECT FROM pg_locks
     WHERE locktype = 'advisory' AND NOT granted AND mode = 'ExclusiveLock' AND objsubid = 1
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND (classid::bigint << 32 | objid::bigint) = %s)
"""

#: HL7 v3 PurposeOfUse: at the patient's own request.
PURPOSE = "PATRQT"


@dataclass(frozen=True)
class Copy:
    """A copy: its bytes, how many resources are in it, and the id under which it stands in the log."""

    release: UUID
    body: bytes
    items: int
    sha256: str


class Held:
    """A copy while the patient's gate is held. ``complete``: whoever sends it says whether every byte was taken."""

    def __init__(self, session: Session, lock: int, copy: Copy) -> None:
        self.session = session
        self.lock = lock
        self.copy = copy
        self.complete = False

    def is_awaited(self) -> bool:
        """Whether somebody waits for the gate alone: to freeze, restrict or destroy."""
        return bool(self.session.connection().exec_driver_sql(_AWAITED, (self.lock,)).scalar_one())


@contextmanager
def held(database: Database, keys: Keys, actor: str, row: PatientRequest, *, hospital: str) -> Iterator[Held]:
    """Make the copy and hold the gate until the block ends. Its intent is committed before it is read, its outcome when the block ends.

    Raises RequestMoveNotAllowed unless a copy was granted, and while an incident holds the patient's data back (the patient's own wish
    does not); UnknownPatient, RecordUnreadable where the key was destroyed.
    """
    release = audit.uuid7(clock.now())
    if not may_copy(row):
        raise RequestMoveNotAllowed
    with database.transaction() as session:
        hold_gate(session, "patient", row.patient_key.hex)
        if incidents.is_contained(session, row.patient_key):
            raise RequestMoveNotAllowed
        subject = records.open_vault(session, keys, row.patient_key).subject
        intent = Event(
            "release.permitted", actor, application=row.number, purpose=PURPOSE, patient=row.patient_key, subject=subject, release=release,
            outcome="permit", facts={"sender": hospital, "to": "patient", "request": row.number},
        )  # fmt: skip
        audit.record(session, intent)
    with database.transaction() as session:
        # Asked again behind the gate: what was contained since the intent is not read, and nobody contains while it is on its way.
        hold_gate(session, "patient", row.patient_key.hex)
        contained = incidents.is_contained(session, row.patient_key)
        if contained:
            audit.record(session, replace(intent, type="release.failed", outcome="failed", facts={"reason": "contained"}))
        else:
            body, items = bundle(session, keys, row.patient_key)
            made = Held(session, gate_lock("patient", row.patient_key.hex), Copy(release, body, items, sha256(body).hexdigest()))
            try:
                yield made
            finally:
                facts: dict[str, str | int | bool | list[str]] = {
                    "sender": hospital, "items": items, "manifest": made.copy.sha256, "bytes": len(body),
                }  # fmt: skip
                outcome = "sent" if made.complete else "partial"
                audit.record(session, replace(intent, type=f"release.{outcome}", outcome=outcome, facts=facts))
    if contained:
        raise RequestMoveNotAllowed


def may_copy(row: PatientRequest) -> bool:
    """Whether a copy was granted."""
    return row.status == State.FULFILLED.value and row.kind in (Kind.COPY.value, Kind.PORTABILITY.value)


def bundle(session: Session, keys: Keys, patient_key: UUID) -> tuple[bytes, int]:
    """Records and consents as a Bundle of type collection (R4 2.36.2); numbers stay digit for digit. How many resources are in it."""
    kept = [one.body for one in records.whole(session, keys, patient_key)]
    rows = session.exec(select(Consent.id).where(Consent.patient_key == patient_key).order_by(col(Consent.updated_at))).all()
    consents = [consent.read(session, keys, one).body for one in rows]
    entries = b",".join(b'{"resource":' + body + b"}" for body in (*kept, *consents))
    at = json.dumps(clock.now().isoformat(timespec="seconds"))
    head = f'{{"resourceType":"Bundle","type":"collection","timestamp":{at}'.encode()
    return head + (b',"entry":[' + entries + b"]" if entries else b"") + b"}", len(kept) + len(consents)


def resources(body: bytes) -> Sequence[dict[str, Any]]:
    """The resources of a copy, for the version that people read."""
    return [entry["resource"] for entry in json.loads(body).get("entry", ())]
