"""Words of incidents and cases about a patient whose key is destroyed: overwritten where they speak of nobody else (PI-3.5).

An incident of many patients keeps its words: they are the record of what was done about it, and say who is meant by number. Its form asks
to name no patient.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.applications import service as applications
from broker.audit.models import AuditEvent
from broker.crypto import Keys
from broker.incidents.models import EmergencyAccess, Incident, IncidentPatient, IncidentStep, Notice, Violation
from broker.records import service as records


def destroy_texts(session: Session, keys: Keys, patient_key: UUID) -> int:
    """Forget the words of every incident that concerns this patient alone, and of every case whose evidence is about them alone; how many."""
    del keys
    of = select(IncidentPatient.incident_id).group_by(col(IncidentPatient.incident_id)).having(sa.func.count() == 1)
    mine = select(IncidentPatient.incident_id).where(IncidentPatient.patient_key == patient_key, col(IncidentPatient.incident_id).in_(of))
    alone = list(session.exec(mine).all())
    numbers = {row.number for row in applications.by_id(session, applications.applications_about(session, patient_key)) if row.number}
    sources = [f"emergency:{number}" for number in numbers]
    alone += session.exec(select(Incident.id).where(col(Incident.source).in_(sources))).all()
    forgotten = 0
    for row in session.exec(select(Incident).where(col(Incident.id).in_(alone))).all():
        row.summary_sealed, row.cause_sealed, row.measures_sealed = b"", None, None
        session.add(row)
        forgotten += 1
    session.flush()
    for table in (IncidentStep, Notice):
        statement = sa.update(table).where(col(table.incident_id).in_(alone), col(table.text_sealed).is_not(None)).values(text_sealed=None)
        forgotten += len(session.execute(statement.returning(sa.literal(1))).all())
    return forgotten + _cases(session, patient_key, numbers)


def _cases(session: Session, patient_key: UUID, numbers: set[str]) -> int:
    forgotten = 0
    for row in session.exec(select(Violation).where(Violation.told_sealed != b"")).all():
        events = session.exec(select(AuditEvent).where(col(AuditEvent.id).in_([UUID(one) for one in row.evidence]))).all()
        if events and all(one.patient_key == patient_key or (one.patient_key is None and one.application in numbers) for one in events):
            row.told_sealed, row.heard_sealed, row.reasons_sealed, row.appeal_sealed = b"", None, None, None
            session.add(row)
            forgotten += 1
    session.flush()
    return forgotten


def reseal(session: Session, keys: Keys, *, most: int = 200) -> int:
    """Seal under the patient's key what an earlier version sealed under one of the house: notes of reviewed emergencies; how many. A job."""
    changed = 0
    rows = session.exec(select(EmergencyAccess).where(col(EmergencyAccess.note_sealed).is_not(None)).order_by(col(EmergencyAccess.application))).all()
    for row in rows:
        if records.under_patient(row.note_sealed) or changed >= most:
            continue
        found = applications.find(session, row.application)
        gone = records.is_shredded(session, row.patient_key)
        note = None if gone else applications.unseal_text(keys, found.id, "emergency|note", row.note_sealed)
        row.note_sealed = records.seal_words(session, keys, row.patient_key, f"emergency|{row.application}", note)
        session.add(row)
        changed += 1
    session.flush()
    return changed
