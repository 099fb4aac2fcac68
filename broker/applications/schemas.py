"""Applications as they come in and go out over HTTP. Unknown fields are refused; nothing that came in is echoed in an error."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from broker.applications.deciding import Narrowing
from broker.applications.lifecycle import State
from broker.applications.steps import Reason, ReasonCode
from broker.applications.terms import Item

#: Days that a form may name; the ends keep arithmetic on them within the calendar.
EARLIEST, LATEST = date(1850, 1, 1), date(2200, 12, 31)


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _printable(text: str) -> str:
    if any(ord(character) < 32 and character not in "\n\r\t" for character in text):
        raise PydanticCustomError("control_character", "Control characters are not allowed.")
    return text


def _with_content(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "It must not be blank.")
    return text


def _written_day(value: object) -> object:
    """Pydantic would also take numbers and times for a day."""
    if isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value)):
        return value
    raise PydanticCustomError("day", "A day is written YYYY-MM-DD.")


Text = Annotated[str, AfterValidator(_printable), AfterValidator(_with_content)]
Code = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Day = Annotated[date, BeforeValidator(_written_day), Field(ge=EARLIEST, le=LATEST)]
Element = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*$")]
Token = Annotated[str, Field(min_length=2, max_length=300, pattern=r"^[^|\s]*\|[^|\s]+$", description="system|code")]
Sentence = Annotated[Text, Field(min_length=1, max_length=4000)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class IdentifierIn(_In):
    """A business identifier: the system that gave it and its value."""

    system: Annotated[Text, Field(max_length=300)]
    value: Annotated[Text, Field(max_length=200)]


class PatientIn(_In):
    """Who is meant. Data are shared only if identifier, name and birth date together name one patient with certainty."""

    identifier: IdentifierIn
    name: Annotated[Text, Field(max_length=200)] | None = None
    birthDate: Day | None = None  # noqa: N815  (FHIR's name)


class DataIn(_In):
    """One line of the data asked for: a data class of the catalogue, or an R4 resource type, perhaps cut to elements and codes.

    A class can't be cut, since its parts are the catalogue's: name the type instead.
    """

    data_class: Code | None = None
    resource_type: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]{1,63}$")] | None = None
    elements: Annotated[tuple[Element, ...], Field(min_length=1, max_length=200)] | None = None
    codes: Annotated[tuple[Token, ...], Field(min_length=1, max_length=500)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.data_class is None) == (self.resource_type is None):
            raise PydanticCustomError("one_of", "Name either data_class or resource_type.")
        if self.data_class is not None and (self.elements or self.codes):
            raise PydanticCustomError("class_cut", "Elements and codes belong to a resource_type.")
        return self


class PeriodIn(_In):
    """Clinical data from this day through that day; an open end reaches as far as policy allows."""

    start: Day | None = None
    end: Day | None = None


class ApplicationIn(_In):
    """An application. A draft may leave out anything; what is missing is named when it is submitted."""

    purpose: Annotated[Code, Field(description="HL7 v3 PurposeOfUse, such as TREAT")] | None = None
    lawful_basis: Annotated[Code, Field(description="PIPL article 13, such as consent")] | None = None
    recipient: Code | None = None
    patients: Annotated[tuple[PatientIn, ...], Field(max_length=500)] | None = None
    data: Annotated[tuple[DataIn, ...], Field(max_length=100)] | None = None
    period: PeriodIn | None = None
    channel: Literal["api", "bundle", "bulk"] | None = None
    valid_until: Day | None = None
    urgency: Literal["routine", "urgent", "emergency"] | None = None
    justification: Sentence | None = None
    retention_days: Annotated[int, Field(strict=True, ge=0, le=36_500)] | None = None

    def form(self) -> dict[str, Any]:
        """The fields that were sent, as JSON; one sent as null is there with None."""
        sent = self.model_dump(mode="json", exclude_unset=True)
        for item in sent.get("data") or ():
            for name in [name for name, value in item.items() if value is None]:
                del item[name]
        return sent


class StepIn(_In):
    """A step that somebody takes, with what they say to it."""

    reason: Sentence | None = None
    code: ReasonCode = ReasonCode.OTHER

    def said(self) -> Reason | None:
        """The reason, if one was given."""
        return None if self.reason is None else Reason(self.reason, self.code)


class FrequencyIn(_In):
    """How often data may be sent within a while: so many releases in an hour, a day or a week."""

    releases: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    per: Literal["hour", "day", "week"]

    def pair(self) -> tuple[int, int]:
        """Releases and seconds."""
        return self.releases, {"hour": 3600, "day": 86_400, "week": 604_800}[self.per]


class ApproveIn(StepIn):
    """An approval of all that was asked. ``releases_limit``: how often data may be sent in all."""

    releases_limit: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    frequency: FrequencyIn | None = None


class NarrowIn(ApproveIn):
    """An approval of a part of what was asked; a field left out stays as it was asked."""

    data: Annotated[tuple[DataIn, ...], Field(min_length=1, max_length=100)] | None = None
    period: PeriodIn | None = None
    valid_until: Day | None = None
    retention_days: Annotated[int, Field(strict=True, ge=0, le=36_500)] | None = None
    patients: Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=500)], ...], Field(min_length=1, max_length=500)] | None = Field(
        None, description="places of the patients who stay, from 1"
    )

    def narrowing(self) -> Narrowing:
        """As the verb takes it."""
        return Narrowing(
            data=None if self.data is None else tuple(Item.from_json(item.model_dump()) for item in self.data),
            period_start=self.period.start if self.period else None,
            period_end=self.period.end if self.period else None,
            valid_until=self.valid_until,
            retention_days=self.retention_days,
            releases_limit=self.releases_limit,
            patients=self.patients,
            frequency=self.frequency.pair() if self.frequency else None,
        )


class PersonOut(BaseModel):
    """A person as others see them."""

    id: UUID
    name: str
    organization: str


class PatientOut(BaseModel):
    """A patient as the applicant named them; nothing is left of one whose key was destroyed."""

    position: int
    identifier: dict[str, str] | None
    name: str | None
    birthDate: str | None  # noqa: N815


class GrantOut(BaseModel):
    """What an approval yielded. ``status`` is what it is now: past its end a grant is expired."""

    id: UUID
    status: str
    recipient: str
    purpose: str
    lawful_basis: str
    data: list[dict[str, Any]]
    period: dict[str, str | None]
    retention_days: int | None
    patients: list[int]
    valid_from: datetime
    valid_until: datetime
    releases_used: int
    releases_limit: int | None
    frequency: dict[str, int] | None
    first_released_at: datetime | None
    content_hash: str
    consents: list[str]
    actions: list[str]


class SummaryOut(BaseModel):
    """An application in a list."""

    id: str
    number: str | None
    draft_id: UUID
    status: State
    version: int
    requester: PersonOut
    on_behalf: bool
    purpose: str | None
    recipient: str | None
    urgency: str
    assessed: str | None
    grant_status: str | None
    due_at: datetime | None
    late: bool
    parent: str | None
    relation: str | None
    created_at: datetime
    changed_at: datetime
    submitted_at: datetime | None
    decided_at: datetime | None


class AttachmentOut(BaseModel):
    """A document of an application; its content is fetched apart."""

    id: UUID
    kind: str
    name: str
    media_type: str
    size: int
    added_at: datetime


class ApplicationOut(SummaryOut):
    """One application. ``actions``: what the person who asks can do with it now.

    ``needs``: steps besides endorsement before it can be approved; ``missing``: those not yet taken.
    """

    lawful_basis: str | None
    patients: list[PatientOut]
    data: list[dict[str, Any]]
    period: dict[str, str | None]
    channel: str
    valid_until: date | None
    justification: str | None
    retention_days: int | None
    content_hash: str | None
    grant: GrantOut | None
    needs: list[str]
    missing: list[str]
    attachments: list[AttachmentOut]
    actions: list[str]


class ListOut(BaseModel):
    """A page of applications, newest first. ``next`` is the ``after`` of the next page."""

    items: list[SummaryOut]
    next: UUID | None


class OpinionOut(BaseModel):
    """What policy and consent say about one patient."""

    position: int
    effect: str
    reasons: list[dict[str, str]]
    plan: dict[str, Any] | None
    obligations: list[dict[str, Any]]
    necessity: dict[str, Any]
    consents: list[str]


class AssessmentOut(BaseModel):
    """The machine's opinion. ``current``: whether it is of the content as it stands."""

    application: str
    ordinal: int
    at: datetime
    effect: str
    current: bool
    content_hash: str
    policy_revision: str
    engine: str
    patients: list[OpinionOut]


class DecisionOut(BaseModel):
    """A step that was taken. ``by`` is None for the clock."""

    action: str
    at: datetime
    by: PersonOut | None
    on_behalf_of: PersonOut | None
    round: int
    version: int
    content_hash: str
    assessed: str | None
    code: str | None
    reason: str | None


class TransmissionOut(BaseModel):
    """One sending of data under the grant."""

    release: UUID | None
    at: datetime
    finished: datetime | None
    client: str
    outcome: str
    items: int | None
    disclosed: bool


class ExchangeOut(BaseModel):
    """The whole thread of one application."""

    application: ApplicationOut
    assessments: list[AssessmentOut]
    decisions: list[DecisionOut]
    grant: GrantOut | None
    transmissions: list[TransmissionOut]
