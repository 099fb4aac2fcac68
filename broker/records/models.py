"""What is kept of patients and their resources: blinded keys, dates, and sealed bytes.

Plain columns hold only what a query needs. Who the patient is, codes, labels' names and the resource itself are inside the
encryption; labels stand beside it as numbers that say nothing without the key (docs/decisions/0005).
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlmodel import Field, SQLModel

#: The reserved "patient" of resources that belong to no patient: staff, organisations, places, products (docs/decisions/0004).
SHARED = UUID(int=0)


class Patient(SQLModel, table=True):
    """A patient: the wrapped data key, and the epoch that every change of the patient's consents moves on."""

    __tablename__ = "patient"

    patient_key: UUID = Field(primary_key=True)
    wrapped_key: bytes = Field(sa_type=sa.LargeBinary)
    fhir_id_sealed: bytes = Field(sa_type=sa.LargeBinary)
    epoch: int = Field(default=0, sa_type=sa.BigInteger, sa_column_kwargs={"server_default": sa.text("0")})
    created_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    frozen_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))  #: from then on nothing of this patient is released


class RecordChanges(SQLModel, table=True):
    """How often resources of a patient were written or removed; none yet where there is no row. The database itself counts (a trigger), whoever
    writes. Apart from the patient's row, so that a withdrawal does not wait for records that are being taken in.
    """

    __tablename__ = "record_changes"

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    changes: int = Field(sa_type=sa.BigInteger)


class StoredResource(SQLModel, table=True):
    """The newest version of one resource."""

    __tablename__ = "resource"
    __table_args__ = (sa.Index(None, "id_token"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    type: str = Field(primary_key=True, sa_type=sa.Text)
    id_token: UUID = Field(primary_key=True)  #: blinded type and id
    version: int
    last_updated: datetime = Field(sa_type=sa.DateTime(timezone=True))
    clinical_from: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))
    clinical_until: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))
    labels: list[int] = Field(sa_type=postgresql.ARRAY(sa.BigInteger))
    links: list[UUID] = Field(sa_type=postgresql.ARRAY(sa.Uuid))
    content_hash: bytes = Field(sa_type=sa.LargeBinary)  #: keyed, so that equal bodies of two patients don't show
    superseded: list[bytes] = Field(sa_type=postgresql.ARRAY(sa.LargeBinary))
    body: bytes = Field(sa_type=sa.LargeBinary)


class BlindedIdentifier(SQLModel, table=True):
    """A blinded business identifier (system and value) of a patient or of a shared resource."""

    __tablename__ = "identifier"
    __table_args__ = (sa.Index(None, "token"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    token: bytes = Field(primary_key=True, sa_type=sa.LargeBinary)
    id_token: UUID = Field(primary_key=True)  #: the resource that carries it


class KeyFingerprint(SQLModel, table=True):
    """Which key-encryption key this database was filled with. One row."""

    __tablename__ = "key_fingerprint"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    fingerprint: str = Field(sa_type=sa.Text)
    seen_at: datetime = Field(sa_type=sa.DateTime(timezone=True))


class UpstreamServer(SQLModel, table=True):
    """A hospital's own FHIR server from which records are pulled, and how far that is. Says nothing of any patient."""

    __tablename__ = "upstream_server"
    __table_args__ = (sa.CheckConstraint("mode IN ('search', 'bulk')", name="mode"),)

    name: str = Field(primary_key=True, sa_type=sa.Text)  #: stands in the log as the source
    organization_id: str = Field(foreign_key="organization.id", sa_type=sa.Text)
    base_url: str = Field(sa_type=sa.Text)
    token_endpoint: str | None = Field(default=None, sa_type=sa.Text)  #: None: the server asks for no token
    client_id: str = Field(sa_type=sa.Text)  #: by which the server knows us
    scope: str = Field(sa_type=sa.Text)
    mode: str = Field(sa_type=sa.Text)
    export_path: str = Field(sa_type=sa.Text)  #: ``$export``, ``Patient/$export`` or ``Group/<id>/$export``
    types: list[str] = Field(sa_type=postgresql.ARRAY(sa.Text))
    every_minutes: int
    max_age_hours: int | None = None  #: without a pull for so long nothing of its patients is released; None: however old
    full_every_days: int = 7
    created_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
    round: int = 0
    full: bool = True  #: whether the round under way, or the last one, asks for everything
    since: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))  #: what the next round asks for
    began_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))  #: of the round under way; None between rounds
    done: list[str] = Field(sa_type=postgresql.ARRAY(sa.Text))  #: types of the round under way that are taken in
    pending: str | None = Field(default=None, sa_type=sa.Text)  #: where the state of the export under way is told
    accepted: int = Field(default=0, sa_type=sa.BigInteger)
    refused: int = Field(default=0, sa_type=sa.BigInteger)
    succeeded_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))  #: when the last whole round began
    fully_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))  #: when the last whole full round began
    stale_after: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))  #: from then on its patients are not released; None: never
    tried_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))
    error: str = Field(default="", sa_type=sa.Text)  #: why the last try failed


class UpstreamResource(SQLModel, table=True):
    """Which upstream server a resource is from, and in which round it was last seen there."""

    __tablename__ = "upstream_resource"
    __table_args__ = (sa.Index(None, "server", "type", "round"),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    type: str = Field(primary_key=True, sa_type=sa.Text)
    id_token: UUID = Field(primary_key=True)
    server: str = Field(foreign_key="upstream_server.name", sa_type=sa.Text)
    round: int
    gone: bool = False
