"""Which keys signed the log, from which size to which: for auditors, and so that what an older key signed stays verifiable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from broker import clock
from broker.audit.note import NoteInvalid, Verifier
from broker.audit.store import Connection


@dataclass(frozen=True)
class Signed:
    """A key and the checkpoints that carry its signature: from ``first_size`` on, up to ``last_size`` where it signs no more."""

    vkey: str
    first_size: int
    first_at: datetime
    last_size: int | None
    last_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """For whoever keeps the log's keys."""
        return asdict(self)


def signed_by(connection: Connection) -> list[Signed]:
    """Every key that ever signed, oldest first."""
    rows = connection.execute("SELECT vkey, first_size, first_at, last_size, last_at FROM log_key ORDER BY first_at, vkey").fetchall()
    return [Signed(*row) for row in rows]


def former(connection: Connection) -> tuple[Verifier, ...]:
    """The same as verifiers; a row that is no key is passed over, and what it signed is then not believed."""
    found = []
    for one in signed_by(connection):
        try:
            found.append(Verifier.parse(one.vkey))
        except NoteInvalid:
            continue
    return tuple(found)


def note_signers(connection: Connection, size: int, signing: Sequence[Verifier]) -> None:
    """Remember who signs from this size on, and that the others have stopped. A sequencer's first act once it is sure of its log."""
    vkeys = [one.vkey for one in signing]
    for vkey in vkeys:
        connection.execute(
            "INSERT INTO log_key (vkey, first_size, first_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (vkey, size, clock.now()),
        )
    connection.execute("UPDATE log_key SET last_size = %s, last_at = %s WHERE last_at IS NULL AND vkey <> ALL(%s)", (size, clock.now(), vkeys))


def continued(connection: Connection, signing: Sequence[Verifier]) -> tuple[Verifier, ...]:
    """The keys of the log that this one continues under another name; none unless the owner of the tables opened that name.

    A new name is entered before it signs anything (``audit.new_origin``); a key that merely stands in the settings continues nobody.
    """
    known = signed_by(connection)
    if not {one.vkey for one in known} & {one.vkey for one in signing}:
        return ()
    names = {one.name for one in signing}
    return tuple(one for one in former(connection) if one.name not in names)


def openings(connection: Connection) -> list[int]:
    """From which sizes on the log goes by a new name, smallest first: what had been there behind each of them is lost (``audit.new_origin``)."""
    known = [(one.vkey.partition("+")[0], one.first_size) for one in signed_by(connection)]
    first = known[0][0] if known else ""
    names = {name for name, _ in known if name != first}
    return sorted(min(size for other, size in known if other == name) for name in names)
