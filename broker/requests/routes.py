"""Patients' requests over HTTP, under ``/api/v1``: each route names its verb and decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.crypto import Keys
from broker.database import Database, SessionDep
from broker.edge import STRICT
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller, require
from broker.records import service as records
from broker.records.errors import UnknownPatient
from broker.requests import schemas, service
from broker.requests.lifecycle import State, possible
from broker.requests.models import PatientRequest
from broker.requests.rules import ARTICLES, By, Kind
from broker.settings import Settings

Number = Annotated[str, Path(max_length=40, description="The number of the request (PR-YYYY-NNNNNN).")]
Handler = Annotated[PersonCaller, Depends(require(Button.REQUEST_HANDLE))]
#: What was brought, as it came: a parser would take digits from its numbers.
BROUGHT = {"requestBody": {"required": True, "content": {"application/fhir+json": {"schema": {"type": "object"}}}}}
Reader = Annotated[PersonCaller, Depends(require(Button.REQUEST_READ))]


async def brought(request: Request) -> bytes:
    """The bytes of the body."""
    return await request.body()


Brought = Annotated[bytes, Depends(brought)]


def build_router(*, settings: Settings, keys: Keys, database: Database, deliver: service.Deliver) -> APIRouter:
    """The routes. ``database``: a copy's intent is committed before it is read, corrected records before the answer."""
    router = APIRouter(prefix="/api/v1/patient-requests", tags=["patient requests"], dependencies=[STRICT])

    def whole(session: Session, caller: PersonCaller, row: PatientRequest) -> schemas.RequestWhole:
        return _whole(session, keys, caller, row)

    @router.get("")
    def many(
        session: SessionDep, caller: Reader, status: State | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 100
    ) -> list[schemas.RequestOut]:
        """Requests, those that are due first first."""
        early = service.estimated(session)
        return [schemas.RequestOut(**_listed(row, early(row))) for row in service.many(session, caller, state=status, limit=limit)]

    @router.post("", status_code=201)
    def ask(body: schemas.RequestIn, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
        """Take a request at the desk."""
        patient_key = records.find_patient(session, keys, body.patient)
        if patient_key is None:
            raise UnknownPatient
        row = service.ask(session, keys, patient_key, kind=body.kind, text=body.text, by=body.by, asker=body.asker, caller=caller)
        return whole(session, caller, row)

    @router.get("/{number}")
    def one(number: Number, session: SessionDep, caller: Reader) -> schemas.RequestWhole:
        """One request."""
        return whole(session, caller, service.look(session, caller, number))

    @router.get("/{number}/copy")
    def copy(number: Number, caller: Handler) -> Response:
        """The patient's copy as a FHIR Bundle, to be handed to them; each time on record, and by somebody who proved just now who they are."""
        identity.stepped_up(settings, caller)
        with database.transaction() as session:
            row = service.look(session, caller, number)

        def form(made: service.Copy) -> tuple[bytes, dict[str, str]]:
            named = {"Release-Id": str(made.release), "Release-Digest": made.sha256, "Content-Disposition": f'attachment; filename="{number}.json"'}
            return made.body, {"Content-Type": "application/fhir+json", "Content-Length": str(len(made.body)), **named}

        held = service.held(database, keys, caller.actor, row, hospital=settings.hospital)
        return service.CopyAnswer(held, form, deliver, seconds=settings.gate_timeout)

    @router.post("/{number}/refuse")
    def refuse(number: Number, body: schemas.RefuseIn, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
        """Refuse, with the ground of law and reasons."""
        return whole(session, caller, service.refuse(session, keys, caller, number, ground=body.ground, text=body.text))

    @router.post("/{number}/correct")
    def correct(number: Number, body: schemas.CorrectIn, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
        """Say what its source put right; past recipients are told."""
        return whole(session, caller, service.note(session, keys, caller, number, text=body.text, references=body.references))

    @router.post("/{number}/correction", openapi_extra=BROUGHT)
    def stage(number: Number, body: Brought, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
        """Bring what is right, as the first of two people: one resource of the patient, or a Bundle of them."""
        return whole(session, caller, service.stage(session, keys, caller, number, body))

    @router.post("/{number}/correction/agree")
    def agree(number: Number, body: schemas.TextIn, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
        """It is right, as somebody else sees it: it is taken in, the patient is answered, past recipients are told."""
        return whole(session, caller, service.agree(session, keys, database, caller, number, text=body.text))

    @router.post("/{number}/correction/return")
    def send_back(number: Number, body: schemas.TextIn, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
        """It is not right, or whoever brought it takes it back."""
        return whole(session, caller, service.send_back(session, keys, caller, number, text=body.text))

    @router.post("/{number}/appeal")
    def appeal(number: Number, body: schemas.TextIn, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
        """The patient does not accept the answer, and says so at the desk."""
        row = service.look(session, caller, number)
        return whole(session, caller, service.appeal(session, keys, row, text=body.text, actor=caller.actor))

    @router.post("/{number}/withdraw")
    def withdraw(number: Number, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
        """The patient no longer asks, and says so at the desk."""
        return whole(session, caller, service.withdraw(session, keys, service.look(session, caller, number), actor=caller.actor))

    def worded(name: str, verb: Callable[..., PatientRequest], summary: str) -> None:
        def act(number: Number, body: schemas.TextIn, session: SessionDep, caller: Handler) -> schemas.RequestWhole:
            return whole(session, caller, verb(session, keys, caller, number, text=body.text))

        path = f"/{{number}}/{name}"
        router.add_api_route(path, act, methods=["POST"], response_model=schemas.RequestWhole, name=f"request-{name}", summary=summary)

    worded("identify", service.identify, "Who asks for the patient was made sure of.")
    worded("extend", service.extend, "More time, once, and why.")
    worded("fulfil", service.fulfil, "Do what was asked.")
    worded("order", service.order, "Propose the destruction that was asked for.")
    worded("uphold", service.uphold, "The answer stands, as somebody else sees it.")
    worded("lift", service.lift, "A restriction ends.")
    return router


def _listed(row: PatientRequest, estimated: bool) -> dict[str, object]:
    named = ("article", "late", "due_estimated", "order", "text", "asker", "answer", "actions", "grounds", "correction", "steps")
    fields = {name: getattr(row, name) for name in schemas.RequestOut.model_fields if name not in named}
    return {**fields, "article": ARTICLES[Kind(row.kind)], "late": service.is_late(row), "due_estimated": estimated, "order": row.order_number}


def _whole(session: Session, keys: Keys, caller: PersonCaller, row: PatientRequest) -> schemas.RequestWhole:
    handles = caller.may(Button.REQUEST_HANDLE)
    return schemas.RequestWhole.model_validate(
        {
            **_listed(row, service.estimated(session)(row)),
            "text": service.words_of(session, keys, caller, row, "text", row.text_sealed),
            "asker": service.asker_of(session, keys, caller, row),
            "answer": service.answer_of(session, keys, caller, row),
            "actions": [action.value for action in possible(State(row.status))] if handles else [],
            "grounds": [one.value for one in service.grounds(Kind(row.kind), By(row.by))] if handles else [],
            "correction": _staged(service.staged(session, keys, caller, row)),
            "steps": [
                schemas.StepOut(action=one.action, actor=one.actor, at=one.at, text=text) for one, text in service.steps(session, keys, caller, row)
            ],
        }
    )


def _staged(found: service.Staged | None) -> schemas.StagedOut | None:
    if found is None:
        return None
    resources = [
        schemas.CorrectedOut(reference=one.reference, kept=one.kept, changes=[schemas.ChangeOut(**vars(change)) for change in one.changes])
        for one in found.resources
    ]
    return schemas.StagedOut(by=found.actor, at=found.at, resources=resources)
