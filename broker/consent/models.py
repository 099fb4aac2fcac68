"""What is kept of consents: the newest state of each, and every version there ever was.

Bodies, evidence and compiled rules are sealed with the patient's data key, since what somebody withholds says what they have.
Plain columns say only what a query needs. Nothing is ever deleted.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
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


class Disclosure(SQLModel, table=True):
    """Somebody's record that a consent was consulted, whether or not anything was shared then (HL7 FAST ``$recordDisclosure``)."""

    __tablename__ = "consent_disclosure"
    __table_args__ = (
        sa.ForeignKeyConstraint(["patient_key", "consent_id"], ["consent.patient_key", "consent.id"]),
        sa.Index(None, "patient_key", "consent_id"),
    )

    patient_key: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    consent_id: UUID
    at: datetime = Field(sa_type=_TIME)
    actor: str = Field(sa_type=sa.Text)
    body: bytes = Field(sa_type=sa.LargeBinary)  #: the AuditEvent as it was given, sealed


class Subscription(SQLModel, table=True):
    """Somebody who wants to hear of changes of consents (R5 Subscriptions Backport). Where to and of whom is sealed."""

    __tablename__ = "consent_subscription"
    __table_args__ = (sa.CheckConstraint("status IN ('requested', 'active', 'error', 'off')", name="status"), sa.Index(None, "owner"))

    id: UUID = Field(primary_key=True)
    owner: str = Field(sa_type=sa.Text)  #: ``person:<id>``
    status: str = Field(sa_type=sa.Text)
    content: str = Field(sa_type=sa.Text)  #: empty, id-only
    given: bytes = Field(sa_type=sa.LargeBinary)  #: the Subscription as it was given, sealed
    events: int = Field(default=0, sa_type=sa.BigInteger)
    created_at: datetime = Field(sa_type=_TIME)
    until: datetime | None = Field(default=None, sa_type=_TIME)
    attempts: int = 0  #: of the handshake
    next_at: datetime = Field(sa_type=_TIME)


class ChangeTold(SQLModel, table=True):
    """One change of a consent that a subscriber is to hear of, and what became of telling it."""

    __tablename__ = "consent_change_told"
    __table_args__ = (
        sa.CheckConstraint("status IN ('waiting', 'sent', 'failed')", name="status"),
        sa.ForeignKeyConstraint(["patient_key", "consent_id"], ["consent.patient_key", "consent.id"]),
        sa.Index("ix_consent_change_told_next_at", "next_at", postgresql_where=sa.text("status = 'waiting'")),
    )

    patient_key: UUID = Field(primary_key=True)
    subscription_id: UUID = Field(primary_key=True, foreign_key="consent_subscription.id")
    number: int = Field(primary_key=True, sa_type=sa.BigInteger, sa_column_kwargs={"autoincrement": False})
    consent_id: UUID
    at: datetime = Field(sa_type=_TIME)
    status: str = Field(sa_type=sa.Text)
    attempts: int = 0
    next_at: datetime = Field(sa_type=_TIME)
    done_at: datetime | None = Field(default=None, sa_type=_TIME)
    error: str | None = Field(default=None, sa_type=sa.Text)


class Notice(SQLModel, table=True):
    """One version of a notice that patients are shown before they are asked. A version that was used never changes."""

    __tablename__ = "consent_notice"
    __table_args__ = (sa.CheckConstraint("version > 0", name="version"),)

    name: str = Field(primary_key=True, sa_type=sa.Text)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    content: dict[str, Any] = Field(sa_type=postgresql.JSONB)  #: consent.notices.Notice, zh and en; nothing of any patient
    made_at: datetime = Field(sa_type=_TIME)
    made_by: str = Field(sa_type=sa.Text)
    retired_at: datetime | None = Field(default=None, sa_type=_TIME)


class Asking(SQLModel, table=True):
    """A patient was shown a notice and answered. ``asked``: blinded recipient, purpose and method, so that a refusal can be respected."""

    __tablename__ = "consent_asking"
    __table_args__ = (
        sa.CheckConstraint("answer IN ('given', 'refused')", name="answer"),
        sa.ForeignKeyConstraint(["notice", "notice_version"], ["consent_notice.name", "consent_notice.version"]),
        sa.ForeignKeyConstraint(["patient_key", "consent_id"], ["consent.patient_key", "consent.id"]),
        sa.Index(None, "patient_key", "asked"),
    )

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    id: UUID = Field(primary_key=True)
    notice: str = Field(sa_type=sa.Text)
    notice_version: int
    answer: str = Field(sa_type=sa.Text)
    asked: bytes = Field(sa_type=sa.LargeBinary)
    consent_id: UUID | None = None
    at: datetime = Field(sa_type=_TIME)
    actor: str = Field(sa_type=sa.Text)
    record: bytes = Field(sa_type=sa.LargeBinary)  #: who answered, in which capacity, what was asked and said; sealed


class Evidence(SQLModel, table=True):
    """What proves an answer: a signed PDF, an image, a QuestionnaireResponse, a witness. Sealed, with its keyed hash."""

    __tablename__ = "consent_evidence"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('document', 'image', 'questionnaire-response', 'witness')", name="kind"),
        sa.ForeignKeyConstraint(["patient_key", "asking_id"], ["consent_asking.patient_key", "consent_asking.id"]),
    )

    patient_key: UUID = Field(primary_key=True)
    asking_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(sa_type=sa.Text)
    content_hash: bytes = Field(sa_type=sa.LargeBinary)
    body: bytes = Field(sa_type=sa.LargeBinary)


class WithdrawalTold(SQLModel, table=True):
    """A past recipient who is to acknowledge that the patient withdrew."""

    __tablename__ = "consent_withdrawal_told"
    __table_args__ = (
        sa.ForeignKeyConstraint(["patient_key", "consent_id"], ["consent.patient_key", "consent.id"]),
        sa.Index("ix_consent_withdrawal_told_recipient", "recipient", postgresql_where=sa.text("acknowledged_at IS NULL")),
    )

    patient_key: UUID = Field(primary_key=True)
    consent_id: UUID = Field(primary_key=True)
    recipient: str = Field(primary_key=True, sa_type=sa.Text)  #: organisation id
    releases: int
    at: datetime = Field(sa_type=_TIME)
    acknowledged_at: datetime | None = Field(default=None, sa_type=_TIME)
    acknowledged_by: str | None = Field(default=None, sa_type=sa.Text)
    destroyed: bool | None = None  #: what the recipient says of its copies
