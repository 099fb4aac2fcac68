"""Who acts, read anew inside the transaction that acts: an account that was closed a moment ago decides nothing (attack E10)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.applications.lifecycle import Part
from broker.applications.models import Application
from broker.applications.rules import Place, parts
from broker.errors import Forbidden
from broker.identity.models import Organization, Person, RoleHeld

_LINEAGE = sa.text(
    """
    WITH RECURSIVE up AS (
      SELECT id AS start, id, parent_id, relationship, 0 AS depth FROM organization WHERE id = ANY(:ids)
      UNION ALL
      SELECT up.start, above.id, above.parent_id, up.relationship, up.depth + 1
      FROM up JOIN organization above ON above.id = up.parent_id WHERE up.depth < 32
    )
    SELECT start, relationship, array_agg(id ORDER BY depth) AS lineage FROM up GROUP BY start, relationship
    """
)


def places(session: Session, ids: Collection[str]) -> dict[str, Place]:
    """The organisations that exist among ``ids``, each with what it belongs to."""
    rows = session.execute(_LINEAGE, {"ids": sorted(ids)}).all()
    return {row.start: Place(row.start, row.relationship, tuple(row.lineage)) for row in rows}


_BELOW = sa.text(
    """
    WITH RECURSIVE below AS (
      SELECT id FROM organization WHERE id = ANY(:ids)
      UNION
      SELECT under.id FROM organization under JOIN below ON under.parent_id = below.id
    )
    SELECT id FROM below
    """
)


def below(session: Session, ids: Collection[str]) -> tuple[str, ...]:
    """These organisations and everything that belongs to them."""
    return tuple(session.execute(_BELOW, {"ids": sorted(ids)}).scalars()) if ids else ()


@dataclass(frozen=True)
class Actor:
    """A person with the roles they hold at this moment."""

    id: UUID
    natural_person: str
    home: Place
    applies: bool
    manages: bool  #: information manager of the hospital itself
    audits: bool
    head_of: frozenset[str]
    roles: tuple[str, ...]

    @property
    def reference(self) -> str:
        """As audit events name them."""
        return f"person:{self.id}"


def actor(session: Session, person_id: UUID) -> Actor:
    """The person, locked against being suspended until this commits. Raises Forbidden where there is no such active account."""
    person = session.exec(
        select(Person).where(Person.id == person_id).with_for_update(read=True).execution_options(populate_existing=True)
    ).one_or_none()
    if person is None or person.status != "active":
        raise Forbidden("This account is not active.")
    held = session.execute(
        select(RoleHeld.role, RoleHeld.organization_id, Organization.relationship)
        .join(Organization, col(Organization.id) == RoleHeld.organization_id)
        .where(RoleHeld.person_id == person_id)
    ).all()
    inside = {role for role, _, relationship in held if relationship == "internal"}
    return Actor(
        id=person.id,
        natural_person=person.natural_person,
        home=places(session, [person.organization_id])[person.organization_id],
        applies=any(role in ("applicant", "department_head") for role, _, _ in held),
        manages="information_manager" in inside,
        audits="auditor" in inside,
        head_of=frozenset(organization for role, organization, _ in held if role == "department_head"),
        roles=tuple(sorted({role for role, _, _ in held})),
    )


def parts_of(session: Session, who: Actor, application: Application) -> frozenset[Part]:
    """In which parts somebody may act on this application (``rules.parts``)."""
    ids = {application.organization_id} | ({application.recipient_id} if application.recipient_id else set())
    known = places(session, ids)
    return parts(
        is_requester=application.requester_id == who.id,
        head_of=who.head_of,
        manages=who.manages,
        requester_home=known.get(application.organization_id),
        recipient=known.get(application.recipient_id or ""),
    )


def natural_persons(session: Session, ids: Collection[UUID]) -> dict[UUID, str]:
    """The natural person behind each account, as it is known now."""
    rows = session.execute(select(Person.id, Person.natural_person).where(col(Person.id).in_(ids))).all()
    return dict(rows)


def accounts_of(session: Session, natural_person: str) -> tuple[UUID, ...]:
    """Every account of one natural person."""
    return tuple(session.exec(select(Person.id).where(Person.natural_person == natural_person)).all())
