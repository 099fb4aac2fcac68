"""The verifier against logs in a folder: whole ones hold, and whatever is done to one is found, with its place."""

import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.audit.findings import SENTENCES
from broker.audit.sources import FolderSource
from broker.audit.tiles import bundle, split_bundle
from broker.audit.verify import verify
from tests.factories.audit import VERIFIER, write_log

SIZE = 600


def entries(count=SIZE):
    return [b'{"number":%d}' % number for number in range(count)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_log(folder, entries())
    return folder


@pytest.fixture
def log(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "log")


def found(folder, older=()):
    report = verify(FolderSource(folder), VERIFIER, older=older)
    return (report.finding.code, report.finding.where) if report.finding else None


def rewrite_bundle(path, change, count=256):
    items = split_bundle(path.read_bytes(), count)
    change(items)
    path.write_bytes(bundle(items))


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, SIZE])
def test_a_whole_log_holds(tmp_path, size):
    write_log(tmp_path, entries(size))
    report = verify(FolderSource(tmp_path), VERIFIER)
    assert (report.ok, report.size, report.finding) == (True, size, None)


def test_a_large_log_with_three_levels_holds(tmp_path):
    write_log(tmp_path, [b"x"] * 66_000)
    assert verify(FolderSource(tmp_path), VERIFIER).ok


def test_a_partial_tile_may_have_been_replaced_by_the_full_one(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    write_log(old, entries(300))
    write_log(new, entries(600))
    shutil.copy(old / "checkpoint", new / "checkpoint")
    for partial in ("tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"):
        assert not (new / partial).exists()
    shutil.copytree(old / "tile/1/000.p", new / "tile/1/000.p", dirs_exist_ok=True)
    assert verify(FolderSource(new), VERIFIER).size == 300


class TestTampering:
    def test_an_edited_entry(self, log):
        def edit(items):
            items[44] = items[44].replace(b"300", b"999")

        rewrite_bundle(log / "tile/entries/001", edit)
        assert found(log) == ("entry-changed", "entry 300")

    def test_a_dropped_entry(self, log):
        rewrite_bundle(log / "tile/entries/001", lambda items: items.pop(44))
        assert found(log) == ("bundle-malformed", "entry 511")

    def test_a_dropped_entry_made_up_for(self, log):
        rewrite_bundle(log / "tile/entries/001", lambda items: items.append(items.pop(44)))
        assert found(log) == ("entry-changed", "entry 300")

    def test_swapped_entries(self, log):
        def swap(items):
            items[7], items[9] = items[9], items[7]

        rewrite_bundle(log / "tile/entries/000", swap)
        assert found(log) == ("entry-changed", "entry 7")

    def test_a_duplicated_entry(self, log):
        rewrite_bundle(log / "tile/entries/002.p/88", lambda items: items.append(items[-1]), 88)
        assert found(log) == ("entry-extra", "entry 600")

    def test_a_truncated_bundle(self, log):
        path = log / "tile/entries/002.p/88"
        path.write_bytes(path.read_bytes()[:-1])
        assert found(log) == ("bundle-malformed", "entry 599")

    def test_a_missing_bundle(self, log):
        (log / "tile/entries/001").unlink()
        assert found(log) == ("entry-missing", "entry 256")

    def test_a_missing_tile(self, log):
        (log / "tile/1/000.p/2").unlink()
        assert found(log) == ("tile-missing", "tile/1/000.p/2")

    def test_a_longer_tile(self, log):
        path = log / "tile/0/000"
        path.write_bytes(path.read_bytes() + b"\0" * 32)
        assert found(log) == ("tile-changed", "tile/0/000")

    def test_an_entry_edited_together_with_its_tile(self, tmp_path, log):
        changed = entries()
        changed[300] = b"other"
        write_log(tmp_path / "other", changed)
        for path in ("tile/entries/001", "tile/0/001"):
            shutil.copy(tmp_path / "other" / path, log / path)
        assert found(log) == ("tile-changed", "tile/1/000.p/2")

    def test_everything_rewritten_but_the_checkpoint(self, tmp_path, log):
        changed = entries()
        changed[300] = b"other"
        write_log(tmp_path / "other", changed)
        shutil.copy(log / "checkpoint", tmp_path / "other/checkpoint")
        assert found(tmp_path / "other") == ("root-differs", "checkpoint 600")

    def test_rewritten_and_signed_with_another_key(self, log):
        write_log(log, entries(), key=Ed25519PrivateKey.generate())
        assert found(log) == ("checkpoint-signature", "checkpoint")

    def test_rewritten_and_signed_again_with_the_log_key_is_found_by_whoever_saved_a_checkpoint(self, tmp_path, log):
        early = write_log(tmp_path / "early", entries(320))
        changed = entries()
        changed[300] = b"other"
        write_log(tmp_path / "other", changed)
        assert found(log, [early]) is None
        assert found(tmp_path / "other") is None
        assert found(tmp_path / "other", [early]) == ("history-rewritten", "saved checkpoint 1, 320")
        before = write_log(tmp_path / "before", entries(300))
        assert found(tmp_path / "other", [before]) is None

    def test_an_old_checkpoint_in_place_of_the_newest(self, tmp_path, log):
        newest = (log / "checkpoint").read_text()
        write_log(tmp_path / "early", entries(320))
        assert found(tmp_path / "early", [newest]) == ("history-shortened", "saved checkpoint 1")

    def test_a_missing_checkpoint(self, log):
        (log / "checkpoint").unlink()
        assert found(log) == ("checkpoint-missing", "checkpoint")

    def test_a_saved_checkpoint_that_nobody_signed(self, log):
        note = (log / "checkpoint").read_text()
        assert found(log, [note.replace("\n600\n", "\n500\n")]) == ("checkpoint-signature", "saved checkpoint 1")
        assert found(log, ["hello"]) == ("checkpoint-malformed", "saved checkpoint 1")


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_in_any_file_is_found(whole, data):
    path = data.draw(st.sampled_from(sorted(path for path in whole.rglob("*") if path.is_file())))
    good = path.read_bytes()
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    spoilt = bytearray(good)
    spoilt[bit // 8] ^= 1 << bit % 8
    try:
        path.write_bytes(bytes(spoilt))
        finding = found(whole)
    finally:
        path.write_bytes(good)
    assert finding is not None
    # The place is the file's own: an entry of that bundle, the tile, or the tile over it.
    if path.name != "checkpoint":
        assert finding[0] in {"entry-changed", "bundle-malformed", "entry-extra", "tile-changed"}


def test_every_finding_has_a_sentence_in_both_languages(log):
    (log / "tile/0/000").unlink()
    finding = verify(FolderSource(log), VERIFIER).finding
    assert finding.sentence("en") == "tile/0/000: a tile is missing"
    assert finding.sentence("zh") == "tile/0/000：缺少哈希块"
    assert all(english.isascii() and not chinese.isascii() for english, chinese in SENTENCES.values())
