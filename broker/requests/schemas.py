"""Patients' requests as they come in and go out over HTTP."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from broker.edge import Printable
from broker.requests.rules import By, Ground, Kind

Words = Annotated[Printable, Field(min_length=1, max_length=4000)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9.-]+$")]
Reference = Annotated[str, Field(max_length=100, pattern=r"^[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}$")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RequestIn(_In):
    """What a patient (FHIR id) asks at the desk; ``asker`` where somebody asks for them: who, and by which right."""

    patient: Name
    kind: Kind
    text: Words
    by: By = By.SELF
    asker: Words | None = None


class TextIn(_In):
    """Words that say how or why."""

    text: Words


class RefuseIn(_In):
    """Why it is refused: a ground of law, and reasons in plain words."""

    ground: Ground
    text: Words


class CorrectIn(_In):
    """References to the resources that their source put right and that came in from there."""

    text: Words
    references: Annotated[tuple[Reference, ...], Field(min_length=1, max_length=500)]


class ChangeOut(BaseModel):
    """A single value that a correction changes."""

    place: str
    before: str | None
    after: str | None


class CorrectedOut(BaseModel):
    """A resource of a correction. ``kept``: it is kept here already."""

    reference: str
    kept: bool
    changes: list[ChangeOut]


class StagedOut(BaseModel):
    """A correction that waits for its second person."""

    by: str
    at: datetime
    resources: list[CorrectedOut]


class StepOut(BaseModel):
    """One step."""

    action: str
    actor: str
    at: datetime
    text: str | None


class RequestOut(BaseModel):
    """A request as its list shows it."""

    number: str
    kind: str
    article: str
    by: str
    channel: str
    status: str
    received_at: datetime
    due_on: date
    late: bool
    due_estimated: bool  #: the clock runs into a year without notice of public holidays, and ends early
    extended: bool
    answered_at: datetime | None
    ground: str | None
    order: str | None


class RequestWhole(RequestOut):
    """A request with its words, for who handles it; others see what was done and when."""

    text: str | None
    asker: str | None
    answer: str | None
    actions: list[str]
    grounds: list[str]
    correction: StagedOut | None
    steps: list[StepOut]
