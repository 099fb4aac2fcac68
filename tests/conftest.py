"""What every test may ask for: a database of its own, keys, settings, a clock it can set.

PostgreSQL is real: the embedded one, or the server behind BROKER_TEST_DATABASE_URL. The schema is migrated once into a
template; each test that asks for ``database`` gets a copy of it, so that tests commit as the broker does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from broker import clock
from broker.crypto import Keys, load_keys
from broker.database import Database, EmbeddedServer
from broker.migrate import migrate
from broker.settings import Settings

# Tests of what comes after signing in sign in with a password alone, as many of them as they like and however slow the machine;
# what a hospital gets unless it says otherwise, the tests of second factors set for themselves.
os.environ |= {"BROKER_SECOND_FACTOR_ROLES": "none", "BROKER_EMERGENCY_SECOND_FACTOR": "false", "BROKER_STEP_UP_MINUTES": "120"}

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SYNTHEA = SHARED / "synthea"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a PostgreSQL server whose user may create databases."""
    given = os.environ.get("BROKER_TEST_DATABASE_URL")
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="broker-test-pg-"))
    embedded = EmbeddedServer(folder / "postgres")
    with psycopg.connect(embedded.url, autocommit=True) as connection:
        # A test's database need not survive a power cut; crash tests start their own server with fsync on.
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    yield embedded.url
    embedded.stop()
    shutil.rmtree(folder, ignore_errors=True)


_numbers = count()


def _named(server: str, name: str) -> str:
    return make_conninfo(server, dbname=name)


def _create(server: str, name: str, template: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a database migrated to head, to be copied."""
    name = f"broker_template_{os.getpid()}"
    _create(server, name, "template0")
    migrate(_named(server, name))
    return name


@pytest.fixture
def empty_database_url(server: str) -> Iterator[str]:
    """URL of a database without any table."""
    name = f"broker_empty_{os.getpid()}_{next(_numbers)}"
    _create(server, name, "template0")
    yield _named(server, name)
    _drop(server, name)


def _drop(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(server: str, template: str) -> Iterator[str]:
    """URL of a migrated database that this test has to itself."""
    name = f"broker_test_{os.getpid()}_{next(_numbers)}"
    _create(server, name, template)
    yield _named(server, name)
    _drop(server, name)


@pytest.fixture(scope="module")
def module_database_url(server: str, template: str) -> Iterator[str]:
    """URL of a migrated database that this module's tests share, for stories that are costly to set up."""
    name = f"broker_module_{os.getpid()}_{next(_numbers)}"
    _create(server, name, template)
    yield _named(server, name)
    _drop(server, name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The test's database as the web process sees it (role broker_web)."""
    database = Database(database_url, "broker_web", pool=2)
    yield database
    database.dispose()


@pytest.fixture
def log_database(database_url: str) -> Iterator[Database]:
    """The test's database as the log's sequencer sees it (role broker_log)."""
    database = Database(database_url, "broker_log", pool=2)
    yield database
    database.dispose()


@pytest.fixture
def test_settings(tmp_path: Path) -> Settings:
    """Settings that point into the test's own folder."""
    return Settings(var=tmp_path / "var")


@pytest.fixture
def keys(test_settings: Settings) -> Keys:
    """Fresh keys of this test's own."""
    return load_keys(test_settings)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime | timedelta], None]:
    """Set the broker's clock to a moment, or move it on by a duration; from then on it stands still."""

    def set_to(moment: datetime | timedelta) -> None:
        at = moment if isinstance(moment, datetime) else clock.now() + moment
        monkeypatch.setattr(clock, "now", lambda: at.astimezone(UTC))

    return set_to
