"""Lists: found by what people type of a number, in an order without gaps or repeats, and read from an index (RS-5.2.4, RS-6.1)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlmodel import select

from broker.applications import service
from broker.applications.models import Application
from broker.applications.service import SORTS, State, Wanted
from tests.factories import applications as make


def numbers(session, person, **wanted):
    return [one.number for one in service.listing(session, person, Wanted(**wanted), limit=50, offset=0, counted=100).items]


def test_a_number_is_found_by_what_people_type_of_it(database, means, people, patients):
    with database.transaction() as session:
        first, second = (make.submitted(session, means, people) for _ in range(2))
        year, digits = first.number[3:7], first.number[8:]
        for typed in (first.number, first.number.lower(), f"{year}-{digits}", str(int(digits)), digits):
            assert numbers(session, people.manager, number=typed) == [first.number], typed
        for typed in ("SA", year, f"SA-{year}"):
            assert set(numbers(session, people.manager, number=typed)) >= {first.number, second.number}, typed
        for typed in ("999999", "SB-", "%", "_A-", "٣", "1" * 40, "x'; --"):
            assert numbers(session, people.manager, number=typed) == [], typed


@pytest.mark.parametrize("sort", [one for name in SORTS for one in (name, f"-{name}")])
def test_pages_follow_each_other_without_gap_or_repeat(database, means, people, patients, sort):
    with database.transaction() as session:
        for _ in range(2):
            make.submitted(session, means, people)
        service.draft(session, means.keys, people.applicant, {"purpose": "TREAT"})
        whole = [one.draft_id for one in service.listing(session, people.applicant, Wanted(sort=sort), limit=50, offset=0, counted=100).items]
        pages = [
            one.draft_id
            for offset in range(len(whole))
            for one in service.listing(session, people.applicant, Wanted(sort=sort), limit=1, offset=offset, counted=100).items
        ]
        assert pages == whole
        assert len(set(whole)) == len(whole) >= 3


def test_the_plan_of_a_sorted_list_sorts_nothing(database, means, people, patients):
    with database.transaction() as session:
        make.submitted(session, means, people)
        session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        seen = []
        sa.event.listen(session.get_bind(), "before_cursor_execute", lambda *given: seen.append((given[2], given[3])))
        for sort in ("-created", "created", "submitted", "-submitted", "-status"):
            seen.clear()
            service.listing(session, people.manager, Wanted(sort=sort), limit=25, offset=0, counted=100)
            statement, values = next(one for one in seen if "LIMIT" in one[0] and "ORDER BY application." in one[0])
            plan = "\n".join(row[0] for row in session.connection().exec_driver_sql(f"EXPLAIN {statement}", values).all())
            assert "Sort" not in plan, (sort, plan)


def test_the_glance_counts_what_the_list_shows(database, means, people, patients):
    with database.transaction() as session:
        make.approved(session, means, people)
        make.submitted(session, means, people)
        service.draft(session, means.keys, people.applicant, {"purpose": "TREAT"})
        mine = Wanted(mine=True)
        total = service.listing(session, people.applicant, mine, limit=0, offset=0, counted=100).total
        found = service.glance(session, people.applicant)
        rows = session.exec(select(Application).where(Application.requester_id == people.applicant)).all()
        assert total == len(rows)
        assert found.to_finish == sum(row.status in (State.DRAFT, State.RETURNED) for row in rows)
        assert found.under_way == sum(row.status in (State.SUBMITTED, State.ENDORSED) for row in rows)
        assert found.in_force == 1
