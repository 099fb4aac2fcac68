"""The front door of patients' requests: ask, identify, extend, answer, appeal; copies; clocks (PIPL 44 to 50)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller, Role
from broker.notifications import service as notifications
from broker.records import service as records
from broker.requests import answering, difference, rules
from broker.requests.answering import appeal, extend, fulfil, identify, lift, order, refuse, settle_orders, uphold, withdraw
from broker.requests.copying import Copy, Held, bundle, held, may_copy, resources
from broker.requests.correcting import Staged, agree, kept, kept_bytes, note, send_back, stage, staged
from broker.requests.errors import NoSuchRequest, RequestMoveNotAllowed, RequestWordsRequired
from broker.requests.handing import CopyAnswer, Deliver
from broker.requests.lifecycle import OPEN, Action, State, possible
from broker.requests.models import PatientRequest, RequestNumber, RequestStep
from broker.requests.rules import ARTICLES, By, Ground, Kind, grounds
from broker.workdays import service as workdays

__all__ = [
    "ARTICLES",
    "OPEN",
    "Action",
    "By",
    "Copy",
    "CopyAnswer",
    "Deliver",
    "Ground",
    "Held",
    "Kind",
    "Staged",
    "State",
    "agree",
    "answer_of",
    "appeal",
    "ask",
    "asker_of",
    "background",
    "bundle",
    "difference",
    "estimated",
    "extend",
    "figures",
    "find",
    "fulfil",
    "grounds",
    "held",
    "identify",
    "is_late",
    "kept",
    "kept_bytes",
    "lift",
    "look",
    "many",
    "may_copy",
    "note",
    "of_patient",
    "order",
    "possible",
    "refuse",
    "remind",
    "resources",
    "send_back",
    "settle_orders",
    "stage",
    "staged",
    "steps",
    "uphold",
    "withdraw",
    "words_of",
]

#: Days before its last day that a request is reminded of.
_REMIND = timedelta(days=5)


def ask(
    session: Session,
    keys: Keys,
    patient_key: UUID,
    *,
    kind: Kind,
    text: str,
    by: By = By.SELF,
    asker: str | None = None,
    caller: PersonCaller | None = None,
) -> PatientRequest:
    """Ask for something: as the patient at their own page (no ``caller``), or at the desk, for whoever stands there.

    ``asker``: who asks for the patient, and by which right; needed unless it is the patient. Raises Forbidden, RequestWordsRequired,
    RequestMoveNotAllowed where this can't be asked for another, UnknownPatient.
    """
    if caller is not None and not caller.may(Button.REQUEST_HANDLE):
        raise Forbidden
    if not text.strip() or (by is not By.SELF and not (asker or "").strip()):
        raise RequestWordsRequired
    if not rules.may_ask(kind, by) or (caller is None and by is not By.SELF):
        raise RequestMoveNotAllowed
    now = clock.now()
    row = PatientRequest(
        patient_key=patient_key,
        number=_next_number(session, now.year),
        kind=kind.value,
        by=by.value,
        channel="page" if caller is None else "desk",
        status=(State.RECEIVED if by is By.SELF else State.TO_IDENTIFY).value,
        received_at=now,
        received_by=identity.PATIENT if caller is None else caller.actor,
        due_on=workdays.calendar(session).due(now.date(), rules.WORKING_DAYS).day,
        text_sealed=b"",
    )
    row.text_sealed = records.seal_words(session, keys, patient_key, f"{row.id}|text", text) or b""
    row.asker_sealed = records.seal_words(session, keys, patient_key, f"{row.id}|asker", asker)
    answering.store(
        session, keys, row, "received", identity.PATIENT if caller is None else caller.actor, kind=row.kind, by=row.by, channel=row.channel
    )
    facts = {"request": row.number, "kind": row.kind, "due": row.due_on.isoformat()}
    notifications.notify_role(session, keys, Role.INFORMATION_MANAGER, kind="request.due", facts=facts)
    return row


def find(session: Session, number: str) -> PatientRequest:
    """By number. Raises NoSuchRequest."""
    return answering.find(session, number, lock=False)


def look(session: Session, caller: PersonCaller, number: str) -> PatientRequest:
    """For whoever handles requests or audits. Raises NoSuchRequest."""
    row = find(session, number)
    if not caller.may(Button.REQUEST_READ):
        raise NoSuchRequest
    return row


def many(session: Session, caller: PersonCaller, *, state: State | None = None, limit: int = 100, offset: int = 0) -> Sequence[PatientRequest]:
    """Requests: those on whose clock one is first, then the others, the newest first. Raises Forbidden."""
    if not caller.may(Button.REQUEST_READ):
        raise Forbidden
    query = select(PatientRequest)
    if state is not None:
        query = query.where(PatientRequest.status == state.value)
    waits = col(PatientRequest.status).in_([one.value for one in OPEN])
    return session.exec(query.order_by(waits.desc(), col(PatientRequest.due_on), col(PatientRequest.number)).limit(limit).offset(offset)).all()


def of_patient(session: Session, patient_key: UUID) -> Sequence[PatientRequest]:
    """A patient's own, the newest first."""
    query = select(PatientRequest).where(PatientRequest.patient_key == patient_key)
    return session.exec(query.order_by(col(PatientRequest.received_at).desc(), col(PatientRequest.number).desc())).all()


