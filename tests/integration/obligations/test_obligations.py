"""The ledger follows the log; recipients answer; silence has consequences; a withdrawal calls back (PI-3.5, RS-5.3.4, PIPL 15, 47)."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlmodel import select

from broker import clock
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.audit.models import AuditEvent
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.notifications.models import Notification
from broker.obligations import service
from broker.obligations.errors import EvidenceRequired, NoSuchObligation, ObligationMoveNotAllowed
from broker.obligations.models import Obligation, Recall
from broker.obligations.service import Action, Answer, Done, State
from tests.factories import applications as make

OWED = ["DELAU:30", "NORDSCLCD"]
GONE = Answer(Done.DELETED, "wiped", "CANARY 清除记录 7")


@pytest.fixture
def its(own):
    """A grant under which data of two patients were sent, and the people."""
    with own.database.transaction() as session:
        grant = make.approved(session, own.means, own.people, 1, 2)
        for number in (1, 2):
            sent(session, grant, own.patients[number])
    with own.database.transaction() as session:
        assert service.follow(session, own.keys, days=15) == (4, 0)
    return grant


def sent(session, grant, patient_key, *, outcome="sent"):
    release = uuid4()
    common = {"application": grant.number, "grant": str(grant.id), "recipient": grant.recipient_id, "purpose": "TREAT", "release": release}
    about = {"patient": patient_key, "subject": "0" * 64}
    audit.record(session, Event("release.permitted", "client:c-1", facts={"types": ["Observation"], "obligations": OWED}, **about, **common))
    if outcome:
        audit.record(session, Event(f"release.{outcome}", "client:c-1", facts={"items": 3}, **about, **common))
    return release


def status(session, number):
    return applications.state_now(applications.of_application(session, applications.find(session, number))).value


def test_each_release_is_in_the_ledger_and_again_only_once(own, its):
    with own.database.transaction() as session:
        rows = service.many(session, identity.caller_for(session, own.people.manager))
        assert [(row.code, row.releases, row.status) for row in rows] == [("DELAU", 1, "open")] * 2 + [("NORDSCLCD", 1, "open")] * 2
        assert {row.due_on for row in rows if row.code == "DELAU"} == {(clock.now() + timedelta(days=30)).date()}
        sent(session, its, own.patients[1], outcome=None)  # It may have arrived.
    with own.database.transaction() as session:
        assert service.follow(session, own.keys, days=15) == (2, 0)
    with own.database.transaction() as session:
        assert service.follow(session, own.keys, days=15) == (0, 0)
        rows = session.exec(select(Obligation).where(Obligation.patient_key == own.patients[1])).all()
        assert {row.releases for row in rows} == {2}


def test_both_sides_see_it_and_only_the_recipient_answers(own, its):
    with own.database.transaction() as session:
        seen = {
            name: len(service.many(session, identity.caller_for(session, getattr(own.people, name))))
            for name in ("applicant", "head", "manager", "auditor", "stranger", "inside_applicant")
        }
        assert seen == {"applicant": 4, "head": 4, "manager": 4, "auditor": 4, "stranger": 0, "inside_applicant": 0}
        for name in ("manager", "auditor", "stranger", "inside_applicant"):
            with pytest.raises(NoSuchObligation):
                service.answer(session, own.keys, identity.caller_for(session, getattr(own.people, name)), its.number, ["DELAU"], GONE)
        recipient = identity.caller_for(session, own.people.applicant)
        with pytest.raises(EvidenceRequired):
            service.answer(session, own.keys, recipient, its.number, ["DELAU"], Answer(Done.DELETED, "wiped", " "))
        assert service.answer(session, own.keys, recipient, its.number, ["DELAU"], GONE) == 2
        with pytest.raises(NoSuchObligation):
            service.answer(session, own.keys, recipient, its.number, ["DELAU"], GONE)
        row = session.exec(select(Obligation).where(Obligation.code == "DELAU")).first()
        assert (row.status, service.evidence_of(session, own.keys, row)) == ("fulfilled", GONE.evidence)
        assert b"CANARY" not in row.evidence_sealed
        manager = identity.caller_for(session, own.people.manager)
        with pytest.raises(Forbidden):
            service.judge(session, own.keys, recipient, row.id, Action.REJECT, text="x")
        with pytest.raises(ObligationMoveNotAllowed):
            service.judge(session, own.keys, manager, row.id, Action.WAIVE, text="x")
        assert service.judge(session, own.keys, manager, row.id, Action.REJECT, text="无附件").status == State.OPEN.value


def test_silence_is_told_of_and_then_suspends_the_grant(own, its, set_clock):
    with own.database.transaction() as session:
        assert service.escalate(session, own.keys, grace_days=7) == (0, 0)
    set_clock(timedelta(days=31))
    with own.database.transaction() as session:
        assert service.escalate(session, own.keys, grace_days=7) == (1, 0)
        assert service.escalate(session, own.keys, grace_days=7) == (0, 0)
        told = session.exec(select(Notification).where(Notification.kind == "obligation.overdue")).all()
        assert {f"organization:{make.RECIPIENT}", f"person:{own.people.manager}"} <= {one.recipient for one in told}
        assert status(session, its.number) == "active"
    set_clock(timedelta(days=7))
    with own.database.transaction() as session:
        assert service.escalate(session, own.keys, grace_days=7) == (0, 1)
        assert status(session, its.number) == "suspended"
        assert service.escalate(session, own.keys, grace_days=7) == (0, 0)
        event = session.exec(select(AuditEvent).where(AuditEvent.type == "grant.suspended")).one()
        assert (event.actor, event.application) == ("system", its.number)


def test_who_answers_in_time_is_not_suspended(own, its, set_clock):
    with own.database.transaction() as session:
        service.answer(session, own.keys, identity.caller_for(session, own.people.applicant), its.number, ["DELAU"], GONE)
    set_clock(timedelta(days=45))
    with own.database.transaction() as session:
        assert service.escalate(session, own.keys, grace_days=7) == (0, 0)
        assert status(session, its.number) == "active"


def test_a_withdrawal_calls_back_from_everybody_who_received(own, its, set_clock):
    with own.database.transaction() as session:
        sent(session, its, own.patients[3], outcome="failed")
        for number in (1, 3):
            audit.record(session, Event("consent.revoked", "person:x", patient=own.patients[number], subject="0" * 64))
    with own.database.transaction() as session:
        assert service.follow(session, own.keys, days=15)[1] == 1, "nobody received anything of patient 3"
    with own.database.transaction() as session:
        stranger = identity.caller_for(session, own.people.stranger)
        recipient = identity.caller_for(session, own.people.applicant)
        assert service.many_recalls(session, stranger) == []
        ((recall, notice),) = service.many_recalls(session, recipient)
        assert (recall.reason, notice.application, notice.releases, notice.done) == ("withdrawn", its.number, 1, None)
        assert [one.disclosed for one in service.releases_of(session, recipient, recall.number, its.number)] == [True]
        for caller in (stranger, identity.caller_for(session, own.people.inside_applicant)):
            with pytest.raises(NoSuchObligation):
                service.acknowledge(session, own.keys, caller, recall.number, its.number, GONE)
            with pytest.raises(NoSuchObligation):
                service.releases_of(session, caller, recall.number, its.number)
        service.acknowledge(session, own.keys, recipient, recall.number, its.number, GONE)
        with pytest.raises(ObligationMoveNotAllowed):
            service.acknowledge(session, own.keys, recipient, recall.number, its.number, GONE)
        ((_, seen),) = service.of_patient(session, own.patients[1])
        assert (seen.done, service.recall_evidence_of(session, own.keys, seen)) == ("deleted", GONE.evidence)
        delau = session.exec(select(Obligation).where(Obligation.code == "DELAU")).all()
        assert {row.patient_key: row.status for row in delau} == {
            own.patients[1]: "fulfilled",
            own.patients[2]: "open",
            own.patients[3]: "waived",  # Nothing was sent.
        }
        assert service.figures(session, clock.now() - timedelta(days=1), clock.now() + timedelta(days=1))["recall_notices"] == {"deleted": 1}


def test_one_cause_is_one_recall_and_an_unanswered_one_suspends(own, its, set_clock):
    with own.database.transaction() as session:
        event = uuid4()
        assert service.issue(session, own.keys, own.patients[1], reason="corrected", actor="system", days=15, event=event) is not None
        assert service.issue(session, own.keys, own.patients[1], reason="corrected", actor="system", days=15, event=event) is None
        assert service.issue(session, own.keys, own.patients[2], reason="corrected", actor="system", days=15) is not None
        assert [one.number[-6:] for one in session.exec(select(Recall).order_by(Recall.number)).all()] == ["000001", "000002"]
    set_clock(timedelta(days=16))
    with own.database.transaction() as session:
        assert service.escalate(session, own.keys, grace_days=7) == (2, 0)
    set_clock(timedelta(days=7))
    with own.database.transaction() as session:
        assert service.escalate(session, own.keys, grace_days=7) == (0, 1)
        assert status(session, its.number) == "suspended"
