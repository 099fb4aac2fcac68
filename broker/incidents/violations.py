"""Violations and sanctions (RS-7.3): a case with evidence from the log, a hearing, a decision by two that takes effect at once, an appeal
to somebody who took no part, and an end that gives back what was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden, Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller
from broker.incidents import desk, exhibits
from broker.incidents.errors import CaseMoveNotAllowed, IncidentTextRequired, NoSuchCase
from broker.incidents.models import Violation
from broker.incidents.sanctions import CaseAction, CaseState, Sanction, check_case_move, check_uninvolved, possible_for
from broker.notifications import service as notifications

#: Days for the accused to say something, and to appeal.
HEARING_DAYS, APPEAL_DAYS = 7, 15


def open_case(
    session: Session,
    keys: Keys,
    caller: PersonCaller,
    *,
    person: UUID | None,
    organization: str | None,
    grounds: str,
    evidence: Sequence[UUID],
    told: str,
) -> Violation:
    """Open a case against a person or an organisation, with events of the log as its evidence.

    Raises Forbidden, Invalid (not exactly one accused), UnknownPerson, UnknownOrganization, NotFound (an event that is none).
    """
    desk.check_handler(caller)
    if (person is None) == (organization is None):
        raise Invalid(problems=(Problem("/person", "one_of", "Name either a person or an organisation."),))
    if person is not None:
        check_uninvolved(caller.natural_person, identity.person(session, person).natural_person)
    if organization is not None:
        identity.organization(session, organization)
    entries = exhibits.gathered(session, evidence)
    now = clock.now()
    row = Violation(
        number=desk.next_number(session, "VC"),
        person_id=person,
        organization_id=organization,
        grounds=grounds,
        evidence=[one["event"] for one in entries],
        entries=entries,
        opened_at=now,
        opened_by=caller.actor,
        hearing_until=now + timedelta(days=HEARING_DAYS),
        told_sealed=b"",
    )
    row.told_sealed = _sealed(keys, row, "told", told)
    _store(session, row, caller.actor, "opened", evidence=row.evidence[:20], grounds=grounds)
    facts = {"case": row.number, "due": row.hearing_until.date().isoformat()}
    notifications.notify(session, keys, to=_accused(row), kind="violation.opened", facts=facts)
    return row


def hear(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> Violation:
    """The accused says something. Raises NoSuchCase to everybody else, CaseMoveNotAllowed."""
    row = find(session, number, lock=True)
    if not is_accused(session, caller, row):
        raise NoSuchCase
    row.status = check_case_move(CaseState(row.status), CaseAction.HEAR).value
    row.heard_sealed = _sealed(keys, row, "heard", text)
    return _store(session, row, caller.actor, "heard")


def propose(session: Session, keys: Keys, caller: PersonCaller, number: str, *, sanction: Sanction, days: int | None, text: str) -> Violation:
    """The first of two: propose a sanction, once the accused was heard or the time for it is over.

    Raises Forbidden, NoSuchCase, CaseMoveNotAllowed, TwoPeople (the accused), Invalid.
    """
    row = _handled(session, caller, number)
    if row.status == CaseState.OPENED.value and clock.now() < row.hearing_until:
        raise CaseMoveNotAllowed
    to = check_case_move(CaseState(row.status), CaseAction.PROPOSE)
    if sanction not in possible_for(person=row.person_id is not None) or (sanction is Sanction.SUSPENDED) != (days is not None):
        raise Invalid(problems=(Problem("/sanction", "value", "Retraining is for people; a suspension, and it alone, names its days."),))
    row.status, row.sanction, row.days, row.proposed_by = to.value, sanction.value, days, caller.natural_person
    row.reasons_sealed = _sealed(keys, row, "reasons", text)
    return _store(session, row, caller.actor, "proposed", sanction=sanction.value)


def decide(session: Session, keys: Keys, caller: PersonCaller, number: str, *, agree: bool) -> Violation:
    """The second of two: agree, and it takes effect at once; or send it back. Raises as :func:`propose`."""
    row = _handled(session, caller, number)
    check_uninvolved(caller.natural_person, row.proposed_by)
    if not agree:
        row.status = check_case_move(CaseState(row.status), CaseAction.RETURN).value
        return _store(session, row, caller.actor, "returned")
    row.status = check_case_move(CaseState(row.status), CaseAction.DECIDE).value
    now = clock.now()
    row.decided_by, row.decided_at, row.appeal_until = caller.natural_person, now, now + timedelta(days=APPEAL_DAYS)
    row.ends_at = now + timedelta(days=row.days) if row.days is not None else None
    row.in_force = _take_effect(session, caller.actor, row)
    sanction = row.sanction or ""
    facts = {"case": row.number, "sanction": sanction, "due": row.appeal_until.date().isoformat()}
    notifications.notify(session, keys, to=_accused(row), kind="violation.decided", facts=facts)
    return _store(session, row, caller.actor, "decided", sanction=sanction, in_force=row.in_force)


def appeal(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> Violation:
    """The accused doesn't accept it; it stays in force meanwhile.

    Whoever is suspended can't sign in: an appeal that came as a letter is entered for them by somebody who handles cases, whose name stands
    in the log. Raises NoSuchCase, CaseMoveNotAllowed (also when it is too late).
    """
    row = find(session, number, lock=True)
    if not (is_accused(session, caller, row) or (caller.may(Button.INCIDENT_HANDLE) and row.in_force)):
        raise NoSuchCase
    to = check_case_move(CaseState(row.status), CaseAction.APPEAL)
    if row.appeal_until is None or clock.now() > row.appeal_until:
        raise CaseMoveNotAllowed
    row.status = to.value
    row.appeal_sealed = _sealed(keys, row, "appeal", text)
    return _store(session, row, caller.actor, "appealed")


def decide_appeal(session: Session, caller: PersonCaller, number: str, *, uphold: bool) -> Violation:
    """Somebody who audits, and took no part, upholds or overturns it. Raises Forbidden, NoSuchCase, CaseMoveNotAllowed, TwoPeople."""
    if not caller.may(Button.REVIEW_WRITE):
        raise Forbidden
    row = find(session, number, lock=True)
    check_uninvolved(caller.natural_person, row.proposed_by, row.decided_by)
    row.status = check_case_move(CaseState(row.status), CaseAction.UPHOLD if uphold else CaseAction.OVERTURN).value
    if not uphold:
        _give_back(session, caller.actor, row)
    return _store(session, row, caller.actor, "upheld" if uphold else "overturned")


def end(session: Session, caller: PersonCaller, number: str, *, text: str) -> Violation:
    """The training that was asked for was done: give back what was taken.

    Other sanctions end with their days, or by an appeal. Raises Forbidden, NoSuchCase, CaseMoveNotAllowed.
    """
    row = _handled(session, caller, number)
    if not text.strip():
        raise IncidentTextRequired
    if row.sanction != Sanction.RETRAINING.value:  # What two people decided for a time, or for good, one alone doesn't shorten.
        raise CaseMoveNotAllowed
    row.status = check_case_move(CaseState(row.status), CaseAction.END).value
    _give_back(session, caller.actor, row)
    return _store(session, row, caller.actor, "ended")


def dismiss(session: Session, caller: PersonCaller, number: str) -> Violation:
    """There was no violation. Raises as :func:`end`."""
    row = _handled(session, caller, number)
    row.status = check_case_move(CaseState(row.status), CaseAction.DISMISS).value
    return _store(session, row, caller.actor, "dismissed")


def expire(session: Session) -> int:
    """Give back what was taken for a time that is over; how many. A job of the worker."""
    over = select(Violation).where(col(Violation.in_force).is_(True), col(Violation.ends_at) <= clock.now())
    due = session.exec(over.order_by(col(Violation.number)).with_for_update()).all()
    for row in due:
        if CaseState(row.status) in (CaseState.DECIDED, CaseState.UPHELD):
            row.status = check_case_move(CaseState(row.status), CaseAction.END).value
        _give_back(session, "system", row)
        _store(session, row, "system", "expired")
    return len(due)


def _take_effect(session: Session, actor: str, row: Violation) -> bool:
    """Do what the sanction says; whether its end gives something back."""
    sanction = Sanction(row.sanction or "")
    if sanction is Sanction.WARNING:
        return False
    if row.person_id is not None:
        account = identity.person(session, row.person_id)
        if sanction is Sanction.RETRAINING:
            identity.bar(session, actor, account.id, barred=True)
            return True
        if account.status == "active":
            identity.change_person(session, actor, account.id, status="suspended")
            return True
        return False
    place = identity.organization(session, row.organization_id or "")
    if place.status != "active":
        return False
    identity.change_organization(session, actor, place.id, status="suspended")
    if sanction is Sanction.CLOSED:
        row.agreement_before = place.agreement_until
        identity.change_organization(session, actor, place.id, agreement_until=clock.now())
    return True


def _give_back(session: Session, actor: str, row: Violation) -> None:
    if row.in_force and row.person_id is not None:
        if row.sanction == Sanction.RETRAINING.value:
            identity.bar(session, actor, row.person_id, barred=False)
        else:
            identity.change_person(session, actor, row.person_id, status="active")
    elif row.in_force:
        identity.change_organization(session, actor, row.organization_id or "", status="active")
        if row.agreement_before is not None:
            identity.change_organization(session, actor, row.organization_id or "", agreement_until=row.agreement_before)
    row.in_force, row.ended_at = False, clock.now()


def find(session: Session, number: str, *, lock: bool = False) -> Violation:
    """By number. Raises NoSuchCase."""
    query = select(Violation).where(Violation.number == number)
    row = session.exec(query.with_for_update().execution_options(populate_existing=True) if lock else query).one_or_none()
    if row is None:
        raise NoSuchCase
    return row


def look(session: Session, caller: PersonCaller, number: str) -> Violation:
    """One that the caller may see: who reads incidents, and the accused. Raises NoSuchCase."""
    row = find(session, number)
    if not (caller.may(Button.INCIDENT_READ) or is_accused(session, caller, row)):
        raise NoSuchCase
    return row


def many(session: Session, caller: PersonCaller, *, limit: int = 200) -> list[Violation]:
    """Cases that the caller may see, newest first."""
    rows = session.exec(select(Violation).order_by(col(Violation.opened_at).desc()).limit(limit)).all()
    return [row for row in rows if caller.may(Button.INCIDENT_READ) or is_accused(session, caller, row)]


def words(keys: Keys, row: Violation) -> dict[str, str | None]:
    """What was told, heard, decided and appealed, in words."""
    given = {"told": row.told_sealed, "heard": row.heard_sealed, "reasons": row.reasons_sealed, "appeal": row.appeal_sealed}
    return {name: applications.unseal_text(keys, row.id, f"violation|{name}", sealed or None) for name, sealed in given.items()}


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """Cases of a span of time, for the review."""
    opened = session.exec(select(Violation).where(Violation.opened_at >= since, Violation.opened_at < until)).all()
    decided = session.exec(select(Violation).where(col(Violation.decided_at) >= since, col(Violation.decided_at) < until)).all()
    sanctions: dict[str, int] = {}
    for row in decided:
        sanctions[row.sanction or ""] = sanctions.get(row.sanction or "", 0) + 1
    appeals = sum(row.appeal_sealed is not None for row in decided)
    return {"opened": len(opened), "decided": len(decided), "sanctions": dict(sorted(sanctions.items())), "appeals": appeals}


def _accused(row: Violation) -> str:
    return f"person:{row.person_id}" if row.person_id else f"organization:{row.organization_id}"


def is_accused(session: Session, caller: PersonCaller, row: Violation) -> bool:
    """Whether the case is about the person, or about what they belong to."""
    if row.person_id is not None:
        return identity.person(session, row.person_id).natural_person == caller.natural_person
    return caller.organization_id in identity.below(session, row.organization_id or "")


def _handled(session: Session, caller: PersonCaller, number: str) -> Violation:
    """The case, locked, for somebody who handles cases and is not the accused."""
    desk.check_handler(caller)
    row = find(session, number, lock=True)
    if row.person_id is not None:
        check_uninvolved(caller.natural_person, identity.person(session, row.person_id).natural_person)
    return row


def _sealed(keys: Keys, row: Violation, field: str, text: str) -> bytes:
    if not text.strip():
        raise IncidentTextRequired
    return applications.seal_text(keys, row.id, f"violation|{field}", text) or b""


def _store(session: Session, row: Violation, actor: str, happened: str, **facts: str | int | bool | list[str]) -> Violation:
    session.add(row)
    session.flush()
    audit.record(session, Event(f"violation.{happened}", actor, recipient=row.organization_id, facts={"case": row.number, **facts}))
    return row
