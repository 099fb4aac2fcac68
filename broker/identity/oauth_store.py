"""What the OAuth2 server reads and writes, as plain SQL: each step of a token request is one round trip.

A client asks for a token for each grant every five minutes, so this is the registry's hot path; building the same statements
through the ORM took most of the request's time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session

from broker import clock
from broker.identity import rules

#: The client, with whether it and every organisation above it are active.
_CLIENT = """
WITH RECURSIVE above (id, parent_id, status) AS (
    SELECT o.id, o.parent_id, o.status FROM organization o JOIN client c ON c.organization_id = o.id WHERE c.id = %(id)s
    UNION
    SELECT o.id, o.parent_id, o.status FROM organization o JOIN above ON o.id = above.parent_id
)
SELECT c.organization_id, o.name_zh, c.jwks, c.jwks_uri, c.resource_server, c.dpop, c.name, c.redirect_uris,
       c.status = 'active' AND NOT EXISTS (SELECT FROM above WHERE status <> 'active')
FROM client c JOIN organization o ON o.id = c.organization_id WHERE c.id = %(id)s
"""

#: Stores a jti; no row where it is stored. Lets go of a few that nobody could use any more, but never waits for them.
_USE_ONCE = """
WITH gone AS (
    DELETE FROM used_jti WHERE (client_id, jti) IN
        (SELECT client_id, jti FROM used_jti WHERE expires_at < %(forget)s LIMIT 20 FOR UPDATE SKIP LOCKED)
)
INSERT INTO used_jti (client_id, jti, expires_at) VALUES (%(client)s, %(jti)s, %(until)s) ON CONFLICT DO NOTHING RETURNING true
"""

_GIVEN_SINCE = "SELECT count(*) FROM token WHERE client_id = %(client)s AND issued_at > %(since)s"

_ISSUE = """
WITH gone AS (
    DELETE FROM token WHERE jti IN (SELECT jti FROM token WHERE expires_at < %(forget)s LIMIT 20 FOR UPDATE SKIP LOCKED)
)
INSERT INTO token (jti, client_id, grant_id, scope, issued_at, expires_at, person_id)
VALUES (%(jti)s, %(client)s, %(grant)s, %(scope)s, %(issued)s, %(expires)s, %(person)s)
"""


@dataclass(frozen=True)
class Registered:
    """A client as Authlib asks for it."""

    id: str
    organization_id: str
    organization_name: str
    jwks: Mapping[str, Any]
    jwks_uri: str | None
    resource_server: bool
    dpop: bool  #: gets no token without a proof of possession
    name: str
    redirect_uris: Sequence[str]  #: where it may have people sent back to
    active: bool  #: the client and every organisation above it

    def get_client_id(self) -> str:
        """The client's id."""
        return self.id

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        """Whether the client may prove itself so; ``bearer`` is offered by introspection alone."""
        return method in ("private_key_jwt", "bearer")

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client may ask so."""
        return grant_type == "client_credentials" or (grant_type == "authorization_code" and bool(self.redirect_uris))

    def check_response_type(self, response_type: str) -> bool:
        """Whether people may be sent here by it."""
        return response_type == "code" and self.active

    def check_redirect_uri(self, uri: str) -> bool:
        """Whether people may be sent back there: to the letter (RFC 9700 2.1)."""
        return uri in self.redirect_uris

    def get_default_redirect_uri(self) -> None:
        """None: it must be named."""

    def get_allowed_scope(self, scope: str) -> str:
        """All: what of it is granted is judged by grant and person."""
        return scope


def registered(session: Session, client_id: str) -> Registered | None:
    """The client of this id, or None."""
    row = session.connection().exec_driver_sql(_CLIENT, {"id": client_id}).one_or_none()
    return None if row is None else Registered(client_id, *row)


def use_once(session: Session, client_id: str, jti: str, until: datetime) -> bool:
    """Store a jti; false where it is stored. Of many at once the primary key lets one through, and the others wait for it."""
    values = {"client": client_id, "jti": jti, "until": until, "forget": clock.now() - rules.JTI_KEPT}
    return session.connection().exec_driver_sql(_USE_ONCE, values).first() is not None


def asks_too_often(session: Session, client_id: str) -> bool:
    """Whether the client was given as many tokens within a minute as it may."""
    values = {"client": client_id, "since": clock.now() - timedelta(minutes=1)}
    return bool(session.connection().exec_driver_sql(_GIVEN_SINCE, values).scalar_one() >= rules.TOKENS_PER_MINUTE)


def issue(session: Session, client_id: str, *, jti: str, grant_id: UUID, scope: str, seconds: int, person_id: UUID | None = None) -> None:
    """Keep what is needed to revoke a token and to count it, never the token itself."""
    now = clock.now()
    values = {
        "jti": jti,
        "client": client_id,
        "grant": grant_id,
        "scope": scope,
        "issued": now,
        "expires": now + timedelta(seconds=seconds),
        "forget": now - rules.TOKEN_KEPT,
        "person": person_id,
    }
    session.connection().exec_driver_sql(_ISSUE, values)
