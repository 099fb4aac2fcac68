"""A security key in software, which answers as it is told: for another site, without its user, with a counter that went back."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

#: Flags of authenticator data (WebAuthn 2, 6.1): user present, user verified, attested credential data.
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """One key. What it says can be changed for each answer."""

    origin: str
    rp_id: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: os.urandom(32))
    count: int = 0
    flags: int = PRESENT | VERIFIED

    def _client(self, kind: str, options: str, origin: str | None) -> bytes:
        said = {"type": f"webauthn.{kind}", "challenge": json.loads(options)["challenge"], "origin": origin or self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _data(self, flags: int, rp_id: str | None, rest: bytes = b"") -> bytes:
        return sha256((rp_id or self.rp_id).encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big") + rest

    def _answer(self, **response: bytes) -> str:
        shown = {name: bytes_to_base64url(value) for name, value in response.items()}
        return json.dumps({"id": bytes_to_base64url(self.id), "rawId": bytes_to_base64url(self.id), "type": "public-key", "response": shown})

    def made(self, options: str, *, origin: str | None = None, rp_id: str | None = None) -> str:
        """The answer to ``navigator.credentials.create``."""
        numbers = self.key.public_key().public_numbers()
        cose: dict[int, Any] = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        rest = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cbor2.dumps(cose)
        attested = {"fmt": "none", "attStmt": {}, "authData": self._data(self.flags | ATTESTED, rp_id, rest)}
        return self._answer(clientDataJSON=self._client("create", options, origin), attestationObject=cbor2.dumps(attested))

    def got(self, options: str, *, origin: str | None = None, rp_id: str | None = None, kind: str = "get") -> str:
        """The answer to ``navigator.credentials.get``. The counter goes on by one."""
        self.count += 1
        client, data = self._client(kind, options, origin), self._data(self.flags, rp_id)
        signature = self.key.sign(data + sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._answer(clientDataJSON=client, authenticatorData=data, signature=signature)


def challenge_of(options: str) -> bytes:
    """The challenge in what the browser asks."""
    return base64url_to_bytes(json.loads(options)["challenge"])
