"""Every committed event once, in one order, signed only when it is durable; and no fork, whatever happens."""

import random
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from broker.audit import sequencer as module
from broker.audit import service, store
from broker.audit.errors import LogDamaged
from broker.audit.note import Checkpoint
from broker.audit.sequencer import Overtaken, Sequencer
from broker.database import Database
from tests.factories.audit import event


@contextmanager
def running(*sequencers):
    stop = threading.Event()
    threads = [threading.Thread(target=sequencer.run, args=(stop,)) for sequencer in sequencers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def indices(owner):
    return owner.execute("SELECT index, event_id FROM log_entry ORDER BY index").fetchall()


def size(owner):
    return owner.execute("SELECT size FROM log_state").fetchone()[0]


def checkpoints(owner):
    return [row[0] for row in owner.execute("SELECT size FROM log_checkpoint ORDER BY size")]


def test_the_empty_log_is_signed_too(sequencer, owner, check):
    assert sequencer.seal_once() == 0
    assert checkpoints(owner) == [0]
    assert check() is None


def test_concurrent_writers_and_rollbacks(database_url, sequencer, owner, check):
    committed: list[list] = [[] for _ in range(8)]

    def write(number):
        chance = random.Random(number)
        database = Database(database_url, "broker_web", pool=1)
        for _ in range(200):
            undone = chance.random() < 0.25
            with suppress(ZeroDivisionError), database.transaction() as session:
                ids = [service.record(session, event(facts={"writer": number})) for _ in range(chance.choice((1, 1, 1, 2)))]
                if chance.random() < 0.3:
                    time.sleep(chance.random() / 200)
                1 / (not undone)
            committed[number] += [] if undone else ids
        database.dispose()

    with running(sequencer):
        writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        expected = sum(map(len, committed))
        wait_for(lambda: size(owner) == expected)
        wait_for(lambda: checkpoints(owner)[-1] == expected)
    found = indices(owner)
    assert [index for index, _ in found] == list(range(expected))
    assert sorted(event_id for _, event_id in found) == sorted(event_id for ids in committed for event_id in ids)
    assert len(checkpoints(owner)) > 2, "the sequencer was to work while the writers did"
    assert check() is None
    assert sequencer.trouble is None


def test_an_event_that_commits_late_is_not_lost(database, sequencer, owner, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with database.transaction() as slow:
        late = service.record(slow, event())
        with database.transaction() as session:
            early = service.record(session, event())
        # The later event waits for the earlier transaction, since that may still put something before it.
        assert sequencer.seal_once() == 0
    assert sequencer.seal_once() == 2
    assert [event_id for _, event_id in indices(owner)] == [late, early]


def test_sealed_within_a_second(sequencer, record, owner):
    with running(sequencer):
        wait_for(lambda: checkpoints(owner) == [0])
        record(event())
        recorded = time.monotonic()
        wait_for(lambda: checkpoints(owner)[-1] == 1, 1.0)
        assert time.monotonic() - recorded < 1.0


def test_tiles_are_durable_before_anything_is_signed(sequencer, record_many, owner, monkeypatch, check):
    sequencer.seal_once()
    record_many(300)

    def fail(*_):
        # What is to be signed must already be seen by others, that is committed.
        assert size(owner) == 300
        assert owner.execute("SELECT count(*) FROM log_tile").fetchone()[0] == 1
        raise RuntimeError("killed before signing")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "signed", fail)
        with pytest.raises(RuntimeError):
            sequencer.seal_once()
    assert checkpoints(owner) == [0]
    assert check() is None
    assert sequencer.seal_once() == 0
    assert checkpoints(owner) == [0, 300]
    assert check() is None


def test_many_batches(sequencer, record_many, owner, monkeypatch, check):
    monkeypatch.setattr(module, "BATCH", 100)
    record_many(1030)
    assert sequencer.seal_once() == 1030
    assert size(owner) == 1030
    assert owner.execute("SELECT level, number FROM log_tile ORDER BY number").fetchall() == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert check() is None


def test_nothing_ends_the_thread_quietly(sequencer, record, owner, monkeypatch, caplog):
    monkeypatch.setattr(module, "STANDBY", 0.02)
    record(event())

    def fail(*_):
        raise RuntimeError("unforeseen")

    with running(sequencer):
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "signed", fail)
            wait_for(lambda: sequencer.trouble == "RuntimeError: unforeseen")
        wait_for(lambda: checkpoints(owner) == [1] and sequencer.trouble is None)
    assert "unforeseen" in caplog.text