def steps(session: Session, keys: Keys, caller: PersonCaller | None, row: PatientRequest) -> list[tuple[RequestStep, str | None]]:
    """What was done, in order, with its words; those not for auditors, who see what was done and when."""
    query = select(RequestStep).where(RequestStep.patient_key == row.patient_key, RequestStep.request_id == row.id)
    found = session.exec(query.order_by(col(RequestStep.at), col(RequestStep.id))).all()
    return [(one, words_of(session, keys, caller, row, f"step|{one.id}", one.text_sealed)) for one in found]


def words_of(session: Session, keys: Keys, caller: PersonCaller | None, row: PatientRequest, field: str, sealed: bytes | None) -> str | None:
    """Words of a request, for the patient (no ``caller``) and for who handles requests; None for others, and once the key is gone."""
    if caller is not None and not caller.may(Button.REQUEST_HANDLE):
        return None
    return records.open_words(session, keys, row.patient_key, f"{row.id}|{field}", sealed)


def asker_of(session: Session, keys: Keys, caller: PersonCaller | None, row: PatientRequest) -> str | None:
    """Who asks for the patient."""
    return words_of(session, keys, caller, row, "asker", row.asker_sealed)


def answer_of(session: Session, keys: Keys, caller: PersonCaller | None, row: PatientRequest) -> str | None:
    """The last answer."""
    return words_of(session, keys, caller, row, "answer", row.answer_sealed)


def is_late(row: PatientRequest) -> bool:
    """Whether its last day has passed without an answer."""
    return State(row.status) in OPEN and rules.is_late(row.due_on, None, clock.today())


def estimated(session: Session) -> Callable[[PatientRequest], bool]:
    """Says of a request whether its clock runs into a year whose public holidays are not known yet, so that its last day was taken early."""
    known = workdays.calendar(session)
    return lambda row: State(row.status) in OPEN and known.is_estimated(row.received_at.date(), row.due_on)


def remind(session: Session, keys: Keys) -> int:
    """Tell of requests whose last day is near or past, once each; how many people were told."""
    near = clock.today() + _REMIND
    query = select(PatientRequest).where(col(PatientRequest.status).in_([one.value for one in OPEN]), PatientRequest.due_on <= near)
    told = 0
    for row in session.exec(query.order_by(col(PatientRequest.number))).all():
        late = is_late(row)
        facts = {"request": row.number, "kind": row.kind, "due": row.due_on.isoformat()}
        once = f"request|{row.id}|{row.due_on}|{'late' if late else 'due'}"
        for role in (Role.INFORMATION_MANAGER, Role.AUDITOR) if late else (Role.INFORMATION_MANAGER,):
            told += notifications.notify_role(session, keys, role, kind="request.due", facts=facts, once=once)
    return told


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """Requests of a span of time, for the quarterly review; ``until`` is not included."""
    rows = session.exec(select(PatientRequest).where(PatientRequest.received_at >= since, PatientRequest.received_at < until)).all()
    kinds: dict[str, int] = {}
    for row in rows:
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    answered = [row for row in rows if row.answered_at is not None and row.answered_at < until]
    return {
        "received": len(rows),
        "by_kind": dict(sorted(kinds.items())),
        "answered": len(answered),
        "late": sum(rules.is_late(row.due_on, row.answered_at, until.date()) for row in rows if row.status != State.WITHDRAWN.value),
        "refused": sum(row.ground is not None for row in answered),
        "appealed": sum(row.status in (State.APPEALED.value, State.UPHELD.value) for row in rows),
    }


def background() -> list[jobs.Job]:
    """Every morning clocks are looked at, and deletions that were carried out are written down."""

    def look_after(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            settle_orders(session, tools.keys)
            remind(session, tools.keys)

    return [jobs.Job("requests.look", look_after, cron="41 * * * *")]


def _next_number(session: Session, year: int) -> str:
    new = insert(RequestNumber).values(year=year, last=1)
    counted = new.on_conflict_do_update(index_elements=["year"], set_={"last": RequestNumber.last + 1})
    return f"PR-{year}-{session.execute(counted.returning(col(RequestNumber.last))).scalar_one():06d}"
