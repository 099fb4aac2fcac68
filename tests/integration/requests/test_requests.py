"""What patients ask, and what becomes of it: clocks, grounds, appeal, copies on record, propagation, restriction, deletion (PIPL 44 to 50)."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlmodel import select

from broker import clock
from broker.audit import service as audit
from broker.audit.models import AuditEvent
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.incidents import service as incidents
from broker.notifications.models import Notification
from broker.records import service as records
from broker.requests import difference, service
from broker.requests.errors import (
    AnotherPerson,
    CorrectionNotTaken,
    GroundRequired,
    NoSuchRequest,
    RequestMoveNotAllowed,
    RequestWordsRequired,
)
from broker.requests.models import Correction
from broker.requests.service import By, Ground, Kind, State
from broker.retention import service as retention

CANARY = "CANARY 我的血型写错了"


@pytest.fixture
def callers(database, people):
    with database.transaction() as session:
        return {name: identity.caller_for(session, getattr(people, name)) for name in ("manager", "second_manager", "auditor", "applicant")}


def happened(session) -> list[str]:
    return [one.type for one in session.exec(select(AuditEvent).where(AuditEvent.type.like("request.%"))).all()]


def test_it_is_taken_with_a_clock_and_its_words_are_the_patient_s_alone(database, keys, patients, callers):
    with database.transaction() as session:
        row = service.ask(session, keys, patients[1], kind=Kind.CORRECTION, text=CANARY)
        assert (row.status, row.channel, row.received_by) == ("received", "page", "patient")
        assert (row.due_on - clock.today()).days in (19, 20, 21)
        assert b"CANARY" not in row.text_sealed
        assert b"CANARY" not in b"".join(one.text_sealed or b"" for one, _ in service.steps(session, keys, None, row))
        assert service.words_of(session, keys, None, row, "text", row.text_sealed) == CANARY
        assert service.words_of(session, keys, callers["auditor"], row, "text", row.text_sealed) is None
        assert service.look(session, callers["auditor"], row.number).number == row.number
        with pytest.raises(NoSuchRequest):
            service.look(session, callers["applicant"], row.number)
        with pytest.raises(Forbidden):
            service.many(session, callers["applicant"])
        assert session.exec(select(Notification).where(Notification.kind == "request.due")).first() is not None
        with pytest.raises(RequestWordsRequired):
            service.ask(session, keys, patients[1], kind=Kind.COPY, text=" ")


def test_who_asks_for_another_is_identified_first(database, keys, patients, callers):
    with database.transaction() as session:
        ask = lambda kind, **given: service.ask(session, keys, patients[1], kind=kind, text="x", by=By.NEXT_OF_KIN, **given)  # noqa: E731
        with pytest.raises(RequestMoveNotAllowed):
            ask(Kind.COPY, asker="儿子")  # At their own page a patient asks for themselves.
        with pytest.raises(RequestMoveNotAllowed):
            ask(Kind.RESTRICTION, asker="儿子", caller=callers["manager"])
        with pytest.raises(RequestWordsRequired):
            ask(Kind.COPY, caller=callers["manager"])
        with pytest.raises(Forbidden):
            ask(Kind.COPY, asker="儿子", caller=callers["auditor"])
        row = ask(Kind.COPY, asker="儿子 张三", caller=callers["manager"])
        assert row.status == "to-identify"
        with pytest.raises(RequestMoveNotAllowed):
            service.fulfil(session, keys, callers["manager"], row.number, text="x")
        service.identify(session, keys, callers["manager"], row.number, text="户口本、死亡证明")
        service.fulfil(session, keys, callers["manager"], row.number, text="副本已备好")
        assert happened(session) == ["request.received", "request.identified", "request.fulfilled"]


def test_a_refusal_has_its_ground_and_somebody_else_decides_the_appeal(database, keys, patients, callers, set_clock):
    with database.transaction() as session:
        row = service.ask(session, keys, patients[1], kind=Kind.DELETION, text="请删除")
        with pytest.raises(GroundRequired):
            service.refuse(session, keys, callers["manager"], row.number, ground=Ground.NOT_WRONG, text="x")
        with pytest.raises(RequestWordsRequired):
            service.refuse(session, keys, callers["manager"], row.number, ground=Ground.KEPT_BY_LAW, text=" ")
        service.extend(session, keys, callers["manager"], row.number, text="档案在外院")
        with pytest.raises(RequestMoveNotAllowed):
            service.extend(session, keys, callers["manager"], row.number, text="再等等")
        service.refuse(session, keys, callers["manager"], row.number, ground=Ground.KEPT_BY_LAW, text="病历须保存十五年")
        assert service.answer_of(session, keys, None, row) == "病历须保存十五年"
        service.appeal(session, keys, row, text="我不同意")
        with pytest.raises(AnotherPerson):
            service.uphold(session, keys, callers["manager"], row.number, text="x")
        service.uphold(session, keys, callers["second_manager"], row.number, text="维持；可向监管部门投诉")
        assert row.status == "upheld"
        with pytest.raises(RequestMoveNotAllowed):
            service.appeal(session, keys, row, text="x")
        figures = service.figures(session, clock.now() - timedelta(days=1), clock.now() + timedelta(days=1))
        assert (figures["received"], figures["by_kind"], figures["refused"], figures["appealed"]) == (1, {"deletion": 1}, 1, 1)


def taken(database, keys, row) -> service.Copy:
    """A copy of which the patient took every byte."""
    with service.held(database, keys, "patient", row, hospital="renhe") as held:
        held.complete = True
    return held.copy


def test_a_copy_is_whole_and_stands_in_the_log_before_it_is_handed_out(database, keys, patients, callers):
    with database.transaction() as session:
        row = service.ask(session, keys, patients[1], kind=Kind.COPY, text="请给我一份副本")
    with pytest.raises(RequestMoveNotAllowed):
        taken(database, keys, row)
    with database.transaction() as session:
        row = service.fulfil(session, keys, callers["manager"], row.number, text="请在本页下载")
    made = taken(database, keys, row)
    said = json.loads(made.body)
    assert (said["resourceType"], said["type"], len(said["entry"])) == ("Bundle", "collection", made.items)
    assert {entry["resource"]["resourceType"] for entry in said["entry"]} == {"Patient"}
    with database.transaction() as session:
        (one,) = audit.transmissions(session, patient=patients[1])
        assert (one.application, one.purpose, one.outcome, one.items, one.manifest) == (row.number, "PATRQT", "sent", 1, made.sha256)
        incidents.contain(
            session, keys, callers["manager"], [incidents.Target(incidents.TargetKind.PATIENT, "p-1")], reason="冒用身份",
        )  # fmt: skip
    with pytest.raises(RequestMoveNotAllowed):
        taken(database, keys, row)


class Between:
    """The database, in which something happens just before one of the transactions begins."""

    def __init__(self, database, number, act):
        self.database, self.left, self.act = database, number, act

    @contextmanager
    def transaction(self):
        self.left -= 1
        if self.left == 0:
            self.act()
        with self.database.transaction() as session:
            yield session


def test_a_containment_between_the_intent_of_a_copy_and_its_reading_stops_it(database, keys, patients, callers):
    with database.transaction() as session:
        number = service.ask(session, keys, patients[1], kind=Kind.COPY, text="请给我一份副本").number
        row = service.fulfil(session, keys, callers["manager"], number, text="请在本页下载")

    def contain():
        with database.transaction() as session:
            mine = [incidents.Target(incidents.TargetKind.PATIENT, "p-1")]
            incidents.contain(session, keys, callers["manager"], mine, reason="冒用身份")

    with pytest.raises(RequestMoveNotAllowed):
        taken(Between(database, 2, contain), keys, row)
    with database.transaction() as session:
        (one,) = audit.transmissions(session, patient=patients[1])
    assert (one.outcome, one.disclosed) == ("failed", False)


def test_a_copy_that_was_taken_whole_is_sent_and_one_that_was_not_is_partial(database, keys, patients, callers):
    with database.transaction() as session:
        number = service.ask(session, keys, patients[1], kind=Kind.COPY, text="请给我一份副本").number
        row = service.fulfil(session, keys, callers["manager"], number, text="请在本页下载")
    for complete in (True, False):

        async def deliver(_send, _receive, complete=complete, **given) -> bool:
            assert json.loads(given["body"])["resourceType"] == "Bundle"
            return complete

        held = service.held(database, keys, "patient", row, hospital="renhe")
        asyncio.run(service.CopyAnswer(held, lambda made: (made.body, {}), deliver, seconds=1)({}, None, None))
    with database.transaction() as session:
        assert {one.outcome for one in audit.transmissions(session, patient=patients[1])} == {"sent", "partial"}


def observation(**changed) -> dict:
    return {
        "resourceType": "Observation", "id": "o7", "status": "final", "code": {"text": "血糖"}, "subject": {"reference": "Patient/p-1"},
        "valueQuantity": {"value": difference.Digits("13.20"), "unit": "mmol/L"}, **changed,
    }  # fmt: skip


def body(resource: dict) -> bytes:
    return difference.written(resource).encode()


def test_what_the_source_put_right_is_told_to_the_log(database, keys, patients, callers):
    with database.transaction() as session:
        row = service.ask(session, keys, patients[1], kind=Kind.CORRECTION, text=CANARY)
        with pytest.raises(RequestMoveNotAllowed):
            service.fulfil(session, keys, callers["manager"], row.number, text="x")
        with pytest.raises(CorrectionNotTaken):
            service.note(session, keys, callers["manager"], row.number, text="已更正", references=())
        service.note(session, keys, callers["manager"], row.number, text="已更正", references=("Observation/o7",))
        (event,) = session.exec(select(AuditEvent).where(AuditEvent.type == "record.corrected")).all()
        assert event.patient_key == patients[1]
        assert "CANARY" not in event.leaf
        assert row.status == "fulfilled"


def test_a_correction_is_brought_by_one_compared_and_agreed_by_another(database, keys, patients, callers):
    manager, second = callers["manager"], callers["second_manager"]
    assert records.ingest_bundle(database, keys, body(observation())).accepted == 1
    right = observation(valueQuantity={"value": difference.Digits("3.20"), "unit": "mmol/L"}, note=[{"text": "CANARY 抄写错误"}])
    with database.transaction() as session:
        number = service.ask(session, keys, patients[1], kind=Kind.CORRECTION, text=CANARY).number
        for bad in (
            b"{}",
            b"[]",
            b'{"resourceType":"Bundle"}',
            body(observation(subject={"reference": "Patient/p-2"})),
            body(observation(status="x!")),
        ):
            with pytest.raises(CorrectionNotTaken):
                service.stage(session, keys, manager, number, bad)
        with pytest.raises(CorrectionNotTaken) as same:
            service.stage(session, keys, manager, number, body(observation()))
        assert [one.code for one in same.value.problems] == ["unchanged"]
        with pytest.raises(Forbidden):
            service.stage(session, keys, callers["auditor"], number, body(right))
        row = service.stage(session, keys, manager, number, body(right))
        with pytest.raises(RequestMoveNotAllowed):
            service.stage(session, keys, second, number, body(right))
        kept = session.exec(select(Correction)).one()
        assert b"CANARY" not in kept.body_sealed
        assert service.staged(session, keys, callers["auditor"], row) is None
        (one,) = service.staged(session, keys, second, row).resources
        assert [(change.place, change.before, change.after) for change in one.changes] == [
            ("valueQuantity.value", "13.20", "3.20"), ("note.0.text", None, "CANARY 抄写错误"),
        ]  # fmt: skip
        with pytest.raises(AnotherPerson):
            service.agree(session, keys, database, manager, number, text="x")
        service.send_back(session, keys, second, number, text="请核对单位")
        with pytest.raises(RequestMoveNotAllowed):
            service.agree(session, keys, database, second, number, text="x")
        service.stage(session, keys, manager, number, body(right))
    with database.transaction() as session:
        service.agree(session, keys, database, second, number, text="已更正")
    with database.transaction() as session:
        (stored,) = [one.body for one in records.whole(session, keys, patients[1]) if b'"o7"' in one.body]
        assert b'"value":3.20' in stored, "digit for digit"
        assert service.find(session, number).status == "fulfilled"
        events = [one.type for one in session.exec(select(AuditEvent)).all()]
        assert events.count("record.corrected") == 1
        assert happened(session) == [
            "request.received", "request.correction-proposed", "request.correction-returned", "request.correction-proposed", "request.fulfilled",
        ]  # fmt: skip


def test_a_restriction_freezes_and_outlives_an_incident(database, keys, patients, callers):
    manager, second = callers["manager"], callers["second_manager"]
    with database.transaction() as session:
        row = service.ask(session, keys, patients[1], kind=Kind.RESTRICTION, text="停止共享")
        incident, _ = incidents.contain(session, keys, manager, [incidents.Target(incidents.TargetKind.PATIENT, "p-1")], reason="x")
        service.fulfil(session, keys, manager, row.number, text="已停止")
        incidents.ask_to_lift(session, keys, manager, incident.number, reason="x")
        incidents.lift(session, keys, second, incident.number, reason="x")
        assert records.is_frozen(session, patients[1]), "the patient's own wish stands"
        later, _ = incidents.contain(session, keys, manager, [incidents.Target(incidents.TargetKind.PATIENT, "p-1")], reason="x")
        service.lift(session, keys, manager, row.number, text="患者本人要求恢复")
        assert records.is_frozen(session, patients[1]), "the incident stands"
        incidents.ask_to_lift(session, keys, manager, later.number, reason="x")
        incidents.lift(session, keys, second, later.number, reason="x")
        assert not records.is_frozen(session, patients[1])
        with pytest.raises(RequestMoveNotAllowed):
            service.lift(session, keys, manager, row.number, text="x")


def test_a_deletion_is_an_order_of_two_after_which_its_words_are_gone(database, keys, patients, callers):
    manager, second = callers["manager"], callers["second_manager"]
    with database.transaction() as session:
        row = service.ask(session, keys, patients[1], kind=Kind.DELETION, text=CANARY)
        service.order(session, keys, manager, row.number, text="同意")
        assert service.settle_orders(session, keys) == 0
        retention.approve(session, keys, retention.Means(), second, row.order_number)
        assert service.settle_orders(session, keys) == 1
        assert row.status == "fulfilled"
        assert service.words_of(session, keys, manager, row, "text", row.text_sealed) is None
        assert happened(session) == ["request.received", "request.ordered", "request.fulfilled"]
        assert service.steps(session, keys, manager, row)[0][0].action == "received"
        other = service.ask(session, keys, patients[2], kind=Kind.DELETION, text="x")
        service.order(session, keys, manager, other.number, text="同意")
        retention.cancel(session, second, other.order_number)
        service.settle_orders(session, keys)
        assert (other.status, other.ground) == ("refused", "conditions-not-met")


def test_late_ones_are_told_of_once_and_to_auditors_too(database, keys, patients, callers, set_clock):
    with database.transaction() as session:
        row = service.ask(session, keys, patients[1], kind=Kind.EXPLANATION, text="为什么被拒绝？")
        assert service.remind(session, keys) == 0
    set_clock(timedelta(days=17))
    with database.transaction() as session:
        assert service.remind(session, keys) >= 1
        assert service.remind(session, keys) == 0
    set_clock(timedelta(days=30))
    with database.transaction() as session:
        assert service.is_late(service.find(session, row.number))
        assert service.remind(session, keys) >= 2
        assert service.many(session, callers["auditor"], state=State.RECEIVED)[0].number == row.number
