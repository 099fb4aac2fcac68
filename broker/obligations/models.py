"""The ledger: what is owed for whose data under which grant; and recalls with what each recipient did."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from broker.obligations.lifecycle import State

_TIME = sa.DateTime(timezone=True)
_STATES = ", ".join(f"'{state}'" for state in State)


class Obligation(SQLModel, table=True):
    """One obligation for one patient's data under one grant, due on one day; releases of the same day share it."""

    __tablename__ = "obligation"
    __table_args__ = (
        sa.CheckConstraint(f"status IN ({_STATES})", name="status"),
        sa.Index("ix_obligation_id", "id", unique=True),
        sa.Index("ix_obligation_application_code", "application", "code"),
        sa.Index("ix_obligation_recipient_id_due_on", "recipient_id", "due_on"),
        sa.Index("ix_obligation_due_on", "due_on", postgresql_where=sa.text("status = 'open'")),
    )

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    grant_id: UUID = Field(primary_key=True, foreign_key="sharing_grant.id")
    code: str = Field(sa_type=sa.Text, primary_key=True)
    due_on: date = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid4)
    application: str = Field(sa_type=sa.Text)
    recipient_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")  #: who owes it
    status: str = Field(default=State.OPEN.value, sa_type=sa.Text)
    releases: int = 1
    first_release: UUID
    first_at: datetime = Field(sa_type=_TIME)
    last_at: datetime = Field(sa_type=_TIME)
    method: str | None = Field(default=None, sa_type=sa.Text)  #: how it was done, as a code
    evidence_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    evidence_digest: str | None = Field(default=None, sa_type=sa.Text)  #: SHA-256 of the signed file, where there was one
    answered_at: datetime | None = Field(default=None, sa_type=_TIME)
    answered_by: str | None = Field(default=None, sa_type=sa.Text)
    escalated_at: datetime | None = Field(default=None, sa_type=_TIME)


class Recall(SQLModel, table=True):
    """A patient's data are called back from everybody who received them. ``event``: what in the log made it, once."""

    __tablename__ = "recall"
    __table_args__ = (sa.Index("ix_recall_id", "id", unique=True), sa.Index("ix_recall_number", "number", unique=True), sa.UniqueConstraint("event"))

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    number: str = Field(sa_type=sa.Text)  #: RC-YYYY-NNNNNN
    reason: str = Field(sa_type=sa.Text)  #: withdrawn, corrected, erased
    event: UUID | None = None
    issued_at: datetime = Field(sa_type=_TIME)
    issued_by: str = Field(sa_type=sa.Text)
    due_on: date


class RecallNotice(SQLModel, table=True):
    """What one recipient was asked under one application, and what it did."""

    __tablename__ = "recall_notice"
    __table_args__ = (
        sa.ForeignKeyConstraint(["patient_key", "recall_id"], ["recall.patient_key", "recall.id"]),
        sa.Index("ix_recall_notice_recipient_id", "recipient_id"),
        sa.Index("ix_recall_notice_recall_id", "recall_id"),
    )

    patient_key: UUID = Field(primary_key=True)
    recall_id: UUID = Field(primary_key=True)
    application: str = Field(sa_type=sa.Text, primary_key=True)
    recipient_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")
    releases: int
    done: str | None = Field(default=None, sa_type=sa.Text)
    method: str | None = Field(default=None, sa_type=sa.Text)
    evidence_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    evidence_digest: str | None = Field(default=None, sa_type=sa.Text)
    answered_at: datetime | None = Field(default=None, sa_type=_TIME)
    answered_by: str | None = Field(default=None, sa_type=sa.Text)
    escalated_at: datetime | None = Field(default=None, sa_type=_TIME)
