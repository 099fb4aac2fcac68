"""What somebody was told, and that they have read it."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from broker.console import language
from broker.console.desk import Desk
from broker.console.door import Posted, SignedIn
from broker.console.pages import Pages, safe_path, to
from broker.console.tables import Ask
from broker.database import SessionDep
from broker.notifications import service as notifications

#: How many are shown.
SHOWN = 50


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The inbox."""
    router = APIRouter()

    @router.get("/console/inbox")
    def inbox(request: Request, who: SignedIn, session: SessionDep) -> Response:
        spoken = pages.language(request)
        told = []
        rows = notifications.inbox(session, who.caller, limit=SHOWN + 1, after=_after(Ask.of(request).text("after")))
        for row in rows[:SHOWN]:
            subject, words, link = notifications.said(row.kind, row.facts, spoken, desk.settings.time_zone)
            told.append(
                {"subject": subject, "text": words, "at": language.moment(spoken, desk.settings.time_zone, row.at), "new": row.read_at is None,
                 "link": safe_path(link)}
            )  # fmt: skip
        older = f"/console/inbox?after={rows[SHOWN - 1].id}" if len(rows) > SHOWN else ""
        return pages.show(request, "inbox.html", told=told, unread=notifications.unread(session, who.caller), older=older)

    @router.post("/console/inbox/read")
    def read(form: Posted, who: SignedIn, session: SessionDep) -> Response:
        del form
        notifications.mark_read(session, who.caller)
        return to("/console/inbox")

    return router


def _after(given: str) -> UUID | None:
    """The message after which the page begins; whatever names none is taken as not said."""
    try:
        return UUID(given)
    except ValueError:
        return None
