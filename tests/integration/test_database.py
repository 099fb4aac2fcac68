"""PostgreSQL as the broker uses it: commits come before answers, roles are taken at once, gates hold, the embedded server outlives a crash."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from broker.database import Database, EmbeddedServer, SessionDep, close_gate, gate_lock
from broker.settings import Settings

# --- When a transaction commits ------------------------------------------------------------------------------------


@pytest.fixture
def notes(database_url, database):
    """A table whose rows are judged at commit: the word ``bad`` makes the commit itself fail."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE note (word text NOT NULL)")
        owner.execute(
            "CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN IF NEW.word = 'bad' THEN RAISE EXCEPTION 'refused at commit'; END IF; RETURN NULL; END $$"
        )
        owner.execute("CREATE CONSTRAINT TRIGGER late AFTER INSERT ON note DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION judge()")
        owner.execute("GRANT SELECT, INSERT ON note TO broker_web")

    app = FastAPI()
    app.state.database = database

    @app.post("/notes/{word}")
    def write(word: str, session: SessionDep):
        session.connection().exec_driver_sql("INSERT INTO note VALUES (%s)", (word,))
        return {"written": word}

    @app.post("/refused/{word}")
    def refuse(word: str, session: SessionDep):
        session.connection().exec_driver_sql("INSERT INTO note VALUES (%s)", (word,))
        return JSONResponse({"refused": word}, status_code=403)

    @app.post("/mistaken/{word}")
    def mistake(word: str, session: SessionDep):
        session.connection().exec_driver_sql("INSERT INTO note VALUES (%s)", (word,))
        raise HTTPException(409)

    def words():
        with psycopg.connect(database_url) as owner:
            return [word for (word,) in owner.execute("SELECT word FROM note ORDER BY 1")]

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client, words


def test_a_commit_that_fails_is_never_answered_with_success(notes):
    client, words = notes
    assert client.post("/notes/bad").status_code == 500
    assert words() == []


def test_what_was_answered_with_success_is_there_at_once(notes):
    client, words = notes
    assert client.post("/notes/good").status_code == 200
    assert words() == ["good"]


def test_a_refusal_is_an_answer_and_keeps_its_record(notes):
    client, words = notes
    assert client.post("/refused/good").status_code == 403
    assert words() == ["good"]


def test_a_mistake_leaves_nothing_behind(notes):
    client, words = notes
    assert client.post("/mistaken/good").status_code == 409
    assert words() == []


# --- As whom -----------------------------------------------------------------------------------------------------------


def test_every_connection_speaks_as_its_role(database, log_database):
    for one, role in ((database, "broker_web"), (log_database, "broker_log")):
        with one.transaction() as session:
            assert session.connection().exec_driver_sql("SELECT current_user").scalar() == role


def test_the_release_path_speaks_as_the_web_role_and_commits_each_statement(database):
    async def ask():
        try:
            async with database.release_connection() as connection:
                role = await (await connection.execute("SELECT current_user")).fetchone()
                return role[0], connection.autocommit
        finally:
            await database.close()

    assert asyncio.run(ask()) == ("broker_web", True)


def test_an_operators_own_options_are_kept():
    conninfo = Database("postgresql://someone@localhost/broker?options=-c%20statement_timeout%3D5s", "broker_web").conninfo
    assert "statement_timeout=5s" in conninfo
    assert "role=broker_web" in conninfo


def test_no_password_in_the_settings_shown():
    shown = repr(Settings(database_url="postgresql://web:hunter2@localhost/broker"))
    assert "hunter2" not in shown


# --- Gates ---------------------------------------------------------------------------------------------------------------


@contextmanager
def release_under_way(database_url, kind, key):
    """What a release does: it shares the gate's lock from before it decides until its last byte is out."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (gate_lock(kind, key),))
        yield
        connection.execute("SELECT pg_advisory_unlock_shared(%s)", (gate_lock(kind, key),))


def test_a_withdrawal_waits_for_the_release_that_is_under_way(database, database_url):
    acknowledged = threading.Event()

    def withdraw():
        with database.transaction() as session:
            close_gate(session, "patient", "one")
        acknowledged.set()

    with release_under_way(database_url, "patient", "one"):
        thread = threading.Thread(target=withdraw)
        thread.start()
        assert not acknowledged.wait(0.3), "acknowledged while bytes may still leave"
    assert acknowledged.wait(5)
    thread.join()


def test_a_withdrawal_of_another_patient_or_of_a_grant_does_not_wait(database, database_url):
    with release_under_way(database_url, "patient", "one"):
        for kind, key in (("patient", "two"), ("grant", "one")):
            with database.transaction() as session:
                session.connection().exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
                close_gate(session, kind, key)


def test_no_release_starts_between_a_withdrawal_and_its_commit(database, database_url):
    with psycopg.connect(database_url, autocommit=True) as release:
        shared = "SELECT pg_try_advisory_lock_shared(%s)"
        with database.transaction() as session:
            close_gate(session, "patient", "one")
            assert release.execute(shared, (gate_lock("patient", "one"),)).fetchone() == (False,)
        assert release.execute(shared, (gate_lock("patient", "one"),)).fetchone() == (True,)


# --- The embedded server -----------------------------------------------------------------------------------------------

OWNER = """
import sys, time
from pathlib import Path
from broker.database import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
print(server.url, flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def folder():
    """A folder that PostgreSQL's own user may enter; pytest closes its folders to everybody else whenever a run starts."""
    above = Path(tempfile.mkdtemp(prefix="broker-test-embedded-"))
    yield above / "postgres"
    shutil.rmtree(above, ignore_errors=True)


def another_owner(folder):
    """A process that holds the server until its standard input ends."""
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip()
    assert url
    return process, url


def runs(folder):
    """Whether a PostgreSQL runs on the folder."""
    file = folder / "postmaster.pid"
    if not file.exists():
        return False
    try:
        os.kill(int(file.read_text().splitlines()[0]), 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds=15):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_what_was_committed_outlives_a_killed_broker_and_a_crashed_server(folder):
    process, url = another_owner(folder)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('here')")
        (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert backend
    process.send_signal(signal.SIGKILL)
    process.wait()

    again = EmbeddedServer(folder)
    try:
        with psycopg.connect(again.url) as connection:
            assert connection.execute("SELECT word FROM kept").fetchall() == [("here",)]
    finally:
        again.stop()
    assert wait_until(lambda: not runs(folder)), "the killed owner must not keep the server alive for ever"


def test_the_server_stops_with_its_last_owner(folder):
    process, _ = another_owner(folder)
    mine = EmbeddedServer(folder)
    process.communicate(timeout=30)
    assert process.returncode == 0
    with psycopg.connect(mine.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    mine.stop()
    assert wait_until(lambda: not runs(folder))
