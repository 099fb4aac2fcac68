"""Suggestions and complaints over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlmodel import Session

from broker.applications import service as applications
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT
from broker.feedback import concerns
from broker.feedback.concerns import Verdict
from broker.feedback.models import Concern, ConcernKind, ConcernState
from broker.feedback.rules import Clocks
from broker.feedback.schemas import printable
from broker.identity.access import Person

Number = Annotated[str, Path(max_length=32, description="The number (CP-YYYY-NNNN or SG-YYYY-NNNN).")]
Words = Annotated[str, AfterValidator(printable), Field(min_length=1, max_length=4000)]


class ConcernIn(BaseModel):
    """A suggestion or a complaint, perhaps about one exchange."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: ConcernKind
    text: Words
    application: Annotated[str, Field(max_length=32)] | None = None


class AnswerIn(BaseModel):
    """An answer, with what came of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    text: Words
    verdict: Verdict
    corrective_action: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9-]+$")] | None = None


class AnswerOut(BaseModel):
    """An answer."""

    at: datetime
    by: str
    verdict: str
    corrective_action: str | None
    text: str


class ConcernOut(BaseModel):
    """A suggestion or a complaint with its answers. ``by`` is None for a patient."""

    number: str
    kind: str
    state: str
    by: str | None
    application: str | None
    raised_at: datetime
    due_at: datetime
    answered_at: datetime | None
    text: str
    answers: list[AnswerOut]

    @classmethod
    def of(cls, session: Session, keys: Keys, row: Concern) -> Self:
        """A row with its words unsealed."""
        return cls(
            number=row.number, kind=row.kind, state=row.state, by=f"person:{row.person_id}" if row.person_id else None, application=row.application,
            raised_at=row.raised_at, due_at=row.due_at, answered_at=row.answered_at, text=concerns.text_of(session, keys, row),
            answers=[
                AnswerOut(at=one.at, by=f"person:{one.person_id}", verdict=one.verdict, corrective_action=one.corrective_action, text=text)
                for one, text in concerns.answers_of(session, keys, row)
            ],
        )  # fmt: skip


class ConcernsOut(BaseModel):
    """Suggestions and complaints, those due first before the others. ``next`` is the ``offset`` of the next page."""

    items: list[ConcernOut]
    next: int | None


def build_router(keys: Keys, clocks: Clocks) -> APIRouter:
    """The routes. ``clocks``: by when concerns are answered."""
    router = APIRouter(prefix="/api/v1/concerns", tags=["feedback"], dependencies=[STRICT])

    @router.post("", status_code=201, response_model=ConcernOut)
    def raise_concern(body: ConcernIn, session: SessionDep, caller: Person) -> ConcernOut:
        """Make a suggestion or complain; you are told when it is answered."""
        if body.application is not None:
            applications.look(session, caller.person_id, body.application)
        row = concerns.raise_concern(
            session, keys, kind=body.kind, text=body.text, person=caller.person_id, application=body.application, clocks=clocks
        )
        return ConcernOut.of(session, keys, row)

    @router.get("", response_model=ConcernsOut)
    def many(
        session: SessionDep,
        caller: Person,
        state: ConcernState | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> ConcernsOut:
        """Your suggestions and complaints; everybody's for who answers and who audits."""
        rows = concerns.many(session, caller, state=state, limit=limit + 1, offset=offset)
        return ConcernsOut(items=[ConcernOut.of(session, keys, row) for row in rows[:limit]], next=offset + limit if len(rows) > limit else None)

    @router.get("/{number}", response_model=ConcernOut)
    def one(number: Number, session: SessionDep, caller: Person) -> ConcernOut:
        """One of them with its answers."""
        return ConcernOut.of(session, keys, concerns.look(session, caller, number))

    @router.post("/{number}/answer", response_model=ConcernOut)
    def answer(number: Number, body: AnswerIn, session: SessionDep, caller: Person) -> ConcernOut:
        """Answer it."""
        row = concerns.answer(session, keys, caller, number, text=body.text, verdict=body.verdict, corrective_action=body.corrective_action)
        return ConcernOut.of(session, keys, row)

    @router.post("/{number}/extend", response_model=ConcernOut)
    def extend(number: Number, session: SessionDep, caller: Person) -> ConcernOut:
        """Give a complaint the longer clock, since several departments must agree; once."""
        return ConcernOut.of(session, keys, concerns.extend(session, keys, caller, number, clocks=clocks))

    @router.post("/{number}/close", response_model=ConcernOut)
    def close(number: Number, session: SessionDep, caller: Person) -> ConcernOut:
        """Say that you are content with the answer."""
        return ConcernOut.of(session, keys, concerns.close(session, number, person=caller.person_id))

    return router
