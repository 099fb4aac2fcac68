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

from broker.audit import service
from broker.audit.health import health
from broker.audit.witness_policy import NO_WITNESSES
from broker.database import EmbeddedServer
from broker.migrate import migrate
from broker.settings import Settings
from tests.attacks.crashing import AWAY, Dying, Log
from tests.factories.audit import event
from tests.fakes import system_calls
from tests.fakes.dying_sequencer import PLACES

#: Kills at random moments, besides those at every named place.
KILLS = int(os.environ.get("BROKER_TEST_KILLS", "10"))
#: Kills between two looks of the checker, which reads the whole log.
CHECKED_EVERY = 40
#: Kills at system calls. By default: at each that tells somebody something or leaves something behind, and a few of the others.
CALLED = int(os.environ.get("BROKER_TEST_KILLS", "40"))


@pytest.fixture
def log(database_url, test_settings):
    return Log(database_url, test_settings)


@pytest.mark.timeout(300 + KILLS)
def test_a_sequencer_killed_anywhere_leaves_a_log_that_the_next_one_continues(log, tmp_path):
    chance = random.Random(20261123)
    with Dying("tests.fakes.dying_sequencer", log.url, log.settings.var) as dying:
        # Those that are let live tell how long the work takes on this machine: kills fall anywhere in it. The first is slow.
        lasted = []
        for _ in range(4):
            log.record(5)
            began = time.monotonic()
            assert dying.ended("within 600") == 0
            lasted.append(time.monotonic() - began)
        whole = min(lasted)
        places = [*PLACES, *(f"within {chance.uniform(0, whole):.5f}" for _ in range(KILLS))]
        died = 0
        for number, place in enumerate(places, 1):
            log.record(chance.choice([1, 3, 257]) if number <= len(PLACES) else chance.choice([1, 2, 5]))
            ended = dying.ended(place)
            died += ended == -9
            assert ended == -9 or place.startswith("within"), f"{place}: it did not die there"
            log.look()
            log.follow()
            if number % CHECKED_EVERY == 0 or number <= len(PLACES):
                log.recover(f"{number} kills, {place}")
                if number % CHECKED_EVERY == 0:
                    log.check()
    log.recover("at the end")
    report = log.check()
    assert report.figures == {"unsigned": 0, "unsealed": 0}
    told = f"{died} kills in {len(places)} attempts; {report.size} entries, {len(log.seen)} checkpoints seen on the way\n"
    (tmp_path / "figures").write_text(told)
    sys.stdout.write(told)


@pytest.mark.strace
@pytest.mark.timeout(300 + CALLED)
def test_a_sequencer_killed_at_any_system_call_leaves_a_log_that_the_next_one_continues(log, tmp_path):
    """F-02: the calls of one sealing are counted, and then one sequencer dies at each of them, or as many as were asked for."""
    if system_calls.hindrance() is not None:
        pytest.skip(system_calls.hindrance())
    with Dying("tests.fakes.dying_sequencer", log.url, log.settings.var) as dying:
        log.record(300)
        # The first makes folders and tiles; those that follow all take the same steps.
        assert dying.ended("calls /dev/null") == 0
        log.record(3)
        assert dying.ended(f"calls {tmp_path / 'calls'}") == 0
        calls = system_calls.counted(tmp_path / "calls")
        assert calls["sendto"] > 10, "each statement is one of them"
        assert calls["fsync"] > 0
        assert calls["rename"] == 1
        chance, died = random.Random(20261123), 0
        points = system_calls.points(calls, chance)
        telling = sum(call in system_calls.TELLING for call, _ in points)
        for number in range(max(CALLED, telling)):
            call, at = points[number % len(points)]
            log.record(chance.choice([1, 2, 257]) if number % 10 == 0 else 1)
            died += dying.ended(f"call {call} {at}") == -9
            log.bury()
            log.look()
            if number % CHECKED_EVERY == CHECKED_EVERY - 1:
                log.recover(f"{number} kills, {call} {at}")
                log.check()
    log.recover("at the end")
    assert died > telling // 2
    report = log.check()
    assert report.figures == {"unsigned": 0, "unsealed": 0}
    sys.stdout.write(
        f"{died} kills at {len(points)} system calls, {telling} of which tell something; {report.size} entries, {len(log.seen)} checkpoints seen\n"
    )


def test_a_clock_that_is_set_back_and_forth_changes_no_order(log, set_clock):
    """The log proves order, not time: what was recorded later stands later, whatever the clock said (F-10)."""
    start, made = datetime(2026, 11, 23, 8, 0, tzinfo=UTC), []
    for step in (0, 5, -5, -600, 600, -86_400 * 400, 86_400 * 365 * 12):
        set_clock(start + timedelta(seconds=step))
        with log.database.transaction() as session:
            made.append(service.record(session, event()))
        log.acknowledged.add(made[-1])
        log.send()
        assert log.sequencer.seal_once() == 3
        log.look()
        log.follow()
    with psycopg.connect(log.url) as connection:
        assert [row[0] for row in connection.execute("SELECT event_id FROM log_entry WHERE index %% 3 = 0 ORDER BY index", ())] == made
    assert log.check().size == 3 * len(made)
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
                self.log.send()
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
                    # What was told and proved before still is.
                    log.follow()
                    log.check_receipt(log.told[-1])
                    connection.execute("SET default_transaction_read_only = off")
                    connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                    connection.execute("SELECT pg_reload_conf()")
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'broker %' AND pid <> pg_backend_pid()"
                    )
                writers.wait()
            until = time.monotonic() + 60
            while not log.sealed():
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
            log.send()
            assert log.sequencer.seal_once() == 52
            log.look()
            filler = folder / "filler"
            free = shutil.disk_usage(folder).free
            filler.write_bytes(bytes(max(0, free - 512 * 1024)))
            with pytest.raises(AWAY):
                log.record_until_refused(2000, 200)
            with pytest.raises(AWAY):
                log.send()
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
            while not log.sealed():
                log.sequencer.seal_once()
            assert log.check().size >= 60
            log.database.dispose()
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
