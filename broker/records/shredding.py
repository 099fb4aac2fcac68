"""Destroying a patient's data key, and with it every record, consent, manifest and text that was sealed under it (PI-3.5).

The row of the patient stays, so that releases and the log still point to somebody; its key is gone. What PostgreSQL still holds of the
old row until it is rewritten is the business of ``retention.scrubbing``.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.crypto import Keys
from broker.database import close_gate
from broker.records.errors import UnknownPatient
from broker.records.models import SHARED, BlindedIdentifier, Patient, StoredResource
from broker.records.patients import open_vault

#: What stands where the wrapped key was. Nothing that AES-GCM made is as short.
GONE = b""


def is_shredded(session: Session, patient_key: UUID) -> bool:
    """Whether the key was destroyed. Raises UnknownPatient."""
    found = session.exec(select(Patient.wrapped_key).where(Patient.patient_key == patient_key)).all()
    if not found:
        raise UnknownPatient
    return found[0] == GONE


def shred(session: Session, keys: Keys, patient_key: UUID) -> tuple[str, dict[str, int]]:
    """Destroy the key, the records and the blinded identifiers; the log's name of the patient, and how many rows went.

    Waits for releases on their way. Raises UnknownPatient, and RecordUnreadable where the key is gone already.
    """
    if patient_key == SHARED:
        raise UnknownPatient
    close_gate(session, "patient", patient_key.hex)
    subject = open_vault(session, keys, patient_key).subject
    return subject, _destroyed(session, patient_key)


def shred_again(session: Session, patient_key: UUID) -> bool:
    """What was destroyed before came back with a backup: destroy it once more; whether there was anything."""
    found = session.exec(select(Patient.wrapped_key).where(Patient.patient_key == patient_key)).all()
    if not found or found[0] == GONE:
        return False
    close_gate(session, "patient", patient_key.hex)
    _destroyed(session, patient_key)
    return True


def _destroyed(session: Session, patient_key: UUID) -> dict[str, int]:
    # The key first: the database lets records go only where it is gone already.
    values = {"wrapped_key": GONE, "fhir_id_sealed": GONE, "epoch": col(Patient.epoch) + 1, "frozen_at": clock.now()}
    session.execute(sa.update(Patient).where(col(Patient.patient_key) == patient_key).values(**values))
    removed = {}
    for name, table in (("resources", StoredResource), ("identifiers", BlindedIdentifier)):
        gone = session.execute(sa.delete(table).where(sa.column("patient_key") == patient_key).returning(sa.literal(1)))
        removed[name] = len(gone.all())
    return removed
