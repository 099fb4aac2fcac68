"""Break-glass and its review: opened at once, reviewed by somebody else in time, or it becomes an incident; misuse becomes a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller, Role
from broker.incidents import contacting, desk, rules, violations
from broker.incidents.errors import IncidentTextRequired, NoSuchCase, SecondFactorRequired
from broker.incidents.models import EmergencyAccess
from broker.notifications import service as notifications
from broker.records import service as records

#: Whether somebody proves the second factor that they have: None where they have none. Handed in by ``broker/app.py``.
SecondFactor = Callable[[Session, PersonCaller, str | None], bool | None]


def break_glass(
    session: Session,
    means: applications.Means,
    caller: PersonCaller,
    *,
    recipient: str,
    patient: Mapping[str, Any],
    reason: str,
    second_factor: bool | None,
    minutes: int,
    review_hours: int,
) -> EmergencyAccess | applications.EmergencyRefused:
    """Open a patient's emergency data for one's own organisation; the recipient's system fetches under the number that comes back.

    ``second_factor``: what SecondFactor said. Raises SecondFactorRequired where one was not proved, IncidentTextRequired, and what
    ``applications.open_emergency`` raises.
    """
    if second_factor is False:
        raise SecondFactorRequired
    if not reason.strip():
        raise IncidentTextRequired
    now = clock.now()
    until = now + timedelta(minutes=minutes)
    opened = applications.open_emergency(session, means, caller.person_id, recipient=recipient, patient=patient, justification=reason, until=until)
    if isinstance(opened, applications.EmergencyRefused):
        return opened
    row = EmergencyAccess(
        patient_key=opened.patient_key,
        application=opened.grant.number,
        person_id=caller.person_id,
        natural_person=caller.natural_person,
        second_factor=bool(second_factor),
        opened_at=now,
        closes_at=until,
        review_due_at=now + timedelta(hours=review_hours),
    )
    session.add(row)
    session.flush()
    facts: desk.Facts = {"second_factor": row.second_factor, "minutes": minutes, "review_hours": review_hours}
    audit.record(session, Event("emergency.opened", caller.actor, application=row.application, recipient=recipient, purpose="BTG", facts=facts))
    told = {"application": row.application, "due": row.review_due_at.strftime("%Y-%m-%dT%H:%MZ")}
    notifications.notify_role(session, means.keys, Role.INFORMATION_MANAGER, kind="emergency.opened", facts=told)
    jobs.defer(session, contacting.JOB, {"application": row.application})
    return row


def find(session: Session, application: str, *, lock: bool = False) -> EmergencyAccess:
    """By the application's number. Raises NoSuchCase."""
    query = select(EmergencyAccess).where(EmergencyAccess.application == application)
    row = session.exec(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NoSuchCase
    return row


def told_contact(session: Session, caller: PersonCaller, application: str) -> EmergencyAccess:
    """Write down that the patient, or who speaks for them, was told. Raises Forbidden, NoSuchCase."""
    desk.check_handler(caller)
    row = find(session, application, lock=True)
    row.contact_told_at = row.contact_told_at or clock.now()
    session.add(row)
    session.flush()
    audit.record(session, Event("emergency.contact-told", caller.actor, application=application))
    return row


def review(session: Session, keys: Keys, caller: PersonCaller, application: str, *, misuse: bool, text: str) -> EmergencyAccess:
    """Judge it afterwards, as somebody else than who opened it; misuse opens a case against them.

    Raises Forbidden, NoSuchCase (also where it was reviewed), TwoPeople, IncidentTextRequired.
    """
    desk.check_handler(caller)
    row = find(session, application, lock=True)
    if row.reviewed_at is not None:
        raise NoSuchCase
    rules.check_two(row.natural_person, caller.natural_person)
    if not text.strip():
        raise IncidentTextRequired
    row.reviewed_at, row.reviewed_by, row.verdict = clock.now(), caller.actor, "misuse" if misuse else "justified"
    row.note_sealed = records.seal_words(session, keys, row.patient_key, f"emergency|{application}", text)
    session.add(row)
    session.flush()
    facts: desk.Facts = {"verdict": row.verdict, "late": row.reviewed_at > row.review_due_at}
    event = audit.record(session, Event("emergency.reviewed", caller.actor, application=application, facts=facts))
    if misuse:
        violations.open_case(session, keys, caller, person=row.person_id, organization=None, grounds="emergency-misuse", evidence=[event], told=text)
    return row


def look(session: Session, caller: PersonCaller, application: str) -> EmergencyAccess:
    """For whoever reads incidents, and who opened it. Raises NoSuchCase."""
    row = find(session, application)
    if not (caller.may(Button.INCIDENT_READ) or row.natural_person == caller.natural_person):
        raise NoSuchCase
    return row


def note_of(session: Session, keys: Keys, caller: PersonCaller, row: EmergencyAccess) -> str | None:
    """What the review said, for those who handle incidents; None once the patient's key is gone."""
    if not caller.may(Button.INCIDENT_HANDLE) or row.note_sealed is None:
        return None
    if records.under_patient(row.note_sealed):
        return records.open_words(session, keys, row.patient_key, f"emergency|{row.application}", row.note_sealed)
    return applications.unseal_text(keys, applications.find(session, row.application).id, "emergency|note", row.note_sealed)


def reason_of(session: Session, keys: Keys, caller: PersonCaller, row: EmergencyAccess) -> str | None:
    """Why it was opened, for those who review it, and for who wrote it."""
    if not caller.may(Button.INCIDENT_HANDLE) and row.natural_person != caller.natural_person:
        return None
    found = applications.find(session, row.application)
    return applications.unseal_text(keys, found.id, "justification", found.justification_sealed)


def escalate(session: Session, keys: Keys) -> int:
    """Whatever nobody reviewed in time becomes an incident, once; how many. A job of the worker."""
    due = session.exec(
        select(EmergencyAccess)
        .where(col(EmergencyAccess.reviewed_at).is_(None), col(EmergencyAccess.incident).is_(None), EmergencyAccess.review_due_at <= clock.now())
        .order_by(col(EmergencyAccess.application))
        .with_for_update(skip_locked=True)
    ).all()
    for row in due:
        case = desk.report(
            session,
            keys,
            "system",
            kind=rules.Kind.EMERGENCY_UNREVIEWED,
            summary=f"{row.application}: emergency access was not reviewed by {row.review_due_at:%Y-%m-%d %H:%M} UTC.",
            occurred_at=row.opened_at,
            source=f"emergency:{row.application}",
        )
        row.incident = case.number
        session.add(row)
    session.flush()
    return len(due)


def many(session: Session, caller: PersonCaller, *, limit: int = 200) -> Sequence[EmergencyAccess]:
    """Emergencies, newest first: all for who reads incidents, else one's own."""
    query = select(EmergencyAccess)
    if not caller.may(Button.INCIDENT_READ):
        query = query.where(EmergencyAccess.natural_person == caller.natural_person)
    return session.exec(query.order_by(col(EmergencyAccess.opened_at).desc()).limit(limit)).all()


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """Emergencies of a span of time, for the review."""
    rows = session.exec(select(EmergencyAccess).where(EmergencyAccess.opened_at >= since, EmergencyAccess.opened_at < until)).all()
    return {
        "opened": len(rows),
        "justified": sum(row.verdict == "justified" for row in rows),
        "misuse": sum(row.verdict == "misuse" for row in rows),
        "unreviewed": sum(row.reviewed_at is None for row in rows),
        "became_incidents": sum(row.incident is not None for row in rows),
        "contact_told": sum(row.contact_told_at is not None for row in rows),
    }
