"""Proof of possession (DPoP, RFC 9449): whoever uses a token shows, with each request, that they hold the key it is bound to.

A proof is checked here but for one thing: that it is used once, which is a row in the database (``oauth_store.use_once``,
:data:`USE_ONCE_SQL`). Nonces are made from the time and a key of ours, so that any process can make and check them.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from broker.crypto import Keys
from broker.identity import jose

#: Algorithms of proofs and the curve of each.
KEY_OF_ALGORITHM = {"ES256": "P-256", "ES384": "P-384"}
TYPE = "dpop+jwt"
#: How far ``iat`` may lie from our clock, seconds.
LEEWAY = 60
OLDEST = 300
#: A nonce is given out for so long, and taken for as long again.
NONCE_SECONDS = 120
_JTI = re.compile(r"[\x21-\x7e]{1,256}")
_HEADER = frozenset({"alg", "typ", "jwk", "kid"})
_JWK = frozenset({"kty", "crv", "x", "y", "kid", "use", "alg", "key_ops"})
_PORTS = {"http": 80, "https": 443}

#: Stores a proof as used; no row where it was used before. Parameters of :meth:`Proof.once`.
USE_ONCE_SQL = """
INSERT INTO used_jti (client_id, jti, expires_at) VALUES (%(client)s, %(jti)s, %(until)s) ON CONFLICT DO NOTHING RETURNING true
"""


@dataclass(frozen=True)
class Proof:
    """A proof whose signature and claims are good."""

    jkt: str  #: RFC 7638 thumbprint of the key
    jti: str

    def once(self, client_id: str, now: datetime) -> dict[str, Any]:
        """How it is remembered as used, until nobody could use it again; names with a space can't be an assertion's."""
        name = sha256(f"{self.jkt} {self.jti}".encode()).hexdigest()
        return {"client": client_id, "jti": f"dpop {name}", "until": now + timedelta(seconds=OLDEST + LEEWAY)}


@dataclass(frozen=True)
class NoProof:
    """Why there is no usable proof; ``code`` is for the record."""

    code: str
    nonce: bool = False  #: whether a fresh nonce is all that is missing


def _nonce(keys: Keys, window: int) -> str:
    return base64.urlsafe_b64encode(keys.blind("dpop-nonce", str(window))[:24]).decode()


def nonce(keys: Keys, now: datetime) -> str:
    """The nonce to put into the next proof (RFC 9449 8)."""
    return _nonce(keys, int(now.timestamp()) // NONCE_SECONDS)


def _nonce_good(keys: Keys, given: object, now: datetime) -> bool:
    window = int(now.timestamp()) // NONCE_SECONDS
    return isinstance(given, str) and given.isascii() and any(hmac.compare_digest(given, _nonce(keys, one)) for one in (window, window - 1))


def _place(uri: str) -> tuple[str, str, int | None, str] | None:
    """What of an address counts: scheme and host in lower case, the port or the scheme's own, the path; query and fragment don't."""
    try:
        parts = urlsplit(uri)
        return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme.lower()), unquote(parts.path) or "/"
    except ValueError:
        return None


def _key(header: Mapping[str, Any]) -> ECKey | None:
    """The public key that the proof brings along. A private member, another curve than the algorithm's or anything else: None."""
    jwk, curve = header.get("jwk"), KEY_OF_ALGORITHM.get(str(header.get("alg")))
    if not isinstance(jwk, dict) or jwk.keys() - _JWK or jwk.get("kty") != "EC" or jwk.get("crv") != curve:
        return None
    try:
        key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
        key.public_key  # noqa: B018  (A point off its curve raises here.)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key


def checked(proofs: tuple[str, ...], keys: Keys, *, method: str, uri: str, now: datetime, token: str | None = None) -> Proof | NoProof:
    """The one proof of a request (RFC 9449 4.3), or why there is none. ``token``: the access token that it must be about."""
    # 1. Exactly one.
    if len(proofs) != 1:
        return NoProof("proof-missing" if not proofs else "proof-twice")
    # 2, 3. A JWT of its own type, by an algorithm of ours, that brings its public key and nothing else.
    try:
        unverified = jose.read(proofs[0])
    except jose.TokenUnreadable:
        return NoProof("proof-unreadable")
    header, claims = unverified.header, unverified.claims
    if header.get("typ") != TYPE or header.keys() - _HEADER:
        return NoProof("proof-header")
    key = _key(header)
    if key is None:
        return NoProof("proof-key")
    # 4. The signature.
    try:
        jwt.decode(proofs[0], key, algorithms=[header["alg"]])
    except (JoseError, ValueError):
        return NoProof("proof-signature")
    # 5. For this request and, if one is used, this token.
    if claims.get("htm") != method or not isinstance(claims.get("htu"), str) or _place(claims["htu"]) is None or _place(claims["htu"]) != _place(uri):
        return NoProof("proof-request")
    if token is not None:
        expected = base64.urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
        if claims.get("ath") != expected:
            return NoProof("proof-token")
    # 6. Now.
    if problem := _time_problem(claims, now.timestamp()):
        return NoProof(problem)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        return NoProof("proof-jti")
    # 7. With a nonce of ours, last: what is told then is told to somebody who holds the key.
    if not _nonce_good(keys, claims.get("nonce"), now):
        return NoProof("proof-nonce", nonce=True)
    return Proof(key.thumbprint(), jti)


def _time_problem(claims: Mapping[str, Any], at: float) -> str:
    times = {name: claims[name] for name in ("iat", "nbf", "exp") if name in claims}
    if "iat" not in times or any(isinstance(value, bool) or not isinstance(value, int | float) for value in times.values()):
        return "proof-time"
    early = times["iat"] > at + LEEWAY or times.get("nbf", at) > at + LEEWAY
    late = times["iat"] < at - OLDEST or times.get("exp", at + 1) < at - LEEWAY
    return "proof-time" if early or late else ""
