"""Access tokens: RFC 9068 JWTs signed with ES256, bound to one grant and one purpose.

What a token says is made by :func:`claims`; :func:`verified` says whether a token is one of ours and still runs. Whether it
was revoked, or its client suspended, is in the database and never cached (``standing``).
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from threading import Lock
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from broker import clock
from broker.crypto import Keys
from broker.identity import jose
from broker.identity.callers import GrantView
from broker.settings import Settings

ALGORITHM = "ES256"
TYPE = "at+jwt"
#: RFC 9068 4: a resource server accepts both spellings.
_TYPES = frozenset({TYPE, "application/at+jwt"})
PURPOSE_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
#: Claims without which a token is not ours, and their types.
_REQUIRED: Mapping[str, type] = {"sub": str, "client_id": str, "jti": str, "scope": str, "grant": str, "application": str, "purpose": str, "iat": int}
#: Verified tokens that one process remembers.
REMEMBERED = 10_000


def issuer(settings: Settings) -> str:
    """Who issues tokens: the public address without a slash at its end."""
    return settings.base_url.rstrip("/")


def audience(settings: Settings) -> str:
    """For whom tokens are: the FHIR API."""
    return f"{issuer(settings)}/fhir"


@lru_cache(maxsize=8)
def _signing_key(pem: bytes) -> ECKey:
    key = ECKey.import_key(pem)
    return ECKey.import_key(pem, {"kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM})


def signing_key(keys: Keys) -> ECKey:
    """The private key that signs tokens. Its kid is its RFC 7638 thumbprint."""
    return _signing_key(keys.token_signing_pems[0])


def believed_keys(keys: Keys) -> dict[str, ECKey]:
    """The keys whose tokens are good, by kid: the one that signs, one that signed until lately, one that will sign soon."""
    return {str(key.kid): key for key in map(_signing_key, keys.token_signing_pems)}


def public_jwks(keys: Keys) -> dict[str, Any]:
    """What ``/oauth2/jwks`` serves: the public halves, by which anybody can check our tokens."""
    return {"keys": [key.as_dict(private=False) for key in believed_keys(keys).values()]}


def new_jti() -> str:
    """A name for a token, 192 random bits. Authlib's own has 95."""
    return secrets.token_urlsafe(24)


def claims(
    settings: Settings, *, client_id: str, organization: tuple[str, str], grant: GrantView, scope: str, jti: str, issued: int, expires: int,
    person: tuple[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The claims of an access token (RFC 9068 2.2; IHE IUA and PCF extensions).

    ``organization`` is id and name of the client's organisation, ``person`` those of whom it acts for, who is then the subject.
    ``ihe_pcf`` stands only where the grant is about one
    patient with a consent on file, since PCF asks for exactly one ``patient_id`` and at least one ``doc_id``.
    """
    extensions: dict[str, Any] = {
        "ihe_iua": {
            "subject_organization": organization[1],
            "subject_organization_id": organization[0],
            "purpose_of_use": [{"system": PURPOSE_SYSTEM, "code": grant.purpose}],
        }
    }
    if person is not None:
        extensions["ihe_iua"] = {"subject_name": person[1], **extensions["ihe_iua"]}
    if len(grant.patients) == 1 and grant.consents:
        extensions["ihe_pcf"] = {"patient_id": grant.patients[0], "doc_id": list(grant.consents)}
    return {
        "iss": issuer(settings),
        "sub": client_id if person is None else person[0],
        "client_id": client_id,
        "aud": audience(settings),
        "iat": issued,
        "exp": expires,
        "jti": jti,
        "scope": scope,
        "grant": str(grant.id),
        "application": grant.application,
        "purpose": grant.purpose,
        "extensions": extensions,
    }


def signed(keys: Keys, content: Mapping[str, Any]) -> str:
    """The claims as a compact JWS."""
    key = signing_key(keys)
    return jwt.encode({"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}, dict(content), key, algorithms=[ALGORITHM])


@dataclass(frozen=True)
class NotOurs:
    """A token that is no good, and why; the code is for the record."""

    code: str


class _Remembered:
    """Tokens whose signature was found good, by SHA-256, until they run out. Bounded; the oldest goes first.

    Nothing but the signature and the fixed claims is remembered: time, revocation and status are asked each time.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self._claims: OrderedDict[bytes, dict[str, Any]] = OrderedDict()

    def get(self, key: bytes) -> dict[str, Any] | None:
        with self._lock:
            return self._claims.get(key)

    def put(self, key: bytes, content: dict[str, Any]) -> None:
        with self._lock:
            self._claims[key] = content
            while len(self._claims) > self._size:
                self._claims.popitem(last=False)

    def drop(self, key: bytes) -> None:
        with self._lock:
            self._claims.pop(key, None)


_remembered = _Remembered(REMEMBERED)


def verified(token: str, keys: Keys, settings: Settings) -> dict[str, Any] | NotOurs:
    """The claims of a token that we signed, for our API, that has not run out; else why not (RFC 9068 4)."""
    believed = believed_keys(keys)
    if not token.isascii():
        return NotOurs("token-unreadable")
    # Who believes other keys remembers apart: a retired key's tokens end with it.
    name = sha256(f"{' '.join(believed)}\n{issuer(settings)}\n{token}".encode()).digest()
    content = _remembered.get(name)
    if content is None:
        fresh = _checked(token, believed, settings)
        if isinstance(fresh, NotOurs):
            return fresh
        content = fresh
        _remembered.put(name, content)
    if content["exp"] <= clock.now().timestamp():
        _remembered.drop(name)
        return NotOurs("token-expired")
    return content


def _checked(token: str, believed: Mapping[str, ECKey], settings: Settings) -> dict[str, Any] | NotOurs:
    try:
        unverified = jose.read(token)
    except jose.TokenUnreadable:
        return NotOurs("token-unreadable")
    header, content = unverified.header, unverified.claims
    # Exactly our algorithm, kind and key: an assertion, an ID token or a token that names another key is not asked further.
    kind = header.get("typ")
    key = believed.get(str(header.get("kid")))
    if key is None or header.get("alg") != ALGORITHM or not isinstance(kind, str) or kind.lower() not in _TYPES:
        return NotOurs("token-signature")
    if header.keys() - {"alg", "kid", "typ"}:
        return NotOurs("token-signature")
    try:
        jwt.decode(token, key, algorithms=[ALGORITHM])
    except (JoseError, ValueError):
        return NotOurs("token-signature")
    if content.get("iss") != issuer(settings) or content.get("aud") != audience(settings) or type(content.get("exp")) is not int:
        return NotOurs("token-claims")
    if any(type(content.get(claim)) is not kind for claim, kind in _REQUIRED.items()) or not _is_uuid(content["grant"]):
        return NotOurs("token-claims")
    return content


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
