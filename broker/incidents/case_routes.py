"""Break-glass, and cases against people and organisations, over HTTP under ``/api/v1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path
from sqlmodel import Session

from broker.applications import service as applications
from broker.crypto import Keys
from broker.database import Database, SessionDep
from broker.edge import STRICT
from broker.errors import Problem
from broker.identity import service as identity
from broker.identity.access import Person, PersonCaller
from broker.incidents import case_schemas as schemas
from broker.incidents import emergencies, violations
from broker.incidents.errors import EmergencyDenied
from broker.incidents.models import EmergencyAccess, Violation
from broker.incidents.schemas import TextIn
from broker.settings import Settings

Number = Annotated[str, Path(max_length=40, description="The number of the case (VC-YYYY-NNNNNN).")]
Application = Annotated[str, Path(max_length=40, description="The number under which data were opened (SA-YYYY-NNNNNN).")]


def build_router(
    *, settings: Settings, keys: Keys, database: Database, means: applications.Means, second_factor: emergencies.SecondFactor
) -> APIRouter:
    """The routes. ``means``: what applications judge with. ``database``: a refusal is committed before it is answered."""
    router = APIRouter(prefix="/api/v1", tags=["incidents"], dependencies=[STRICT])

    @router.post("/emergencies", status_code=201)
    def break_glass(body: schemas.EmergencyIn, caller: Person) -> schemas.EmergencyOut:
        """Break the glass: emergency data of one patient, for a short time, without approval; logged, and reviewed afterwards."""
        with database.transaction() as session:
            opened = emergencies.break_glass(
                session,
                means,
                caller,
                recipient=body.recipient,
                patient=body.patient.typed(),
                reason=body.reason,
                second_factor=second_factor(session, caller, body.second_factor),
                minutes=settings.emergency_minutes,
                review_hours=settings.emergency_review_hours,
            )
            shown = None if isinstance(opened, applications.EmergencyRefused) else _emergency(opened)
        if isinstance(opened, applications.EmergencyRefused) or shown is None:
            raise EmergencyDenied(problems=tuple(Problem("/", code, code) for code in getattr(opened, "reasons", ())))
        return shown

    @router.get("/emergencies")
    def many(session: SessionDep, caller: Person) -> list[schemas.EmergencyOut]:
        """Emergency accesses, newest first: all for who reads incidents, else one's own."""
        return [_emergency(row) for row in emergencies.many(session, caller)]

    @router.post("/emergencies/{application}/contact-told")
    def contact_told(application: Application, session: SessionDep, caller: Person) -> schemas.EmergencyOut:
        """The patient, or who speaks for them, was told."""
        return _emergency(emergencies.told_contact(session, caller, application))

    @router.post("/emergencies/{application}/review")
    def review(application: Application, body: schemas.EmergencyReviewIn, session: SessionDep, caller: Person) -> schemas.EmergencyOut:
        """Judge it afterwards, as somebody else. Misuse opens a case."""
        return _emergency(emergencies.review(session, keys, caller, application, misuse=body.verdict == "misuse", text=body.text))

    @router.get("/violations")
    def cases(session: SessionDep, caller: Person) -> list[schemas.CaseOut]:
        """Cases that you may see: all for who reads incidents, else those about you or your organisation."""
        return [_case(keys, row) for row in violations.many(session, caller)]

    @router.post("/violations", status_code=201)
    def open_case(body: schemas.CaseIn, session: SessionDep, caller: Person) -> schemas.CaseOut:
        """Open a case, with events of the log as evidence."""
        row = violations.open_case(
            session, keys, caller, person=body.person, organization=body.organization, grounds=body.grounds, evidence=body.evidence, told=body.told
        )
        return _case(keys, row)

    @router.get("/violations/{number}")
    def case(number: Number, session: SessionDep, caller: Person) -> schemas.CaseOut:
        """One case."""
        return _case(keys, violations.look(session, caller, number))

    @router.post("/violations/{number}/propose")
    def propose(number: Number, body: schemas.SanctionIn, session: SessionDep, caller: Person) -> schemas.CaseOut:
        """Propose a sanction: the first of two."""
        identity.stepped_up(settings, caller)
        return _case(keys, violations.propose(session, keys, caller, number, sanction=body.sanction, days=body.days, text=body.text))

    @router.post("/violations/{number}/decide")
    def decide(number: Number, body: schemas.DecideIn, session: SessionDep, caller: Person) -> schemas.CaseOut:
        """Agree, and it takes effect at once; or send it back: the second of two."""
        identity.stepped_up(settings, caller)
        return _case(keys, violations.decide(session, keys, caller, number, agree=body.agree))

    @router.post("/violations/{number}/decide-appeal")
    def decide_appeal(number: Number, body: schemas.DecideIn, session: SessionDep, caller: Person) -> schemas.CaseOut:
        """Uphold it (agree) or overturn it, as an auditor who took no part."""
        return _case(keys, violations.decide_appeal(session, caller, number, uphold=body.agree))

    @router.post("/violations/{number}/dismiss")
    def dismiss(number: Number, session: SessionDep, caller: Person) -> schemas.CaseOut:
        """There was no violation."""
        return _case(keys, violations.dismiss(session, caller, number))

    def worded(name: str, verb: Callable[[Session, PersonCaller, str, str], Violation], summary: str) -> None:
        def act(number: Number, body: TextIn, session: SessionDep, caller: Person) -> schemas.CaseOut:
            return _case(keys, verb(session, caller, number, body.text))

        path = f"/violations/{{number}}/{name}"
        router.add_api_route(path, act, methods=["POST"], response_model=schemas.CaseOut, name=f"case-{name}", summary=summary)

    worded("hear", lambda session, caller, number, text: violations.hear(session, keys, caller, number, text=text), "Say something, as the accused.")
    worded("appeal", lambda session, caller, number, text: violations.appeal(session, keys, caller, number, text=text), "Appeal, as the accused.")
    worded("end", lambda session, caller, number, text: violations.end(session, caller, number, text=text), "What was asked for was done.")
    return router


def _emergency(row: EmergencyAccess) -> schemas.EmergencyOut:
    fields = {name: getattr(row, name) for name in schemas.EmergencyOut.model_fields if name != "person"}
    return schemas.EmergencyOut(**fields, person=row.person_id)


def _case(keys: Keys, row: Violation) -> schemas.CaseOut:
    fields = {name: getattr(row, name) for name in schemas.CaseOut.model_fields if name not in ("person", "organization", "words")}
    return schemas.CaseOut(**fields, person=row.person_id, organization=row.organization_id, words=violations.words(keys, row))
