"""A recipient's import log is held against ours, by whoever looks back: what both have, what one of them lacks (RS-6.2.3)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.console import pickers
from broker.console.desk import Desk
from broker.console.door import PostedFile, Sending, Visitor, require
from broker.console.pages import Pages, filled
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action

Reader = Annotated[Visitor, Depends(require(Action.TRANSMISSION_READ))]

#: Lines of one kind that the page shows; the rest is told in a number, and in full over the API.
SHOWN = 200


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page and its form."""
    router = APIRouter()

    def show(request: Request, session: Session, form: dict[str, str], result: Any = None, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        return pages.show(
            request, "reconciliation.html", status=error.status if error else 200, error=error, result=result, form=form, shown=SHOWN,
            organizations=pickers.organizations(session, spoken, identity.ANY).picker(filled(request), "recipient"),
        )  # fmt: skip

    @router.get("/console/reconciliation")
    def page(request: Request, _who: Reader, session: SessionDep) -> Response:
        today = clock.now().astimezone(desk.settings.zone).date()
        return show(request, session, {"recipient": "", "since": today.replace(day=1).isoformat(), "until": today.isoformat()})

    @router.post("/console/reconciliation")
    def reconcile(request: Request, given: PostedFile, who: Reader, session: SessionDep) -> Response:
        form = {name: given.form.one(name) for name in ("recipient", "since", "until")}
        try:
            form["recipient"] = pickers.organizations(session, pages.language(request), identity.ANY).read(given.form, "recipient")
            since, until = _period(form, desk.settings.time_zone)
            with session.begin_nested():
                result = desk.reconcile(session, who.caller.actor, form["recipient"], since, until, _content(given))
        except BrokerError as error:
            return show(request, session, form, error=error)
        return show(request, session, form, result=result)

    return router


def _content(given: Sending) -> bytes:
    if not given.content:
        raise Invalid(problems=(Problem("/file", "required", "No file was sent."),))
    return given.content


def _period(form: dict[str, str], time_zone: str) -> tuple[datetime, datetime]:
    """From the first moment of a day to the last of another, in the hospital's time."""
    days, zone = [], ZoneInfo(time_zone)
    for name in ("since", "until"):
        try:
            days.append(date.fromisoformat(form[name]))
        except ValueError:
            raise Invalid(problems=(Problem(f"/{name}", "required", "A day is needed."),)) from None
    first, last = days
    return tuple(datetime.combine(day, time.min, zone).astimezone(UTC) for day in (first, last + timedelta(days=1)))  # type: ignore[return-value]
