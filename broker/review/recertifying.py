"""Every quarter somebody says of each access right whether it is still needed; what nobody speaks for is taken away (PI-3.2b)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import service as applications
from broker.applications.models import Grant
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.identity.access import Action, PersonCaller, Role
from broker.identity.models import Client, Organization, Person, RoleHeld
from broker.notifications import service as notifications
from broker.review.errors import NoSuchRight
from broker.review.last_use import is_unused, last_uses
from broker.review.models import Recertification
from broker.review.rules import Quarter

#: Days in which the rights are to be confirmed.
DAYS = 21

#: Without one of these the hospital could not be run: the last of them is kept, and told of instead.
_KEPT = (Role.ADMINISTRATOR.value, Role.INFORMATION_MANAGER.value)


def begin(session: Session, keys: Keys, caller: PersonCaller, quarter: Quarter, *, unused_days: int = 90) -> int:
    """Ask about every role held by an active account, every active client and every active grant; how many are asked. For auditors.

    Each with its last use; what was not used for ``unused_days`` is proposed to go. Beginning again adds what was granted since, and
    asks nothing twice.
    """
    if not caller.may(Action.REVIEW_WRITE):
        raise Forbidden
    due = clock.now() + timedelta(days=DAYS)
    held = session.execute(
        select(RoleHeld.person_id, RoleHeld.role, RoleHeld.organization_id)
        .join(Person, col(Person.id) == col(RoleHeld.person_id))
        .where(Person.status == "active")
    ).all()
    clients = session.execute(select(Client.id, Client.organization_id).where(Client.status == "active")).all()
    grants = session.execute(select(Grant.number, Grant.recipient_id).where(Grant.status == "active", Grant.valid_until > clock.now())).all()
    asked = [("role", f"{person}|{role}|{place}", place) for person, role, place in held]
    asked += [("client", client, place) for client, place in clients] + [("grant", number, place) for number, place in grants]
    names = {kind: {_name(kind, subject) for this, subject, _ in asked if this == kind} for kind in ("role", "client", "grant")}
    used = {kind: last_uses(session, kind, known) for kind, known in names.items()}
    added = unused = 0
    for kind, subject, place in asked:
        last = used[kind].get(_name(kind, subject))
        row = Recertification(quarter=str(quarter), kind=kind, subject=subject, organization_id=place, due_at=due, last_used_at=last)
        row.unused = is_unused(last, unused_days)
        fields = ("id", "quarter", "kind", "subject", "organization_id", "due_at", "last_used_at", "unused")
        values = {name: getattr(row, name) for name in fields}
        stored = session.execute(insert(Recertification).values(**values).on_conflict_do_nothing().returning(col(Recertification.id)))
        new = stored.first() is not None
        added, unused = added + new, unused + (new and row.unused)
    audit.record(session, Event("recertification.begun", caller.actor, facts={"quarter": str(quarter), "asked": added, "unused": unused}))
    facts: dict[str, str | int] = {"quarter": str(quarter), "count": added, "due": due.date().isoformat()}
    for role in (Role.INFORMATION_MANAGER, Role.DEPARTMENT_HEAD):
        notifications.notify_role(session, keys, role, kind="recertification.due", facts=facts, once=f"recertify|{quarter}|{added}")
    return added


def _name(kind: str, subject: str) -> str:
    """Under which name its use is on record."""
    return f"person:{subject.split('|', maxsplit=1)[0]}" if kind == "role" else subject


def mine(session: Session, caller: PersonCaller, quarter: Quarter, *, limit: int = 500, offset: int = 0) -> Sequence[Recertification]:
    """The rights that somebody answers for, or all of them for who audits; open ones first."""
    query = select(Recertification).where(Recertification.quarter == str(quarter))
    if not (caller.may(Action.REVIEW_WRITE) or caller.may(Action.GRANT_REVOKE)):
        places = {place for role, place in caller.offices if role is Role.DEPARTMENT_HEAD}
        below = {one for place in places for one in identity.below(session, place)}
        query = query.where(col(Recertification.organization_id).in_(below))
    order = (col(Recertification.answer).is_not(None), col(Recertification.unused).desc(), col(Recertification.kind), col(Recertification.subject))
    return session.exec(query.order_by(*order).limit(limit).offset(offset)).all()


def answer(session: Session, caller: PersonCaller, right: UUID, *, keep: bool) -> Recertification:
    """Say whether it is still needed. For a head of the organisation, or of what it belongs to, and for information managers; never one's own.

    Raises NoSuchRight. What is to be revoked goes at once with the next run of :func:`enforce`.
    """
    row = session.exec(select(Recertification).where(Recertification.id == right).with_for_update()).one_or_none()
    if row is None or row.outcome is not None or not answers_for(session, caller, row):
        raise NoSuchRight
    row.answer, row.answered_by, row.answered_at = ("keep" if keep else "revoke"), caller.person_id, clock.now()
    session.add(row)
    session.flush()
    facts: dict[str, str | int | bool | list[str]] = {"right": str(row.id), "kind": row.kind, "keep": keep, "quarter": row.quarter}
    audit.record(session, Event("recertification.answered", caller.actor, recipient=row.organization_id, facts=facts))
    return row


def answers_for(session: Session, caller: PersonCaller, row: Recertification) -> bool:
    """Whether somebody may answer for a right: its organisation's head, or an information manager; never for a role of their own."""
    if row.kind == "role":
        holder = identity.person(session, UUID(row.subject.split("|")[0]))
        if holder.natural_person == caller.natural_person:
            return False
    if caller.may(Action.GRANT_REVOKE):
        return True
    line = {one.id for one in identity.lineage(session, row.organization_id)}
    return any(role is Role.DEPARTMENT_HEAD and place in line for role, place in caller.offices)