class TestTwoSequencers:
    def test_the_second_waits_and_takes_over(self, log_database, test_settings, keys, record, owner, check, monkeypatch):
        monkeypatch.setattr(module, "STANDBY", 0.05)
        one, other = (Sequencer(log_database, test_settings, keys) for _ in range(2))
        with running(other):
            with running(one):
                record(*[event() for _ in range(20)])
                wait_for(lambda: checkpoints(owner) and checkpoints(owner)[-1] == 20)
                fence = owner.execute("SELECT fence FROM log_state").fetchone()[0]
                assert fence == 1, "one of them stands by"
                assert one.seal_once() == 0
            record(event())
            wait_for(lambda: checkpoints(owner)[-1] == 21)
        assert check() is None

    def test_one_that_lost_its_connection_is_replaced(self, sequencer, record, owner, check, monkeypatch):
        monkeypatch.setattr(module, "STANDBY", 0.05)
        with running(sequencer):
            wait_for(lambda: checkpoints(owner) == [0])
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'broker broker_log' AND datname = current_database()"
            )
            record(event())
            wait_for(lambda: checkpoints(owner)[-1] == 1)
            wait_for(lambda: sequencer.trouble is None)
        assert check() is None

    def test_one_that_was_overtaken_adds_nothing(self, sequencer, log_database, record, owner):
        with psycopg.connect(log_database.conninfo, autocommit=True) as connection:
            stale = sequencer._take_over(connection)
            sequencer.seal_once()
            record(event())
            with pytest.raises(Overtaken):
                sequencer._step(connection, stale)
            with pytest.raises(Overtaken), connection.transaction():
                module._held(connection, stale)
            state = store.state(connection)
            with pytest.raises(Overtaken):
                sequencer._publish(connection, stale, Checkpoint(sequencer._origin, state.size, state.root))
        assert size(owner) == 0


