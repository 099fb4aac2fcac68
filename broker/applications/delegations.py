"""Standing in: a head or an information manager who is away lends the office to a colleague, for a while and on record.

Whoever stands in acts as themselves, so that the four eyes stay four: who applied or endorsed can't decide, whosever office it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.applications.errors import DelegationRefused, NoSuchDelegation
from broker.applications.models import Delegation
from broker.audit import service as audit
from broker.audit.events import Event
from broker.errors import Problem
from broker.identity import service as identity
from broker.identity.access import PersonCaller, Role
from broker.identity.models import Person, RoleHeld

#: The offices that may be lent, and for how long at most.
OFFICES = (Role.DEPARTMENT_HEAD, Role.INFORMATION_MANAGER)
LONGEST = timedelta(days=92)

#: Nobody who holds one of these stands in for an information manager (GB/T 22239-2019 8.1.4.2: three roles apart).
_APART = frozenset({Role.ADMINISTRATOR.value, Role.AUDITOR.value})


def lent_to(session: Session, person: Person, roles: frozenset[str]) -> Sequence[Delegation]:
    """The offices that this person holds for somebody else now: while the lender still holds them and has an active account.

    ``roles``: every role of this human being; what may not be held together is not lent either, whenever it came about.
    """
    now = clock.now()
    rows = session.exec(
        select(Delegation)
        .join(RoleHeld, sa.and_(*(getattr(RoleHeld, name) == getattr(Delegation, name) for name in ("person_id", "role", "organization_id"))))
        .join(Person, col(Person.id) == col(Delegation.person_id))
        .where(Delegation.delegate_id == person.id, Delegation.since <= now, Delegation.until > now, Person.status == "active")
        .order_by(col(Delegation.id))
    ).all()
    return [row for row in rows if roles.isdisjoint(_APART)]


def lent_offices(session: Session, person_id: UUID) -> frozenset[Role]:
    """The offices that somebody holds for a colleague now: what their menu shows besides their own."""
    row = session.get(Person, person_id)
    if row is None:
        return frozenset()
    held = select(RoleHeld.role).join(Person, col(Person.id) == col(RoleHeld.person_id)).where(Person.natural_person == row.natural_person)
    return frozenset(Role(one.role) for one in lent_to(session, row, frozenset(session.exec(held).all())))


def delegate(
    session: Session, caller: PersonCaller, *, person: UUID, to: UUID, role: Role, organization: str, since: datetime, until: datetime
) -> Delegation:
    """Lend an office. Everybody lends their own; an administrator also that of somebody who is away. Raises DelegationRefused, Forbidden."""
    problems = []
    if person != caller.person_id and Role.ADMINISTRATOR not in caller.roles:
        raise DelegationRefused(problems=(Problem("/person", "not-yours", "An office is lent by whoever holds it, or by the administrator."),))
    if role not in OFFICES or (role, organization) not in identity.offices(session, person):
        problems.append(Problem("/role", "not-held", "This office is not held."))
    lender, delegate_ = identity.person(session, person), identity.person(session, to)
    if delegate_.status != "active" or delegate_.natural_person == lender.natural_person:
        problems.append(Problem("/to", "unusable", "Somebody else with an active account stands in."))
    theirs = {one.id for one in identity.lineage(session, lender.organization_id)}
    if identity.lineage(session, delegate_.organization_id)[-1].id not in theirs:
        problems.append(Problem("/to", "other-house", "A colleague of the same house stands in."))
    natural = select(RoleHeld.role).join(Person, col(Person.id) == col(RoleHeld.person_id)).where(Person.natural_person == delegate_.natural_person)
    if not _APART.isdisjoint(session.exec(natural).all()):
        problems.append(Problem("/to", "roles-apart", "Auditors and administrators don't stand in for those who decide."))
    if not (since < until and until > clock.now() and until - since <= LONGEST):
        problems.append(Problem("/until", "order", f"It ends after it begins, in the future, after at most {LONGEST.days} days."))
    if problems:
        raise DelegationRefused(problems=tuple(problems))
    row = Delegation(
        person_id=person, delegate_id=to, role=role.value, organization_id=organization, since=since, until=until, created_at=clock.now(),
        created_by=caller.person_id,
    )  # fmt: skip
    return _store(session, row, event=_event(row, caller, "delegated"))


def end(session: Session, caller: PersonCaller, delegation: UUID) -> Delegation:
    """Take an office back at once. Raises NoSuchDelegation."""
    row = session.exec(select(Delegation).where(Delegation.id == delegation).with_for_update()).one_or_none()
    if row is None or (caller.person_id not in (row.person_id, row.delegate_id) and Role.ADMINISTRATOR not in caller.roles):
        raise NoSuchDelegation
    now = clock.now()
    if row.until > now:
        row.until = max(now, row.since + timedelta(microseconds=1))
    return _store(session, row, event=_event(row, caller, "delegation-ended"))


def of_caller(session: Session, caller: PersonCaller) -> Sequence[Delegation]:
    """Delegations from and to somebody that aren't over, soonest over first; the administrator's are everybody's."""
    query = select(Delegation).where(Delegation.until > clock.now())
    if Role.ADMINISTRATOR not in caller.roles:
        query = query.where(sa.or_(col(Delegation.person_id) == caller.person_id, col(Delegation.delegate_id) == caller.person_id))
    return session.exec(query.order_by(col(Delegation.until), col(Delegation.id))).all()


def _event(row: Delegation, caller: PersonCaller, happened: str) -> Event:
    facts: dict[str, str | int | bool | list[str]] = {
        "delegation": str(row.id),
        "person": str(row.person_id),
        "delegate": str(row.delegate_id),
        "role": row.role,
        "until": row.until.isoformat(),
    }
    return Event(f"person.{happened}", caller.actor, recipient=row.organization_id, facts=facts)


def _store(session: Session, row: Delegation, *, event: Event) -> Delegation:
    session.add(row)
    session.flush()
    audit.record(session, event)
    return row
