"""When somebody can't get in any more: a link to choose a password, from an administrator; and lost second factors, which takes two.

One administrator alone can't take an account over: the link leaves the second factors as they are and ends once it is used, and the
person sees that their password was changed; the factors go only when a second person says so too.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.errors import Conflict
from broker.identity import rules
from broker.identity.callers import PersonCaller
from broker.identity.errors import LinkSpent, NotYourself, SecondPerson
from broker.identity.models import FactorReset, PasswordLink, Person, RecoveryCode, SecondFactor
from broker.identity.people import person, set_password
from broker.identity.sessions import end_sessions, secret_hash


@dataclass(frozen=True)
class Link:
    """A link's secret, shown once."""

    secret: str = field(repr=False)
    expires_at: datetime


def _somebody_else(session: Session, caller: PersonCaller, person_id: UUID) -> Person:
    row = person(session, person_id)
    if row.natural_person == caller.natural_person:
        raise NotYourself
    return row


def make_password_link(session: Session, caller: PersonCaller, person_id: UUID) -> Link:
    """A link by which somebody else chooses a new password, once, within a day. Raises NotYourself, UnknownPerson."""
    row = _somebody_else(session, caller, person_id)
    secret, expires_at = secrets.token_urlsafe(32), clock.now() + rules.LINK_LIFE
    session.execute(sa.delete(PasswordLink).where(sa.or_(col(PasswordLink.person_id) == person_id, col(PasswordLink.expires_at) < clock.now())))
    session.add(PasswordLink(person_id=person_id, secret_hash=secret_hash(secret), made_by=caller.person_id, expires_at=expires_at))
    session.flush()
    audit.record(session, Event("person.password-link", caller.actor, recipient=row.organization_id, facts={"person": str(person_id)}))
    return Link(secret, expires_at)


def link_is_good(session: Session, secret: str) -> bool:
    """Whether a link can still be used."""
    row = session.exec(select(PasswordLink).where(PasswordLink.secret_hash == secret_hash(secret))).one_or_none()
    return row is not None and row.expires_at > clock.now()


def use_password_link(session: Session, secret: str, password: str) -> Person:
    """Choose a password with a link, which is used up. Every session ends. Raises LinkSpent, PasswordRefused (the link stays good then)."""
    query = select(PasswordLink).where(PasswordLink.secret_hash == secret_hash(secret)).with_for_update()
    row = session.exec(query).one_or_none()
    if row is None or row.expires_at <= clock.now() or person(session, row.person_id).status != "active":
        raise LinkSpent
    changed = set_password(session, f"person:{row.person_id}", row.person_id, password)
    session.delete(row)
    session.flush()
    return changed


def factor_reset(session: Session, person_id: UUID) -> FactorReset | None:
    """Whether somebody asked that this person's second factors be taken away."""
    return session.get(FactorReset, person_id)


def reset_factors(session: Session, caller: PersonCaller, person_id: UUID) -> bool:
    """Say that somebody lost their second factors: the first person asks, the second agrees, and they are gone.

    Whether they are. Raises NotYourself, SecondPerson where the same person says it twice, Conflict where there is nothing to take away.
    """
    row = _somebody_else(session, caller, person_id)
    asked = session.exec(select(FactorReset).where(FactorReset.person_id == person_id).with_for_update()).one_or_none()
    facts: dict[str, str | int | bool | list[str]] = {"person": str(person_id)}
    if asked is None:
        if session.exec(select(SecondFactor.id).where(SecondFactor.person_id == person_id)).first() is None:
            raise Conflict("There is no second factor to take away.")
        session.add(FactorReset(person_id=person_id, asked_by=caller.person_id, asked_at=clock.now()))
        session.flush()
        audit.record(session, Event("second-factor.reset-asked", caller.actor, recipient=row.organization_id, facts=facts))
        return False
    if person(session, asked.asked_by).natural_person == caller.natural_person:
        raise SecondPerson
    for table in (SecondFactor, RecoveryCode):
        session.execute(sa.delete(table).where(col(table.person_id) == person_id))
    session.delete(asked)
    end_sessions(session, caller.actor, person_id)
    facts["asked_by"] = str(asked.asked_by)
    audit.record(session, Event("second-factor.reset", caller.actor, recipient=row.organization_id, facts=facts))
    return True


def keep_factors(session: Session, caller: PersonCaller, person_id: UUID) -> None:
    """They were not lost after all."""
    asked = factor_reset(session, person_id)
    if asked is not None:
        session.delete(asked)
        audit.record(session, Event("second-factor.reset-dropped", caller.actor, facts={"person": str(person_id)}))
