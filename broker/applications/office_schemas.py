"""Delegations, owners of data, agreements, networks and bulk actions as they come in and go out over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from broker.applications.bulk import MOST, BulkAction
from broker.applications.models import Agreement, Delegation
from broker.applications.schemas import Code, StepIn, Text
from broker.edge import Moment


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DelegationIn(_In):
    """Somebody stands in for you; the administrator may also name whose office it is."""

    person: UUID | None = None
    to: UUID
    role: Literal["department_head", "information_manager"]
    organization: Code
    since: Moment | None = None
    until: Moment


class DelegationOut(BaseModel):
    """A delegation."""

    id: UUID
    person: UUID
    to: UUID
    role: str
    organization: str
    since: datetime
    until: datetime

    @classmethod
    def of(cls, row: Delegation) -> Self:
        """A row."""
        return cls(
            id=row.id, person=row.person_id, to=row.delegate_id, role=row.role, organization=row.organization_id, since=row.since, until=row.until
        )


class DelegationsOut(BaseModel):
    """Delegations from you and to you that aren't over."""

    items: list[DelegationOut]


class OwnersIO(_In):
    """Which department each data class belongs to; a class that isn't named belongs to none."""

    owners: Annotated[dict[Code, Code], Field(max_length=100)]


class OneIn(_In):
    """One application of many, with the version that was looked at."""

    ref: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] | None = None


class BulkIn(StepIn):
    """One step for many applications."""

    action: BulkAction
    applications: Annotated[tuple[OneIn, ...], Field(min_length=1, max_length=MOST)]


class OneOut(BaseModel):
    """What became of one: ``done``, or the problem that it met."""

    ref: str
    done: bool
    problem: dict[str, Any] | None


class BulkOut(BaseModel):
    """What became of each, in the order in which they were named."""

    done: int
    refused: int
    items: list[OneOut]


class NetworkIn(_In):
    """A network and its members."""

    name_zh: Annotated[Text, Field(max_length=200)]
    name_en: Annotated[Text, Field(max_length=200)]
    members: Annotated[tuple[Code, ...], Field(max_length=500)]


class NetworkOut(BaseModel):
    """A network and its members."""

    id: str
    name_zh: str
    name_en: str
    members: list[str]


class NetworksOut(BaseModel):
    """Every network."""

    items: list[NetworkOut]


class AgreementIn(_In):
    """Terms of use, or their next version. Without ``organization`` and ``network`` they bind every outside organisation."""

    organization: Code | None = None
    network: Code | None = None
    title_zh: Annotated[Text, Field(max_length=200)]
    title_en: Annotated[Text, Field(max_length=200)]
    text_zh: Annotated[Text, Field(max_length=100_000)]
    text_en: Annotated[Text, Field(max_length=100_000)]


class AgreementOut(BaseModel):
    """One version of terms of use. ``digest``: SHA-256 of what was published."""

    id: str
    version: int
    organization: str | None
    network: str | None
    title_zh: str
    title_en: str
    text_zh: str
    text_en: str
    digest: str
    published_at: datetime

    @classmethod
    def of(cls, row: Agreement) -> Self:
        """A row."""
        return cls(
            id=row.id, version=row.version, organization=row.organization_id, network=row.network_id, title_zh=row.title_zh, title_en=row.title_en,
            text_zh=row.text_zh, text_en=row.text_en, digest=row.digest, published_at=row.published_at,
        )  # fmt: skip


class AgreementsOut(BaseModel):
    """Agreements."""

    items: list[AgreementOut]


class AcceptIn(_In):
    """For which organisation the version is accepted."""

    organization: Code


class AcceptanceOut(BaseModel):
    """An acceptance."""

    agreement: str
    version: int
    organization: str
    at: datetime
