"""The transmission log: time, sender, receiver, content, purpose, application; and what has no outcome. (PI-3.3)"""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from broker.audit import orphans, places, service, store
from broker.audit import transmissions as transmissions_module
from broker.database import gate_lock
from tests.factories.audit import event, intent, outcome

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.fixture
def at(set_clock, record):
    """Record events a number of minutes after eight o'clock."""

    def record_at(minutes, *events):
        set_clock(START + timedelta(minutes=minutes))
        return record(*events)

    return record_at


@pytest.fixture
def transmissions(database):
    def ask(**wanted):
        with database.transaction() as session:
            return service.transmissions(session, **wanted)

    return ask


def test_one_release(at, transmissions):
    sent = intent()
    (intent_event,) = at(0, sent)
    (outcome_event,) = at(1, outcome(sent))
    at(2, event(), event(type="release.refused", recipient="yihe", patient=sent.patient, outcome="deny"))
    (found,) = transmissions()
    assert found == service.Transmission(
        release=sent.release,
        at=START,
        finished=START + timedelta(minutes=1),
        sender="renhe",
        receiver="yihe",
        actor="client:yihe-his",
        application="SA-2026-000001",
        grant="5c7d",
        purpose="TREAT",
        patient=UUID(int=1),
        manifest="ab" * 32,
        items=42,
        outcome="sent",
        disclosed=True,
        intent_event=intent_event,
        outcome_event=outcome_event,
    )


def test_what_was_sent_is_told_by_the_outcome(at, transmissions):
    sent = intent()
    at(0, sent, outcome(sent, "partial", facts={"items": 7, "manifest": "ef" * 32, "bytes": 10}))
    (found,) = transmissions()
    assert (found.items, found.manifest, found.outcome, found.sender) == (7, "ef" * 32, "partial", "renhe")


@pytest.mark.parametrize(
    ("kind", "facts", "shown", "disclosed"),
    [
        ("sent", {}, "sent", True),
        ("partial", {}, "partial", True),
        ("failed", {}, "failed", False),
        ("failed", {"bytes": 0}, "failed", False),
        ("failed", {"bytes": 1}, "failed", True),
        (None, {}, "unknown", True),
    ],
)
def test_whether_it_counts_as_disclosed(at, transmissions, database, kind, facts, shown, disclosed):
    of = intent()
    at(0, of, *([outcome(of, kind, facts=facts)] if kind else []))
    (found,) = transmissions()
    assert (found.outcome, found.disclosed, found.finished is None) == (shown, disclosed, kind is None)
    with database.transaction() as session:
        assert len(service.unfinished(session, timedelta(0))) == 0
        assert len(service.unfinished(session, timedelta(seconds=-1))) == (kind is None)


def test_a_later_explanation_replaces_an_outcome(at, transmissions):
    of = intent()
    at(0, of, outcome(of, "partial"))
    at(5, outcome(of, "sent"))
    (found,) = transmissions()
    assert (found.outcome, found.finished) == ("sent", START + timedelta(minutes=5))


def test_filters_order_and_limit(at, transmissions):
    intents = [
        intent(recipient="yihe"),
        intent(recipient="minkang", application="SA-2026-000002"),
        intent(patient=UUID(int=2), subject="ee" * 32),
        intent(),
    ]
    for minute, each in enumerate(intents):
        at(minute, each)

    def which(**wanted):
        return [[each.release for each in intents].index(found.release) for found in transmissions(**wanted)]

    assert which() == [3, 2, 1, 0]
    assert which(limit=2) == [3, 2]
    assert which(recipient="minkang") == [1]
    assert which(application="SA-2026-000001") == [3, 2, 0]
    assert which(patient=UUID(int=2)) == [2]
    assert which(since=START + timedelta(minutes=1), until=START + timedelta(minutes=3)) == [2, 1]
    assert which(patient=UUID(int=1), recipient="minkang", application="SA-2026-000002") == [1]
    assert which(patient=UUID(int=3)) == []


def test_intents_without_outcome_are_named_until_explained(at, database, set_clock):
    explained, open_one, fresh = intent(), intent(), intent()
    at(0, explained, outcome(explained))
    (wanted,) = at(1, open_one)
    at(10, fresh)
    set_clock(START + timedelta(minutes=10, seconds=30))
    with database.transaction() as session:
        (found,) = service.unfinished(session, timedelta(minutes=1))
    assert (found.release, found.intent_event, found.receiver) == (open_one.release, wanted, "yihe")
    at(11, outcome(open_one, "failed"))
    with database.transaction() as session:
        assert [each.release for each in service.unfinished(session, timedelta(seconds=-100))] == [fresh.release]


