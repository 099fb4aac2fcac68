"""Who acts, read anew inside the transaction that acts: an account that was closed a moment ago decides nothing (attack E10)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.applications import delegations
from broker.applications.errors import Barred
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
    stands_in: Mapping[tuple[str, str], UUID] = field(default_factory=dict)  #: an office held by delegation alone, and whose it is

    @property
    def reference(self) -> str:
        """As audit events name them."""
        return f"person:{self.id}"

    def on_behalf_of(self, parts: frozenset[Part], places: Collection[str]) -> UUID | None:
        """Whose office is used in these parts for these places, where it is held by delegation alone; None: one's own."""
        for (role, organization), whose in sorted(self.stands_in.items()):
            if role == "information_manager" and Part.INFORMATION_MANAGER in parts:
                return whose
            if role == "department_head" and organization in places and not parts.isdisjoint({Part.DEPARTMENT_HEAD, Part.OWNING_HEAD}):
                return whose
        return None


def actor(session: Session, person_id: UUID) -> Actor:
    """The person, locked against being suspended until this commits. Raises Forbidden where there is no such active account."""
    person = session.exec(
        select(Person).where(Person.id == person_id).with_for_update(read=True).execution_options(populate_existing=True)
    ).one_or_none()
    if person is None or person.status != "active":
        raise Forbidden("This account is not active.")
    if person.barred_at is not None:
        raise Barred
    held = session.execute(
        select(RoleHeld.role, RoleHeld.organization_id, Organization.relationship)
        .join(Organization, col(Organization.id) == RoleHeld.organization_id)
        .where(RoleHeld.person_id == person_id)
    ).all()
    lent = delegations.lent_to(session, person, held_by_natural_person(session, person.natural_person))
    inside = {role for role, _, relationship in held if relationship == "internal"}
    own = {(role, organization) for role, organization, _ in held}
    return Actor(
        id=person.id,
        natural_person=person.natural_person,
        home=places(session, [person.organization_id])[person.organization_id],
        applies=any(role in ("applicant", "department_head") for role, _, _ in held),
        manages="information_manager" in inside or any(one.role == "information_manager" for one in lent),
        audits="auditor" in inside,
        head_of=frozenset(
            [organization for role, organization, _ in held if role == "department_head"]
            + [one.organization_id for one in lent if one.role == "department_head"]
        ),
        roles=tuple(sorted({role for role, _, _ in held})),
        stands_in={(one.role, one.organization_id): one.person_id for one in lent if (one.role, one.organization_id) not in own},
    )


def held_by_natural_person(session: Session, natural_person: str) -> frozenset[str]:
    """Every role that a human being holds, under whatever account."""
    query = select(RoleHeld.role).join(Person, col(Person.id) == col(RoleHeld.person_id)).where(Person.natural_person == natural_person)
    return frozenset(session.exec(query).all())


def parts_of(session: Session, who: Actor, application: Application) -> frozenset[Part]:
    """In which parts somebody may act on this application (``rules.parts``)."""
    owners = [need.removeprefix("agree:") for need in application.needs if need.startswith("agree:")]
    ids = {application.organization_id, *owners} | ({application.recipient_id} if application.recipient_id else set())
    known = places(session, ids)
    return parts(
        is_requester=application.requester_id == who.id,
        head_of=who.head_of,
        manages=who.manages,
        requester_home=known.get(application.organization_id),
        recipient=known.get(application.recipient_id or ""),
        owners=[known[owner] for owner in owners if owner in known],
    )


def answerable(session: Session, application: Application) -> frozenset[str]:
    """The organisations whose heads have a say in an application: requester's, recipient's, owners', and what these belong to."""
    owners = [need.removeprefix("agree:") for need in application.needs if need.startswith("agree:")]
    ids = {application.organization_id, *owners} | ({application.recipient_id} if application.recipient_id else set())
    return frozenset(one for place in places(session, ids).values() for one in place.lineage)


def houses_of(session: Session, natural_person: str) -> frozenset[str]:
    """The roots of the trees in which a human being has an account."""
    homes = session.exec(select(Person.organization_id).where(Person.natural_person == natural_person)).all()
    return frozenset(place.root for place in places(session, homes).values())


def homes(session: Session, ids: Collection[UUID]) -> frozenset[str]:
    """The organisations to which these accounts belong."""
    return frozenset(session.exec(select(Person.organization_id).where(col(Person.id).in_(ids))).all())


def natural_persons(session: Session, ids: Collection[UUID]) -> dict[UUID, str]:
    """The natural person behind each account, as it is known now."""
    rows = session.execute(select(Person.id, Person.natural_person).where(col(Person.id).in_(ids))).all()
    return dict(rows)


def accounts_of(session: Session, natural_person: str) -> tuple[UUID, ...]:
    """Every account of one natural person."""
    return tuple(session.exec(select(Person.id).where(Person.natural_person == natural_person)).all())
