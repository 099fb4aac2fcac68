"""Suggestions of staff (RS-7.2) and complaints of patients and staff (QA-4.2): each has a number, a day by which it is answered, and an answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock, crypto
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.feedback.errors import ConcernClosed, ConcernNotExtended, NoSuchConcern
from broker.feedback.models import Concern, ConcernAnswer, ConcernKind, ConcernNumber, ConcernPatient, ConcernState
from broker.feedback.rules import Clocks
from broker.identity.access import Action, PersonCaller, Role
from broker.notifications import service as notifications
from broker.records import service as records
from broker.workdays import service as workdays

#: The clocks of a hospital that set none.
USUAL = Clocks()


class Verdict(StrEnum):
    """What came of it, as the review counts it."""

    UPHELD = "upheld"
    PARTLY = "partly"
    NOT_UPHELD = "not-upheld"
    TAKEN_UP = "taken-up"  #: of a suggestion


def raise_concern(
    session: Session,
    keys: Keys,
    *,
    kind: ConcernKind,
    text: str,
    person: UUID | None = None,
    patient: UUID | None = None,
    application: str | None = None,
    clocks: Clocks = USUAL,
) -> Concern:
    """Raise a concern, as a person with an account or as a patient (the blinded key); the words are sealed. Exactly one of them is given.

    ``application``: the number of the exchange that it is about, if it is about one. ``clocks``: by when it is answered.
    """
    now = clock.now()
    row = Concern(
        number=_next_number(session, kind, now.year),
        kind=kind.value,
        person_id=person,
        patient_token=None if patient is None else keys.blind("concern", patient.hex),
        application=application,
        state=ConcernState.OPEN.value,
        raised_at=now,
        due_at=clocks.last_moment(workdays.calendar(session), now, complaint=kind is ConcernKind.COMPLAINT),
        text_sealed=b"",
    )
    row.text_sealed = _sealed(session, keys, patient, row.id, "text", text)
    session.add(row)
    session.flush()
    if patient is not None:
        session.add(ConcernPatient(patient_key=patient, concern_id=row.id))
        session.flush()
    actor = f"person:{person}" if person else "system"
    facts: dict[str, str | int | bool | list[str]] = {"concern": row.number, "kind": kind.value, "by": "person" if person else "patient"}
    audit.record(session, Event("concern.raised", actor, application=application, facts=facts))
    said: dict[str, str | int] = {"number": row.number, "kind": row.kind, "due": row.due_at.astimezone(clocks.zone).date().isoformat()}
    notifications.notify_role(session, keys, Role.INFORMATION_MANAGER, kind="concern.raised", facts=said)
    return row


def answer(
    session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str, verdict: Verdict, corrective_action: str | None = None
) -> Concern:
    """Answer a concern. Nobody answers what they raised themselves. Raises NoSuchConcern, Forbidden, ConcernClosed.

    ``corrective_action``: the reference of what is to be changed because of it (incidents, PI-6).
    """
    row = _found(session, number)
    if not caller.may(Action.CONCERN_ANSWER) or row.person_id == caller.person_id:
        raise Forbidden
    if row.state == ConcernState.CLOSED:
        raise ConcernClosed
    made = ConcernAnswer(
        concern_id=row.id, at=clock.now(), person_id=caller.person_id, verdict=verdict.value, corrective_action=corrective_action, text_sealed=b""
    )
    made.text_sealed = _sealed(session, keys, patient_of(session, row), made.id, "answer", text)
    session.add(made)
    row.answered_at = row.answered_at or made.at
    _moved(session, row, ConcernState.ANSWERED, caller.actor, verdict=verdict.value)
    if row.person_id is not None:
        notifications.notify(session, keys, to=f"person:{row.person_id}", kind="concern.answered", facts={"number": row.number})
    return row


def extend(session: Session, keys: Keys, caller: PersonCaller, number: str, *, clocks: Clocks = USUAL) -> Concern:
    """Give a complaint the longer clock, counted from its first day, since several departments must agree; once. Who raised it sees the new day.

    Raises NoSuchConcern, Forbidden, ConcernNotExtended.
    """
    row = _found(session, number)
    if not caller.may(Action.CONCERN_ANSWER) or row.person_id == caller.person_id:
        raise Forbidden
    due = longer(session, row, clocks)
    if row.kind != ConcernKind.COMPLAINT or row.state != ConcernState.OPEN or due <= row.due_at:
        raise ConcernNotExtended
    row.due_at = due
    day = due.astimezone(clocks.zone).date().isoformat()
    session.add(row)
    session.flush()
    audit.record(session, Event("concern.extended", caller.actor, application=row.application, facts={"concern": row.number, "due": day}))
    if row.person_id is not None:
        notifications.notify(session, keys, to=f"person:{row.person_id}", kind="concern.extended", facts={"number": row.number, "due": day})
    return row


def longer(session: Session, row: Concern, clocks: Clocks) -> datetime:
    """By when it is to be answered if several departments must agree."""
    return clocks.last_moment(workdays.calendar(session), row.raised_at, complaint=True, shared=True)


def close(session: Session, number: str, *, person: UUID | None = None, patient_token: bytes | None = None) -> Concern:
    """Whoever raised it is content with the answer. Raises NoSuchConcern to everybody else, ConcernClosed."""
    row = _found(session, number)
    if (person is None or row.person_id != person) and (patient_token is None or row.patient_token != patient_token):
        raise NoSuchConcern
    if row.state == ConcernState.CLOSED:
        raise ConcernClosed
    return _moved(session, row, ConcernState.CLOSED, f"person:{person}" if person else "system")


def look(session: Session, caller: PersonCaller, number: str) -> Concern:
    """A concern for whoever raised it, answers it or audits. Raises NoSuchConcern."""
    row = _found(session, number)
    if row.person_id != caller.person_id and not caller.may(Action.FEEDBACK_READ_ALL):
        raise NoSuchConcern
    return row


def many(session: Session, caller: PersonCaller, *, state: ConcernState | None = None, limit: int = 100, offset: int = 0) -> Sequence[Concern]:
    """Concerns that somebody may see, those that are due first before the others."""
    query = select(Concern)
    if not caller.may(Action.FEEDBACK_READ_ALL):
        query = query.where(Concern.person_id == caller.person_id)
    if state is not None:
        query = query.where(Concern.state == state.value)
    return session.exec(query.order_by(col(Concern.due_at), col(Concern.number)).limit(limit).offset(offset)).all()


def of_patient(session: Session, keys: Keys, patient: UUID) -> Sequence[Concern]:
    """What a patient raised, newest first."""
    token = keys.blind("concern", patient.hex)
    return session.exec(select(Concern).where(Concern.patient_token == token).order_by(col(Concern.raised_at).desc())).all()


def text_of(session: Session, keys: Keys, row: Concern) -> str:
    """The words of a concern; "" where they went with the patient's key."""
    return _opened(session, keys, patient_of(session, row), row.id, "text", row.text_sealed)


