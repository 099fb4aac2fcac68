"""Consultations as they come in and go out over HTTP. Unknown fields are refused; nothing that came in is echoed in an error."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from broker.edge import Moment, Printable
from broker.telemedicine.lifecycle import State, Step
from broker.telemedicine.rules import Identified

Words = Annotated[Printable, Field(min_length=1, max_length=4000)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class BookingIn(_In):
    """An appointment under an approved application."""

    application: Annotated[str, Field(pattern=r"^SA-\d{4}-\d{6,9}$")]
    consultant: UUID
    starts_at: Moment
    ends_at: Moment
    note: Words | None = None


class NoteIn(_In):
    """A step, with words for those who take part."""

    note: Words | None = None


class IdentityIn(NoteIn):
    """How the patient's identity was checked."""

    method: Identified


class ClosingIn(NoteIn):
    """The end, and the day by which the patient is to be seen again."""

    follow_up_due: date | None = None


class StepOut(BaseModel):
    """One step that was taken."""

    step: Step
    at: datetime
    person: UUID | None
    facts: dict[str, str | int | list[str]]
    note: str | None


class ConsultationOut(BaseModel):
    """A consultation in a list."""

    number: str
    application: str
    status: State
    starts_at: datetime
    ends_at: datetime
    booker: UUID
    consultant: UUID
    identified_by: Identified | None
    opened_at: datetime | None
    closed_at: datetime | None
    follow_up_due: date | None


class ConsultationWhole(ConsultationOut):
    """A consultation with every step, and what you can do now."""

    steps: list[StepOut]
    possible: list[Step]


class RecordsOut(BaseModel):
    """What became of the records of a consultation."""

    number: str
    taken: int
