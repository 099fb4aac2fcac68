"""Keys and the few operations the broker does with them.

Four secrets: the key-encryption key (wraps data keys), the blinding key (gives by HKDF what names patients without saying who they are,
and what seals the words of applications), the key that signs access tokens, the key that signs the log. Each comes from the settings,
from a provider of keys, or is created once under ``BROKER_VAR/keys``.

All but the blinding key may be several while one follows another: the first is used for what is new, and all are good for what is there
(docs/decisions: rotation of keys).
"""

from __future__ import annotations

import hmac
import os
import re
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
from pydantic import SecretStr

from broker.key_provider import KeyProvider, ProviderFailed, provider_of
from broker.settings import Settings

NONCE_BYTES = 12
KEY_BYTES = 32
KEK_ID_BYTES = 8

_PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----\s*", re.DOTALL)


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


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"broker/" + purpose).derive(secret)


def kek_id(kek: bytes) -> bytes:
    """By what a wrapped key says which key-encryption key opens it: 8 bytes that say nothing of the key."""
    return _derive(kek, b"key-encryption-id")[:KEK_ID_BYTES]


def split_pems(text: bytes) -> tuple[bytes, ...]:
    """The private keys of a file that holds one after the other. Raises KeyUnusable where there is none."""
    found = tuple(_PEM.findall(text))
    if not found:
        raise KeyUnusable("a signing key is a private key in PEM form")
    return found


def digest(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return sha256(data).hexdigest()


@dataclass(frozen=True)
class Keys:
    """The secrets of this installation, and what is derived from them."""

    kek: bytes  #: wraps what is new
    token_signing_pem: bytes  #: one or more; the first signs
    log_signing_pem: bytes | None  #: one or more, all of which sign; None in a process that does not seal the log
    former_keks: tuple[bytes, ...] = ()  #: open what they wrapped, or what another process wraps with them already
    blinding_secret: bytes | None = None  #: None in an installation from before it was a key of its own: then the first KEK stands for it

    @cached_property
    def keks(self) -> dict[bytes, bytes]:
        """Key-encryption keys by their ids, the one for what is new first."""
        return {kek_id(one): one for one in (self.kek, *self.former_keks)}

    def _derived(self, purpose: bytes) -> bytes:
        return _derive(self.kek if self.blinding_secret is None else self.blinding_secret, purpose)

    @cached_property
    def blinding(self) -> bytes:
        """Key of the HMAC that blinds patient ids, identifiers and labels in plain columns."""
        return self._derived(b"blinding")

    @cached_property
    def sealing(self) -> bytes:
        """AES-256 key that seals page links."""
        return self._derived(b"sealing")

    @cached_property
    def checking(self) -> bytes:
        """Key with which the checker's verdict is sealed (``release.segments``). Nothing else uses it."""
        return self._derived(b"checking")

    @cached_property
    def fingerprint(self) -> str:
        """What the database remembers of the blinding key, so that another key is refused at start."""
        return self._derived(b"fingerprint").hex()[:32]

    @cached_property
    def token_signing_pems(self) -> tuple[bytes, ...]:
        """The keys of tokens; the first signs, all are published and believed."""
        return split_pems(self.token_signing_pem)

    @cached_property
    def log_signers(self) -> tuple[ed25519.Ed25519PrivateKey, ...]:
        """The Ed25519 keys of log checkpoints, each of which signs."""
        if self.log_signing_pem is None:
            raise KeyUnusable("this process was not given the log signing key")
        found = []
        for pem in split_pems(self.log_signing_pem):
            key = serialization.load_pem_private_key(pem, None)
            if not isinstance(key, ed25519.Ed25519PrivateKey):
                raise KeyUnusable("the log signing key is not an Ed25519 key")
            found.append(key)
        return tuple(found)

    @property
    def log_signer(self) -> ed25519.Ed25519PrivateKey:
        """The first of them: the one that auditors are told of."""
        return self.log_signers[0]

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


@dataclass(frozen=True)
class _Secrets:
    """Where this installation's secrets come from: the settings, else the provider, else files that are made once."""

    folder: Path
    provider: KeyProvider | None

    def read(self, name: str, given: SecretStr | None) -> bytes | None:
        """What is there already."""
        if given is not None:
            return given.get_secret_value().encode()
        if self.provider is not None:
            try:
                return self.provider.secret(name.partition(".")[0])
            except ProviderFailed as error:
                raise KeyUnusable(str(error)) from error
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def read_or_make(self, name: str, given: SecretStr | None, new: bytes) -> bytes:
        """What is there, or ``new`` from now on. A provider must have it."""
        found = self.read(name, given)
        if found is not None:
            return found
        if self.provider is not None:
            raise KeyUnusable(f"the provider of keys has no {name.partition('.')[0]}")
        return _created_once(self.folder / name, new)


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """A private key as it lies in a file."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _symmetric(text: bytes, setting: str) -> tuple[bytes, ...]:
    """Keys of 32 bytes in hex, one a line."""
    try:
        found = tuple(bytes.fromhex(line) for line in text.decode().split())
    except ValueError as error:
        raise KeyUnusable(f"{setting} must be 64 hex digits, or several of them on a line each") from error
    if not found or any(len(one) != KEY_BYTES for one in found):
        raise KeyUnusable(f"{setting} must be 32 bytes, that is 64 hex digits")
    return found


#: File of each secret under ``BROKER_VAR/keys``; its stem is the secret's name for a provider.
KEY_ENCRYPTION, BLINDING, TOKEN_SIGNING, LOG_SIGNING = "key-encryption.hex", "blinding.hex", "token-signing.pem", "log-signing.pem"


def load_keys(settings: Settings, *, seals: bool = True) -> Keys:
    """The keys from the settings, a provider, or ``BROKER_VAR/keys`` where they are created the first time.

    ``seals``: whether this process signs the log. One that does not leaves the log's key alone, even where it could read it.
    """
    try:
        secrets = _Secrets(settings.var / "keys", provider_of(settings))
    except ProviderFailed as error:
        raise KeyUnusable(str(error)) from error
    # Looked at first: whoever makes both makes the blinding key before, so that two processes agree.
    known = secrets.read(KEY_ENCRYPTION, settings.key_encryption_key)
    blinding = secrets.read(BLINDING, settings.blinding_key)
    if blinding is None and known is None and secrets.provider is None:
        blinding = secrets.read_or_make(BLINDING, None, os.urandom(KEY_BYTES).hex().encode())
    kek, *former = _symmetric(
        secrets.read_or_make(KEY_ENCRYPTION, settings.key_encryption_key, os.urandom(KEY_BYTES).hex().encode()), "BROKER_KEY_ENCRYPTION_KEY"
    )
    return Keys(
        kek=kek,
        token_signing_pem=secrets.read_or_make(TOKEN_SIGNING, settings.token_signing_key, private_pem(ec.generate_private_key(ec.SECP256R1()))),
        log_signing_pem=secrets.read_or_make(LOG_SIGNING, settings.log_signing_key, private_pem(ed25519.Ed25519PrivateKey.generate()))
        if seals
        else None,
        former_keks=tuple(former),
        blinding_secret=None if blinding is None else _symmetric(blinding, "BROKER_BLINDING_KEY")[0],
    )
