"""The front door of working days: the calendar that clocks count by, entering a year's notice, and the reminder that one is missing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.identity.access import PersonCaller, Role
from broker.notifications import service as notifications
from broker.workdays import rules
from broker.workdays.errors import YearNotTaken
from broker.workdays.models import WorkingYear
from broker.workdays.published import published
from broker.workdays.rules import FIRST, LAST, Calendar, Due, Year, read_days, spans

__all__ = [
    "FIRST",
    "LAST",
    "Calendar",
    "Due",
    "Year",
    "background",
    "calendar",
    "enter",
    "entered",
    "missing",
    "published",
    "read_days",
    "remind",
    "spans",
]

#: From this day on whoever administers is reminded that next year's notice is not entered: those of late came out early in November.
REMIND_FROM = (11, 15)
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('broker/working-year'))"


def entered(session: Session) -> list[WorkingYear]:
    """What the hospital entered itself: the newest version of each year, the latest year first."""
    rows = session.exec(select(WorkingYear).order_by(col(WorkingYear.year).desc(), col(WorkingYear.version).desc())).all()
    newest: dict[int, WorkingYear] = {}
    for row in rows:
        newest.setdefault(row.year, row)
    return list(newest.values())


def calendar(session: Session) -> Calendar:
    """The calendar of this moment: what came with the software, and over it what the hospital entered."""
    own = [Year(row.year, frozenset(row.off), frozenset(row.worked), row.source) for row in entered(session)]
    mine = {one.year for one in own}
    return Calendar([*(one for one in published() if one.year not in mine), *own])


def enter(
    session: Session,
    caller: PersonCaller,
    year: int,
    *,
    off: Collection[date],
    worked: Collection[date],
    source: str,
    published_on: date,
) -> WorkingYear:
    """Enter a year's notice, or change what was entered. Clocks that run already keep the day that was promised. Raises YearNotTaken."""
    wrong = rules.problems(Year(year, frozenset(off), frozenset(worked), source))
    if wrong:
        raise YearNotTaken(problems=wrong)
    session.execute(sa.text(_ONE_AT_A_TIME))
    last = session.exec(select(WorkingYear.version).where(WorkingYear.year == year).order_by(col(WorkingYear.version).desc())).first()
    row = WorkingYear(
        year=year, version=(last or 0) + 1, off=sorted(set(off)), worked=sorted(set(worked)), source=source, published_on=published_on,
        entered_by=caller.actor, entered_at=clock.now(),
    )  # fmt: skip
    session.add(row)
    session.flush()
    facts: dict[str, str | int | bool | list[str]] = {"year": year, "version": row.version, "off": len(row.off), "worked": len(row.worked)}
    audit.record(session, Event("working-year.entered", caller.actor, facts=facts))
    return row


def missing(session: Session) -> int | None:
    """The year whose notice should be out and isn't known: this one, or from the middle of November on the next."""
    today, known = clock.today(), calendar(session).years
    return next((year for year in (today.year, today.year + 1) if year not in known and today >= date(year - 1, *REMIND_FROM)), None)


def remind(session: Session, keys: Keys) -> int:
    """Tell administrators and information managers, once a week, of a year that is missing; how many people were told."""
    year = missing(session)
    if year is None:
        return 0
    week = "-".join(str(one) for one in clock.today().isocalendar()[:2])
    told = 0
    for role in (Role.ADMINISTRATOR, Role.INFORMATION_MANAGER):
        told += notifications.notify_role(session, keys, role, kind="working-year.missing", facts={"year": year}, once=f"working-year|{year}|{week}")
    return told


def background() -> list[jobs.Job]:
    """Every morning it is looked whether a year's notice is missing."""

    def look_after(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            remind(session, tools.keys)

    return [jobs.Job("workdays.look", look_after, cron="17 6 * * *")]
