"""Public holidays and worked weekends, year by year, as clocks count them; entering a year's notice (PIPL 50)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import language
from broker.console.afterwards import actor_name, day_of, number_of, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.language import N_, said
from broker.console.pages import Pages, to
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.identity.access import Action
from broker.workdays import service as workdays

Reader = Annotated[Visitor, Depends(require(Action.REGISTRY_READ))]
Writer = Annotated[Visitor, Depends(require(Action.ORGANIZATION_WRITE))]

FIELDS = ("year", "source", "published_on", "off", "worked")
#: Years before this one that the page shows: clocks that still run began then.
SHOWN = 1


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page, and entering a year."""
    router = APIRouter()

    def show(request: Request, who: Visitor, session: Session, error: BrokerError | None = None, form: Form | None = None) -> Response:
        spoken = pages.language(request)
        calendar, missing = workdays.calendar(session), workdays.missing(session)
        own = {row.year: row for row in workdays.entered(session)}
        years = [
            {
                "year": one.year,
                "off": [_span(spoken, *span) for span in workdays.spans(one.off)],
                "worked": [language.day(spoken, day) for day in sorted(one.worked)],
                "source": one.source if one.year in own else said(spoken, N_("notices of the State Council, as they came with the software")),
                "entered": (own[one.year].entered_at, actor_name(session, spoken, own[one.year].entered_by)) if one.year in own else None,
                "href": f"/console/working-days?year={one.year}#enter",
            }
            for one in sorted(calendar.years.values(), key=lambda one: one.year, reverse=True)
            if one.year >= desk.today.year - SHOWN
        ]
        typed = {name: form.one(name) for name in FIELDS} if form else _typed(calendar, request.query_params.get("year", ""))
        return pages.show(
            request, "working_days.html", status=error.status if error else 200, error=error, years=years, missing=missing, draft=typed,
            first_unknown=next(year for year in range(desk.today.year, workdays.LAST + 2) if year not in calendar.years),
            may_write=who.caller.may(Action.ORGANIZATION_WRITE),
        )  # fmt: skip

    @router.get("/console/working-days")
    def page(request: Request, who: Reader, session: SessionDep) -> Response:
        return show(request, who, session)

    @router.post("/console/working-days")
    def enter(request: Request, form: Posted, who: Writer, session: SessionDep) -> Response:
        def act() -> None:
            year = number_of(form, "year", workdays.LAST)
            if year < workdays.FIRST:
                raise Invalid(problems=(Problem("/year", "unknown", "There is no such choice."),))
            workdays.enter(
                session, who.caller, year, off=_days(form, "off"), worked=_days(form, "worked"), source=text_of(form, "source")[:300],
                published_on=day_of(form, "published_on"),
            )  # fmt: skip

        again = lambda error: show(request, who, session, error, form)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, act, again, lambda: to("/console/working-days", done="entered"))

    return router


def _span(spoken: str, first: date, last: date) -> str:
    return language.day(spoken, first) if first == last else f"{language.day(spoken, first)} – {language.day(spoken, last)}"


def _days(form: Form, name: str) -> frozenset[date]:
    """The days of a field. Raises Invalid."""
    try:
        return workdays.read_days(text_of(form, name, required=name == "off"))
    except ValueError:
        raise Invalid(problems=(Problem(f"/{name}", "days", "One day or one span on each line."),)) from None


def _typed(calendar: workdays.Calendar, year: str) -> dict[str, Any]:
    """What the form begins with: a known year as it is, to be changed, or a year that is not known yet."""
    wanted = int(year) if year.isascii() and year.isdigit() and len(year) == len("2027") else max(calendar.years) + 1
    known = calendar.years.get(wanted)
    lines = [str(first) if first == last else f"{first}..{last}" for first, last in workdays.spans(known.off)] if known else []
    return {
        "year": str(wanted), "source": f"国务院办公厅关于{wanted}年部分节假日安排的通知", "published_on": "", "off": "\n".join(lines),
        "worked": "\n".join(str(day) for day in sorted(known.worked)) if known else "",
    }  # fmt: skip
