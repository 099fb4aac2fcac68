"""The log tells the truth whatever dies (G3, F-01, F-04, F-06, F-07, F-10): the sequencer at any place, PostgreSQL under load, a full disk, a clock.

The checker is the verifier that auditors have: entries, tiles, every checkpoint ever stored, and every one that anybody saw on the way.
``BROKER_TEST_KILLS=5000`` kills so many sequencers; ``-k "not postgres"`` leaves the slow part out.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from broker.audit import service
from broker.audit.database_source import open_source
from broker.audit.health import health
from broker.audit.note import Verifier
from broker.audit.sequencer import Sequencer
from broker.audit.verify import verify
from broker.audit.witness_policy import NO_WITNESSES
from broker.crypto import load_keys
from broker.database import Database, EmbeddedServer
from broker.migrate import migrate
from broker.settings import Settings
from tests.factories.audit import event
from tests.fakes.dying_sequencer import PLACES

ROOT = Path(__file__).resolve().parents[2]

#: Kills at random moments, besides those at every named place.
KILLS = int(os.environ.get("BROKER_TEST_KILLS", "10"))
#: Kills between two looks of the checker, which reads the whole log.
CHECKED_EVERY = 40


#: How a database says that it is not there, or may not be written to.
AWAY = (sa.exc.DBAPIError, psycopg.Error)


class Log:
    """One log, who writes to it, and what anybody has seen of it."""

    def __init__(self, url, settings):
        self.url, self.settings, self.keys = url, settings, load_keys(settings)
        self.database = Database(url, "broker_web", pool=2)
        self.sequencer = Sequencer(Database(url, "broker_log"), settings, self.keys)
        self.verifier = Verifier.of(settings.log_origin, self.keys.log_signer)
        self.acknowledged, self.seen = set(), []

    def record(self, count=1):
        """Events whose commit was acknowledged; each must be in the log for ever."""
        with self.database.transaction() as session:
            made = [service.record(session, event(facts={"number": number})) for number in range(count)]
        self.acknowledged.update(made)

    def record_until_refused(self, times, count):
        for _ in range(times):
            self.record(count)

    def look(self):
        with self.database.transaction() as session:
            note = service.published_checkpoint(session)
        if note is not None and note not in self.seen:
            self.seen.append(note)

    def check(self):
        """Whole, one entry for each event, and a continuation of everything that was ever seen."""
        self.look()
        with open_source(self.database) as source:
            report = verify(source, self.verifier, older=self.seen)
        assert report.ok, report.finding
        with psycopg.connect(self.url) as connection:
            entries = dict(connection.execute("SELECT event_id, count(*) FROM log_entry GROUP BY 1").fetchall())
            order = [row[0] for row in connection.execute("SELECT index FROM log_entry ORDER BY index")]
        assert order == list(range(len(order)))
        assert set(entries.values()) <= {1}
        assert entries.keys() >= self.acknowledged
        return report


@pytest.fixture
def log(database_url, test_settings):
    return Log(database_url, test_settings)


@pytest.mark.timeout(300 + KILLS)
def test_a_sequencer_killed_anywhere_leaves_a_log_that_the_next_one_continues(log, tmp_path):
    chance = random.Random(20261123)
    arguments = [sys.executable, "-m", "tests.fakes.dying_sequencer", log.url, str(log.settings.var)]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as dying:
        # Those that are let live tell how long the work takes on this machine: kills fall anywhere in it. The first is slow.
        lasted = []
        for _ in range(4):
            log.record(5)
            began = time.monotonic()
            dying.stdin.write("within 600\n")
            dying.stdin.flush()
            assert dying.stdout.readline() == "0\n"
            lasted.append(time.monotonic() - began)
        whole = min(lasted)
        places = [*PLACES, *(f"within {chance.uniform(0, whole):.5f}" for _ in range(KILLS))]
        died = 0
        for number, place in enumerate(places, 1):
            log.record(chance.choice([1, 3, 257]) if number <= len(PLACES) else chance.choice([1, 2, 5]))
            dying.stdin.write(f"{place}\n")
            dying.stdin.flush()
            ended = int(dying.stdout.readline())
            died += ended == -9
            assert ended == -9 or place.startswith("within"), f"{place}: it did not die there"
            log.look()
            if number % CHECKED_EVERY == 0 or number <= len(PLACES):
                # Recovery: whoever comes next. The dead one's lock is free as soon as PostgreSQL sees its socket closed.
                until = time.monotonic() + 60
                while log.sequencer.seal_once() == 0 and not _sealed(log):
                    assert time.monotonic() < until, f"after {number} kills, {place}: the log stands still"
                    time.sleep(0.02)
                if number % CHECKED_EVERY == 0:
                    log.check()
        dying.stdin.close()
    while log.sequencer.seal_once() or not _sealed(log):
        pass
    report = log.check()
    assert report.figures == {"unsigned": 0, "unsealed": 0}
    told = f"{died} kills in {len(places)} attempts; {report.size} entries, {len(log.seen)} checkpoints seen on the way\n"
    (tmp_path / "figures").write_text(told)
    sys.stdout.write(told)


def _sealed(log):
    with psycopg.connect(log.url) as connection:
        query = "SELECT s.size = (SELECT count(*) FROM audit_event) AND s.size = (SELECT max(size) FROM log_checkpoint) FROM log_state s"
        return connection.execute(query).fetchone()[0]


def test_a_clock_that_is_set_back_and_forth_changes_no_order(log, set_clock):
    """The log proves order, not time: what was recorded later stands later, whatever the clock said (F-10)."""
    start, made = datetime(2026, 11, 23, 8, 0, tzinfo=UTC), []
    for step in (0, 5, -5, -600, 600, -86_400 * 400, 86_400 * 365 * 12):
        set_clock(start + timedelta(seconds=step))
        with log.database.transaction() as session:
            made.append(service.record(session, event()))
        log.acknowledged.add(made[-1])
        assert log.sequencer.seal_once() == 1
        log.look()
    with psycopg.connect(log.url) as connection:
        assert [row[0] for row in connection.execute("SELECT event_id FROM log_entry ORDER BY index")] == made
    assert log.check().size == len(made)
    # Back at the right time nothing is "old", nothing negative, and no release would be stopped.
    set_clock(start)
    with log.database.transaction() as session:
        found = health(session, NO_WITNESSES)
    assert (found.unsealed, found.warnings) == (0, ())
    assert found.checkpoint_seconds == 0


@contextmanager
def a_server(folder):
    """A PostgreSQL of its own that keeps what it acknowledges."""
    server = EmbeddedServer(folder / "postgres")
    try:
        yield server
    finally:
        server.stop()


def crash(server):
    """Kill PostgreSQL's first process, with SIGKILL; its backends find that out and end. Then start it anew: it recovers."""
    process = server._server.get_pid()
    os.kill(process, 9)
    until = time.monotonic() + 60
    while Path(f"/proc/{process}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    server._start()


class Writers:
    """Threads that record and remember what was acknowledged; a commit whose answer never came may be there or not."""

    def __init__(self, log, count=3):
        self.stop, self.log = threading.Event(), log
        self.threads = [threading.Thread(target=self._write, daemon=True) for _ in range(count)]
        self.sealing = threading.Thread(target=log.sequencer.run, args=(self.stop,), daemon=True)

    def _write(self):
        while not self.stop.is_set():
            try:
                self.log.record()
            except AWAY:
                time.sleep(0.05)  # It is away.
            time.sleep(0.005)

    def __enter__(self):
        for thread in (*self.threads, self.sealing):
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in (*self.threads, self.sealing):
            thread.join(60)
            assert not thread.is_alive()

    def wait(self, more=20):
        """Until so many more events were acknowledged."""
        goal, until = len(self.log.acknowledged) + more, time.monotonic() + 90
        while len(self.log.acknowledged) < goal:
            assert time.monotonic() < until, self.log.sequencer.trouble
            time.sleep(0.02)


def test_postgres_crashes_restarts_and_refuses_under_load(tmp_path):
    """What was acknowledged is in the log after crashes of the server, of single backends, and a time in which nothing may be written."""
    folder = Path(tempfile.mkdtemp(prefix="broker-crash-"))
    try:
        with a_server(folder) as server:
            migrate(server.url)
            log = Log(server.url, Settings(var=tmp_path / "var"))
            with Writers(log) as writers:
                writers.wait()
                for _ in range(2):
                    crash(server)
                    writers.wait()
                    log.look()
                # Every backend dies at once, and the server takes them all for damaged: it restarts by itself.
                with psycopg.connect(server.url, autocommit=True) as connection:
                    pids = [row[0] for row in connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'broker %'")]
                os.kill(pids[0], 9)
                writers.wait()
                # Read only, as a standby that was promoted too late: nothing is recorded, so nothing could be released; nothing is signed.
                with psycopg.connect(server.url, autocommit=True) as connection:
                    connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                    connection.execute("SELECT pg_reload_conf()")
                with psycopg.connect(server.url, autocommit=True) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'broker %' AND pid <> pg_backend_pid()"
                    )
                    with pytest.raises(AWAY):
                        log.record_until_refused(5, 1)
                    connection.execute("SET default_transaction_read_only = off")
                    connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                    connection.execute("SELECT pg_reload_conf()")
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'broker %' AND pid <> pg_backend_pid()"
                    )
                writers.wait()
            until = time.monotonic() + 60
            while not _sealed(log):
                log.sequencer.seal_once()
                assert time.monotonic() < until
            report = log.check()
            assert report.size >= 80
            log.database.dispose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_under_postgres_stops_recording_and_loses_nothing(tmp_path):
    """The volume fills up: events that can't be kept are refused, so nothing is released; with room again the log goes on (F-07)."""
    folder = Path(tempfile.mkdtemp(prefix="broker-full-"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=140m", "tmpfs", folder], capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("a small file system can be mounted by root alone")
    try:
        with a_server(folder) as server:
            migrate(server.url)
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET max_wal_size = '32MB'")
                connection.execute("SELECT pg_reload_conf()")
            log = Log(server.url, Settings(var=tmp_path / "var"))
            log.record(50)
            assert log.sequencer.seal_once() == 50
            log.look()
            filler = folder / "filler"
            free = shutil.disk_usage(folder).free
            filler.write_bytes(bytes(max(0, free - 512 * 1024)))
            with pytest.raises(AWAY):
                log.record_until_refused(2000, 200)
            log.database.dispose()
            filler.unlink()
            crash(server)
            until = time.monotonic() + 90
            while True:
                try:
                    log.record(10)
                    break
                except AWAY:
                    assert time.monotonic() < until
                    time.sleep(0.2)
            while not _sealed(log):
                log.sequencer.seal_once()
            assert log.check().size >= 60
            log.database.dispose()
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
