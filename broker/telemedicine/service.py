"""The front door of telemedicine: book a remote consultation, confirm, check identity, open, write down, close, follow up (TM-5.4).

Data are open between opening and closing, and never past the appointed last minute, whoever forgets to close
(``applications.windows``). Verbs take the session first; the transaction is the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.applications import service as applications
from broker.applications.models import GrantPatient
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys, seal, unseal
from broker.database import Database
from broker.errors import Problem
from broker.identity import service as identity
from broker.identity.access import Action, PersonCaller
from broker.notifications import service as notifications
from broker.records import service as records
from broker.telemedicine import encounter, rules
from broker.telemedicine.errors import (
    ConsultationInvalid,
    IdentityNotChecked,
    NoSuchConsultation,
    NotTheTime,
    NotYourConsultation,
    RecordsNotTaken,
)
from broker.telemedicine.lifecycle import Part, State, Step, check_move, possible, state_at
from broker.telemedicine.models import Consultation, ConsultationNumber, ConsultationStep
from broker.telemedicine.rules import Identified
from broker.workforce import service as workforce

__all__ = [
    "Identified",
    "State",
    "Step",
    "as_fhir",
    "background",
    "book",
    "cancel",
    "close",
    "close_due",
    "confirm",
    "figures",
    "follow_up",
    "identify",
    "look",
    "many",
    "notes",
    "open_",
    "possible_steps",
    "receive",
    "state",
    "steps",
]

#: Purposes for which a patient is treated together (HL7 v3 PurposeOfUse).
PURPOSES = frozenset({"TREAT", "COC", "CLINTRCH", "ETREAT"})
REMIND = timedelta(days=1)


def book(
    session: Session,
    keys: Keys,
    caller: PersonCaller,
    *,
    application: str,
    consultant: UUID,
    starts_at: datetime,
    ends_at: datetime,
    note: str | None,
) -> Consultation:
    """Tie an approved application of one's own to an appointment. From now on nothing leaves under it outside of the consultation.

    Raises NoSuchApplication, NoGrant, NotYourConsultation, UnknownPerson, ConsultationInvalid naming each field, WindowTaken.
    """
    sight = applications.look(session, caller.person_id, application)
    if sight.application.requester_id != caller.person_id:
        raise NotYourConsultation
    grant = applications.of_application(session, sight.application, lock=True)
    if grant is None:
        raise applications.NoGrant
    expert = identity.person(session, consultant)
    patients = session.exec(select(GrantPatient.patient_key).where(GrantPatient.grant_id == grant.id).limit(2)).all()
    problems = list(rules.problems_of_time(starts_at, ends_at, clock.now(), grant.valid_until))
    if applications.state_now(grant) is not applications.GrantState.ACTIVE or grant.purpose not in PURPOSES:
        problems.append(Problem("/application", "value", "must be approved, in force, and for treatment"))
    if len(patients) != 1:
        problems.append(Problem("/application", "value", "must be about one patient"))
    recipients = applications.is_recipients(session, consultant, sight.application)
    if expert.status != "active" or expert.natural_person == caller.natural_person or not recipients:
        problems.append(Problem("/consultant", "value", "must be somebody else, active, who works for the recipient"))
    if problems:
        raise ConsultationInvalid(problems=tuple(problems))
    applications.bind(session, grant.id, starts_at, ends_at)
    row = Consultation(
        patient_key=patients[0], number=_number(session), application=grant.number, grant_id=grant.id, booker_id=caller.person_id,
        consultant_id=consultant, starts_at=starts_at, ends_at=ends_at, created_at=clock.now(),
    )  # fmt: skip
    _store(session, keys, row, Step.BOOK, caller.person_id, note=note)
    start = starts_at.strftime("%Y-%m-%dT%H:%MZ")
    notifications.notify(session, keys, to=f"person:{consultant}", kind="consultation.booked", facts={"consultation": row.number, "start": start})
    return row


def _number(session: Session) -> str:
    year = clock.today().year
    new = insert(ConsultationNumber).values(year=year, last=1)
    counted = new.on_conflict_do_update(index_elements=["year"], set_={"last": ConsultationNumber.last + 1})
    return f"TC-{year}-{session.execute(counted.returning(col(ConsultationNumber.last))).scalar_one():06d}"


def confirm(session: Session, keys: Keys, caller: PersonCaller, number: str, *, note: str | None = None) -> Consultation:
    """The consultant will be there. Raises NoSuchConsultation, ConsultationMoveNotAllowed, NotYourConsultation."""
    row = _taken(session, caller, number, Step.CONFIRM)
    row.status = State.CONFIRMED.value
    return _store(session, keys, row, Step.CONFIRM, caller.person_id, note=note)


def identify(session: Session, keys: Keys, caller: PersonCaller, number: str, method: Identified, *, note: str | None = None) -> Consultation:
    """Record how it was made sure that the patient is the patient. Raises as :func:`confirm`."""
    row = _taken(session, caller, number, Step.IDENTIFY)
    row.identified_by = method.value
    return _store(session, keys, row, Step.IDENTIFY, caller.person_id, facts={"method": method.value}, note=note)


def open_(session: Session, keys: Keys, caller: PersonCaller, number: str) -> Consultation:
    """Begin: data are open from now until it is closed or its time is up.

    Raises as :func:`confirm`, IdentityNotChecked, NotTheTime, and NotQualified where the consultant lacks a licence or training.
    """
    row = _taken(session, caller, number, Step.OPEN)
    if row.identified_by is None:
        raise IdentityNotChecked
    if not row.starts_at <= clock.now() < row.ends_at:
        raise NotTheTime
    workforce.require(session, caller.natural_person, rules.REQUIRED)
    row.status, row.opened_at = State.OPEN.value, clock.now()
    applications.open_window(session, row.grant_id)
    return _store(session, keys, row, Step.OPEN, caller.person_id, facts={"held": list(rules.REQUIRED)})


def close(
    session: Session, keys: Keys, caller: PersonCaller, number: str, *, follow_up_due: date | None = None, note: str | None = None
) -> Consultation:
    """End it: waits for releases on their way, and once this is committed nothing leaves any more. Raises as :func:`confirm`."""
    row = _taken(session, caller, number, Step.CLOSE)
    wrong = rules.follow_up_problem(follow_up_due, clock.today())
    if wrong is not None:
        raise ConsultationInvalid(problems=(wrong,))
    applications.shut_window(session, row.grant_id)
    row.status, row.closed_at, row.follow_up_due = State.CLOSED.value, clock.now(), follow_up_due
    facts = {"follow_up_due": follow_up_due.isoformat()} if follow_up_due else {}
    return _store(session, keys, row, Step.CLOSE, caller.person_id, facts=facts, note=note)


def follow_up(session: Session, keys: Keys, caller: PersonCaller, number: str, *, note: str | None = None) -> Consultation:
    """The patient was seen again, or asked how it went. Raises as :func:`confirm`."""
    row = _taken(session, caller, number, Step.FOLLOW_UP)
    row.status = State.FOLLOWED_UP.value
    return _store(session, keys, row, Step.FOLLOW_UP, caller.person_id, note=note)


def cancel(session: Session, keys: Keys, caller: PersonCaller, number: str, *, note: str | None = None) -> Consultation:
    """It will not take place; nothing leaves under its grant any more. Raises as :func:`confirm`."""
    row = _taken(session, caller, number, Step.CANCEL)
    applications.shut_window(session, row.grant_id)
    row.status = State.CANCELLED.value
    return _store(session, keys, row, Step.CANCEL, caller.person_id, note=note)


def receive(session: Session, keys: Keys, database: Database, caller: PersonCaller, number: str, bundle: Any) -> tuple[Consultation, int]:
    """Take the records that the consultation made into the patient's record, with a Provenance that says who made them; how many are new.

    The records are stored in a transaction of their own before this one commits; the same Bundle again is the same step, once.
    Raises as :func:`confirm`, and RecordsNotTaken naming every entry that is not the patient's, not of a type that a consultation
    makes, or not sound.
    """
    row = find(session, number, lock=True)
    patient = records.open_vault(session, keys, row.patient_key).fhir_id
    problems = list(rules.problems_of_records(bundle, patient))
    step = Step.PRESCRIBE if not problems and rules.prescribes(bundle) else Step.RECORD
    check_move(state(row), step, _parts(caller, row))
    if problems:
        raise RecordsNotTaken(problems=tuple(problems))
    digest = sha256(json.dumps(bundle, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    if any(one.facts.get("sha256") == digest for one in steps(session, row)):
        return row, 0
    whole = encounter.with_provenance(bundle, row, author=str(caller.person_id), at=clock.now(), digest=digest, patient=patient)
    report = records.ingest_bundle(database, keys, json.dumps(whole, ensure_ascii=False).encode(), source=row.number, actor=caller.actor)
    if report.refused:
        found = [problem for refusal in report.refusals for problem in refusal.problems]
        raise RecordsNotTaken(problems=tuple(found))
    facts = {"sha256": digest, "resources": len(bundle["entry"])}
    return _store(session, keys, row, step, caller.person_id, facts=facts), len(bundle["entry"])


def find(session: Session, number: str, *, lock: bool = False) -> Consultation:
    """By number. Raises NoSuchConsultation."""
    query = select(Consultation).where(Consultation.number == number)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    found = session.exec(query).one_or_none()
    if found is None:
        raise NoSuchConsultation
    return found


def look(session: Session, caller: PersonCaller, number: str) -> Consultation:
    """For whoever takes part, and for those who see every application. Raises NoSuchConsultation."""
    row = find(session, number)
    if not _parts(caller, row) and not caller.may(Action.APPLICATION_READ_ALL):
        raise NoSuchConsultation
    return row


def many(session: Session, caller: PersonCaller, *, limit: int = 100) -> list[Consultation]:
    """Those that somebody may see, the latest first."""
    query = select(Consultation).order_by(col(Consultation.starts_at).desc(), col(Consultation.number).desc()).limit(limit)
    if not caller.may(Action.APPLICATION_READ_ALL):
        query = query.where(sa.or_(col(Consultation.booker_id) == caller.person_id, col(Consultation.consultant_id) == caller.person_id))
    return list(session.exec(query).all())


def steps(session: Session, row: Consultation) -> Sequence[ConsultationStep]:
    """Every step that was taken, in order."""
    query = select(ConsultationStep).where(ConsultationStep.consultation_id == row.id)
    return session.exec(query.order_by(col(ConsultationStep.at), col(ConsultationStep.id))).all()


def notes(session: Session, keys: Keys, caller: PersonCaller, row: Consultation) -> dict[UUID, str]:
    """What was written at each step that has words; for those who take part, since it speaks of the patient's health."""
    if not _parts(caller, row):
        return {}
    data_key = records.open_vault(session, keys, row.patient_key).data_key
    return {one.id: unseal(data_key, one.note_sealed, one.id.bytes).decode() for one in steps(session, row) if one.note_sealed is not None}


