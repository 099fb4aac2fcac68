"""What the independent checker has passed, sealed: the entries of one whole release, ready to be sent again.

The key of the seal comes from the patient's data key and from a key that only this file derives. :func:`checked_and_sealed` has the checker
look at the very resources that it seals, and nothing else makes such a seal; so whatever opens was passed by the checker, for this patient,
grant, basis, epoch and number of changes, which are bound as associated data (docs/decisions/0031). Whether it may leave now is asked at
each release (``release.prepared``).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.crypto import NONCE_BYTES, Keys
from broker.errors import Problem
from broker.fhir.checker import Checker
from broker.records import service as records
from broker.release.bundle import entries

#: zstd level of the entries: above it the gain is small.
LEVEL = 3


class Contents(msgspec.Struct, array_like=True, frozen=True):
    """What has to be known of the entries to ask whether they may leave now, and what the record says of them."""

    windows: dict[str, tuple[int | None, int | None]]  #: epoch seconds within which it looked, of types with dates and a period
    extents: dict[str, records.Extent]  #: within which dates the rows lie that it found there
    reaches: dict[str, tuple[float, float]]  #: the same by the checker's reading of what is shown
    watched: tuple[bytes, ...]  #: blinded shared resources that it looked for
    state: bytes  #: of those that it found
    shared: bool  #: whether it found any
    types: tuple[tuple[str, int], ...]
    labels: tuple[tuple[str, ...], ...]  #: different ones
    held_back: int
    manifest: bytes  #: a zstd frame


class Place(NamedTuple):
    """What a seal is bound to."""

    patient_key: UUID
    grant: UUID
    basis: bytes
    epoch: int
    changes: int

    @property
    def associated(self) -> bytes:
        """The bytes that the seal covers without storing them."""
        return b"prepared-release|%b%b%b|%d|%d" % (self.patient_key.bytes, self.grant.bytes, self.basis, self.epoch, self.changes)


class Unreadable(Exception):
    """It was not sealed here, or not for this place."""


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Contents).decode
_LENGTH = 4
_PURPOSE = b"prepared-release/1"


def _cipher(keys: Keys, vault: records.Vault) -> AESGCM:
    return AESGCM(vault.key_with(keys.checking, _PURPOSE))


def checked_and_sealed(
    keys: Keys,
    vault: records.Vault,
    place: Place,
    checker: Checker,
    contents: Contents,
    resources: Sequence[tuple[str, str, bytes]],
    *,
    base_url: str,
    patient: str,
    reachable: Collection[str],
) -> tuple[list[Problem], bytes]:
    """What the checker has against the resources; if it is nothing, these very resources as entries, sealed with their contents.

    ``resources`` are (type, id, JSON); ``patient`` and ``reachable`` are the checker's (``fhir.checker``).
    """
    if problems := checker.problems([body for _, _, body in resources], patient=patient, reachable=reachable):
        return problems, b""
    told = _encode(contents)
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(entries(base_url, resources))
    nonce = os.urandom(NONCE_BYTES)
    plain = b"".join((len(told).to_bytes(_LENGTH, "big"), told, packed))
    return [], nonce + _cipher(keys, vault).encrypt(nonce, plain, place.associated)


def opened(keys: Keys, vault: records.Vault, place: Place, body: bytes) -> tuple[Contents, bytes]:
    """Contents and packed entries of what was sealed for this place. Raises Unreadable for any other bytes or place."""
    try:
        plain = _cipher(keys, vault).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], place.associated)
        end = _LENGTH + int.from_bytes(plain[:_LENGTH], "big")
        return _decode(plain[_LENGTH:end]), plain[end:]
    except (InvalidTag, ValueError, msgspec.DecodeError) as error:
        raise Unreadable from error


def unpacked(packed: bytes) -> bytes:
    """The entries, joined by commas. Raises Unreadable."""
    try:
        return zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError as error:
        raise Unreadable from error
