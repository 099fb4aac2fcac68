"""One data key per patient, and what is sealed with it.

A :class:`Vault` is a patient's opened data key. The key lies in the database wrapped by the key-encryption key; destroying the wrapped
key destroys every copy of the patient's records, those in backups too. A record is compressed, then sealed with AES-256-GCM; patient,
type, blinded id and version are bound to it as associated data, so that a row moved to another place or given another version
does not open.

Layout of a stored body: 12-byte nonce, then the sealed bytes of ``format (1 byte) · zstd frame``; the frame holds
``length of header (4 bytes, big-endian) · header (JSON) · the resource's bytes as they were given``.
"""

from __future__ import annotations

import hmac
import os
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.crypto import KEK_ID_BYTES, KEY_BYTES, NONCE_BYTES, Keys, KeyUnusable, seal, unseal
from broker.records.errors import RecordUnreadable

#: Written before each zstd frame: which dictionary made it. Old ones stay readable for ever; see docs/decisions/0005.
FORMAT = 1
DICTIONARIES = {1: Path(__file__).with_name("dictionary-1.zdict")}

#: zstd level: above it the gain is small and ingest gets slower (docs/decisions/0005).
LEVEL = 3


class StoredLabel(NamedTuple):
    """A security label and what gave it."""

    code: str
    rule: str
    version: str


class _Header(msgspec.Struct, array_like=True):
    id: str
    labels: list[tuple[str, str, str]]


_encode_header = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(_Header).decode
_decode_labels = msgspec.json.Decoder(list[tuple[str, str, str]]).decode


class Content(NamedTuple):
    """What a stored body holds: the resource's id, its labels, and its bytes as they were given."""

    id: str
    labels: tuple[StoredLabel, ...]
    body: bytes


@cache
def _dictionary(number: int) -> zstandard.ZstdCompressionDict:
    dictionary = zstandard.ZstdCompressionDict(DICTIONARIES[number].read_bytes())
    dictionary.precompute_compress(level=LEVEL)
    return dictionary


class _Codecs(threading.local):
    """zstd contexts of one thread; they must not be shared."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=_dictionary(FORMAT))
        self.decompressors: dict[int, zstandard.ZstdDecompressor] = {}

    def decompressor(self, number: int) -> zstandard.ZstdDecompressor:
        found = self.decompressors.get(number)
        if found is None:
            found = self.decompressors[number] = zstandard.ZstdDecompressor(dict_data=_dictionary(number))
        return found


_codecs = _Codecs()


#: A stored body, opened: id, labels, body. The labels are not read yet, since few different ones occur; :func:`labels_of` reads each once.
Unsealed: TypeAlias = tuple[str, bytes, bytes]

_length = struct.Struct(">I").unpack_from


@lru_cache(maxsize=4096)
def labels_of(labels: bytes) -> tuple[StoredLabel, ...]:
    """The labels of an :data:`Unsealed`."""
    return tuple(StoredLabel(*label) for label in _decode_labels(labels))


@dataclass(frozen=True)
class Vault:
    """A patient's opened data key. Keep it for one request, never longer."""

    patient_key: UUID
    data_key: bytes
    fhir_id: str
    epoch: int = 0  #: of the patient's consents, as read with the key
    changes: int = 0  #: of the patient's records, as read with the key

    @cached_property
    def _before(self) -> bytes:
        return f"{self.patient_key.hex}|".encode()

    def _place(self, resource_type: str, id_token: UUID, version: int) -> bytes:
        """The associated data. Written so because it is wanted for every resource: :attr:`UUID.hex` costs as much as all of this."""
        return b"%b%b|%032x|%d" % (self._before, resource_type.encode(), id_token.int, version)

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self.data_key)

    def _derived(self, purpose: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"broker/patient/" + purpose).derive(self.data_key)

    def key_with(self, other: bytes, purpose: bytes) -> bytes:
        """A key that only who holds this data key and another key can have; gone with either."""
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=other, info=b"broker/patient/" + purpose).derive(self.data_key)

    @cached_property
    def subject(self) -> str:
        """How the log names this patient: hex HMAC under the patient's own log key, meaningless once the data key is destroyed."""
        return hmac.digest(self._derived(b"log"), self.patient_key.bytes, "sha256").hex()

    @cached_property
    def _content_key(self) -> bytes:
        return self._derived(b"content")

    def content_hash(self, body: bytes) -> bytes:
        """Keyed hash of a body (16 bytes): equal for equal bytes of this patient, and says nothing of other patients'."""
        return hmac.digest(self._content_key, body, "sha256")[:16]

    def seal_resource(self, resource_type: str, id_token: UUID, version: int, content: Content) -> bytes:
        """The bytes to store."""
        header = _encode_header(_Header(content.id, list(content.labels)))
        frame = _codecs.compressor.compress(len(header).to_bytes(4, "big") + header + content.body)
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, bytes((FORMAT,)) + frame, self._place(resource_type, id_token, version))

    def open_resource(self, resource_type: str, id_token: UUID, version: int, stored: bytes) -> Content:
        """What :meth:`seal_resource` sealed at this very place. Raises RecordUnreadable for any other bytes or place."""
        ((resource_id, labels, body),) = self.unseal(((resource_type, id_token, version, stored),))
        return Content(resource_id, labels_of(labels), body)

    def unseal(self, resources: Iterable[tuple[str, UUID, int, bytes]]) -> list[Unsealed]:
        """As :meth:`open_resource` for many: type, blinded id, version and stored bytes of each. Raises RecordUnreadable if it must for one."""
        decrypt, decompressor, place = self._cipher.decrypt, _codecs.decompressor, self._place
        opened: list[Unsealed] = []
        try:
            for resource_type, id_token, version, stored in resources:
                plain = decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], place(resource_type, id_token, version))
                content = decompressor(plain[0]).decompress(plain[1:])
                end = 4 + _length(content)[0]
                # The header is ["id",[label, …]]; an id that FHIR allows has no escapes.
                quote = content.find(b'",[', 6, end)
                resource_id = content[6:quote]
                if quote < 0 or b"\\" in resource_id:
                    header = _decode_header(content[4:end])
                    opened.append((header.id, _encode_header(header.labels), content[end:]))
                else:
                    opened.append((resource_id.decode(), content[quote + 2 : end - 1], content[end:]))
        except (InvalidTag, ValueError, KeyError, IndexError, struct.error, zstandard.ZstdError) as error:
            raise RecordUnreadable from error
        return opened


