"""Learning: adverse events with their root cause (QA-4.3), the risk register (PI-5), corrective actions (PI-6)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys, seal, unseal
from broker.errors import Forbidden, NotFound
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller
from broker.incidents import desk
from broker.incidents.models import AdverseEventRow, CorrectiveAction, Risk
from broker.records import service as records

_SYSTEM = "http://terminology.hl7.org/CodeSystem/"


def check_reader(caller: PersonCaller) -> None:
    """Raises Forbidden for whoever may not read incidents and what follows from them."""
    if not caller.may(Button.INCIDENT_READ):
        raise Forbidden


def report_adverse_event(
    session: Session,
    keys: Keys,
    caller: PersonCaller,
    *,
    patient: str,
    category: str,
    seriousness: str,
    occurred_at: datetime,
    told: str,
    incident: str | None = None,
) -> AdverseEventRow:
    """Report an adverse event of a patient (FHIR id). Anybody may. Raises NoSuchIncident, UnknownPatient."""
    patient_key = keys.patient_key(patient)
    vault = records.open_vault(session, keys, patient_key)
    event_id = uuid4()
    row = AdverseEventRow(
        patient_key=patient_key,
        id=event_id,
        incident_id=desk.look(session, caller, incident).id if incident else None,
        category=category,
        seriousness=seriousness,
        occurred_at=occurred_at,
        reported_at=clock.now(),
        reported_by=caller.actor,
        told_sealed=seal(vault.data_key, told.encode(), _bound(event_id, "told")),
    )
    facts: desk.Facts = {"event": str(event_id), "category": category, "seriousness": seriousness}
    session.add(row)
    session.flush()
    audit.record(session, Event("adverse-event.reported", caller.actor, patient=patient_key, subject=vault.subject, facts=facts))
    return row


def analyse_adverse_event(session: Session, keys: Keys, caller: PersonCaller, event_id: UUID, *, root_cause: str) -> AdverseEventRow:
    """Say why it happened. Raises Forbidden, NotFound."""
    desk.check_handler(caller)
    row = session.exec(select(AdverseEventRow).where(AdverseEventRow.id == event_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound
    vault = records.open_vault(session, keys, row.patient_key)
    row.root_cause_sealed, row.analysed_at = seal(vault.data_key, root_cause.encode(), _bound(event_id, "root-cause")), clock.now()
    session.add(row)
    session.flush()
    event = Event("adverse-event.analysed", caller.actor, patient=row.patient_key, subject=vault.subject, facts={"event": str(event_id)})
    audit.record(session, event)
    return row


def adverse_events(session: Session, caller: PersonCaller, *, limit: int = 100) -> Sequence[AdverseEventRow]:
    """The newest first. Raises Forbidden."""
    check_reader(caller)
    return session.exec(select(AdverseEventRow).order_by(col(AdverseEventRow.reported_at).desc()).limit(limit)).all()


def adverse_words(session: Session, keys: Keys, row: AdverseEventRow) -> dict[str, str | None]:
    """What happened (``told``) and why (``cause``) in words; of a patient whose key was destroyed they are gone."""
    vault = None if records.is_shredded(session, row.patient_key) else records.open_vault(session, keys, row.patient_key)

    def words(field: str, sealed: bytes | None) -> str | None:
        return None if sealed is None or vault is None else unseal(vault.data_key, sealed, _bound(row.id, field)).decode()

    return {"told": words("told", row.told_sealed), "cause": words("root-cause", row.root_cause_sealed)}


def as_fhir(session: Session, keys: Keys, row: AdverseEventRow) -> dict[str, Any]:
    """The event as FHIR R4 AdverseEvent (hl7.org/fhir/R4/adverseevent.html); its root cause stands in the text of the event."""
    said = adverse_words(session, keys, row)
    cause, told = said["cause"], said["told"] or ""
    # Of a patient whose key was destroyed the codes stay.
    vault = None if records.is_shredded(session, row.patient_key) else records.open_vault(session, keys, row.patient_key)
    return {
        "resourceType": "AdverseEvent",
        "id": str(row.id),
        "actuality": "actual",
        "category": [{"coding": [{"system": f"{_SYSTEM}adverse-event-category", "code": row.category}]}],
        "event": {"text": told if cause is None else f"{told}\n根本原因 / root cause: {cause}"},
        "subject": {"display": "destroyed"} if vault is None else {"reference": f"Patient/{vault.fhir_id}"},
        "date": row.occurred_at.isoformat(timespec="seconds"),
        "recordedDate": row.reported_at.isoformat(timespec="seconds"),
        "seriousness": {"coding": [{"system": f"{_SYSTEM}adverse-event-seriousness", "code": row.seriousness}]},
    }


def _bound(event_id: UUID, field: str) -> bytes:
    return f"adverse-event|{event_id}|{field}".encode()


def put_risk(
    session: Session,
    caller: PersonCaller,
    *,
    risk_id: UUID | None,
    title: str,
    treatment: str,
    likelihood: int,
    impact: int,
    owner: UUID,
    review_on: date,
    status: str,
) -> Risk:
    """Write a line of the risk register, new or anew. Raises Forbidden, NotFound, UnknownPerson (the owner)."""
    desk.check_handler(caller)
    identity.person(session, owner)
    row = (
        session.get(Risk, risk_id)
        if risk_id
        else Risk(title="", treatment="", likelihood=1, impact=1, owner_id=owner, review_on=review_on, changed_at=clock.now())
    )
    if row is None:
        raise NotFound
    row.title, row.treatment, row.likelihood, row.impact = title, treatment, likelihood, impact
    row.owner_id, row.review_on, row.status, row.changed_at = owner, review_on, status, clock.now()
    session.add(row)
    session.flush()
    facts: desk.Facts = {"risk": str(row.id), "likelihood": likelihood, "impact": impact, "status": status, "review_on": review_on.isoformat()}
    audit.record(session, Event("risk.written", caller.actor, facts=facts))
    return row


def risks(session: Session, caller: PersonCaller) -> Sequence[Risk]:
    """The register, the greatest first. Raises Forbidden."""
    check_reader(caller)
    return sorted(session.exec(select(Risk)).all(), key=lambda row: (row.status != "open", -row.likelihood * row.impact, row.review_on, row.title))


def open_action(
    session: Session, caller: PersonCaller, *, source: str, source_ref: str, changes: str, title: str, owner: UUID, due_on: date
) -> CorrectiveAction:
    """Something is to be changed: a policy, a training or a process. Raises Forbidden, UnknownPerson."""
    desk.check_handler(caller)
    identity.person(session, owner)
    row = CorrectiveAction(
        source=source,
        source_ref=source_ref,
        changes=changes,
        title=title,
        owner_id=owner,
        due_on=due_on,
        opened_at=clock.now(),
        opened_by=caller.actor,
    )
    session.add(row)
    session.flush()
    facts: desk.Facts = {"action": str(row.id), "source": source, "changes": changes, "owner": str(owner), "due_on": due_on.isoformat()}
    audit.record(session, Event("corrective-action.opened", caller.actor, facts=facts))
    return row


def finish_action(session: Session, caller: PersonCaller, action_id: UUID, *, evidence: str) -> CorrectiveAction:
    """It was done, and where that can be seen. For its owner and for who handles incidents. Raises Forbidden, NotFound."""
    row = session.exec(select(CorrectiveAction).where(CorrectiveAction.id == action_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound
    if row.owner_id != caller.person_id and not caller.may(Button.INCIDENT_HANDLE):
        raise Forbidden
    row.done_at, row.done_by, row.evidence = clock.now(), caller.actor, evidence
    session.add(row)
    session.flush()
    facts: desk.Facts = {"action": str(row.id), "late": clock.today() > row.due_on}
    audit.record(session, Event("corrective-action.done", caller.actor, facts=facts))
    return row


def actions(session: Session, caller: PersonCaller, *, open_only: bool = False) -> Sequence[CorrectiveAction]:
    """Corrective actions by due day: all for whoever may read incidents, else one's own."""
    query = select(CorrectiveAction)
    if not caller.may(Button.INCIDENT_READ):
        query = query.where(CorrectiveAction.owner_id == caller.person_id)
    if open_only:
        query = query.where(col(CorrectiveAction.done_at).is_(None))
    return session.exec(query.order_by(col(CorrectiveAction.due_on), col(CorrectiveAction.title))).all()


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """Corrective actions, adverse events and risks of a span of time, for the review."""
    rows = session.exec(select(CorrectiveAction).where(CorrectiveAction.opened_at < until)).all()
    still = [row for row in rows if row.done_at is None or row.done_at >= until]
    happened = session.exec(select(AdverseEventRow).where(AdverseEventRow.reported_at >= since, AdverseEventRow.reported_at < until)).all()
    lines = session.exec(select(Risk).where(Risk.status == "open")).all()
    return {
        "actions_opened": sum(row.opened_at >= since for row in rows),
        "actions_done": sum(row.done_at is not None and since <= row.done_at < until for row in rows),
        "actions_open": len(still),
        "actions_overdue": sum(row.due_on < until.date() for row in still),
        "adverse_events": len(happened),
        "adverse_events_analysed": sum(row.analysed_at is not None and row.analysed_at < until for row in happened),
        "risks_open": len(lines),
        "risks_review_overdue": sum(row.review_on < until.date() for row in lines),
    }
