"""The reviewers' work: findings, two signatures on one document, and which access rights are still needed (RS-7.1, PI-3.2b)."""

from datetime import date, timedelta
from uuid import uuid4

import pytest
from sqlmodel import select

from broker import clock
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.audit.models import AuditEvent
from broker.errors import Forbidden
from broker.identity import service as identity_service
from broker.identity.access import Role
from broker.identity.models import Client, Person, RoleHeld
from broker.identity.service import caller_for
from broker.incidents import service as incidents
from broker.notifications.models import Notification
from broker.review import recertifying, service, workbench
from broker.review.errors import AnotherDocument, NoSuchRight, NotOver, SignedAlready
from broker.review.last_use import is_unused
from broker.review.models import Recertification
from broker.review.report import digest
from tests.factories import applications as make
from tests.factories import identity

QUARTER = service.Quarter.parse("2026Q3")


def figures(session):
    return service.compiled(session, QUARTER, feedback_days=30)


def sign(session, keys, person, seen=None):
    now = figures(session)
    seen = seen or digest(workbench.whole(session, keys, QUARTER, now))
    return workbench.sign(session, keys, caller_for(session, person), QUARTER, now, seen=seen)


def test_two_people_sign_what_was_laid_down(database, keys, people, set_clock):
    set_clock(QUARTER.until)
    with database.transaction() as session:
        auditor = caller_for(session, people.auditor)
        found = workbench.find(session, keys, auditor, QUARTER, severity="medium", text="CANARY 申请理由过于笼统。", application=None)
        assert workbench.number(found) == "2026Q3-01"
        incidents.open_action(session, caller_for(session, people.manager), source="finding", source_ref="2026Q3-01", changes="process",
                              title="修订模板", owner=people.head, due_on=date(2026, 12, 1))  # fmt: skip
        first, signed = sign(session, keys, people.auditor)
        assert set(signed) == {"auditor"}
        laid = workbench.whole(session, keys, QUARTER, {})
        assert [one["title"] for one in laid["actions"]] == ["修订模板"]
        with pytest.raises(SignedAlready):
            workbench.find(session, keys, auditor, QUARTER, severity="low", text="x", application=None)
        with pytest.raises(SignedAlready):
            sign(session, keys, people.auditor)
        with pytest.raises(AnotherDocument):
            sign(session, keys, people.manager, seen="0" * 64)
        second, signed = sign(session, keys, people.manager, seen=first)
        assert (second, set(signed)) == (first, {"auditor", "information_manager"})
        assert "CANARY" not in "".join(session.exec(select(AuditEvent.leaf)).all())


def test_who_signs_and_when(database, keys, people, set_clock):
    with database.transaction() as session:
        set_clock(QUARTER.until - timedelta(seconds=1))
        with pytest.raises(NotOver):
            sign(session, keys, people.auditor)
        set_clock(QUARTER.until)
        for who in (people.applicant, people.head):
            with pytest.raises(Forbidden):
                sign(session, keys, who)
        with pytest.raises(Forbidden):
            workbench.find(session, keys, caller_for(session, people.manager), QUARTER, severity="low", text="x", application=None)


def begun(session, keys, people):
    recertifying.begin(session, keys, caller_for(session, people.auditor), QUARTER)
    return {(row.kind, row.subject): row for row in session.exec(select(Recertification)).all()}


def test_what_nobody_speaks_for_is_revoked_and_what_is_kept_stays(database, means, people, patients, set_clock):
    start = clock.now()
    set_clock(start)
    with database.transaction() as session:
        kept, lost = make.approved(session, means, people), make.approved(session, means, people, 2)
        client, _ = identity.client_with_key(session, organization_id=make.RECIPIENT)
        rights = begun(session, means.keys, people)
        assert recertifying.begin(session, means.keys, caller_for(session, people.auditor), QUARTER) == 0
        head, manager = caller_for(session, people.head), caller_for(session, people.manager)
        assert {row.organization_id for row in recertifying.mine(session, head, QUARTER)} == {make.RECIPIENT}
        recertifying.answer(session, head, rights["grant", kept.number].id, keep=True)
        own = rights["role", f"{people.manager}|information_manager|renhe-information"]
        for who, right in ((caller_for(session, people.stranger), rights["grant", kept.number]), (manager, own)):
            with pytest.raises(NoSuchRight):
                recertifying.answer(session, who, right.id, keep=True)
        for (kind, _), row in rights.items():
            if kind == "role" and row is not own and row.answer is None:
                recertifying.answer(session, manager, row.id, keep=True)
        recertifying.answer(session, caller_for(session, people.second_manager), own.id, keep=False)
        assert recertifying.enforce(session, means.keys) == 1  # The role that was not to be kept; the rest has time.
        assert (Role.INFORMATION_MANAGER, "renhe-information") not in identity_service.offices(session, people.manager)
        set_clock(start + timedelta(days=recertifying.DAYS))
        assert recertifying.enforce(session, means.keys) == 2
        assert recertifying.enforce(session, means.keys) == 0
        session.expire_all()
        states = {grant.number: applications.of_application(session, applications.find(session, grant.number)).status for grant in (kept, lost)}
        assert states == {kept.number: "active", lost.number: "revoked"}
        assert session.get(Client, client.id).status == "suspended"
        assert {one["kind"]: (one["kept"], one["revoked"]) for one in workbench.access(session, QUARTER)}["grant"] == (1, 1)
        assert session.exec(select(Notification).where(Notification.kind == "recertification.due")).first() is not None


def test_what_was_not_used_for_so_long_is_proposed_to_go(database, means, people, patients, set_clock):
    """PI-3.2b: last use is shown; unused is a proposal and no answer."""
    start = clock.now()
    set_clock(start)
    with database.transaction() as session:
        used, idle = make.approved(session, means, people), make.approved(session, means, people, 2)
        about = {"application": used.number, "grant": str(used.id), "recipient": used.recipient_id, "release": uuid4()}
        audit.record(session, Event("release.permitted", "client:c-1", **about))
        set_clock(start + timedelta(days=29))
        recertifying.begin(session, means.keys, caller_for(session, people.auditor), QUARTER, unused_days=30)
        rows = {row.subject: row for row in session.exec(select(Recertification).where(Recertification.kind == "grant")).all()}
        assert {number: (row.unused, row.last_used_at is None) for number, row in rows.items()} == {
            used.number: (False, False),
            idle.number: (True, True),
        }
        assert recertifying.enforce(session, means.keys) == 0, "proposed is not revoked"
        set_clock(start + timedelta(days=30, milliseconds=1))
        assert is_unused(rows[used.number].last_used_at, 30)


def test_the_last_who_can_run_the_hospital_is_not_taken_away_by_silence(database, means, people, set_clock):
    start = clock.now()
    set_clock(start)
    with database.transaction() as session:
        rights = begun(session, means.keys, people)
        set_clock(start + timedelta(days=recertifying.DAYS))
        recertifying.enforce(session, means.keys)
        managers = session.exec(select(RoleHeld.person_id).where(RoleHeld.role == "information_manager")).all()
        assert len(managers) == 1
        outcomes = [row.outcome for key, row in rights.items() if "information_manager" in key[1]]
        assert sorted(outcomes) == ["last", "unanswered"]
        assert session.exec(select(RoleHeld).where(RoleHeld.role == "applicant")).first() is None
        assert session.get(Person, people.applicant).status == "active"
