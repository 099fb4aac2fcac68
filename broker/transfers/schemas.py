"""The register of transfer routes as it comes in and goes out over HTTP."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from broker.transfers.models import TransferRoute
from broker.transfers.service import Proposal

Words = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")]
Code = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")]
Place = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


def _written_day(value: object) -> object:
    """Pydantic would also take numbers and times for a day."""
    if isinstance(value, str) and len(value) == 10:
        return value
    raise PydanticCustomError("day", "A day is written YYYY-MM-DD.")


Day = Annotated[date, BeforeValidator(_written_day), Field(ge=date(1900, 1, 1), le=date(2200, 12, 31))]


class RouteIn(BaseModel):
    """A legal route to a recipient abroad. ``valid_until`` is its last day; left out, it has no end."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    recipient: Place
    route: Code
    reference: Words
    valid_from: Day
    valid_until: Day | None = None
    purposes: Annotated[tuple[Code, ...], Field(min_length=1, max_length=50)]
    classes: Annotated[tuple[Code, ...], Field(min_length=1, max_length=100)]
    impact_assessment: Words
    persons_limit: Annotated[int, Field(ge=1, le=100_000_000, strict=True)] | None = None
    foreign_authority: bool = False
    authority_approval: Words | None = None

    def proposal(self) -> Proposal:
        """As the service takes it."""
        return Proposal(**self.model_dump())


class RouteOut(BaseModel):
    """A route of the register. ``valid_until`` is the first moment at which it no longer counts."""

    id: UUID
    recipient: str
    route: str
    reference: str
    valid_from: datetime
    valid_until: datetime | None
    purposes: list[str]
    classes: list[str]
    persons_limit: int | None
    impact_assessment: str
    foreign_authority: bool
    authority_approval: str | None
    state: str
    proposed_by: str
    confirmed_by: str | None

    @classmethod
    def of(cls, row: TransferRoute) -> Self:
        """As it is shown."""
        return cls(recipient=row.recipient_id, **row.model_dump(include=cls.model_fields.keys() - {"recipient"}))


class RoutesOut(BaseModel):
    """Some of the register; ``next`` is the offset of what follows."""

    items: list[RouteOut]
    next: int | None = None
