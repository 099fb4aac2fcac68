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
    release_id: UUID | None = None  #: the release that it is about; None: all under the grant
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


class ConcernKind(StrEnum):
    """What is raised."""

    SUGGESTION = "suggestion"  #: RS-7.2
    COMPLAINT = "complaint"  #: QA-4.2


class ConcernState(StrEnum):
    """How it stands."""

    OPEN = "open"
    ANSWERED = "answered"
    CLOSED = "closed"  #: whoever raised it is content


class Concern(SQLModel, table=True):
    """A suggestion or a complaint. Its words are sealed; a patient is named by a blinded token, which says who it is to nobody."""

    __tablename__ = "concern"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('suggestion', 'complaint')", name="kind"),
        sa.CheckConstraint("state IN ('open', 'answered', 'closed')", name="state"),
        sa.CheckConstraint("(person_id IS NULL) <> (patient_token IS NULL)", name="raised_by"),
        sa.Index("ix_concern_raised_at", "raised_at"),
        sa.Index("ix_concern_person_id", "person_id"),
        sa.Index("ix_concern_patient_token", "patient_token"),
        sa.Index("ix_concern_due_at", "due_at", postgresql_where=sa.text("state = 'open'")),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    number: str = Field(sa_type=sa.Text, unique=True)
    kind: str = Field(sa_type=sa.Text)
    person_id: UUID | None = Field(default=None, foreign_key="person.id")
    patient_token: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    application: str | None = Field(default=None, sa_type=sa.Text)
    state: str = Field(sa_type=sa.Text)
    raised_at: datetime = Field(sa_type=_TIME)
    due_at: datetime = Field(sa_type=_TIME)
    answered_at: datetime | None = Field(default=None, sa_type=_TIME)  #: for the first time
    text_sealed: bytes = Field(sa_type=sa.LargeBinary)


class ConcernPatient(SQLModel, table=True):
    """Whose complaint it is: its words, and those of its answers, lie under this patient's key."""

    __tablename__ = "concern_patient"
    __table_args__ = (sa.Index("ix_concern_patient_concern_id", "concern_id", unique=True),)

    patient_key: UUID = Field(primary_key=True, foreign_key="patient.patient_key")
    concern_id: UUID = Field(primary_key=True, foreign_key="concern.id")


class ConcernAnswer(SQLModel, table=True):
    """An answer to a concern. Written once."""

    __tablename__ = "concern_answer"
    __table_args__ = (sa.Index("ix_concern_answer_concern_id", "concern_id"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    concern_id: UUID = Field(foreign_key="concern.id")
    at: datetime = Field(sa_type=_TIME)
    person_id: UUID = Field(foreign_key="person.id")
    verdict: str = Field(sa_type=sa.Text)
    corrective_action: str | None = Field(default=None, sa_type=sa.Text)
    text_sealed: bytes = Field(sa_type=sa.LargeBinary)


class ConcernNumber(SQLModel, table=True):
    """The last number of a year, by prefix."""

    __tablename__ = "concern_number"

    prefix: str = Field(sa_type=sa.Text, primary_key=True)
    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    last: int
