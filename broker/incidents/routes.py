"""Incidents over HTTP, under ``/api/v1``: each route names its verb and decides nothing."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from sqlmodel import Session

from broker import clock
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT, language
from broker.errors import Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import Person, PersonCaller
from broker.incidents import schemas, service
from broker.incidents.case_routes import build_router as build_case_router
from broker.incidents.lifecycle import State, possible
from broker.incidents.models import CorrectiveAction, Incident, Risk
from broker.incidents.rules import Audience, Kind, risk_score
from broker.settings import Settings

__all__ = ["build_case_router", "build_router"]

Number = Annotated[str, Path(max_length=40, description="The number of the incident (IN-YYYY-NNNNNN).")]
Limit = Annotated[int, Query(ge=1, le=500)]


def build_router(*, settings: Settings, keys: Keys) -> APIRouter:
    """The routes. ``settings``: whose hospital this is, for notices, and the address that signed files must name."""
    router = APIRouter(prefix="/api/v1", tags=["incidents"], dependencies=[STRICT])

    def whole(session: Session, caller: PersonCaller, row: Incident) -> schemas.IncidentWhole:
        return _whole(session, keys, caller, row)

    @router.post("/incidents", status_code=201, response_model=schemas.IncidentWhole)
    def report(body: schemas.IncidentIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """Report an incident. Whoever is signed in may."""
        row = service.report(session, keys, caller.actor, kind=body.kind, summary=body.summary, occurred_at=body.occurred_at, drill=body.drill)
        return whole(session, caller, row)

    @router.post("/incidents/signed", status_code=201)
    def report_signed(body: schemas.SignedIn, session: SessionDep) -> dict[str, str]:
        """Report an incident as a recipient's system, in a signed file: ``{"kind": …, "summary": …}``. No token is needed."""
        statement = identity.read_statement(session, settings, body.statement)
        kind, summary = statement.said.get("kind", "other"), statement.said.get("summary")
        if kind not in set(Kind) or not isinstance(summary, str) or not 0 < len(summary.strip()) <= 4000:
            raise Invalid(problems=(Problem("/statement", "value", "It holds kind (a kind of incident) and summary (text)."),))
        row = service.report(session, keys, statement.actor, kind=Kind(kind), summary=summary)
        return {"number": row.number, "digest": statement.digest}

    @router.get("/incidents")
    def many(session: SessionDep, caller: Person, status: State | None = None, limit: Limit = 100) -> list[schemas.IncidentOut]:
        """Incidents that you may see, newest first."""
        return [schemas.IncidentOut(**_listed(row)) for row in service.many(session, caller, status=status, limit=limit)]

    @router.get("/incidents/{number}")
    def one(number: Number, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """One incident."""
        return whole(session, caller, service.look(session, caller, number))

    @router.post("/containments", status_code=201)
    def contain(body: schemas.ContainIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """Freeze clients, organisations, grants, tokens, people or patients at once. After the answer not a byte leaves to or of them."""
        identity.stepped_up(settings, caller)
        targets = [one.target() for one in body.targets]
        row, _ = service.contain(session, keys, caller, targets, reason=body.reason, incident=body.incident, drill=body.drill)
        return whole(session, caller, row)

    @router.post("/incidents/{number}/ask-to-lift")
    def ask_to_lift(number: Number, body: schemas.TextIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """Ask that what it froze be let go: the first of two people."""
        identity.stepped_up(settings, caller)
        return whole(session, caller, service.ask_to_lift(session, keys, caller, number, reason=body.text))

    @router.post("/incidents/{number}/lift")
    def lift(number: Number, body: schemas.TextIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """Let go of what it froze: the second of two people."""
        identity.stepped_up(settings, caller)
        return whole(session, caller, service.lift(session, keys, caller, number, reason=body.text))

    @router.post("/incidents/{number}/assess")
    def assess(number: Number, body: schemas.AssessIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """Say how grave it is; whom it concerns is computed from the log."""
        row = service.assess(session, keys, caller, number, severity=body.severity, sensitive=body.sensitive, scope=body.scope(), text=body.text)
        return whole(session, caller, row)

    @router.post("/incidents/{number}/investigate")
    def investigate(number: Number, body: schemas.TextIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """Begin to find out why."""
        return whole(session, caller, service.investigate(session, keys, caller, number, text=body.text))

    @router.post("/incidents/{number}/dismiss")
    def dismiss(number: Number, body: schemas.TextIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """It was none."""
        return whole(session, caller, service.dismiss(session, keys, caller, number, text=body.text))

    @router.post("/incidents/{number}/reopen")
    def reopen(number: Number, body: schemas.TextIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """It is not over."""
        return whole(session, caller, service.reopen(session, keys, caller, number, text=body.text))

    @router.post("/incidents/{number}/close")
    def close(number: Number, body: schemas.CloseIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """End it with cause and measures, once everybody who must be told has been."""
        return whole(session, caller, service.close(session, keys, caller, number, cause=body.cause, measures=body.measures))

    @router.get("/incidents/{number}/notices/draft")
    def draft(request: Request, number: Number, audience: Audience, session: SessionDep, caller: Person) -> dict[str, str]:
        """The text that the broker proposes, in the language that you ask for (Accept-Language)."""
        row = service.look(session, caller, number)
        spoken = language(request)
        text = service.draft(session, row, audience, spoken, hospital=settings.hospital, contact=settings.base_url, zone=settings.time_zone)
        return {"language": spoken, "text": text}

    @router.post("/incidents/{number}/notices/{notice_id}")
    def notified(number: Number, notice_id: UUID, body: schemas.NoticeIn, session: SessionDep, caller: Person) -> schemas.IncidentWhole:
        """A notice went out, or need not and why."""
        service.done(session, keys, caller, number, notice_id, how=body.how, text=body.text, waived=body.waived)
        return whole(session, caller, service.look(session, caller, number))

    @router.post("/adverse-events", status_code=201)
    def report_adverse_event(body: schemas.AdverseEventIn, session: SessionDep, caller: Person) -> dict[str, str]:
        """Report an adverse event of a patient."""
        return {"id": str(service.report_adverse_event(session, keys, caller, **body.model_dump()).id)}

    @router.get("/adverse-events")
    def adverse_events(session: SessionDep, caller: Person, limit: Limit = 100) -> list[dict[str, Any]]:
        """Adverse events as FHIR R4 AdverseEvent, newest first."""
        return [service.as_fhir(session, keys, row) for row in service.adverse_events(session, caller, limit=limit)]

    @router.post("/adverse-events/{event_id}/analysis")
    def analyse(event_id: UUID, body: schemas.TextIn, session: SessionDep, caller: Person) -> dict[str, Any]:
        """Say why it happened."""
        return service.as_fhir(session, keys, service.analyse_adverse_event(session, keys, caller, event_id, root_cause=body.text))

    @router.get("/risks")
    def risks(session: SessionDep, caller: Person) -> list[schemas.RiskOut]:
        """The risk register, the greatest first."""
        return [_risk(row) for row in service.risks(session, caller)]

    @router.post("/risks", status_code=201)
    def add_risk(body: schemas.RiskIn, session: SessionDep, caller: Person) -> schemas.RiskOut:
        """Add a risk."""
        return _risk(service.put_risk(session, caller, risk_id=None, **body.model_dump()))

    @router.put("/risks/{risk_id}")
    def change_risk(risk_id: UUID, body: schemas.RiskIn, session: SessionDep, caller: Person) -> schemas.RiskOut:
        """Assess a risk anew."""
        return _risk(service.put_risk(session, caller, risk_id=risk_id, **body.model_dump()))

    @router.get("/corrective-actions")
    def actions(session: SessionDep, caller: Person, open_only: bool = False) -> list[schemas.ActionOut]:
        """Corrective actions, by due day."""
        return [_action(row) for row in service.actions(session, caller, open_only=open_only)]

    @router.post("/corrective-actions", status_code=201)
    def open_action(body: schemas.ActionIn, session: SessionDep, caller: Person) -> schemas.ActionOut:
        """Something is to be changed."""
        return _action(service.open_action(session, caller, **body.model_dump()))

    @router.post("/corrective-actions/{action_id}/done")
    def finish_action(action_id: UUID, body: schemas.DoneIn, session: SessionDep, caller: Person) -> schemas.ActionOut:
        """It was done."""
        return _action(service.finish_action(session, caller, action_id, evidence=body.evidence))

    return router


def _listed(row: Incident) -> dict[str, Any]:
    return {name: getattr(row, name) for name in schemas.IncidentOut.model_fields}


def _whole(session: Session, keys: Keys, caller: PersonCaller, row: Incident) -> schemas.IncidentWhole:
    """What the caller may see of it: who only reported it sees what they wrote and where it stands."""
    reads, now = caller.may(Button.INCIDENT_READ), clock.now()
    steps = service.steps(session, row) if reads else ()
    return schemas.IncidentWhole(
        **_listed(row),
        summary=service.opened(keys, row, "summary", row.summary_sealed),
        sensitive=row.sensitive,
        data_types=row.data_types if reads else [],
        cause=service.opened(keys, row, "cause", row.cause_sealed) if reads else None,
        measures=service.opened(keys, row, "measures", row.measures_sealed) if reads else None,
        actions=[action.value for action in possible(State(row.status))] if caller.may(Button.INCIDENT_HANDLE) else [],
        steps=[
            schemas.StepOut(
                action=one.action,
                actor=one.actor,
                at=one.at,
                seconds=round((one.at - row.reported_at).total_seconds(), 3),
                text=service.opened(keys, row, f"step|{one.id}", one.text_sealed),
            )
            for one in steps
        ],
        containments=[
            schemas.ContainmentOut(**{name: getattr(one, name) for name in schemas.ContainmentOut.model_fields})
            for one in (service.containments(session, row) if reads else ())
        ],
        notices=[
            schemas.NoticeOut(
                id=one.id,
                audience=one.audience,
                organization=one.organization_id,
                due_at=one.due_at,
                overdue=one.done_at is None and one.due_at <= now,
                done_at=one.done_at,
                waived=one.waived,
                how=one.how,
            )
            for one in (service.notices(session, row) if reads else ())
        ],
    )


def _risk(row: Risk) -> schemas.RiskOut:
    return schemas.RiskOut(
        id=row.id,
        title=row.title,
        treatment=row.treatment,
        likelihood=row.likelihood,
        impact=row.impact,
        score=risk_score(row.likelihood, row.impact),
        owner=row.owner_id,
        review_on=row.review_on,
        review_overdue=row.status == "open" and row.review_on < clock.today(),
        status=row.status,
    )


def _action(row: CorrectiveAction) -> schemas.ActionOut:
    return schemas.ActionOut(
        id=row.id,
        source=row.source,
        source_ref=row.source_ref,
        changes=row.changes,
        title=row.title,
        owner=row.owner_id,
        due_on=row.due_on,
        overdue=row.done_at is None and row.due_on < clock.today(),
        done_at=row.done_at,
        evidence=row.evidence,
    )
