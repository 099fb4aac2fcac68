"""Clients: the systems that fetch releases, registered by the hospital with their public keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.errors import Invalid, Problem
from broker.identity import client_keys
from broker.identity.errors import AlreadyThere, ResourceServerOutside, UnknownClient
from broker.identity.models import Client, FetchedJwks
from broker.identity.organizations import organization
from broker.identity.tokens import close_gates

IDENTIFIER = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
MAX_IDENTIFIER = 64
MAX_URI = 500
MAX_REDIRECTS = 10
_NEAR = ("127.0.0.1", "::1", "localhost")


def client(session: Session, client_id: str) -> Client:
    """The client of this id. Raises UnknownClient."""
    found = session.get(Client, client_id) if IDENTIFIER.fullmatch(client_id) else None
    if found is None:
        raise UnknownClient
    return found


def clients(session: Session, organization_id: str | None = None) -> list[Client]:
    """Every client, or those of one organisation, by id."""
    query = select(Client).order_by(Client.id)
    return list(session.exec(query if organization_id is None else query.where(Client.organization_id == organization_id)).all())


def register_client(
    session: Session,
    actor: str,
    *,
    id: str,  # noqa: A002  (The name that the client itself uses: client_id.)
    organization_id: str,
    name: str,
    jwks: object = None,
    jwks_uri: str | None = None,
    resource_server: bool = False,
    dpop: bool = False,
    encryption_jwk: object = None,
    redirect_uris: Sequence[str] = (),
) -> Client:
    """Register a client with its public keys: a JWK Set, or the address where it publishes them, which is then fetched.

    ``jwks_uri`` is also the one value that ``jku`` may have in its assertions. ``resource_server`` lets it introspect tokens of others;
    ``dpop`` gives it tokens bound to a key alone; ``encryption_jwk`` is what releases are encrypted to, where asked; ``redirect_uris`` is
    where people may be sent back to who agree that it fetches for them (none: it never acts for a person). Raises KeysRefused, Invalid,
    AlreadyThere, UnknownOrganization, ResourceServerOutside.
    """
    if not IDENTIFIER.fullmatch(id) or len(id) > MAX_IDENTIFIER:
        raise Invalid(
            problems=(Problem("/id", "id", f"An id is made of lower-case words and digits joined by . _ or -, at most {MAX_IDENTIFIER} characters."),)
        )
    checked, addresses = _checked(jwks, jwks_uri), _redirects(redirect_uris)
    home = organization(session, organization_id)
    if resource_server and home.relationship != "internal":
        raise ResourceServerOutside
    if session.get(Client, id) is not None:
        raise AlreadyThere("id: there is a client of this id.")
    row = Client(
        id=id,
        organization_id=home.id,
        name=name,
        jwks=checked,
        jwks_uri=jwks_uri,
        resource_server=resource_server,
        dpop=dpop,
        encryption_jwk=None if encryption_jwk is None else client_keys.checked_encryption(encryption_jwk),
        redirect_uris=addresses,
        created_at=clock.now(),
    )
    facts: dict[str, str | int | bool | list[str]] = {"client": id, "keys": client_keys.thumbprints(checked), "resource_server": resource_server}
    return _store(session, row, event=Event("client.registered", actor, recipient=home.id, facts=facts))


def change_client(
    session: Session, actor: str, client_id: str, *, status: str | None = None, name: str | None = None, dpop: bool | None = None,
    redirect_uris: Sequence[str] | None = None,
) -> Client:  # fmt: skip
    """Change what is given. Suspending waits for releases to this client that are on their way; then nothing more leaves to it."""
    if status == "suspended":
        close_gates(session, clients=[client_id])
    row = client(session, client_id)
    addresses = None if redirect_uris is None else _redirects(redirect_uris)
    named = (("status", status), ("name", name), ("dpop", dpop), ("redirect_uris", addresses))
    given: dict[str, Any] = {key: value for key, value in named if value is not None}
    for key, value in given.items():
        setattr(row, key, value)
    facts: dict[str, str | int | bool | list[str]] = {"client": row.id, "changed": sorted(given), "status": row.status}
    return _store(session, row, event=Event("client.changed", actor, recipient=row.organization_id, facts=facts))


def set_client_keys(
    session: Session, actor: str, client_id: str, *, jwks: object = None, jwks_uri: str | None = None, encryption_jwk: object = None
) -> Client:
    """Replace the client's keys. A key that is left out stops working at once. Raises KeysRefused, Invalid, UnknownClient."""
    checked = _checked(jwks, jwks_uri)
    row = client(session, client_id)
    before, after = client_keys.thumbprints(row.jwks), client_keys.thumbprints(checked)
    row.jwks, row.jwks_uri = checked, jwks_uri
    row.encryption_jwk = None if encryption_jwk is None else client_keys.checked_encryption(encryption_jwk)
    session.execute(sa.delete(FetchedJwks).where(col(FetchedJwks.client_id) == client_id))
    facts: dict[str, str | int | bool | list[str]] = {"client": row.id, "keys": after, "removed": [key for key in before if key not in after]}
    return _store(session, row, event=Event("client.keys-changed", actor, recipient=row.organization_id, facts=facts))


def _checked(jwks: object, jwks_uri: str | None) -> dict[str, Any]:
    """The keys as they are kept: none where an address is given in their place."""
    _check_uri(jwks_uri)
    return {"keys": []} if jwks is None and jwks_uri is not None else client_keys.checked(jwks)


def _check_uri(jwks_uri: str | None) -> None:
    if jwks_uri is None:
        return
    try:
        parts = urlsplit(jwks_uri)
        good = parts.scheme == "https" and bool(parts.hostname) and not parts.username and not parts.fragment and len(jwks_uri) <= MAX_URI
    except ValueError:
        good = False
    if not good or not jwks_uri.isascii() or not jwks_uri.isprintable():
        raise Invalid(problems=(Problem("/jwks_uri", "jwks-uri", "jwks_uri is an https address without user name or fragment."),))


def _redirects(given: Sequence[str]) -> list[str]:
    """Addresses that people may be sent to with a code, as they are kept. Raises Invalid.

    https, or http on the very machine that the browser runs on (RFC 8252 7.3); without a fragment (RFC 6749 3.1.2) or a wildcard.
    """
    found = list(dict.fromkeys(given))
    for number, address in enumerate(found):
        try:
            parts = urlsplit(address)
            near = parts.scheme == "http" and parts.hostname in _NEAR and parts.port is not None
            good = (parts.scheme == "https" or near) and bool(parts.hostname) and parts.username is None and len(address) <= MAX_URI
        except ValueError:
            good = False
        if not good or "#" in address or "*" in address or not address.isascii() or not address.isprintable() or " " in address:
            raise Invalid(problems=(Problem(f"/redirect_uris/{number}", "redirect-uri", "An https address, to the letter, without fragment."),))
    if len(found) > MAX_REDIRECTS:
        raise Invalid(problems=(Problem("/redirect_uris", "redirect-uris", f"At most {MAX_REDIRECTS} addresses."),))
    return found


def _store(session: Session, row: Client, *, event: Event) -> Client:
    session.add(row)
    session.flush()
    audit.record(session, event)
    return row
