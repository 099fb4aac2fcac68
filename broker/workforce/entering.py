"""Entering certificates and ending them: the verbs that change a register, each on record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.errors import Problem
from broker.identity import service as identity
from broker.workforce.codes import ENTERED, Register
from broker.workforce.errors import CredentialInvalid, NoSuchCredential
from broker.workforce.models import Credential

#: How far the clocks that are furthest ahead are before UTC.
EASTERNMOST = timedelta(hours=14)


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
    zone: tzinfo,
    valid_until: date | None = None,
    scope: Iterable[str] = (),
    issuer: str | None = None,
) -> tuple[Credential, bool]:
    """Enter a certificate of a person or an institution, and say whether it is new: entered twice it stands once.

    ``valid_until`` is its last day where the hospital is (``zone``).

    Raises UnknownPerson, UnknownOrganization, CredentialInvalid with every field that is wrong.
    """
    problems = []
    if (person is None) == (organization is None) or (register is Register.TRAINING and person is None):
        problems.append(Problem("/person", "holder", "A licence has one holder, a person or an institution; a training is a person's."))
    if code not in ENTERED[register]:
        problems.append(Problem("/code", "unknown", "This register has no such code."))
    if valid_until is not None and valid_until < issued_on:
        problems.append(Problem("/valid_until", "order", "It ends before it begins."))
    # The day is already there east of here; a hospital in Shanghai enters this morning what was issued this morning.
    if issued_on > (clock.now() + EASTERNMOST).date():
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
        valid_until=None if valid_until is None else day_end(valid_until, zone),
        created_at=now,
        changed_at=now,
    )
    known = session.exec(_same(row)).first()
    if known is not None:
        return known, False
    event = Event("workforce.entered", actor, recipient=organization, facts={"credential": str(row.id), "code": code, **_holder(row)})
    return _store(session, row, event=event), True


def day_end(day: date, zone: tzinfo) -> datetime:
    """The first moment after a day in a zone: until then a certificate counts whose last day it is."""
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=zone).astimezone(UTC)


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


def _store(session: Session, row: Credential, *, event: Event) -> Credential:
    session.add(row)
    session.flush()
    audit.record(session, event)
    return row
