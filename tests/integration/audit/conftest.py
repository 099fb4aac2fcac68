"""What the log's tests share."""

from contextlib import contextmanager

import psycopg
import pytest

from broker.audit import service
from broker.audit.database_source import open_source
from broker.audit.note import Verifier
from broker.audit.sequencer import Sequencer
from broker.audit.verify import verify
from tests.factories.audit import event


@pytest.fixture
def verifier(test_settings, keys):
    return Verifier.of(test_settings.log_origin, keys.log_signer)


@pytest.fixture
def sequencer(log_database, test_settings, keys):
    return Sequencer(log_database, test_settings, keys)


@pytest.fixture
def owner(database_url):
    """A connection as the owner of the tables: what a database administrator can do."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def unguarded(owner):
    """The owner, once the triggers are switched off: what a malicious administrator can do."""
    for table in ("audit_event", "log_entry", "log_tile", "log_checkpoint", "log_cosignature", "log_state"):
        owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    return owner


@pytest.fixture
def record(database):
    """Record events, each in a transaction of its own; returns their ids."""

    def record_all(*events):
        ids = []
        for each in events:
            with database.transaction() as session:
                ids.append(service.record(session, each))
        return ids

    return record_all


@pytest.fixture
def record_many(database):
    """Record ``count`` events in one transaction."""

    def record_numbered(count):
        with database.transaction() as session:
            return [service.record(session, event(facts={"number": number})) for number in range(count)]

    return record_numbered


@pytest.fixture
def check(database, verifier):
    """Verify the database: None when it holds, else code and place of the first finding."""

    def find(*older):
        with open_source(database) as source:
            finding = verify(source, verifier, older=older).finding
        return (finding.code, finding.where) if finding else None

    return find


@pytest.fixture
def as_role(database_url):
    """A connection in one of the broker's roles."""

    @contextmanager
    def connected(role):
        with psycopg.connect(database_url, autocommit=True, options=f"-c role={role}") as connection:
            yield connection

    return connected
