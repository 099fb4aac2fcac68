"""The keys that a client publishes at its address, kept in the database for as long as they may be: one cache for every process.

A key that the client took away stops working when what was fetched runs out; a key it added is looked for at once, though not more
often than every minute, whatever assertions are sent in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlmodel import Session

from broker import clock
from broker.identity import jwks_fetch
from broker.identity.jwks_fetch import Fetched, NotFetched
from broker.identity.oauth_store import Registered
from broker.settings import Settings

#: After a failure, and for a key that isn't there, the address is asked again no sooner than this.
AFTER_FAILURE = timedelta(seconds=15)
FOR_A_NEW_KEY = timedelta(minutes=1)

_KEPT = "SELECT jwks, fetched_at, expires_at FROM fetched_jwks WHERE client_id = %(client)s AND uri = %(uri)s"
_KEEP = """
INSERT INTO fetched_jwks (client_id, uri, jwks, fetched_at, expires_at) VALUES (%(client)s, %(uri)s, %(jwks)s, %(at)s, %(until)s)
ON CONFLICT (client_id) DO UPDATE SET uri = excluded.uri, jwks = excluded.jwks, fetched_at = excluded.fetched_at, expires_at = excluded.expires_at
"""
_TRIED = "UPDATE fetched_jwks SET fetched_at = %(at)s WHERE client_id = %(client)s"


def keys_of(
    session: Session, client: Registered, kid: str, *, fetch: Callable[[str], Fetched | NotFetched], now: datetime
) -> Sequence[Mapping[str, Any]]:
    """The public keys of a client that registered an address in place of keys. Empty where there are none to be had."""
    if client.jwks_uri is None:
        return ()
    connection = session.connection()
    row = connection.exec_driver_sql(_KEPT, {"client": client.id, "uri": client.jwks_uri}).one_or_none()
    fresh = row is not None and row[2] > now
    if row is not None and fresh:
        keys: Sequence[Mapping[str, Any]] = row[0]["keys"] if row[0] else ()
        if not row[0] or any(key.get("kid") == kid for key in keys) or row[1] > now - FOR_A_NEW_KEY:
            return keys
    found = fetch(client.jwks_uri)
    values: dict[str, Any] = {"client": client.id, "uri": client.jwks_uri, "at": now}
    if isinstance(found, NotFetched):
        if row is not None and fresh:  # What is kept may still be used; the address is left alone for a while.
            connection.exec_driver_sql(_TRIED, values)
            return row[0]["keys"] if row[0] else ()
        connection.exec_driver_sql(_KEEP, values | {"jwks": None, "until": now + AFTER_FAILURE})
        return ()
    connection.exec_driver_sql(_KEEP, values | {"jwks": Jsonb(found.jwks), "until": now + timedelta(seconds=found.max_age)})
    listed: Sequence[Mapping[str, Any]] = found.jwks["keys"]
    return listed


def reader(session: Session, settings: Settings) -> Callable[[Registered, str], Sequence[Mapping[str, Any]]]:
    """:func:`keys_of` with the hospital's rules about addresses: what an assertion is authenticated with."""

    def fetch(uri: str) -> Fetched | NotFetched:
        return jwks_fetch.fetch(uri, private_hosts=settings.allowed_jwks_hosts, ca_file=settings.jwks_ca_file)

    return lambda client, kid: keys_of(session, client, kid, fetch=fetch, now=clock.now())
