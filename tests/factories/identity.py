"""Organisations, people, clients with keys, assertions and grants for tests."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from sqlmodel import Session

from broker import clock
from broker.identity import models, passwords, service
from broker.identity.callers import GrantView
from broker.identity.roles import Role

PASSWORD = "four grey herons wade"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_numbers = itertools.count(1)


@functools.cache
def _password_hash() -> str:
    return passwords.hashed(PASSWORD)  # Once: each costs tens of milliseconds by design.


def organization(session: Session, id: str = "renhe", **values: Any) -> models.Organization:  # noqa: A002
    """An organisation, active and internal unless said otherwise; found where it is there already."""
    row = session.get(models.Organization, id)
    if row is None:
        given = {"kind": "hospital", "relationship": "internal", "name_zh": "仁和医院", "name_en": "Renhe Hospital", "created_at": clock.now()}
        row = models.Organization(id=id, **{**given, **values})
        session.add(row)
        session.flush()
    return row


def person(session: Session, *roles: Role | str, organization_id: str = "renhe", username: str | None = None, **values: Any) -> models.Person:
    """An account with these roles in its own organisation; its password is PASSWORD."""
    organization(session, organization_id)
    number = next(_numbers)
    row = models.Person(
        id=uuid4(),
        username=username or f"person{number}",
        organization_id=organization_id,
        **{"password_hash": _password_hash(), "name": f"人员 {number}", "natural_person": f"natural-{number}", "created_at": clock.now(), **values},
    )
    session.add(row)
    session.flush()
    session.add_all(models.RoleHeld(person_id=row.id, role=Role(role), organization_id=organization_id) for role in roles)
    session.flush()
    return row


def signed_in(session: Session, row: models.Person) -> dict[str, str]:
    """Headers of a person who is signed in, without waiting for argon2."""
    caller = service.caller_for(session, row.id)
    assert caller is not None
    return {"Authorization": f"Bearer {service.open_session(session, caller).secret}"}


def private_key(alg: str = "ES384", kid: str | None = None) -> dict[str, Any]:
    """A new private JWK for RS384, ES384, or an algorithm that isn't allowed."""
    if alg.startswith(("RS", "PS")):
        key: Any = RSAKey.generate_key(2048)
    else:
        key = ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg])
    return {**key.as_dict(private=True), "kid": kid or key.thumbprint(), "alg": alg}


def public(jwk: dict[str, Any]) -> dict[str, Any]:
    """The public half."""
    return {name: value for name, value in jwk.items() if name not in {"d", "p", "q", "dp", "dq", "qi"}}


def client_with_key(
    session: Session,
    alg: str = "ES384",
    *,
    organization_id: str = "renhe",
    id: str | None = None,  # noqa: A002
    keys: Iterable[dict[str, Any]] = (),
    **values: Any,
) -> tuple[models.Client, dict[str, Any]]:
    """A registered client and its private JWK. ``keys``: further public keys of its set."""
    organization(session, organization_id)
    jwk = private_key(alg)
    row = models.Client(
        id=id or f"client-{next(_numbers)}",
        organization_id=organization_id,
        name="集成平台",
        jwks={"keys": [public(jwk), *keys]},
        created_at=clock.now(),
        **values,
    )
    session.add(row)
    session.flush()
    return row, jwk


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_text(header: str, payload: str, jwk: dict[str, Any], alg: str | None = None) -> str:
    """A compact JWS over exactly these characters; no library has a say in what they are."""
    kind = RSAKey if jwk["kty"] == "RSA" else ECKey
    key = kind.import_key({name: value for name, value in jwk.items() if name not in ("alg", "kid")})
    signed = f"{b64(header.encode())}.{b64(payload.encode())}"
    return f"{signed}.{b64(jws.JWSRegistry.algorithms[alg or jwk['alg']].sign(signed.encode(), key))}"


