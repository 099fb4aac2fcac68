"""What is kept of remote consultations. Words that people write may name a patient and are sealed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from broker.telemedicine.lifecycle import State, Step
from broker.telemedicine.rules import Identified

_TIME = sa.DateTime(timezone=True)


def _one_of(column: str, values: Any) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class Consultation(SQLModel, table=True):
    """One remote consultation, tied to one grant and one patient."""

    __tablename__ = "consultation"
    __table_args__ = (
        sa.CheckConstraint(_one_of("status", State), name="status"),
        sa.CheckConstraint(_one_of("identified_by", Identified), name="identified_by"),
        sa.CheckConstraint("starts_at < ends_at", name="span"),
        sa.Index("ix_consultation_number", "number", unique=True),
        sa.Index("ix_consultation_starts_at", "starts_at"),
        sa.Index("ix_consultation_follow_up_due", "follow_up_due", postgresql_where=sa.text("status IN ('open', 'closed')")),
    )

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    number: str = Field(sa_type=sa.Text)  #: TC-YYYY-NNNNNN
    application: str = Field(sa_type=sa.Text)  #: SA-YYYY-NNNNNN
    grant_id: UUID = Field(foreign_key="sharing_grant.id", unique=True)
    booker_id: UUID = Field(foreign_key="person.id")
    consultant_id: UUID = Field(foreign_key="person.id")
    status: str = Field(default=State.BOOKED.value, sa_type=sa.Text)
    starts_at: datetime = Field(sa_type=_TIME)
    ends_at: datetime = Field(sa_type=_TIME)  #: the first moment after it
    identified_by: str | None = Field(default=None, sa_type=sa.Text)  #: how the patient's identity was checked
    opened_at: datetime | None = Field(default=None, sa_type=_TIME)
    closed_at: datetime | None = Field(default=None, sa_type=_TIME)
    follow_up_due: date | None = None
    created_at: datetime = Field(sa_type=_TIME)


class ConsultationStep(SQLModel, table=True):
    """One step. Written once."""

    __tablename__ = "consultation_step"
    __table_args__ = (
        sa.CheckConstraint(_one_of("step", Step), name="step"),
        sa.ForeignKeyConstraint(["patient_key", "consultation_id"], ["consultation.patient_key", "consultation.id"]),
        sa.Index("ix_consultation_step_consultation_id_at", "consultation_id", "at"),
    )

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    consultation_id: UUID
    step: str = Field(sa_type=sa.Text)
    at: datetime = Field(sa_type=_TIME)
    person_id: UUID | None = Field(default=None, foreign_key="person.id")  #: None: the clock
    facts: dict[str, Any] = Field(sa_type=JSONB)  #: codes and counts
    note_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class ConsultationNumber(SQLModel, table=True):
    """The last number of a year; its row is locked until the number's transaction ends."""

    __tablename__ = "consultation_number"

    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    last: int