def state(row: Consultation) -> State:
    """Where it stands now."""
    return state_at(State(row.status), row.ends_at, clock.now())


def possible_steps(caller: PersonCaller, row: Consultation) -> tuple[Step, ...]:
    """What somebody can do with it now."""
    return possible(state(row), _parts(caller, row))


def as_fhir(session: Session, keys: Keys, row: Consultation) -> bytes:
    """The consultation as FHIR R4: a collection of Appointment, Encounter and Provenance of each step."""
    patient = records.open_vault(session, keys, row.patient_key).fhir_id
    return encounter.as_fhir(row, steps(session, row), state(row), patient)


def close_due(session: Session, keys: Keys) -> int:
    """Write down every consultation whose time is up, and remind of follow-ups; how many ended. Data were shut by the clock already."""
    now = clock.now()
    stale = [one.value for one in (State.BOOKED, State.CONFIRMED, State.OPEN)]
    query = select(Consultation).where(col(Consultation.status).in_(stale), Consultation.ends_at <= now)
    due = session.exec(query.order_by(col(Consultation.number)).with_for_update(skip_locked=True)).all()
    for row in due:
        ended = state(row)
        row.status = ended.value
        if ended is State.CLOSED:
            row.closed_at = row.ends_at
        applications.shut_window(session, row.grant_id)
        _store(session, keys, row, Step.CLOSE, None, facts={"ended": ended.value})
    tomorrow = clock.today() + REMIND
    waiting = select(Consultation).where(col(Consultation.status) == State.CLOSED.value, col(Consultation.follow_up_due) <= tomorrow)
    for row in session.exec(waiting).all():
        facts = {"consultation": row.number, "due": str(row.follow_up_due)}
        once = f"consultation|{row.id}|{row.follow_up_due}"
        notifications.notify(session, keys, to=f"person:{row.consultant_id}", kind="consultation.follow-up-due", facts=facts, once=once)
    return len(due)


