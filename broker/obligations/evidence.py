"""What recipients write as evidence may name the patient: it lies under the patient's own key, and goes with it (PI-3.5).

After a destruction there is no such key: what a recipient then answers about it is sealed under a key of the house.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.applications import service as applications
from broker.crypto import Keys
from broker.obligations.models import Obligation, Recall, RecallNotice
from broker.records import service as records


def of_obligation(row: Obligation) -> tuple[UUID, UUID, str]:
    """Whose it is, and where it is sealed to."""
    return row.patient_key, row.id, "obligation|evidence"


def of_notice(row: RecallNotice) -> tuple[UUID, UUID, str]:
    """Whose it is, and where it is sealed to."""
    return row.patient_key, row.recall_id, f"recall|{row.application}"


def sealed(session: Session, keys: Keys, place: tuple[UUID, UUID, str], text: str) -> bytes | None:
    """Evidence, sealed for its place."""
    patient_key, owner, field = place
    if records.is_shredded(session, patient_key):
        return applications.seal_text(keys, owner, field, text)
    return records.seal_words(session, keys, patient_key, f"{owner}|{field}", text)


def opened(session: Session, keys: Keys, place: tuple[UUID, UUID, str], given: bytes | None) -> str | None:
    """The words again; None where there are none, or they went with the patient's key."""
    patient_key, owner, field = place
    if records.under_patient(given):
        return records.open_words(session, keys, patient_key, f"{owner}|{field}", given)
    return applications.unseal_text(keys, owner, field, given)


def destroy_texts(session: Session, keys: Keys, patient_key: UUID) -> int:
    """Forget the evidence about a patient that lies under a key of the house; how many."""
    del keys
    forgotten = 0
    for table in (Obligation, RecallNotice):
        mine = (col(table.patient_key) == patient_key, col(table.evidence_sealed).is_not(None))
        statement = sa.update(table).where(*mine).values(evidence_sealed=None)
        forgotten += len(session.execute(statement.returning(sa.literal(1))).all())
    return forgotten


def reseal(session: Session, keys: Keys, *, most: int = 500) -> int:
    """Seal under the patient's key what an earlier version sealed under one of the house; how many. A job of the worker."""
    changed = 0
    for row in session.exec(select(Obligation).where(col(Obligation.evidence_sealed).is_not(None))).all():
        if changed < most and not records.under_patient(row.evidence_sealed) and not records.is_shredded(session, row.patient_key):
            row.evidence_sealed = sealed(session, keys, of_obligation(row), opened(session, keys, of_obligation(row), row.evidence_sealed) or "")
            session.add(row)
            changed += 1
    # What was answered after a destruction stays as it is.
    issued = {row.id for row in session.exec(select(Recall).where(Recall.reason != "erased")).all()}
    for notice in session.exec(select(RecallNotice).where(col(RecallNotice.evidence_sealed).is_not(None))).all():
        if changed < most and notice.recall_id in issued and not records.under_patient(notice.evidence_sealed):
            if records.is_shredded(session, notice.patient_key):
                continue
            words = opened(session, keys, of_notice(notice), notice.evidence_sealed) or ""
            notice.evidence_sealed = sealed(session, keys, of_notice(notice), words)
            session.add(notice)
            changed += 1
    session.flush()
    return changed
