"""One process gives the recorded events their order, cuts tiles, signs and publishes; the others wait.

Order of work, and why it cannot fork the log (docs/decisions/0003):

1. A session advisory lock: one sequencer at a time. A second one stands by.
2. A fencing token, raised at start and demanded by every write: one that lost its lock unnoticed adds nothing.
3. Before anything is signed: the stored tree must continue the newest stored checkpoint, and the newest checkpoint that
   this machine has seen published (a database restored from a backup does not).
4. Events in the order ``(xid, seq)`` below the snapshot's xmin, so that no row that commits later is passed over
   (a cursor on ``seq`` alone loses some). Entries, tiles and the new size commit together.
5. Only then the checkpoint is signed and published.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg

from broker import clock
from broker.audit import log_keys, store
from broker.audit.errors import LogDamaged
from broker.audit.note import Checkpoint, NoteInvalid, Verifier, decode
from broker.audit.store import Connection
from broker.audit.thinning import thin
from broker.audit.tiles import split_tile
from broker.audit.tree import HASH_BYTES
from broker.crypto import Keys
from broker.database import Database
from broker.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds between two looks at the outbox; well below the promise of one second.
INTERVAL = 0.2
#: Seconds between two attempts of a sequencer that stands by or is in trouble.
STANDBY = 1.0
#: Events that one transaction seals.
BATCH = 8192
#: Seconds between two looks at old checkpoints.
THINNING = 60.0
#: Seconds that ``seal_once`` waits for events that are committed and held back by an older transaction.
PATIENCE = 1.0

LOCK = int.from_bytes(sha256(b"broker/log/sequencer").digest()[:8], "big", signed=True)

_STANDING = """
SELECT s.size, s.root, c.size, s.waiting, s.held_back
FROM (
  SELECT s.*,
    EXISTS (SELECT FROM audit_event e
            WHERE (e.xid, e.seq) > (s.cursor_xid, s.cursor_seq) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())) AS waiting,
    EXISTS (SELECT FROM audit_event e
            WHERE e.xid >= pg_snapshot_xmin(pg_current_snapshot()) AND e.xid < pg_snapshot_xmax(pg_current_snapshot())) AS held_back
  FROM log_state s WHERE s.fence = %s
) s
LEFT JOIN LATERAL (SELECT size FROM log_checkpoint ORDER BY size DESC LIMIT 1) c ON true
"""

_NEXT = "(e.xid, e.seq) > (%(xid)s::xid8, %(seq)s) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())"

#: Rows with transaction ids that this server has not given out yet: they came with a restore, and are all committed.
_RESTORED = "e.xid >= pg_snapshot_xmax(pg_current_snapshot()) AND NOT EXISTS (SELECT FROM log_entry l WHERE l.event_id = e.id)"

#: What is sealed already, and stands behind the cursor all the same: only after a restore (``_adopt_restored``). Looked up by key for
#: each row: a join could decide to read the whole log.
_FRESH = "(SELECT l.index FROM log_entry l WHERE l.event_id = w.id) IS NULL"

#: Entries for the next rows, made and hashed where they lie: a leaf that came here to be hashed would cost five times as much, and the
#: processor is the writers'. A leaf hash is SHA-256(0x00 || leaf). Answers with what the tree needs: the hashes in order.
_PLACE = """
WITH waiting AS MATERIALIZED (
  SELECT e.id, e.leaf, e.xid, e.seq FROM audit_event e WHERE {which} ORDER BY e.xid, e.seq LIMIT %(limit)s
), placed AS (
  INSERT INTO log_entry (index, event_id, hash)
  SELECT %(size)s + row_number() OVER (ORDER BY w.xid, w.seq) - 1, w.id, sha256('\\x00'::bytea || convert_to(w.leaf, 'UTF8'))
  FROM waiting w WHERE {fresh}
  RETURNING index, hash
)
SELECT (SELECT string_agg(hash, ''::bytea ORDER BY index) FROM placed), count(*), last.xid::text, last.seq
FROM waiting, (SELECT xid, seq FROM waiting ORDER BY xid DESC, seq DESC LIMIT 1) last GROUP BY last.xid, last.seq
"""


class Overtaken(Exception):
    """Another sequencer has started since; this one may add nothing."""


class Sequencer:
    """Seals the log of one database. ``trouble`` says why it stands still; None while all is well."""

    def __init__(self, log_database: Database, settings: Settings, keys: Keys, outside: Callable[[int], None] | None = None) -> None:
        """``outside``: raises LogDamaged when somebody outside, such as a witness, knows of a tree larger than this size."""
        self._outside = outside
        self._conninfo = log_database.conninfo
        self._signers = keys.log_signers
        self._verifiers = tuple(Verifier.of(settings.log_origin, key) for key in self._signers)
        self._origin = settings.log_origin
        self._seen = SeenCheckpoint(settings.var / "log" / "checkpoint", self._verifiers)
        self.trouble: str | None = None

    def run(self, stop: threading.Event) -> None:
        """Seal until ``stop`` is set. Trouble is logged and tried again; nothing is ever signed around it."""
        while not stop.is_set():
            try:
                with self._connected() as connection:
                    self._serve(connection, stop)
            except Exception as error:  # A thread that died quietly would leave the log unsealed.
                self.trouble = f"{type(error).__name__}: {error}"
                known = isinstance(error, psycopg.Error | LogDamaged | Overtaken)
                logger.critical("the log is not being sealed: %s", self.trouble, exc_info=not known)
                stop.wait(STANDBY)

    def seal_once(self) -> int:
        """Seal what is committed now, publish, and return how many events that were; 0 while another sequencer is at work.

        Raises LogDamaged when the stored log does not continue what was published.
        """
        with self._connected() as connection:
            if not _locked(connection):
                return 0
            fence = self._take_over(connection)
            total = 0
            deadline = time.monotonic() + PATIENCE
            while True:
                sealed, more, held_back = self._step(connection, fence)
                total += sealed
                if not more:
                    if not held_back or time.monotonic() > deadline:
                        return total
                    time.sleep(0.01)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            # A tile must be on disk before its root is signed, whatever the server's default is.
            connection.execute("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
            connection.execute("SET lock_timeout = '5s'")
            yield connection

    def _serve(self, connection: Connection, stop: threading.Event) -> None:
        while not _locked(connection):
            self.trouble = None  # Another one is at work, which is as it should be.
            if stop.wait(STANDBY):
                return
        fence = self._take_over(connection)
        thinned, due = 0, time.monotonic() + THINNING
        while not stop.is_set():
            _, more, _ = self._step(connection, fence)
            self.trouble = None
            if not more and time.monotonic() > due:
                thinned, due = thin(connection, thinned).onwards, time.monotonic() + THINNING
            if not more:
                stop.wait(INTERVAL)

    def _take_over(self, connection: Connection) -> int:
        """Raise the fence, then refuse to go on from a log that is not the one that was published."""
        row = connection.execute("UPDATE log_state SET fence = fence + 1 RETURNING fence").fetchone()
        if row is None:
            raise LogDamaged("log_state is empty")
        fence = int(row[0])
        self._check_continues(connection)
        self._adopt_restored(connection, fence)
        log_keys.note_signers(connection, store.state(connection).size, self._verifiers)
        return fence

    def _check_continues(self, connection: Connection) -> None:
        """Raise LogDamaged unless the stored tree holds every checkpoint that is known here as its beginning."""
        state = store.state(connection)
        if store.frontier(connection, state.size).root() != state.root:
            raise LogDamaged(f"the stored hashes of {state.size} entries do not give the stored root")
        published = store.latest(connection)
        known = [] if published is None else [("the newest stored checkpoint", self._opened(connection, published))]
        seen = self._seen.read()
        if seen is not None:
            known.append((f"the checkpoint in {self._seen.path}", seen))
        if self._outside is not None and (not known or known[0][1].origin == self._origin):
            self._outside(state.size)
        for name, checkpoint in known:
            if checkpoint.size > state.size:
                raise LogDamaged(f"the log holds {state.size} entries, {name} says {checkpoint.size}: it was cut or restored from a backup")
            if store.frontier(connection, checkpoint.size).root() != checkpoint.root:
                raise LogDamaged(f"the log is not the one of {name}: its first {checkpoint.size} entries have another root")

    def _opened(self, connection: Connection, published: store.Published) -> Checkpoint:
        """A stored checkpoint of this log, or of the one that it continues under a new name (``audit.new_origin``)."""
        try:
            checkpoint = Checkpoint.opened(published.note, *self._verifiers, *log_keys.continued(connection, self._verifiers))
        except NoteInvalid as error:
            raise LogDamaged(f"the newest stored checkpoint is not of this log and key: {error}") from error
        if (checkpoint.size, checkpoint.root) != (published.size, published.root):
            raise LogDamaged("the newest stored checkpoint and its columns differ")
        return checkpoint

    def _adopt_restored(self, connection: Connection, fence: int) -> None:
        """After a restore into a server whose transaction ids are younger: seal what was left, and start the cursor anew."""
        while True:
            with connection.transaction():
                state = _held(connection, fence)
                placed = _place(connection, state, _RESTORED, "true")
                if placed is not None:
                    _append(connection, state, fence, placed.hashes, (state.cursor_xid, state.cursor_seq))
            if placed is None:
                break
        connection.execute(
            "UPDATE log_state SET cursor_xid = '0', cursor_seq = 0 WHERE fence = %s AND cursor_xid >= pg_snapshot_xmax(pg_current_snapshot())",
            (fence,),
        )

    def _step(self, connection: Connection, fence: int) -> tuple[int, bool, bool]:
        """One batch: how many events it sealed, whether more wait, and whether some are held back by an older transaction."""
        standing = connection.execute(_STANDING, (fence,)).fetchone()
        if standing is None:
            raise Overtaken("another sequencer has started")
        size, root, published, waiting, held_back = standing
        sealed = scanned = 0
        if waiting:
            try:
                placed, size, root = _seal(connection, fence, "true")
            except psycopg.errors.UniqueViolation:
                placed, size, root = _seal(connection, fence, _FRESH)
            if placed is not None:
                sealed, scanned = len(placed.hashes) // HASH_BYTES, placed.scanned
        if published != size:
            self._publish(connection, fence, Checkpoint(self._origin, size, root))
        return sealed, scanned == BATCH, held_back

    def _publish(self, connection: Connection, fence: int, checkpoint: Checkpoint) -> None:
        """Sign a tree that is durable, and let everybody see it."""
        note = checkpoint.signed(*self._signers)
        done = connection.execute(
            "INSERT INTO log_checkpoint (size, root, note, at) SELECT size, root, %s, %s FROM log_state WHERE fence = %s AND size = %s AND root = %s",
            (note, clock.now(), fence, checkpoint.size, checkpoint.root),
        )
        if done.rowcount != 1:
            raise Overtaken("another sequencer has started")
        self._seen.write(note)


def _locked(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
    return bool(row and row[0])


def _held(connection: Connection, fence: int) -> store.State:
    """The state, locked until this transaction ends. Raises Overtaken when the fence has moved on."""
    row = connection.execute("SELECT size, root, cursor_xid::text, cursor_seq, fence FROM log_state WHERE fence = %s FOR UPDATE", (fence,)).fetchone()
    if row is None:
        raise Overtaken("another sequencer has started")
    return store.State(*row)


@dataclass(frozen=True)
class _Placed:
    """The leaf hashes of new entries, how many rows were looked at, and the last of those."""

    hashes: bytes
    scanned: int
    cursor: tuple[str, int]


def _place(connection: Connection, state: store.State, which: str, fresh: str) -> _Placed | None:
    """Make entries of the next rows in the caller's transaction; None where there is none."""
    row = connection.execute(
        _PLACE.format(which=which, fresh=fresh),
        {"xid": state.cursor_xid, "seq": state.cursor_seq, "size": state.size, "limit": BATCH},
        binary=True,
    ).fetchone()
    return None if row is None else _Placed(row[0] or b"", row[1], (row[2], row[3]))


