"""What somebody is to be told, by which ways besides the inbox, and what became of each delivery.

``recipient`` is written as audit events write actors: ``person:<uuid>``, ``organization:<id>`` or ``client:<id>``.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

_TIME = sa.DateTime(timezone=True)


class Way(StrEnum):
    """How a notification travels, besides standing in the inbox."""

    MAIL = "mail"
    WEBHOOK = "webhook"


class Fate(StrEnum):
    """What became of a delivery."""

    WAITING = "waiting"  #: not tried yet, or to be tried again at ``next_at``
    SENT = "sent"
    FAILED = "failed"  #: given up


class Notification(SQLModel, table=True):
    """One thing to be told to one recipient. ``facts`` are codes, numbers and times (``rules.check_facts``), never a patient's data."""

    __tablename__ = "notification"
    __table_args__ = (sa.Index("ix_notification_recipient_at_id", "recipient", "at", "id"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    recipient: str = Field(sa_type=sa.Text)
    kind: str = Field(sa_type=sa.Text)
    facts: dict[str, Any] = Field(sa_type=JSONB)
    at: datetime = Field(sa_type=_TIME)
    once: str | None = Field(default=None, sa_type=sa.Text, unique=True)  #: a reminder that was given isn't given again
    read_at: datetime | None = Field(default=None, sa_type=_TIME)
    read_by: UUID | None = Field(default=None, foreign_key="person.id")


class Channel(SQLModel, table=True):
    """A mail address or a webhook of a recipient. The address and the secret are sealed: a reader of the database can't pose as us."""

    __tablename__ = "notification_channel"
    __table_args__ = (
        sa.CheckConstraint("way IN ('mail', 'webhook')", name="way"),
        sa.CheckConstraint("(way = 'webhook') = (secret_sealed IS NOT NULL)", name="secret"),
        sa.Index("ix_notification_channel_recipient", "recipient"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    recipient: str = Field(sa_type=sa.Text)
    way: str = Field(sa_type=sa.Text)
    address_sealed: bytes = Field(sa_type=sa.LargeBinary)
    secret_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    created_at: datetime = Field(sa_type=_TIME)


class Delivery(SQLModel, table=True):
    """One notification on one channel: the outbox."""

    __tablename__ = "notification_delivery"
    __table_args__ = (
        sa.CheckConstraint("status IN ('waiting', 'sent', 'failed')", name="status"),
        sa.Index("ix_notification_delivery_next_at", "next_at", postgresql_where=sa.text("status = 'waiting'")),
        sa.Index("ix_notification_delivery_channel_id", "channel_id"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    notification_id: UUID = Field(foreign_key="notification.id")
    channel_id: UUID = Field(sa_column=sa.Column(sa.Uuid, sa.ForeignKey("notification_channel.id", ondelete="CASCADE"), nullable=False))
    status: str = Field(default=Fate.WAITING.value, sa_type=sa.Text)
    attempts: int = 0
    next_at: datetime = Field(sa_type=_TIME)
    done_at: datetime | None = Field(default=None, sa_type=_TIME)
    error: str | None = Field(default=None, sa_type=sa.Text)  #: a code such as ``refused`` or ``http-500``, never what was answered
