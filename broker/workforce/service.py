"""The front door of the workforce registers: enter, end and look up certificates; what somebody holds; who is to be reminded."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Problem
from broker.identity import service as identity
from broker.identity.access import Role
from broker.identity.models import Person
from broker.notifications import service as notifications
from broker.workforce.asked import DEMANDED_SQL, HELD_SQL, facts, facts_from
from broker.workforce.codes import CODES, ENTERED, Register, Step
from broker.workforce.errors import CredentialInvalid, NoSuchCredential, NotQualified
from broker.workforce.models import Credential, Demand
from broker.workforce.rules import REMINDED, Entry, demanded, standing

__all__ = [
    "CODES",
    "DEMANDED_SQL",
    "HELD_SQL",
    "CredentialInvalid",
    "NotQualified",
    "Register",
    "Step",
    "add",
    "background",
    "change",
    "check",
    "demands",
    "facts",
    "facts_from",
    "find",
    "many",
    "of_caller",
    "remind",
    "require",
    "set_demands",
]


def check(session: Session, person: UUID, step: Step) -> None:
    """Raises NotQualified naming everything that a person lacks for a step, under any account of theirs."""
    natural = identity.person(session, person).natural_person
    rows = session.exec(select(Credential).join(Person, col(Person.id) == col(Credential.person_id)).where(Person.natural_person == natural)).all()
    entries = [_entry(row) for row in rows]
    required = demanded(entries, demands(session)[step])
    lacking = standing(entries, clock.epoch(clock.now())).lacking(required)
    if lacking:
        raise NotQualified(problems=tuple(Problem(f"/{code}", how, f"{CODES.get(code, (code, ''))[0]}: {how}.") for code, how in lacking))


def require(session: Session, natural_person: str, codes: Collection[str]) -> None:
    """Raises NotQualified naming what of the codes a human being does not hold at this moment."""
    found = standing([_entry(row) for row in of_caller(session, natural_person)], clock.epoch(clock.now()))
    lacking = found.lacking(codes)
    if lacking:
        raise NotQualified(problems=tuple(Problem(f"/{code}", how, f"{CODES.get(code, (code, ''))[0]}: {how}.") for code, how in lacking))


def _entry(row: Credential) -> Entry:
    return Entry(row.code, row.status, clock.epoch(row.valid_until) if row.valid_until else None, bool(row.scope))


def demands(session: Session) -> dict[Step, tuple[str, ...]]:
    """What each step demands, sorted; a step without demands has none."""
    found: dict[Step, list[str]] = {step: [] for step in Step}
    for row in session.exec(select(Demand).order_by(col(Demand.step), col(Demand.code))).all():
        found[Step(row.step)].append(row.code)
    return {step: tuple(codes) for step, codes in found.items()}


def set_demands(session: Session, actor: str, step: Step, codes: Collection[str]) -> None:
    """Say what a step demands from now on. Raises CredentialInvalid for codes that no register knows."""
    unknown = sorted(set(codes) - CODES.keys())
    if unknown:
        raise CredentialInvalid(problems=(Problem("/codes", "unknown", "There is no such code."),))
    session.execute(sa.delete(Demand).where(col(Demand.step) == step.value))
    session.add_all(Demand(step=step.value, code=code) for code in sorted(set(codes)))
    session.flush()
    audit.record(session, Event("workforce.demands-set", actor, facts={"step": step.value, "codes": sorted(set(codes))}))


def add(
    session: Session,
    actor: str,
    register: Register,
    *,
    person: UUID | None = None,
    organization: str | None = None,
    code: str,
    number: str,
    issued_on: date,
    valid_until: date | None = None,
    scope: Iterable[str] = (),
    issuer: str | None = None,
) -> tuple[Credential, bool]:
    """Enter a certificate of a person or an institution, and say whether it is new: entered twice it stands once.

    ``valid_until`` is its last day.

    Raises UnknownPerson, UnknownOrganization, CredentialInvalid with every field that is wrong.
    """
    problems = []
    if (person is None) == (organization is None) or (register is Register.TRAINING and person is None):
        problems.append(Problem("/person", "holder", "A licence has one holder, a person or an institution; a training is a person's."))
    if code not in ENTERED[register]:
        problems.append(Problem("/code", "unknown", "This register has no such code."))
    if valid_until is not None and valid_until < issued_on:
        problems.append(Problem("/valid_until", "order", "It ends before it begins."))
    if issued_on > clock.today():
        problems.append(Problem("/issued_on", "future", "It can't be entered before it is issued."))
    if problems:
        raise CredentialInvalid(problems=tuple(problems))
    if person is not None:
        identity.person(session, person)
    if organization is not None:
        identity.organization(session, organization)
    now = clock.now()
    row = Credential(
        book=register.value,
        person_id=person,
        organization_id=organization,
        code=code,
        number=number,
        scope=sorted(set(scope)),
        issuer=issuer,
        issued_on=issued_on,
        valid_until=None if valid_until is None else _day_end(valid_until),
        created_at=now,
        changed_at=now,
    )
    known = session.exec(_same(row)).first()
    if known is not None:
        return known, False
    event = Event("workforce.entered", actor, recipient=organization, facts={"credential": str(row.id), "code": code, **_holder(row)})
    return _store(session, row, event=event), True


def _day_end(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=clock.now().tzinfo)


def _same(row: Credential) -> Any:
    names = ("person_id", "organization_id", "code", "number", "issued_on", "valid_until")
    return select(Credential).where(*(col(getattr(Credential, name)).is_not_distinct_from(getattr(row, name)) for name in names))


def _holder(row: Credential) -> dict[str, str | int | bool | list[str]]:
    return {"person": str(row.person_id)} if row.person_id else {}


def change(session: Session, actor: str, register: Register, credential: UUID, status: str) -> Credential:
    """Suspend, withdraw or restore a certificate. Raises NoSuchCredential."""
    row = find(session, register, credential)
    before, row.status, row.changed_at = row.status, status, clock.now()
    facts: dict[str, str | int | bool | list[str]] = {"credential": str(row.id), "code": row.code, "before": before, "status": status, **_holder(row)}
    return _store(session, row, event=Event("workforce.changed", actor, recipient=row.organization_id, facts=facts))


def find(session: Session, register: Register, credential: UUID) -> Credential:
    """A certificate. Raises NoSuchCredential."""
    row = session.exec(select(Credential).where(Credential.id == credential, Credential.book == register.value)).one_or_none()
    if row is None:
        raise NoSuchCredential
    return row


def many(
    session: Session,
    register: Register,
    *,
    person: UUID | None = None,
    organization: str | None = None,
    code: str | None = None,
    ends_before: date | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[Credential]:
    """Certificates, those that end first before the others. ``organization`` also finds those of the people who belong to it."""
    query = select(Credential).where(Credential.book == register.value)
    if person is not None:
        query = query.where(Credential.person_id == person)
    if organization is not None:
        theirs = select(Person.id).where(Person.organization_id == organization)
        query = query.where(sa.or_(col(Credential.organization_id) == organization, col(Credential.person_id).in_(theirs)))
    if code is not None:
        query = query.where(Credential.code == code)
    if ends_before is not None:
        query = query.where(col(Credential.valid_until) <= _day_end(ends_before))
    return list(session.exec(query.order_by(col(Credential.valid_until), col(Credential.id)).limit(limit).offset(offset)).all())


def of_caller(session: Session, natural_person: str) -> list[Credential]:
    """Everything that is entered of one human being, under any account."""
    query = select(Credential).join(Person, col(Person.id) == col(Credential.person_id)).where(Person.natural_person == natural_person)
    return list(session.exec(query.order_by(col(Credential.valid_until), col(Credential.id))).all())


def _store(session: Session, row: Credential, *, event: Event) -> Credential:
    session.add(row)
    session.flush()
    audit.record(session, event)
    return row


def remind(session: Session, keys: Keys) -> int:
    """Tell holders, and the information managers, of certificates that end soon and aren't renewed; how many were told. Safe to repeat."""
    now, told = clock.now(), 0
    soon = session.exec(
        select(Credential)
        .where(Credential.status == "active", col(Credential.valid_until) > now, col(Credential.valid_until) <= now + timedelta(days=max(REMINDED)))
        .order_by(col(Credential.valid_until))
    ).all()
    for row in soon:
        if row.valid_until is None or _renewed(session, row):
            continue
        days = min(step for step in REMINDED if row.valid_until - now <= timedelta(days=step))
        last = (row.valid_until - timedelta(microseconds=1)).date().isoformat()
        kind, said = _said(row, last)
        to = f"person:{row.person_id}" if row.person_id else f"organization:{row.organization_id}"
        once = f"credential|{row.id}|{days}"
        told += notifications.notify(session, keys, to=to, kind=kind, facts=said, once=once) is not None
        if days <= min(REMINDED[:-1]):
            told += notifications.notify_role(session, keys, Role.INFORMATION_MANAGER, kind=kind, facts=said, once=once)
    return told


def _said(row: Credential, last: str) -> tuple[str, dict[str, str | int]]:
    if row.book == Register.TRAINING:
        return "training.expiring", {"course": row.code, "until": last}
    number = row.number if row.number.isascii() and row.number.isprintable() and " " not in row.number else str(row.id)
    return "qualification.expiring", {"number": number, "kind": row.code, "until": last}


def _renewed(session: Session, row: Credential) -> bool:
    """Whether the same holder has another certificate of this code that lasts longer."""
    query = select(Credential.id).where(
        Credential.code == row.code,
        Credential.status == "active",
        col(Credential.person_id).is_not_distinct_from(row.person_id),
        col(Credential.organization_id).is_not_distinct_from(row.organization_id),
        sa.or_(col(Credential.valid_until).is_(None), col(Credential.valid_until) > row.valid_until),
    )
    return session.exec(query).first() is not None


def background() -> list[jobs.Job]:
    """Reminders, every morning at seven in China."""

    def reminders(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            remind(session, tools.keys)

    return [jobs.Job("workforce.remind", reminders, cron="0 23 * * *")]
