"""Feedback on the use of data: who gives it, when it is due, and that nobody applies anew before (RS-5.3.4)."""

from datetime import timedelta

import psycopg
import pytest
from fastapi import FastAPI
from sqlmodel import select
from starlette.testclient import TestClient

from broker import clock, edge
from broker.applications import service as applications
from broker.applications.errors import FeedbackOverdue, NoGrant, NoSuchApplication
from broker.audit.models import AuditEvent
from broker.errors import Forbidden
from broker.feedback import service
from broker.feedback.models import Feedback
from broker.feedback.routes import build_router
from broker.feedback.rules import Answers
from broker.identity.access import ReleaseCaller
from broker.identity.models import Person
from broker.identity.service import caller_for
from broker.settings import Settings
from tests.factories import applications as make
from tests.factories import identity

DAYS = 30
ANSWERS = Answers(
    used=True,
    purpose_met="yes",
    elements_used=("Observation.value",),
    examinations_avoided=2,
    data_problems=("outdated",),
    onward_disclosure=False,
    deletion_done=True,
    comment="CANARY-comment",
)
BODY = {
    "used": True,
    "purpose_met": "partly",
    "elements_used": ["Observation.value", "Observation.code"],
    "examinations_avoided": 1,
    "data_problems": ["incomplete"],
    "onward_disclosure": False,
    "deletion_done": True,
    "comment": "结果不全。",
}


def released(session, means, people, *numbers, **changes):
    """A grant under which data were sent now."""
    grant = make.approved(session, means, people, *numbers, **changes)
    session.connection().exec_driver_sql(applications.SPEND_SQL, {"grant": grant.id, "at": clock.now()})
    session.refresh(grant)
    return grant


# --- Who -------------------------------------------------------------------------------------------------------------


def test_requester_and_recipient_report(database, means, people, patients):
    with database.transaction() as session:
        grant = released(session, means, people)
        colleague = identity.person(session, "applicant", organization_id=make.RECIPIENT).id
        below = identity.organization(session, "shengli-cardiology-ward", parent_id=make.RECIPIENT, relationship="external", kind="department").id
        nurse = identity.person(session, "department_head", organization_id=below).id
        for who in (people.applicant, people.head, colleague, nurse):
            row = service.give(session, means.keys, caller_for(session, who), grant.number, ANSWERS)
            assert (row.grant_id, row.person_id, row.client_id) == (grant.id, who, None)
        events = session.exec(select(AuditEvent).where(AuditEvent.type == "feedback.given")).all()
        assert {event.actor for event in events} == {f"person:{who}" for who in (people.applicant, people.head, colleague, nurse)}
        assert {event.grant_id for event in events} == {str(grant.id)}


def test_nobody_else_reports(database, means, people, patients):
    with database.transaction() as session:
        grant = released(session, means, people)
        above = identity.person(session, "applicant", organization_id="shengli").id
        for who in (people.stranger, people.manager, people.auditor, people.inside_head, above):
            with pytest.raises(NoSuchApplication):
                service.give(session, means.keys, caller_for(session, who), grant.number, ANSWERS)
        without_role = identity.person(session, organization_id=make.RECIPIENT).id
        with pytest.raises(Forbidden):
            service.give(session, means.keys, caller_for(session, without_role), grant.number, ANSWERS)


def test_the_manager_who_applied_for_somebody_reports(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people, by=people.manager)
        applications.endorse(session, means.keys, people.head, row.number, if_match=row.version)
        applications.approve(session, means, people.second_manager, row.number, if_match=row.version)
        assert service.give(session, means.keys, caller_for(session, people.manager), row.number, ANSWERS).person_id == people.manager


def test_the_recipients_system_reports(database, means, people, patients):
    with database.transaction() as session:
        grant = released(session, means, people)
        client, _ = identity.client_with_key(session, organization_id=make.RECIPIENT)

        def caller(organization):
            return ReleaseCaller(client.id, organization, grant.id, grant.number, "TREAT", (), "jti", 0)

        row = service.give_as_client(session, means.keys, caller(make.RECIPIENT), ANSWERS)
        assert (row.person_id, row.client_id) == (None, client.id)
        with pytest.raises(NoSuchApplication):
            service.give_as_client(session, means.keys, caller("qingyuan"), ANSWERS)


def test_without_a_grant_there_is_nothing_to_report(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people)
        with pytest.raises(NoGrant):
            service.give(session, means.keys, caller_for(session, people.applicant), row.number, ANSWERS)
        draft = make.drafted(session, means, people)
        with pytest.raises(NoSuchApplication):
            service.give(session, means.keys, caller_for(session, people.applicant), str(draft.id), ANSWERS)


def test_words_are_sealed(own):
    with own.database.transaction() as session:
        grant = released(session, own.means, own.people)
        row = service.give(session, own.keys, caller_for(session, own.people.applicant), grant.number, ANSWERS)
        application = applications.find(session, grant.number)
        assert service.comment_of(own.keys, application, row) == "CANARY-comment"
    with psycopg.connect(own.url) as owner:
        everything = str(owner.execute("SELECT f::text FROM feedback f").fetchall() + owner.execute("SELECT leaf FROM audit_event").fetchall())
    assert "outdated" in everything
    assert "CANARY" not in everything
    assert b"CANARY".hex() not in everything


def test_what_was_reported_is_never_changed(own):
    with own.database.transaction() as session:
        grant = released(session, own.means, own.people)
        service.give(session, own.keys, caller_for(session, own.people.applicant), grant.number, ANSWERS)
    for statement in ("UPDATE feedback SET used = false", "DELETE FROM feedback"):
        with pytest.raises(Exception, match="permission denied"), own.database.transaction() as session:
            session.connection().exec_driver_sql(statement)


