"""Signing in: passwords with a throttle, and sessions.

A failed login must count although the request that made it fails, so that these functions take the database and commit on
their own. No connection is held while argon2 works.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import Database
from broker.identity import passwords, rules
from broker.identity.callers import PersonCaller
from broker.identity.models import FailedLogin, Organization, Person, PersonSession, RoleHeld
from broker.identity.roles import Role

USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")
MAX_PASSWORD_BYTES = 1024


@dataclass(frozen=True)
class LoginRefused:
    """Not signed in: a wrong name or password (which of them is not said), or a name that is locked for a while."""

    retry_after: int | None = None  #: seconds, where the name is locked


@dataclass(frozen=True)
class SessionGiven:
    """A session that was opened; ``secret`` is shown once and not kept."""

    secret: str
    expires_at: datetime
    caller: PersonCaller


def authenticate(database: Database, keys: Keys, username: str, password: str) -> PersonCaller | LoginRefused:
    """The person behind a user name and password. Counts failures under the name, whether or not there is such a person."""
    username = username.lower()
    name = keys.blind("login", username)
    with database.transaction() as session:
        if (wait := locked_for(session, name)) is not None:
            return LoginRefused(wait)
        person = _active_person(session, username)
        password_hash = person.password_hash if person else None
    right, renewed = passwords.matches(password, password_hash) if len(password.encode(errors="replace")) <= MAX_PASSWORD_BYTES else (False, None)
    with database.transaction() as session:
        if not right or person is None:
            count_failure(session, name, person)
            return LoginRefused()
        # Asked again: of many guesses sent at once, none that comes after the lock gets in, right or wrong.
        if (wait := locked_for(session, name)) is not None:
            return LoginRefused(wait)
        session.execute(sa.delete(FailedLogin).where(col(FailedLogin.name) == name))
        if renewed is not None:
            session.execute(sa.update(Person).where(col(Person.id) == person.id).values(password_hash=renewed))
        return caller_for(session, person.id) or LoginRefused()


def _active_person(session: Session, username: str) -> Person | None:
    if not USERNAME.fullmatch(username):
        return None
    return session.exec(select(Person).where(Person.username == username, Person.status == "active")).one_or_none()


def locked_for(session: Session, name: bytes) -> int | None:
    """Whole seconds until the name may be tried again, or None."""
    until = session.exec(select(FailedLogin.locked_until).where(FailedLogin.name == name)).one_or_none()
    now = clock.now()
    return None if until is None or until <= now else int((until - now).total_seconds()) + 1


def count(session: Session, name: bytes) -> int:
    """Count a failure under a blinded name; how many there are since FAILURES_FORGOTTEN without one."""
    now = clock.now()
    new = insert(FailedLogin).values(name=name, failures=1, last_at=now)
    counted = new.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "failures": sa.case((col(FailedLogin.last_at) < now - rules.FAILURES_FORGOTTEN, 1), else_=col(FailedLogin.failures) + 1),
            "last_at": now,
        },
    ).returning(col(FailedLogin.failures))
    failures: int = session.execute(counted).scalar_one()
    return failures


def count_failure(session: Session, name: bytes, person: Person | None) -> None:
    """Count a failure under a blinded name, lock the name for a while if there were many, and record it."""
    failures = count(session, name)
    now = clock.now()
    lock = rules.lock_after(failures)
    session.execute(sa.update(FailedLogin).where(col(FailedLogin.name) == name).values(locked_until=None if lock is None else now + lock))
    old = (
        select(FailedLogin.name)
        .where(FailedLogin.last_at < now - timedelta(days=1), FailedLogin.name != name)
        .limit(20)
        .with_for_update(skip_locked=True)
    )
    session.execute(sa.delete(FailedLogin).where(col(FailedLogin.name).in_(old)))
    # The same is done for a name that nobody has, or the time it takes would tell which names there are.
    audit.record(
        session, Event("login.failed", f"person:{person.id}" if person else "system", facts={"failures": failures, "locked": lock is not None})
    )


def caller_for(session: Session, person_id: UUID) -> PersonCaller | None:
    """The person as a caller, from what the database says at this moment; None for a closed account.

    An account is as suspended as any organisation above it.
    """
    person = session.get(Person, person_id)
    if person is None or person.status != "active" or not organization_active(session, person.organization_id):
        return None
    held = session.exec(select(RoleHeld.role, RoleHeld.organization_id).where(RoleHeld.person_id == person_id)).all()
    offices = frozenset((Role(role), organization_id) for role, organization_id in held)
    return PersonCaller(
        person.id,
        person.username,
        person.natural_person,
        person.organization_id,
        frozenset(role for role, _ in offices),
        person.language,
        offices,
    )


def organization_active(session: Session, organization_id: str) -> bool:
    """Whether the organisation and every one above it are active."""
    above = sa.select(col(Organization.id), col(Organization.parent_id), col(Organization.status)).where(col(Organization.id) == organization_id)
    walk = above.cte("above", recursive=True)
    parents = sa.select(col(Organization.id), col(Organization.parent_id), col(Organization.status)).where(col(Organization.id) == walk.c.parent_id)
    walk = walk.union(parents)
    return bool(session.execute(sa.select(sa.func.bool_and(walk.c.status == "active"))).scalar_one())


def secret_hash(secret: str) -> bytes:
    """What is kept of a session's secret."""
    return sha256(secret.encode(errors="replace")).digest()


def sign_in(database: Database, keys: Keys, username: str, password: str) -> SessionGiven | LoginRefused:
    """Open a session. The secret has 256 random bits; only its hash is kept."""
    caller = authenticate(database, keys, username, password)
    if isinstance(caller, LoginRefused):
        return caller
    with database.transaction() as session:
        return open_session(session, caller)


def open_session(session: Session, caller: PersonCaller) -> SessionGiven:
    """Open a session for somebody who has proved who they are."""
    now, secret = clock.now(), secrets.token_urlsafe(32)
    expires_at = now + rules.SESSION_LIFE
    session.execute(sa.delete(PersonSession).where(col(PersonSession.expires_at) < now))
    session.add(PersonSession(secret_hash=secret_hash(secret), person_id=caller.person_id, created_at=now, last_used_at=now, expires_at=expires_at))
    audit.record(session, Event("session.opened", caller.actor))
    return SessionGiven(secret, expires_at, caller)


def caller_of_session(session: Session, secret: str) -> PersonCaller | None:
    """Who holds this session secret, if the session still runs and the account is active."""
    row = session.get(PersonSession, secret_hash(secret))
    now = clock.now()
    if row is None or rules.session_ended(now, row.last_used_at, row.expires_at):
        return None
    caller = caller_for(session, row.person_id)
    # Written once a minute at most: reading should not become writing.
    if caller is not None and now - row.last_used_at >= timedelta(minutes=1):
        row.last_used_at = now
    return caller


def close_session(session: Session, secret: str) -> None:
    """End a session; nothing happens where there is none."""
    row = session.get(PersonSession, secret_hash(secret))
    if row is not None:
        session.delete(row)
        audit.record(session, Event("session.closed", f"person:{row.person_id}"))
