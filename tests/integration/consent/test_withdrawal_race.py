"""A withdrawal waits for the releases under way, and nothing is permitted once it has returned (attack E01)."""

from __future__ import annotations

import threading
import time

import psycopg

from broker import clock
from broker.consent import service
from broker.consent.residual import Use, evaluate_base
from broker.consent.values import Effect
from broker.database import gate_lock
from broker.records import service as records
from tests.factories import consent as factory

USE = Use(frozenset({"Organization/shengli"}), "TREAT", 0)


def base_now(session, keys, patient_key):
    use = Use(USE.actors, USE.purpose, clock.epoch(clock.now()))
    return evaluate_base(service.in_force(session, records.open_vault(session, keys, patient_key)), use).effect


def test_a_withdrawal_waits_for_a_release_and_then_nothing_is_permitted(database, keys, house):
    with database.transaction() as session:
        filed = factory.file(session, keys, factory.sharing())
    returned = threading.Event()

    def withdraw():
        with database.transaction() as session:
            service.revoke(session, keys, filed.id, patient=None, actor="person:x")
        returned.set()

    with psycopg.connect(database.conninfo) as release:  # A release shares the gate from its first look until its last byte.
        release.execute("SELECT pg_advisory_xact_lock_shared(%s)", (gate_lock("patient", house["p1"].hex),))
        thread = threading.Thread(target=withdraw)
        thread.start()
        assert not returned.wait(0.5)
        with database.transaction() as session:
            assert base_now(session, keys, house["p1"]) is Effect.PERMIT
        release.commit()
        assert returned.wait(5)
        thread.join()
    with database.transaction() as session:
        assert base_now(session, keys, house["p1"]) is Effect.SILENT


def test_a_refusal_that_is_filed_waits_too(database, keys, house):
    with psycopg.connect(database.conninfo) as release:
        release.execute("SELECT pg_advisory_xact_lock_shared(%s)", (gate_lock("patient", house["p1"].hex),))
        thread = threading.Thread(target=lambda: _file(database, keys))
        thread.start()
        time.sleep(0.4)
        assert thread.is_alive()
        release.commit()
    thread.join(5)
    assert not thread.is_alive()


def _file(database, keys):
    with database.transaction() as session:
        factory.file(session, keys, factory.consent(factory.provision("deny")))


def test_no_release_is_decided_on_a_withdrawn_consent_under_load(database, keys, house):
    """Readers share the gate and look; whoever looks after a withdrawal has returned must not see the consent any more."""
    with database.transaction() as session:
        filed = [factory.file(session, keys, factory.sharing(identifier=factory.identifier(str(number)))) for number in range(8)]
    acknowledged: dict[str, int] = {}
    late: list[str] = []
    done = threading.Event()

    def look():
        while not done.is_set():
            before = set(acknowledged)  # What was acknowledged before this release took the gate.
            with database.transaction() as session:
                session.connection().exec_driver_sql("SELECT pg_advisory_xact_lock_shared(%s)", (gate_lock("patient", house["p1"].hex),))
                seen = {one.consent for one in service.in_force(session, records.open_vault(session, keys, house["p1"]))}
            late.extend(before & seen)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number, one in enumerate(filed):
        with database.transaction() as session:
            service.revoke(session, keys, one.id, patient=None, actor="person:x")
        acknowledged[str(one.id)] = number
    time.sleep(0.1)
    done.set()
    for reader in readers:
        reader.join()
    assert late == []
    assert len(acknowledged) == 8
