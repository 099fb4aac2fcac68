"""Orders by two people, holds that stop them, the sweep, the list that outlives a backup (PI-3.5)."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import select

from broker import clock
from broker.applications import service as applications
from broker.applications.models import IdempotencyKey
from broker.audit.models import AuditEvent
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.feedback import service as feedback
from broker.identity import service as identity
from broker.records import service as records
from broker.retention import service
from broker.retention.errors import OnHold, OrderMoveNotAllowed, TwoForDestruction, WhatRequired
from broker.retention.rules import Law, Line
from broker.settings import Settings
from tests.factories import applications as make
from tests.factories import identity as who

MEANS = service.Means(forget=(applications.destroy_texts, lambda session, _keys, patient: feedback.destroy_comments(session, patient)))


@pytest.fixture
def callers(database, people):
    with database.transaction() as session:
        return {name: identity.caller_for(session, getattr(people, name)) for name in ("manager", "second_manager", "auditor", "applicant")}


def proposed(session, keys, callers, *patients, **values):
    given = {"kind": "shred", "reason": "request", "method": "crypto-shredding", "actor": callers["manager"].actor, **values}
    return service.propose(session, keys, natural_person=callers["manager"].natural_person, patients=patients, **given)


def test_one_person_destroys_nothing(database, keys, people, patients, callers):
    with database.transaction() as session:
        row = proposed(session, keys, callers, patients[1])
        with pytest.raises(TwoForDestruction):
            service.approve(session, keys, MEANS, callers["manager"], row.number)
        again = who.person(session, "information_manager", organization_id="renhe-information", natural_person=callers["manager"].natural_person)
        with pytest.raises(TwoForDestruction):
            service.approve(session, keys, MEANS, identity.caller_for(session, again.id), row.number)
        for name in ("auditor", "applicant"):
            with pytest.raises(Forbidden):
                service.approve(session, keys, MEANS, callers[name], row.number)
        assert not records.is_shredded(session, patients[1])
        service.cancel(session, callers["second_manager"], row.number)
        with pytest.raises(OrderMoveNotAllowed):
            service.approve(session, keys, MEANS, callers["second_manager"], row.number)


def test_an_order_of_the_clock_needs_two_people_all_the_same(database, keys, people, patients, callers):
    with database.transaction() as session:
        row = service.propose(
            session, keys, actor="system", natural_person=None, kind="shred", reason="retention", method="crypto-shredding", patients=[patients[1]]
        )
        service.approve(session, keys, MEANS, callers["manager"], row.number)
        assert not records.is_shredded(session, patients[1])
        service.approve(session, keys, MEANS, callers["second_manager"], row.number)
        assert records.is_shredded(session, patients[1])


def test_what_was_destroyed_can_not_be_read_and_the_rest_can(database, means, keys, people, patients, callers):
    with database.transaction() as session:
        grant = make.approved(session, means, people, 1, 2)
        other = make.approved(session, means, people, 3)
        make.drafted(session, means, people, 1)
        draft = make.drafted(session, means, people, 3)
        applications.idempotent(session, keys, actor="person:x", key="k", request=b"r", act=lambda: applications.Answer(201, {"name": "张伟1"}, {}))
        row = proposed(session, keys, callers, patients[1])
        service.approve(session, keys, MEANS, callers["second_manager"], row.number)
        with pytest.raises(records.RecordUnreadable):
            records.open_vault(session, keys, patients[1])
        records.open_vault(session, keys, patients[2])
        session.expire_all()
        about = applications.find(session, grant.number)
        assert about.justification_sealed is None
        assert applications.typed_patients(session, keys, about)[0] == {}
        assert applications.find(session, other.number).justification_sealed is not None
        assert applications.find(session, str(draft.id)).patients_sealed is not None
        assert session.exec(select(IdempotencyKey.answer_sealed)).all() == [None]
        assert records.match(session, keys, make.typed(1)["identifier"]).grade == "none"
        assert records.match(session, keys, make.typed(2)["identifier"]).patient_key == patients[2]
        (item,) = service.items(session, row)
        assert item.removed == {"resources": 1, "identifiers": 2, "texts": item.removed["texts"]}
        assert item.removed["texts"] >= 3
        events = [event.type for event in session.exec(select(AuditEvent).where(AuditEvent.type.like("%shredded%"))).all()]
        assert events == ["patient.shredded"]
        with pytest.raises(records.UnknownPatient):
            service.patient_keys(session, keys, ["p-1"])


def test_a_hold_stops_it(database, keys, people, patients, callers):
    with database.transaction() as session:
        hold = service.hold(session, keys, callers["manager"], patient="p-1", kind="legal", reason="诉讼 CANARY")
        assert b"CANARY" not in hold.reason_sealed
        row = proposed(session, keys, callers, patients[1], patients[2])
    with pytest.raises(OnHold), database.transaction() as session:
        service.approve(session, keys, MEANS, callers["second_manager"], row.number)
    with database.transaction() as session:
        assert not records.is_shredded(session, patients[2]), "all or nothing"
        service.release_hold(session, callers["manager"], hold.id)
        service.approve(session, keys, MEANS, callers["second_manager"], row.number)
        assert records.is_shredded(session, patients[1])
        assert records.is_shredded(session, patients[2])


def tried(database, statement, **values):
    """A statement as the web process's login, refused by the database itself."""
    with pytest.raises(ProgrammingError, match="permission denied"), database.transaction() as session:
        session.execute(text(statement), values)


