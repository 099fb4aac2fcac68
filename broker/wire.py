"""Several prepared statements in one round trip, with as little as possible between us and libpq: for the path of a release.

Cursors of psycopg cost about as much for one statement as reading a patient's rows. Here statements are written once, prepared once
for each connection, sent together, and answered in order; each sees what is committed when it begins, as with any pipeline. Types
are psycopg's own: results come in binary and are loaded by its loaders; errors are its errors (RFC: PostgreSQL protocol 3, pipelining).
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, pq
from psycopg.adapt import Transformer

Connection = psycopg.AsyncConnection[Any]

_numbers = count(1)
_PLACEHOLDER = re.compile(r"%\(([a-z0-9_]+)\)s|%s|%%")
_MILLENNIUM = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"'})
_TEXT, _BINARY = pq.Format.TEXT, pq.Format.BINARY
_DONE = frozenset((pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY))


class Statement:
    """One statement with parameters ``%(name)s`` or ``%s``, known to a connection by its own name once it was prepared there."""

    __slots__ = ("command", "names", "number")

    def __init__(self, sql: str) -> None:
        self.names: list[Any] = []  #: or places

        def numbered(match: re.Match[str]) -> str:
            if match[0] == "%%":
                return "%"
            name = match[1] or len(self.names)
            if name not in self.names:
                self.names.append(name)
            return f"${self.names.index(name) + 1}"

        self.command = _PLACEHOLDER.sub(numbered, sql).encode()
        self.number = next(_numbers)


Call = tuple[Statement, Mapping[str, Any] | Sequence[Any]]

BEGIN, COMMIT = Statement("BEGIN"), Statement("COMMIT")


class _Known:
    """What is known of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.prepared: dict[Statement, bytes] = {}  #: with the name that it has there
        self.transformer = Transformer(connection)
        self._beginnings = 0

    def name(self, statement: Statement) -> bytes:
        """A name for a statement that is to be prepared."""
        return b"broker_%d_%d" % (self._beginnings, statement.number)

    def forget(self) -> None:
        """Begin anew, with other names."""
        self.prepared.clear()
        self._beginnings += 1


_connections: WeakKeyDictionary[Connection, _Known] = WeakKeyDictionary()


async def run(connection: Connection, *calls: Call) -> list[list[tuple[Any, ...]]]:
    """The rows of each statement, in order. Raises psycopg's errors; those after the first that failed were not done.

    The connection must be nobody else's meanwhile. One that is left in the middle (the caller was cancelled) is closed, and with it
    whatever it had begun is undone.
    """
    known = _connections.get(connection)
    if known is None:
        # psycopg forgets what it prepared when a transaction is undone, by DEALLOCATE ALL, which would take what is prepared here along.
        connection.prepare_threshold = None
        known = _connections[connection] = _Known(connection)
    pgconn = connection.pgconn
    if connection.closed:
        raise errors.OperationalError("the connection is closed")
    pgconn.enter_pipeline_mode()
    whole = False
    try:
        sent: list[Statement | None] = []  # None: not to be prepared, but done
        for statement, values in calls:
            name = known.prepared.get(statement)
            if name is None:
                name = known.name(statement)
                if statement not in sent:
                    pgconn.send_prepare(name, statement.command)
                    sent.append(statement)
            written = [_written(values[each]) for each in statement.names]
            pgconn.send_query_prepared(name, [each[0] for each in written], [each[1] for each in written], _BINARY)
            sent.append(None)
        pgconn.pipeline_sync()
        answers = await _answers(pgconn, len(sent))
        whole = True
    finally:
        if whole:
            pgconn.exit_pipeline_mode()
        else:
            with suppress(psycopg.Error):
                connection.cancel()  # What is being done there would hold its locks until it ends.
            await connection.close()
    return _loaded(connection, known, sent, answers)


def _loaded(
    connection: Connection, known: _Known, sent: Sequence[Statement | None], answers: Sequence[pq.abc.PGresult]
) -> list[list[tuple[Any, ...]]]:
    found: list[list[tuple[Any, ...]]] = []
    for statement, answer in zip(sent, answers, strict=True):
        if answer.status not in _DONE:
            error = errors.error_from_result(answer, connection.info.encoding)
            if isinstance(error, errors.InvalidSqlStatementName):  # Somebody made the connection forget; next time is a new beginning.
                known.forget()
            raise error
        if statement is not None:
            known.prepared[statement] = known.name(statement)
        elif answer.ntuples:
            known.transformer.set_pgresult(answer)
            found.append(known.transformer.load_rows(0, answer.ntuples, tuple))
        else:
            found.append([])
    return found


async def _answers(pgconn: pq.abc.PGconn, expected: int) -> list[pq.abc.PGresult]:
    """The results up to the sync, one for each command; what follows a failure comes as PIPELINE_ABORTED."""
    answers: list[pq.abc.PGresult] = []
    loop, socket = asyncio.get_running_loop(), pgconn.socket
    while pgconn.flush():
        await _ready(loop, socket, writing=True)
        pgconn.consume_input()
    while True:
        while pgconn.is_busy():
            await _ready(loop, socket, writing=False)
            pgconn.consume_input()
        answer = pgconn.get_result()
        if answer is None:  # The end of one command's results.
            continue
        if answer.status == pq.ExecStatus.PIPELINE_SYNC:
            break
        answers.append(answer)
        if len(answers) > expected:
            raise errors.InternalError("more results than commands")
    return answers


async def _ready(loop: asyncio.AbstractEventLoop, socket: int, *, writing: bool) -> None:
    waiting: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiting.done():
            waiting.set_result(None)

    loop.add_reader(socket, wake)
    if writing:
        loop.add_writer(socket, wake)
    try:
        await waiting
    finally:
        loop.remove_reader(socket)
        if writing:
            loop.remove_writer(socket)


def _written(value: Any) -> tuple[bytes | None, pq.Format]:
    """A parameter; its type is what PostgreSQL infers from where it stands."""
    if value is None:
        return None, _TEXT
    if type(value) is UUID:
        return value.bytes, _BINARY
    if isinstance(value, bytes):
        return value, _BINARY
    if isinstance(value, str):
        return value.encode(), _TEXT
    if isinstance(value, bool):
        return b"t" if value else b"f", _TEXT
    if isinstance(value, int):
        return b"%d" % value, _TEXT
    if isinstance(value, datetime):
        return ((value - _MILLENNIUM) // _MICROSECOND).to_bytes(8, "big", signed=True), _BINARY
    if isinstance(value, (list, tuple)):
        if value and set(map(type, value)) == {UUID}:
            return _uuids(value), _BINARY
        return b"{" + b",".join(map(_element, value)) + b"}", _TEXT
    raise TypeError(type(value).__name__)


#: Of an array in binary: one dimension, nothing null, elements of type uuid (PostgreSQL's ``array_recv``); its length and first index follow.
_UUID_ARRAY = struct.Struct(">iiIii")
_UUID_TYPE = 2950


def _uuids(value: Sequence[UUID]) -> bytes:
    return _UUID_ARRAY.pack(1, 0, _UUID_TYPE, len(value), 1) + b"".join([b"\0\0\0\x10" + each.bytes for each in value])


def _element(value: Any) -> bytes:
    if value is None:
        return b"NULL"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, UUID):
        return b"%032x" % value.int
    if isinstance(value, bytes):
        return b'"\\\\x' + value.hex().encode() + b'"'
    if isinstance(value, datetime):
        return b'"' + value.isoformat().encode() + b'"'
    return b'"' + str(value).translate(_QUOTED).encode() + b'"'
