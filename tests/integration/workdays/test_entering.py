"""A year's public holidays as the hospital enters them, and what clocks make of it (PIPL 50)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlmodel import select

from broker.audit.models import AuditEvent
from broker.identity import service as identity
from broker.notifications.models import Notification
from broker.requests import service as requests
from broker.workdays import service
from broker.workdays.errors import YearNotTaken

NOTICE = "国务院办公厅关于2027年部分节假日安排的通知"
OFF = service.read_days("2027-01-01, 2027-02-05..2027-02-12, 2027-05-01..2027-05-05, 2027-10-01..2027-10-07")
#: A wish of the hospital's own, to be told from what comes with the software.
WORKED = service.read_days("2027-02-13, 2027-02-20")


@pytest.fixture
def administrator(database, people):
    with database.transaction() as session:
        return identity.caller_for(session, people.manager)


def enter(session, caller, **changed):
    return service.enter(session, caller, 2027, **{"off": OFF, "worked": WORKED, "source": NOTICE, "published_on": date(2026, 11, 4), **changed})


def test_an_entered_year_goes_before_an_estimate_and_stands_in_the_log(database, administrator):
    with database.transaction() as session:
        assert service.calendar(session).due(date(2027, 2, 1), 15).estimated
        enter(session, administrator)
        found = service.calendar(session).due(date(2027, 2, 1), 15)
        assert (found.day, found.estimated) == (date(2027, 2, 26), False)
        again = enter(session, administrator, worked=())
        assert again.version == 2
        assert service.calendar(session).due(date(2027, 2, 1), 15).day == date(2027, 3, 2)
        assert [row.version for row in service.entered(session)] == [2]
        events = session.exec(select(AuditEvent).where(AuditEvent.type == "working-year.entered")).all()
        assert len(events) == 2


def test_what_came_with_the_software_can_be_put_right(database, administrator):
    with database.transaction() as session:
        assert service.calendar(session).is_worked(date(2026, 12, 21))
        mine = next(one for one in service.published() if one.year == 2026)
        service.enter(
            session,
            administrator,
            2026,
            off=mine.off | {date(2026, 12, 21)},
            worked=mine.worked,
            source="国务院办公厅补充通知",
            published_on=date(2026, 12, 1),
        )
        assert not service.calendar(session).is_worked(date(2026, 12, 21))
        assert not service.calendar(session).is_worked(date(2026, 10, 1)), "the rest of the year stands"


def test_a_year_against_the_law_is_not_taken(database, administrator):
    with database.transaction() as session:
        with pytest.raises(YearNotTaken) as refused:
            enter(session, administrator, off=OFF - {date(2027, 10, 1)})
        assert [one.path for one in refused.value.problems] == ["/off"]
        assert service.entered(session) == []


def test_a_day_that_was_promised_does_not_move(database, keys, patients, administrator, set_clock):
    set_clock(datetime(2027, 2, 1, 3, tzinfo=UTC))
    with database.transaction() as session:
        row = requests.ask(session, keys, patients[1], kind=requests.Kind.COPY, text="请给我一份副本")
        assert (row.due_on, requests.estimated(session)(row)) == (date(2027, 2, 18), True)
        enter(session, administrator)
        assert row.due_on == date(2027, 2, 18)
        assert not requests.estimated(session)(row)
        requests.extend(session, keys, administrator, row.number, text="档案在外院")
        assert row.due_on == service.calendar(session).due(date(2027, 2, 18), 15).day == date(2027, 3, 10)


def test_who_administers_is_reminded_once_a_week_until_it_is_entered(database, keys, administrator, set_clock):
    told = select(Notification).where(Notification.kind == "working-year.missing")
    set_clock(datetime(2026, 11, 14, 6, tzinfo=UTC))
    with database.transaction() as session:
        assert (service.missing(session), service.remind(session, keys)) == (None, 0)
    set_clock(datetime(2026, 11, 16, 6, tzinfo=UTC))
    with database.transaction() as session:
        assert service.missing(session) == 2027
        first = service.remind(session, keys)
        assert first >= 1
        assert service.remind(session, keys) == 0
    set_clock(timedelta(days=7))
    with database.transaction() as session:
        assert service.remind(session, keys) == first
        assert len(session.exec(told).all()) == 2 * first
        enter(session, administrator)
        assert service.missing(session) is None
        assert service.remind(session, keys) == 0