def forged(database, execute, values, key):
    with database.transaction() as session:
        session.execute(text(execute), values)
        session.execute(text(EMPTY), {"key": key})


EMPTY = "UPDATE patient SET wrapped_key = '', fhir_id_sealed = '' WHERE patient_key = :key"


def test_the_database_itself_lets_no_key_go_without_an_executed_order_of_two(database, keys, people, patients, callers):
    """PI-3.5: whoever holds the web process's login can't go round the order."""
    key = patients[1]
    tried(database, EMPTY, key=key)
    with database.transaction() as session:
        row = proposed(session, keys, callers, key)
    tried(database, EMPTY, key=key)
    execute = "UPDATE destruction_order SET status = 'executed', approvals = approvals || CAST(:more AS jsonb) WHERE id = :id"
    twin = row.approvals[0]
    for more in ([], [twin], [{**twin, "natural_person": "nobody"}], [{**twin, "natural_person": callers["second_manager"].natural_person}]):
        with pytest.raises(ProgrammingError, match="order of two"):
            forged(database, execute, {"more": json.dumps(more), "id": row.id}, key)
    with database.transaction() as session:
        service.approve(session, keys, MEANS, callers["second_manager"], row.number)
        assert records.is_shredded(session, key)
    item = "INSERT INTO destruction_item (patient_key, order_id) VALUES (:key, :id)"
    tried(database, item, key=patients[2], id=row.id)
    tried(database, "UPDATE destruction_item SET patient_key = :key WHERE order_id = :id", key=patients[2], id=row.id)
    for change in ("approvals = '[]'", "status = 'proposed'", "executed_at = now()", "method = 'none'"):
        tried(database, f"UPDATE destruction_order SET {change} WHERE id = :id", id=row.id)


def test_who_approved_and_lost_the_say_since_counts_no_more(database, keys, people, patients, callers):
    with database.transaction() as session:
        row = proposed(session, keys, callers, patients[1])
        identity.change_person(session, "person:x", callers["manager"].person_id, status="suspended")
        service.approve(session, keys, MEANS, callers["second_manager"], row.number)
        assert not records.is_shredded(session, patients[1])


def test_paper_and_media_are_recorded(database, keys, people, callers):
    with database.transaction() as session:
        with pytest.raises(WhatRequired):
            proposed(session, keys, callers, kind="paper")
        row = proposed(session, keys, callers, kind="media", method="degaussed", what="磁带 3 盒 CANARY")
        assert b"CANARY" not in row.what_sealed
        service.approve(session, keys, MEANS, callers["second_manager"], row.number)
        assert (row.status, service.what_of(keys, row)) == ("executed", "磁带 3 盒 CANARY")
        assert service.figures(session, clock.now() - timedelta(days=1), clock.now() + timedelta(days=1))["orders"] == {"media": 1}


def test_the_sweep_proposes_what_has_come_to_its_end_once(database, means, keys, people, patients, callers, set_clock):
    schedule = tuple(Line("records", basis, 100, Law("法", "law")) for basis in ("none", "consent"))
    with database.transaction() as session:
        make.approved(session, means, people, 2)  # Valid for 90 days.
        service.hold(session, keys, callers["manager"], patient="p-3", kind="legal", reason="x")
        assert service.sweep(session, keys, schedule) == []
    set_clock(timedelta(days=101))
    with database.transaction() as session:
        (row,) = service.sweep(session, keys, schedule)
        assert [one.patient_key for one in service.items(session, row)] == [patients[1]]
        assert row.approvals == []
        assert service.sweep(session, keys, schedule) == []
    set_clock(timedelta(days=101))
    with database.transaction() as session:
        (row,) = service.sweep(session, keys, schedule)
        assert [one.patient_key for one in service.items(session, row)] == [patients[2]]


def test_the_list_names_who_was_destroyed_and_nobody_can_add_to_it(database, keys, people, patients, callers, tmp_path):
    settings = Settings(var=tmp_path)
    with database.transaction() as session:
        row = proposed(session, keys, callers, patients[1])
        assert service.publish(session, keys, settings) == 0
        service.approve(session, keys, MEANS, callers["second_manager"], row.number)
        assert service.publish(session, keys, settings) == 1
        assert service.publish(session, keys, settings) == 0
        assert service.forget_again(session, keys, settings, MEANS) == 0
    path = service.list_path(settings)
    good = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    with database.transaction() as session:
        for bad in (good.replace(patients[1].hex, patients[2].hex), good + "{}\n", good + "x\n"):
            path.write_text(bad)
            with pytest.raises(service.ShredListUnusable):
                service.forget_again(session, keys, settings, MEANS)
        path.write_text(good)
        with pytest.raises(service.ShredListUnusable):
            service.forget_again(session, Keys(b"1" * 32, b"", b""), settings, MEANS)
        path.write_text(good + good[:40])
        assert service.forget_again(session, keys, settings, MEANS) == 0
        assert not records.is_shredded(session, patients[2])