def figures(session: Session, since: datetime, until: datetime) -> dict[str, int]:
    """Remote consultations of a span of time, by their day, for the quarterly review (TM-7)."""
    query = select(Consultation).where(Consultation.starts_at >= since, Consultation.starts_at < until)
    rows = session.exec(query).all()
    ids = [one.id for one in rows]
    taken = session.exec(select(ConsultationStep.step, ConsultationStep.consultation_id).where(col(ConsultationStep.consultation_id).in_(ids))).all()
    standing = [state_at(State(one.status), one.ends_at, until) for one in rows]
    return {
        "booked": len(rows),
        "held": sum(one.opened_at is not None for one in rows),
        "missed": standing.count(State.MISSED),
        "cancelled": standing.count(State.CANCELLED),
        "with_records": len({one for step, one in taken if step in (Step.RECORD, Step.PRESCRIBE)}),
        "with_prescription": len({one for step, one in taken if step == Step.PRESCRIBE}),
        "followed_up": standing.count(State.FOLLOWED_UP),
        "follow_up_overdue": sum(
            one.follow_up_due is not None and one.follow_up_due < until.date() and where is State.CLOSED
            for one, where in zip(rows, standing, strict=True)
        ),
    }


def background() -> list[jobs.Job]:
    """What is done by itself: ends are written down, and follow-ups reminded of, every minute."""

    def end(tools: jobs.Tools, payload: Mapping[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            close_due(session, tools.keys)

    return [jobs.Job("telemedicine.end", end, cron="* * * * *")]


def _parts(caller: PersonCaller, row: Consultation) -> frozenset[Part]:
    found = {Part.BOOKER: row.booker_id, Part.CONSULTANT: row.consultant_id}
    return frozenset(part for part, person in found.items() if person == caller.person_id)


def _taken(session: Session, caller: PersonCaller, number: str, step: Step) -> Consultation:
    row = find(session, number, lock=True)
    parts = _parts(caller, row)
    if not parts:
        raise NoSuchConsultation
    check_move(state(row), step, parts)
    return row


def _store(
    session: Session,
    keys: Keys,
    row: Consultation,
    step: Step,
    person: UUID | None,
    *,
    facts: Mapping[str, Any] | None = None,
    note: str | None = None,
) -> Consultation:
    """Keep the consultation, the step and the event."""
    vault = records.open_vault(session, keys, row.patient_key)
    session.add(row)
    session.flush()
    taken = ConsultationStep(
        patient_key=row.patient_key, consultation_id=row.id, step=step.value, at=clock.now(), person_id=person, facts=dict(facts or {})
    )
    if note:
        taken.note_sealed = seal(vault.data_key, note.encode(), taken.id.bytes)
    session.add(taken)
    session.flush()
    said = {"consultation": row.number, **{name: value for name, value in (facts or {}).items() if name != "sha256"}}
    event = Event(
        f"consultation.{step.value}", f"person:{person}" if person else "system", application=row.application, grant=str(row.grant_id),
        patient=row.patient_key, subject=vault.subject, facts=said,
    )  # fmt: skip
    audit.record(session, event)
    return row
