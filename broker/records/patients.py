"""Patients as the database names them: blinded keys, opened vaults, epochs, and the check that the key is the right one."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import close_gate
from broker.keyring import service as keyring
from broker.records.errors import OtherKey, UnknownPatient
from broker.records.models import SHARED, KeyFingerprint, Patient, RecordChanges
from broker.records.vault import Vault, new_vault, unwrap


def check_keys(session: Session, keys: Keys) -> None:
    """Remember the blinding key and the key-encryption key at first use.

    Raises OtherKey when the database was filled under another blinding key, KeyMissing when a key-encryption key that is in use is not at hand.
    """
    new = insert(KeyFingerprint).values(id=1, fingerprint=keys.fingerprint, seen_at=clock.now()).on_conflict_do_nothing()
    session.execute(new)
    known = session.exec(select(KeyFingerprint.fingerprint)).one()
    if not hmac.compare_digest(known, keys.fingerprint):
        raise OtherKey
    keyring.check(session, keys)


def _vault(keys: Keys, row: Patient, changes: int = 0) -> Vault:
    return unwrap(keys, row.patient_key, row.wrapped_key, row.fhir_id_sealed, row.epoch, changes)


def open_vault(session: Session, keys: Keys, patient_key: UUID) -> Vault:
    """The patient's opened data key. Raises UnknownPatient, and RecordUnreadable when it doesn't open."""
    changes = select(RecordChanges.changes).where(RecordChanges.patient_key == Patient.patient_key).scalar_subquery()
    found = session.exec(select(Patient, sa.func.coalesce(changes, 0)).where(Patient.patient_key == patient_key)).first()
    if found is None:
        raise UnknownPatient
    return _vault(keys, *found)


def find_patient(session: Session, keys: Keys, fhir_id: str) -> UUID | None:
    """The blinded key of a patient by FHIR id, or None if nothing is kept of such a patient."""
    patient_key = keys.patient_key(fhir_id)
    return session.exec(select(Patient.patient_key).where(Patient.patient_key == patient_key)).first()


def bump_epoch(session: Session, patient_key: UUID) -> int:
    """Move the patient's epoch on, in the transaction that changes consents or labels; returns the new one. Raises UnknownPatient."""
    changed = sa.update(Patient).where(col(Patient.patient_key) == patient_key).values(epoch=col(Patient.epoch) + 1).returning(col(Patient.epoch))
    epoch = session.execute(changed).scalar_one_or_none()
    if epoch is None:
        raise UnknownPatient
    return int(epoch)


def all_patients(session: Session) -> list[UUID]:
    """The blinded key of every patient whose data can still be read."""
    rows = session.exec(select(Patient.patient_key).where(Patient.wrapped_key != b"", Patient.patient_key != SHARED))
    return sorted(rows.all())


def is_frozen(session: Session, patient_key: UUID) -> bool:
    """Whether nothing of this patient is released. Raises UnknownPatient."""
    row = session.exec(select(Patient.frozen_at).where(Patient.patient_key == patient_key)).all()
    if not row:
        raise UnknownPatient
    return row[0] is not None


def freeze(session: Session, keys: Keys, actor: str, patient_key: UUID, *, frozen: bool) -> None:
    """Let nothing of a patient be released from now on, or again. Raises UnknownPatient.

    Waits for releases of the patient that are on their way: once this has committed, not a byte leaves.
    """
    close_gate(session, "patient", patient_key.hex)
    vault = open_vault(session, keys, patient_key)
    session.execute(sa.update(Patient).where(col(Patient.patient_key) == patient_key).values(frozen_at=clock.now() if frozen else None))
    happened = "patient.frozen" if frozen else "patient.thawed"
    audit.record(session, Event(happened, actor, patient=patient_key, subject=vault.subject))


def vaults_for(session: Session, keys: Keys, fhir_ids: Collection[str], *, shared: bool) -> dict[UUID, Vault]:
    """Opened vaults of these patients by blinded key, made where there are none; with ``shared`` also that of shared resources.

    Two that meet the same new patient agree: the first row stands, and the other opens it.
    """
    wanted = {keys.patient_key(fhir_id): fhir_id for fhir_id in fhir_ids} | ({SHARED: ""} if shared else {})
    if not wanted:
        return {}
    found = {row.patient_key: _vault(keys, row) for row in _rows(session, wanted)}
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        now = clock.now()
        rows = []
        for patient_key in missing:
            _, wrapped_key, fhir_id_sealed = new_vault(keys, patient_key, wanted[patient_key])
            rows.append({"patient_key": patient_key, "wrapped_key": wrapped_key, "fhir_id_sealed": fhir_id_sealed, "created_at": now})
        session.execute(insert(Patient).on_conflict_do_nothing(), rows)
        found |= {row.patient_key: _vault(keys, row) for row in _rows(session, missing)}
    return found


def _rows(session: Session, patient_keys: Collection[UUID]) -> list[Patient]:
    return list(session.exec(select(Patient).where(col(Patient.patient_key).in_(patient_keys))))
