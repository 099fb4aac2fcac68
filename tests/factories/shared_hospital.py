"""Fixtures: one filled database for all tests of a file, each rolled back; or one of a test's own. A conftest imports what it needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from broker.crypto import Keys, load_keys
from broker.database import Database
from broker.settings import Settings
from tests.factories import applications, rolled_back


@dataclass(frozen=True)
class Filled:
    """A database with the small hospital and three patients in it."""

    database: Database
    url: str
    keys: Keys
    people: applications.House
    patients: dict[int, UUID]

    @property
    def means(self):
        """Means whose policy permits and whose consents permit."""
        return applications.means(self.keys)


def filled(server: str, template: str, folder) -> Iterator[Filled]:
    name = f"broker_applications_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    url = make_conninfo(server, dbname=name)
    database, keys = Database(url, "broker_web", pool=8), load_keys(Settings(var=folder))
    with database.transaction() as session:
        people = applications.house(session)
        patients = {number: applications.patient(session, keys, number) for number in (1, 2, 3)}
    yield Filled(database, url, keys, people, patients)
    database.dispose()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def shared(server, template, tmp_path_factory):
    """One filled database for all tests of a file; each rolls back what it did."""
    yield from filled(server, template, tmp_path_factory.mktemp("shared"))


@pytest.fixture
def own(server, template, tmp_path):
    """A filled database of this test's own, for whoever needs real commits and several connections."""
    yield from filled(server, template, tmp_path)


@pytest.fixture
def database(shared):
    with rolled_back.rolled_back(shared.database) as database:
        yield database


@pytest.fixture
def keys(shared):
    return shared.keys


@pytest.fixture
def people(shared):
    return shared.people


@pytest.fixture
def patients(shared):
    """Blinded keys by number."""
    return shared.patients


@pytest.fixture
def means(shared):
    return shared.means
