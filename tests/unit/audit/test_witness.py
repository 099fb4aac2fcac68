"""The witness: it cosigns what continues, and nothing else (C2SP tlog-witness, tlog-cosignature, tlog-policy)."""

import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi.testclient import TestClient

from broker.audit.cosignature import WitnessKey, cosign, cosigned_at
from broker.audit.note import Checkpoint, NoteInvalid, SignatureInvalid, Verifier, split_note
from broker.audit.tree import EMPTY_ROOT, consistency_proof, leaf_hash, root_of_range, subtree_root
from broker.audit.witness import StateLost, Witness, witness_app
from broker.audit.witness_policy import PolicyUnreadable, parse
from tests.factories.audit import ORIGIN, VECTOR_KEY, VERIFIER
from tests.fakes.full_disk import no_file_beyond

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
NAME = "witness.example.com/w1"


class Log:
    """A log in memory: checkpoints of any size of it, and proofs between them."""

    def __init__(self, entries, key=VECTOR_KEY, origin=ORIGIN):
        self.hashes = [leaf_hash(entry) for entry in entries]
        self.key, self.origin = key, origin

    def node(self, level, index):
        return subtree_root(self.hashes[index << level : (index + 1) << level])

    def note(self, size):
        return Checkpoint(self.origin, size, root_of_range(0, size, self.node)).signed(self.key)

    def request(self, old, size, claimed=None):
        proof = consistency_proof(old, size, self.node) if old <= size else []
        encoded = "".join(f"{_b64(item)}\n" for item in proof)
        return f"old {old if claimed is None else claimed}\n{encoded}\n{self.note(size)}"


def _b64(data):
    from base64 import b64encode

    return b64encode(data).decode()


@pytest.fixture
def log():
    return Log([b"%d" % number for number in range(40)])


@pytest.fixture
def witness(tmp_path):
    witness = Witness.create(tmp_path / "witness", NAME)
    witness.add_log(VERIFIER)
    return witness


def status(witness, body):
    return witness.add_checkpoint(body).status


class TestCosignature:
    def test_the_form_of_the_specification(self):
        """The key id has algorithm byte 4, the signature begins with the time; only then 64 bytes of Ed25519."""
        note = Checkpoint(ORIGIN, 0, EMPTY_ROOT).signed(VECTOR_KEY)
        text, _ = split_note(note)
        line = cosign(text, NAME, OTHER_KEY, 1679315147)
        _, ((_, _, _), (name, key_id, signature)) = split_note(note + line)
        assert (name, key_id, len(signature)) == (NAME, WitnessKey.of(NAME, OTHER_KEY).key_id, 72)
        assert int.from_bytes(signature[:8], "big") == 1679315147
        OTHER_KEY.public_key().verify(signature[8:], b"cosignature/v1\ntime 1679315147\n" + text.encode())

    def test_the_example_of_the_specification_is_read(self):
        """Its key is not published, but name, key id and time are there to be read."""
        note = (
            "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
            "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
            "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
        )
        _, lines = split_note(note)
        assert lines[1][0] == NAME
        assert int.from_bytes(lines[1][2][:8], "big") == 1679315147

    def test_a_key_is_written_and_read_one_way(self):
        key = WitnessKey.of(NAME, OTHER_KEY)
        assert WitnessKey.parse(key.vkey) == key
        for wrong in (key.vkey.replace("w1", "w2"), Verifier.of(NAME, OTHER_KEY).vkey, "a+b+c", ""):
            with pytest.raises(NoteInvalid):
                WitnessKey.parse(wrong)

    def test_only_its_own_good_signature_counts(self, log):
        note = log.note(7)
        text, _ = split_note(note)
        key = WitnessKey.of(NAME, OTHER_KEY)
        assert cosigned_at(note + cosign(text, NAME, OTHER_KEY, 5) + cosign(text, NAME, OTHER_KEY, 9), key) == 9
        for bad in ("", cosign(text, "another.example", OTHER_KEY, 5), cosign(text.replace("7", "8"), NAME, OTHER_KEY, 5)):
            with pytest.raises(SignatureInvalid):
                cosigned_at(note + bad, key)


