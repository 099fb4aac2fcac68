"""Incidents as they come in and go out over HTTP. Unknown fields are refused; nothing that came in is echoed in an error."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from broker.edge import Moment, Printable
from broker.incidents.affected import Scope
from broker.incidents.containment import Target, TargetKind
from broker.incidents.rules import Kind, Severity

Words = Annotated[Printable, Field(min_length=1, max_length=4000)]
Title = Annotated[Printable, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Code = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9-]*$")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class IncidentIn(_In):
    """A report."""

    kind: Kind = Kind.OTHER
    summary: Words
    occurred_at: Moment | None = None
    drill: StrictBool = False


class SignedIn(_In):
    """A signed file of a recipient's system: a compact JWS (see ``docs/operations.md``)."""

    statement: Annotated[str, Field(min_length=10, max_length=9000, pattern=r"^[A-Za-z0-9_.-]+$")]


class TargetIn(_In):
    """One thing to freeze."""

    kind: TargetKind
    id: Name

    def target(self) -> Target:
        """As the verb takes it."""
        return Target(self.kind, self.id)


class ContainIn(_In):
    """Freeze all of these at once, under an incident that is there or a new one."""

    targets: Annotated[tuple[TargetIn, ...], Field(min_length=1, max_length=200)]
    reason: Words
    incident: Name | None = None
    drill: StrictBool = False


class AssessIn(_In):
    """How grave, and what it is about besides what was contained."""

    severity: Severity
    sensitive: StrictBool
    clients: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    organizations: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    applications: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    releases: Annotated[tuple[UUID, ...], Field(max_length=1000)] = ()
    since: Moment | None = None
    until: Moment | None = None
    text: Words | None = None

    def scope(self) -> Scope:
        """As the verb takes it."""
        return Scope(self.clients, self.organizations, self.applications, (), self.releases, self.since, self.until)


class TextIn(_In):
    """Words that say why."""

    text: Words


class CloseIn(_In):
    """Why it happened, and what was done."""

    cause: Words
    measures: Words


class NoticeIn(_In):
    """A notice went out (how: letter, mail, telephone, portal …), or need not."""

    how: Code
    text: Words
    waived: StrictBool = False


class AdverseEventIn(_In):
    """An adverse event of a patient (FHIR id); codes of HL7's adverse-event-category and adverse-event-seriousness."""

    patient: Name
    category: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]
    seriousness: Literal["Non-serious", "Serious", "SeriousResultsInDeath", "SeriousIsLifeThreatening"]
    occurred_at: Moment
    told: Words
    incident: Name | None = None


class RiskIn(_In):
    """A line of the risk register. Likelihood and impact from 1 to 5."""

    title: Title
    treatment: Words
    likelihood: Annotated[int, Field(strict=True, ge=1, le=5)]
    impact: Annotated[int, Field(strict=True, ge=1, le=5)]
    owner: UUID
    review_on: date
    status: Literal["open", "accepted", "closed"] = "open"


class RiskOut(BaseModel):
    """A line of the risk register."""

    id: UUID
    title: str
    treatment: str
    likelihood: int
    impact: int
    score: int
    owner: UUID
    review_on: date
    review_overdue: bool
    status: str


class ActionIn(_In):
    """What is to be changed, because of what, by whom, until when."""

    source: Literal["incident", "adverse-event", "finding", "complaint", "suggestion", "violation"]
    source_ref: Name
    changes: Literal["policy", "training", "process"]
    title: Title
    owner: UUID
    due_on: date


class DoneIn(_In):
    """Where it can be seen that it was done: a policy revision, a training, a document."""

    evidence: Title


class ActionOut(BaseModel):
    """A corrective action."""

    id: UUID
    source: str
    source_ref: str
    changes: str
    title: str
    owner: UUID
    due_on: date
    overdue: bool
    done_at: datetime | None
    evidence: str | None


class StepOut(BaseModel):
    """One step: what, by whom, when, and how many seconds after the report."""

    action: str
    actor: str
    at: datetime
    seconds: float
    text: str | None


class ContainmentOut(BaseModel):
    """Something that is or was frozen."""

    kind: str
    target: str
    changed: bool
    at: datetime
    lift_asked_at: datetime | None
    lifted_at: datetime | None


class NoticeOut(BaseModel):
    """Somebody who is to be told."""

    id: UUID
    audience: str
    organization: str | None
    due_at: datetime
    overdue: bool
    done_at: datetime | None
    waived: bool
    how: str | None


class IncidentOut(BaseModel):
    """An incident as its list shows it."""

    number: str
    kind: str
    drill: bool
    status: str
    severity: str | None
    reported_at: datetime
    reported_by: str
    occurred_at: datetime | None
    patients: int | None
    releases: int | None
    contained_at: datetime | None
    closed_at: datetime | None


class IncidentWhole(IncidentOut):
    """An incident with all that belongs to it, for whoever may read incidents."""

    summary: str | None
    sensitive: bool | None
    data_types: list[str]
    cause: str | None
    measures: str | None
    actions: list[str]
    steps: list[StepOut]
    containments: list[ContainmentOut]
    notices: list[NoticeOut]
