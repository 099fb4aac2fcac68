"""Work done later: it exists exactly if its transaction was committed, it is tried again, and a killed worker's work is taken up by another."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from broker import clock, jobs
from broker.app import background_jobs
from broker.jobs import GiveUp, Job
from broker.operations import jobs_check

PATIENCE = 60


@dataclass(frozen=True)
class Tools:
    settings: Any
    keys: Any
    database: Any
    engine: Any = None


@pytest.fixture
def tools(test_settings, keys, database):
    return Tools(test_settings, keys, database)


def eventually(condition, what, seconds=PATIENCE):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def rows(database):
    with database.transaction() as session:
        return [tuple(row) for row in session.execute(sa.text("SELECT task_name, status::text, attempts FROM procrastinate_jobs ORDER BY id"))]


def defer(database, *args, **options):
    with database.transaction() as session:
        return jobs.defer(session, *args, **options)


class Done:
    """A handler that writes down what it was given, and fails as often as it is told to."""

    def __init__(self, fail=0, error=RuntimeError):
        self.given = []
        self.fail = fail
        self.error = error

    def __call__(self, _tools, payload):
        self.given.append(payload)
        if len(self.given) <= self.fail:
            raise self.error("the patient said so")


def test_a_job_is_done_once_and_leaves_nothing_behind(tools):
    done = Done()
    assert defer(tools.database, "test.do", {"number": 1})
    jobs.run_until_idle([Job("test.do", done)], tools)
    jobs.run_until_idle([Job("test.do", done)], tools)
    assert done.given == [{"number": 1}]
    assert rows(tools.database) == []


def test_a_job_of_a_transaction_that_failed_does_not_exist(tools):
    def fail():
        with tools.database.transaction() as session:
            jobs.defer(session, "test.do", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert rows(tools.database) == []


def test_a_key_that_waits_is_not_added_again_and_costs_the_caller_nothing(tools):
    done = Done()
    with tools.database.transaction() as session:
        assert jobs.defer(session, "test.do", {"number": 1}, once="one")
        assert not jobs.defer(session, "test.do", {"number": 2}, once="one")
        assert jobs.defer(session, "test.do", {"number": 3}, once="other")
    jobs.run_until_idle([Job("test.do", done)], tools)
    assert sorted(one["number"] for one in done.given) == [1, 3]
    assert defer(tools.database, "test.do", {"number": 4}, once="one"), "done, so the key is free"


def test_a_retry_and_a_newer_job_under_the_same_key_do_not_collide(tools):
    """procrastinate issue 1543: the retry could not be stored, and the job hung for ever."""
    done = Done(fail=1)

    def and_another(_tools, payload):
        if not done.given:
            assert defer(tools.database, "test.do", {"number": 2}, once="one")
        done(_tools, payload)

    defer(tools.database, "test.do", {"number": 1}, once="one")
    jobs.run_until_idle([Job("test.do", and_another)], tools)
    assert done.given == [{"number": 1}, {"number": 2}]
    assert rows(tools.database) == [("test.do", "todo", 1)]


def test_not_before_its_time(tools):
    done = Done()
    defer(tools.database, "test.do", {}, at=clock.now() + timedelta(hours=1))
    jobs.run_until_idle([Job("test.do", done)], tools)
    assert done.given == []
    assert len(rows(tools.database)) == 1


def test_a_failure_is_tried_again_later_and_its_words_are_not_logged(tools, caplog):
    done = Done(fail=1)
    defer(tools.database, "test.do", {})
    jobs.run_until_idle([Job("test.do", done)], tools)
    assert rows(tools.database) == [("test.do", "todo", 1)]
    with tools.database.transaction() as session:
        session.execute(sa.text("UPDATE procrastinate_jobs SET scheduled_at = now()"))
    jobs.run_until_idle([Job("test.do", done)], tools)
    assert len(done.given) == 2
    assert rows(tools.database) == []
    assert "RuntimeError" in caplog.text
    assert "the patient said so" not in "".join(record.getMessage() for record in caplog.records if record.levelname != "DEBUG")


@pytest.mark.parametrize(
    ("job", "error"), [(Job("test.do", Done(fail=9), attempts=1), RuntimeError), (Job("test.do", Done(fail=9, error=GiveUp)), GiveUp)]
)
def test_what_cannot_help_is_not_tried_again_and_stays_to_be_seen(tools, job, error):
    del error
    defer(tools.database, "test.do", {})
    jobs.run_until_idle([job], tools)
    assert rows(tools.database) == [("test.do", "failed", 1)]
    with tools.database.transaction() as session:
        assert jobs.health(session).failed == 1


def test_a_job_that_nobody_handles_stays_failed(tools):
    defer(tools.database, "test.unknown", {})
    jobs.run_until_idle([], tools)
    assert [status for _, status, _ in rows(tools.database)] == ["failed"]


def test_two_handlers_of_one_name_are_a_mistake(tools):
    with pytest.raises(ValueError, match=r"test\.do"):
        jobs.build([Job("test.do", Done()), Job("test.do", Done())], tools)


def test_failed_jobs_are_forgotten_after_their_time(tools):
    defer(tools.database, "test.do", {})
    jobs.run_until_idle([Job("test.do", Done(fail=9, error=GiveUp))], tools)
    jobs._forget(tools, {})
    assert len(rows(tools.database)) == 1
    with tools.database.transaction() as session:
        session.execute(sa.text("UPDATE procrastinate_events SET at = at - interval '31 days'"))
    jobs._forget(tools, {})
    assert rows(tools.database) == []


def test_short_work_does_not_wait_for_long_work_and_stop_waits_for_what_was_begun(tools):
    stop, may_end, begun, done = threading.Event(), threading.Event(), threading.Event(), Done()
    ended = []

    def long(_tools, payload):
        begun.set()
        may_end.wait(PATIENCE)
        ended.append(payload)

    defer(tools.database, "test.long", {}, queue="bulk")
    thread = threading.Thread(target=jobs.run, args=([Job("test.long", long, queue="bulk"), Job("test.do", done)], tools, stop))
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        defer(tools.database, "test.do", {})
        eventually(lambda: done.given, "short work waited for long work")
        with tools.database.transaction() as session:
            health = jobs.health(session)
        assert (health.doing, health.workers) >= (1, 2)
    finally:
        stop.set()
        time.sleep(0.2)
        may_end.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert ended == [{}]
    assert rows(tools.database) == []


def test_the_database_goes_away_and_comes_back(tools, database_url):
    """Every connection is cut; the workers of this process come back by themselves."""
    stop, done = threading.Event(), Done()
    thread = threading.Thread(target=jobs.run, args=([Job("test.do", done)], tools, stop))
    thread.start()
    try:
        defer(tools.database, "test.do", {"number": 1})
        eventually(lambda: done.given, "the first job")
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        tools.database.dispose()
        defer(tools.database, "test.do", {"number": 2})
        eventually(lambda: len(done.given) >= 2, "the second job")
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


SLOW = """
import sys, threading, time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from broker import jobs
from broker.database import Database

