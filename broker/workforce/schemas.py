"""The registers as they come in and go out over HTTP."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from broker.workforce.codes import Step
from broker.workforce.imports import Line
from broker.workforce.models import Credential

Words = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")]
Code = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]


def _written_day(value: object) -> object:
    """Pydantic would also take numbers and times for a day."""
    if isinstance(value, str) and len(value) == 10:
        return value
    raise PydanticCustomError("day", "A day is written YYYY-MM-DD.")


Day = Annotated[date, BeforeValidator(_written_day), Field(ge=date(1900, 1, 1), le=date(2200, 12, 31))]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TrainingIn(_In):
    """A training that somebody passed. ``valid_until`` is its last day; left out, it lasts for ever."""

    person: UUID | None = None
    code: Code
    number: Words
    issued_on: Day
    valid_until: Day | None = None
    issuer: Words | None = None


class QualificationIn(TrainingIn):
    """A licence of a person or an institution, with the specialities that it covers."""

    organization: Annotated[str, Field(max_length=64)] | None = None
    scope: Annotated[tuple[Words, ...], Field(max_length=50)] = ()


class StatusIn(_In):
    """What is to become of a certificate."""

    status: Literal["active", "suspended", "withdrawn"]


class DemandIn(_In):
    """What a step demands from now on."""

    codes: Annotated[tuple[Code, ...], Field(max_length=20)]


class CredentialOut(BaseModel):
    """A certificate. ``valid_until`` is the first moment at which it no longer counts."""

    id: UUID
    book: str
    person: UUID | None
    organization: str | None
    code: str
    number: str
    scope: list[str]
    issuer: str | None
    issued_on: date
    valid_until: datetime | None
    status: str

    @classmethod
    def of(cls, row: Credential) -> Self:
        """A row of the register."""
        return cls(
            id=row.id, book=row.book, person=row.person_id, organization=row.organization_id, code=row.code, number=row.number,
            scope=row.scope, issuer=row.issuer, issued_on=row.issued_on, valid_until=row.valid_until, status=row.status,
        )  # fmt: skip


class CredentialsOut(BaseModel):
    """Certificates, those that end first before the others. ``next`` is the ``offset`` of the next page."""

    items: list[CredentialOut]
    next: int | None = None


class DemandsOut(BaseModel):
    """What each step demands, and every code that the registers know with its names."""

    demands: dict[Step, list[str]]
    codes: dict[str, dict[str, str]]


class ProblemOut(BaseModel):
    """One thing wrong with a line."""

    field: str
    code: str
    message: str


class LineOut(BaseModel):
    """What became of one line of a file; the heading is line 1."""

    line: int
    outcome: str
    problems: list[ProblemOut]


class ImportOut(BaseModel):
    """What became of a file: how many lines were entered, unchanged and refused, and each that was refused."""

    entered: int
    unchanged: int
    refused: int
    lines: list[LineOut]

    @classmethod
    def of(cls, lines: list[Line]) -> Self:
        """The outcome of ``imports.read``."""
        counts = {outcome: sum(line.outcome == outcome for line in lines) for outcome in ("entered", "unchanged", "refused")}
        shown = [
            LineOut(
                line=line.number,
                outcome=line.outcome,
                problems=[ProblemOut(field=one.path.lstrip("/"), code=one.code, message=one.message) for one in line.problems],
            )
            for line in lines
            if line.problems
        ]
        return cls(**counts, lines=shown)
