"""Others read our log: the Go team's sumdb packages, Tessera's fsck, and a verifier that was written from the standards alone.

None of the three shares a line with ``broker.audit`` (RS-6.2.3, QA-4.4, QA-5). The first two are programs of other people,
built by `make peers`; they see a folder as an auditor gets it, and the log's public key.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from broker.audit import service, store
from broker.audit.export import export
from tests import outside_verifier
from tests.factories.audit import VECTOR_ENTRIES, VERIFIER, intent, outcome, write_log
from tests.outside_verifier import NotVerified

BUILT = Path(__file__).resolve().parents[3] / ".cache" / "bin"


@pytest.fixture
def program():
    """Runs one of the programs that `make peers` builds; gives its exit code and what it said."""

    def run(name, *arguments):
        if not (BUILT / name).exists():
            pytest.skip("no peers: install Go and run `make peers`")
        done = subprocess.run([BUILT / name, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def tessera(program, tmp_path):
    def run(folder, verifier):
        key = tmp_path / "fsck.vkey"
        key.write_text(verifier.vkey)
        return program("fsck", "--ui=false", f"--storage_url=file://{folder}/", f"--public_key={key}")

    return run


@pytest.fixture
def exported(database, record, record_many, sequencer, tmp_path):
    """A log that grew in three steps, each exported: the folder, and the checkpoints saved on the way."""
    folder, saved = tmp_path / "log", []
    for step, count in enumerate((3, 255, 402)):
        record_many(count)
        if step == 2:
            sent = intent()
            record(sent, outcome(sent))
        sequencer.seal_once()
        with database.transaction() as session:
            export(store.raw(session), folder)
        saved.append(tmp_path / f"checkpoint-{step}")
        saved[-1].write_bytes((folder / "checkpoint").read_bytes())
    return folder, saved


@pytest.mark.peers
def test_the_go_teams_packages_accept_the_log_and_that_it_continues_what_was_saved(exported, program, verifier):
    folder, saved = exported
    code, said = program("log-verifier", "-key", verifier.vkey, "-from", saved[0], "-from", saved[1], folder)
    assert code == 0, said
    assert said.startswith("verified: 662 entries")


@pytest.mark.peers
def test_tesseras_fsck_accepts_the_log(exported, tessera, verifier):
    folder, _ = exported
    code, said = tessera(folder, verifier)
    assert code == 0, said


def test_a_verifier_written_from_the_standards_accepts_the_log(exported, verifier):
    folder, saved = exported
    assert outside_verifier.verify(folder, verifier.vkey, tuple(path.read_bytes() for path in saved)).size == 662


@pytest.mark.peers
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 66_000])
def test_logs_of_every_shape(tmp_path, program, tessera, count):
    write_log(tmp_path / "log", [b'{"i":%d}' % number for number in range(count)])
    assert outside_verifier.verify(tmp_path / "log", VERIFIER.vkey).size == count
    code, said = program("log-verifier", "-key", VERIFIER.vkey, tmp_path / "log")
    assert (code, said.split(",")[0]) == (0, f"verified: {count} entries"), said
    if count:  # fsck has nothing to do with an empty log, and says so with an error.
        code, said = tessera(tmp_path / "log", VERIFIER)
        assert code == 0, said


@pytest.mark.peers
def test_the_published_vector(tmp_path, program):
    write_log(tmp_path, VECTOR_ENTRIES)
    code, said = program(
        "log-verifier", "-key", "broker.hospital.example/disclosure-log+e464afa9+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4", tmp_path
    )
    assert (code, said) == (0, "verified: 3 entries, root INjhvTAoW+GIjIbwNrEsVKekS7nFWj1BePFwtgdD76o=, 0 older checkpoints, 0 witnesses\n")


@pytest.mark.peers
def test_a_receipt_is_checked_offline_without_us(database, record_many, sequencer, program, verifier, tmp_path):
    ids = record_many(300)
    sequencer.seal_once()
    with database.transaction() as session:
        receipt = service.proof(session, ids[257])
        (entry,) = store.raw(session).execute("SELECT leaf FROM audit_event WHERE id = %s", (ids[257],)).fetchone()
    (tmp_path / "receipt").write_text(receipt)
    (tmp_path / "entry").write_text(entry)
    assert outside_verifier.check_receipt(receipt, entry.encode(), verifier.vkey).size == 300
    code, said = program("log-verifier", "-key", verifier.vkey, "-receipt", tmp_path / "receipt", "-entry", tmp_path / "entry")
    assert (code, said) == (0, "receipt: entry 257 of 300\n")
    (tmp_path / "entry").write_text(entry.replace("257", "258"))
    code, said = program("log-verifier", "-key", verifier.vkey, "-receipt", tmp_path / "receipt", "-entry", tmp_path / "entry")
    assert code == 1
    with pytest.raises(NotVerified):
        outside_verifier.check_receipt(receipt, entry.encode() + b" ", verifier.vkey)


def edit(folder):
    path = folder / "tile/entries/001"
    path.write_bytes(path.read_bytes().replace(b"300", b"999"))


def rewrite(folder):
    """Another history, signed with the log's own key: only a checkpoint that somebody saved tells."""
    shutil.rmtree(folder)
    write_log(folder, [b"other"] * 662)


def drop_a_tile(folder):
    (folder / "tile/0/001").unlink()


def flip_a_tile(folder):
    path = folder / "tile/1/000.p/2"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def put_back_an_old_checkpoint_and_lie(folder):
    path = folder / "checkpoint"
    path.write_text(path.read_text().replace("\n662\n", "\n661\n"))


@pytest.mark.peers
@pytest.mark.parametrize("spoil", [edit, rewrite, drop_a_tile, flip_a_tile, put_back_an_old_checkpoint_and_lie])
def test_the_others_refuse_what_we_refuse(tmp_path, program, spoil):
    folder = tmp_path / "log"
    early = write_log(folder, [b'{"number":%d}' % number for number in range(300)])
    (tmp_path / "saved").write_text(early)
    write_log(folder, [b'{"number":%d}' % number for number in range(662)])
    wanted = ("log-verifier", "-key", VERIFIER.vkey, "-from", tmp_path / "saved", folder)
    assert program(*wanted)[0] == 0
    assert outside_verifier.verify(folder, VERIFIER.vkey, (early.encode(),)).size == 662
    spoil(folder)
    assert program(*wanted)[0] == 1
    with pytest.raises((NotVerified, OSError)):
        outside_verifier.verify(folder, VERIFIER.vkey, (early.encode(),))