class TestNoFork:
    @pytest.fixture(autouse=True)
    def sealed(self, record_many, sequencer):
        for _ in range(2):
            record_many(150)
            assert sequencer.seal_once() == 150

    def test_a_log_shorter_than_its_checkpoint(self, unguarded, sequencer):
        unguarded.execute("DELETE FROM log_entry WHERE index >= 299; UPDATE log_state SET size = 299")
        with pytest.raises(LogDamaged):
            sequencer.seal_once()

    def test_a_log_shorter_than_its_checkpoint_with_a_state_made_to_fit(self, unguarded, sequencer):
        root = store.frontier(unguarded, 299).root()
        unguarded.execute("DELETE FROM log_entry WHERE index >= 299")
        unguarded.execute("UPDATE log_state SET size = 299, root = %s", (root,))
        with pytest.raises(LogDamaged, match="holds 299 entries, the newest stored checkpoint says 300"):
            sequencer.seal_once()

    def test_another_log_than_that_of_its_checkpoint(self, unguarded, sequencer):
        unguarded.execute("UPDATE log_entry SET hash = sha256('other') WHERE index = 299")
        unguarded.execute("UPDATE log_state SET root = %s", (store.frontier(unguarded, 300).root(),))
        with pytest.raises(LogDamaged, match="another root"):
            sequencer.seal_once()

    def test_a_backup_older_than_what_this_machine_published(self, unguarded, sequencer, record_many):
        root = store.frontier(unguarded, 150).root()
        unguarded.execute("DELETE FROM log_checkpoint WHERE size > 150; DELETE FROM log_entry WHERE index >= 150; DELETE FROM log_tile")
        unguarded.execute("UPDATE log_state SET size = 150, root = %s", (root,))
        record_many(1)
        with pytest.raises(LogDamaged, match="cut or restored"):
            sequencer.seal_once()
        assert unguarded.execute("SELECT max(size) FROM log_checkpoint").fetchone()[0] == 150

    def test_rewritten_with_its_checkpoints(self, unguarded, sequencer, keys, test_settings):
        unguarded.execute("UPDATE log_entry SET hash = sha256('other') WHERE index = 10")
        unguarded.execute("DELETE FROM log_checkpoint; DELETE FROM log_tile; DELETE FROM log_entry WHERE index > 200")
        root = store.frontier(unguarded, 201).root()
        unguarded.execute("UPDATE log_state SET size = 201, root = %s", (root,))
        unguarded.execute(
            "INSERT INTO log_checkpoint VALUES (201, %s, %s, now())", (root, Checkpoint(test_settings.log_origin, 201, root).signed(keys.log_signer))
        )
        with pytest.raises(LogDamaged, match="var/log/checkpoint"):
            sequencer.seal_once()

    def test_another_key(self, log_database, test_settings, tmp_path, owner):
        from broker.crypto import load_keys
        from broker.settings import Settings

        other = Settings(var=tmp_path / "other")
        with pytest.raises(LogDamaged, match="not of this log and key"):
            Sequencer(log_database, other, load_keys(other)).seal_once()
        assert checkpoints(owner) == [150, 300]

    def test_a_sequencer_in_trouble_says_so_and_signs_nothing(self, unguarded, sequencer, record, monkeypatch, caplog):
        monkeypatch.setattr(module, "STANDBY", 0.02)
        good = unguarded.execute("SELECT hash FROM log_entry WHERE index = 299").fetchone()[0]
        unguarded.execute("UPDATE log_entry SET hash = sha256('other') WHERE index = 299")
        record(event())
        with running(sequencer):
            wait_for(lambda: sequencer.trouble is not None)
            assert "LogDamaged" in sequencer.trouble
            assert "not being sealed" in caplog.text
            assert checkpoints(unguarded) == [150, 300]
            unguarded.execute("UPDATE log_entry SET hash = %s WHERE index = 299", (good,))
            wait_for(lambda: checkpoints(unguarded)[-1] == 301)
            wait_for(lambda: sequencer.trouble is None)

    def test_a_folder_that_cannot_be_written_does_not_stop_the_log(self, sequencer, record, owner, monkeypatch, caplog):
        monkeypatch.setattr(sequencer._seen, "path", Path("/proc/nowhere/checkpoint"))
        record(event())
        assert sequencer.seal_once() == 1
        assert "could not be kept" in caplog.text
        assert checkpoints(owner)[-1] == 301

    def test_a_kept_checkpoint_that_cannot_be_read_does(self, sequencer, test_settings):
        kept = test_settings.var / "log" / "checkpoint"
        kept.unlink()
        kept.mkdir()
        with pytest.raises(LogDamaged, match="can't be read"):
            sequencer.seal_once()


class TestARestoredDatabase:
    """Rows keep the transaction ids of the server they came from, which may be ahead of this server's."""

    FAR = 10**12

    def restored(self, owner, count, start=0):
        for number in range(count):
            row = {**service.event_row(event()), "xid": str(self.FAR + start + number)}
            owner.execute(f"INSERT INTO audit_event ({', '.join(row)}) VALUES ({', '.join(f'%({name})s' for name in row)})", row)

    def test_what_was_not_sealed_is_sealed_and_new_events_are_seen(self, sequencer, owner, record_many, check, monkeypatch):
        monkeypatch.setattr(module, "BATCH", 2)
        record_many(5)
        self.restored(owner, 3)
        assert sequencer.seal_once() == 5
        assert len(indices(owner)) == 8
        record_many(2)
        assert sequencer.seal_once() == 2
        assert check() is None

    def test_a_cursor_from_the_other_server_is_started_anew(self, sequencer, owner, record_many, check):
        sequencer.seal_once()
        self.restored(owner, 4)
        sequencer.seal_once()
        owner.execute("UPDATE log_state SET cursor_xid = %s::text::xid8", (str(self.FAR + 100),))
        record_many(3)
        assert sequencer.seal_once() == 3
        assert len(indices(owner)) == 7
        assert owner.execute("SELECT count(DISTINCT event_id) FROM log_entry").fetchone()[0] == 7
        assert check() is None
