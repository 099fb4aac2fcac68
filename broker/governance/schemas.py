"""Policy over HTTP: what comes in and what goes out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from broker.edge import Moment

#: A path within the policies, and the new content of the file; null takes it away.
Path = Annotated[str, Field(max_length=200, pattern=r"^(data|broker)/[a-z0-9_/.-]+\.(json|rego)$")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DraftIn(_In):
    """A draft: the active policies with these files changed."""

    changes: Annotated[dict[Path, Annotated[str, Field(max_length=1_000_000)] | None], Field(min_length=1, max_length=200)]
    note: Annotated[str, Field(min_length=1, max_length=4000)]


class ReplayIn(_In):
    """From which moment on past decisions are asked again, and how many at most."""

    since: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=20_000)] = 2_000


class ApproveIn(_In):
    """From when on the revision decides; the earliest possible moment by default."""

    effective_at: Moment | None = None


class RevisionOut(BaseModel):
    """A revision as lists show it."""

    revision: str
    state: str
    author: str
    note: str
    based_on: str
    changed: list[str]
    created_at: str
    possible: list[str]


class RevisionWhole(RevisionOut):
    """A revision with what it changes, its tests and its replay."""

    differences: list[str]
    tests: dict[str, Any] | None
    replay: dict[str, Any] | None


class ActivationOut(BaseModel):
    """From when on a revision decides."""

    revision: str
    effective_at: str
    decided_by: str
    way_back: bool


class PoliciesOut(BaseModel):
    """Which policies decide, which are planned, and every revision."""

    active: str
    schedule: list[ActivationOut]
    revisions: list[RevisionOut]


class FileOut(BaseModel):
    """A file of the active policies."""

    path: str
    content: str


class OpaOut(BaseModel):
    """OPA's own log beside the broker's record of decisions, and what each OPA says of itself."""

    since: str
    matched: int
    contradicted: int
    unrecorded: int
    instances: list[dict[str, str]]


class ProposalOut(BaseModel):
    """A narrower profile: elements that left and that nobody says were used, or that are asked for and always cut."""

    profile: str
    grants: int
    reports: int
    unused: list[str]
    always_cut: dict[str, int]
    changes: dict[str, str]
