"""How a client proves who it is: private_key_jwt (RFC 7523, SMART App Launch 2.2 "Client Authentication: Asymmetric").

Until the signature is found good, every failure reads the same; after that the client is told what to mend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError

from broker import clock
from broker.identity import client_keys, jose, rules
from broker.identity.oauth_store import Registered

METHOD = "private_key_jwt"
ASSERTION_TYPE = JWTBearerClientAssertion.CLIENT_ASSERTION_TYPE
#: Visible ASCII, so that PostgreSQL takes it and a log line can hold it.
CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")
_JTI = re.compile(r"[\x21-\x7e]{1,256}")
#: Header parameters that may stand in an assertion. Not among them: ``jwk``, ``x5c`` and ``x5u``, which bring or fetch a key of
#: the sender's choice (CVE-2026-27962), and ``crit``, since there is no extension that we understand (CVE-2025-59420).
_HEADER = frozenset({"alg", "kid", "typ", "jku", "x5t", "x5t#S256"})
#: RFC 7523 says nothing of ``typ``; clients write JWT, and draft-ietf-oauth-rfc7523bis asks for the second.
_TYPES = frozenset({"jwt", "client-authentication+jwt"})


class AssertionRefused(InvalidClientError):
    """The client is not who it says. ``reason`` is for the record; the description is what the client may read."""

    def __init__(self, reason: str, description: str = "The client or its assertion is not known here.") -> None:
        super().__init__(description=description)
        self.reason = reason


def unverified_client_id(form: dict[str, str]) -> str | None:
    """Whose assertion this claims to be; nothing is believed yet. None where it can't be any client's."""
    try:
        subject = jose.read(form.get("client_assertion", "")).claims.get("sub")
    except jose.TokenUnreadable:
        return None
    return subject if isinstance(subject, str) and CLIENT_ID.fullmatch(subject) else None


def authenticate(
    form: dict[str, str],
    *,
    audiences: tuple[str, str],
    find: Callable[[str], Registered | None],
    use_once: Callable[[str, str, datetime], bool],
    published: Callable[[Registered, str], Sequence[Mapping[str, Any]]],
) -> Registered | None:
    """The client that an assertion proves, or None where the form holds no assertion. Raises AssertionRefused.

    ``audiences``: the token endpoint and the issuer. ``find`` gives a registered client. ``use_once(client, jti, until)``
    stores a jti and is false where it is stored already. ``published(client, kid)``: the keys at the address of a client that
    registered one in place of keys.
    """
    # 1. One way of proving who one is, and that of RFC 7523.
    assertion = form.get("client_assertion")
    if assertion is None or form.get("client_assertion_type") != ASSERTION_TYPE:
        return None
    if "client_secret" in form:
        raise InvalidRequestError("Only one way of client authentication may be used.")
    # 2. A compact JWS of ordinary size whose JSON says each thing once.
    try:
        unverified = jose.read(assertion)
    except jose.TokenUnreadable as error:
        raise AssertionRefused("assertion-unreadable", str(error)) from error
    header, claims = unverified.header, unverified.claims
    # 3. Our two algorithms, a key id, nothing that brings a key along.
    algorithm, kid = _checked_header(header)
    # 4. A client that we know.
    subject = claims.get("sub")
    if not isinstance(subject, str) or not CLIENT_ID.fullmatch(subject):
        raise AssertionRefused("client-unknown")
    client = find(subject)
    if client is None:
        raise AssertionRefused("client-unknown")
    # 5. The one key of that client with this kind and id; jku may repeat the registered address, and no other is ever fetched.
    if "jku" in header and (client.jwks_uri is None or header["jku"] != client.jwks_uri):
        raise AssertionRefused("jku-not-registered", "jku must be left out or be the registered address.")
    listed = client.jwks["keys"] or published(client, kid)
    key = client_keys.the_one(listed, algorithm=algorithm, kid=kid, now=clock.now())
    if key is None:
        raise AssertionRefused("key-unknown")
    # 6. The signature.
    try:
        jwt.decode(assertion, key, algorithms=[algorithm])
    except (JoseError, ValueError) as error:
        raise AssertionRefused("signature") from error
    # 7. What it says: who, for whom, when.
    _check_claims(claims, client.id, form.get("client_id"), audiences)
    # 8. Once. It counts as used from here on, whatever becomes of the request.
    jti = claims.get("jti")
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        raise AssertionRefused("jti", "jti must be 1 to 256 visible ASCII characters.")
    if not use_once(client.id, jti, datetime.fromtimestamp(claims["exp"], UTC)):
        raise AssertionRefused("jti-used", "This assertion was used before.")
    # 9. A client that may act at this moment.
    if not client.active:
        raise AssertionRefused("client-suspended", "The client or its organisation is suspended.")
    return client


def _checked_header(header: dict[str, Any]) -> tuple[str, str]:
    """Algorithm and key id."""
    if header.keys() - _HEADER:
        raise AssertionRefused("header", "The header may hold alg, kid, typ, jku and x5t only.")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in client_keys.KEY_OF_ALGORITHM:
        raise AssertionRefused("algorithm", "alg must be RS384 or ES384.")
    if not isinstance(kid, str) or not kid:
        raise AssertionRefused("kid-missing", "kid is required.")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise AssertionRefused("typ", "typ must be JWT.")
    return algorithm, kid


def _check_claims(claims: dict[str, Any], client_id: str, form_client_id: str | None, audiences: tuple[str, str]) -> None:
    if claims.get("iss") != client_id:
        raise AssertionRefused("iss", "iss and sub must both be the client id.")
    if form_client_id is not None and form_client_id != client_id:
        raise AssertionRefused("client-id", "client_id must be the one of the assertion.")
    # A list would let an assertion made for another server be used here (draft-ietf-oauth-rfc7523bis).
    audience = claims.get("aud")
    if not isinstance(audience, str) or audience not in audiences:
        raise AssertionRefused("aud", "aud must be one string: the token endpoint or the issuer.")
    if problem := rules.assertion_window_problem(claims, clock.now()):
        raise AssertionRefused("window", problem)
