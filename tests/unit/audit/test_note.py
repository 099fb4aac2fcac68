"""Signed notes, verifier keys and checkpoints against the vectors that other implementations accept."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.note import Checkpoint, NoteInvalid, SignatureInvalid, Verifier, decode, from_base64, open_note, sign_note, to_base64
from broker.audit.tree import EMPTY_ROOT, Frontier, leaf_hash
from tests.factories.audit import ORIGIN, VECTOR_ENTRIES, VECTOR_KEY, VERIFIER

VKEY = "broker.hospital.example/disclosure-log+e464afa9+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
CHECKPOINT = """broker.hospital.example/disclosure-log
3
INjhvTAoW+GIjIbwNrEsVKekS7nFWj1BePFwtgdD76o=

— broker.hospital.example/disclosure-log 5GSvqbiO5nkXWKN1Y4RN1gLM9vGp/dXw7N/MYBXjnD6VEcmlav2l3bumfOKO8PpiCBlL76DKw8vZKWCSArmju6O+Tw4=
"""


def test_the_published_checkpoint_byte_for_byte():
    frontier = Frontier()
    for entry in VECTOR_ENTRIES:
        frontier.append(leaf_hash(entry))
    assert Checkpoint(ORIGIN, frontier.size, frontier.root()).signed(VECTOR_KEY) == CHECKPOINT
    assert VERIFIER.vkey == VKEY
    opened = Checkpoint.opened(CHECKPOINT, Verifier.parse(VKEY))
    assert (opened.origin, opened.size, opened.root) == (ORIGIN, 3, frontier.root())


def test_the_verifier_key_of_the_specification():
    vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    verifier = Verifier.parse(vkey)
    assert (verifier.name, verifier.key_id.hex(), verifier.vkey) == ("example.com/foo", "530d903a", vkey)


def test_the_empty_tree():
    assert Checkpoint(ORIGIN, 0, EMPTY_ROOT).text == f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


@pytest.mark.parametrize(
    "vkey",
    [
        VKEY.replace("e464afa9", "e464afa8"),
        VKEY.replace("disclosure-log", "other-log"),
        VKEY.replace("+AQ", "+BA"),
        VKEY[:-2],
        "name+e464afa9",
        "na me+e464afa9+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
        "",
    ],
)
def test_a_verifier_key_that_does_not_hold_together_is_refused(vkey):
    with pytest.raises(NoteInvalid):
        Verifier.parse(vkey)


def test_base64_has_one_spelling():
    assert from_base64("AAE=") == b"\0\1"
    for other in ("AAF=", "AAE", "AAE=\n", "AA E=", "AAE=AAE=", "_-8=", "é"):
        with pytest.raises(NoteInvalid):
            from_base64(other)


def test_a_checkpoint_in_another_spelling_is_refused():
    root_line = CHECKPOINT.split("\n")[2]
    respelt = root_line.replace("D76o=", "D76p=")
    assert base64.b64decode(respelt) == base64.b64decode(root_line)
    text = Checkpoint(ORIGIN, 3, from_base64(root_line)).text.replace(root_line, respelt)
    with pytest.raises(NoteInvalid):
        Checkpoint.opened(sign_note(text, ORIGIN, VECTOR_KEY), VERIFIER)
    signature = CHECKPOINT.rstrip("\n").rsplit(" ", 1)[1]
    assert signature.endswith("4=")
    with pytest.raises(NoteInvalid):
        open_note(CHECKPOINT.replace("w4=\n", "w5=\n"), VERIFIER)


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n03\n{'A' * 43}=\n",
        f"{ORIGIN}\n-1\n{'A' * 43}=\n",
        f"{ORIGIN}\n٣\n{'A' * 43}=\n",
        f"{ORIGIN}\n3\n{'A' * 44}\n",
        f"{ORIGIN}\n3\n",
        f"two words\n3\n{'A' * 43}=\n",
        f"\n3\n{'A' * 43}=\n",
    ],
)
def test_a_checkpoint_of_another_form_is_refused(text):
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text)


def test_signatures_of_unknown_keys_are_passed_over_and_sixteen_fit():
    others = [Ed25519PrivateKey.generate() for _ in range(15)]
    text = Checkpoint.opened(CHECKPOINT, VERIFIER).text
    lines = [sign_note(text, f"witness{number}.example", key).rsplit("\n\n", 1)[1] for number, key in enumerate(others)]
    same_name = sign_note(text, ORIGIN, others[0]).rsplit("\n\n", 1)[1]
    assert open_note(CHECKPOINT + "".join(lines) + same_name, VERIFIER) == text
    with pytest.raises(SignatureInvalid):
        open_note(text + "\n" + "".join(lines) + same_name, VERIFIER)


def test_a_wrong_signature_of_the_known_key_spoils_a_right_one():
    wrong = to_base64(VERIFIER.key_id + bytes(64))
    with pytest.raises(SignatureInvalid):
        open_note(f"{CHECKPOINT}— {ORIGIN} {wrong}\n", VERIFIER)


def test_the_text_may_hold_blank_lines():
    note = sign_note("one\n\ntwo\n", ORIGIN, VECTOR_KEY)
    assert open_note(note, VERIFIER) == "one\n\ntwo\n"


@pytest.mark.parametrize("text", ["no newline", "tab\there\n", "null\0\n", "return\r\n"])
def test_text_that_no_note_may_hold(text):
    with pytest.raises(NoteInvalid):
        sign_note(text, ORIGIN, VECTOR_KEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u3000b", "a\x1f"])
def test_names_that_no_key_may_have(name):
    with pytest.raises(NoteInvalid):
        Verifier.of(name, VECTOR_KEY)


def test_another_origin_under_the_same_key_is_another_log():
    with pytest.raises(NoteInvalid):
        Checkpoint.opened(sign_note(f"other.example/log\n0\n{to_base64(EMPTY_ROOT)}\n", ORIGIN, VECTOR_KEY), VERIFIER)


@given(st.integers(0, len(CHECKPOINT.encode()) * 8 - 1))
@settings(max_examples=300, deadline=None)
def test_any_flipped_bit_is_found(bit):
    data = bytearray(CHECKPOINT.encode())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NoteInvalid):
        Checkpoint.opened(decode(bytes(data)), VERIFIER)


@given(st.text(max_size=200))
def test_no_text_does_worse_than_be_refused(text):
    for read in (lambda: open_note(text, VERIFIER), lambda: Checkpoint.parse(text), lambda: Verifier.parse(text)):
        with pytest.raises(NoteInvalid):
            read()
