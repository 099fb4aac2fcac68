"""What is kept of a route abroad: one row for each, never overwritten but in its state."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

_TIME = sa.DateTime(timezone=True)


class TransferRoute(SQLModel, table=True):
    """A legal route to one recipient abroad. It counts once a second person has confirmed it, and until somebody ends it."""

    __tablename__ = "transfer_route"
    __table_args__ = (
        sa.CheckConstraint("state IN ('proposed', 'confirmed', 'ended')", name="state"),
        sa.CheckConstraint("valid_until IS NULL OR valid_from < valid_until", name="term"),
        sa.CheckConstraint("persons_limit IS NULL OR persons_limit > 0", name="persons"),
        sa.CheckConstraint("confirmed_by IS NULL OR confirmed_by <> proposed_by", name="four_eyes"),
        sa.CheckConstraint("state <> 'confirmed' OR confirmed_by IS NOT NULL", name="confirmed"),
        sa.CheckConstraint("state <> 'ended' OR ended_at IS NOT NULL", name="ended"),
        sa.Index("ix_transfer_route_recipient_id", "recipient_id"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    recipient_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")
    route: str = Field(sa_type=sa.Text)  #: a code of policies/data/transfer_routes.json
    reference: str = Field(sa_type=sa.Text)  #: number of the approval, certificate or filing
    valid_from: datetime = Field(sa_type=_TIME)
    valid_until: datetime | None = Field(default=None, sa_type=_TIME)  #: the first moment at which it no longer counts; None: without end
    purposes: list[str] = Field(sa_type=JSONB)
    classes: list[str] = Field(sa_type=JSONB)  #: with the classes below them
    persons_limit: int | None = None  #: of how many people data may leave by it
    impact_assessment: str = Field(sa_type=sa.Text)  #: number of the protection impact assessment (PIPL 55)
    foreign_authority: bool  #: the recipient is a judicial or law-enforcement body (PIPL 41)
    authority_approval: str | None = Field(default=None, sa_type=sa.Text)  #: number of the competent authority's approval for such a body
    state: str = Field(default="proposed", sa_type=sa.Text)
    proposed_by: str = Field(sa_type=sa.Text)  #: the human being
    proposed_at: datetime = Field(sa_type=_TIME)
    confirmed_by: str | None = Field(default=None, sa_type=sa.Text)
    confirmed_at: datetime | None = Field(default=None, sa_type=_TIME)
    ended_at: datetime | None = Field(default=None, sa_type=_TIME)
