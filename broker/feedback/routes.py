"""Feedback over HTTP: ``/api/v1/applications/{number}/feedback``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import JSONResponse

from broker import clock
from broker.applications import service as applications
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT
from broker.feedback import service
from broker.feedback.concern_routes import build_router as build_concern_router
from broker.feedback.rules import Clocks, due_at, is_overdue
from broker.feedback.schemas import FeedbackIn, FeedbackListOut, FeedbackOut, shown
from broker.identity.access import Person

Ref = Annotated[str, Path(max_length=64, description="The number of the application (SA-YYYY-NNNNNN).")]
Key = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=300, description="Repeat a request with its key to get the first answer again.")
]


def build_router(*, keys: Keys, days: int, clocks: Clocks) -> APIRouter:
    """The routes. ``days``: ``settings.feedback_days``; ``clocks``: of suggestions and complaints."""
    router = APIRouter(prefix="/api/v1/applications", tags=["feedback"], dependencies=[STRICT])

    @router.post("/{ref}/feedback", status_code=201, response_model=FeedbackOut)
    def give(request: Request, ref: Ref, body: FeedbackIn, session: SessionDep, caller: Person, key: Key = None) -> Response:
        """Report on the use of the data."""
        if len(request.headers.getlist("idempotency-key")) > 1:
            key = ""  # Two are none; the verb says so.

        def act() -> applications.Answer:
            row = service.give(session, keys, caller, ref, body.answers())
            return applications.Answer(201, shown(row, body.comment).model_dump(mode="json"), {})

        sent = applications.request_hash("POST", f"/api/v1/applications/{ref}/feedback", body.model_dump(mode="json", exclude_unset=True))
        answer = applications.idempotent(session, keys, actor=caller.actor, key=key, request=sent, act=act)
        return JSONResponse(answer.body, answer.status, answer.headers)

    @router.get("/{ref}/feedback", response_model=FeedbackListOut)
    def many(ref: Ref, session: SessionDep, caller: Person) -> FeedbackListOut:
        """The reports on an application that you may see, and by when one is due."""
        application = applications.look(session, caller.person_id, ref).application
        rows = service.of_application(session, application.number or "")
        grant = applications.of_application(session, application)
        sent = grant.first_released_at if grant else None
        first = service.answered(session, [grant.id]).get(grant.id) if grant else None
        return FeedbackListOut(
            due=due_at(sent, days) if sent else None,
            overdue=is_overdue(sent, first, days, clock.now()),
            items=[shown(row, service.comment_of(keys, application, row)) for row in rows],
        )

    whole = APIRouter()
    whole.include_router(router)
    whole.include_router(build_concern_router(keys, clocks))
    return whole
