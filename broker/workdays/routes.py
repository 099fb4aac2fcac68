"""The working calendar over HTTP, under ``/api/v1``: each route names its verb and decides nothing."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity.access import Action, Person, PersonCaller, require
from broker.workdays import schemas, service
from broker.workdays.models import WorkingYear

Writer = Annotated[PersonCaller, Depends(require(Action.ORGANIZATION_WRITE))]
Received = Annotated[date, Query(ge=date(service.FIRST, 1, 1), le=date(service.LAST, 12, 31))]
YearNumber = Annotated[int, Path(ge=service.FIRST, le=service.LAST)]


def build_router() -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1/working-calendar", tags=["working days"], dependencies=[STRICT])

    @router.get("")
    def years(session: SessionDep, caller: Person) -> schemas.WorkingYearsOut:
        """Which days are off and which weekends are worked, year by year, with the notice that says so."""
        del caller
        own = {row.year: row for row in service.entered(session)}
        found = [_out(one, own.get(one.year)) for one in service.calendar(session).years.values()]
        return schemas.WorkingYearsOut(years=sorted(found, key=lambda one: one.year, reverse=True), missing=service.missing(session))

    @router.get("/due")
    def due(session: SessionDep, caller: Person, received: Received, days: Annotated[int, Query(ge=1, le=250)] = 15) -> schemas.DueOut:
        """The last day of a clock that began on a day."""
        del caller
        found = service.calendar(session).due(received, days)
        return schemas.DueOut(received=received, days=days, due=found.day, estimated=found.estimated)

    @router.put("/{year}")
    def enter(year: YearNumber, body: schemas.WorkingYearIn, session: SessionDep, caller: Writer) -> schemas.WorkingYearOut:
        """Enter a year's notice, or change what was entered."""
        row = service.enter(session, caller, year, off=body.off, worked=body.worked, source=body.source, published_on=body.published_on)
        return _out(service.Year(year, frozenset(row.off), frozenset(row.worked), row.source), row)

    return router


def _out(one: service.Year, row: WorkingYear | None) -> schemas.WorkingYearOut:
    return schemas.WorkingYearOut(
        year=one.year,
        off=sorted(one.off),
        worked=sorted(one.worked),
        source=one.source,
        entered=row is not None,
        published_on=row.published_on if row else None,
        entered_by=row.entered_by if row else None,
        entered_at=row.entered_at if row else None,
    )