def patient_of(session: Session, row: Concern) -> UUID | None:
    """Whose complaint it is; None of a person's with an account."""
    return session.exec(select(ConcernPatient.patient_key).where(ConcernPatient.concern_id == row.id)).first()


def answers_of(session: Session, keys: Keys, row: Concern) -> list[tuple[ConcernAnswer, str]]:
    """The answers with their words, oldest first."""
    rows = session.exec(select(ConcernAnswer).where(ConcernAnswer.concern_id == row.id).order_by(col(ConcernAnswer.at), col(ConcernAnswer.id))).all()
    patient = patient_of(session, row)
    return [(one, _opened(session, keys, patient, one.id, "answer", one.text_sealed)) for one in rows]


def between(session: Session, since: datetime, until: datetime) -> list[Concern]:
    """Concerns raised in a span of time, by number. ``until`` is not included."""
    return list(session.exec(select(Concern).where(Concern.raised_at >= since, Concern.raised_at < until).order_by(col(Concern.number))).all())


def remind(session: Session, keys: Keys) -> int:
    """Tell the information managers of concerns that are due within three days or late; how many were told. Safe to repeat."""
    now, told = clock.now(), 0
    rows = session.exec(select(Concern).where(Concern.state == ConcernState.OPEN.value, Concern.due_at <= now + timedelta(days=3))).all()
    for row in rows:
        late = row.due_at <= now
        facts: dict[str, str | int] = {"number": row.number, "kind": row.kind, "due": row.due_at.date().isoformat()}
        once = f"concern|{row.id}|{'late' if late else 'due'}"
        told += notifications.notify_role(session, keys, Role.INFORMATION_MANAGER, kind="concern.raised", facts=facts, once=once)
        if late:
            told += notifications.notify_role(session, keys, Role.AUDITOR, kind="concern.raised", facts=facts, once=once)
    return told


