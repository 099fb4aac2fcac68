"""Incidents as cases: report, assess, investigate, close; each step kept with who took it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller, Role
from broker.incidents import rules
from broker.incidents.affected import Scope, affected
from broker.incidents.errors import DutiesOpen, IncidentTextRequired, NoSuchIncident
from broker.incidents.lifecycle import Action, State, check_move
from broker.incidents.models import CaseNumber, Containment, Incident, IncidentPatient, IncidentStep, Notice
from broker.incidents.rules import Kind, NoticeFacts, Severity
from broker.notifications import service as notifications

Facts = dict[str, str | int | bool | list[str]]


def next_number(session: Session, kind: str) -> str:
    """``IN-2026-000001``; a number that rolls back is given again, so that there is no gap."""
    year = clock.now().year
    new = insert(CaseNumber).values(kind=kind, year=year, last=1)
    counted = new.on_conflict_do_update(index_elements=["kind", "year"], set_={"last": CaseNumber.last + 1})
    return f"{kind}-{year}-{session.execute(counted.returning(col(CaseNumber.last))).scalar_one():06d}"


def find(session: Session, number: str, *, lock: bool = False) -> Incident:
    """By number. Raises NoSuchIncident."""
    query = select(Incident).where(Incident.number == number)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    found = session.exec(query).one_or_none()
    if found is None:
        raise NoSuchIncident
    return found


def check_handler(caller: PersonCaller) -> None:
    """Raises Forbidden for whoever doesn't handle incidents."""
    if not caller.may(Button.INCIDENT_HANDLE):
        raise Forbidden


def report(
    session: Session,
    keys: Keys,
    actor: str,
    *,
    kind: Kind,
    summary: str,
    occurred_at: datetime | None = None,
    drill: bool = False,
    source: str | None = None,
    event: UUID | None = None,
) -> Incident:
    """Report an incident; anybody may. ``source`` opens it once: a second time gives the one that is there."""
    if source is not None and (known := session.exec(select(Incident).where(Incident.source == source)).one_or_none()) is not None:
        return known
    row = Incident(
        number=next_number(session, "IN"),
        kind=kind.value,
        drill=drill,
        reported_by=actor,
        reported_at=clock.now(),
        occurred_at=occurred_at,
        source=source,
        summary_sealed=b"",
    )
    row.summary_sealed = sealed(keys, row, "summary", summary)
    facts: Facts = {"incident": row.number, "kind": row.kind, "drill": drill}
    if event is not None:
        facts["event"] = str(event)
    store(session, keys, row, "report", actor, Event("incident.reported", actor, facts=facts))
    told = {"incident": row.number, "kind": row.kind}
    notifications.notify_role(session, keys, Role.INFORMATION_MANAGER, kind="incident.reported", facts=told, once=f"incident|{row.number}")
    return row


def assess(
    session: Session,
    keys: Keys,
    caller: PersonCaller,
    number: str,
    *,
    severity: Severity,
    sensitive: bool,
    scope: Scope = Scope(),
    text: str | None = None,
) -> Incident:
    """Say how grave it is. Whom it concerns is computed from the log, and the severity is never below what that makes it.

    ``scope`` adds to what was contained: clients, organisations, applications, a span of time. Raises Forbidden, NoSuchIncident,
    IncidentMoveNotAllowed.
    """
    check_handler(caller)
    row = find(session, number, lock=True)
    move = check_move(State(row.status), Action.ASSESS)
    found = affected(session, scope.with_targets(session.exec(select(Containment).where(Containment.incident_id == row.id)).all()))
    least = rules.least_severity(patients=len(found.patients), sensitive=sensitive)
    row.severity = rules.graver(severity, least).value
    row.sensitive, row.data_types = sensitive, list(found.types)
    row.patients, row.releases = len(found.patients), found.releases
    row.status, row.assessed_at = move.to.value, row.assessed_at or clock.now()
    for patient_key in found.patients:
        session.execute(insert(IncidentPatient).values(patient_key=patient_key, incident_id=row.id).on_conflict_do_nothing())
    wanted = rules.duties(Severity(row.severity), row.reported_at, row.assessed_at, patients=row.patients, partners=found.organizations)
    known = {(one.audience, one.organization_id): one for one in notices(session, row)}
    for duty in wanted:
        one = known.get((duty.audience.value, duty.organization))
        if one is None:
            session.add(Notice(incident_id=row.id, audience=duty.audience.value, organization_id=duty.organization, due_at=duty.due_at))
        elif one.done_at is None:
            one.due_at = min(one.due_at, duty.due_at)
    facts: Facts = {
        "incident": row.number, "severity": row.severity, "patients": row.patients, "releases": row.releases, "duties": len(wanted),
        "drill": row.drill,
    }  # fmt: skip
    store(session, keys, row, "assess", caller.actor, Event("incident.assessed", caller.actor, facts=facts), text)
    return row


def investigate(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str | None = None) -> Incident:
    """Begin to find out why. Raises Forbidden, NoSuchIncident, IncidentMoveNotAllowed."""
    return _moved(session, keys, caller, number, Action.INVESTIGATE, "investigating", text)