class TestOrphans:
    """An intent whose process died is closed as unknown, which counts as disclosed; one that is still on its way is left alone (G3)."""

    def test_an_intent_that_was_left_alone_is_closed_once(self, at, database, transmissions, set_clock):
        left, done = intent(), intent()
        at(0, left)
        at(1, done, outcome(done))
        set_clock(START + timedelta(minutes=5))
        assert service.close_orphans(database) == 1
        assert service.close_orphans(database) == 0
        told = {one.release: (one.outcome, one.disclosed, one.finished is None) for one in transmissions()}
        assert told == {left.release: ("unknown", True, False), done.release: ("sent", True, False)}
        with database.transaction() as session:
            (open_one,) = service.unfinished(session, timedelta(0))
        assert open_one.release == left.release, "it needs an explanation all the same"

    def test_an_explanation_replaces_it(self, at, database, transmissions, set_clock):
        left = intent()
        at(0, left)
        set_clock(START + timedelta(minutes=5))
        assert service.close_orphans(database) == 1
        at(6, outcome(left, "failed"))
        assert [(one.outcome, one.disclosed) for one in transmissions()] == [("failed", False)]
        with database.transaction() as session:
            assert service.unfinished(session, timedelta(seconds=-1000)) == []

    def test_what_is_on_its_way_is_left_alone_and_found_later(self, at, database, database_url, set_clock, transmissions):
        slow, later = intent(), intent(patient=UUID(int=2), subject="ee" * 32)
        at(0, slow)
        at(1, later)
        set_clock(START + timedelta(minutes=5))
        with psycopg.connect(database_url) as sending:
            sending.execute("SELECT pg_advisory_xact_lock_shared(%s)", (gate_lock("patient", slow.patient.hex),))
            assert service.close_orphans(database) == 1, "the other patient's is not held up"
            assert {one.release for one in transmissions() if one.finished is None} == {slow.release}
            assert service.close_orphans(database) == 0
        assert service.close_orphans(database) == 1

    def test_a_young_intent_is_given_time(self, at, database, set_clock):
        at(0, intent())
        set_clock(START + timedelta(seconds=5))
        assert service.close_orphans(database) == 0
        set_clock(START + timedelta(seconds=15))
        assert service.close_orphans(database) == 1

    def test_a_clock_that_is_set_back_makes_nobody_wait(self, at, database, set_clock, transmissions):
        """F-10: the intent was stamped by a clock that was an hour ahead; it and those behind it are closed all the same."""
        at(60, intent())
        at(0, intent())
        set_clock(START + timedelta(minutes=1))
        assert service.close_orphans(database) == 2
        assert {one.outcome for one in transmissions()} == {"unknown"}

    def test_an_outcome_that_comes_while_the_gate_is_waited_for_stands(
        self, at, database, database_url, set_clock, transmissions, record, monkeypatch
    ):
        """The release ends in the moment between the look and the lock."""
        monkeypatch.setattr(orphans, "PATIENCE", "60s")
        sent = intent()
        at(0, sent)
        set_clock(START + timedelta(minutes=5))
        with psycopg.connect(database_url) as sending:
            sending.execute("SELECT pg_advisory_xact_lock_shared(%s)", (gate_lock("patient", sent.patient.hex),))
            with ThreadPoolExecutor(1) as other:
                closing = other.submit(service.close_orphans, database)
                with psycopg.connect(database_url, autocommit=True) as watcher:
                    until = time.monotonic() + 20
                    while not watcher.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone():
                        assert time.monotonic() < until
                        time.sleep(0.01)
                record(outcome(sent))
                sending.rollback()
                assert closing.result(30) == 0
        assert [one.outcome for one in transmissions()] == ["sent"]

    def test_two_workers_close_each_once(self, at, database, database_url, set_clock):
        at(0, *(intent(patient=UUID(int=number), subject=f"{number:064x}") for number in range(1, 40)))
        set_clock(START + timedelta(minutes=5))
        with ThreadPoolExecutor(2) as both:
            closed = sum(both.map(service.close_orphans, [database, database]))
        assert closed == 39

    def test_many_others_in_between_are_read_once(self, at, database, set_clock, owner):
        at(0, *(event() for _ in range(30)), intent(), *(event() for _ in range(30)))
        set_clock(START + timedelta(minutes=5))
        assert service.close_orphans(database) == 1
        assert service.close_orphans(database) == 0
        behind = "SELECT count(*) FROM audit_event e, log_follower f WHERE f.name = 'audit.orphans' AND (e.xid, e.seq) > (f.xid, f.seq)"
        assert owner.execute(behind).fetchone() == (0,)


