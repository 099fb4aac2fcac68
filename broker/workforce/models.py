"""What is kept of qualifications and training: one row for each certificate, never overwritten but in its status."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

_TIME = sa.DateTime(timezone=True)

STATUSES = ("active", "suspended", "withdrawn")


class Credential(SQLModel, table=True):
    """A licence, or a training that was passed, of a person or an institution. Renewing it is a new row."""

    __tablename__ = "credential"
    __table_args__ = (
        sa.CheckConstraint("book IN ('qualification', 'training')", name="book"),
        sa.CheckConstraint("status IN ('active', 'suspended', 'withdrawn')", name="status"),
        sa.CheckConstraint("(person_id IS NULL) <> (organization_id IS NULL)", name="holder"),
        sa.CheckConstraint("book = 'qualification' OR person_id IS NOT NULL", name="trained"),
        sa.Index("ix_credential_person_id", "person_id"),
        sa.Index("ix_credential_organization_id", "organization_id"),
        sa.Index("ix_credential_valid_until", "valid_until", postgresql_where=sa.text("status = 'active'")),
        sa.Index(
            "uq_credential_entry",
            "person_id",
            "organization_id",
            "code",
            "number",
            "issued_on",
            "valid_until",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    book: str = Field(sa_type=sa.Text)
    person_id: UUID | None = Field(default=None, foreign_key="person.id")
    organization_id: str | None = Field(default=None, sa_type=sa.Text, foreign_key="organization.id")
    code: str = Field(sa_type=sa.Text)  #: ``codes.CODES``
    number: str = Field(sa_type=sa.Text)  #: of the certificate
    scope: list[str] = Field(sa_type=JSONB)  #: specialities, such as ``心血管内科``
    issuer: str | None = Field(default=None, sa_type=sa.Text)
    issued_on: date
    valid_until: datetime | None = Field(default=None, sa_type=_TIME)  #: the first moment at which it no longer counts; None: without end
    status: str = Field(default="active", sa_type=sa.Text)
    created_at: datetime = Field(sa_type=_TIME)
    changed_at: datetime = Field(sa_type=_TIME)


class Demand(SQLModel, table=True):
    """What the registers demand at a step, whatever a profile of policy requires on top."""

    __tablename__ = "credential_demand"
    __table_args__ = (sa.CheckConstraint("step IN ('apply', 'endorse', 'decide', 'receive')", name="step"),)

    step: str = Field(sa_type=sa.Text, primary_key=True)
    code: str = Field(sa_type=sa.Text, primary_key=True)
