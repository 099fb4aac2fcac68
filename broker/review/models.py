"""What is kept of a review: findings, the document that was signed, signatures, and which access rights were confirmed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

_TIME = sa.DateTime(timezone=True)


class ReviewFinding(SQLModel, table=True):
    """Something that the review found. Its words are sealed, since they may speak of a patient."""

    __tablename__ = "review_finding"
    __table_args__ = (
        sa.CheckConstraint("severity IN ('low', 'medium', 'high')", name="severity"),
        sa.UniqueConstraint("quarter", "ordinal"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    quarter: str = Field(sa_type=sa.Text)
    ordinal: int
    application: str | None = Field(default=None, sa_type=sa.Text)  #: the exchange that it is about
    severity: str = Field(sa_type=sa.Text)
    at: datetime = Field(sa_type=_TIME)
    person_id: UUID = Field(foreign_key="person.id")
    text_sealed: bytes = Field(sa_type=sa.LargeBinary)


class ReviewFigures(SQLModel, table=True):
    """The figures of a quarter as pages show them: all of one moment, replaced by those of a later one."""

    __tablename__ = "review_figures"

    quarter: str = Field(sa_type=sa.Text, primary_key=True)
    document: dict[str, Any] = Field(sa_type=JSONB)
    at: datetime = Field(sa_type=_TIME)


class ReviewDocument(SQLModel, table=True):
    """The figures as they were laid down to be signed. Written once."""

    __tablename__ = "review_document"

    quarter: str = Field(sa_type=sa.Text, primary_key=True)
    document: dict[str, Any] = Field(sa_type=JSONB)
    digest: str = Field(sa_type=sa.Text)  #: ``report.digest``
    at: datetime = Field(sa_type=_TIME)
    person_id: UUID = Field(foreign_key="person.id")


class ReviewSignature(SQLModel, table=True):
    """Somebody signed the document. The database itself holds that two natural persons do. Written once."""

    __tablename__ = "review_signature"
    __table_args__ = (
        sa.CheckConstraint("role IN ('auditor', 'information_manager')", name="role"),
        sa.UniqueConstraint("quarter", "natural_person"),
    )

    quarter: str = Field(sa_type=sa.Text, primary_key=True, foreign_key="review_document.quarter")
    role: str = Field(sa_type=sa.Text, primary_key=True)
    person_id: UUID = Field(foreign_key="person.id")
    natural_person: str = Field(sa_type=sa.Text)
    digest: str = Field(sa_type=sa.Text)
    at: datetime = Field(sa_type=_TIME)


class Recertification(SQLModel, table=True):
    """One access right that is to be confirmed or taken away (PI-3.2b): a role, a client, a grant."""

    __tablename__ = "recertification"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('role', 'client', 'grant')", name="kind"),
        sa.CheckConstraint("answer IN ('keep', 'revoke')", name="answer"),
        sa.CheckConstraint("outcome IN ('kept', 'revoked', 'unanswered', 'gone', 'last')", name="outcome"),
        sa.UniqueConstraint("quarter", "kind", "subject"),
        sa.Index("ix_recertification_due_at", "due_at", postgresql_where=sa.text("outcome IS NULL")),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    quarter: str = Field(sa_type=sa.Text)
    kind: str = Field(sa_type=sa.Text)
    subject: str = Field(sa_type=sa.Text)  #: ``<person>|<role>|<organisation>``, a client's id, a grant's number
    organization_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")  #: whose head, or else the information manager, answers
    due_at: datetime = Field(sa_type=_TIME)
    last_used_at: datetime | None = Field(default=None, sa_type=_TIME)  #: as it was when it was asked about
    unused: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})  #: proposed to be taken away
    answer: str | None = Field(default=None, sa_type=sa.Text)
    answered_by: UUID | None = Field(default=None, foreign_key="person.id")
    answered_at: datetime | None = Field(default=None, sa_type=_TIME)
    outcome: str | None = Field(default=None, sa_type=sa.Text)  #: ``last``: the last of its kind, which isn't taken away by itself
    outcome_at: datetime | None = Field(default=None, sa_type=_TIME)
