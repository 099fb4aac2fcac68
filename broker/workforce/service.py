"""The front door of the workforce registers: enter, end and look up certificates; what somebody holds; who is to be reminded."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
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
from broker.workforce.entering import add, change, find
from broker.workforce.errors import CredentialInvalid, NotQualified
from broker.workforce.imports import COLUMNS, HEADINGS, Line
from broker.workforce.imports import read as imported
from broker.workforce.listing import SORTS, STATES, Listing, Wanted, listing, state_of
from broker.workforce.models import Credential, Demand
from broker.workforce.rules import REMINDED, Entry, demanded, standing

__all__ = [
    "CODES",
    "COLUMNS",
    "DEMANDED_SQL",
    "ENTERED",
    "HEADINGS",
    "HELD_SQL",
    "SORTS",
    "STATES",
    "CredentialInvalid",
    "Line",
    "Listing",
    "NotQualified",
    "Register",
    "Step",
    "Wanted",
    "add",
    "background",
    "change",
    "check",
    "demands",
    "facts",
    "facts_from",
    "find",
    "imported",
    "listing",
    "many",
    "of_caller",
    "remind",
    "require",
    "set_demands",
    "state_of",
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


def many(
    session: Session,
    register: Register,
    *,
    person: UUID | None = None,
    organization: str | None = None,
    code: str | None = None,
    ends_before: datetime | None = None,
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
        query = query.where(col(Credential.valid_until) <= ends_before)
    return list(session.exec(query.order_by(col(Credential.valid_until), col(Credential.id)).limit(limit).offset(offset)).all())


def of_caller(session: Session, natural_person: str) -> list[Credential]:
    """Everything that is entered of one human being, under any account."""
    query = select(Credential).join(Person, col(Person.id) == col(Credential.person_id)).where(Person.natural_person == natural_person)
    return list(session.exec(query.order_by(col(Credential.valid_until), col(Credential.id))).all())


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
