"""Codes of the authorization code flow, as plain SQL: each is good once, whichever process it is shown to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlmodel import Session

from broker import clock

#: A code goes from one server to the next by the browser; FAPI 2.0 allows it a minute (5.3.2.1).
LASTS = timedelta(seconds=60)
#: How long a code that was used is known, so that a second use takes its token back: longer than any token lives.
KEPT = timedelta(minutes=10)

_KEEP = """
WITH gone AS (
    DELETE FROM authorization_code WHERE code_hash IN
        (SELECT code_hash FROM authorization_code WHERE expires_at < %(forget)s LIMIT 20 FOR UPDATE SKIP LOCKED)
)
INSERT INTO authorization_code (code_hash, client_id, person_id, grant_id, redirect_uri, code_challenge, scope, expires_at)
VALUES (%(hash)s, %(client)s, %(person)s, %(grant)s, %(redirect)s, %(challenge)s, %(scope)s, %(until)s)
"""
_TAKE = """
UPDATE authorization_code SET used_at = %(now)s
WHERE code_hash = %(hash)s AND client_id = %(client)s AND used_at IS NULL AND expires_at > %(now)s
RETURNING person_id, grant_id, redirect_uri, code_challenge, scope
"""
_USED = "SELECT jti, grant_id FROM authorization_code WHERE code_hash = %(hash)s AND client_id = %(client)s AND jti IS NOT NULL"
_GOT = "UPDATE authorization_code SET jti = %(jti)s WHERE code_hash = %(hash)s"


@dataclass(frozen=True)
class Kept:
    """What a code is bound to, as Authlib asks for it."""

    person_id: UUID
    grant_id: UUID
    redirect_uri: str
    code_challenge: str
    scope: str
    code_challenge_method: str = "S256"

    def get_redirect_uri(self) -> str:
        """Where the code was sent; the client must name it again."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """What was agreed to."""
        return self.scope


def _hash(code: str) -> bytes:
    return sha256(code.encode()).digest()


def keep(session: Session, code: str, *, client_id: str, person_id: UUID, grant_id: UUID, redirect_uri: str, code_challenge: str, scope: str) -> None:
    """Keep a new code, by its hash alone."""
    now = clock.now()
    values = {
        "hash": _hash(code), "client": client_id, "person": person_id, "grant": grant_id, "redirect": redirect_uri, "challenge": code_challenge,
        "scope": scope, "until": now + LASTS, "forget": now - KEPT,
    }  # fmt: skip
    session.connection().exec_driver_sql(_KEEP, values)


def take(session: Session, code: str, client_id: str) -> Kept | None:
    """The code of this client, if it is still good, which it is no longer then. Of several at once one gets it."""
    row = session.connection().exec_driver_sql(_TAKE, {"hash": _hash(code), "client": client_id, "now": clock.now()}).one_or_none()
    return None if row is None else Kept(*row)


def used_for(session: Session, code: str, client_id: str) -> tuple[str, UUID] | None:
    """The token that a used code got, by its ``jti``, and its grant."""
    row = session.connection().exec_driver_sql(_USED, {"hash": _hash(code), "client": client_id}).one_or_none()
    return None if row is None else (row[0], row[1])


def got(session: Session, code: str, jti: str) -> None:
    """Remember the token that a code got."""
    session.connection().exec_driver_sql(_GOT, {"hash": _hash(code), "jti": jti})
