"""What the independent checker has passed, sealed: the entries of one whole release, ready to be sent again, all or some of them.

The key of the seal comes from the patient's data key and from a key that only this file derives. :func:`checked_and_sealed` has the checker
look at the very resources that it seals, and nothing else makes such a seal; so whatever opens was passed by the checker, for this patient,
grant, basis, epoch and number of changes, which are bound as associated data (docs/decisions/0031). Whether it may leave now is asked at
each release (``release.prepared``).
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple
from uuid import UUID

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from broker.crypto import NONCE_BYTES, Keys
from broker.errors import Problem
from broker.fhir.checker import Checker
from broker.records import service as records
from broker.release.bundle import each_entry

#: zstd level of the entries: above it the gain is small.
LEVEL = 3
#: Entries that are packed together: a page opens those frames alone in which its own lie.
FRAME = 64


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


class Index(msgspec.Struct, array_like=True, frozen=True):
    """What has to be known to tell which of the entries a page holds. Rows are the patient's own, in the order in which they are read; entries
    are those of the rows that leave, in that order, and after them those of shared resources.
    """

    types: tuple[tuple[str, int], ...]  #: of the rows, each with how many of it follow
    tokens: bytes  #: the blinded id of each row, 16 bytes
    states: bytes  #: of each row, what became of it (``reducing.KEPT``, ``HELD``, ``UNASKED``)
    labels: tuple[int, ...]  #: of each entry, where its labels stand in :attr:`Contents.labels`
    sizes: tuple[int, ...]  #: of each entry, in bytes


class Packed(NamedTuple):
    """The entries of a release as they lie."""

    listed: bytes  #: an :class:`Index`
    frames: tuple[bytes, ...]


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


class _Codecs(threading.local):
    """zstd contexts of one thread: to make one costs as much as to pack a release."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=LEVEL).compress
        self.unpack = zstandard.ZstdDecompressor().decompress


_codecs = _Codecs()
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Contents).decode
_decode_index = msgspec.msgpack.Decoder(Index).decode
_numbers = struct.Struct(">III")
_PURPOSE = b"prepared-release/2"


def _cipher(keys: Keys, vault: records.Vault) -> AESGCM:
    return AESGCM(vault.key_with(keys.checking, _PURPOSE))


def checked_and_sealed(
    keys: Keys,
    vault: records.Vault,
    place: Place,
    checker: Checker,
    contents: Contents,
    index: Index,
    resources: Sequence[tuple[str, str, bytes]],
    *,
    base_url: str,
    patient: str,
    reachable: Collection[str],
) -> tuple[list[Problem], bytes]:
    """What the checker has against the resources; if it is nothing, these very resources as entries, sealed with their contents.

    ``resources`` are (type, id, JSON); ``patient`` and ``reachable`` are the checker's (``fhir.checker``), and so are the reaches of the
    contents and the sizes of the index, which are written here.
    """
    problems, reaches = checker.examined([body for _, _, body in resources], patient=patient, reachable=reachable)
    if problems:
        return problems, b""
    told = _encode(replace(contents, reaches=reaches))
    written = each_entry(base_url, resources)
    listed = _encode(replace(index, sizes=tuple([len(one) for one in written])))
    frames = [_codecs.pack(b",".join(written[start : start + FRAME])) for start in range(0, len(written), FRAME)]
    nonce = os.urandom(NONCE_BYTES)
    lengths = struct.pack(f">{len(frames)}I", *[len(one) for one in frames])
    plain = b"".join((_numbers.pack(len(told), len(listed), len(frames)), lengths, told, listed, *frames))
    return [], nonce + _cipher(keys, vault).encrypt(nonce, plain, place.associated)


def opened(keys: Keys, vault: records.Vault, place: Place, body: bytes) -> tuple[Contents, Packed]:
    """Contents and packed entries of what was sealed for this place. Raises Unreadable for any other bytes or place."""
    try:
        plain = _cipher(keys, vault).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], place.associated)
        told, listed, count = _numbers.unpack_from(plain)
        lengths = struct.unpack_from(f">{count}I", plain, _numbers.size)
        at = _numbers.size + 4 * count
        ends = [*accumulate((told, listed, *lengths), initial=at)]
        pieces = [plain[start:end] for start, end in pairwise(ends)]
        return _decode(pieces[0]), Packed(pieces[1], tuple(pieces[2:]))
    except (InvalidTag, ValueError, struct.error, msgspec.DecodeError) as error:
        raise Unreadable from error


def unpacked(frames: Sequence[bytes]) -> bytes:
    """The entries of these frames, joined by commas. Raises Unreadable."""
    try:
        return b",".join([_codecs.unpack(frame) for frame in frames])
    except zstandard.ZstdError as error:
        raise Unreadable from error


class Entries:
    """Single entries of a release that lies packed; a frame is opened when the first of its entries is asked for."""

    def __init__(self, packed: Packed) -> None:
        """Raises Unreadable."""
        try:
            self.index = _decode_index(packed.listed)
        except msgspec.DecodeError as error:
            raise Unreadable from error
        self._frames = packed.frames
        self._open: dict[int, list[bytes]] = {}

    def __getitem__(self, number: int) -> bytes:
        """One entry. Raises Unreadable."""
        frame, within = divmod(number, FRAME)
        if frame not in self._open:
            if frame >= len(self._frames):
                raise Unreadable
            plain = unpacked(self._frames[frame : frame + 1])
            starts = [*accumulate([size + 1 for size in self.index.sizes[frame * FRAME : (frame + 1) * FRAME]], initial=0)]
            if starts[-1] != len(plain) + 1:
                raise Unreadable
            self._open[frame] = [plain[start : end - 1] for start, end in pairwise(starts)]
        return self._open[frame][within]
