"""Getting rid of what PostgreSQL still holds of destroyed rows: old row versions, write-ahead log, statistics.

Overwriting a row leaves the old one in its page, in the log's segments and, as a sample, in the planner's statistics. Tables whose
secrets lie under the key-encryption key alone are therefore written anew (VACUUM FULL, short: they are small beside the records, whose
bytes nobody can read without the patient's key), and the log goes on to a new segment while old ones are deleted, not reused.
docs/decisions: crypto-shredding. Needs the owner's login; CHECKPOINT needs pg_checkpoint.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from broker.database import plain_url

#: Tables with values that the key-encryption key alone opens, and their columns.
TABLES: dict[LiteralString, tuple[LiteralString, ...]] = {
    "patient": ("wrapped_key", "fhir_id_sealed"),
    "application": ("justification_sealed", "patients_sealed"),
    "application_decision": ("reason_sealed",),
    "application_submission": ("justification_sealed",),
    "application_attachment": ("name_sealed", "body_sealed"),
    "idempotency_key": ("answer_sealed",),
    "feedback": ("comment_sealed",),
    "concern": ("text_sealed",),
    "concern_answer": ("text_sealed",),
    "incident": ("summary_sealed", "cause_sealed", "measures_sealed"),
    "incident_step": ("text_sealed",),
    "incident_notice": ("text_sealed",),
    "violation": ("told_sealed", "heard_sealed", "reasons_sealed", "appeal_sealed"),
    "obligation": ("evidence_sealed",),
    "recall_notice": ("evidence_sealed",),
}


@dataclass(frozen=True)
class Scrubbed:
    """What was done, and what is left to do by hand. ``clean``: nothing is."""

    clean: bool
    tables: int
    segments_left: int  #: of the write-ahead log, from before
    left: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For the record."""
        return {**asdict(self), "left": list(self.left)}


def scrub(url: str, *, lock_timeout: str = "5s") -> Scrubbed:
    """Write the tables anew and leave the old log behind. Raises psycopg.Error where the database refuses; then try again."""
    left: list[str] = []
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(lock_timeout)))
        _delete_segments(connection, left)
        for table, columns in TABLES.items():
            for column in columns:
                # A sample of a column is a copy of it.
                connection.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET STATISTICS 0").format(sql.Identifier(table), sql.Identifier(column)))
            connection.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(table)))
        if sampled := _sampled(connection):
            left.append(f"statistics of {', '.join(sampled)}: DELETE FROM pg_statistic for them, VACUUM FULL pg_statistic")
        before = _value(connection, "SELECT pg_walfile_name(pg_switch_wal())")
        connection.execute("CHECKPOINT")
        connection.execute("SELECT pg_switch_wal()")
        connection.execute("CHECKPOINT")
        segments = _old_segments(connection, str(before))
        if segments:
            left.append("old segments of the write-ahead log: a slot, wal_keep_size or wal_recycle keeps them")
        if _value(connection, "SELECT current_setting('archive_mode')") != "off":
            left.append("archived segments and base backups: delete those from before")
        if _value(connection, "SELECT count(*) FROM pg_stat_replication"):
            left.append("replicas: they follow by themselves; look at their logs")
    return Scrubbed(not left, len(TABLES), segments, tuple(left))


def _delete_segments(connection: psycopg.Connection[Any], left: list[str]) -> None:
    """Have old segments deleted instead of renamed to be written over later."""
    if _value(connection, "SHOW wal_recycle") == "off":
        return
    try:
        connection.execute("ALTER SYSTEM SET wal_recycle = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("SELECT pg_sleep(0.2)")
    except psycopg.errors.InsufficientPrivilege:
        left.append("wal_recycle is on: set it off in postgresql.conf")


def _sampled(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute("SELECT tablename, attname FROM pg_stats WHERE schemaname = 'public' AND tablename = ANY(%s)", (list(TABLES),))
    secret = {(table, column) for table, columns in TABLES.items() for column in columns}
    return sorted(f"{table}.{column}" for table, column in rows if (table, column) in secret)


def _old_segments(connection: psycopg.Connection[Any], before: str) -> int:
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM pg_ls_waldir()")]
    except psycopg.errors.InsufficientPrivilege:
        return -1
    return sum(len(name) == len(before) and name[8:] <= before[8:] for name in names)


def _value(connection: psycopg.Connection[Any], query: LiteralString) -> Any:
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]
