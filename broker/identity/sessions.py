"""Sessions of people: rows in the database, of which the browser or program holds the secret.

A session ends by idleness, by age, by signing out, here or from the list of one's own, and by whatever takes the account away. When
somebody proves more than before, the secret is another one from then on, so that nobody who knew the old one gains by it (session fixation).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.identity import rules
from broker.identity.account import caller_for
from broker.identity.callers import PersonCaller, Proof
from broker.identity.models import PersonSession
from broker.identity.rules import SessionLimits
from broker.settings import Settings

#: Names by which browsers call themselves, in the order in which they must be looked for, and of what they run on.
_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"), ("python", "Python"))
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"))


#: Where no settings are at hand: what they are unless somebody sets them.
DEFAULT = SessionLimits()


def limits_of(settings: Settings) -> SessionLimits:
    """The limits that an installation sets."""
    return SessionLimits(timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours))


@dataclass(frozen=True)
class SessionGiven:
    """A session that was opened; ``secret`` is shown once and not kept."""

    secret: str = field(repr=False)
    expires_at: datetime
    caller: PersonCaller


def agent_of(header: str | None) -> str:
    """What a User-Agent header comes to, such as ``Firefox, Linux``: enough to know one's own browser by, and not a fingerprint."""
    told = header or ""
    found = [next((name for mark, name in table if mark.lower() in told.lower()), "") for table in (_BROWSERS, _SYSTEMS)]
    return ", ".join(part for part in found if part)


def secret_hash(secret: str) -> bytes:
    """What is kept of a session's secret."""
    return sha256(secret.encode(errors="replace")).digest()


def open_session(
    session: Session,
    caller: PersonCaller,
    *,
    method: str = "password",
    second: bool = False,
    agent: str = "",
    sid: str | None = None,
    limits: SessionLimits = DEFAULT,
) -> SessionGiven:
    """Open a session for somebody who has proved who they are.

    ``second``: whether that proof was of two factors, as a passkey's is. Where another is still to be shown, the session is short.
    ``sid``: what the hospital's login calls its own session.
    """
    now, secret, id_ = clock.now(), secrets.token_urlsafe(32), uuid4()
    proof = Proof(now, now if second else None, id_, method)
    expires_at = now + (rules.PENDING_LIFE if caller.enrolled and not second else limits.life)
    session.execute(sa.delete(PersonSession).where(col(PersonSession.expires_at) < now))
    session.add(
        PersonSession(
            secret_hash=secret_hash(secret), id=id_, person_id=caller.person_id, created_at=now, last_used_at=now, expires_at=expires_at,
            proved_at=now, second_at=proof.second_at, method=method, agent=agent, sid=sid,
        )
    )  # fmt: skip
    audit.record(session, Event("session.opened", caller.actor, facts={"method": method, "second_factor": second}))
    return SessionGiven(secret, expires_at, replace(caller, proof=proof))


def caller_of_session(session: Session, secret: str, limits: SessionLimits = DEFAULT) -> PersonCaller | None:
    """Who holds this session secret, if the session still runs and the account is active."""
    row = running(session, secret, limits)
    return None if row is None else caller_for(session, row.person_id, Proof(row.proved_at, row.second_at, row.id, row.method))


def running(session: Session, secret: str, limits: SessionLimits = DEFAULT) -> PersonSession | None:
    """The session that this secret opens, if it still runs. Its last use is noted."""
    row = session.get(PersonSession, secret_hash(secret))
    now = clock.now()
    # Limits that were made shorter hold for sessions that were opened before, too.
    if row is None or rules.session_ended(now, row.last_used_at, min(row.expires_at, row.created_at + limits.life), limits.idle):
        return None
    # Written once a minute at most: reading should not become writing.
    if now - row.last_used_at >= timedelta(minutes=1):
        row.last_used_at = now
    return row


def raise_proof(session: Session, secret: str, *, second: bool, limits: SessionLimits = DEFAULT) -> SessionGiven | None:
    """Note that somebody proved anew who they are, with a second factor or without, and give the session another secret.

    None where the session has ended meanwhile.
    """
    row = running(session, secret, limits)
    if row is None:
        return None
    now, fresh = clock.now(), secrets.token_urlsafe(32)
    row.proved_at = now
    if second and row.second_at is None:
        row.expires_at = row.created_at + limits.life
    if second:
        row.second_at = now
    proof = Proof(now, row.second_at, row.id, row.method)
    person, expires_at = row.person_id, row.expires_at
    session.flush()
    session.execute(sa.update(PersonSession).where(col(PersonSession.id) == row.id).values(secret_hash=secret_hash(fresh)))
    session.expire_all()
    audit.record(session, Event("session.proved", f"person:{person}", facts={"second_factor": second}))
    caller = caller_for(session, person, proof)
    return None if caller is None else SessionGiven(fresh, expires_at, caller)


def sessions_of(session: Session, person_id: UUID) -> list[PersonSession]:
    """Somebody's sessions that still run, the last used first."""
    rows = session.exec(select(PersonSession).where(PersonSession.person_id == person_id).order_by(col(PersonSession.last_used_at).desc())).all()
    now = clock.now()
    return [row for row in rows if not rules.session_ended(now, row.last_used_at, row.expires_at)]


def close_session(session: Session, secret: str) -> None:
    """End a session; nothing happens where there is none."""
    row = session.get(PersonSession, secret_hash(secret))
    if row is not None:
        session.delete(row)
        audit.record(session, Event("session.closed", f"person:{row.person_id}"))


def end_session(session: Session, actor: str, person_id: UUID, session_id: UUID) -> bool:
    """End one session of this person; whether there was one."""
    ended = _ended(session, col(PersonSession.id) == session_id, col(PersonSession.person_id) == person_id)
    return _recorded(session, actor, person_id, ended) > 0


def end_sessions(session: Session, actor: str, person_id: UUID, *, but: UUID | None = None) -> int:
    """End somebody's sessions, all of them or all but one; how many there were."""
    others = [] if but is None else [col(PersonSession.id) != but]
    return _recorded(session, actor, person_id, _ended(session, col(PersonSession.person_id) == person_id, *others))


def _ended(session: Session, *conditions: sa.ColumnElement[bool]) -> int:
    return len(session.execute(sa.delete(PersonSession).where(*conditions).returning(col(PersonSession.id))).all())


def _recorded(session: Session, actor: str, person_id: UUID, ended: int) -> int:
    if ended:
        audit.record(session, Event("session.ended", actor, facts={"person": str(person_id), "sessions": ended}))
    return ended
