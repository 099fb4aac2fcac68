"""Witnesses, ours and others': asked after publication, believed only with their own signature, and remembered when we forget."""

import os
import socket
import sqlite3
import subprocess
import threading
import time
from base64 import b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from broker.audit import service, store
from broker.audit.cosignature import WitnessKey, cosigned_at
from broker.audit.errors import LogDamaged
from broker.audit.export import export
from broker.audit.note import SignatureInvalid, Verifier
from broker.audit.sealing import Sealing
from broker.audit.sequencer import Sequencer
from broker.audit.submission import Submitter
from broker.audit.tree import EMPTY_ROOT
from broker.audit.witness import Witness, witness_app
from broker.audit.witness_policy import parse
from broker.cli.witness import app as witness_commands
from tests import outside_verifier
from tests.fakes import ssh_agent

BUILT = Path(__file__).resolve().parents[3] / ".cache" / "bin"


@contextmanager
def serving(application):
    listener = uvicorn.Config("unused", host="127.0.0.1", port=0).bind_socket()
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def answering(status, body, media_type="text/plain"):
    """A witness that always says the same, whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def witness(tmp_path, verifier):
    witness = Witness.create(tmp_path / "witness", "witness.regulator.example")
    witness.add_log(verifier)
    return witness


def policy_for(url, key):
    return parse(f"witness regulator {key.vkey} {url}\nquorum regulator\n")


@pytest.fixture
def submit(log_database, owner):
    def once(policy):
        submitter = Submitter(log_database, policy)
        return submitter.submit(owner), submitter.trouble

    return once


def test_each_new_checkpoint_is_cosigned_and_served_with_what_was_cosigned(database, record_many, sequencer, witness, submit):
    with serving(witness_app(witness)) as url:
        for count in (5, 300):
            record_many(count)
            sequencer.seal_once()
            assert submit(policy_for(url, witness.key)) == (1, {})
            assert submit(policy_for(url, witness.key)) == (0, {})
    with database.transaction() as session:
        assert cosigned_at(service.published_checkpoint(session), witness.key) > 0
        assert service.witnessed_checkpoint(session) == service.published_checkpoint(session)
    assert witness.logs()[0].size == 305
    record_many(1)
    sequencer.seal_once()
    with database.transaction() as session:
        with pytest.raises(SignatureInvalid):
            cosigned_at(service.published_checkpoint(session), witness.key)
        assert "\n305\n" in service.witnessed_checkpoint(session)


def test_a_receipt_carries_the_cosignature(database, record_many, sequencer, witness, submit, verifier):
    ids = record_many(5)
    sequencer.seal_once()
    with serving(witness_app(witness)) as url:
        submit(policy_for(url, witness.key))
    younger = record_many(1)
    sequencer.seal_once()
    with database.transaction() as session:
        receipt, young = service.proof(session, ids[3]), service.proof(session, younger[0])
        (entry,) = store.raw(session).execute("SELECT leaf FROM audit_event WHERE id = %s", (ids[3],)).fetchone()
    tree = outside_verifier.checkpoint(receipt.partition("\n\n")[2].encode(), verifier.vkey, (witness.key.vkey,))
    assert list(tree.cosigned) == ["witness.regulator.example"]
    assert outside_verifier.check_receipt(receipt, entry.encode(), verifier.vkey).size == 5
    assert "\n6\n" in young.partition("\n\n")[2], "an entry that no witness has seen yet has the log's own word"


def test_a_log_that_forgot_what_it_cosigned_is_told_and_goes_on_from_there(record_many, sequencer, witness, submit, unguarded):
    with serving(witness_app(witness)) as url:
        record_many(5)
        sequencer.seal_once()
        submit(policy_for(url, witness.key))
        unguarded.execute("DELETE FROM log_cosignature")
        record_many(5)
        sequencer.seal_once()
        assert submit(policy_for(url, witness.key)) == (1, {})
    assert witness.logs()[0].size == 10


def test_a_restored_older_log_is_stopped_by_what_a_witness_remembers(
    record_many, sequencer, witness, submit, unguarded, log_database, test_settings, keys, tmp_path
):
    """The database is older, and the machine is new: neither remembers. The witness does (F-22)."""
    with serving(witness_app(witness)) as url:
        policy = policy_for(url, witness.key)
        record_many(5)
        sequencer.seal_once()
        record_many(1)
        sequencer.seal_once()
        submit(policy)
        unguarded.execute("DELETE FROM audit_event WHERE id = (SELECT event_id FROM log_entry WHERE index = 5)")
        unguarded.execute("DELETE FROM log_cosignature; DELETE FROM log_checkpoint WHERE size > 5; DELETE FROM log_entry WHERE index >= 5")
        unguarded.execute("UPDATE log_state SET size = 5, root = (SELECT root FROM log_checkpoint WHERE size = 5), cursor_xid = '0', cursor_seq = 0")
        new_machine = test_settings.model_copy(update={"var": tmp_path / "new"})
        submitter = Submitter(log_database, policy)
        with pytest.raises(LogDamaged, match="regulator has cosigned 6 entries and the log holds 5"):
            Sequencer(log_database, new_machine, keys, submitter.check_not_behind).seal_once()
    # A witness that is away says nothing either way; when it is back, it does not cosign the other history.
    record_many(1)
    Sequencer(log_database, new_machine, keys, submitter.check_not_behind).seal_once()
    with serving(witness_app(witness)) as url:
        cosigned, trouble = submit(policy_for(url, witness.key))
    assert (cosigned, list(trouble)) == (0, ["regulator"])


@pytest.mark.parametrize(
    ("status", "body", "media_type"),
    [
        (200, b"", "text/plain"),
        (200, "— witness.regulator.example AAAA\n".encode(), "text/plain"),
        (200, b"x" * 100_000, "text/plain"),
        (200, b"\xff\xfe", "text/plain"),
        (302, b"", "text/plain"),
        (409, b"7\n", "text/plain"),
        (409, b"07\n", "text/x.tlog.size"),
        (409, b"3\n", "text/x.tlog.size"),
        (409, b"9999\n", "text/x.tlog.size"),
        (422, b"no\x07", "text/plain"),
        (500, b"", "text/plain"),
    ],
)
def test_what_is_no_cosignature_is_kept_nowhere(record_many, sequencer, witness, submit, owner, status, body, media_type):
    record_many(5)
    sequencer.seal_once()
    with answering(status, body, media_type) as url:
        cosigned, trouble = submit(policy_for(url, witness.key))
    assert (cosigned, list(trouble)) == (0, ["regulator"])
    assert trouble["regulator"].isprintable()
    assert owner.execute("SELECT count(*) FROM log_cosignature").fetchone() == (0,)


def test_a_witness_that_is_not_there_is_asked_again_later_and_not_at_once(record_many, sequencer, witness, log_database, owner):
    record_many(5)
    sequencer.seal_once()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    submitter = Submitter(log_database, policy_for(url, witness.key))
    assert submitter.submit(owner) == 0
    assert submitter.trouble == {"regulator": "ConnectError"}
    started = time.monotonic()
    assert submitter.submit(owner) == 0
    assert time.monotonic() - started < 3, "it was left alone"


def test_health_says_how_far_a_witness_is_behind(database, record_many, sequencer, witness, submit, set_clock):
    from datetime import timedelta

    with serving(witness_app(witness)) as url:
        policy = policy_for(url, witness.key)
        record_many(5)
        sequencer.seal_once()
        submit(policy)
    with database.transaction() as session:
        health = service.health(session, policy)
    assert (health.size, health.unsealed, health.warnings, health.quorum) == (5, 0, (), True)
    assert [(one.name, one.size, one.behind_seconds) for one in health.witnesses] == [("regulator", 5, 0)]
    assert (health.cosigned_size, health.cosigned_seconds is not None) == (5, True)
    record_many(2)
    sequencer.seal_once()
    record_many(1)
    set_clock(timedelta(hours=1))
    with database.transaction() as session:
        health = service.health(session, policy)
    assert (health.unsealed, health.warnings, health.quorum) == (1, ("unsealed", "unwitnessed"), False)
    assert health.unsealed_seconds >= 3590
    assert health.witnesses[0].behind_seconds >= 3590


def test_sealing_asks_the_witnesses_of_the_settings(log_database, test_settings, keys, record_many, witness, tmp_path, owner):
    with serving(witness_app(witness)) as url:
        (tmp_path / "policy").write_text(f"witness regulator {witness.key.vkey} {url}\nquorum regulator\n")
        chosen = test_settings.model_copy(update={"witness_policy": tmp_path / "policy"})
        sealing, stop = Sealing(log_database, chosen, keys), threading.Event()
        thread = threading.Thread(target=sealing.run, args=(stop,), daemon=True)
        thread.start()
        record_many(9)
        until = time.monotonic() + 60
        while owner.execute("SELECT max(size) FROM log_cosignature").fetchone() != (9,):
            assert time.monotonic() < until, (sealing.trouble, sealing.witness_trouble)
            time.sleep(0.05)
        assert (sealing.trouble, sealing.witness_trouble) == (None, {})
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.peers
def test_the_go_packages_read_our_witness_and_an_export_of_what_it_cosigned(database, record_many, sequencer, witness, submit, verifier, tmp_path):
    if not (BUILT / "log-verifier").exists():
        pytest.skip("no peers: install Go and run `make peers`")
    record_many(300)
    sequencer.seal_once()
    with serving(witness_app(witness)) as url:
        submit(policy_for(url, witness.key))
    record_many(10)
    sequencer.seal_once()
    with database.transaction() as session:
        assert export(store.raw(session), tmp_path / "log", witnessed=True).size == 300
    outside_verifier.verify(tmp_path / "log", verifier.vkey, (), (witness.key.vkey,))
    run = [BUILT / "log-verifier", "-key", verifier.vkey, "-witness"]
    done = subprocess.run([*run, witness.key.vkey, tmp_path / "log"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "verified: 300 entries"), done.stderr
    stranger = WitnessKey.of("witness.regulator.example", Ed25519PrivateKey.generate())
    assert subprocess.run([*run, stranger.vkey, tmp_path / "log"], capture_output=True, check=False, timeout=60).returncode == 1


@pytest.mark.peers
def test_somebody_elses_witness_cosigns_our_log(record_many, sequencer, submit, verifier, tmp_path, owner):
    """litewitness, a witness of the public network: it takes our submissions, and we believe its cosignatures."""
    if not (BUILT / "litewitness").exists():
        pytest.skip("no peers: install Go and run `make peers`")
    key = Ed25519PrivateKey.generate()
    name, log = "witness.partner.example", tmp_path / "witness.db"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    agent_socket = Path(os.path.relpath(tmp_path / "a"))
    with ssh_agent.running(agent_socket, key) as agent:
        command = [BUILT / "litewitness", "-name", name, "-db", log, "-key", agent.fingerprint, "-ssh-agent", agent_socket, "-listen", address]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                until = time.monotonic() + 30
                while True:
                    try:
                        socket.create_connection(tuple(address.split(":")), 1).close()
                        break
                    except OSError:
                        assert process.poll() is None, process.stderr.read()
                        assert time.monotonic() < until
                        time.sleep(0.05)
                with sqlite3.connect(log) as database:
                    database.execute("INSERT INTO log VALUES (?, 0, ?)", (verifier.name, b64encode(EMPTY_ROOT).decode()))
                    database.execute("INSERT INTO key VALUES (?, ?)", (verifier.name, verifier.vkey))
                witness = WitnessKey.of(name, key)
                for count in (3, 300):
                    record_many(count)
                    sequencer.seal_once()
                    assert submit(policy_for(f"http://{address}", witness)) == (1, {})
                (line,) = owner.execute("SELECT line FROM log_cosignature WHERE size = 303").fetchone()
                assert line.startswith(f"— {name} ")
            finally:
                process.terminate()


def test_the_commands_of_a_witness(tmp_path, verifier):
    def run(*arguments):
        return CliRunner().invoke(witness_commands, list(map(str, arguments)))

    state = tmp_path / "state"
    made = run("init", "--state", state, "--name", "witness.regulator.example")
    assert made.exit_code == 0
    assert WitnessKey.parse(made.stdout).name == "witness.regulator.example"
    assert run("init", "--state", state, "--name", "witness.regulator.example").exit_code == 1
    assert run("init", "--state", tmp_path / "other", "--name", "a b").exit_code == 2
    assert run("add-log", "--state", state, verifier.vkey).exit_code == 0
    assert run("add-log", "--state", state, "nonsense").exit_code == 2
    assert run("logs", "--state", state).stdout == f"0 {verifier.name}\n"
    assert run("serve", "--state", tmp_path / "nowhere").exit_code == 1
    assert (state / "key.pem").stat().st_mode & 0o077 == 0
    assert Verifier.parse(verifier.vkey) == verifier
