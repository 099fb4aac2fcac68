"""What recipients report on the use of data. Written once; a later report adds to an earlier one."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

_TIME = sa.DateTime(timezone=True)


class PurposeMet(StrEnum):
    """Whether the data served the purpose they were asked for."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


class DataProblem(StrEnum):
    """What was wrong with the data, as a code that the review counts; the comment says it in words."""

    INCOMPLETE = "incomplete"
    OUTDATED = "outdated"
    WRONG_PATIENT = "wrong-patient"
    INCONSISTENT = "inconsistent"
    UNREADABLE = "unreadable"
    TOO_MUCH = "too-much"  #: more than the purpose needed: the profile should be narrowed
    OTHER = "other"


class Feedback(SQLModel, table=True):
    """One report on one grant (RS-5.3.4)."""

    __tablename__ = "feedback"
    __table_args__ = (
        sa.CheckConstraint("(person_id IS NULL) <> (client_id IS NULL)", name="author"),
        sa.CheckConstraint("examinations_avoided >= 0", name="examinations_avoided"),
        sa.Index("ix_feedback_grant_id_at", "grant_id", "at"),
        sa.Index("ix_feedback_at", "at"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    grant_id: UUID = Field(foreign_key="sharing_grant.id")
    application: str = Field(sa_type=sa.Text)  #: SA-YYYY-NNNNNN
    person_id: UUID | None = Field(default=None, foreign_key="person.id")
    client_id: str | None = Field(default=None, sa_type=sa.Text, foreign_key="client.id")
    at: datetime = Field(sa_type=_TIME)
    used: bool
    purpose_met: str | None = Field(default=None, sa_type=sa.Text)
    elements_used: list[str] = Field(sa_type=JSONB)  #: such as ``Observation.value``
    examinations_avoided: int = 0
    data_problems: list[str] = Field(sa_type=JSONB)
    onward_disclosure: bool
    deletion_done: bool
    comment_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