class TestWitness:
    def test_it_cosigns_what_continues(self, witness, log):
        for old, size in ((0, 3), (3, 3), (3, 8), (8, 40)):
            answer = witness.add_checkpoint(log.request(old, size))
            assert answer.status == 200, answer
            assert cosigned_at(log.note(size) + answer.body, witness.key) > 0
        assert [(one.size, one.origin) for one in witness.logs()] == [(40, ORIGIN)]

    def test_an_empty_log_is_cosigned_too(self, witness, log):
        assert status(witness, log.request(0, 0)) == 200

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("", 400),
            ("old 1\n", 400),
            ("old 01\n\nx", 400),
            ("old -1\n\nx", 400),
            ("old 0\nAAAA\n\nx", 400),
            ("old 0\n" + f"{'A' * 43}=\n" * 64 + "\nx", 400),
        ],
    )
    def test_what_is_no_request(self, witness, body, code):
        assert status(witness, body) == code

    def test_a_log_nobody_told_of(self, witness):
        assert status(witness, Log([b"x"], origin="elsewhere.example/log").request(0, 1)) == 404

    def test_a_checkpoint_of_another_key(self, witness):
        assert status(witness, Log([b"x"], key=OTHER_KEY).request(0, 1)) == 403

    def test_both_keys_of_a_log_that_changes_its_key(self, witness, log):
        assert status(witness, log.request(0, 3)) == 200
        witness.add_log(Verifier.of(ORIGIN, OTHER_KEY))
        later = Log([b"%d" % number for number in range(40)], key=OTHER_KEY)
        assert status(witness, later.request(3, 9)) == 200
        assert status(witness, log.request(9, 10)) == 200

    def test_an_old_size_beyond_the_checkpoint(self, witness, log):
        assert status(witness, log.request(0, 3, claimed=4)) == 400

    def test_an_old_size_that_is_not_the_newest_cosigned_one_is_told(self, witness, log):
        assert status(witness, log.request(0, 8)) == 200
        answer = witness.add_checkpoint(log.request(3, 9))
        assert (answer.status, answer.body, answer.media_type) == (409, "8\n", "text/x.tlog.size")
        assert witness.add_checkpoint(log.request(0, 0)).status == 409

    def test_a_smaller_tree_is_never_cosigned_again(self, witness, log):
        assert status(witness, log.request(0, 8)) == 200
        assert status(witness, log.request(8, 3, claimed=8)) == 400
        assert status(witness, log.request(0, 3)) == 409
        assert witness.logs()[0].size == 8

    def test_a_fork_of_the_same_size_is_refused_and_kept_as_evidence(self, witness, log, tmp_path):
        assert status(witness, log.request(0, 8)) == 200
        fork = Log([b"other%d" % number for number in range(40)])
        answer = witness.add_checkpoint(fork.request(8, 8))
        assert (answer.status, answer.body) == (409, "8\n")
        assert status(witness, fork.request(8, 12)) == 422
        (evidence,) = (tmp_path / "witness").glob("*.evidence")
        assert evidence.read_text() == fork.note(12)
        assert witness.logs()[0].root == root_of_range(0, 8, log.node)

    def test_a_proof_where_none_belongs(self, witness, log):
        first = log.request(0, 3)
        assert status(witness, first.replace("old 0\n", f"old 0\n{_b64(log.hashes[0])}\n")) == 422

    def test_it_remembers_across_restarts(self, witness, log, tmp_path):
        assert status(witness, log.request(0, 8)) == 200
        again = Witness(tmp_path / "witness")
        assert again.key == witness.key
        assert status(again, log.request(0, 9)) == 409
        assert status(again, log.request(8, 9)) == 200

    def test_what_cannot_be_kept_is_not_cosigned(self, witness, log):
        """F-07: the disk is full. The log is told to come back, and the witness goes on from the tree that it has kept."""
        client = TestClient(witness_app(witness))
        assert client.post("/add-checkpoint", content=log.request(0, 8)).status_code == 200
        with no_file_beyond(10):
            answer = client.post("/add-checkpoint", content=log.request(8, 9))
        assert answer.status_code == 503
        assert "—" not in answer.text
        assert status(witness, log.request(9, 9)) == 409, "it stands where it stood"
        assert client.post("/add-checkpoint", content=log.request(8, 9)).status_code == 200

    def test_a_damaged_state_cosigns_nothing(self, witness, log, tmp_path):
        (state,) = (tmp_path / "witness").glob("*.tree")
        state.write_text("nonsense")
        with pytest.raises(StateLost):
            witness.add_checkpoint(log.request(0, 8))
        client = TestClient(witness_app(witness))
        assert client.post("/add-checkpoint", content=log.request(0, 8)).status_code == 500

    def test_a_lost_state_is_not_taken_for_a_new_log(self, witness, log, tmp_path):
        assert status(witness, log.request(0, 8)) == 200
        (state,) = (tmp_path / "witness").glob("*.tree")
        state.unlink()
        assert status(witness, log.request(0, 3)) == 404

    def test_many_at_once_never_roll_back(self, witness, log):
        """The race that the specification warns of: check and record are one act."""
        sizes, answers = list(range(1, 33)), []

        def submit(size):
            for _ in range(200):
                old = witness.logs()[0].size
                if old > size:
                    return
                answer = witness.add_checkpoint(log.request(old, size))
                if answer.status == 200:
                    answers.append(size)
                    return

        threads = [threading.Thread(target=submit, args=(size,)) for size in sizes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == sorted(answers)
        assert witness.logs()[0].size == 32

    def test_over_http(self, witness, log):
        client = TestClient(witness_app(witness))
        answer = client.post("/add-checkpoint", content=log.request(0, 8))
        assert (answer.status_code, answer.text.startswith(f"— {NAME} ")) == (200, True)
        answer = client.post("/add-checkpoint", content=log.request(3, 9))
        assert (answer.status_code, answer.headers["content-type"], answer.text) == (409, "text/x.tlog.size", "8\n")
        assert client.post("/add-checkpoint", content=b"\xff").status_code == 400
        assert client.post("/add-checkpoint", content=b"x" * 70_000).status_code == 413
        assert client.get("/key").text.strip() == witness.key.vkey
        assert client.get("/add-checkpoint").status_code == 405


class TestPolicy:
    @pytest.fixture
    def keys(self):
        return [WitnessKey.of(f"w{number}.example", Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)).vkey for number in range(6)]

    def test_groups_of_groups(self, keys):
        text = "".join(f"witness {name} {key}\n" for name, key in zip(["X1", "X2", "X3", "Y1", "Y2", "Y3"], keys, strict=True))
        policy = parse(
            f"# ours\nlog {VERIFIER.vkey} https://h.example/log\n{text}\tgroup X 2 X1 X2 X3\ngroup Y any Y1 Y2 Y3\n group both all X Y\nquorum both\n"
        )
        assert policy.satisfied({"X1", "X3", "Y2"})
        assert not policy.satisfied({"X1", "X2", "X3"})
        assert not policy.satisfied({"X1", "Y1", "Y2", "Y3"})
        assert policy.logs == (VERIFIER,)

    def test_no_quorum_demands_nobody(self):
        assert parse("quorum none\n").satisfied(set())

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "witness a {0}\n",
            "quorum a\nwitness a {0}\n",
            "witness a {0}\nquorum b\n",
            "witness a {0}\nquorum a\nquorum a\n",
            "witness a {0}\nwitness a {1}\nquorum a\n",
            "witness a {0}\nwitness b {0}\nquorum a\n",
            "witness none {0}\nquorum none\n",
            "witness a {0}\ngroup g 2 a\nquorum g\n",
            "witness a {0}\ngroup g 0 a\nquorum g\n",
            "witness a {0}\ngroup g any\nquorum g\n",
            "witness a {0}\ngroup g any b\nquorum g\n",
            "witness a {0}\ngroup g any a\ngroup h any a g\nquorum h\n",
            "witness a {0} x y\nquorum a\n",
            "witness a\x07 {0}\nquorum none\n",
            "log {0}\nquorum none\n",
            "hello\nquorum none\n",
        ],
    )
    def test_what_is_no_policy(self, keys, text):
        with pytest.raises(PolicyUnreadable):
            parse(text.format(*keys))
