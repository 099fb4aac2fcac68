"""An account as a caller: its roles, whether it is open, and whether it has a second factor, as the database says at this moment."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.identity.callers import PersonCaller, Proof
from broker.identity.models import Organization, Person, RoleHeld, SecondFactor
from broker.identity.roles import Role


def caller_for(session: Session, person_id: UUID, proof: Proof | None = None) -> PersonCaller | None:
    """The person as a caller, from what the database says at this moment; None for a closed account.

    An account is as suspended as any organisation above it. ``proof``: how they proved to be there, if they are.
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
        must_change_password=person.must_change_password,
        enrolled=proof is not None and enrolled(session, person_id),
        proof=proof,
    )


def enrolled(session: Session, person_id: UUID) -> bool:
    """Whether somebody has a second factor that works. A key that seems to be copied still asks for another factor."""
    query = sa.select(sa.exists().where(col(SecondFactor.person_id) == person_id, col(SecondFactor.confirmed_at).is_not(None)))
    return bool(session.execute(query).scalar_one())


def organization_active(session: Session, organization_id: str) -> bool:
    """Whether the organisation and every one above it are active."""
    above = sa.select(col(Organization.id), col(Organization.parent_id), col(Organization.status)).where(col(Organization.id) == organization_id)
    walk = above.cte("above", recursive=True)
    parents = sa.select(col(Organization.id), col(Organization.parent_id), col(Organization.status)).where(col(Organization.id) == walk.c.parent_id)
    walk = walk.union(parents)
    return bool(session.execute(sa.select(sa.func.bool_and(walk.c.status == "active"))).scalar_one())


def people_with_factor(session: Session) -> frozenset[UUID]:
    """Everybody who has a second factor."""
    return frozenset(session.execute(sa.select(col(SecondFactor.person_id)).where(col(SecondFactor.confirmed_at).is_not(None)).distinct()).scalars())
