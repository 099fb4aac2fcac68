"""Events, and small logs in the C2SP layout that are made without the sequencer or the database."""

from pathlib import Path
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.events import Event
from broker.audit.note import Checkpoint, Verifier
from broker.audit.tiles import Address, bundle
from broker.audit.tree import Frontier, leaf_hash

ORIGIN = "broker.hospital.example/disclosure-log"

#: The key of the published test vector: its seed is the bytes 00 to 1f.
VECTOR_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VECTOR_ENTRIES = [b'{"i":%d,"kind":"disclosure"}' % number for number in range(3)]
VERIFIER = Verifier.of(ORIGIN, VECTOR_KEY)


def event(**changes):
    """An application that was submitted; ``changes`` replace what the test is about."""
    return Event(**{"type": "application.submitted", "actor": "person:7f3b", "application": "SA-2026-000001", **changes})


def intent(release: UUID | None = None, **changes):
    """The intent of a release of one patient to one hospital."""
    facts = {"sender": "renhe", "items": 42, "manifest": "ab" * 32, **changes.pop("facts", {})}
    given = {
        "type": "release.permitted",
        "actor": "client:yihe-his",
        "application": "SA-2026-000001",
        "grant": "5c7d",
        "recipient": "yihe",
        "purpose": "TREAT",
        "patient": UUID(int=1),
        "subject": "cd" * 32,
        "release": release or uuid4(),
        "outcome": "permit",
    }
    return Event(**{**given, **changes}, facts=facts)


def outcome(of: Event, kind: str = "sent", **changes):
    """What became of an intent: ``sent``, ``partial`` or ``failed``."""
    given = {
        "type": f"release.{kind}",
        "actor": of.actor,
        "release": of.release,
        "outcome": kind,
        "facts": {"bytes": 0 if kind == "failed" else 1000},
    }
    return Event(**{**given, **changes})


def write_log(folder: Path, entries: list[bytes], key=VECTOR_KEY, origin: str = ORIGIN) -> str:
    """Write a log of these entries to a folder in the C2SP layout; returns its checkpoint."""
    frontier = Frontier()
    for entry in entries:
        frontier.append(leaf_hash(entry))
    files = {Address(tile.level, tile.number).path: tile.hashes for tile in frontier.completed}
    for level, edge in enumerate(frontier.edge):
        if edge:
            files[Address(level, (frontier.size >> (8 * level)) // 256, len(edge)).path] = b"".join(edge)
    for first in range(0, len(entries), 256):
        part = entries[first : first + 256]
        files[Address("entries", first // 256, len(part)).path] = bundle(part)
    note = Checkpoint(origin, frontier.size, frontier.root()).signed(key)
    for path, data in {**files, "checkpoint": note.encode()}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return note