def sign(header: dict[str, Any], claims: Any, jwk: dict[str, Any]) -> str:
    """A compact JWS with this header, whatever it says."""
    return sign_text(json.dumps(header), json.dumps(claims), jwk, header["alg"])


def assertion(client_id: str, jwk: dict[str, Any], aud: Any, *, header: dict[str, Any] | None = None, **overrides: Any) -> str:
    """A client assertion as Inferno makes it: ``alg``, ``kid``, ``typ``; ``iss, sub, aud, exp, jti``.

    An override of ``...`` (Ellipsis) leaves the claim or header parameter out.
    """
    head = {"alg": jwk["alg"], "kid": jwk["kid"], "typ": "JWT", **(header or {})}
    claims = {"iss": client_id, "sub": client_id, "aud": aud, "exp": int(time.time()) + 300, "jti": secrets.token_hex(32), **overrides}
    return sign(*({name: value for name, value in part.items() if value is not ...} for part in (head, claims)), jwk)


def form(client_id: str, jwk: dict[str, Any], aud: Any, scope: str, **parameters: str) -> dict[str, str]:
    """The form of a token request."""
    return {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion(client_id, jwk, aud),
        **parameters,
    }


def grant(organization_id: str = "renhe", application: str = "SA-2026-000001", **values: Any) -> GrantView:
    """A grant that is active from yesterday until next month."""
    now = clock.now()
    given: dict[str, Any] = {
        "id": uuid4(),
        "purpose": "TREAT",
        "status": "active",
        "valid_from": now - timedelta(days=1),
        "valid_until": now + timedelta(days=30),
        "types": ("Observation", "Patient"),
        "patients": ("p-1",),
        "consents": ("c-1",),
    }
    return GrantView(application=application, organization_id=organization_id, **{**given, **values})


@dataclass
class Grants:
    """A GrantReader that holds its grants in memory."""

    held: dict[UUID, GrantView] = field(default_factory=dict)

    def add(self, view: GrantView) -> GrantView:
        """Hold a grant."""
        self.held[view.id] = view
        return view

    def change(self, grant_id: UUID, **values: Any) -> None:
        """Change a grant, such as ``status="revoked"``."""
        self.held[grant_id] = replace(self.held[grant_id], **values)

    def only_application(self, session: Session, organization_id: str) -> str | None:
        """See GrantReader."""
        found = [view.application for view in self.held.values() if view.organization_id == organization_id and view.usable(clock.now())]
        return found[0] if len(found) == 1 else None

    def grant_of_application(self, session: Session, application: str, organization_id: str) -> GrantView | None:
        """See GrantReader."""
        return next((view for view in self.held.values() if (view.application, view.organization_id) == (application, organization_id)), None)

    def applications_of(self, session: Session, person_id: UUID, organization_id: str) -> list[str]:
        """See GrantReader."""
        usable = [view for view in self.held.values() if view.usable(clock.now()) and view.organization_id == organization_id]
        return [view.application for view in usable if view.requester == person_id]

    def grant_by_id(self, session: Session, grant_id: UUID) -> GrantView | None:
        """See GrantReader."""
        return self.held.get(grant_id)


def proof(
    jwk: dict[str, Any], method: str, uri: str, *, nonce: str | None = None, token: str | None = None, header: Any = None, **claims: Any
) -> str:
    """A DPoP proof (RFC 9449 4.2). A claim or header member that is None is left out; ``at``: seconds to add to the time."""
    shown = {name: value for name, value in public(jwk).items() if name in ("kty", "crv", "x", "y", "n", "e")}
    head = {"typ": "dpop+jwt", "alg": jwk["alg"], "jwk": shown} | (header or {})
    said: dict[str, Any] = {"jti": secrets.token_hex(16), "htm": method, "htu": uri, "iat": int(time.time()) + claims.pop("at", 0), "nonce": nonce}
    if token is not None:
        said["ath"] = b64(sha256(token.encode()).digest())
    said |= claims
    return sign(*({name: value for name, value in part.items() if value is not None} for part in (head, said)), jwk)
