"""Holds and destruction orders as they come in and go out over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from broker.edge import Printable

Words = Annotated[Printable, Field(min_length=1, max_length=4000)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9.-]+$")]
Code = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9-]*$")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OrderIn(_In):
    """A destruction: of patients (FHIR ids) by shredding their keys, or of paper or media that are described."""

    kind: Literal["shred", "paper", "media"]
    reason: Literal["retention", "request", "error", "end-of-agreement"]
    method: Code = "crypto-shredding"
    patients: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    what: Words | None = None


class OrderOut(BaseModel):
    """A destruction order."""

    number: str
    kind: str
    reason: str
    method: str
    status: str
    patients: int
    what: str | None
    proposed_at: datetime
    proposed_by: str
    approvals: list[dict[str, str]]
    executed_at: datetime | None
    scrubbed_at: datetime | None
    scrub: dict[str, Any] | None


class HoldIn(_In):
    """Keep a patient's data (FHIR id) from destruction."""

    patient: Name
    kind: Literal["legal", "incident", "request"]
    reason: Words


class HoldOut(BaseModel):
    """A hold that stands."""

    id: UUID
    kind: str
    placed_at: datetime
    placed_by: str


class LawOut(BaseModel):
    """Which rule a figure comes from."""

    zh: str
    en: str


class LineOut(BaseModel):
    """One line of the schedule."""

    data_class: str
    lawful_basis: str
    days: int
    law: LawOut
    standing: str  #: ``house``, ``counsel`` (to be confirmed by them) or ``confirmed``
