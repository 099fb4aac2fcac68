"""Keys and the few operations the broker does with them.

Three secrets: the key-encryption key (wraps data keys, and gives the blinding and page-sealing keys by HKDF), the key that
signs access tokens, the key that signs the log. Each comes from the settings or is created once under ``BROKER_VAR/keys``.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.settings import Settings

NONCE_BYTES = 12
KEY_BYTES = 32


class KeyUnusable(Exception):
    """A key is missing, has the wrong form, or does not open what it should."""


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM: a fresh random 96-bit nonce, then ciphertext and tag. ``associated`` is bound, not stored."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, associated)


def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The plaintext of :func:`seal`. Raises KeyUnusable when key, bytes or associated data are not the sealed ones."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except (InvalidTag, ValueError) as error:
        raise KeyUnusable("sealed data does not open with this key") from error


def digest(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return sha256(data).hexdigest()


@dataclass(frozen=True)
class Keys:
    """The secrets of this installation, and what is derived from them."""

    kek: bytes
    token_signing_pem: bytes
    log_signing_pem: bytes | None  #: None in a process that does not seal the log

    def _derived(self, purpose: bytes) -> bytes:
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"broker/" + purpose).derive(self.kek)

    @cached_property
    def blinding(self) -> bytes:
        """Key of the HMAC that blinds patient ids, identifiers and labels in plain columns."""
        return self._derived(b"blinding")

    @cached_property
    def sealing(self) -> bytes:
        """AES-256 key that seals page links."""
        return self._derived(b"sealing")

    @cached_property
    def fingerprint(self) -> str:
        """What the database remembers of the key-encryption key, so that another key is refused at start."""
        return self._derived(b"fingerprint").hex()[:32]

    @cached_property
    def log_signer(self) -> ed25519.Ed25519PrivateKey:
        """The Ed25519 key of log checkpoints."""
        if self.log_signing_pem is None:
            raise KeyUnusable("this process was not given the log signing key")
        key = serialization.load_pem_private_key(self.log_signing_pem, None)
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise KeyUnusable("the log signing key is not an Ed25519 key")
        return key

    def blind(self, kind: str, *values: str) -> bytes:
        """HMAC-SHA256 of the values under the blinding key, separated by kind; the same input gives the same 32 bytes."""
        message = "\x1f".join((kind, *values)).encode()
        return hmac.digest(self.blinding, message, "sha256")

    def patient_key(self, patient_id: str) -> UUID:
        """The blinded key of a patient: how tables name a patient without saying the id."""
        return UUID(bytes=self.blind("patient", patient_id)[:16])

    def label_token(self, patient_key: UUID, label: str) -> int:
        """A security label of one patient's resource as a signed 64-bit number that says nothing without the key."""
        return int.from_bytes(self.blind("label", patient_key.hex, label)[:8], "big", signed=True)


def _created_once(path: Path, content: bytes) -> bytes:
    """The file's content; written first, with mode 0600 and for ever, where there was none. Two processes agree."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # Fails where another process was first; then its key is the key.
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()


def _secret(path: Path, given: bytes | None, new: bytes) -> bytes:
    if given is not None:
        return given
    return path.read_bytes() if path.exists() else _created_once(path, new)


def _private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def load_keys(settings: Settings, *, seals: bool = True) -> Keys:
    """The keys from the settings, or from ``BROKER_VAR/keys`` where they are created the first time.

    ``seals``: whether this process signs the log. One that does not leaves the log's key alone, even where it could read it.
    """
    folder = settings.var / "keys"

    def given(secret: object) -> bytes | None:
        return None if secret is None else secret.get_secret_value().encode()  # type: ignore[attr-defined]

    kek_hex = _secret(folder / "key-encryption.hex", given(settings.key_encryption_key), os.urandom(KEY_BYTES).hex().encode())
    try:
        kek = bytes.fromhex(kek_hex.decode().strip())
    except ValueError as error:
        raise KeyUnusable("BROKER_KEY_ENCRYPTION_KEY must be 64 hex digits") from error
    if len(kek) != KEY_BYTES:
        raise KeyUnusable("BROKER_KEY_ENCRYPTION_KEY must be 32 bytes, that is 64 hex digits")
    return Keys(
        kek=kek,
        token_signing_pem=_secret(
            folder / "token-signing.pem", given(settings.token_signing_key), _private_pem(ec.generate_private_key(ec.SECP256R1()))
        ),
        log_signing_pem=_secret(folder / "log-signing.pem", given(settings.log_signing_key), _private_pem(ed25519.Ed25519PrivateKey.generate()))
        if seals
        else None,
    )