def enforce(session: Session, keys: Keys) -> int:
    """Take away what is to be revoked, and what nobody spoke for in time; how many went. Safe to repeat, and by several workers."""
    now, gone = clock.now(), 0
    rows = session.exec(
        select(Recertification)
        .where(
            col(Recertification.outcome).is_(None),
            sa.or_(col(Recertification.answer).is_not(None), col(Recertification.due_at) <= now),
        )
        .order_by(col(Recertification.id))
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        if row.answer == "keep":
            row.outcome = "kept"
        else:
            row.outcome = _taken(session, keys, row) or ("revoked" if row.answer else "unanswered")
            gone += row.outcome in ("revoked", "unanswered")
        row.outcome_at = now
        session.add(row)
        session.flush()
        facts: dict[str, str | int | bool | list[str]] = {"right": str(row.id), "kind": row.kind, "outcome": row.outcome, "quarter": row.quarter}
        audit.record(session, Event("recertification.ended", "system", recipient=row.organization_id, facts=facts))
    return gone


def _taken(session: Session, keys: Keys, row: Recertification) -> str | None:
    """Take a right away; ``gone`` where it isn't there any more, ``last`` where it must stay."""
    if row.kind == "role":
        person, role, place = row.subject.split("|")
        offices = identity.offices(session, UUID(person))
        if (Role(role), place) not in offices:
            return "gone"
        if role in _KEPT and _others(session, role, UUID(person)) == 0:
            return "last"
        identity.set_roles(session, "system", UUID(person), [one for one in offices if one != (Role(role), place)])
        return None
    if row.kind == "client":
        if identity.client(session, row.subject).status != "active":
            return "gone"
        identity.change_client(session, "system", row.subject, status="suspended")
        return None
    reason = applications.Reason("Nobody confirmed that it is still needed.", applications.ReasonCode.RECERTIFICATION)
    return None if applications.revoke_by_clock(session, keys, row.subject, reason=reason) else "gone"


def _others(session: Session, role: str, person: UUID) -> int:
    """How many other active accounts inside the hospital hold a role."""
    query = (
        select(sa.func.count(sa.distinct(col(RoleHeld.person_id))))
        .join(Person, col(Person.id) == col(RoleHeld.person_id))
        .join(Organization, col(Organization.id) == col(RoleHeld.organization_id))
        .where(RoleHeld.role == role, Person.status == "active", Organization.relationship == "internal", RoleHeld.person_id != person)
    )
    return session.exec(query).one()
