"""Signed notes and checkpoints, byte for byte as C2SP signed-note and tlog-checkpoint (v1.0.0) have them. Pure.

A checkpoint is three lines (origin, size, root), a blank line, and a signature line. Base64 must be canonical: a second
spelling of the same bytes is refused, so that two copies of one checkpoint can be compared as text.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from broker.audit.tree import HASH_BYTES

ED25519 = 0x01
KEY_ID_BYTES = 4

#: Verifiers accept at least 16 signatures (signed-note, "Format"); a witnessed note may carry many.
MAX_SIGNATURES = 100
MAX_NOTE_CHARACTERS = 1_000_000

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
#: No white space, no plus sign, no control characters.
_NAME = re.compile(r"[^\s+\x00-\x1f]+")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteInvalid(ValueError):
    """The text is not a note, checkpoint or key of the required form."""


class SignatureInvalid(NoteInvalid):
    """The note is not signed by the key, or the signature is wrong."""


def to_base64(data: bytes) -> str:
    """Standard Base64 (RFC 4648 section 4) with padding."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """The bytes; raises NoteInvalid unless this is the one canonical spelling of them."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteInvalid("not Base64") from error
    if to_base64(data) != text:
        raise NoteInvalid("Base64 that is not canonical")
    return data


def check_name(name: str) -> None:
    """Raise NoteInvalid unless this may be a key name or origin: not empty, no spaces, no plus sign, no control characters."""
    if not _NAME.fullmatch(name):
        raise NoteInvalid("a key name has no spaces and no plus sign")


@dataclass(frozen=True)
class Verifier:
    """An Ed25519 public key (32 bytes) and the name it signs under."""

    name: str
    public_key: bytes

    @cached_property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || 0x01 || public key)[:4]."""
        return sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.public_key).digest()[:KEY_ID_BYTES]

    @property
    def vkey(self) -> str:
        """What an auditor is given: ``<name>+<key id in hex>+<base64(0x01 || public key)>``."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([ED25519]) + self.public_key)}"

    @classmethod
    def of(cls, name: str, key: Ed25519PrivateKey) -> Verifier:
        """The verifier of what this private key signs under this name."""
        check_name(name)
        return cls(name, key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read a vkey. Raises NoteInvalid."""
        # Neither the name nor the key id holds a plus sign, but Base64 may.
        parts = vkey.strip().split("+", 2)
        if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
            raise NoteInvalid("a verifier key is name+id+key")
        check_name(parts[0])
        key = from_base64(parts[2])
        if len(key) != 1 + HASH_BYTES or key[0] != ED25519:
            raise NoteInvalid("the verifier key is not an Ed25519 key")
        verifier = cls(parts[0], key[1:])
        if verifier.key_id.hex() != parts[1]:
            raise NoteInvalid("the key id does not fit the verifier key")
        return verifier


def sign_note(text: str, name: str, *keys: Ed25519PrivateKey) -> str:
    """The note: text, blank line, and one signature line for each key. ``text`` ends in a newline."""
    _check_characters(text)
    if not text.endswith("\n") or not keys:
        raise NoteInvalid("a note's text ends in a newline, and somebody signs it")
    lines = [f"— {name} {to_base64(Verifier.of(name, key).key_id + key.sign(text.encode()))}\n" for key in keys]
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, *verifiers: Verifier) -> str:
    """The text of a note that one of these keys signed. Signatures of keys that are not known are passed over.

    Raises NoteInvalid for a wrong form, SignatureInvalid when none of the keys signed it or a signature of one of them fails.
    """
    text, lines = split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    signed = False
    for name, key_id, signature in lines:
        verifier = known.get((name, key_id))
        if verifier is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(signature, text.encode())
        except (InvalidSignature, ValueError) as error:
            raise SignatureInvalid("the signature is wrong") from error
        signed = True
    if not signed:
        raise SignatureInvalid("it is not signed by the log's key")
    return text


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The signed text, and name, key id and signature of each line under it; nothing is verified yet. Raises NoteInvalid."""
    _check_characters(note)
    text, found, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not found or len(lines) < 2 or lines.pop() != "":
        raise NoteInvalid("a note ends in signature lines behind a blank line")
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid("too many signatures")
    return f"{text}\n", [_signature_line(line) for line in lines]


def _signature_line(line: str) -> tuple[str, bytes, bytes]:
    """Name, key id and signature of one line."""
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise NoteInvalid("a signature line is: dash, name, signature")
    check_name(parts[1])
    data = from_base64(parts[2])
    if len(data) <= KEY_ID_BYTES:
        raise NoteInvalid("a signature is missing")
    return parts[1], data[:KEY_ID_BYTES], data[KEY_ID_BYTES:]


def _check_characters(text: str) -> None:
    if len(text) > MAX_NOTE_CHARACTERS:
        raise NoteInvalid("the note is too long")
    if _CONTROL.search(text):
        raise NoteInvalid("a note has no control characters")


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: its origin, how many entries it holds, and their root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"

    def signed(self, *keys: Ed25519PrivateKey) -> str:
        """The checkpoint as a note, signed under its origin by each of these keys."""
        return sign_note(self.text, self.origin, *keys)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the signed text. Lines that extend it are allowed by the format and passed over. Raises NoteInvalid."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] != "":
            raise NoteInvalid("a checkpoint has three lines")
        check_name(lines[0])
        if not _SIZE.fullmatch(lines[1]):
            raise NoteInvalid("the size is a decimal number without leading zeros")
        root = from_base64(lines[2])
        if len(root) != HASH_BYTES:
            raise NoteInvalid("the root is 32 bytes")
        if "" in lines[3:-1]:
            raise NoteInvalid("an extension line is not empty")
        return cls(lines[0], int(lines[1]), root)

    @classmethod
    def opened(cls, note: str, *verifiers: Verifier) -> Checkpoint:
        """The checkpoint of a note that one of a log's keys signed under the log's own origin. Raises NoteInvalid or SignatureInvalid."""
        origin = note.partition("\n")[0]
        named = [verifier for verifier in verifiers if verifier.name == origin]
        if not named and any(line[0] == verifier.name for line in split_note(note)[1] for verifier in verifiers):
            raise NoteInvalid("the origin is another log's")
        return cls.parse(open_note(note, *named))


def decode(data: bytes) -> str:
    """A note's text from bytes. Raises NoteInvalid when they are not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteInvalid("a note is UTF-8") from error
