"""The tables of the log. All but ``log_state``, ``log_follower`` and the end of a ``log_key`` are only ever added to; triggers and grants see to it.

``audit_event`` is the outbox: a verb adds its row in its own transaction. The sequencer gives each committed row an index
(``log_entry``), keeps full tiles (``log_tile``) and signs (``log_checkpoint``). Hashes of the unfinished tiles are the
tail of ``log_entry`` and the roots in ``log_tile``, so that no stored tile is ever rewritten.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlmodel import Field, SQLModel


class Xid8(sa.types.UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id; text in Python, since it is only ever handed back."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        """The column's type in DDL."""
        return "XID8"


# Reading a schema back (alembic) has to know the type as well.
ischema_names.setdefault("xid8", Xid8)


class AuditEvent(SQLModel, table=True):
    """One thing that happened: the leaf that the log commits to, and the columns that queries need.

    ``xid`` and ``seq`` are the database's own and no role may set them: the sequencer reads in their order.
    """

    __tablename__ = "audit_event"
    __table_args__ = (
        sa.CheckConstraint("octet_length(leaf) <= 2048", name="leaf_size"),
        sa.Index("ix_audit_event_xid_seq", "xid", "seq", unique=True),
        # Ids begin with the time, so that these and the primary key give the newest first without a further index.
        sa.Index("ix_audit_event_patient_key_id", "patient_key", "id", postgresql_where=sa.text("patient_key IS NOT NULL")),
        sa.Index("ix_audit_event_application_id", "application", "id", postgresql_where=sa.text("application IS NOT NULL")),
        sa.Index("ix_audit_event_release_id", "release_id", postgresql_where=sa.text("release_id IS NOT NULL")),
        # What was cut off is rare, and asked for often.
        sa.Index("ix_audit_event_cut_off", "id", postgresql_where=sa.text("type = 'release.unknown'")),
    )

    id: UUID = Field(primary_key=True)
    xid: str = Field(sa_column=sa.Column(Xid8, nullable=False, server_default=sa.text("pg_current_xact_id()")))
    seq: int = Field(sa_column=sa.Column(sa.BigInteger, sa.Identity(always=True), nullable=False))
    at: datetime = Field(sa_type=sa.DateTime(timezone=True), nullable=False)
    type: str
    actor: str
    application: str | None = None
    grant_id: str | None = None
    recipient: str | None = None
    purpose: str | None = None
    patient_key: UUID | None = None
    subject: str | None = None
    release_id: UUID | None = None
    outcome: str | None = None
    leaf: str


class LogEntry(SQLModel, table=True):
    """Which event stands at which index, and its leaf hash (32 bytes)."""

    __tablename__ = "log_entry"

    index: int = Field(sa_column=sa.Column(sa.BigInteger, primary_key=True, autoincrement=False))
    event_id: UUID = Field(unique=True, nullable=False)
    hash: bytes


class LogTile(SQLModel, table=True):
    """A full tile: 256 hashes (8,192 bytes) and the root over them."""

    __tablename__ = "log_tile"

    level: int = Field(sa_column=sa.Column(sa.SmallInteger, primary_key=True, autoincrement=False))
    number: int = Field(sa_column=sa.Column(sa.BigInteger, primary_key=True, autoincrement=False))
    hashes: bytes
    root: bytes


class LogCheckpoint(SQLModel, table=True):
    """A signed checkpoint, as published. Old ones are thinned (``audit.thinning``)."""

    __tablename__ = "log_checkpoint"

    size: int = Field(sa_column=sa.Column(sa.BigInteger, primary_key=True, autoincrement=False))
    root: bytes
    note: str
    at: datetime = Field(sa_type=sa.DateTime(timezone=True), nullable=False)


class LogCosignature(SQLModel, table=True):
    """What a witness said of a published checkpoint: its signature line. ``witness`` is its verifier key."""

    __tablename__ = "log_cosignature"
    __table_args__ = (sa.Index("ix_log_cosignature_witness_size", "witness", "size"),)

    size: int = Field(sa_column=sa.Column(sa.BigInteger, primary_key=True, autoincrement=False))
    witness: str = Field(primary_key=True)
    line: str
    at: datetime = Field(sa_type=sa.DateTime(timezone=True), nullable=False)


class LogKey(SQLModel, table=True):
    """A key that signed this log, and from which size to which. Its verifier key holds the log's name: a new origin is a new row."""

    __tablename__ = "log_key"

    vkey: str = Field(primary_key=True)
    first_size: int = Field(sa_column=sa.Column(sa.BigInteger, nullable=False))
    first_at: datetime = Field(sa_type=sa.DateTime(timezone=True), nullable=False)
    last_size: int | None = Field(default=None, sa_column=sa.Column(sa.BigInteger, nullable=True))
    last_at: datetime | None = Field(default=None, sa_type=sa.DateTime(timezone=True))


class LogState(SQLModel, table=True):
    """Where the sequencer stands: one row. It only ever grows.

    ``fence`` is raised by each sequencer that starts; one that was overtaken no longer matches it and can add nothing.
    """

    __tablename__ = "log_state"
    __table_args__ = (sa.CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(sa_column=sa.Column(sa.SmallInteger, primary_key=True, autoincrement=False))
    size: int = Field(sa_column=sa.Column(sa.BigInteger, nullable=False))
    root: bytes
    cursor_xid: str = Field(sa_column=sa.Column(Xid8, nullable=False))
    cursor_seq: int = Field(sa_column=sa.Column(sa.BigInteger, nullable=False))
    fence: int = Field(sa_column=sa.Column(sa.BigInteger, nullable=False))


class LogFollower(SQLModel, table=True):
    """How far a reader has come (``audit.places``). One row for each."""

    __tablename__ = "log_follower"

    name: str = Field(sa_type=sa.Text, primary_key=True)
    xid: str = Field(sa_column=sa.Column(Xid8, nullable=False))
    seq: int = Field(sa_column=sa.Column(sa.BigInteger, nullable=False))
    done_seq: int = Field(sa_column=sa.Column(sa.BigInteger, nullable=False, server_default="0"))  #: read before a restore
