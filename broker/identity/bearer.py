"""From an Authorization header to a release caller (RFC 6750 2.1, RFC 9068 4).

1. The header alone counts: a token in the query or the body is never looked at. 2. The token is one of ours, for our API, and
runs. 3. One query: the token is known and not revoked, its client and every organisation above it active. The grant is the
next thing the release path reads, so it is not read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, AsyncCursor
from sqlmodel import Session

from broker import clock
from broker.crypto import Keys
from broker.identity import access_token, dpop
from broker.identity.access_token import NotOurs
from broker.identity.callers import NotAuthenticatedReason, ReleaseCaller
from broker.identity.scopes import parse_granted
from broker.identity.standing import STANDING, parameters
from broker.settings import Settings

#: RFC 6750 2.1: one token of b64token characters after the scheme. Longer than 8 kB is not a header that we gave.
_BEARER = re.compile(r"bearer ([A-Za-z0-9._~+/-]{1,8192}=*)", re.IGNORECASE)
#: RFC 9449 7.1: the same after another scheme.
_DPOP = re.compile(r"dpop ([A-Za-z0-9._~+/-]{1,8192}=*)", re.IGNORECASE)


def refused(settings: Settings, code: str) -> NotAuthenticatedReason:
    """The refusal for a reason. Outside, every token that is no good looks the same (RFC 6750 3.1)."""
    challenge = f'Bearer realm="{access_token.issuer(settings)}"'
    if code != "token-missing":
        challenge += ', error="invalid_token", error_description="The access token is not usable"'
    return NotAuthenticatedReason(code, challenge)


def token_in(authorization: str | None) -> str | None:
    """The token of an Authorization header; None where it holds none that could be one."""
    match = _BEARER.fullmatch(authorization or "")
    return match[1] if match else None


def bound_token_in(authorization: str | None) -> str | None:
    """The token of an Authorization header of the DPoP scheme; None where it is of another."""
    match = _DPOP.fullmatch(authorization or "")
    return match[1] if match else None


def caller_of(claims: dict[str, Any], organization_id: str, encryption_jwk: dict[str, Any] | None = None) -> ReleaseCaller:
    """The caller that verified claims speak of."""
    return ReleaseCaller(
        client_id=claims["client_id"],
        organization_id=organization_id,
        grant_id=UUID(claims["grant"]),
        application=claims["application"],
        purpose=claims["purpose"],
        scopes=parse_granted(claims["scope"]),
        jti=claims["jti"],
        expires_at=claims["exp"],
        encryption_jwk=encryption_jwk,
    )


def claims_of(keys: Keys, settings: Settings, authorization: str | None, proven: str | None = None) -> dict[str, Any] | NotAuthenticatedReason:
    """The claims of a token that is one of ours and runs. Whether it is still good is for :func:`caller_for` to say.

    ``proven``: thumbprint of the key that the caller proved to hold with this request and token (``dpop.checked``). A token that is
    bound to a key is no good without it, nor as a bearer token (RFC 9449 7.1), and none that isn't bound comes with the DPoP scheme.
    """
    if not authorization:
        return refused(settings, "token-missing")
    bound = bound_token_in(authorization)
    token = bound or token_in(authorization)
    if token is None:
        return refused(settings, "token-unreadable")
    claims = access_token.verified(token, keys, settings)
    if isinstance(claims, NotOurs):
        return refused(settings, claims.code)
    holder = claims["cnf"].get("jkt") if isinstance(claims.get("cnf"), dict) else None
    if ("cnf" in claims) != (bound is not None) or holder != (proven if bound is not None else None):
        return refused(settings, "token-holder")
    return claims


@dataclass(frozen=True)
class Unproven:
    """A token that is bound to a key came without a usable proof: answered with 401 and ``headers`` (RFC 9449 7.1, 9)."""

    code: str
    headers: dict[str, str]


async def proof_of(
    connection: AsyncConnection[Any], keys: Keys, settings: Settings, *, authorization: str | None, proofs: tuple[str, ...], method: str, path: str
) -> str | Unproven | None:
    """The thumbprint of the key that the caller of this request proved to hold; None where the token comes with another scheme.

    Nothing is read or written for a token that isn't ours. Each proof is good once, in every process.
    """
    token = bound_token_in(authorization)
    if token is None:
        return None
    now, base = clock.now(), access_token.issuer(settings)
    found = dpop.checked(proofs, keys, method=method, uri=f"{base}{path}", now=now, token=token)
    if isinstance(found, dpop.Proof):
        claims = claims_of(keys, settings, authorization, found.jkt)
        if isinstance(claims, NotAuthenticatedReason):
            return found.jkt  # It will be refused for what it is.
        cursor = await connection.execute(dpop.USE_ONCE_SQL, found.once(claims["client_id"], now))
        if await cursor.fetchone() is not None:
            return found.jkt
        found = dpop.NoProof("proof-used")
    error = "use_dpop_nonce" if found.nonce else "invalid_dpop_proof"
    challenge = f'DPoP realm="{base}", error="{error}", algs="{" ".join(sorted(dpop.KEY_OF_ALGORITHM))}"'
    return Unproven(found.code, {"WWW-Authenticate": challenge, "DPoP-Nonce": dpop.nonce(keys, now)})


def _judged(row: Any, claims: dict[str, Any], settings: Settings) -> ReleaseCaller | NotAuthenticatedReason:
    if row is None:
        return refused(settings, "token-unknown")
    standing, organization_id, encryption_jwk = row.values() if isinstance(row, dict) else row
    return caller_of(claims, organization_id, encryption_jwk) if standing == "good" else refused(settings, standing)


def standing_query(claims: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The one query about these claims, and its parameters, for whoever sends several at once; :func:`caller_from` reads its row."""
    return STANDING, parameters(claims)


def caller_from(row: Any, claims: dict[str, Any], settings: Settings) -> ReleaseCaller | NotAuthenticatedReason:
    """Who calls with these claims, judged by the row of :func:`standing_query`, or why nobody does."""
    return _judged(row, claims, settings)


async def caller_for(cursor: AsyncCursor[Any], claims: dict[str, Any], settings: Settings) -> ReleaseCaller | NotAuthenticatedReason:
    """Who calls with these claims as things stand now, or why nobody does; one query on a raw cursor of tuples or dicts.

    The release path asks while it holds the gate of the grant: a revocation that was acknowledged before is then seen.
    """
    await cursor.execute(STANDING, parameters(claims))
    return _judged(await cursor.fetchone(), claims, settings)


async def release_caller(
    cursor: AsyncCursor[Any], keys: Keys, settings: Settings, authorization: str | None, proven: str | None = None
) -> ReleaseCaller | NotAuthenticatedReason:
    """Both in one, for calls that need no gate. A refusal is a value: it must not undo its record."""
    claims = claims_of(keys, settings, authorization, proven)
    return claims if isinstance(claims, NotAuthenticatedReason) else await caller_for(cursor, claims, settings)


def caller_in(session: Session, claims: dict[str, Any], settings: Settings) -> ReleaseCaller | NotAuthenticatedReason:
    """The same judgement for verified claims in a session: what introspection asks."""
    row = session.connection().exec_driver_sql(STANDING, parameters(claims)).one_or_none()
    return _judged(None if row is None else tuple(row), claims, settings)
