"""Paths and bytes of tiles and bundles, with the examples of the tlog-tiles specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit import tiles, tree
from broker.audit.tiles import Address
from tests.unit.audit.test_tree import grown, numbered, slow_path, slow_root


@pytest.mark.parametrize(
    ("address", "path"),
    [
        (Address(0, 1234067), "tile/0/x001/x234/067"),
        (Address(0, 0), "tile/0/000"),
        (Address(1, 999, 17), "tile/1/999.p/17"),
        (Address(63, 1000), "tile/63/x001/000"),
        (Address("entries", 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_paths(address, path):
    assert address.path == path
    assert tiles.parse_path(path) == address


@given(st.one_of(st.just("entries"), st.integers(0, 63)), st.integers(0, 10**12), st.integers(1, 256))
def test_each_address_has_one_path(level, number, width):
    address = Address(level, number, width)
    assert tiles.parse_path(address.path) == address


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/x000/067", "tile/0/67", "tile/00/067", "tile/0/067.p/256", "tile/0/067.p/0", "tile/0/067.p/01", "tile/64/000", "tile/0/001/067",
        "tile/0/x001", "tile/-1/000", "tile/entries/000/", "tile/0/٠٠٠", "checkpoint", "tile/0/000.p/", "tile/0/../../checkpoint", "tile/0/000\n",
    ],
)  # fmt: skip
def test_any_other_spelling_names_nothing(path):
    assert tiles.parse_path(path) is None


def test_the_tree_of_70000_entries_of_the_specification():
    size = 70_000
    assert len(tiles.numbers(0, size)) == len(tiles.numbers("entries", size)) == 274
    assert [tiles.width_of(0, number, size) for number in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tiles.width_of(1, number, size) for number in tiles.numbers(1, size)] == [256, 17]
    assert [tiles.width_of(2, number, size) for number in tiles.numbers(2, size)] == [1]
    assert tiles.top_level(size) == 2
    assert [tiles.top_level(size) for size in (0, 1, 256)] == [-1, 0, 1]


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_its_entries_back(entries):
    data = tiles.bundle(entries)
    assert tiles.split_bundle(data, len(entries)) == entries
    with pytest.raises(tiles.BundleMalformed) as extra:
        tiles.split_bundle(data + b"\0", len(entries))
    assert extra.value.at == len(entries)
    if entries:
        with pytest.raises(tiles.BundleMalformed) as short:
            tiles.split_bundle(data[:-1], len(entries))
        assert short.value.at == len(entries) - 1


def test_an_entry_of_65535_bytes_is_the_longest():
    assert tiles.split_bundle(tiles.bundle([b"x" * 65_535]), 1) == [b"x" * 65_535]
    with pytest.raises(OverflowError):
        tiles.bundle([b"x" * 65_536])


@pytest.mark.parametrize("size", [1, 5, 256, 300, 700])
def test_proofs_can_be_computed_from_tiles_alone(size):
    entries = numbered(size)
    frontier = grown(entries)
    stored = {(tile.level, tile.number): tile.hashes for tile in frontier.completed}
    stored |= {(level, (size >> 8 * level) // 256): b"".join(edge) for level, edge in enumerate(frontier.edge) if edge}
    node = tiles.node_reader(size, lambda level, number, width: stored[level, number][: width * 32])
    assert tree.root_of_range(0, size, node) == slow_root(entries)
    for index in range(0, size, 41):
        assert tree.inclusion_proof(index, size, node) == slow_path(index, entries)
