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
