"""Suggestions and complaints, each to its answer (RS-7.2, QA-4.2); reminders of feedback (RS-5.3.4)."""

from datetime import datetime, timedelta

import pytest
from fastapi import FastAPI
from sqlmodel import select
from starlette.testclient import TestClient

from broker import clock, edge
from broker.applications import service as applications
from broker.audit.models import AuditEvent
from broker.errors import Forbidden
from broker.feedback import concerns, service
from broker.feedback.concerns import Verdict
from broker.feedback.errors import ConcernClosed, ConcernNotExtended, NoSuchConcern, NoSuchRelease
from broker.feedback.models import Concern, ConcernKind
from broker.feedback.routes import build_router
from broker.feedback.rules import Answers
from broker.identity.models import Person
from broker.identity.service import caller_for
from broker.notifications.models import Notification
from broker.settings import Settings
from tests.factories import applications as make
from tests.factories import identity


def raised(session, keys, person=None, kind=ConcernKind.COMPLAINT, **more):
    return concerns.raise_concern(session, keys, kind=kind, text="CANARY-words", person=person, **more)


def test_a_complaint_goes_to_its_answer_and_whoever_raised_it_is_told(database, keys, people):
    with database.transaction() as session:
        row = raised(session, keys, people.applicant)
        assert row.number == f"CP-{clock.now().year}-0001"
        assert raised(session, keys, people.applicant, ConcernKind.SUGGESTION).number == f"SG-{clock.now().year}-0001"
        manager = caller_for(session, people.manager)
        concerns.answer(session, keys, manager, row.number, text="已查明并改正。", verdict=Verdict.UPHELD, corrective_action="CA-1")
        ((made, text),) = concerns.answers_of(session, keys, row)
        assert (made.verdict, text, row.state) == ("upheld", "已查明并改正。", "answered")
        told = session.exec(select(Notification.recipient).where(Notification.kind == "concern.answered")).all()
        assert told == [f"person:{people.applicant}"]
        with pytest.raises(NoSuchConcern):
            concerns.close(session, row.number, person=people.stranger)
        assert concerns.close(session, row.number, person=people.applicant).state == "closed"
        with pytest.raises(ConcernClosed):
            concerns.answer(session, keys, manager, row.number, text="x", verdict=Verdict.UPHELD)
        leaves = "".join(session.exec(select(AuditEvent.leaf)).all())
        assert "CANARY" not in leaves
        assert b"CANARY" not in session.get(Concern, row.id).text_sealed


def test_who_sees_and_who_answers(database, keys, people):
    with database.transaction() as session:
        row = raised(session, keys, people.applicant)
        own = raised(session, keys, people.manager)
        for who in (people.applicant, people.manager, people.auditor):
            assert concerns.look(session, caller_for(session, who), row.number)
        with pytest.raises(NoSuchConcern):
            concerns.look(session, caller_for(session, people.stranger), row.number)
        assert [one.number for one in concerns.many(session, caller_for(session, people.applicant))] == [row.number]
        for who, number in ((people.auditor, row.number), (people.applicant, row.number), (people.manager, own.number)):
            with pytest.raises(Forbidden):
                concerns.answer(session, keys, caller_for(session, who), number, text="x", verdict=Verdict.UPHELD)


def test_a_patient_complains_without_being_named(database, keys, people, patients):
    with database.transaction() as session:
        row = raised(session, keys, patient=patients[1])
        assert [one.number for one in concerns.of_patient(session, keys, patients[1])] == [row.number]
        assert concerns.of_patient(session, keys, patients[2]) == []
        with pytest.raises(NoSuchConcern):
            concerns.close(session, row.number, patient_token=keys.blind("concern", patients[2].hex))
        concerns.close(session, row.number, patient_token=row.patient_token)


def test_what_is_not_answered_is_reminded_of_and_counted(database, keys, people, set_clock):
    start = clock.now()
    set_clock(start)
    with database.transaction() as session:
        raised(session, keys, people.applicant)
        assert concerns.remind(session, keys) == 0
        due = concerns.between(session, start, start + timedelta(seconds=1))[0].due_at
        set_clock(due - timedelta(days=2))
        assert concerns.remind(session, keys) == 2  # Both managers.
        set_clock(due)
        assert concerns.remind(session, keys) == 3  # And the auditor.
        assert concerns.remind(session, keys) == 0
        rows = concerns.between(session, start, clock.now())
        assert concerns.counted(rows, clock.now()) == {"raised": 1, "answered": 0, "answered_late": 0, "late": 1}


