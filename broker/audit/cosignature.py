"""Cosignatures of witnesses, byte for byte as C2SP tlog-cosignature (v1.0.1) has them, in its Ed25519 form. Pure.

A cosignature says: as of this second, the largest tree of this log that I have seen is this one, and it continues every
other that I cosigned. Whoever demands one from somebody independent can't be shown a history of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from broker.audit.note import KEY_ID_BYTES, NoteInvalid, SignatureInvalid, check_name, from_base64, split_note, to_base64
from broker.audit.tree import HASH_BYTES

COSIGNATURE_ED25519 = 0x04
TIME_BYTES = 8
#: A time beyond this is refused (tlog-cosignature, "Format").
MAX_TIME = 2**63 - 1

_VKEY = re.compile(r"(?P<name>[^+\s]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")


@dataclass(frozen=True)
class WitnessKey:
    """The Ed25519 public key (32 bytes) that a witness cosigns with, and its name."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || 0x04 || public key)[:4]."""
        return sha256(self.name.encode() + b"\n" + bytes([COSIGNATURE_ED25519]) + self.public_key).digest()[:KEY_ID_BYTES]

    @property
    def vkey(self) -> str:
        """What those are given who shall believe this witness: ``<name>+<key id in hex>+<base64(0x04 || public key)>``."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([COSIGNATURE_ED25519]) + self.public_key)}"

    @classmethod
    def of(cls, name: str, key: Ed25519PrivateKey) -> WitnessKey:
        """The public side of the key that a witness holds."""
        check_name(name)
        return cls(name, key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, vkey: str) -> WitnessKey:
        """Read a vkey. Raises NoteInvalid."""
        match = _VKEY.fullmatch(vkey.strip())
        data = from_base64(match["key"]) if match else b""
        if match is None or len(data) != 1 + HASH_BYTES or data[0] != COSIGNATURE_ED25519:
            raise NoteInvalid("not the key of an Ed25519 witness")
        check_name(match["name"])
        key = cls(match["name"], data[1:])
        if key.key_id.hex() != match["id"]:
            raise NoteInvalid("the key id does not fit the witness key")
        return key


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def cosign(text: str, name: str, key: Ed25519PrivateKey, at: int) -> str:
    """The signature line of a witness under a checkpoint's text at POSIX second ``at``, with its newline."""
    signature = key.sign(_message(text, at))
    return f"— {name} {to_base64(WitnessKey.of(name, key).key_id + at.to_bytes(TIME_BYTES, 'big') + signature)}\n"


def cosigned_at(note: str, witness: WitnessKey) -> int:
    """The latest POSIX second at which this witness cosigned this note. Raises NoteInvalid or, without a good one, SignatureInvalid."""
    text, lines = split_note(note)
    times = []
    for name, key_id, signature in lines:
        if (name, key_id) != (witness.name, witness.key_id):
            continue
        at = int.from_bytes(signature[:TIME_BYTES], "big")
        if at > MAX_TIME:
            raise SignatureInvalid("the time of the cosignature is beyond all times")
        try:
            Ed25519PublicKey.from_public_bytes(witness.public_key).verify(signature[TIME_BYTES:], _message(text, at))
        except (InvalidSignature, ValueError) as error:
            raise SignatureInvalid("the cosignature is wrong") from error
        times.append(at)
    if not times:
        raise SignatureInvalid("this witness did not cosign")
    return max(times)
