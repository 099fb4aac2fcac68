"""The organisation tree: the hospital, its departments, outside institutions (RS-3)."""

from __future__ import annotations

import re
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.errors import Problem
from broker.identity.errors import AlreadyThere, NotYourself, OrganizationInvalid, UnknownOrganization
from broker.identity.models import Organization, Person
from broker.identity.tokens import close_gates

#: Lower-case words joined by hyphens, such as ``renhe-cardiology``.
IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MAX_IDENTIFIER = 64
#: Levels from a hospital down; deeper trees are mistakes.
MAX_DEPTH = 8


def organization(session: Session, organization_id: str) -> Organization:
    """The organisation of this id. Raises UnknownOrganization."""
    found = session.get(Organization, organization_id) if IDENTIFIER.fullmatch(organization_id) else None
    if found is None:
        raise UnknownOrganization
    return found


def organizations(session: Session) -> list[Organization]:
    """Every organisation, by id."""
    return list(session.exec(select(Organization).order_by(Organization.id)).all())


def lineage(session: Session, organization_id: str) -> list[Organization]:
    """The organisation and those above it, the nearest first."""
    line = [organization(session, organization_id)]
    while (parent := line[-1].parent_id) is not None and len(line) <= MAX_DEPTH:
        line.append(organization(session, parent))
    return line


def below(session: Session, organization_id: str) -> set[str]:
    """Ids of the organisation and of all below it."""
    walk = sa.select(col(Organization.id)).where(col(Organization.id) == organization_id).cte("below", recursive=True)
    walk = walk.union(sa.select(col(Organization.id)).where(col(Organization.parent_id) == walk.c.id))
    return set(session.execute(sa.select(walk.c.id)).scalars())


def add_organization(
    session: Session,
    actor: str,
    *,
    id: str,  # noqa: A002  (The name that people and documents use.)
    kind: str,
    relationship: str,
    name_zh: str,
    name_en: str,
    parent_id: str | None = None,
    jurisdiction: str = "CN",
    agreement_until: datetime | None = None,
) -> Organization:
    """Add an organisation. Raises AlreadyThere, UnknownOrganization (the parent), OrganizationInvalid."""
    problems = []
    if not IDENTIFIER.fullmatch(id) or len(id) > MAX_IDENTIFIER:
        problems.append(Problem("/id", "id", f"An id is made of lower-case words and digits joined by hyphens, at most {MAX_IDENTIFIER} characters."))
    if kind == "department" and parent_id is None:
        problems.append(Problem("/parent_id", "parent-missing", "A department belongs to a hospital."))
    if parent_id is not None:
        line = lineage(session, parent_id)
        if line[0].relationship != relationship:
            problems.append(Problem("/relationship", "relationship", "An organisation is internal or external as the one it belongs to."))
        if len(line) >= MAX_DEPTH:
            problems.append(Problem("/parent_id", "depth", f"The tree has at most {MAX_DEPTH} levels."))
    if problems:
        raise OrganizationInvalid(problems=tuple(problems))
    if session.get(Organization, id) is not None:
        raise AlreadyThere("id: there is an organisation of this id.")
    row = Organization(
        id=id,
        parent_id=parent_id,
        kind=kind,
        relationship=relationship,
        jurisdiction=jurisdiction,
        agreement_until=agreement_until,
        name_zh=name_zh,
        name_en=name_en,
        created_at=clock.now(),
    )
    event = Event("organization.added", actor, recipient=id, facts={"kind": kind, "relationship": relationship})
    return _store(session, row, event=event)


def change_organization(
    session: Session,
    actor: str,
    organization_id: str,
    *,
    status: str | None = None,
    agreement_until: datetime | None = None,
    name_zh: str | None = None,
    name_en: str | None = None,
) -> Organization:
    """Change what is given. Suspending waits for releases to its clients, and those below it, that are on their way.

    After that nothing more leaves to any of them. Raises UnknownOrganization, and NotYourself when it would shut out who asks.
    """
    if status == "suspended":
        everyone = below(session, organization_id)
        accounts = session.exec(select(Person.id).where(col(Person.organization_id).in_(everyone))).all()
        if actor in {f"person:{account}" for account in accounts}:
            raise NotYourself
        # The systems of those above fetch for a part of theirs, too.
        close_gates(session, organizations=everyone | {one.id for one in lineage(session, organization_id)})
    row = organization(session, organization_id)
    changed = {"status": status, "agreement_until": agreement_until, "name_zh": name_zh, "name_en": name_en}
    given = {name: value for name, value in changed.items() if value is not None}
    for name, value in given.items():
        setattr(row, name, value)
    facts: dict[str, str | int | bool | list[str]] = {"changed": sorted(given), "status": row.status}
    return _store(session, row, event=Event("organization.changed", actor, recipient=row.id, facts=facts))


def _store(session: Session, row: Organization, *, event: Event) -> Organization:
    session.add(row)
    session.flush()
    audit.record(session, event)
    return row
