"""Whom each step tells what, and who is reminded when a step is late (RS-5.2.4). Numbers, codes and days alone, never a patient."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import Session, col, select

from broker import clock
from broker.applications import people
from broker.applications.lifecycle import GrantState, State
from broker.applications.models import Application, Delegation, Grant
from broker.applications.rules import deadline
from broker.crypto import Keys
from broker.identity.access import Role
from broker.notifications import service as notifications

#: Days before its end at which the requester of a grant is told.
EXPIRING = (30, 7)


def _due(application: Application) -> str:
    return application.due_at.strftime("%Y-%m-%dT%H:%MZ") if application.due_at else "-"


def _requester(session: Session, keys: Keys, application: Application, kind: str, facts: dict[str, str | int], once: str | None = None) -> None:
    notifications.notify(session, keys, to=f"person:{application.requester_id}", kind=kind, facts=facts, once=once)


def _office(
    session: Session, keys: Keys, role: Role, places: tuple[str, ...] | None, kind: str, facts: dict[str, str | int], once: str | None
) -> int:
    """Tell whoever holds an office, and whoever stands in for them now."""
    told, now = 0, clock.now()
    holders = notifications.holders(session, role, places)
    lent = session.exec(
        select(Delegation.delegate_id).where(
            col(Delegation.person_id).in_(holders), Delegation.role == role.value, Delegation.since <= now, Delegation.until > now
        )
    ).all()
    for person in sorted({*holders, *lent}):
        own = None if once is None else f"{once}|{person}"
        told += notifications.notify(session, keys, to=f"person:{person}", kind=kind, facts=facts, once=own) is not None
    return told


def submitted(session: Session, keys: Keys, application: Application) -> None:
    """The heads who may endorse it."""
    _waiting(session, keys, application, "application.to-endorse", {"application": application.number or "", "due": _due(application)})


def endorsed(session: Session, keys: Keys, application: Application) -> None:
    """The information managers, and the heads of the departments to which the data belong."""
    _waiting(session, keys, application, "application.to-decide", {"application": application.number or "", "due": _due(application)})


def _waiting(session: Session, keys: Keys, application: Application, kind: str, facts: dict[str, str | int], once: str | None = None) -> int:
    """Tell those for whom an application waits in its state."""
    if application.status == State.SUBMITTED:
        concerned = people.places(session, {application.organization_id, application.recipient_id or application.organization_id}).values()
        return _office(session, keys, Role.DEPARTMENT_HEAD, tuple({one for place in concerned for one in place.lineage}), kind, facts, once)
    owners = [need.removeprefix("agree:") for need in application.needs if need.startswith("agree:")]
    told = _office(session, keys, Role.DEPARTMENT_HEAD, tuple(owners), kind, facts, once) if owners else 0
    return told + _office(session, keys, Role.INFORMATION_MANAGER, None, kind, facts, once)


def decided(session: Session, keys: Keys, application: Application, happened: str, until: str = "") -> None:
    """The requester, of an approval, a return or a refusal."""
    facts: dict[str, str | int] = {"application": application.number or ""}
    if happened in ("approved", "narrowed"):
        _requester(session, keys, application, "application.approved", {**facts, "until": until})
    elif happened in ("returned", "refused"):
        _requester(session, keys, application, f"application.{happened}", facts)


def grant_moved(session: Session, keys: Keys, application: Application, grant: Grant) -> None:
    """The requester and the recipient, that nothing more is sent."""
    if grant.status in (GrantState.SUSPENDED, GrantState.REVOKED, GrantState.EXPIRED):
        facts: dict[str, str | int] = {"application": application.number or "", "state": grant.status}
        _requester(session, keys, application, "grant.ended", facts)
        notifications.notify(session, keys, to=f"organization:{grant.recipient_id}", kind="grant.ended", facts=facts)


def remind(session: Session, keys: Keys) -> int:
    """Tell of what is late and of grants that end soon; how many were told. Safe to repeat: each reminder is given once.

    A step that is late is told to those who are to take it. After as long again it goes one up: an endorsement to the information
    managers, a decision to the heads of the hospital itself.
    """
    now, told = clock.now(), 0
    late = session.exec(
        select(Application).where(
            col(Application.status).in_([State.SUBMITTED.value, State.ENDORSED.value]), col(Application.due_at) <= now
        ).order_by(col(Application.due_at))
    ).all()  # fmt: skip
    for application in late:
        if application.due_at is None or application.submitted_at is None:
            continue
        step = "endorse" if application.status == State.SUBMITTED else "decide"
        facts: dict[str, str | int] = {
            "application": application.number or "",
            "urgency": application.form.get("urgency") or "routine",
            "step": step,
            "due": _due(application),
        }
        once = f"late|{application.id}|{application.round}|{step}"
        told += _waiting(session, keys, application, "application.overdue", facts, once)
        if now >= application.due_at + (application.due_at - application.submitted_at):
            told += _escalated(session, keys, application, facts, f"{once}|up")
    return told + _expiring(session, keys)


def _escalated(session: Session, keys: Keys, application: Application, facts: dict[str, str | int], once: str) -> int:
    if application.status == State.SUBMITTED:
        return _office(session, keys, Role.INFORMATION_MANAGER, None, "application.overdue", facts, once)
    managers = notifications.holders(session, Role.INFORMATION_MANAGER)
    houses = people.places(session, people.homes(session, managers)).values()
    return _office(session, keys, Role.DEPARTMENT_HEAD, tuple({place.root for place in houses}), "application.overdue", facts, once)


def _expiring(session: Session, keys: Keys) -> int:
    now, told = clock.now(), 0
    rows = session.execute(
        select(Grant.application_id, Grant.valid_until).where(
            Grant.status == GrantState.ACTIVE.value, Grant.valid_until > now, Grant.valid_until <= now + timedelta(days=max(EXPIRING))
        )
    ).all()
    for application_id, valid_until in rows:
        application = session.exec(select(Application).where(Application.id == application_id)).one()
        days = min(step for step in EXPIRING if valid_until - now <= timedelta(days=step))
        facts: dict[str, str | int] = {"application": application.number or "", "until": (valid_until - timedelta(seconds=1)).date().isoformat()}
        before = notifications.notify(
            session, keys, to=f"person:{application.requester_id}", kind="grant.expiring", facts=facts, once=f"grant-ends|{application.id}|{days}"
        )
        told += before is not None
    return told


def put_off(application: Application) -> None:
    """Give the decision its own time once the endorsement is there: all of what the urgency allows, counted from the submission."""
    if application.due_at is not None and application.submitted_at is not None:
        hours = int((application.due_at - application.submitted_at).total_seconds() // 1800)
        application.due_at = deadline(application.submitted_at, hours, endorsed=True)
