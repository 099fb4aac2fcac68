"""What is kept of each release besides its audit events: the manifest, and bulk exports until they expire, sealed under the patient's own key."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
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


class Export(SQLModel, table=True):
    """One bulk export: who asked for what under which grant. Its files are made by jobs and go at ``expires_at``."""

    __tablename__ = "export"
    __table_args__ = (
        sa.Index("ix_export_client_id_created_at", "client_id", "created_at"),
        sa.Index("ix_export_expires_at", "expires_at"),
        sa.CheckConstraint("status IN ('accepted', 'running', 'done', 'cancelled', 'expired')", name="status"),
        sa.CheckConstraint("form IN ('stu3', 'stu4')", name="form"),
    )

    id: UUID = Field(primary_key=True)
    grant_id: UUID
    application: str = Field(sa_type=sa.Text)
    client_id: str = Field(sa_type=sa.Text)
    #: Of the token that asked: what its bearer's standing is asked by at every patient. No patient id.
    claims: dict[str, Any] = Field(sa_type=postgresql.JSONB)
    #: Types, elements, filters, since. No patient id; ``patients`` are blinded keys, None for all of the grant.
    asked: dict[str, Any] = Field(sa_type=postgresql.JSONB)
    patients: list[UUID] | None = Field(default=None, sa_type=postgresql.ARRAY(sa.Uuid))
    request: str = Field(sa_type=sa.Text)  #: the URL as it was called
    form: str = Field(sa_type=sa.Text)  #: which manifest: of Bulk Data 3 (kick-off by GET) or 4 (by POST)
    status: str = Field(sa_type=sa.Text)
    created_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    transaction_time: datetime = Field(sa_type=sa.DateTime(timezone=True))
    finished_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))
    expires_at: datetime = Field(sa_type=sa.DateTime(timezone=True))


class ExportChunk(SQLModel, table=True):
    """Some patients of an export, prepared by one job after another. ``cut`` moves on whenever its files have to be made anew."""

    __tablename__ = "export_chunk"
    __table_args__ = (sa.CheckConstraint("status IN ('waiting', 'done')", name="status"),)

    export_id: UUID = Field(primary_key=True, foreign_key="export.id")
    number: int = Field(primary_key=True)
    status: str = Field(sa_type=sa.Text)
    cut: int = Field(default=0)
    patients: int


class ExportPart(SQLModel, table=True):
    """One patient in an export: prepared, or why not."""

    __tablename__ = "export_part"
    __table_args__ = (
        sa.Index("ix_export_part_export_id_chunk_position", "export_id", "chunk", "position"),
        sa.CheckConstraint("status IN ('waiting', 'written', 'nothing', 'failed')", name="status"),
    )

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    export_id: UUID = Field(primary_key=True, foreign_key="export.id")
    chunk: int
    position: int
    status: str = Field(sa_type=sa.Text)
    attempts: int = Field(default=0)
    #: What the written bytes rest on: the patient's consent epoch, and a digest over plan and consents but for the clock.
    epoch: int | None = Field(default=None, sa_type=sa.BigInteger)
    basis: str | None = Field(default=None, sa_type=sa.Text)
    #: Name of the object that holds the sealed segments; None where they lie in PostgreSQL.
    object: str | None = Field(default=None, sa_type=sa.Text)


class ExportSegment(SQLModel, table=True):
    """One patient's resources of one type in an export: gzip, sealed under the patient's data key."""

    __tablename__ = "export_segment"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["patient_key", "export_id"], ["export_part.patient_key", "export_part.export_id"], name="fk_export_segment_part", ondelete="CASCADE"
        ),
        sa.CheckConstraint("kind IN ('output', 'deleted')", name="kind"),
        sa.CheckConstraint("(body IS NULL) = (object_from IS NOT NULL)", name="body"),
    )

    patient_key: UUID = Field(primary_key=True)
    export_id: UUID = Field(primary_key=True)
    kind: str = Field(primary_key=True, sa_type=sa.Text)
    type: str = Field(primary_key=True, sa_type=sa.Text)
    resources: int
    plain_bytes: int = Field(sa_type=sa.BigInteger)  #: of the NDJSON
    packed_bytes: int = Field(sa_type=sa.BigInteger)  #: of its gzip member
    manifest: bytes = Field(sa_type=sa.LargeBinary)  #: sealed as in ``release.manifest``
    body: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    object_from: int | None = Field(default=None, sa_type=sa.BigInteger)  #: where in the part's object the sealed bytes begin
    sealed_bytes: int = Field(sa_type=sa.BigInteger)


class ExportFile(SQLModel, table=True):
    """One file of the manifest: the segments of one type in one chunk. Made anew, under a new id, when one of them goes."""

    __tablename__ = "export_file"
    __table_args__ = (sa.Index("ix_export_file_export_id_chunk", "export_id", "chunk"),)

    id: UUID = Field(primary_key=True)
    export_id: UUID = Field(foreign_key="export.id")
    chunk: int
    kind: str = Field(sa_type=sa.Text)
    type: str = Field(sa_type=sa.Text)
    resources: int
    plain_bytes: int = Field(sa_type=sa.BigInteger)
    packed_bytes: int = Field(sa_type=sa.BigInteger)
    digest: str = Field(sa_type=sa.Text)  #: SHA-256 of the NDJSON, hex


class PreparedRelease(SQLModel, table=True):
    """What a whole release under one grant would send of one patient, as long as nothing changes: checked, and sealed (``release.segments``).

    Everything but ``body``, ``watched`` and ``made_at`` is bound in the seal; ``watched`` is repeated within it.
    """

    __tablename__ = "prepared_release"
    __table_args__ = (sa.Index("ix_prepared_release_made_at", "made_at"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    grant_id: UUID = Field(primary_key=True)
    basis: bytes = Field(sa_type=sa.LargeBinary)  #: SHA-256 over all that the bytes depend on but records and clock
    epoch: int = Field(sa_type=sa.BigInteger)  #: of the patient's consents
    changes: int = Field(sa_type=sa.BigInteger)  #: of the patient's records
    made_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    watched: list[UUID] = Field(sa_type=postgresql.ARRAY(sa.Uuid))  #: blinded shared resources that it depends on
    body: bytes = Field(sa_type=sa.LargeBinary)
