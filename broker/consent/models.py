"""What is kept of consents: the newest state of each, and every version there ever was.

Bodies, evidence and compiled rules are sealed with the patient's data key, since what somebody withholds says what they have.
Plain columns say only what a query needs. Nothing is ever deleted.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlmodel import Field, SQLModel

from broker.consent.lifecycle import State

_TIME = sa.DateTime(timezone=True)
_STATES = ", ".join(f"'{state}'" for state in State)


class Consent(SQLModel, table=True):
    """A consent as it stands now. ``speaks_until``: after it the consent says nothing any more (the root's period)."""

    __tablename__ = "consent"
    __table_args__ = (
        sa.CheckConstraint(f"status IN ({_STATES})", name="status"),
        sa.Index(None, "id"),
        sa.Index("ix_consent_identifiers", "identifiers", postgresql_using="gin"),
        sa.Index(None, "request_token"),
    )

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    id: UUID = Field(primary_key=True)
    version: int
    status: str = Field(sa_type=sa.Text)
    dialect: str = Field(sa_type=sa.Text)
    speaks_until: datetime | None = Field(default=None, sa_type=_TIME)
    issued_from: datetime | None = Field(default=None, sa_type=_TIME)  #: Consent.dateTime: the moments that it may mean
    issued_until: datetime | None = Field(default=None, sa_type=_TIME)
    identifiers: list[bytes] = Field(sa_type=postgresql.ARRAY(sa.LargeBinary))  #: blinded
    request_token: bytes | None = Field(default=None, sa_type=sa.LargeBinary)  #: blinded Idempotency-Key of the caller who filed it
    content_hash: bytes = Field(sa_type=sa.LargeBinary)  #: keyed, of what was filed
    filed_at: datetime = Field(sa_type=_TIME)
    updated_at: datetime = Field(sa_type=_TIME)
    replaced_by: UUID | None = Field(default=None)
    residual: bytes = Field(sa_type=sa.LargeBinary)  #: the compiled rules, sealed


class ConsentVersion(SQLModel, table=True):
    """One version: what was filed, or what became of it, by whom and when."""

    __tablename__ = "consent_version"
    __table_args__ = (
        sa.ForeignKeyConstraint(["patient_key", "consent_id"], ["consent.patient_key", "consent.id"]),
        sa.CheckConstraint(f"status IN ({_STATES})", name="status"),
    )

    patient_key: UUID = Field(primary_key=True)
    consent_id: UUID = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    status: str = Field(sa_type=sa.Text)
    change: str = Field(sa_type=sa.Text)  #: filed, revoked, replaced
    actor: str = Field(sa_type=sa.Text)  #: ``person:<id>``
    at: datetime = Field(sa_type=_TIME)
    body: bytes = Field(sa_type=sa.LargeBinary)  #: the consent as it was given, sealed
    residual: bytes = Field(sa_type=sa.LargeBinary)
    evidence: bytes | None = Field(default=None, sa_type=sa.LargeBinary)  #: the document that proves the change, sealed
