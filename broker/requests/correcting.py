"""Correcting a record (PIPL 46): one person brings what is right, a second compares it with what is kept and agrees; then it is taken in.

Everybody who received the patient's data before is told and answers what they did (``record.corrected``, obligations).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import Database
from broker.errors import BrokerError, Problem
from broker.fhir.parse import read_json
from broker.fhir.validate import problems as shape_problems
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller
from broker.records import service as records
from broker.requests import answering, difference
from broker.requests.answering import Facts
from broker.requests.difference import Change
from broker.requests.errors import AnotherPerson, CorrectionNotTaken, RequestMoveNotAllowed
from broker.requests.lifecycle import Action, State, check_move
from broker.requests.models import Correction, PatientRequest
from broker.requests.rules import Kind

#: A correction is of single entries; a whole record comes in by ingest.
MOST_RESOURCES, MOST_BYTES = 50, 1_000_000


@dataclass(frozen=True)
class Corrected:
    """One resource of a correction: which, what it says now and shall say, and whether it is kept here already."""

    reference: str
    body: Mapping[str, Any]
    changes: tuple[Change, ...]
    kept: bool


@dataclass(frozen=True)
class Staged:
    """A correction that waits for its second person."""

    actor: str
    natural_person: str
    at: datetime
    resources: tuple[Corrected, ...]


def note(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str, references: tuple[str, ...]) -> PatientRequest:
    """The source put right what is named, and it came in from there. Raises Forbidden, NoSuchRequest, RequestMoveNotAllowed, CorrectionNotTaken."""
    row = _to_correct(session, caller, number)
    if not references:
        raise CorrectionNotTaken(problems=(Problem("/references", "required", "Name what was corrected."),))
    return _taken(session, keys, caller, row, tuple(sorted(set(references))), text)


def stage(session: Session, keys: Keys, caller: PersonCaller, number: str, data: bytes) -> PatientRequest:
    """Bring what is right, as the first of two people: one resource, or a Bundle, of this patient. Raises as :func:`note`; Malformed, TooLarge."""
    row = _to_correct(session, caller, number)
    if _open(session, row) is not None:
        raise RequestMoveNotAllowed
    read_json(data, max_bytes=MOST_BYTES)
    brought = _entries(difference.read(data))
    patient = records.open_vault(session, keys, row.patient_key).fhir_id
    problems = [one for place, body in enumerate(brought) for one in _wrong(place, body, patient)]
    if problems:
        raise CorrectionNotTaken(problems=tuple(problems))
    if not any(one.changes for one in _compared(session, keys, row, brought)):
        raise CorrectionNotTaken(problems=(Problem("/entry", "unchanged", "Nothing in it differs from what is kept."),))
    one = Correction(
        patient_key=row.patient_key, request_id=row.id, proposed_at=clock.now(), proposed_by=caller.actor, natural_person=caller.natural_person,
        body_sealed=b"",
    )  # fmt: skip
    one.body_sealed = records.seal_words(session, keys, row.patient_key, f"{one.id}|correction", difference.written(brought)) or b""
    session.add(one)
    return answering.store(session, keys, row, "correction-proposed", caller.actor, resources=len(brought))


def staged(session: Session, keys: Keys, caller: PersonCaller, row: PatientRequest) -> Staged | None:
    """The correction that waits, compared with what is kept now; None where none waits, and for whoever does not handle requests."""
    one = _open(session, row) if caller.may(Button.REQUEST_HANDLE) else None
    if one is None:
        return None
    return Staged(one.proposed_by, one.natural_person, one.proposed_at, tuple(_compared(session, keys, row, _brought(session, keys, one))))


def agree(session: Session, keys: Keys, database: Database, caller: PersonCaller, number: str, *, text: str) -> PatientRequest:
    """It is right, as somebody else sees it: it is taken in, in a transaction of its own before this one commits. Raises AnotherPerson."""
    row = _to_correct(session, caller, number)
    one = _open(session, row)
    if one is None:
        raise RequestMoveNotAllowed
    if one.natural_person == caller.natural_person:
        raise AnotherPerson
    answering.check_answer(row, caller, text)
    brought = _brought(session, keys, one)
    entries = [{"resource": body, "request": {"method": "PUT", "url": f"{body['resourceType']}/{body['id']}"}} for body in brought]
    bundle = difference.written({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()
    report = records.ingest_bundle(database, keys, bundle, source=row.number, actor=caller.actor)
    if report.refused:
        raise CorrectionNotTaken(problems=tuple(problem for refusal in report.refusals for problem in refusal.problems))
    _settle(session, one, caller, "agreed")
    return _taken(session, keys, caller, row, tuple(f"{body['resourceType']}/{body['id']}" for body in brought), text)


def send_back(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> PatientRequest:
    """It is not right, or whoever brought it takes it back: another may be brought. Raises RequestMoveNotAllowed where none waits."""
    row = _to_correct(session, caller, number)
    one = _open(session, row)
    if one is None:
        raise RequestMoveNotAllowed
    _settle(session, one, caller, "returned")
    return answering.store(session, keys, row, "correction-returned", caller.actor, text)


def kept(session: Session, keys: Keys, caller: PersonCaller, number: str) -> tuple[PatientRequest, list[dict[str, Any]]]:
    """What is kept of the patient, to choose from what is wrong; on record that it was read. Raises as :func:`note`."""
    row = _to_correct(session, caller, number)
    vault = records.open_vault(session, keys, row.patient_key)
    facts: Facts = {"request": row.number, "for": "correction"}
    audit.record(session, Event("record.read", caller.actor, purpose="PATRQT", patient=row.patient_key, subject=vault.subject, facts=facts))
    return row, [difference.read(one.body) for one in records.whole(session, keys, row.patient_key)]


def kept_bytes(session: Session, keys: Keys, caller: PersonCaller, number: str, reference: str) -> bytes:
    """One of them as it is kept. Raises CorrectionNotTaken where it isn't kept."""
    row = _to_correct(session, caller, number)
    for one in records.whole(session, keys, row.patient_key):
        body = difference.read(one.body)
        if f"{body['resourceType']}/{body['id']}" == reference:
            return one.body
    raise CorrectionNotTaken(problems=(Problem("/resource", "unknown", "There is no such choice."),))


