"""Holds, destruction orders and what was destroyed. Nothing here is ever deleted: it is the proof that something was."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from broker.retention.lifecycle import State

_TIME = sa.DateTime(timezone=True)
_STATES = ", ".join(f"'{state}'" for state in State)


class RetentionHold(SQLModel, table=True):
    """Something that stops the destruction of a patient's data: a lawsuit, an incident, the patient's own wish."""

    __tablename__ = "retention_hold"
    __table_args__ = (sa.Index("ix_retention_hold_id", "id", unique=True),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    kind: str = Field(sa_type=sa.Text)  #: legal, incident, request
    reason_sealed: bytes = Field(sa_type=sa.LargeBinary)
    placed_at: datetime = Field(sa_type=_TIME)
    placed_by: str = Field(sa_type=sa.Text)
    released_at: datetime | None = Field(default=None, sa_type=_TIME)
    released_by: str | None = Field(default=None, sa_type=sa.Text)


class DestructionOrder(SQLModel, table=True):
    """One order. ``kind``: ``shred`` (patients' keys), ``paper`` or ``media`` (recorded: somebody else destroys them)."""

    __tablename__ = "destruction_order"
    __table_args__ = (
        sa.CheckConstraint(f"status IN ({_STATES})", name="status"),
        sa.CheckConstraint("kind IN ('shred', 'paper', 'media')", name="kind"),
        sa.Index("ix_destruction_order_proposed_at", "proposed_at"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    number: str = Field(sa_type=sa.Text, unique=True)  #: DO-YYYY-NNNNNN
    kind: str = Field(sa_type=sa.Text)
    reason: str = Field(sa_type=sa.Text)  #: retention, request, error, end-of-agreement
    status: str = Field(default=State.PROPOSED.value, sa_type=sa.Text)
    proposed_at: datetime = Field(sa_type=_TIME)
    proposed_by: str = Field(sa_type=sa.Text)
    approvals: list[dict[str, str]] = Field(default_factory=list, sa_type=JSONB)  #: actor, natural person, at
    method: str = Field(sa_type=sa.Text)
    what_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    executed_at: datetime | None = Field(default=None, sa_type=_TIME)
    event: UUID | None = None  #: in the log; its inclusion proof belongs to the certificate
    scrubbed_at: datetime | None = Field(default=None, sa_type=_TIME)
    scrub: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))


class DestructionItem(SQLModel, table=True):
    """A patient of an order. ``subject``: how the log names them, which nobody can compute any more once the key is gone."""

    __tablename__ = "destruction_item"
    __table_args__ = (sa.Index("ix_destruction_item_order_id", "order_id"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    order_id: UUID = Field(primary_key=True, foreign_key="destruction_order.id")
    subject: str | None = Field(default=None, sa_type=sa.Text)
    removed: dict[str, int] | None = Field(default=None, sa_type=JSONB(none_as_null=True))  #: rows by what they were
    done_at: datetime | None = Field(default=None, sa_type=_TIME)
