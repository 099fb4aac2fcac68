"""Emergencies and cases as they come in and go out over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StrictBool
from pydantic_core import PydanticCustomError

from broker.incidents.sanctions import Sanction
from broker.incidents.schemas import Code, Name, Title, Words, _In


def _day(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("day", "A day is written YYYY-MM-DD.") from None
    return text


class PatientIn(_In):
    """Who is meant: identifier, name and birth date together must name one patient with certainty."""

    system: Title
    value: Title
    name: Title
    birthDate: Annotated[str, AfterValidator(_day), Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]  # noqa: N815  (FHIR's name)

    def typed(self) -> dict[str, object]:
        """As an application has it."""
        return {"identifier": {"system": self.system, "value": self.value}, "name": self.name, "birthDate": self.birthDate}


class EmergencyIn(_In):
    """Break the glass: for which organisation, which patient, why; the code of one's second factor, where one has one."""

    recipient: Name
    patient: PatientIn
    reason: Words
    second_factor: Annotated[str, Field(min_length=4, max_length=16, pattern=r"^[0-9A-Za-z]+$")] | None = None


class EmergencyOut(BaseModel):
    """An emergency access: data are open under ``application`` until ``closes_at``."""

    application: str
    person: UUID
    second_factor: bool
    opened_at: datetime
    closes_at: datetime
    review_due_at: datetime
    contact_told_at: datetime | None
    reviewed_at: datetime | None
    verdict: str | None
    incident: str | None


class EmergencyReviewIn(_In):
    """What somebody else thinks of it afterwards."""

    verdict: Literal["justified", "misuse"]
    text: Words


class CaseIn(_In):
    """A case against a person or an organisation; ``evidence``: ids of events in the log."""

    person: UUID | None = None
    organization: Name | None = None
    grounds: Code
    evidence: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=100)]
    told: Words


class SanctionIn(_In):
    """A proposal. ``days`` for a suspension, and for it alone."""

    sanction: Sanction
    days: Annotated[int, Field(strict=True, ge=1, le=3650)] | None = None
    text: Words


class DecideIn(_In):
    """Whether one agrees."""

    agree: StrictBool


class EntryOut(BaseModel):
    """One event of the log as evidence: its leaf hash; its index and receipt (C2SP tlog-proof) once the log is signed."""

    event: UUID
    hash: str
    index: int | None
    receipt: str | None


class CaseOut(BaseModel):
    """A case. The words are for the accused too."""

    number: str
    person: UUID | None
    organization: str | None
    grounds: str
    evidence: list[str]
    entries: list[EntryOut]
    status: str
    opened_at: datetime
    hearing_until: datetime
    sanction: str | None
    days: int | None
    decided_at: datetime | None
    ends_at: datetime | None
    appeal_until: datetime | None
    ended_at: datetime | None
    in_force: bool
    words: dict[str, str | None]
