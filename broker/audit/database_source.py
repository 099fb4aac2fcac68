"""The log as it lies in the broker's database, for the verifier. Sees one moment of it: a repeatable-read transaction.

More can go wrong here than in files, so more is compared: the columns that queries use must say what the leaf says, each
stored checkpoint must fit the entries before it, and nothing may stand beside the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg

from broker.audit import log_keys, store
from broker.audit.errors import LogDamaged
from broker.audit.findings import Broken
from broker.audit.note import Checkpoint, Verifier
from broker.audit.store import Connection
from broker.audit.tiles import Address
from broker.audit.tree import TILE_WIDTH
from broker.audit.verify import expected_tiles
from broker.database import Database

#: Rows a server-side cursor fetches at a time.
FETCH = 2048

_ENTRIES = """
SELECT l.index, l.hash, e.leaf, e.id::text, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), e.type, e.actor,
       e.application, e.grant_id, e.recipient, e.purpose, e.subject, e.outcome, e.release_id::text
FROM log_entry l LEFT JOIN audit_event e ON e.id = l.event_id
WHERE l.index < %s
ORDER BY l.index
"""


class _Said(msgspec.Struct):
    """What a leaf says, member by member in the order of the columns above. Facts stand in the leaf alone."""

    seq: str
    t: str
    type: str
    actor: str
    app: str | None = None
    grant: str | None = None
    recipient: str | None = None
    purpose: str | None = None
    subject: str | None = None
    outcome: str | None = None
    release: str | None = None


_read = msgspec.json.Decoder(_Said).decode

_UNLOGGED = """
SELECT e.id::text FROM audit_event e, log_state s
WHERE (e.xid, e.seq) <= (s.cursor_xid, s.cursor_seq) AND NOT EXISTS (SELECT FROM log_entry l WHERE l.event_id = e.id)
ORDER BY e.xid, e.seq LIMIT 1
"""

_MOVED = """
SELECT min(id::text) FROM audit_event WHERE subject IS NOT NULL
GROUP BY subject HAVING count(DISTINCT patient_key) <> 1 OR count(patient_key) <> count(*)
ORDER BY 1 LIMIT 1
"""


@contextmanager
def open_source(database: Database) -> Iterator[DatabaseSource]:
    """One moment of the log in this database. Any role that may read the log will do."""
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield DatabaseSource(connection)


class DatabaseSource:
    """See ``verify.Source``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hashes = b""

    def checkpoint(self) -> str:
        """The newest stored checkpoint."""
        published = store.latest(self._connection)
        if published is None:
            raise Broken("checkpoint-missing", "checkpoint")
        return published.note + store.cosignatures(self._connection, published.size)

    def witnessed(self) -> str | None:
        """The newest cosigned checkpoint."""
        published = store.latest_witnessed(self._connection)
        return None if published is None else published.note + store.cosignatures(self._connection, published.size)

    def former(self) -> tuple[Verifier, ...]:
        """The keys that signed this log before. They are the database's own word: enough to read its older checkpoints, not to believe the newest."""
        return log_keys.former(self._connection)

    def bundles(self, size: int) -> Iterator[Sequence[bytes]]:
        """The entries in order, each compared with its columns."""
        held: list[bytes] = []
        hashes: list[bytes] = []
        expected = 0
        with self._connection.cursor(name="log_entries") as cursor:
            cursor.itersize = FETCH
            for index, item, leaf, *columns in cursor.execute(_ENTRIES, (size,), binary=True):
                if index != expected:
                    raise Broken("entry-missing", f"entry {expected}")
                if leaf is None:
                    raise Broken("entry-missing", f"entry {expected}", "audit_event")
                _compare_columns(index, leaf, columns)
                held.append(leaf.encode())
                hashes.append(item)
                expected += 1
                if len(held) == TILE_WIDTH:
                    self._hashes = b"".join(hashes)
                    yield held
                    held, hashes = [], []
        if held:
            yield held

    def tile(self, level: int, number: int, width: int) -> bytes:
        """The stored hashes: a full tile's own row, or what the next partial one is made of. Where both are, they agree."""
        address = Address(level, number, width)
        try:
            stored = store.hashes(self._connection, level, number, width)
            if width == TILE_WIDTH:
                # The leaf hashes of the bundle at hand came with it.
                below = self._hashes if level == 0 else store.gathered(self._connection, level, number, width)
                if stored != below:
                    raise Broken("tile-changed", address.path, "log_entry" if level == 0 else f"log_tile {level - 1}")
        except LogDamaged as error:
            raise Broken("tile-missing", address.path) from error
        return stored

    def history(self) -> Iterator[tuple[int, str]]:
        """Every stored checkpoint."""
        with self._connection.cursor(name="log_checkpoints") as cursor:
            cursor.itersize = FETCH
            yield from cursor.execute("SELECT size, note FROM log_checkpoint ORDER BY size")

    def finish(self, checkpoint: Checkpoint) -> dict[str, int]:
        """State, counts, and what stands beside the log."""
        state = self._state(checkpoint)
        beyond = self._value("SELECT min(index) FROM log_entry WHERE index >= %s OR index < 0", (state.size,))
        if beyond is not None:
            raise Broken("entry-extra", f"entry {beyond}")
        if self._value("SELECT count(*) FROM log_tile") != expected_tiles(state.size):
            raise Broken("tile-extra", "log_tile")
        for tile in self._rows("SELECT level, number FROM log_tile WHERE octet_length(hashes) <> 8192 OR octet_length(root) <> 32 LIMIT 1"):
            raise Broken("tile-changed", Address(*tile).path)
        for (event,) in self._rows(_UNLOGGED):
            raise Broken("event-unlogged", f"event {event}")
        for (event,) in self._rows(_MOVED):
            raise Broken("patient-moved", f"event {event}")
        waiting = self._value("SELECT count(*) FROM audit_event e, log_state s WHERE (e.xid, e.seq) > (s.cursor_xid, s.cursor_seq)")
        return {"unsigned": state.size - checkpoint.size, "unsealed": waiting}

    def _state(self, checkpoint: Checkpoint) -> store.State:
        """The sequencer's state, which may be ahead of the checkpoint by what is not signed yet."""
        try:
            state = store.state(self._connection)
            if state.size >= checkpoint.size and store.frontier(self._connection, state.size).root() == state.root:
                return state
        except LogDamaged as error:
            raise Broken("state-differs", "log_state", error.detail) from error
        raise Broken("state-differs", "log_state")

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, parameters).fetchall()

    def _value(self, query: str, parameters: tuple[Any, ...] = ()) -> Any:
        return self._rows(query, parameters)[0][0]


def _compare_columns(index: int, leaf: str, columns: list[str | None]) -> None:
    """Raise Broken unless the columns say what the leaf says. A leaf of another form is not one that we wrote."""
    try:
        said = _read(leaf)
    except msgspec.MsgspecError as error:
        raise Broken("entry-changed", f"entry {index}", "audit_event.leaf") from error
    said.t = f"{said.t[:-1]}000"
    if msgspec.structs.astuple(said) != tuple(columns):
        raise Broken("columns-differ", f"entry {index}")
