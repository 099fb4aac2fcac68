"""Write the log to a folder in the C2SP tlog-tiles layout, for an auditor who verifies it with tools of their own."""

from __future__ import annotations

import os
from pathlib import Path

from broker.audit import store
from broker.audit.errors import LogDamaged
from broker.audit.store import Connection, Published
from broker.audit.tiles import ENTRIES, Address, bundle, numbers, top_level, width_of


def export(connection: Connection, folder: Path, *, witnessed: bool = False) -> Published | None:
    """Write tiles, entries, and last the checkpoint; what is there stays. Returns the checkpoint, None when there is none.

    Running it again adds what is new, also after a disk was full. Raises OSError where a file can't be written, LogDamaged when a file
    holds other bytes than the log now gives: the folder then belongs to another log, or one of the two was changed. ``witnessed``: up to
    the newest checkpoint that a witness cosigned.
    """
    published = store.latest_witnessed(connection) if witnessed else store.latest(connection)
    if published is None:
        return None
    size = published.size
    for number in numbers(ENTRIES, size):
        width = width_of(ENTRIES, number, size)
        _write_once(folder / Address(ENTRIES, number, width).path, bundle(store.entries(connection, number, width)))
    for level in range(top_level(size) + 1):
        for number in numbers(level, size):
            width = width_of(level, number, size)
            _write_once(folder / Address(level, number, width).path, store.hashes(connection, level, number, width))
    _replace(folder / "checkpoint", (published.note + store.cosignatures(connection, size)).encode())
    return published


def _write_once(path: Path, data: bytes) -> None:
    if path.exists():
        if path.read_bytes() != data:
            raise LogDamaged(f"{path} holds other bytes than the log")
        return
    _replace(path, data)


def _replace(path: Path, data: bytes) -> None:
    """Put a file in its place in one step, once its bytes are on disk: what has a name is whole, whatever fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
