"""Requests of patients and each step taken with them. Every word is sealed under the patient's own key."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from broker.requests.lifecycle import State
from broker.requests.rules import By, Kind

_TIME = sa.DateTime(timezone=True)


def _one_of(column: str, values: type[Kind | By | State]) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(str(value)) for value in values)})", name=column)


class RequestNumber(SQLModel, table=True):
    """The last number of a year; its row is locked until the number's transaction ends."""

    __tablename__ = "patient_request_number"

    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    last: int


class PatientRequest(SQLModel, table=True):
    """One request. ``due_on`` is its clock; an appeal gets a clock of its own."""

    __tablename__ = "patient_request"
    __table_args__ = (
        _one_of("kind", Kind),
        _one_of("by", By),
        _one_of("status", State),
        sa.Index("ix_patient_request_id", "id", unique=True),
        sa.Index("ix_patient_request_number", "number", unique=True),
        sa.Index("ix_patient_request_status_due_on", "status", "due_on"),
        sa.Index("ix_patient_request_received_at", "received_at"),
    )

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    number: str = Field(sa_type=sa.Text)  #: PR-YYYY-NNNNNN
    kind: str = Field(sa_type=sa.Text)
    by: str = Field(sa_type=sa.Text)
    channel: str = Field(sa_type=sa.Text)  #: ``page`` or ``desk``
    status: str = Field(default=State.RECEIVED.value, sa_type=sa.Text)
    received_at: datetime = Field(sa_type=_TIME)
    received_by: str = Field(sa_type=sa.Text)  #: ``person:<id>`` at the desk, ``patient``
    due_on: date
    extended: bool = False
    answered_at: datetime | None = Field(default=None, sa_type=_TIME)  #: first fulfilled or refused
    decided_by: str | None = Field(default=None, sa_type=sa.Text)  #: natural person who answered last
    ground: str | None = Field(default=None, sa_type=sa.Text)
    order_number: str | None = Field(default=None, sa_type=sa.Text)  #: of the destruction that it led to
    lifted_at: datetime | None = Field(default=None, sa_type=_TIME)  #: the restriction ended
    text_sealed: bytes = Field(sa_type=sa.LargeBinary)
    asker_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)  #: who asks for the patient, and by which right
    answer_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class RequestStep(SQLModel, table=True):
    """One step that was taken. Written once."""

    __tablename__ = "patient_request_step"
    __table_args__ = (
        sa.ForeignKeyConstraint(["patient_key", "request_id"], ["patient_request.patient_key", "patient_request.id"]),
        sa.Index("ix_patient_request_step_request_id", "request_id", "at"),
    )

    patient_key: UUID = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    request_id: UUID
    action: str = Field(sa_type=sa.Text)
    at: datetime = Field(sa_type=_TIME)
    actor: str = Field(sa_type=sa.Text)
    text_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)


class Correction(SQLModel, table=True):
    """What is right, as one person brought it and another agreed to it or sent it back. Its content lies under the patient's own key."""

    __tablename__ = "patient_correction"
    __table_args__ = (
        sa.CheckConstraint("status IN ('proposed', 'agreed', 'returned')", name="status"),
        sa.ForeignKeyConstraint(["patient_key", "request_id"], ["patient_request.patient_key", "patient_request.id"]),
        sa.Index("uq_patient_correction_waiting", "patient_key", "request_id", unique=True, postgresql_where=sa.text("status = 'proposed'")),
    )

    patient_key: UUID = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    request_id: UUID
    status: str = Field(default="proposed", sa_type=sa.Text)
    proposed_at: datetime = Field(sa_type=_TIME)
    proposed_by: str = Field(sa_type=sa.Text)  #: as the log names actors
    natural_person: str = Field(sa_type=sa.Text)
    decided_at: datetime | None = Field(default=None, sa_type=_TIME)
    decided_by: str | None = Field(default=None, sa_type=sa.Text)
    body_sealed: bytes = Field(sa_type=sa.LargeBinary)
