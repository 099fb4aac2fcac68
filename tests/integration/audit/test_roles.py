"""Nobody rewrites the log: tried as the web process, as the sequencer, and as the owner. (QA-5, RS-6.2.3)"""

import pytest
from psycopg import errors

from broker.audit import service
from tests.factories.audit import event

TABLES = ("audit_event", "log_entry", "log_tile", "log_checkpoint", "log_state")

REWRITES = [
    statement
    for table, column in (("audit_event", "type"), ("log_entry", "hash"), ("log_tile", "hashes"), ("log_checkpoint", "note"))
    for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}", f"TRUNCATE {table}")
]
STATE_REWRITES = ["DELETE FROM log_state", "TRUNCATE log_state", "UPDATE log_state SET id = 1", "INSERT INTO log_state SELECT * FROM log_state"]


@pytest.fixture(autouse=True)
def filled(record_many, sequencer):
    record_many(300)
    assert sequencer.seal_once() == 300


def insert(connection, **columns):
    row = {**service.event_row(event()), **columns}
    names = ", ".join(row)
    connection.execute(f"INSERT INTO audit_event ({names}) VALUES ({', '.join(f'%({name})s' for name in row)})", row)


def refused(connection, statements, match, kinds=errors.InsufficientPrivilege):
    for statement in statements:
        with pytest.raises(kinds, match=match):
            connection.execute(statement)
        connection.rollback()


class TestTheWebProcess:
    def test_may_add_events_and_read_all(self, as_role):
        with as_role("broker_web") as connection:
            insert(connection)
            for table in TABLES:
                assert connection.execute(f"SELECT * FROM {table}").fetchone()

    def test_may_not_rewrite_anything(self, as_role):
        with as_role("broker_web") as connection:
            refused(connection, [*REWRITES, *STATE_REWRITES, "UPDATE log_state SET size = size"], "permission denied")

    def test_may_not_write_the_log_itself_nor_change_its_guards(self, owner):
        # As an operator sets it up: a login that is a member of this role alone.
        owner.execute("DO $$ BEGIN CREATE ROLE only_web IN ROLE broker_web; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        owner.execute("SET SESSION AUTHORIZATION only_web")
        statements = [
            "INSERT INTO log_entry VALUES (300, gen_random_uuid(), '')",
            "INSERT INTO log_tile VALUES (3, 0, '', '')",
            "INSERT INTO log_checkpoint VALUES (301, '', '', now())",
            "SELECT id FROM audit_event FOR UPDATE",
            "ALTER TABLE audit_event DISABLE TRIGGER ALL",
            "ALTER TABLE audit_event DISABLE TRIGGER append_only",
            "DROP TRIGGER append_only ON audit_event",
            "CREATE OR REPLACE FUNCTION log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "SET session_replication_role = replica",
            "DROP TABLE audit_event",
            "SET ROLE broker_log",
        ]
        refused(owner, statements, "permission denied|must be owner")

    def test_may_not_choose_the_order(self, as_role):
        with as_role("broker_web") as connection:
            for column in ({"xid": "1"}, {"seq": 1}):
                with pytest.raises((errors.InsufficientPrivilege, errors.GeneratedAlways)):
                    insert(connection, **column)
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("INSERT INTO audit_event (seq) OVERRIDING SYSTEM VALUE VALUES (1)")


class TestTheSequencer:
    def test_may_not_rewrite_anything(self, as_role):
        with as_role("broker_log") as connection:
            refused(connection, [*REWRITES, *STATE_REWRITES], "permission denied|append-only")

    def test_may_not_record_events_nor_see_whose_they_are(self, as_role):
        with as_role("broker_log") as connection:
            with pytest.raises(errors.InsufficientPrivilege):
                insert(connection)
            refused(connection, ["SELECT patient_key FROM audit_event", "SELECT * FROM audit_event"], "permission denied")

    def test_may_only_let_the_log_grow(self, as_role):
        with as_role("broker_log") as connection:
            changes = ("size = size - 1", "root = '\\x00'", "fence = fence - 1")
            refused(connection, [f"UPDATE log_state SET {change}" for change in changes], "only grows")


class TestTheOwner:
    @pytest.mark.parametrize("replica", [False, True])
    def test_is_stopped_by_the_trigger(self, owner, replica):
        if replica:
            owner.execute("SET session_replication_role = replica")
        refused(owner, [*REWRITES, *[each for each in STATE_REWRITES if not each.startswith("UPDATE")]], "append-only")

    def test_the_trigger_holds_a_role_that_was_given_too_much(self, owner, as_role):
        owner.execute("GRANT ALL ON audit_event, log_entry, log_tile, log_checkpoint, log_state TO broker_web, broker_log")
        for role in ("broker_web", "broker_log"):
            with as_role(role) as connection:
                refused(connection, REWRITES, "append-only")
