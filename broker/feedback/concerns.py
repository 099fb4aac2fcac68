"""Suggestions of staff (RS-7.2) and complaints of patients and staff (QA-4.2): each has a number, a day by which it is answered, and an answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock, crypto
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.feedback.errors import ConcernClosed, NoSuchConcern
from broker.feedback.models import Concern, ConcernAnswer, ConcernKind, ConcernNumber, ConcernState
from broker.identity.access import Action, PersonCaller, Role
from broker.notifications import service as notifications

#: Days until the first answer.
DAYS = {ConcernKind.COMPLAINT: 15, ConcernKind.SUGGESTION: 30}


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
) -> Concern:
    """Raise a concern, as a person with an account or as a patient (the blinded key); the words are sealed. Exactly one of them is given.

    ``application``: the number of the exchange that it is about, if it is about one.
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
        due_at=now + timedelta(days=DAYS[kind]),
        text_sealed=b"",
    )
    row.text_sealed = _sealed(keys, row.id, "text", text)
    session.add(row)
    session.flush()
    actor = f"person:{person}" if person else "system"
    facts: dict[str, str | int | bool | list[str]] = {"concern": row.number, "kind": kind.value, "by": "person" if person else "patient"}
    audit.record(session, Event("concern.raised", actor, application=application, facts=facts))
    said: dict[str, str | int] = {"number": row.number, "kind": row.kind, "due": row.due_at.date().isoformat()}
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
    made.text_sealed = _sealed(keys, made.id, "answer", text)
    session.add(made)
    row.answered_at = row.answered_at or made.at
    _moved(session, row, ConcernState.ANSWERED, caller.actor, verdict=verdict.value)
    if row.person_id is not None:
        notifications.notify(session, keys, to=f"person:{row.person_id}", kind="concern.answered", facts={"number": row.number})
    return row


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


def text_of(keys: Keys, row: Concern) -> str:
    """The words of a concern."""
    return crypto.unseal(keys.blind("concern-text", row.id.hex), row.text_sealed, b"text").decode()


def answers_of(session: Session, keys: Keys, row: Concern) -> list[tuple[ConcernAnswer, str]]:
    """The answers with their words, oldest first."""
    rows = session.exec(select(ConcernAnswer).where(ConcernAnswer.concern_id == row.id).order_by(col(ConcernAnswer.at), col(ConcernAnswer.id))).all()
    return [(one, crypto.unseal(keys.blind("concern-text", one.id.hex), one.text_sealed, b"answer").decode()) for one in rows]


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


def _sealed(keys: Keys, concern: UUID, field: str, text: str) -> bytes:
    return crypto.seal(keys.blind("concern-text", concern.hex), text.encode(), field.encode())


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
