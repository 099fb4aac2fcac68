"""The front door of the keyring: what a process tells of its keys when it starts, and what has to hold before the next step of a change.

A change of the key-encryption key goes in steps, between which every process is started anew: all *hold* the new key, all *use* it, everything
is wrapped with it, the old one is retired. A process that lacks a key which data are wrapped with does not start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.keyring.errors import KeyMissing
from broker.keyring.models import KEY_ENCRYPTION, TOKEN_SIGNING, InstallationKey

__all__ = ["KEY_ENCRYPTION", "TOKEN_SIGNING", "Stranger", "announce", "check", "keys_of", "retire", "shown", "strangers", "tell_signing_keys"]

#: Characters of a key's name that a connection's name has room for (63 bytes for all).
_SHOWN = 8


def shown(keys: Keys, token_kids: Sequence[str]) -> str:
    """What every connection of a process says of its keys, in its name: whoever changes a key looks there first."""
    return f"k={','.join(one.hex()[:_SHOWN] for one in keys.keks)} t={','.join(one[:_SHOWN] for one in token_kids)}"


@dataclass(frozen=True)
class Stranger:
    """A connection of a broker's process that does not hold a key, or does not use it first."""

    process: int
    name: str


def strangers(session: Session, *, kek: str | None = None, token: str | None = None, using: bool = False) -> list[Stranger]:
    """Connections to this database of processes that do not hold this key; with ``using``, that still use another for what is new.

    A process without any connection at this moment is not seen: the operator's word that all were started anew stands for it.
    """
    letter, wanted = ("k", kek) if kek is not None else ("t", token or "")
    query = (
        "SELECT pid, application_name FROM pg_stat_activity "
        "WHERE datname = current_database() AND starts_with(application_name, 'broker broker_web') ORDER BY pid"
    )
    found = []
    for process, name in session.connection().exec_driver_sql(query):
        match = re.search(rf" {letter}=([^ ]+)", name)
        held = match[1].split(",") if match else []
        if wanted[:_SHOWN] not in (held[:1] if using else held):
            found.append(Stranger(process, name))
    return found


def check(session: Session, keys: Keys) -> None:
    """Remember the first key-encryption key. Raises KeyMissing when one that is in use is not at hand, or a retired one would be used."""
    rows = keys_of(session, KEY_ENCRYPTION)
    if not rows:
        # Two processes that start at once with different keys do not both come to be the first.
        session.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended('broker/keyring', 0))"))
        rows = keys_of(session, KEY_ENCRYPTION)
    if not rows:
        _enter(session, KEY_ENCRYPTION, next(iter(keys.keks)).hex(), None)
        rows = keys_of(session, KEY_ENCRYPTION)
    here = [one.hex() for one in keys.keks]
    for row in rows:
        if row.retired_at is None and row.kid not in here:
            raise KeyMissing(f"key-encryption key {row.kid} is in use and was not given")
        if row.retired_at is not None and row.kid == here[0]:
            raise KeyMissing(f"key-encryption key {row.kid} is retired and stands first")


def tell_signing_keys(session: Session, public: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Remember public keys that sign tokens and releases, with which old signatures are checked when the key is long gone."""
    known = {row.kid for row in keys_of(session, TOKEN_SIGNING)}
    for kid, jwk in public:
        if kid not in known:
            _enter(session, TOKEN_SIGNING, kid, orjson.dumps(jwk, option=orjson.OPT_SORT_KEYS).decode())


def keys_of(session: Session, kind: str) -> list[InstallationKey]:
    """Keys of a kind, oldest first."""
    return list(session.exec(select(InstallationKey).where(InstallationKey.kind == kind).order_by(col(InstallationKey.since), InstallationKey.kid)))


def announce(session: Session, kind: str, kid: str) -> None:
    """As the owner: a new key is in use from now on, and no process starts without it. Nothing the second time."""
    if session.get(InstallationKey, (kind, kid)) is None:
        _enter(session, kind, kid, None)
        audit.record(session, Event("key.introduced", "system", facts={"kind": kind, "kid": kid}))


def retire(session: Session, kind: str, kid: str) -> datetime:
    """As the owner: a key is never used again. Returns when that was."""
    row = session.get(InstallationKey, (kind, kid))
    if row is None:
        raise KeyMissing(f"there is no {kind} key {kid}")
    if row.retired_at is None:
        row.retired_at = clock.now()
        session.add(row)
        audit.record(session, Event("key.retired", "system", facts={"kind": kind, "kid": kid}))
    return row.retired_at


def _enter(session: Session, kind: str, kid: str, public: str | None) -> None:
    session.execute(insert(InstallationKey).values(kind=kind, kid=kid, public=public, since=clock.now()).on_conflict_do_nothing())
