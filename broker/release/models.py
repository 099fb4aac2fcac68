"""What is kept of each release besides its audit events: the manifest, sealed under the patient's own key."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Release(SQLModel, table=True):
    """One sending of data about one patient under one grant. Written once, with the outcome, and never changed.

    An intent without such a row is found in the audit events (``audit.service.unfinished``) and counts as disclosed.
    """

    __tablename__ = "release"
    __table_args__ = (
        sa.Index("ix_release_id", "id"),
        sa.Index("ix_release_grant_id_sent_at", "grant_id", "sent_at"),
        sa.CheckConstraint("outcome IN ('sent', 'partial', 'failed')", name="outcome"),
    )

    patient_key: UUID = Field(primary_key=True)
    id: UUID = Field(primary_key=True)
    grant_id: UUID
    application: str = Field(sa_type=sa.Text)
    client_id: str = Field(sa_type=sa.Text)
    #: The audit event of the intent; its inclusion proof is the recipient's receipt.
    intent: UUID
    sent_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    outcome: str = Field(sa_type=sa.Text)
    items: int
    held_back: int
    body_bytes: int
    digest: str = Field(sa_type=sa.Text)
    plan: str = Field(sa_type=sa.Text)
    policy_revision: str = Field(sa_type=sa.Text)
    #: Detached JWS over the body, of a release that was sent as one signed Bundle.
    signature: str | None = Field(default=None, sa_type=sa.Text)
    #: zstd of one line for each resource (type, id, version, digest), then AES-256-GCM under the patient's data key.
    manifest: bytes = Field(sa_type=sa.LargeBinary)