@dataclass(frozen=True)
class Tools:
    settings: Any; keys: Any; database: Any; engine: Any = None

def slow(tools, payload):
    Path(sys.argv[2]).touch()
    time.sleep(600)

if __name__ == "__main__":
    jobs.run([jobs.Job("test.do", slow)], Tools(None, None, Database(sys.argv[1])), threading.Event())
"""


def test_a_killed_worker_s_job_is_taken_up_by_another(tools, database_url, tmp_path):
    defer(tools.database, "test.do", {"number": 1})
    process = subprocess.Popen([sys.executable, "-c", SLOW, database_url, str(tmp_path / "begun")])
    try:
        eventually((tmp_path / "begun").exists, "the job began")
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    finally:
        process.kill()
    assert rows(tools.database) == [("test.do", "doing", 0)]
    with tools.database.transaction() as session:
        assert jobs.take_up_stalled(session) == 0, "a worker is given its time"
        session.execute(sa.text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'"))
    stop, done = threading.Event(), Done()
    thread = threading.Thread(target=jobs.run, args=([Job("test.do", done)], tools, stop))
    thread.start()
    try:
        eventually(lambda: done.given == [{"number": 1}], "another worker takes it up")
    finally:
        stop.set()
        thread.join(PATIENCE)


def test_a_job_that_kills_every_worker_ends_as_failed(tools):
    defer(tools.database, "test.do", {})
    with tools.database.transaction() as session:
        session.execute(sa.text(f"UPDATE procrastinate_jobs SET status = 'doing', attempts = {jobs.ATTEMPTS - 2}"))
        assert jobs.take_up_stalled(session) == 1
        session.execute(sa.text("UPDATE procrastinate_jobs SET status = 'doing'"))
        assert jobs.take_up_stalled(session) == 1
    assert [status for _, status, _ in rows(tools.database)] == ["failed"]


def test_every_slice_s_jobs_fit_together(tools):
    names = {job.name for job in background_jobs()}
    assert {"applications.expire_due", "applications.forget"} <= names
    app = jobs.build(background_jobs(), tools)
    assert names <= set(app.tasks)


def test_periodic_work_is_due_by_itself_and_never_twice_at_a_time(tools):
    done = Done()
    app = jobs.build([Job("test.tick", done, cron="* * * * *")], tools)
    task = app.tasks["test.tick"]
    assert (task.lock, task.queueing_lock) == ("test.tick", "test.tick")
    assert ("test.tick", "") in app.periodic_registry.periodic_tasks
    jobs.run_until_idle([Job("test.tick", done, cron="* * * * *")], tools)
    jobs.run_until_idle([Job("test.tick", done, cron="* * * * *")], tools)
    assert len(done.given) in {1, 2}  # Two only where a minute began between the two.


def test_broker_worker_does_jobs_and_stops_when_told(tmp_path):
    """The command itself, on its embedded database: what has run out is written down, and SIGTERM ends it with the database."""
    var = Path(tempfile.mkdtemp(prefix="broker-test-worker-")) / "var"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BROKER_")} | {"BROKER_VAR": str(var)}
    log = (tmp_path / "stderr").open("w")
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "broker.cli", "worker"], env=environment, stdout=subprocess.DEVNULL, stderr=log)
    try:
        eventually(lambda: "working" in (tmp_path / "stderr").read_text() or process.poll() is not None, "it never began")
        assert process.poll() is None, (tmp_path / "stderr").read_text()
        from broker.database import EmbeddedServer

        url = EmbeddedServer(var / "postgres").url

        def workers():
            with psycopg.connect(url) as connection:
                return connection.execute("SELECT count(*) FROM procrastinate_workers").fetchone()[0]

        eventually(lambda: workers() == 2, "one worker for each queue")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert workers() == 0, "they took their leave"
    finally:
        if process.poll() is None:
            process.kill()
        shutil.rmtree(var.parent, ignore_errors=True)
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_the_check_tells_of_work_that_nobody_does_and_of_work_that_failed(tools):
    assert jobs_check(tools.database).ok
    defer(tools.database, "test.do", {})
    assert jobs_check(tools.database).ok, "it has only just come"
    with tools.database.transaction() as session:
        session.execute(sa.text("UPDATE procrastinate_events SET at = at - interval '10 minutes'"))
    late = jobs_check(tools.database)
    assert not late.ok
    assert "1 waiting" in late.detail
    jobs.run_until_idle([Job("test.do", Done(fail=9, error=GiveUp))], tools)
    failed = jobs_check(tools.database)
    assert not failed.ok
    assert "1 failed" in failed.detail
    assert "patient" not in failed.detail