def destroy_texts(session: Session, keys: Keys, patient: UUID) -> int:
    """Forget what lies under keys of the house about a patient: concerns about their exchanges, and what was not sealed anew yet; how many."""
    numbers = [row.number for row in applications.by_id(session, applications.applications_about(session, patient)) if row.number]
    mine = sa.or_(col(Concern.application).in_(numbers), col(Concern.patient_token) == keys.blind("concern", patient.hex))
    ids = list(session.exec(select(Concern.id).where(mine)).all())
    forgotten = 0
    for table, key in ((Concern, Concern.id), (ConcernAnswer, ConcernAnswer.concern_id)):
        statement = sa.update(table).where(col(key).in_(ids), col(table.text_sealed) != b"").values(text_sealed=b"")
        forgotten += len(session.execute(statement.returning(sa.literal(1))).all())
    return forgotten


def reseal(session: Session, keys: Keys) -> int:
    """Seal patients' complaints of an earlier version under the patients' own keys, with their answers; how many complaints. A job."""
    linked = select(ConcernPatient.concern_id)
    rows = session.exec(select(Concern).where(col(Concern.patient_token).is_not(None), col(Concern.id).not_in(linked))).all()
    if not rows:
        return 0
    whose = {keys.blind("concern", one.hex): one for one in records.all_patients(session)}
    changed = 0
    for row in rows:
        patient = whose.get(row.patient_token or b"")
        if patient is None:
            continue
        answers = answers_of(session, keys, row)
        text = text_of(session, keys, row)
        session.add(ConcernPatient(patient_key=patient, concern_id=row.id))
        row.text_sealed = _sealed(session, keys, patient, row.id, "text", text)
        for one, words in answers:
            one.text_sealed = _sealed(session, keys, patient, one.id, "answer", words)
            session.add(one)
        session.add(row)
        session.flush()
        changed += 1
    return changed


def _sealed(session: Session, keys: Keys, patient: UUID | None, owner: UUID, field: str, text: str) -> bytes:
    if patient is not None and not records.is_shredded(session, patient):
        return records.seal_words(session, keys, patient, f"concern|{owner}|{field}", text) or b""
    return crypto.seal(keys.blind("concern-text", owner.hex), text.encode(), field.encode())


def _opened(session: Session, keys: Keys, patient: UUID | None, owner: UUID, field: str, sealed: bytes) -> str:
    if patient is not None and records.under_patient(sealed):
        return records.open_words(session, keys, patient, f"concern|{owner}|{field}", sealed) or ""
    return crypto.unseal(keys.blind("concern-text", owner.hex), sealed, field.encode()).decode() if sealed else ""


def _found(session: Session, number: str) -> Concern:
    row = session.exec(select(Concern).where(Concern.number == number).with_for_update()).one_or_none()
    if row is None:
        raise NoSuchConcern
    return row


def _moved(session: Session, row: Concern, to: ConcernState, actor: str, **facts: Any) -> Concern:
    row.state = to.value
    session.add(row)
    session.flush()
    audit.record(session, Event(f"concern.{to.value}", actor, application=row.application, facts={"concern": row.number, **facts}))
    return row


def _next_number(session: Session, kind: ConcernKind, year: int) -> str:
    """``CP-YYYY-NNNN`` of complaints, ``SG-…`` of suggestions; the year's row stays locked until this commits."""
    prefix = "CP" if kind is ConcernKind.COMPLAINT else "SG"
    new = insert(ConcernNumber).values(prefix=prefix, year=year, last=1)
    counted = new.on_conflict_do_update(index_elements=["prefix", "year"], set_={"last": ConcernNumber.last + 1})
    return f"{prefix}-{year}-{session.execute(counted.returning(col(ConcernNumber.last))).scalar_one():04d}"


def counted(rows: Sequence[Concern], at: datetime) -> dict[str, int]:
    """How concerns stood at a moment: raised, answered, answered late, late without an answer."""
    answered = [row for row in rows if row.answered_at is not None and row.answered_at < at]
    return {
        "raised": len(rows),
        "answered": len(answered),
        "answered_late": sum(row.answered_at > row.due_at for row in answered if row.answered_at),
        "late": sum(row.due_at <= at for row in rows if row not in answered),
    }
