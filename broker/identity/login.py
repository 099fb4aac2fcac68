"""Signing in: passwords with a throttle.

A failed login must count although the request that made it fails, so that these functions take the database and commit on
their own. No connection is held while argon2 works.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import Database
from broker.identity import passwords, rules
from broker.identity.account import caller_for
from broker.identity.callers import PersonCaller, Proof
from broker.identity.models import FailedLogin, Person
from broker.identity.rules import SessionLimits
from broker.identity.sessions import DEFAULT, SessionGiven, open_session

USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")
MAX_PASSWORD_BYTES = 1024


@dataclass(frozen=True)
class LoginRefused:
    """Not signed in: a wrong name or password (which of them is not said), or a name that is locked for a while."""

    retry_after: int | None = None  #: seconds, where the name is locked


def device_mark(keys: Keys, username: str) -> str:
    """What a browser keeps in which somebody signed in: it says nothing, and opens nothing."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{keys.blind('device', username.lower(), nonce).hex()}"


def _counted_under(keys: Keys, username: str, device: str) -> bytes:
    """The blinded name that failures count under.

    A browser in which this person signed in before has a count of its own: whoever tries passwords from elsewhere locks everybody else out
    of the name, but not the person at their own desk (OWASP, "Device Cookies").
    """
    nonce, _, proof = device.partition(".")
    if nonce and hmac.compare_digest(proof.encode(errors="replace"), keys.blind("device", username, nonce).hex().encode()):
        return keys.blind("login", username, nonce)
    return keys.blind("login", username)


def authenticate(database: Database, keys: Keys, username: str, password: str, *, device: str = "") -> PersonCaller | LoginRefused:
    """The person behind a user name and password. Counts failures under the name, whether or not there is such a person.

    ``device``: the mark of the browser (:func:`device_mark`), if it has one.
    """
    username = username.lower()
    name = _counted_under(keys, username, device)
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
        return caller_for(session, person.id, Proof(clock.now())) or LoginRefused()


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


def count_failure(session: Session, name: bytes, person: Person | None, event: str = "login.failed") -> None:
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
    audit.record(session, Event(event, f"person:{person.id}" if person else "system", facts={"failures": failures, "locked": lock is not None}))


def forget_failures(session: Session, name: bytes) -> None:
    """Nothing was wrong after all."""
    session.execute(sa.delete(FailedLogin).where(col(FailedLogin.name) == name))


def sign_in(
    database: Database, keys: Keys, username: str, password: str, *, agent: str = "", device: str = "", limits: SessionLimits = DEFAULT
) -> SessionGiven | LoginRefused:
    """Open a session. The secret has 256 random bits; only its hash is kept."""
    caller = authenticate(database, keys, username, password, device=device)
    if isinstance(caller, LoginRefused):
        return caller
    with database.transaction() as session:
        return open_session(session, caller, agent=agent, limits=limits)
