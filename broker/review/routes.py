"""The quarterly review over HTTP: figures, files, findings, signatures, and which access rights are still needed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from sqlmodel import Session

from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT, Printable
from broker.errors import Unavailable
from broker.identity.access import Action, Person, PersonCaller, require
from broker.review import recertifying, report, service, workbench
from broker.review.models import Recertification
from broker.review.rules import Quarter
from broker.settings import Settings

Reader = Annotated[PersonCaller, Depends(require(Action.REVIEW_READ))]
Writer = Annotated[PersonCaller, Depends(require(Action.REVIEW_WRITE))]
Which = Annotated[str, Path(max_length=6, description="Year and quarter, such as 2026Q4.")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class FindingIn(_In):
    """Something that the review found; corrective actions name its number as their source."""

    severity: Literal["low", "medium", "high"]
    text: Annotated[Printable, Field(min_length=1, max_length=4000)]
    application: Annotated[str, Field(max_length=32, pattern=r"^SA-\d{4}-\d{6,}$")] | None = None


class FindingOut(BaseModel):
    """A finding with its number."""

    number: str


class SignIn(_In):
    """The digest of what was looked at."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReviewOut(BaseModel):
    """A quarter's review: the document, its digest, and who signed it, by part."""

    digest: str
    document: dict[str, Any]
    signatures: dict[str, dict[str, str]]


class SignedOut(BaseModel):
    """Who signed which digest."""

    digest: str
    signatures: dict[str, dict[str, str]]


class BegunOut(BaseModel):
    """How many access rights are newly asked about."""

    asked: int


class AnswerIn(_In):
    """Whether an access right is still needed."""

    keep: StrictBool


class RightOut(BaseModel):
    """An access right that is to be confirmed. ``outcome`` is None while it is open."""

    id: UUID
    kind: str
    subject: str
    organization: str
    due_at: datetime
    last_used_at: datetime | None
    unused: bool
    answer: str | None
    outcome: str | None


class RightsOut(BaseModel):
    """Access rights, open ones first. ``next`` is the ``offset`` of the next page."""

    items: list[RightOut]
    next: int | None


def _right(row: Recertification) -> RightOut:
    return RightOut(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        organization=row.organization_id,
        due_at=row.due_at,
        last_used_at=row.last_used_at,
        unused=row.unused,
        answer=row.answer,
        outcome=row.outcome,
    )


def build_router(*, settings: Settings, keys: Keys) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1/reviews", tags=["review"], dependencies=[STRICT])

    def figures(session: Session, quarter: Quarter) -> dict[str, Any]:
        if workbench.laid(session, quarter) is not None:
            return {}  # What was laid down is not reckoned again.
        return service.compiled(session, quarter, feedback_days=settings.feedback_days)

    def whole(session: Session, quarter: Quarter) -> dict[str, Any]:
        return workbench.whole(session, keys, quarter, figures(session, quarter))

    @router.get("/{quarter}", response_model=ReviewOut)
    def one(quarter: Which, session: SessionDep, _caller: Reader) -> ReviewOut:
        """The review of a quarter, as it stands or as it was laid down to be signed."""
        wanted = Quarter.parse(quarter)
        document = whole(session, wanted)
        return ReviewOut(digest=report.digest(document), document=document, signatures=workbench.signatures(session, wanted))

    @router.get("/{quarter}/report", response_class=Response, responses={200: {"content": {"application/pdf": {}}}})
    def printed(
        quarter: Which, session: SessionDep, _caller: Reader, form: Literal["pdf", "xlsx"] = "pdf", language: Literal["zh", "en"] = "zh"
    ) -> Response:
        """The review as PDF/A or XLSX; the same review gives the same bytes."""
        wanted = Quarter.parse(quarter)
        document, hospital = whole(session, wanted), service.hospital_names(session, settings.hospital)[language]
        signed = workbench.signatures(session, wanted)
        if form == "pdf" and not report.fonts_there():
            raise Unavailable("No font with Chinese is installed.")
        made = report.as_pdf(document, language, hospital, signed) if form == "pdf" else report.as_xlsx(document, language, hospital)
        media = "application/pdf" if form == "pdf" else "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        return Response(made, media_type=media, headers={"Content-Disposition": f'attachment; filename="review-{wanted}.{language}.{form}"'})

    @router.post("/{quarter}/findings", status_code=201, response_model=FindingOut)
    def find(quarter: Which, body: FindingIn, session: SessionDep, caller: Writer) -> FindingOut:
        """Write a finding down; once the review is laid down no more are added."""
        row = workbench.find(session, keys, caller, Quarter.parse(quarter), severity=body.severity, text=body.text, application=body.application)
        return FindingOut(number=workbench.number(row))

    @router.post("/{quarter}/signatures", response_model=SignedOut)
    def sign(quarter: Which, body: SignIn, session: SessionDep, caller: Reader) -> SignedOut:
        """Sign the review, as auditor or as information manager: two people sign the same digest."""
        wanted = Quarter.parse(quarter)
        digest, signed = workbench.sign(session, keys, caller, wanted, figures(session, wanted), seen=body.digest)
        return SignedOut(digest=digest, signatures=signed)

    @router.post("/{quarter}/access", response_model=BegunOut)
    def begin(quarter: Which, session: SessionDep, caller: Writer) -> BegunOut:
        """Ask of every role, client and grant whether it is still needed; what nobody speaks for in time is revoked."""
        return BegunOut(asked=recertifying.begin(session, keys, caller, Quarter.parse(quarter), unused_days=settings.unused_days))

    @router.get("/{quarter}/access", response_model=RightsOut)
    def rights(
        quarter: Which,
        session: SessionDep,
        caller: Person,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> RightsOut:
        """The access rights that you answer for."""
        rows = recertifying.mine(session, caller, Quarter.parse(quarter), limit=limit + 1, offset=offset)
        return RightsOut(items=[_right(row) for row in rows[:limit]], next=offset + limit if len(rows) > limit else None)

    @router.post("/access/{right}", response_model=RightOut)
    def answer(right: UUID, body: AnswerIn, session: SessionDep, caller: Person) -> RightOut:
        """Say whether an access right is still needed."""
        return _right(recertifying.answer(session, caller, right, keep=body.keep))

    return router
