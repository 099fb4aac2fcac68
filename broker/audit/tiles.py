"""Tiles and entry bundles of C2SP tlog-tiles: their paths, their bytes, and tree nodes read from them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from broker.audit.tree import HASH_BYTES, TILE_HEIGHT, TILE_WIDTH, NodeReader, subtree_root

#: An entry's length is written as a big-endian uint16 before it.
MAX_ENTRY_BYTES = 0xFFFF

ENTRIES: Literal["entries"] = "entries"

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_MAX_LEVEL = 63

#: Reads the bytes of a tile: ``(level, number, width)``.
TileReader = Callable[[int, int, int], bytes]


class BundleMalformed(ValueError):
    """The bytes are not a bundle of that many entries. ``at`` is the position in the bundle of the entry that can't be read."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at


@dataclass(frozen=True)
class Address:
    """Which tile or bundle: its level (or ``entries``), its number in the level, and how many hashes or entries it holds."""

    level: int | Literal["entries"]
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Path below the log's prefix: ``tile/0/x001/067.p/17``."""
        groups = f"{self.number:03d}"
        while len(groups) % 3:
            groups = f"0{groups}"
        parts = [groups[at : at + 3] for at in range(0, len(groups), 3)]
        number = "/".join([f"x{part}" for part in parts[:-1]] + parts[-1:])
        return f"tile/{self.level}/{number}" + (f".p/{self.width}" if self.width < TILE_WIDTH else "")

    @property
    def full(self) -> Address:
        """The same place when it has filled up."""
        return Address(self.level, self.number)


def parse_path(path: str) -> Address | None:
    """The address that a path names; None when it isn't written the one way that the format allows."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    level, groups, last, width = match.groups()
    number = int(groups.replace("x", "").replace("/", "") + last)
    address = Address(ENTRIES if level == ENTRIES else int(level), number, int(width) if width else TILE_WIDTH)
    if level != ENTRIES and int(level) > _MAX_LEVEL:
        return None
    # What is written with groups of leading zeros or a width of 256 and more names nothing.
    return address if address.path == path else None


def width_of(level: int | Literal["entries"], number: int, size: int) -> int:
    """How many hashes (or entries) that place holds in a tree of ``size`` entries: 0 when it is not in it, 256 when full."""
    hashes = size if isinstance(level, str) else size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, hashes - number * TILE_WIDTH))


def numbers(level: int | Literal["entries"], size: int) -> range:
    """Numbers of the tiles (or bundles) of a level in a tree of ``size`` entries."""
    hashes = size if isinstance(level, str) else size >> (TILE_HEIGHT * level)
    return range(-(-hashes // TILE_WIDTH))


def top_level(size: int) -> int:
    """The highest tile level that a tree of ``size`` entries has a tile on; -1 for the empty tree."""
    level = -1
    while size >> (TILE_HEIGHT * (level + 1)):
        level += 1
    return level


def bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry behind its length as a big-endian uint16."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def split_bundle(data: bytes, count: int) -> list[bytes]:
    """The ``count`` entries of a bundle, which holds them and nothing else. Raises BundleMalformed."""
    entries: list[bytes] = []
    at = 0
    try:
        for _ in range(count):
            # Byte by byte: a slice and int.from_bytes take twice as long, and a verifier spends much of its time here.
            start = at + 2
            at = start + (data[at] << 8 | data[at + 1])
            entries.append(data[start:at])
    except IndexError:
        pass  # Said below, with its place.
    if at > len(data):
        raise BundleMalformed(len(entries) - 1, "the bundle ends before its last entry")
    if len(entries) < count:
        raise BundleMalformed(len(entries), "the bundle ends before its last entry")
    if at != len(data):
        raise BundleMalformed(count, "the bundle goes on after its last entry")
    return entries


def split_tile(data: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def node_reader(size: int, tile: TileReader) -> NodeReader:
    """Full subtrees of a tree of ``size`` entries, read from its tiles; each tile is read once."""
    kept: dict[tuple[int, int], list[bytes]] = {}

    def hashes(level: int, number: int) -> list[bytes]:
        if (level, number) not in kept:
            kept[level, number] = split_tile(tile(level, number, width_of(level, number, size)))
        return kept[level, number]

    def node(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        number, at = divmod(first, TILE_WIDTH)
        return subtree_root(hashes(tile_level, number)[at : at + (1 << height)])

    return node
