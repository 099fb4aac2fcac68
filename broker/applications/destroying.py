"""What people wrote about a patient lies under an application's key, which can't be destroyed alone: it is overwritten with nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.applications import sealing
from broker.applications.models import Application, ApplicationPatient, Attachment, Decision, IdempotencyKey, Submission
from broker.crypto import Keys
from broker.records import service as records


def applications_about(session: Session, patient_key: UUID) -> list[UUID]:
    """Every submitted application that named the patient, in order."""
    query = sa.select(col(ApplicationPatient.application_id)).where(col(ApplicationPatient.patient_key) == patient_key)
    return sorted(session.execute(query).scalars())


def destroy_texts(session: Session, keys: Keys, patient_key: UUID) -> int:
    """Forget what was written in every application about the patient, and every answer kept for repetition; how many texts.

    To be called while the patient's identifiers still stand, since drafts name patients only by them. A text about several patients goes
    with the first of them. Of an answer that is kept for a day nothing outside its seal says whom it is about: all go, and a request
    repeated under such a key is refused as one whose key was used, so that nothing is done twice.
    """
    drafts = session.exec(select(Application).where(col(Application.patients_sealed).is_not(None)).order_by(col(Application.id))).all()
    named = [*applications_about(session, patient_key), *(row.id for row in drafts if _names(session, keys, row, patient_key))]
    texts = 0
    forgotten: tuple[tuple[Any, str, str], ...] = (
        (Application, "justification_sealed", "id"),
        (Application, "patients_sealed", "id"),
        (Decision, "reason_sealed", "application_id"),
        (Submission, "justification_sealed", "application_id"),
    )
    for table, column, key in forgotten:
        statement = sa.update(table).where(getattr(table, key).in_(named), getattr(table, column).is_not(None)).values({column: None})
        texts += len(session.execute(statement.returning(sa.literal(1))).all())
    documents = sa.delete(Attachment).where(col(Attachment.application_id).in_(named)).returning(sa.literal(1))
    texts += len(session.execute(documents).all())
    answers = sa.update(IdempotencyKey).where(col(IdempotencyKey.answer_sealed).is_not(None)).values(answer_sealed=None)
    return texts + len(session.execute(answers.returning(sa.literal(1))).all())


def _names(session: Session, keys: Keys, draft: Application, patient_key: UUID) -> bool:
    """Whether a draft names the patient by an identifier."""
    typed = sealing.unseal_json(keys, draft.id, "patients", draft.patients_sealed or b"")
    return any(records.match(session, keys, one.get("identifier")).patient_key == patient_key for one in typed)