def dismiss(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> Incident:
    """It was none. Raises as :func:`investigate`; IncidentTextRequired."""
    return _moved(session, keys, caller, number, Action.DISMISS, "dismissed", text)


def reopen(session: Session, keys: Keys, caller: PersonCaller, number: str, *, text: str) -> Incident:
    """It is not over. Raises as :func:`dismiss`."""
    return _moved(session, keys, caller, number, Action.REOPEN, "reopened", text)


def close(session: Session, keys: Keys, caller: PersonCaller, number: str, *, cause: str, measures: str) -> Incident:
    """End it with its cause and what was done. Raises as :func:`dismiss`; DutiesOpen while a notice is neither sent nor waived."""
    check_handler(caller)
    row = find(session, number, lock=True)
    move = check_move(State(row.status), Action.CLOSE)
    if not cause.strip() or not measures.strip():
        raise IncidentTextRequired
    if not rules.may_close([NoticeFacts(one.done_at is not None, one.due_at) for one in notices(session, row)]):
        raise DutiesOpen
    row.status, row.closed_at = move.to.value, clock.now()
    row.cause_sealed, row.measures_sealed = sealed(keys, row, "cause", cause), sealed(keys, row, "measures", measures)
    store(session, keys, row, "close", caller.actor, Event("incident.closed", caller.actor, facts={"incident": row.number, "drill": row.drill}))
    return row


def _moved(session: Session, keys: Keys, caller: PersonCaller, number: str, action: Action, happened: str, text: str | None) -> Incident:
    check_handler(caller)
    row = find(session, number, lock=True)
    move = check_move(State(row.status), action)
    if move.reason and not (text or "").strip():
        raise IncidentTextRequired
    row.status = move.to.value
    if action is Action.REOPEN:
        row.closed_at = None
    event = Event(f"incident.{happened}", caller.actor, facts={"incident": row.number, "drill": row.drill})
    store(session, keys, row, action.value, caller.actor, event, text)
    return row


def sealed(keys: Keys, row: Incident, field: str, text: str) -> bytes:
    """Words of an incident, sealed for one field of it."""
    found = applications.seal_text(keys, row.id, f"incident|{field}", text)
    assert found is not None  # noqa: S101  (Only None gives None.)
    return found


def opened(keys: Keys, row: Incident, field: str, given: bytes | None) -> str | None:
    """The words again; None where there are none, or they went with the patient whom they named."""
    return applications.unseal_text(keys, row.id, f"incident|{field}", given or None)


def store(session: Session, keys: Keys, row: Incident, action: str, actor: str, event: Event, text: str | None = None) -> None:
    """Keep the incident, the step and the event."""
    session.add(row)
    session.flush()
    step = IncidentStep(incident_id=row.id, action=action, at=clock.now(), actor=actor)
    step.text_sealed = applications.seal_text(keys, row.id, f"incident|step|{step.id}", text)
    session.add(step)
    session.flush()
    audit.record(session, event)


def notices(session: Session, row: Incident) -> Sequence[Notice]:
    """Whom the incident must be told to, by due time."""
    return session.exec(select(Notice).where(Notice.incident_id == row.id).order_by(col(Notice.due_at), col(Notice.audience))).all()


def steps(session: Session, row: Incident) -> Sequence[IncidentStep]:
    """What was done, in order."""
    return session.exec(select(IncidentStep).where(IncidentStep.incident_id == row.id).order_by(col(IncidentStep.at), col(IncidentStep.id))).all()


def containments(session: Session, row: Incident) -> Sequence[Containment]:
    """What was frozen, in order."""
    query = select(Containment).where(Containment.incident_id == row.id)
    return session.exec(query.order_by(col(Containment.at), col(Containment.kind), col(Containment.target))).all()


def many(session: Session, caller: PersonCaller, *, status: State | None = None, limit: int = 100) -> Sequence[Incident]:
    """Incidents, newest first: all for whoever may read them, else those that one reported."""
    query = select(Incident)
    if not caller.may(Button.INCIDENT_READ):
        query = query.where(Incident.reported_by == caller.actor)
    if status is not None:
        query = query.where(Incident.status == status.value)
    return session.exec(query.order_by(col(Incident.reported_at).desc(), col(Incident.number).desc()).limit(limit)).all()


def look(session: Session, caller: PersonCaller, number: str) -> Incident:
    """One that the caller may see. Raises NoSuchIncident."""
    row = find(session, number)
    if not (caller.may(Button.INCIDENT_READ) or row.reported_by == caller.actor):
        raise NoSuchIncident
    return row


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """What happened in a span of time; ``until`` is not included."""
    rows = session.exec(select(Incident).where(Incident.reported_at >= since, Incident.reported_at < until)).all()
    real = [row for row in rows if not row.drill]
    late = session.execute(
        sa.select(sa.func.count())
        .select_from(Notice)
        .join(Incident, col(Incident.id) == col(Notice.incident_id))
        .where(col(Incident.drill).is_(False), col(Notice.due_at) >= since, col(Notice.due_at) < until)
        .where(sa.or_(col(Notice.done_at).is_(None), col(Notice.done_at) > col(Notice.due_at)))
    ).scalar_one()
    waits = sorted((row.contained_at - row.reported_at).total_seconds() / 60 for row in real if row.contained_at)
    return {
        "reported": len(real),
        "closed": sum(row.closed_at is not None and since <= row.closed_at < until for row in real),
        "drills": len(rows) - len(real),
        "by_kind": _counted(row.kind for row in real),
        "by_severity": _counted(row.severity or "not-assessed" for row in real),
        "patients": sum(row.patients or 0 for row in real),
        "notices_late": late,
        "median_minutes_to_contain": round(waits[len(waits) // 2], 2) if waits else None,
    }


def _counted(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))
