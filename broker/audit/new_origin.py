"""After a loss that no copy makes good: go on under a new name, with an entry that says what is missing.

A log may never sign two trees under one name. Where a published checkpoint is larger than what is left, and no copy of the rest exists,
the old name ends with that checkpoint. The new log begins with every entry that survived, so that old checkpoints up to there are
continued by it, and goes on with ``log.gap``: key, size and root of the last checkpoint of the old log, and how many entries are lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlmodel import Session

from broker import clock
from broker.audit import store
from broker.audit.errors import LogDamaged
from broker.audit.events import Event
from broker.audit.note import Checkpoint, NoteInvalid, Verifier, to_base64

GAP = "log.gap"


@dataclass(frozen=True)
class Opened:
    """The new name, how many entries survived, how many are lost, and the event that says so."""

    origin: str
    survived: int
    lost: int
    event: UUID


def open_new_origin(session: Session, lost: str, former: Verifier, signing: Verifier, record: Callable[[Session, Event], UUID]) -> Opened:
    """Enter the new name and the gap, as the owner of the tables, in the caller's transaction. ``lost``: the last checkpoint that left the house.

    Raises LogDamaged when there is nothing lost (then the log goes on as it is, or ``recover`` helps), when the checkpoint is not one of the old log,
    or when the new name is the old one.
    """
    try:
        last = Checkpoint.opened(lost, former)
    except NoteInvalid as error:
        raise LogDamaged(f"the last published checkpoint is not one of {former.name}: {error}") from error
    if signing.name == former.name:
        raise LogDamaged("the new log needs another name than the old one: set BROKER_LOG_ORIGIN")
    connection = store.raw(session)
    connection.execute("SELECT FROM log_state FOR UPDATE")
    state = store.state(connection)
    if store.frontier(connection, state.size).root() != state.root:
        raise LogDamaged(f"the stored hashes of {state.size} entries do not give the stored root")
    if last.size <= state.size and store.frontier(connection, last.size).root() == last.root:
        raise LogDamaged(f"the database holds all {last.size} entries of that checkpoint: nothing is lost, and the log goes on under its name")
    connection.execute(
        "INSERT INTO log_key (vkey, first_size, first_at) VALUES (%s, 0, %s) ON CONFLICT DO NOTHING",
        (former.vkey, clock.now()),
    )
    new = connection.execute(
        "INSERT INTO log_key (vkey, first_size, first_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (signing.vkey, state.size, clock.now())
    )
    if new.rowcount != 1:
        raise LogDamaged(f"{signing.name} is a name that this log has had already")
    # What a sequencer that is still at work under the old name has in hand no longer counts.
    connection.execute("UPDATE log_state SET fence = fence + 1")
    lost_entries = max(0, last.size - state.size)
    event = record(
        session,
        Event(
            GAP,
            "system",
            facts={
                "former": former.vkey,
                "size": last.size,
                "root": to_base64(last.root),
                "survived": state.size,
                "survived_root": to_base64(state.root),
                "lost": lost_entries,
            },
        ),
    )
    return Opened(signing.name, state.size, lost_entries, event)


def set_aside(seen: Path) -> Path | None:
    """Put what this machine remembers of the old log beside, so that it stops the new one no longer; where it went, None when there was nothing."""
    if not seen.exists():
        return None
    text = seen.read_text(encoding="utf-8")
    kept = seen.with_name(f"checkpoint.{text.partition(chr(10))[0].replace('/', '_')}")
    return seen.rename(kept)
