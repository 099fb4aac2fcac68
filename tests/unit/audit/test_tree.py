"""The Merkle tree against the definition in RFC 6962 2.1, written here once more and slowly."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit import tree
from tests.factories.audit import VECTOR_ENTRIES


def slow_root(entries):
    """MTH of RFC 6962 section 2.1, word for word."""
    count = len(entries)
    if count == 0:
        return sha256(b"").digest()
    if count == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < count:
        split *= 2
    return sha256(b"\x01" + slow_root(entries[:split]) + slow_root(entries[split:])).digest()


def slow_path(index, entries):
    """PATH of RFC 6962 section 2.1.1."""
    count = len(entries)
    if count == 1:
        return []
    split = 1
    while split * 2 < count:
        split *= 2
    if index < split:
        return [*slow_path(index, entries[:split]), slow_root(entries[split:])]
    return [*slow_path(index - split, entries[split:]), slow_root(entries[:split])]


def slow_subproof(old, entries, whole):
    """SUBPROOF of RFC 6962 section 2.1.2."""
    count = len(entries)
    if old == count:
        return [] if whole else [slow_root(entries)]
    split = 1
    while split * 2 < count:
        split *= 2
    if old <= split:
        return [*slow_subproof(old, entries[:split], whole), slow_root(entries[split:])]
    return [*slow_subproof(old - split, entries[split:], False), slow_root(entries[:split])]


def numbered(count):
    return [str(number).encode() for number in range(count)]


def node_of(entries):
    return lambda level, index: slow_root(entries[index << level : (index + 1) << level])


def grown(entries):
    frontier = tree.Frontier()
    for entry in entries:
        frontier.append(tree.leaf_hash(entry))
    return frontier


def flipped(data, bit):
    return bytes([*data[: bit // 8], data[bit // 8] ^ (1 << bit % 8), *data[bit // 8 + 1 :]])


def test_the_published_vector():
    leaves = [tree.leaf_hash(entry) for entry in VECTOR_ENTRIES]
    assert [leaf.hex() for leaf in leaves] == [
        "4fbc50581ce90e7ca762b08ecf47289508b7a361f73c6310fa6a6dff7710922f",
        "79bcbce5b746cf7a2850481f024f6c42ef07ed3c3347b18c1d6b9921afbf2f31",
        "c9e99afacdfb873d8ba59f0583bee43f9f18ad691f99899dfac85b2dcb4419b8",
    ]
    assert tree.node_hash(leaves[0], leaves[1]).hex() == "6895a6b13e5dc8cc987ea745967de7d7634d03c650a67e3bfeab35419d29317e"


def test_the_empty_tree():
    assert tree.Frontier().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_root_up_to_600_is_the_one_of_the_definition():
    entries = numbered(600)
    frontier = tree.Frontier()
    for size, entry in enumerate(entries, 1):
        frontier.append(tree.leaf_hash(entry))
        if size < 70 or size % 37 == 0 or size in {255, 256, 257, 511, 512, 513}:
            assert frontier.root() == slow_root(entries[:size]), size


def test_tiles_are_cut_when_they_are_full_and_carry_their_root_upwards():
    entries = numbered(513)
    frontier = grown(entries)
    assert [(tile.level, tile.number) for tile in frontier.completed] == [(0, 0), (0, 1)]
    for tile in frontier.completed:
        part = entries[tile.number * 256 : (tile.number + 1) * 256]
        assert tile.hashes == b"".join(tree.leaf_hash(entry) for entry in part)
        assert tile.root == slow_root(part)
    assert frontier.edge == [[tree.leaf_hash(entries[512])], [tile.root for tile in frontier.completed]]


def test_a_tile_of_tiles():
    frontier = tree.Frontier()
    for _ in range(65_537):
        frontier.append(b"\0" * 32)
    assert [len(edge) for edge in frontier.edge] == tree.edge_widths(65_537) == [1, 0, 1]
    assert [(tile.level, tile.number) for tile in frontier.completed][-1] == (1, 0)
    assert frontier.completed[-1].root == frontier.edge[2][0]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 300, 511, 512, 700])
def test_a_restored_frontier_goes_on_as_the_old_one(size):
    entries = numbered(size + 300)
    old = grown(entries[:size])
    restored = tree.Frontier.restored(size, old.edge)
    assert restored.root() == old.root()
    for entry in entries[size:]:
        restored.append(tree.leaf_hash(entry))
    assert restored.root() == slow_root(entries)


@pytest.mark.parametrize("start", [0, 1, 200, 256, 512])
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257])
def test_extending_is_appending(start, count):
    entries = [tree.leaf_hash(entry) for entry in numbered(start + count + 300)]
    one, other = tree.Frontier(), tree.Frontier()
    for item in entries:
        one.append(item)
    for part in (entries[:start], entries[start : start + count], entries[start + count :]):
        other.extend(part)
    assert (one.size, one.root(), one.edge, one.completed) == (other.size, other.root(), other.edge, other.completed)


def test_whole_tiles_of_whole_tiles():
    frontier = tree.Frontier()
    for _ in range(257):
        frontier.extend([b"\0" * 32] * 256)
    assert [len(edge) for edge in frontier.edge] == tree.edge_widths(257 * 256)
    assert [(tile.level, tile.number) for tile in frontier.completed][255:] == [(0, 255), (1, 0), (0, 256)]
    slow = tree.Frontier()
    for _ in range(257 * 256):
        slow.append(b"\0" * 32)
    assert slow.root() == frontier.root()


def test_a_frontier_that_does_not_fit_its_size_is_refused():
    with pytest.raises(ValueError):
        tree.Frontier.restored(3, [[b"\0" * 32] * 2])


def test_edge_widths_of_the_specification_example():
    assert tree.edge_widths(70_000) == [112, 17, 1]
    assert tree.edge_widths(256) == [0, 1]


@given(st.integers(1, 260), st.data())
@settings(max_examples=60, deadline=None)
def test_inclusion(size, data):
    index = data.draw(st.integers(0, size - 1))
    entries = numbered(size)
    root = slow_root(entries)
    proof = tree.inclusion_proof(index, size, node_of(entries))
    assert proof == slow_path(index, entries)
    leaf = tree.leaf_hash(entries[index])
    tree.check_inclusion(index, size, leaf, proof, root)
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        spoilt = [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]
        with pytest.raises(tree.ProofInvalid):
            tree.check_inclusion(index, size, leaf, spoilt, root)
        with pytest.raises(tree.ProofInvalid):
            tree.check_inclusion(index, size, leaf, proof[:-1], root)
    with pytest.raises(tree.ProofInvalid):
        tree.check_inclusion(index, size, flipped(leaf, 3), proof, root)
    with pytest.raises(tree.ProofInvalid):
        tree.check_inclusion(index, size, leaf, [*proof, leaf], root)
    with pytest.raises(tree.ProofInvalid):
        tree.check_inclusion(size, size, leaf, proof, root)
    with pytest.raises(tree.ProofInvalid):
        tree.check_inclusion(index, size, leaf, proof, flipped(root, 200))


@given(st.integers(0, 260), st.integers(0, 260), st.data())
@settings(max_examples=80, deadline=None)
def test_consistency(one, other, data):
    old, new = sorted((one, other))
    entries = numbered(new)
    old_root, new_root = slow_root(entries[:old]), slow_root(entries)
    proof = tree.consistency_proof(old, new, node_of(entries))
    assert proof == (slow_subproof(old, entries, True) if 0 < old < new else [])
    tree.check_consistency(old, new, old_root, new_root, proof)
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        for spoilt in ([*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]], proof[:-1], [*proof, proof[0]], []):
            with pytest.raises(tree.ProofInvalid):
                tree.check_consistency(old, new, old_root, new_root, spoilt)
    rewritten = slow_root([b"other", *entries[1:old]])
    if old:
        with pytest.raises(tree.ProofInvalid):
            tree.check_consistency(old, new, rewritten, new_root, proof)


def test_proofs_outside_the_tree_are_refused():
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError):
            tree.inclusion_proof(index, size, node_of(numbered(3)))
    with pytest.raises(ValueError):
        tree.consistency_proof(4, 3, node_of(numbered(3)))
    with pytest.raises(tree.ProofInvalid):
        tree.check_consistency(4, 3, b"", b"", [])
    with pytest.raises(tree.ProofInvalid):
        tree.check_consistency(0, 3, b"\0" * 32, slow_root(numbered(3)), [])
