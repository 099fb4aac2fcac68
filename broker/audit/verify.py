"""Recompute the whole log and say where it breaks. Needs the log's public key and nothing else of the broker's.

Steps, each of which stops at the first wrong place:

1. The checkpoint is signed by the log's key under the log's name, in the one canonical form.
2. Every checkpoint that somebody saved earlier is signed too, and not larger.
3. Every entry hashes to what its level-0 tile holds, every tile above to what the tiles below give.
4. At each saved or stored checkpoint's size the entries before it give its root.
5. All entries together give the signed root.
6. What is only in a database: its columns, its state, and nothing beside the log.

Where a quorum of witnesses is demanded, the newest checkpoint that a quorum cosigned is one of those of step 4, and what follows it is
counted: behind those entries stands the log's own word alone.

Memory is constant: entries come in bundles of 256, and of the tree only its right edge is kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broker.audit.cosignature import WitnessKey, cosigned_at
from broker.audit.findings import Broken, Finding
from broker.audit.note import Checkpoint, NoteInvalid, SignatureInvalid, Verifier, to_base64
from broker.audit.tiles import Address
from broker.audit.tree import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, Frontier, leaf_hashes


class Source(Protocol):
    """Where a log is read from. Each method raises Broken for what is missing or can't be read."""

    def checkpoint(self) -> str:
        """The newest checkpoint, as a note."""

    def witnessed(self) -> str | None:
        """The newest checkpoint that a witness cosigned, with what it has; None where there is none, or where the newest is all there is."""

    def bundles(self, size: int) -> Iterator[Sequence[bytes]]:
        """The first ``size`` entries in order, 256 at a time; the last bundle may be shorter."""

    def tile(self, level: int, number: int, width: int) -> bytes:
        """The first ``width`` hashes of a tile."""

    def history(self) -> Iterator[tuple[int, str]]:
        """``(size, note)`` of the checkpoints the source kept, by size; nothing where it keeps none."""

    def finish(self, checkpoint: Checkpoint) -> dict[str, int]:
        """Check what only this kind of source has, once the entries are known to be right; figures for the report."""