def _to_correct(session: Session, caller: PersonCaller, number: str) -> PatientRequest:
    row = answering.handled(session, caller, number)
    if Kind(row.kind) is not Kind.CORRECTION:
        raise RequestMoveNotAllowed
    check_move(State(row.status), Action.FULFIL)
    return row


def _taken(session: Session, keys: Keys, caller: PersonCaller, row: PatientRequest, named: tuple[str, ...], text: str) -> PatientRequest:
    types = sorted({one.partition("/")[0] for one in named})
    facts: Facts = {"request": row.number, "resources": len(named), "types": types[:20]}
    subject = records.open_vault(session, keys, row.patient_key).subject
    audit.record(session, Event("record.corrected", caller.actor, patient=row.patient_key, subject=subject, facts=facts))
    return answering.answered(session, keys, caller, row, Action.FULFIL, text, resources=len(named))


def _open(session: Session, row: PatientRequest) -> Correction | None:
    waiting = select(Correction).where(Correction.patient_key == row.patient_key, Correction.request_id == row.id, Correction.status == "proposed")
    return session.exec(waiting).one_or_none()


def _settle(session: Session, one: Correction, caller: PersonCaller, status: str) -> None:
    one.status, one.decided_at, one.decided_by = status, clock.now(), caller.actor
    session.add(one)
    session.flush()


def _brought(session: Session, keys: Keys, one: Correction) -> list[dict[str, Any]]:
    words = records.open_words(session, keys, one.patient_key, f"{one.id}|correction", one.body_sealed) or "[]"
    found: list[dict[str, Any]] = difference.read(words.encode())  # type: ignore[assignment]  # It is the list that was sealed.
    return found


def _entries(read: Any) -> list[dict[str, Any]]:
    """The resources of what was brought. Raises CorrectionNotTaken."""
    if isinstance(read, dict) and read.get("resourceType") == "Bundle":
        entries = read.get("entry")
        found = [entry.get("resource") if isinstance(entry, dict) else None for entry in entries] if isinstance(entries, list) else []
    else:
        found = [read]
    if not 0 < len(found) <= MOST_RESOURCES or not all(isinstance(one, dict) and isinstance(one.get("resourceType"), str) for one in found):
        raise CorrectionNotTaken(problems=(Problem("/", "structure", "must be a resource, or a Bundle with entries"),))
    return [one for one in found if one is not None]


def _wrong(place: int, body: Mapping[str, Any], patient: str) -> list[Problem]:
    """What is wrong with one resource: its form, its id, whose it is."""
    path = f"/entry/{place}/resource"
    if not isinstance(body.get("id"), str):
        return [Problem(path, "required", "must be a resource with its own id")]
    about = body.get("subject") or body.get("patient") or body.get("beneficiary")
    mine = body["resourceType"] == "Patient" and body["id"] == patient
    if not mine and not (isinstance(about, Mapping) and about.get("reference") == f"Patient/{patient}"):
        return [Problem(path, "value", "must be of the patient who asks")]
    try:
        return shape_problems(read_json(difference.written(body).encode()))
    except BrokerError as error:
        return list(error.problems)


def _compared(session: Session, keys: Keys, row: PatientRequest, brought: list[dict[str, Any]]) -> list[Corrected]:
    now = {(one["resourceType"], one["id"]): one for one in (difference.read(one.body) for one in records.whole(session, keys, row.patient_key))}
    found = []
    for body in brought:
        before = now.get((body["resourceType"], body["id"]))
        changes = tuple(difference.changes(before, body))
        found.append(Corrected(f"{body['resourceType']}/{body['id']}", body, changes, before is not None))
    return found
