"""The verifier against logs in a folder: whole ones hold, and whatever is done to one is found, with its place."""

import os
import random
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit import sources
from broker.audit.cosignature import WitnessKey, cosign
from broker.audit.findings import SENTENCES
from broker.audit.note import split_note
from broker.audit.sources import FolderSource
from broker.audit.tiles import bundle, split_bundle
from broker.audit.verify import Quorum, verify
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

    def test_a_file_larger_than_any_may_be_is_not_cut_to_size(self, log, monkeypatch):
        path = log / "tile/entries/000"
        monkeypatch.setattr(sources, "MAX_RESOURCE_BYTES", path.stat().st_size)
        path.write_bytes(path.read_bytes() + b"x")
        assert found(log) == ("entry-extra", "entry 256")

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


#: How many random changes are tried. BROKER_TEST_FLIPS=10000 tries as many as a figure needs.
FLIPS = int(os.environ.get("BROKER_TEST_FLIPS", "300"))


def flip(data, chance):
    bit = chance.randrange(len(data) * 8)
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def test_any_flipped_bit_in_any_file_is_found(whole):
    """G10: every one of them, whatever file it is in. Files are drawn by their size, so that no bit is more likely than another."""
    files = sorted(path for path in whole.rglob("*") if path.is_file())
    sizes, chance = [path.stat().st_size for path in files], random.Random(6962)
    for number in range(FLIPS):
        # Every other time any file alike: else the checkpoint would hardly ever be drawn.
        (path,) = chance.choices(files, sizes) if number % 2 else [chance.choice(files)]
        good = path.read_bytes()
        path.write_bytes(flip(good, chance))
        try:
            finding = found(whole)
        finally:
            path.write_bytes(good)
        assert finding is not None, (number, path)
        # The place is the file's own: an entry of that bundle, the tile, or the tile over it.
        if path.name != "checkpoint":
            assert finding[0] in {"entry-changed", "bundle-malformed", "entry-extra", "tile-changed"}
    assert found(whole) is None


def test_every_bit_of_a_checkpoint_counts(whole):
    """Base64 has spellings that mean the same; a verifier that took them would let a copy differ unseen."""
    path = whole / "checkpoint"
    good = path.read_bytes()
    try:
        for bit in range(len(good) * 8):
            path.write_bytes(good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :])
            assert found(whole) is not None, bit
    finally:
        path.write_bytes(good)


def changed(items, chance):
    """One structural change to the entries of a log: what somebody with the files, but not the key, could do."""
    items, at = list(items), chance.randrange(len(items))
    match chance.choice(["edit", "drop", "swap", "duplicate", "truncate", "insert", "replace"]):
        case "edit":
            items[at] = flip(items[at], chance)
        case "drop":
            del items[at]
        case "swap":
            other = (at + chance.randrange(1, len(items))) % len(items)
            items[at], items[other] = items[other], items[at]
        case "duplicate":
            items.insert(at, items[at])
        case "truncate":
            del items[max(1, at) :]
        case "insert":
            items.insert(at, b'{"number":-1}')
        case "replace":
            items[at] = b'{"number":-1}'
    return items


def test_any_change_to_the_entries_is_found_even_when_every_tile_is_made_to_fit(tmp_path, whole):
    """A forger without the key makes all hashes fit; one with the key signs as well. The checkpoint, or whoever saved one, tells."""
    chance, old, original = random.Random(9162), (whole / "checkpoint").read_text(), entries()
    saved = {size: write_log(tmp_path / "saved", entries(size)) for size in (1, 300, SIZE)}
    for number in range(max(30, FLIPS // 20)):
        folder, forged = tmp_path / str(number), changed(original, chance)
        note = write_log(folder, forged)
        with_key = found(folder, saved.values())
        assert with_key is not None, number
        assert with_key[0] in {"history-rewritten", "history-shortened"}
        assert note != old
        (folder / "checkpoint").write_text(old)
        without_key = found(folder)
        assert without_key is not None, number
        shutil.rmtree(folder)


def test_every_finding_has_a_sentence_in_both_languages(log):
    (log / "tile/0/000").unlink()
    finding = verify(FolderSource(log), VERIFIER).finding
    assert finding.sentence("en") == "tile/0/000: a tile is missing"
    assert finding.sentence("zh") == "tile/0/000：缺少哈希块"
    assert all(english.isascii() and not chinese.isascii() for english, chinese in SENTENCES.values())


class TestAQuorumOfWitnesses:
    """Who demands cosignatures believes nothing that only the log itself signed (G9, QA-4.4)."""

    @pytest.fixture
    def witnesses(self):
        return {f"w{number}.example": Ed25519PrivateKey.generate() for number in range(3)}

    def cosigned(self, log, witnesses, *names):
        path = log / "checkpoint"
        note = path.read_text()
        text = split_note(note)[0]
        path.write_text(note + "".join(cosign(text, name, witnesses[name], 1_790_000_000) for name in names))

    def report(self, log, witnesses, least):
        keys = tuple(WitnessKey.of(name, key) for name, key in witnesses.items())
        return verify(FolderSource(log), VERIFIER, quorum=Quorum(keys, least))

    def test_enough_of_them(self, log, witnesses):
        self.cosigned(log, witnesses, "w0.example", "w2.example")
        report = self.report(log, witnesses, 2)
        assert report.ok
        assert report.figures == {"witnessed": SIZE, "unwitnessed": 0}
        assert self.report(log, witnesses, 3).finding.code == "unwitnessed"

    def test_one_that_signs_twice_counts_once_and_a_forged_one_not(self, log, witnesses):
        self.cosigned(log, witnesses, "w0.example", "w0.example")
        assert self.report(log, witnesses, 2).finding.code == "unwitnessed"
        self.cosigned(log, {"w1.example": Ed25519PrivateKey.generate()}, "w1.example")
        assert self.report(log, witnesses, 2).finding.code == "unwitnessed"

    def test_what_follows_the_newest_cosigned_checkpoint_is_counted(self, tmp_path, log, witnesses):
        write_log(tmp_path / "early", entries(300))
        self.cosigned(tmp_path / "early", witnesses, "w1.example")
        early = (tmp_path / "early" / "checkpoint").read_text()

        class WithAWitnessed(FolderSource):
            def witnessed(self):
                return early

        keys = (WitnessKey.of("w1.example", witnesses["w1.example"]),)
        assert verify(WithAWitnessed(log), VERIFIER, quorum=Quorum(keys, 1)).figures == {"witnessed": 300, "unwitnessed": SIZE - 300}
        # A witness saw another history than the one at hand.
        write_log(tmp_path / "other", [b"x", *entries(300)[1:]])
        self.cosigned(tmp_path / "other", witnesses, "w1.example")
        early = (tmp_path / "other" / "checkpoint").read_text()
        finding = verify(WithAWitnessed(log), VERIFIER, quorum=Quorum(keys, 1)).finding
        assert (finding.code, finding.where) == ("history-rewritten", "witnessed checkpoint 300")
