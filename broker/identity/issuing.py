"""Giving a token: what it says, its row, the record that it was given, and the answer that carries it (RFC 6749 5.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from broker import clock
from broker.identity import access_token, authorization_details, b2b, dpop, oauth_store, organizations, rules, scopes
from broker.identity.b2b import B2B
from broker.identity.callers import GrantView
from broker.identity.oauth_server import FormRequest, Server
from broker.identity.oauth_store import Registered
from broker.identity.scopes import SmartScope

Answer = tuple[int, dict[str, Any], list[tuple[str, str]]]


@dataclass(frozen=True)
class ActingFor:
    """The person for whom a client acts, as its token names them."""

    id: UUID
    name: str


@dataclass(frozen=True)
class Given:
    """What a token is given for."""

    grant: GrantView
    smart: tuple[SmartScope, ...]
    detailed: bool = False  #: whether authorization_details were asked, and are answered
    said: B2B | None = None
    person: ActingFor | None = None
    facts: Mapping[str, str] = field(default_factory=dict)  #: more for the record


def belongs(server: Server, grant: GrantView, client: Registered) -> bool:
    """Whether the grant's recipient is the client's organisation or a part of it, whatever the reader of grants answered."""
    return client.organization_id in {one.id for one in organizations.lineage(server.session, grant.organization_id)}


def lasts(grant: GrantView, now: datetime) -> bool:
    """Whether a token under the grant would be good for a second at least."""
    return grant.usable(now) and clock.epoch(grant.valid_until) > clock.epoch(now)


def issued(server: Server, request: FormRequest, what: Given, headers: list[tuple[str, str]]) -> tuple[str, Answer]:
    """The token's ``jti``, and the answer. Authlib's own method writes the token to a debug log and asks the machine's clock."""
    client: Registered = request.client
    grant, person, now = what.grant, what.person, clock.now()
    begun = clock.epoch(now)
    expires = clock.epoch(rules.token_expiry(now, grant.valid_until))
    scope, jti = scopes.written(grant.application, what.smart), access_token.new_jti()
    content = access_token.claims(
        server.settings,
        client_id=client.id,
        organization=(client.organization_id, client.organization_name),
        grant=grant,
        scope=scope,
        jti=jti,
        issued=begun,
        expires=expires,
        person=None if person is None else (str(person.id), person.name),
    )
    details: dict[str, Any] = {}
    if what.detailed:
        location = access_token.audience(server.settings)
        details["authorization_details"] = authorization_details.granted(grant.application, grant.purpose, what.smart, location)
    content |= details
    if what.said is not None:
        content["extensions"] = {**content["extensions"], b2b.NAME: dict(what.said.said)}
    if request.jkt is not None:
        content["cnf"] = {"jkt": request.jkt}
    _store(server, request, what, jti, scope, expires - begun)
    body = {
        "access_token": access_token.signed(server.keys, content),
        "token_type": "Bearer" if request.jkt is None else "DPoP",
        "expires_in": expires - begun,
        "scope": scope,
        **details,
    }
    if request.jkt is None:
        return jti, (200, body, headers)
    return jti, (200, body, [*headers, ("DPoP-Nonce", dpop.nonce(server.keys, now))])


def _store(server: Server, request: FormRequest, what: Given, jti: str, scope: str, seconds: int) -> None:
    """Keep the token's row, and record that it was issued."""
    client, person = request.client, what.person
    person_id = None if person is None else person.id
    oauth_store.issue(server.session, client.id, jti=jti, grant_id=what.grant.id, scope=scope, seconds=seconds, person_id=person_id)
    facts: dict[str, str | int | bool | list[str]] = {
        "jti": jti,
        "seconds": seconds,
        "scopes": len(what.smart),
        "scope_sha256": hashlib.sha256(scope.encode()).hexdigest(),
        **what.facts,
    }
    if what.said is not None and what.said.subject is not None:
        facts["b2b_subject_sha256"] = what.said.subject
    if request.jkt is not None:
        facts["jkt"] = request.jkt
    server.record("token.issued", client.id, facts, grant=what.grant)
