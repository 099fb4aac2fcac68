"""The log as it lies in PostgreSQL, read: state, checkpoints, tiles, entries, the frontier. Used by routes, proofs, sequencer, verifier.

Everything here takes a raw psycopg connection; :func:`raw` gives the one under a session, inside its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlmodel import Session

from broker.audit.errors import LogDamaged
from broker.audit.leaf import first_id
from broker.audit.tree import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, edge_widths

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class State:
    """The sequencer's row: ``size`` entries under ``root``, and the last ``(xid, seq)`` it took in."""

    size: int
    root: bytes
    cursor_xid: str
    cursor_seq: int
    fence: int


@dataclass(frozen=True)
class Published:
    """A signed checkpoint as it was published."""

    size: int
    root: bytes
    note: str


def raw(session: Session) -> Connection:
    """The psycopg connection of a session, in the same transaction."""
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("the log is kept in PostgreSQL")
    return connection


def state(connection: Connection) -> State:
    """The sequencer's state."""
    row = connection.execute("SELECT size, root, cursor_xid::text, cursor_seq, fence FROM log_state").fetchone()
    if row is None:
        raise LogDamaged("log_state is empty")
    return State(*row)


def latest(connection: Connection) -> Published | None:
    """The newest published checkpoint; None before the first."""
    row = connection.execute("SELECT size, root, note FROM log_checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    return None if row is None else Published(*row)


def latest_witnessed(connection: Connection) -> Published | None:
    """The newest checkpoint with a cosignature."""
    row = connection.execute("SELECT c.size, c.root, c.note FROM log_checkpoint c WHERE c.size = (SELECT max(size) FROM log_cosignature)").fetchone()
    return None if row is None else Published(*row)


def cosignatures(connection: Connection, size: int) -> str:
    """The lines of the witnesses that cosigned the checkpoint of that size, to be put under it; oldest first."""
    rows = connection.execute("SELECT line FROM log_cosignature WHERE size = %s ORDER BY at, witness", (size,)).fetchall()
    return "".join(row[0] for row in rows)


def is_cosigned(connection: Connection, size: int, witness: str) -> bool:
    """Whether this witness has cosigned the checkpoint of that size."""
    return connection.execute("SELECT FROM log_cosignature WHERE size = %s AND witness = %s", (size, witness)).fetchone() is not None


def newest_cosigned(connection: Connection, witness: str) -> int:
    """Size of the largest checkpoint that this witness has cosigned; 0 before the first."""
    row = connection.execute("SELECT max(size) FROM log_cosignature WHERE witness = %s", (witness,)).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def index_of(connection: Connection, event_id: UUID) -> int | None:
    """Where an event stands in the log; None while it is not sealed, or when there is none."""
    row = connection.execute("SELECT index FROM log_entry WHERE event_id = %s", (event_id,)).fetchone()
    return None if row is None else int(row[0])


def hashes(connection: Connection, level: int, number: int, width: int) -> bytes:
    """``width`` hashes of a tile from its beginning: the stored full tile, or else the rows that it is being made of.

    Raises LogDamaged when they are not all there.
    """
    if width < TILE_WIDTH:
        return gathered(connection, level, number, width)
    row = connection.execute("SELECT hashes FROM log_tile WHERE level = %s AND number = %s", (level, number), binary=True).fetchone()
    return _whole(level, number, width, [] if row is None else [row[0]])


def gathered(connection: Connection, level: int, number: int, width: int) -> bytes:
    """The same hashes from the rows that the tile was made of: leaf hashes, or the roots of the tiles below."""
    first = number * TILE_WIDTH
    if level == 0:
        rows = connection.execute("SELECT hash FROM log_entry WHERE index >= %s AND index < %s ORDER BY index", (first, first + width), binary=True)
    else:
        rows = connection.execute(
            "SELECT root FROM log_tile WHERE level = %s AND number >= %s AND number < %s ORDER BY number",
            (level - 1, first, first + width),
            binary=True,
        )
    return _whole(level, number, width, [row[0] for row in rows.fetchall()])


def _whole(level: int, number: int, width: int, found: Sequence[bytes]) -> bytes:
    data = b"".join(found)
    if len(data) != width * HASH_BYTES:
        raise LogDamaged(f"tile {level}/{number} is not whole")
    return data


def entries(connection: Connection, number: int, width: int) -> list[bytes]:
    """The first ``width`` leaves of an entry bundle. Raises LogDamaged when they are not all there."""
    first = number * TILE_WIDTH
    rows = connection.execute(
        "SELECT e.leaf FROM log_entry l JOIN audit_event e ON e.id = l.event_id WHERE l.index >= %s AND l.index < %s ORDER BY l.index",
        (first, first + width),
    ).fetchall()
    if len(rows) != width:
        raise LogDamaged(f"entry bundle {number} is not whole")
    return [row[0].encode() for row in rows]


def frontier(connection: Connection, size: int) -> Frontier:
    """The right edge of the tree of the first ``size`` entries. Raises LogDamaged when the rows it needs are missing."""
    edge: list[Sequence[bytes]] = []
    for level, width in enumerate(edge_widths(size)):
        number = (size >> (TILE_HEIGHT * level)) // TILE_WIDTH
        data = hashes(connection, level, number, width) if width else b""
        edge.append([data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)])
    return Frontier.restored(size, edge)


def conditions(
    *, patient: UUID | None, recipient: str | None, application: str | None, since: datetime | None, until: datetime | None
) -> dict[str, UUID | str]:
    """What a view of events was asked for, as parameters by name. An id begins with the event's time, so the primary key serves times too."""
    asked = {
        "patient": patient,
        "recipient": recipient,
        "application": application,
        "since": None if since is None else first_id(since),
        "until": None if until is None else first_id(until),
    }
    return {name: value for name, value in asked.items() if value is not None}
