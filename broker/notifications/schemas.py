"""Notifications as they go out over HTTP, and channels as they come in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from broker.notifications.models import Way


class NotificationOut(BaseModel):
    """One thing that you or your organisation were told. ``link`` is the path of the page that deals with it."""

    id: UUID
    recipient: str
    kind: str
    subject: str
    text: str
    link: str
    facts: dict[str, Any]
    at: datetime
    read_at: datetime | None


class InboxOut(BaseModel):
    """A page of notifications, newest first. ``next`` is the ``after`` of the next page."""

    unread: int
    items: list[NotificationOut]
    next: UUID | None


class ReadOut(BaseModel):
    """How many were marked as read."""

    read: int


class ChannelIn(BaseModel):
    """A mail address or a webhook."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    way: Way
    address: Annotated[str, Field(min_length=3, max_length=2000)]


class ChannelOut(BaseModel):
    """A channel. ``secret`` signs a webhook's messages (Standard Webhooks) and is shown once."""

    id: UUID
    recipient: str
    way: str
    address: str
    secret: str | None = None


class ChannelsOut(BaseModel):
    """The channels of one recipient."""

    items: list[ChannelOut]
