"""What the hospital does with a patient's request: each step judged by the table, kept under the patient's key, and recorded in the log."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller
from broker.incidents import service as incidents
from broker.records import service as records
from broker.requests import rules
from broker.requests.errors import (
    AnotherPerson,
    GroundRequired,
    NoSuchRequest,
    RequestMoveNotAllowed,
    RequestWordsRequired,
)
from broker.requests.lifecycle import Action, State, check_move
from broker.requests.models import PatientRequest, RequestStep
from broker.requests.rules import By, Ground, Kind
from broker.retention import service as retention
from broker.workdays import service as workdays

Facts = dict[str, str | int | bool | list[str]]


def find(session: Session, number: str, *, lock: bool = True) -> PatientRequest:
    """By number. Raises NoSuchRequest."""
    query = select(PatientRequest).where(PatientRequest.number == number)
    row = session.exec(query.with_for_update().execution_options(populate_existing=True) if lock else query).one_or_none()
    if row is None:
        raise NoSuchRequest
    return row


def identify(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> PatientRequest:
    """Who asks for the patient was made sure of, and by which right: the words say how. Raises Forbidden, NoSuchRequest, RequestMoveNotAllowed."""
    row = handled(session, caller, number)
    return _moved(session, keys, row, Action.IDENTIFY, caller.actor, text)


def extend(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> PatientRequest:
    """More time, once, and the patient sees why. Raises as :func:`identify`."""
    row = handled(session, caller, number)
    if row.extended:
        raise RequestMoveNotAllowed
    row.extended, row.due_on = True, workdays.calendar(session).due(row.due_on, rules.EXTENSION).day
    return _moved(session, keys, row, Action.EXTEND, caller.actor, text, due=row.due_on.isoformat())


def fulfil(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> PatientRequest:
    """Do what was asked, and say so. A restriction takes effect at once: nothing of the patient leaves any more.

    A deletion is an order of two people (:func:`order`), a correction goes with what was corrected (``correcting``). Raises as
    :func:`identify`; AnotherPerson.
    """
    row = handled(session, caller, number)
    if Kind(row.kind) in (Kind.DELETION, Kind.CORRECTION):
        raise RequestMoveNotAllowed
    if Kind(row.kind) is Kind.RESTRICTION:
        check_move(State(row.status), Action.FULFIL)
        records.freeze(session, keys, caller.actor, row.patient_key, frozen=True)
        incidents.hand_over_patient(session, row.patient_key)
    return answered(session, keys, caller, row, Action.FULFIL, text)


def order(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> PatientRequest:
    """Propose the destruction that the patient asks for, as the first of its two people. Raises as :func:`fulfil`."""
    row = handled(session, caller, number)
    if Kind(row.kind) is not Kind.DELETION:
        raise RequestMoveNotAllowed
    retention.check_orderer(caller)
    check_move(State(row.status), Action.ORDER)
    made = retention.propose(
        session, keys, actor=caller.actor, natural_person=caller.natural_person, kind="shred", reason="request", method="crypto-shredding",
        patients=[row.patient_key],
    )  # fmt: skip
    row.order_number = made.number
    return answered(session, keys, caller, row, Action.ORDER, text, order=made.number)


def settle_orders(session: Session, keys: Keys) -> int:
    """Write down what became of deletions: carried out, or taken back; how many. A job of the worker."""
    waiting = select(PatientRequest).where(PatientRequest.status == State.ORDERED.value).order_by(col(PatientRequest.number))
    settled = 0
    for row in session.exec(waiting.with_for_update(skip_locked=True)).all():
        made = retention.find(session, row.order_number or "")
        if made.status == "proposed":
            continue
        done = made.status == "executed"
        row.status = check_move(State.ORDERED, Action.FULFIL if done else Action.REFUSE).value
        row.ground = None if done else Ground.NOT_MET.value
        store(session, keys, row, "fulfilled" if done else "refused", "system", order=made.number)
        settled += 1
    return settled


def refuse(session: Session, keys: Keys, caller: PersonCaller, number: str, *, ground: Ground, text: str) -> PatientRequest:
    """Refuse, with a ground of law and reasons in plain words (PIPL 50). Raises as :func:`identify`; GroundRequired."""
    row = handled(session, caller, number)
    if ground not in rules.grounds(Kind(row.kind), By(row.by)):
        raise GroundRequired
    row.ground = ground.value
    return answered(session, keys, caller, row, Action.REFUSE, text, ground=ground.value)


def appeal(session: Session, keys: Keys, row: PatientRequest, *, text: str, actor: str = identity.PATIENT) -> PatientRequest:
    """The patient does not accept the answer: somebody else decides, by a clock of its own. Raises RequestMoveNotAllowed."""
    row.due_on, row.extended = workdays.calendar(session).due(clock.today(), rules.WORKING_DAYS).day, False
    return _moved(session, keys, row, Action.APPEAL, actor, text, due=row.due_on.isoformat())


def uphold(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> PatientRequest:
    """The answer stands, as somebody else sees it; the patient may turn to the authority or a court (PIPL 50, 65). Raises AnotherPerson."""
    row = handled(session, caller, number)
    return answered(session, keys, caller, row, Action.UPHOLD, text)


def withdraw(session: Session, keys: Keys, row: PatientRequest, *, actor: str = identity.PATIENT) -> PatientRequest:
    """The patient no longer asks. Raises RequestMoveNotAllowed."""
    return _moved(session, keys, row, Action.WITHDRAW, actor, None)


def lift(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> PatientRequest:
    """A restriction ends, because the patient says so. Raises as :func:`identify`."""
    row = handled(session, caller, number)
    if Kind(row.kind) is not Kind.RESTRICTION or row.lifted_at is not None:
        raise RequestMoveNotAllowed
    row.lifted_at = clock.now()
    others = select(PatientRequest.id).where(
        PatientRequest.patient_key == row.patient_key, PatientRequest.kind == Kind.RESTRICTION.value, PatientRequest.id != row.id,
        PatientRequest.status == State.FULFILLED.value, col(PatientRequest.lifted_at).is_(None),
    )  # fmt: skip
    if session.exec(others).first() is None and not incidents.take_back_patient(session, row.patient_key):
        records.freeze(session, keys, caller.actor, row.patient_key, frozen=False)
    return _moved(session, keys, row, Action.LIFT, caller.actor, text)


def handled(session: Session, caller: PersonCaller, number: str) -> PatientRequest:
    """A request, locked, for whoever handles it. Raises Forbidden, NoSuchRequest."""
    if not caller.may(Button.REQUEST_HANDLE):
        raise Forbidden
    return find(session, number)


def check_answer(row: PatientRequest, caller: PersonCaller, text: str, action: Action = Action.FULFIL) -> None:
    """Whether somebody may answer so. Raises AnotherPerson, RequestMoveNotAllowed, RequestWordsRequired."""
    if State(row.status) is State.APPEALED and row.decided_by == caller.natural_person:
        raise AnotherPerson
    check_move(State(row.status), action)
    if not text.strip():
        raise RequestWordsRequired


def answered(
    session: Session, keys: Keys, caller: PersonCaller, row: PatientRequest, action: Action, text: str, **facts: str | int | bool | list[str]
) -> PatientRequest:
    """Answer it: judged, in the patient's words' place, and on record. Raises AnotherPerson, RequestMoveNotAllowed, RequestWordsRequired."""
    check_answer(row, caller, text, action)
    row.answered_at = row.answered_at or clock.now()
    if action in (Action.FULFIL, Action.ORDER):
        row.ground = None
    row.decided_by = caller.natural_person
    row.answer_sealed = records.seal_words(session, keys, row.patient_key, f"{row.id}|answer", text)
    return _moved(session, keys, row, action, caller.actor, text, **facts)


_HAPPENED = {
    Action.IDENTIFY: "identified", Action.EXTEND: "extended", Action.FULFIL: "fulfilled", Action.ORDER: "ordered", Action.REFUSE: "refused",
    Action.APPEAL: "appealed", Action.UPHOLD: "upheld", Action.WITHDRAW: "withdrawn", Action.LIFT: "lifted",
}  # fmt: skip


def _moved(
    session: Session, keys: Keys, row: PatientRequest, action: Action, actor: str, text: str | None, **facts: str | int | bool | list[str]
) -> PatientRequest:
    row.status = check_move(State(row.status), action).value
    if text is not None and not text.strip():
        raise RequestWordsRequired
    return store(session, keys, row, _HAPPENED[action], actor, text, **facts)


def store(
    session: Session, keys: Keys, row: PatientRequest, happened: str, actor: str, text: str | None = None, **facts: str | int | bool | list[str]
) -> PatientRequest:
    """Keep the request, the step and the event."""
    session.add(row)
    session.flush()
    step = RequestStep(patient_key=row.patient_key, request_id=row.id, action=happened, at=clock.now(), actor=actor)
    step.text_sealed = records.seal_words(session, keys, row.patient_key, f"{row.id}|step|{step.id}", text)
    session.add(step)
    session.flush()
    subject = _subject(session, keys, row.patient_key)
    audit.record(session, Event(f"request.{happened}", actor, patient=row.patient_key, subject=subject, facts={"request": row.number, **facts}))
    return row


def _subject(session: Session, keys: Keys, patient_key: UUID) -> str | None:
    return None if records.is_shredded(session, patient_key) else records.open_vault(session, keys, patient_key).subject
