"""Old checkpoints are thinned to the last of each hour, by a rule that the database holds itself (QA-5, decision 0033)."""

import threading
import time
from datetime import timedelta

import pytest
from psycopg import errors

from broker import clock
from broker.audit import sequencer as module
from broker.audit import thinning
from broker.audit.note import Checkpoint
from broker.audit.thinning import thin
from broker.audit.tree import Frontier, leaf_hash


@pytest.fixture
def published(record_many, sequencer, owner, keys, test_settings):
    """A log with a checkpoint for each of thirty sizes, twenty minutes apart; the first was published so many days ago."""

    def publish(days):
        first = clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=days)
        record_many(30)
        sequencer.seal_once()
        frontier = Frontier()
        leaves = owner.execute("SELECT e.leaf FROM log_entry l JOIN audit_event e ON e.id = l.event_id ORDER BY l.index").fetchall()
        owner.execute("ALTER TABLE log_checkpoint DISABLE TRIGGER ALL; DELETE FROM log_checkpoint")
        for size, (leaf,) in enumerate(leaves, 1):
            frontier.append(leaf_hash(leaf.encode()))
            note = Checkpoint(test_settings.log_origin, size, frontier.root()).signed(keys.log_signer)
            at = first + (size - 1) * timedelta(minutes=20)
            owner.execute("INSERT INTO log_checkpoint VALUES (%s, %s, %s, %s)", (size, frontier.root(), note, at))
        for trigger in ("append_only", "no_truncate", "thins_by_rule"):
            owner.execute(f"ALTER TABLE log_checkpoint ENABLE ALWAYS TRIGGER {trigger}")

    return publish


@pytest.fixture
def sizes(owner):
    return lambda: [row[0] for row in owner.execute("SELECT size FROM log_checkpoint ORDER BY size")]


def whole(connection):
    """Thin until nothing old is left."""
    start, gone = 0, 0
    while True:
        done = thin(connection, start)
        start, gone = done.onwards, gone + done.gone
        if not done.more:
            return gone


def test_the_last_of_each_hour_stays_and_what_was_cosigned(published, as_role, owner, sizes, check, sequencer, record_many, monkeypatch):
    monkeypatch.setattr(thinning, "BATCH", 7)
    published(30)
    owner.execute("INSERT INTO log_cosignature (size, witness, line, at) VALUES (4, 'w', 'line', now())")
    with as_role("broker_log") as connection:
        assert whole(connection) == 19
        assert sizes() == [3, 4, *range(6, 31, 3)]
        assert whole(connection) == 0
    assert check() is None
    record_many(2)
    assert sequencer.seal_once() == 2
    assert check() is None


def test_what_is_younger_than_eight_days_stays_whole(published, as_role, sizes):
    published(7)
    with as_role("broker_log") as connection:
        assert whole(connection) == 0
    assert len(sizes()) == 30


def test_the_database_holds_the_rule_whoever_asks(published, as_role, owner, sizes):
    published(7)
    owner.execute("INSERT INTO log_cosignature (size, witness, line, at) VALUES (1, 'w', 'line', now())")
    refused = (
        "DELETE FROM log_checkpoint",
        "DELETE FROM log_checkpoint WHERE size = 1",  # It was cosigned.
        "DELETE FROM log_checkpoint WHERE size = 20",  # Too young.
        "DELETE FROM log_checkpoint WHERE size = 30",
        "UPDATE log_checkpoint SET at = at - interval '1 year'",
        "TRUNCATE log_checkpoint",
    )
    with as_role("broker_log") as log, as_role("broker_web") as web:
        for statement in refused:
            for connection in (owner, log, web):
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(statement)
    assert len(sizes()) == 30


def test_the_last_of_an_hour_goes_for_nobody(published, as_role, owner, sizes):
    published(30)
    with as_role("broker_log") as log, as_role("broker_web") as web:
        for connection in (owner, log, web):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("DELETE FROM log_checkpoint WHERE size = 3")
        with pytest.raises(errors.InsufficientPrivilege):
            web.execute("DELETE FROM log_checkpoint WHERE size = 2")
        log.execute("DELETE FROM log_checkpoint WHERE size = 2")
    assert len(sizes()) == 29


def test_the_sequencer_thins_by_the_way(published, sequencer, sizes, monkeypatch):
    monkeypatch.setattr(module, "THINNING", 0.01)
    published(30)
    stop = threading.Event()
    thread = threading.Thread(target=sequencer.run, args=(stop,))
    thread.start()
    until = time.monotonic() + 60
    while sizes() != list(range(3, 31, 3)) and time.monotonic() < until:
        time.sleep(0.05)
    stop.set()
    thread.join(30)
    assert sizes() == list(range(3, 31, 3))
    assert sequencer.trouble is None
