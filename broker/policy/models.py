"""What is kept of policies: every revision that was ever drafted, when each came into force, what was decided, what OPA told of itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlmodel import Field, SQLModel

_TIME = sa.DateTime(timezone=True)
_JSON = postgresql.JSONB


class PolicyRevision(SQLModel, table=True):
    """A set of policies under the SHA-256 of its content. Never deleted, so that a decision can be made again years later."""

    __tablename__ = "policy_revision"
    __table_args__ = (sa.CheckConstraint("state IN ('draft', 'tested', 'replayed', 'approved', 'withdrawn')", name="state"),)

    revision: str = Field(sa_type=sa.Text, primary_key=True)
    files: bytes = Field(sa_type=sa.LargeBinary)  #: zstd of JSON: path within the folder → content
    based_on: str = Field(sa_type=sa.Text)  #: the revision that it was drafted from
    author: UUID = Field(foreign_key="person.id")
    author_natural: str = Field(sa_type=sa.Text)
    note: str = Field(sa_type=sa.Text)  #: what is to change, and why
    changed: list[str] = Field(sa_type=postgresql.ARRAY(sa.Text))  #: paths of the files that differ
    state: str = Field(sa_type=sa.Text)
    created_at: datetime = Field(sa_type=_TIME)
    tests: dict[str, Any] | None = Field(default=None, sa_type=_JSON)
    replay: dict[str, Any] | None = Field(default=None, sa_type=_JSON)


class PolicyActivation(SQLModel, table=True):
    """From when on a revision is the one that decides. The newest that has begun holds; rows are only ever added."""

    __tablename__ = "policy_activation"
    __table_args__ = (sa.UniqueConstraint("effective_at"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    revision: str = Field(sa_type=sa.Text, foreign_key="policy_revision.revision")
    effective_at: datetime = Field(sa_type=_TIME)
    decided_by: UUID = Field(foreign_key="person.id")
    decided_at: datetime = Field(sa_type=_TIME)
    way_back: bool  #: whether it brings an earlier revision back


class PolicyDecision(SQLModel, table=True):
    """One answer of policy about one patient, with its question sealed under the patient's key, so that it can be asked again."""

    __tablename__ = "policy_decision"
    __table_args__ = (sa.Index("ix_policy_decision_at", "at"), sa.Index("ix_policy_decision_input_hash", "input_hash"))

    patient_key: UUID = Field(primary_key=True)
    input_hash: str = Field(sa_type=sa.Text, primary_key=True)
    revision: str = Field(sa_type=sa.Text, primary_key=True)
    at: datetime = Field(sa_type=_TIME)
    question: str = Field(sa_type=sa.Text)
    effect: str = Field(sa_type=sa.Text)
    reasons: list[str] = Field(sa_type=postgresql.ARRAY(sa.Text))
    engine: str = Field(sa_type=sa.Text)
    purpose: str = Field(sa_type=sa.Text)
    recipient: str = Field(sa_type=sa.Text)
    profile: str = Field(sa_type=sa.Text)  #: empty where nothing was permitted
    #: zstd of ``{"facts", "plan"}``, then AES-256-GCM under the patient's data key.
    sealed: bytes = Field(sa_type=sa.LargeBinary)


class OpaDecision(SQLModel, table=True):
    """One line of OPA's own decision log, without the question: to be compared with what the broker recorded."""

    __tablename__ = "opa_decision"
    __table_args__ = (sa.Index("ix_opa_decision_input_hash", "input_hash"), sa.Index("ix_opa_decision_received_at", "received_at"))

    decision_id: str = Field(sa_type=sa.Text, primary_key=True)
    input_hash: str = Field(sa_type=sa.Text)
    revision: str = Field(sa_type=sa.Text)
    allow: bool
    at: datetime = Field(sa_type=_TIME)
    received_at: datetime = Field(sa_type=_TIME)


class OpaStatus(SQLModel, table=True):
    """What each OPA said last of itself: which revision it holds, and what went wrong when it fetched one."""

    __tablename__ = "opa_status"

    instance: str = Field(sa_type=sa.Text, primary_key=True)
    revision: str = Field(sa_type=sa.Text)
    problem: str = Field(sa_type=sa.Text)  #: code of the error, empty if none
    at: datetime = Field(sa_type=_TIME)
