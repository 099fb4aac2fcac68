"""The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): hashes, the growing edge, proofs. Pure.

A tree of ``n`` entries splits at the largest power of two below ``n``. Hashes are SHA-256, 32 bytes each, and leaves and
nodes are told apart by their first byte, so that no node can be passed off as an entry. An index counts from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT

#: Root of the tree without entries: SHA-256 of nothing (RFC 6962 section 2.1).
EMPTY_ROOT = sha256(b"").digest()

#: Reads the root of a full subtree: ``(level, index)`` covers the entries ``[index * 2^level, (index + 1) * 2^level)``.
NodeReader = Callable[[int, int], bytes]


class ProofInvalid(Exception):
    """A proof does not show what it should."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """The leaf hash of each; leaf_hash, written out, since a verifier spends much of its time here."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Tile:
    """A full tile of C2SP tlog-tiles: 256 hashes of one level, and the root over them, which is one hash of the next level."""

    level: int
    number: int
    hashes: bytes
    root: bytes


class Frontier:
    """The right edge of a growing tree: all that is needed to append, to give the root, and to cut tiles.

    ``stack`` holds the roots of the full subtrees from left to right, one for each bit of ``size`` (the compact range);
    ``edge[l]`` the hashes of the unfinished tile at tile level ``l``; ``completed`` the tiles finished since it was emptied.
    """

    def __init__(self) -> None:
        self.size = 0
        self.edge: list[list[bytes]] = [[]]
        self.completed: list[Tile] = []
        self._stack: list[bytes] = []

    @classmethod
    def restored(cls, size: int, edge: Sequence[Sequence[bytes]]) -> Frontier:
        """The frontier of a tree of ``size`` entries from the hashes of its unfinished tiles, level 0 first."""
        frontier = cls()
        frontier.size = size
        frontier.edge = [list(hashes) for hashes in edge] or [[]]
        if [len(hashes) for hashes in frontier.edge] != edge_widths(size):
            raise ValueError("the unfinished tiles do not fit the size of the tree")
        for hashes in reversed(frontier.edge):
            start = 0
            while start < len(hashes):
                width = 1 << ((len(hashes) - start).bit_length() - 1)
                frontier._stack.append(subtree_root(hashes[start : start + width]))
                start += width
        return frontier

    def append(self, hash_of_leaf: bytes) -> None:
        """Add the next entry by its leaf hash."""
        self.edge[0].append(hash_of_leaf)
        self._rise(hash_of_leaf, 0)
        self.size += 1

    def extend(self, hashes_of_leaves: Sequence[bytes]) -> None:
        """Add entries; whole tiles among them are folded at once, which is three times as fast."""
        first = min(-self.size % TILE_WIDTH, len(hashes_of_leaves))
        whole = len(hashes_of_leaves) - (len(hashes_of_leaves) - first) % TILE_WIDTH
        for item in hashes_of_leaves[:first]:
            self.append(item)
        for start in range(first, whole, TILE_WIDTH):
            self._extend_by_tile(hashes_of_leaves[start : start + TILE_WIDTH])
        for item in hashes_of_leaves[whole:]:
            self.append(item)

    def _extend_by_tile(self, hashes_of_leaves: Sequence[bytes]) -> None:
        self.edge[0].extend(hashes_of_leaves)
        self.size += TILE_WIDTH - 1
        root = subtree_root(hashes_of_leaves)
        self._complete(0, root)
        self._rise(root, TILE_HEIGHT)
        self.size += 1

    def _rise(self, carry: bytes, level: int) -> None:
        """Join a full subtree of 2^level entries, the last of which has index ``size``, with those to its left."""
        index, stack = self.size >> level, self._stack
        while index & 1:
            carry = node_hash(stack.pop(), carry)
            index >>= 1
            level += 1
            if level % TILE_HEIGHT == 0:
                self._complete(level // TILE_HEIGHT - 1, carry)
        stack.append(carry)

    def _complete(self, level: int, root: bytes) -> None:
        number = self.size >> (TILE_HEIGHT * (level + 1))
        self.completed.append(Tile(level, number, b"".join(self.edge[level]), root))
        self.edge[level] = []
        if level + 1 == len(self.edge):
            self.edge.append([])
        self.edge[level + 1].append(root)

    def root(self) -> bytes:
        """The root hash of the tree as it stands."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            root = node_hash(left, root)
        return root


def edge_widths(size: int) -> list[int]:
    """How many hashes the unfinished tile of each tile level holds, level 0 first: floor(size / 256^l) mod 256."""
    widths = [size % TILE_WIDTH]
    while size := size >> TILE_HEIGHT:
        widths.append(size % TILE_WIDTH)
    return widths


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 2^k hashes of one level."""
    row = list(hashes)
    while len(row) > 1:
        # node_hash, written out: a verifier spends much of its time here.
        row = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)


def root_of_range(begin: int, end: int, node: NodeReader) -> bytes:
    """MTH(D[begin:end]) of RFC 6962 section 2.1; ``begin`` is a multiple of the range's first split."""
    count = end - begin
    if count == 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, begin >> level)
    middle = begin + _split(count)
    return node_hash(root_of_range(begin, middle, node), root_of_range(middle, end, node))


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962 section 2.1.1: hashes from the leaf's sibling up to the root's child."""
    if not 0 <= index < size:
        raise ValueError("the entry is not in the tree")
    proof: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            proof.append(root_of_range(middle, end, node))
            end = middle
        else:
            proof.append(root_of_range(begin, middle, node))
            begin = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node: NodeReader) -> list[bytes]:
    """PROOF(old, D[new]) of RFC 6962 section 2.1.2; empty when one of the trees is empty or both are the same."""
    if not 0 <= old <= new:
        raise ValueError("the older tree is not within the newer one")
    if old in {0, new}:
        return []
    proof: list[bytes] = []
    begin, end, whole = 0, new, True
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            proof.append(root_of_range(middle, end, node))
            end = middle
        else:
            proof.append(root_of_range(begin, middle, node))
            begin, whole = middle, False
    if not whole:
        proof.append(root_of_range(begin, end, node))
    return proof[::-1]


def check_inclusion(index: int, size: int, hash_of_leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """The algorithm of RFC 9162 section 2.1.3.2. Raises ProofInvalid."""
    if not 0 <= index < size:
        raise ProofInvalid("the entry is not in the tree")
    position, last, found = index, size - 1, hash_of_leaf
    for sibling in proof:
        if last == 0:
            raise ProofInvalid("the proof is too long")
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise ProofInvalid("the proof is too short")
    if found != root:
        raise ProofInvalid("the proof leads to another root")


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """The algorithm of RFC 9162 section 2.1.4.2. Raises ProofInvalid."""
    if not 0 <= old <= new:
        raise ProofInvalid("the older tree is not within the newer one")
    if old in {0, new}:
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
            raise ProofInvalid("the trees are not the same")
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise ProofInvalid("the proof is too short")
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofInvalid("the proof is too long")
        if position & 1 or position == last:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise ProofInvalid("the proof is too short")
    if found_old != old_root or found_new != new_root:
        raise ProofInvalid("the newer tree does not continue the older one")
