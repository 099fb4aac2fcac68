"""What is kept of incidents. Words that people write may name a patient and are sealed; plain columns hold codes, counts and times."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from broker.incidents.lifecycle import State
from broker.incidents.sanctions import CaseState

_TIME = sa.DateTime(timezone=True)


def _one_of(column: str, values: Any) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})", name=column)


class CaseNumber(SQLModel, table=True):
    """The last number of a kind of case and a year; its row is locked until the number's transaction ends."""

    __tablename__ = "case_number"

    kind: str = Field(sa_type=sa.Text, primary_key=True)
    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    last: int


class Incident(SQLModel, table=True):
    """One incident (PI-7). ``drill``: an exercise; nothing real is touched."""

    __tablename__ = "incident"
    __table_args__ = (
        _one_of("status", State),
        sa.Index("ix_incident_status_reported_at", "status", "reported_at"),
        sa.Index("ix_incident_reported_at", "reported_at"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    number: str = Field(sa_type=sa.Text, unique=True)  #: IN-YYYY-NNNNNN
    kind: str = Field(sa_type=sa.Text)
    drill: bool = False
    status: str = Field(default=State.REPORTED.value, sa_type=sa.Text)
    reported_by: str = Field(sa_type=sa.Text)  #: ``person:<id>``, ``client:<id>`` or ``system``
    reported_at: datetime = Field(sa_type=_TIME)
    occurred_at: datetime | None = Field(default=None, sa_type=_TIME)
    source: str | None = Field(default=None, sa_type=sa.Text, unique=True)  #: what opened it by itself, once: ``event:<id>``, ``emergency:<id>``
    severity: str | None = Field(default=None, sa_type=sa.Text)
    sensitive: bool | None = None
    data_types: list[str] = Field(default_factory=list, sa_type=JSONB)  #: resource types that left
    patients: int | None = None  #: how many, computed from the log
    releases: int | None = None
    assessed_at: datetime | None = Field(default=None, sa_type=_TIME)
    contained_at: datetime | None = Field(default=None, sa_type=_TIME)
    closed_at: datetime | None = Field(default=None, sa_type=_TIME)
    summary_sealed: bytes = Field(sa_type=sa.LargeBinary)
    cause_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    measures_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class IncidentStep(SQLModel, table=True):
    """One step that was taken. Written once."""

    __tablename__ = "incident_step"
    __table_args__ = (sa.Index("ix_incident_step_incident_id_at", "incident_id", "at"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    incident_id: UUID = Field(foreign_key="incident.id")
    action: str = Field(sa_type=sa.Text)
    at: datetime = Field(sa_type=_TIME)
    actor: str = Field(sa_type=sa.Text)
    text_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class IncidentPatient(SQLModel, table=True):
    """A patient whose data an incident concerns."""

    __tablename__ = "incident_patient"
    __table_args__ = (sa.Index("ix_incident_patient_incident_id", "incident_id"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    incident_id: UUID = Field(primary_key=True, foreign_key="incident.id")


class Containment(SQLModel, table=True):
    """Something that was frozen. ``changed``: this containment did it, so that lifting it undoes it; a drill changes nothing."""

    __tablename__ = "incident_containment"
    __table_args__ = (
        sa.Index("ix_incident_containment_incident_id", "incident_id"),
        sa.Index("ix_incident_containment_kind_target", "kind", "target", postgresql_where=sa.text("lifted_at IS NULL")),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    incident_id: UUID = Field(foreign_key="incident.id")
    kind: str = Field(sa_type=sa.Text)
    target: str = Field(sa_type=sa.Text)  #: id of the client, organisation, person or token, number of the grant; of a patient, the blinded key
    changed: bool
    at: datetime = Field(sa_type=_TIME)
    by: str = Field(sa_type=sa.Text)
    lift_asked_by: str | None = Field(default=None, sa_type=sa.Text)  #: natural person
    lift_asked_at: datetime | None = Field(default=None, sa_type=_TIME)
    lifted_by: str | None = Field(default=None, sa_type=sa.Text)
    lifted_at: datetime | None = Field(default=None, sa_type=_TIME)


class Notice(SQLModel, table=True):
    """Somebody who must be told of an incident: by when, and when and how it was done or why it need not be."""

    __tablename__ = "incident_notice"
    __table_args__ = (
        sa.Index("ix_incident_notice_incident_id", "incident_id"),
        sa.Index("ix_incident_notice_due_at", "due_at", postgresql_where=sa.text("done_at IS NULL")),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    incident_id: UUID = Field(foreign_key="incident.id")
    audience: str = Field(sa_type=sa.Text)
    organization_id: str | None = Field(default=None, sa_type=sa.Text, foreign_key="organization.id")
    due_at: datetime = Field(sa_type=_TIME)
    done_at: datetime | None = Field(default=None, sa_type=_TIME)
    done_by: str | None = Field(default=None, sa_type=sa.Text)
    waived: bool = False
    how: str | None = Field(default=None, sa_type=sa.Text)
    text_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class AdverseEventRow(SQLModel, table=True):
    """An adverse event of care: what happened, why, what follows (QA-4.3). Shown as FHIR R4 AdverseEvent."""

    __tablename__ = "adverse_event"
    __table_args__ = (sa.Index("ix_adverse_event_reported_at", "reported_at"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    incident_id: UUID | None = Field(default=None, foreign_key="incident.id")
    category: str = Field(sa_type=sa.Text)
    seriousness: str = Field(sa_type=sa.Text)
    occurred_at: datetime = Field(sa_type=_TIME)
    reported_at: datetime = Field(sa_type=_TIME)
    reported_by: str = Field(sa_type=sa.Text)
    analysed_at: datetime | None = Field(default=None, sa_type=_TIME)
    told_sealed: bytes = Field(sa_type=sa.LargeBinary)  #: under the patient's data key
    root_cause_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class Risk(SQLModel, table=True):
    """One line of the risk register (PI-5)."""

    __tablename__ = "risk"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    title: str = Field(sa_type=sa.Text)
    treatment: str = Field(sa_type=sa.Text)
    likelihood: int
    impact: int
    owner_id: UUID = Field(foreign_key="person.id")
    review_on: date
    status: str = Field(default="open", sa_type=sa.Text)
    changed_at: datetime = Field(sa_type=_TIME)


class CorrectiveAction(SQLModel, table=True):
    """What is to be changed because of a finding, complaint, incident or suggestion (PI-6)."""

    __tablename__ = "corrective_action"
    __table_args__ = (sa.Index("ix_corrective_action_due_on", "due_on", postgresql_where=sa.text("done_at IS NULL")),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    source: str = Field(sa_type=sa.Text)  #: incident, adverse-event, finding, complaint, suggestion, violation
    source_ref: str = Field(sa_type=sa.Text)
    changes: str = Field(sa_type=sa.Text)  #: policy, training, process
    title: str = Field(sa_type=sa.Text)
    owner_id: UUID = Field(foreign_key="person.id")
    due_on: date
    opened_at: datetime = Field(sa_type=_TIME)
    opened_by: str = Field(sa_type=sa.Text)
    done_at: datetime | None = Field(default=None, sa_type=_TIME)
    done_by: str | None = Field(default=None, sa_type=sa.Text)
    evidence: str | None = Field(default=None, sa_type=sa.Text)  #: policy revision, training id, document


class EmergencyAccess(SQLModel, table=True):
    """A break-glass: who opened whose data, until when, and what the review afterwards said (TM-5.5)."""

    __tablename__ = "emergency_access"
    __table_args__ = (
        sa.Index("ix_emergency_access_application", "application", unique=True),
        sa.Index("ix_emergency_access_review_due_at", "review_due_at", postgresql_where=sa.text("reviewed_at IS NULL")),
    )

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    application: str = Field(sa_type=sa.Text, primary_key=True)
    person_id: UUID = Field(foreign_key="person.id")
    natural_person: str = Field(sa_type=sa.Text)
    second_factor: bool
    opened_at: datetime = Field(sa_type=_TIME)
    closes_at: datetime = Field(sa_type=_TIME)
    review_due_at: datetime = Field(sa_type=_TIME)
    contact_told_at: datetime | None = Field(default=None, sa_type=_TIME)  #: the patient, or who speaks for them, was told
    reviewed_at: datetime | None = Field(default=None, sa_type=_TIME)
    reviewed_by: str | None = Field(default=None, sa_type=sa.Text)
    verdict: str | None = Field(default=None, sa_type=sa.Text)  #: justified, misuse
    incident: str | None = Field(default=None, sa_type=sa.Text)  #: what it became, not having been reviewed in time
    note_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class Violation(SQLModel, table=True):
    """A case against a person or an organisation (RS-7.3): grounds, hearing, decision by two, appeal, end."""

    __tablename__ = "violation"
    __table_args__ = (
        sa.CheckConstraint("(person_id IS NULL) <> (organization_id IS NULL)", name="accused"),
        _one_of("status", CaseState),
        sa.Index("ix_violation_opened_at", "opened_at"),
        sa.Index("ix_violation_person_id", "person_id"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    number: str = Field(sa_type=sa.Text, unique=True)  #: VC-YYYY-NNNNNN
    person_id: UUID | None = Field(default=None, foreign_key="person.id")
    organization_id: str | None = Field(default=None, sa_type=sa.Text, foreign_key="organization.id")
    grounds: str = Field(sa_type=sa.Text)
    evidence: list[str] = Field(sa_type=JSONB)  #: ids of events in the log
    #: The same with hash, place and receipt: ``{event, hash, index, receipt}``; the last two are null until the log is signed.
    entries: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONB, sa_column_kwargs={"server_default": sa.text("'[]'::jsonb")})
    status: str = Field(default=CaseState.OPENED.value, sa_type=sa.Text)
    opened_at: datetime = Field(sa_type=_TIME)
    opened_by: str = Field(sa_type=sa.Text)
    hearing_until: datetime = Field(sa_type=_TIME)
    sanction: str | None = Field(default=None, sa_type=sa.Text)
    days: int | None = None
    proposed_by: str | None = Field(default=None, sa_type=sa.Text)  #: natural person
    decided_by: str | None = Field(default=None, sa_type=sa.Text)  #: natural person
    decided_at: datetime | None = Field(default=None, sa_type=_TIME)
    ends_at: datetime | None = Field(default=None, sa_type=_TIME)
    appeal_until: datetime | None = Field(default=None, sa_type=_TIME)
    ended_at: datetime | None = Field(default=None, sa_type=_TIME)
    in_force: bool = False  #: whether the sanction took something away that its end gives back
    agreement_before: datetime | None = Field(default=None, sa_type=_TIME)  #: until when the agreement ran that a sanction ended
    told_sealed: bytes = Field(sa_type=sa.LargeBinary)
    heard_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    reasons_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    appeal_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