@dataclass(frozen=True)
class Report:
    """What verification found: all of ``size`` entries under ``root`` (Base64), or the first wrong place."""

    origin: str
    size: int
    root: str
    finding: Finding | None
    figures: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether the whole log holds."""
        return self.finding is None

    def to_json(self, language: str = "en") -> dict[str, Any]:
        """The report for machines."""
        report: dict[str, Any] = {"ok": self.ok, "origin": self.origin, "size": self.size, "root": self.root, **self.figures}
        if self.finding is not None:
            report |= {"code": self.finding.code, "where": self.finding.where, "message": self.finding.sentence(language)}
        return report


@dataclass(frozen=True, order=True)
class _Mark:
    """At this size the tree had this root, says a checkpoint: a stored one, or one that somebody saved outside."""

    size: int
    saved: bool
    root: bytes
    where: str


@dataclass(frozen=True)
class Quorum:
    """How many of which witnesses must have cosigned a checkpoint before it counts."""

    witnesses: tuple[WitnessKey, ...]
    least: int

    def met_by(self, note: str) -> bool:
        """Whether enough of them cosigned this note. A cosignature that fails counts as none."""
        return sum(_cosigned(note, witness) for witness in self.witnesses) >= self.least


def _cosigned(note: str, witness: WitnessKey) -> bool:
    try:
        cosigned_at(note, witness)
    except NoteInvalid:
        return False
    return True


def verify(source: Source, verifier: Verifier, *, older: Iterable[str] = (), former: Sequence[Verifier] = (), quorum: Quorum | None = None) -> Report:
    """Verify a log against its public key, and against checkpoints (notes) that were saved earlier.

    The newest checkpoint is signed by ``verifier``; older ones may be by keys that came before it, or by those of the log that this one
    continues after a loss: ``former``.
    """
    seen: Checkpoint | None = None
    known = (verifier, *former)
    try:
        note = source.checkpoint()
        seen = _open(note, (verifier,), "checkpoint")
        saved = [_saved(text, known, seen, at) for at, text in enumerate(older, 1)]
        figures: dict[str, int] = {}
        if quorum is not None:
            mark = _witnessed(source, note, known, quorum)
            saved.append(mark)
            figures = {"witnessed": mark.size, "unwitnessed": seen.size - mark.size}
        stored = (_stored(size, text, known) for size, text in source.history())
        _recompute(source, seen, _Marks(heapq.merge(sorted(saved), stored)))
        figures |= source.finish(seen)
    except Broken as broken:
        return Report(verifier.name, seen.size if seen else 0, to_base64(seen.root) if seen else "", broken.finding, {})
    return Report(seen.origin, seen.size, to_base64(seen.root), None, figures)


def _witnessed(source: Source, note: str, verifiers: Sequence[Verifier], quorum: Quorum) -> _Mark:
    """The newest checkpoint that enough witnesses cosigned."""
    for text in (note, source.witnessed()):
        if text is not None and quorum.met_by(text):
            checkpoint = _open(text, verifiers, "witnessed checkpoint")
            return _Mark(checkpoint.size, True, checkpoint.root, f"witnessed checkpoint {checkpoint.size}")
    raise Broken("unwitnessed", "checkpoint", f"{quorum.least} of {len(quorum.witnesses)}")


def _open(note: str, verifiers: Sequence[Verifier], where: str) -> Checkpoint:
    try:
        return Checkpoint.opened(note, *verifiers)
    except SignatureInvalid as error:
        raise Broken("checkpoint-signature", where) from error
    except NoteInvalid as error:
        raise Broken("checkpoint-malformed", where, str(error)) from error


def _saved(note: str, verifiers: Sequence[Verifier], newest: Checkpoint, number: int) -> _Mark:
    where = f"saved checkpoint {number}"
    checkpoint = _open(note, verifiers, where)
    if checkpoint.size > newest.size:
        raise Broken("history-shortened", where, f"{newest.size} < {checkpoint.size}")
    return _Mark(checkpoint.size, True, checkpoint.root, f"{where}, {checkpoint.size}")


def _stored(size: int, note: str, verifiers: Sequence[Verifier]) -> _Mark:
    where = f"stored checkpoint {size}"
    checkpoint = _open(note, verifiers, where)
    if checkpoint.size != size:
        raise Broken("checkpoint-differs", where, "size")
    return _Mark(size, False, checkpoint.root, where)


class _Marks:
    """The marks still ahead, by size."""

    def __init__(self, marks: Iterator[_Mark]) -> None:
        self._marks = marks
        self.next = next(marks, None)

    def up_to(self, size: int) -> Iterator[_Mark]:
        """The marks up to a size, each taken off."""
        while self.next is not None and self.next.size <= size:
            mark, self.next = self.next, next(self._marks, None)
            yield mark


def _recompute(source: Source, checkpoint: Checkpoint, marks: _Marks) -> None:
    frontier = Frontier()
    _hold(marks.up_to(0), frontier)
    for number, entries in enumerate(source.bundles(checkpoint.size)):
        hashes = leaf_hashes(entries)
        _compare_entries(source, number, hashes)
        start = frontier.size
        for mark in marks.up_to(start + len(hashes)):
            frontier.extend(hashes[frontier.size - start : mark.size - start])
            _hold([mark], frontier)
        frontier.extend(hashes[frontier.size - start :])
        for tile in frontier.completed:
            if tile.level > 0:
                _compare_tile(source, tile.level, tile.number, tile.hashes)
        frontier.completed.clear()
    if frontier.size != checkpoint.size:
        raise Broken("entry-missing", f"entry {frontier.size}")
    for level, edge in enumerate(frontier.edge):
        if edge and level > 0:
            _compare_tile(source, level, (checkpoint.size >> (TILE_HEIGHT * level)) // TILE_WIDTH, b"".join(edge))
    if marks.next is not None:
        raise Broken("history-shortened", marks.next.where, f"{checkpoint.size} < {marks.next.size}")
    if frontier.root() != checkpoint.root:
        raise Broken("root-differs", f"checkpoint {checkpoint.size}")


def _hold(marks: Iterable[_Mark], frontier: Frontier) -> None:
    """Each of these marks is of the present size: the root must be theirs."""
    for mark in marks:
        if frontier.root() != mark.root:
            raise Broken("history-rewritten" if mark.saved else "checkpoint-differs", mark.where)


def _compare_entries(source: Source, number: int, hashes: Sequence[bytes]) -> None:
    """The entries of a bundle against the level-0 tile over them."""
    stored = source.tile(0, number, len(hashes))
    if stored == b"".join(hashes):
        return
    for at, item in enumerate(hashes):
        if stored[at * HASH_BYTES : (at + 1) * HASH_BYTES] != item:
            raise Broken("entry-changed", f"entry {number * TILE_WIDTH + at}", Address(0, number, len(hashes)).path)
    raise Broken("tile-changed", Address(0, number, len(hashes)).path)


def _compare_tile(source: Source, level: int, number: int, expected: bytes) -> None:
    width = len(expected) // HASH_BYTES
    if source.tile(level, number, width) != expected:
        raise Broken("tile-changed", Address(level, number, width).path)


def expected_tiles(size: int) -> int:
    """How many full tiles a tree of ``size`` entries has, on all levels."""
    count = 0
    while size := size >> TILE_HEIGHT:
        count += size
    return count
