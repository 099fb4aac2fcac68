"""The history of the database: from nothing to head is what the models say, twice is once, two at once is one."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from broker.database import Database
from broker.migrate import MIGRATIONS, migrate
from broker.tables import metadata, ours

VERSIONS = sorted((MIGRATIONS / "versions").glob("*.py"))


def owner(url):
    return Database(url, "owner", pool=0)


def head():
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def tables(url):
    """Every column, constraint and index of the database, as PostgreSQL tells them."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
        ).fetchall()
        constraints = connection.execute(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
        ).fetchall()
        indexes = connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1").fetchall()
    return columns, constraints, indexes


def test_from_nothing_to_head_is_what_the_models_say(empty_database_url):
    migrate(empty_database_url)
    with owner(empty_database_url).engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True, "include_object": ours})
        assert context.get_current_revision() == head()
        assert compare_metadata(context, metadata) == []


def test_every_table_came_by_a_migration(database_url):
    with psycopg.connect(database_url) as connection:
        there = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert there >= {table.name for table in metadata.sorted_tables}


def test_twice_is_once(empty_database_url):
    migrate(empty_database_url)
    before = tables(empty_database_url)
    migrate(empty_database_url)
    assert tables(empty_database_url) == before


def another_machine(url):
    """A process that migrates; alembic keeps its state in one place per process, so a thread would not do."""
    program = "import sys; from broker.migrate import migrate; migrate(sys.argv[1])"
    return subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE, text=True)


def ended(process):
    return process.communicate(timeout=60)[1], process.returncode


def test_two_machines_at_once(empty_database_url):
    """Both are held at the door until both stand there; one finds the work done."""
    with psycopg.connect(empty_database_url, autocommit=True) as door:
        door.execute("SELECT pg_advisory_lock(%s)", (0x62726F6B6572,))
        started = [another_machine(empty_database_url) for _ in range(2)]
        waiting = (
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
            " WHERE locktype = 'advisory' AND NOT granted AND datname = %s"
        )
        until = time.monotonic() + 30
        while door.execute(waiting, (door.info.dbname,)).fetchone() != (2,):
            assert time.monotonic() < until, "a migration must wait for the one that is running"
            time.sleep(0.05)
        assert door.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
        door.execute("SELECT pg_advisory_unlock(%s)", (0x62726F6B6572,))
        outcomes = [ended(process) for process in started]
        assert [code for _, code in outcomes] == [0, 0], outcomes
        assert door.execute("SELECT version_num FROM alembic_version").fetchall() == [(head(),)]


def test_a_held_lock_stops_a_migration_soon_and_leaves_nothing_behind(empty_database_url):
    """A migration that waits behind a long transaction would make every request behind it wait too."""
    migrate(empty_database_url, "202611230900")
    with psycopg.connect(empty_database_url) as blocker:
        blocker.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            migrate(empty_database_url)
        blocker.rollback()
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (head(),)


@pytest.mark.parametrize("file", VERSIONS, ids=lambda file: file.stem)
def test_a_migration_is_named_by_its_date_and_says_what_it_does(file: Path):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
    revision = ast.literal_eval(values["revision"])
    assert file.stem.startswith(f"{revision[:4]}-{revision[4:6]}-{revision[6:8]}-{revision[8:]}_")
    assert "previous version still serves" in (ast.get_docstring(tree) or "")


# --- Who may do what -------------------------------------------------------------------------------------------------


def rights(url, role, table):
    with psycopg.connect(url) as connection:
        return {
            right
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
            if connection.execute("SELECT has_table_privilege(%s, %s, %s)", (role, f'public."{table}"', right)).fetchone()[0]
        }


def log_tables(url):
    with psycopg.connect(url) as connection:
        return [
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'audit%' ORDER BY 1")
        ]


def test_the_web_process_can_not_rewrite_the_log(database_url):
    names = log_tables(database_url)
    assert names, "there is a log"
    for name in names:
        assert not rights(database_url, "broker_web", name) & {"UPDATE", "DELETE", "TRUNCATE"}, name


def test_the_web_process_is_really_refused(database_url, database):
    """Not only by the table of rights: the statements fail for the role that requests speak as."""
    for name in log_tables(database_url):
        for statement in (f'DELETE FROM "{name}"', f'TRUNCATE "{name}"', f'ALTER TABLE "{name}" DISABLE TRIGGER ALL'):
            with pytest.raises(sa.exc.ProgrammingError, match=r"permission denied|must be owner"), database.transaction() as session:
                session.connection().exec_driver_sql(statement)


def test_the_web_process_owns_nothing_and_can_not_make_tables(database_url, database):
    with psycopg.connect(database_url) as connection:
        owned = connection.execute(
            "SELECT relname FROM pg_class WHERE relowner IN (SELECT oid FROM pg_roles WHERE rolname IN ('broker_web', 'broker_log'))"
        )
        assert owned.fetchall() == []
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"), database.transaction() as session:
        session.connection().exec_driver_sql("CREATE TABLE of_my_own (id int)")


def test_no_role_holds_a_right_on_every_table_by_default(database_url):
    """A table of tomorrow starts with no rights; whoever adds it says who may do what."""
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_default_acl").fetchone() == (0,)


def test_history_is_kept_of_what_people_decided(database_url):
    """Versions of consents and decisions on applications are added to, never changed or removed, by the web process."""
    with psycopg.connect(database_url) as connection:
        names = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    for name in names & {"consent_version", "application_event"}:
        assert not rights(database_url, "broker_web", name) & {"UPDATE", "DELETE", "TRUNCATE"}, name