class TestAfterARestore:
    """Rows and places keep the transaction ids of the server they came from; this one's are younger (F-22)."""

    FAR = 10**12

    @pytest.fixture
    def restored(self, owner):
        """Make all that was recorded, and every place, come from a server that was far ahead: what pg_restore leaves in a new cluster."""

        def come_from_afar():
            owner.execute("ALTER TABLE audit_event DISABLE TRIGGER ALL")
            owner.execute("UPDATE audit_event SET xid = (xid::text::bigint + %s)::text::xid8", (self.FAR,))
            for trigger in ("append_only", "no_truncate"):
                owner.execute(f"ALTER TABLE audit_event ENABLE ALWAYS TRIGGER {trigger}")
            owner.execute("UPDATE log_follower SET xid = (xid::text::bigint + %s)::text::xid8 WHERE xid > '0'", (self.FAR,))

        return come_from_afar

    def follow(self, database, limit=500):
        with database.transaction() as session:
            return [one.facts["number"] for one in service.follow(session, "test", (event().type,), limit=limit)]

    def test_a_reader_goes_on_and_sees_each_event_once(self, record, database, restored):
        record(*(event(facts={"number": number}) for number in range(3)))
        assert self.follow(database, limit=2) == [0, 1]
        restored()
        record(*(event(facts={"number": number}) for number in range(3, 6)))
        assert self.follow(database, limit=1) == [2], "what came with the restore and was not read"
        assert self.follow(database, limit=2) == [3, 4]
        assert self.follow(database) == [5]
        record(event(facts={"number": 6}))
        assert self.follow(database) == [6]
        assert self.follow(database) == []

    def test_a_reader_that_had_read_all_goes_on(self, record, database, restored):
        record(*(event(facts={"number": number}) for number in range(3)))
        assert self.follow(database) == [0, 1, 2]
        restored()
        assert self.follow(database) == []
        record(event(facts={"number": 3}))
        assert self.follow(database) == [3]

    def test_what_was_cut_off_before_and_after_is_closed(self, at, database, restored, set_clock):
        done, before, after = intent(), intent(), intent()
        at(0, done, outcome(done))
        set_clock(START + timedelta(minutes=1))
        assert service.close_orphans(database) == 0
        at(2, before)
        restored()
        at(3, after)
        set_clock(START + timedelta(minutes=5))

        def open_ones():
            with database.transaction() as session:
                return [one.release for one in service.unfinished(session, timedelta(0))]

        assert open_ones() == [before.release, after.release], "however long nobody looks"
        assert service.close_orphans(database) == 1
        assert service.close_orphans(database) == 1
        assert service.close_orphans(database) == 0
        assert open_ones() == [before.release, after.release]
        at(6, outcome(before, "failed"), outcome(after, "failed"))
        assert open_ones() == []


def test_what_is_unfinished_is_found_without_reading_what_is_finished(at, database, owner, set_clock):
    """A log of years, of which two releases were cut off: the query reads those, and what came since the last look."""
    at(0, *(one for _ in range(60) for sent in [intent()] for one in (sent, outcome(sent))), intent(), intent())
    set_clock(START + timedelta(minutes=5))
    assert service.close_orphans(database) == 2
    owner.execute("ANALYZE audit_event")
    with database.transaction() as session:
        connection = store.raw(session)
        place = places.standing(connection, transmissions_module.ORPHANS)
        values = {**place.parameters, "before": UUID(int=2**128 - 1), "explained": list(transmissions_module.EXPLAINED)}
        connection.execute("SET LOCAL enable_seqscan = off")  # The table is small enough to be read whole.
        (plan,) = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {transmissions_module._UNFINISHED}", values).fetchone()

    def rows(node):
        return (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] + sum(map(rows, node.get("Plans", ())))

    assert "ix_audit_event_cut_off" in str(plan)
    assert rows(plan[0]["Plan"]) < 40, plan