# --- When ------------------------------------------------------------------------------------------------------------


def test_overdue_feedback_holds_back_the_requester(database, keys, people, patients, set_clock):
    means = make.means(keys, holds=service.holds(DAYS))
    set_clock(timedelta())
    with database.transaction() as session:
        grant = released(session, means, people, valid_until="2199-12-31")
        never_released = make.approved(session, means, people)
        set_clock(timedelta(days=DAYS, seconds=-1))
        make.submitted(session, means, people)
        set_clock(timedelta(seconds=1))
        with pytest.raises(FeedbackOverdue) as caught:
            make.submitted(session, means, people)
        assert [problem.path for problem in caught.value.problems] == [f"/applications/{grant.number}/feedback"]
        assert never_released.number not in caught.value.detail
        service.give(session, keys, caller_for(session, people.applicant), grant.number, ANSWERS)
        make.submitted(session, means, people)


def test_another_account_of_the_requester_is_held_too_and_nobody_else(database, keys, means, people, patients, set_clock):
    held = service.holds(DAYS)
    with database.transaction() as session:
        grant = released(session, means, people)
        natural_person = session.get(Person, people.applicant).natural_person
        other = identity.person(session, "applicant", organization_id=make.RECIPIENT, natural_person=natural_person).id
        colleague = identity.person(session, "applicant", organization_id=make.RECIPIENT).id
        set_clock(timedelta(days=DAYS + 1))
        assert held(session, people.applicant) == (grant.number,)
        assert held(session, other) == (grant.number,)
        assert held(session, colleague) == ()


def test_a_report_before_anything_was_sent_does_not_count(database, means, people, patients, set_clock):
    set_clock(timedelta())
    with database.transaction() as session:
        grant = make.approved(session, means, people, valid_until="2199-12-31")
        service.give(session, means.keys, caller_for(session, people.applicant), grant.number, ANSWERS)
        set_clock(timedelta(seconds=1))
        session.connection().exec_driver_sql(applications.SPEND_SQL, {"grant": grant.id, "at": clock.now()})
        session.refresh(grant)
        set_clock(timedelta(days=DAYS))
        assert service.holds(DAYS)(session, people.applicant) == (grant.number,)


def test_it_stays_due_when_the_grant_is_over(database, means, people, patients, set_clock):
    with database.transaction() as session:
        grant = released(session, means, people)
        applications.revoke(session, means.keys, people.manager, grant.number, reason=applications.Reason("违约"))
        set_clock(timedelta(days=DAYS + 1))
        assert service.holds(DAYS)(session, people.applicant) == (grant.number,)


# --- Over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(database, keys, people, patients):
    app = FastAPI()
    edge.install(app)
    app.state.database, app.state.keys, app.state.settings = database, keys, Settings()
    app.include_router(build_router(keys=keys, days=DAYS, clocks=service.clocks_of(Settings())))
    http = TestClient(app, raise_server_exceptions=False)

    def ask(method, who, number, body=None, **headers):
        with database.transaction() as session:
            login = identity.signed_in(session, session.get(Person, who))
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.request(method, f"/api/v1/applications/{number}/feedback", json=body, headers={**login, **extra})

    return ask


def test_given_and_read(desk, database, means, people, patients, set_clock):
    with database.transaction() as session:
        grant = released(session, means, people)
    before = desk("GET", people.applicant, grant.number).json()
    assert (before["items"], before["overdue"]) == ([], False)
    assert before["due"] == (grant.first_released_at + timedelta(days=DAYS)).isoformat().replace("+00:00", "Z")
    given = desk("POST", people.applicant, grant.number, BODY)
    assert given.status_code == 201, given.text
    assert {name: given.json()[name] for name in BODY} == BODY
    for who in (people.applicant, people.manager, people.auditor):
        assert desk("GET", who, grant.number).json()["items"] == [given.json()]
    assert desk("GET", people.stranger, grant.number).status_code == 404


def test_overdue_is_shown(desk, database, means, people, patients):
    with database.transaction() as session:
        grant = released(session, means, people)
        session.connection().exec_driver_sql("UPDATE sharing_grant SET first_released_at = first_released_at - interval '31 days'")
    assert desk("GET", people.applicant, grant.number).json()["overdue"] is True


def test_a_repeated_report_is_one(desk, database, means, people, patients):
    with database.transaction() as session:
        grant = released(session, means, people)
    first, again = (desk("POST", people.applicant, grant.number, BODY, idempotency_key="f1") for _ in range(2))
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    with database.transaction() as session:
        assert len(session.exec(select(Feedback)).all()) == 1


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"used": "yes"}, "/body/used"),
        ({"purpose_met": "CANARY"}, "/body/purpose_met"),
        ({"purpose_met": None}, "/purpose_met"),
        ({"examinations_avoided": -1}, "/body/examinations_avoided"),
        ({"elements_used": ["CANARY free text"]}, "/body/elements_used/0"),
        ({"data_problems": ["CANARY"]}, "/body/data_problems/0"),
        ({"onward_disclosure": True, "comment": None}, "/comment"),
        ({"comment": " "}, "/body/comment"),
        ({"CANARY": 1}, "/body/CANARY"),
    ],
)
def test_bad_answers_are_named(desk, database, means, people, patients, changes, path):
    with database.transaction() as session:
        grant = released(session, means, people)
    answer = desk("POST", people.applicant, grant.number, {**BODY, **changes})
    assert answer.status_code == 422
    assert path in [problem["path"] for problem in answer.json()["errors"]]
    assert "CANARY" not in changes.values() or "CANARY" not in answer.text