def _seal(connection: Connection, fence: int, fresh: str) -> tuple[_Placed | None, int, bytes]:
    """One batch in one transaction: entries, tiles, cursor. Returns size and root as they then are."""
    with connection.transaction():
        state = _held(connection, fence)
        placed = _place(connection, state, _NEXT, fresh)
        if placed is None:
            return None, state.size, state.root
        return placed, *_append(connection, state, fence, placed.hashes, placed.cursor)


def _append(connection: Connection, state: store.State, fence: int, hashes: bytes, cursor: tuple[str, int]) -> tuple[int, bytes]:
    """Add the tiles that new entries fill, and move size and cursor, in the caller's transaction."""
    frontier = store.frontier(connection, state.size)
    if frontier.root() != state.root:
        raise LogDamaged(f"the stored hashes of {state.size} entries do not give the stored root")
    frontier.extend(split_tile(hashes))
    if frontier.completed:
        connection.cursor().executemany(
            "INSERT INTO log_tile (level, number, hashes, root) VALUES (%s, %s, %s, %s)",
            [(tile.level, tile.number, tile.hashes, tile.root) for tile in frontier.completed],
        )
    root = frontier.root()
    connection.execute(
        "UPDATE log_state SET size = %s, root = %s, cursor_xid = %s::xid8, cursor_seq = %s WHERE fence = %s",
        (frontier.size, root, *cursor, fence),
    )
    return frontier.size, root


class SeenCheckpoint:
    """The newest checkpoint this machine has published, kept outside the database.

    It is a witness and never the truth: all it can do is stop a log that was restored from an older backup, or rewritten
    together with its checkpoints, from being continued under the same name.
    """

    def __init__(self, path: Path, verifiers: Sequence[Verifier]) -> None:
        self.path = path
        self._verifiers = verifiers

    def read(self) -> Checkpoint | None:
        """The checkpoint, or None before the first. Raises LogDamaged when the file is not one of this log."""
        try:
            note = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LogDamaged(f"{self.path} can't be read: {error.strerror}") from error
        try:
            return Checkpoint.opened(decode(note), *self._verifiers)
        except NoteInvalid as error:
            raise LogDamaged(f"{self.path} is not a checkpoint of this log and key: {error}") from error

    def write(self, note: str) -> None:
        """Replace it in one step. A machine that can't keep it says so and goes on: the database holds the checkpoint."""
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(note.encode())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError as error:
            logger.warning("the published checkpoint could not be kept in %s: %s", self.path, error.strerror)