@pytest.mark.parametrize(
    ("raised_at", "together", "due"),
    [
        # National Day is off from Thursday 1 to Wednesday 7 October 2026; the evening of 29 September by UTC is the 30th in China.
        ("2026-09-29T17:00+00:00", False, "2026-10-13T23:59:59+08:00"),
        ("2026-09-29T15:00+00:00", False, "2026-10-12T23:59:59+08:00"),
        ("2026-09-29T17:00+00:00", True, "2026-10-20T23:59:59+08:00"),
        ("2026-06-01T02:00+00:00", False, "2026-06-08T23:59:59+08:00"),
    ],
)
def test_a_complaint_is_answered_within_working_days_of_the_hospitals_clocks(database, keys, people, set_clock, raised_at, together, due):
    """QA-4.2; 医疗机构投诉管理办法: 5 working days, 10 where several departments must agree."""
    set_clock(datetime.fromisoformat(raised_at))
    with database.transaction() as session:
        row = raised(session, keys, people.applicant)
        if together:
            manager = caller_for(session, people.manager)
            for nobody in (people.applicant, people.auditor):
                with pytest.raises(Forbidden):
                    concerns.extend(session, keys, caller_for(session, nobody), row.number)
            concerns.extend(session, keys, manager, row.number)
            with pytest.raises(ConcernNotExtended):
                concerns.extend(session, keys, manager, row.number)
            with pytest.raises(ConcernNotExtended):
                concerns.extend(session, keys, manager, raised(session, keys, people.applicant, ConcernKind.SUGGESTION).number)
        assert row.due_at == datetime.fromisoformat(due)


def test_the_hospital_sets_its_own_clocks(database, keys, people, set_clock):
    set_clock(datetime.fromisoformat("2026-06-01T02:00+00:00"))
    clocks = service.clocks_of(Settings(complaint_days=3, complaint_shared_days=2, suggestion_days=7, time_zone="Asia/Urumqi"))
    with database.transaction() as session:
        assert raised(session, keys, people.applicant, clocks=clocks).due_at == datetime.fromisoformat("2026-06-04T23:59:59+06:00")
        other = raised(session, keys, people.applicant, ConcernKind.SUGGESTION, clocks=clocks)
        assert (other.due_at, clocks.shared) == (datetime.fromisoformat("2026-06-08T23:59:59+06:00"), 3)


def test_feedback_is_reminded_of_before_and_after_it_is_due(database, means, people, patients, set_clock):
    start = clock.now()
    set_clock(start)
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        session.connection().exec_driver_sql(applications.SPEND_SQL, {"grant": grant.id, "at": start})
        session.refresh(grant)
        told = {}
        for day in range(50):
            set_clock(start + timedelta(days=day))
            if found := service.remind(session, means.keys, 30):
                told[day] = found
        assert told == {23: 1, 30: 2, 44: 2}
        kinds = session.exec(select(Notification.kind).where(Notification.recipient == f"person:{people.applicant}")).all()
        assert [kind for kind in kinds if kind.startswith("feedback.")] == ["feedback.due", "feedback.overdue"]


def test_feedback_names_a_release_of_its_own_application_or_none(database, means, people, patients):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        answers = Answers(used=False, purpose_met=None, elements_used=(), examinations_avoided=0, data_problems=(), onward_disclosure=False,
                          deletion_done=True, comment=None, release=grant.id)  # fmt: skip
        with pytest.raises(NoSuchRelease):
            service.give(session, means.keys, caller_for(session, people.applicant), grant.number, answers)


def test_concerns_over_http(own, tmp_path):
    app = FastAPI()
    app.state.settings, app.state.keys, app.state.database = Settings(var=tmp_path / "var"), own.keys, own.database
    edge.install(app)
    app.include_router(build_router(keys=own.keys, days=30, clocks=concerns.USUAL))
    client = TestClient(app)
    with own.database.transaction() as session:
        headers = {name: identity.signed_in(session, session.get(Person, getattr(own.people, name))) for name in ("applicant", "manager", "stranger")}
    body = {"kind": "suggestion", "text": "申请表可增加模板。"}
    made = client.post("/api/v1/concerns", json=body, headers=headers["applicant"])
    assert made.status_code == 201, made.text
    number = made.json()["number"]
    answered = client.post(f"/api/v1/concerns/{number}/answer", json={"text": "采纳。", "verdict": "taken-up"}, headers=headers["manager"])
    assert answered.json()["answers"][0]["text"] == "采纳。"
    assert client.get(f"/api/v1/concerns/{number}", headers=headers["stranger"]).status_code == 404
    assert [one["number"] for one in client.get("/api/v1/concerns", headers=headers["manager"]).json()["items"]] == [number]
    assert client.post(f"/api/v1/concerns/{number}/close", headers=headers["applicant"]).json()["state"] == "closed"
    refused = client.post("/api/v1/concerns", json={**body, "application": "SA-2026-999999"}, headers=headers["applicant"])
    assert refused.status_code == 404
