"""After a restore: put back into the database what was published since the backup, from an exported copy of the log.

The copy is believed only as far as its signature and its tiles go, and the database's own tree must be its beginning. Entries, tiles and
the signed checkpoint are put back byte for byte, so the log goes on under its name and nobody outside sees a fork.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from broker import clock
from broker.audit import store
from broker.audit.errors import LogDamaged
from broker.audit.leaf import OPTIONAL_TEXT, read_leaf
from broker.audit.note import Checkpoint, Verifier, split_note
from broker.audit.store import Connection
from broker.audit.tree import Frontier, leaf_hash
from broker.audit.verify import Source, verify

_COLUMNS = ("id", "at", "type", "actor", "application", "grant_id", "recipient", "purpose", "patient_key", "subject", "release_id", "outcome", "leaf")
_INSERT = f"INSERT INTO audit_event ({', '.join(_COLUMNS)}) VALUES ({', '.join(f'%({name})s' for name in _COLUMNS)})"


@dataclass(frozen=True)
class Recovered:
    """How many entries the database held, how many were put back, and how many of those are of patients whom it does not know."""

    before: int
    entries: int
    strangers: int


def recover(connection: Connection, copy: Source, verifier: Verifier) -> Recovered:
    """Put back what the copy has and the database lacks, in the caller's transaction, as the owner of the tables.

    Raises LogDamaged when the copy does not verify, is older, or is not a continuation of what the database holds.
    """
    report = verify(copy, verifier)
    if not report.ok:
        raise LogDamaged(f"the copy does not verify: {report.finding.sentence('en') if report.finding else ''}")
    note = copy.checkpoint()
    checkpoint = Checkpoint.opened(note, verifier)
    connection.execute("SELECT FROM log_state FOR UPDATE")
    state = store.state(connection)
    if checkpoint.size <= state.size:
        raise LogDamaged(f"the copy holds {checkpoint.size} entries and the database {state.size}: there is nothing to put back from it")
    frontier, missing = Frontier(), []
    for bundle in copy.bundles(checkpoint.size):
        for entry in bundle:
            if frontier.size == state.size and frontier.root() != state.root:
                raise LogDamaged(f"the database's first {state.size} entries are not those of the copy: one of the two is another log")
            if frontier.size >= state.size:
                missing.append(entry)
            frontier.append(leaf_hash(entry))
    strangers = _put_back(connection, state.size, missing)
    for tile in frontier.completed:
        connection.execute("INSERT INTO log_tile VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", (tile.level, tile.number, tile.hashes, tile.root))
    connection.execute("UPDATE log_state SET size = %s, root = %s, fence = fence + 1", (frontier.size, frontier.root()))
    # The log's own line alone: cosignatures are asked for anew.
    text, lines = split_note(note)
    own = note.splitlines(keepends=True)[-len(lines) :]
    kept = f"{text}\n" + "".join(line for line in own if line.startswith(f"— {verifier.name} "))
    connection.execute(
        "INSERT INTO log_checkpoint VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", (checkpoint.size, checkpoint.root, kept, clock.now())
    )
    return Recovered(state.size, len(missing), strangers)


def _put_back(connection: Connection, first: int, entries: Sequence[bytes]) -> int:
    known: dict[str, UUID] = dict(
        connection.execute("SELECT DISTINCT subject, patient_key FROM audit_event WHERE subject IS NOT NULL AND patient_key IS NOT NULL").fetchall()
    )
    strangers: set[str] = set()
    for index, entry in enumerate(entries, first):
        row = _row(entry.decode())
        subject = row["subject"]
        if subject is not None:
            if subject not in known:
                # A patient who came after the backup: their key is gone with it. One stand-in for each keeps their events together.
                known[subject] = UUID(bytes=sha256(f"stand-in/{subject}".encode()).digest()[:16])
                strangers.add(subject)
            row["patient_key"] = known[subject]
        # What was committed before the backup and sealed after it is here already.
        if connection.execute("SELECT 1 FROM audit_event WHERE id = %s AND leaf = %s", (row["id"], row["leaf"])).fetchone() is None:
            connection.execute(_INSERT, row)
        connection.execute("INSERT INTO log_entry (index, event_id, hash) VALUES (%s, %s, %s)", (index, row["id"], leaf_hash(entry)))
    return len(strangers)


def _row(leaf: str) -> dict[str, Any]:
    """The columns of an event as its leaf says them; the patient stands in no leaf."""
    said: Mapping[str, Any] = read_leaf(leaf)
    columns = {"grant": "grant_id"}
    row: dict[str, Any] = {columns.get(name, name): said.get(member) for member, name in OPTIONAL_TEXT.items()}
    return row | {
        "id": UUID(said["seq"]),
        "at": datetime.fromisoformat(said["t"]),
        "type": said["type"],
        "actor": said["actor"],
        "patient_key": None,
        "release_id": UUID(said["release"]) if "release" in said else None,
        "leaf": leaf,
    }