def _key_place(patient_key: UUID) -> bytes:
    return b"data-key|" + patient_key.bytes


def _id_place(patient_key: UUID) -> bytes:
    return b"fhir-id|" + patient_key.bytes


#: Before a wrapped key that says by which key-encryption key it was wrapped. One without is from before keys could change.
_WRAPPED = b"\x01"
_BARE_BYTES = NONCE_BYTES + KEY_BYTES + 16
_HEAD_BYTES = len(_WRAPPED) + KEK_ID_BYTES


def wrapped_by(kek_id: bytes) -> bytes:
    """How a key begins that was wrapped by this key-encryption key."""
    return _WRAPPED + kek_id


def wrap(keys: Keys, patient_key: UUID, data_key: bytes) -> bytes:
    """A data key as it is stored: ``1 · id of the key-encryption key (8 bytes) · nonce · sealed``."""
    return wrapped_by(next(iter(keys.keks))) + seal(keys.kek, data_key, _key_place(patient_key))


def unwrapped(keys: Keys, patient_key: UUID, wrapped_key: bytes) -> bytes:
    """The data key. Raises KeyUnusable."""
    if len(wrapped_key) == _BARE_BYTES:
        for kek in keys.keks.values():
            with suppress(KeyUnusable):
                return unseal(kek, wrapped_key, _key_place(patient_key))
    own = keys.keks.get(wrapped_key[len(_WRAPPED) : _HEAD_BYTES]) if wrapped_key.startswith(_WRAPPED) else None
    if own is None:
        raise KeyUnusable("no key-encryption key at hand opens this")
    return unseal(own, wrapped_key[_HEAD_BYTES:], _key_place(patient_key))


def new_vault(keys: Keys, patient_key: UUID, fhir_id: str) -> tuple[Vault, bytes, bytes]:
    """A fresh data key: the vault, the wrapped key and the sealed FHIR id to store."""
    data_key = os.urandom(KEY_BYTES)
    vault = Vault(patient_key, data_key, fhir_id)
    return vault, wrap(keys, patient_key, data_key), seal(data_key, fhir_id.encode(), _id_place(patient_key))


def unwrap(keys: Keys, patient_key: UUID, wrapped_key: bytes, fhir_id_sealed: bytes, epoch: int, changes: int = 0) -> Vault:
    """The vault of a stored patient. Raises RecordUnreadable when the key-encryption key is another or the row was changed."""
    try:
        data_key = unwrapped(keys, patient_key, wrapped_key)
        fhir_id = unseal(data_key, fhir_id_sealed, _id_place(patient_key)).decode()
    except KeyUnusable as error:
        raise RecordUnreadable from error
    return Vault(patient_key, data_key, fhir_id, epoch, changes)
