"""Remote consultations over HTTP, under ``/api/v1/consultations``: each route names its verb and decides nothing."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlmodel import Session

from broker.crypto import Keys
from broker.database import Database, SessionDep
from broker.edge import FHIR_JSON, STRICT
from broker.fhir.parse import read_json
from broker.identity.access import Person, PersonCaller
from broker.settings import Settings
from broker.telemedicine import schemas, service
from broker.telemedicine.models import Consultation

Number = Annotated[str, Path(max_length=40, description="The number of the consultation (TC-YYYY-NNNNNN).")]
Limit = Annotated[int, Query(ge=1, le=500)]


async def _body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_body)]

_RECORDS = {
    "requestBody": {
        "required": True,
        "content": {
            FHIR_JSON: {
                "schema": {
                    "type": "object",
                    "required": ["resourceType", "entry"],
                    "properties": {"resourceType": {"type": "string", "const": "Bundle"}, "entry": {"type": "array", "items": {"type": "object"}}},
                }
            }
        },
    }
}


def build_router(*, settings: Settings, keys: Keys, database: Database) -> APIRouter:
    """The routes. ``database``: where records of a consultation are stored, in a transaction of their own."""
    router = APIRouter(prefix="/api/v1/consultations", tags=["telemedicine"], dependencies=[STRICT])

    def whole(session: Session, caller: PersonCaller, row: Consultation) -> schemas.ConsultationWhole:
        words = service.notes(session, keys, caller, row)
        taken = [
            schemas.StepOut(step=service.Step(one.step), at=one.at, person=one.person_id, facts=one.facts, note=words.get(one.id))
            for one in service.steps(session, row)
        ]
        return schemas.ConsultationWhole(**_listed(row), steps=taken, possible=list(service.possible_steps(caller, row)))

    @router.post("", status_code=201, response_model=schemas.ConsultationWhole)
    def book(body: schemas.BookingIn, session: SessionDep, caller: Person) -> schemas.ConsultationWhole:
        """Book a consultation under an approved application of yours; from now on its data are open during the consultation only."""
        row = service.book(
            session, keys, caller, application=body.application, consultant=body.consultant, starts_at=body.starts_at, ends_at=body.ends_at,
            note=body.note,
        )  # fmt: skip
        return whole(session, caller, row)

    @router.get("")
    def many(session: SessionDep, caller: Person, limit: Limit = 100) -> list[schemas.ConsultationOut]:
        """Consultations that you take part in, or may look at."""
        return [schemas.ConsultationOut(**_listed(row)) for row in service.many(session, caller, limit=limit)]

    @router.get("/{number}")
    def one(number: Number, session: SessionDep, caller: Person) -> schemas.ConsultationWhole:
        """One consultation with its steps."""
        return whole(session, caller, service.look(session, caller, number))

    @router.get("/{number}/fhir", response_class=Response, responses={200: {"content": {FHIR_JSON: {"schema": {"type": "object"}}}}})
    def fhir(number: Number, session: SessionDep, caller: Person) -> Response:
        """The same as FHIR R4: Appointment, Encounter and Provenance."""
        return Response(service.as_fhir(session, keys, service.look(session, caller, number)), media_type=FHIR_JSON)

    @router.post("/{number}/confirm")
    def confirm(number: Number, body: schemas.NoteIn, session: SessionDep, caller: Person) -> schemas.ConsultationWhole:
        """You will be there, as the consultant."""
        return whole(session, caller, service.confirm(session, keys, caller, number, note=body.note))

    @router.post("/{number}/identify")
    def identify(number: Number, body: schemas.IdentityIn, session: SessionDep, caller: Person) -> schemas.ConsultationWhole:
        """Record how the patient's identity was checked."""
        return whole(session, caller, service.identify(session, keys, caller, number, body.method, note=body.note))

    @router.post("/{number}/open")
    def open_(number: Number, session: SessionDep, caller: Person) -> schemas.ConsultationWhole:
        """Begin. Your licence and training are looked up; data are open until you close, at most until the appointed end."""
        return whole(session, caller, service.open_(session, keys, caller, number))

    @router.post("/{number}/records", openapi_extra=_RECORDS)
    def receive(number: Number, session: SessionDep, caller: Person, sent: Body) -> schemas.RecordsOut:
        """Send what was recorded (a FHIR R4 Bundle) into the patient's record."""
        body = read_json(sent, max_bytes=settings.max_body_bytes, max_depth=settings.max_json_depth)
        row, taken = service.receive(session, keys, database, caller, number, body)
        return schemas.RecordsOut(number=row.number, taken=taken)

    @router.post("/{number}/close")
    def close(number: Number, body: schemas.ClosingIn, session: SessionDep, caller: Person) -> schemas.ConsultationWhole:
        """End it. After the answer nothing leaves any more."""
        return whole(session, caller, service.close(session, keys, caller, number, follow_up_due=body.follow_up_due, note=body.note))

    @router.post("/{number}/follow-up")
    def follow_up(number: Number, body: schemas.NoteIn, session: SessionDep, caller: Person) -> schemas.ConsultationWhole:
        """The patient was followed up."""
        return whole(session, caller, service.follow_up(session, keys, caller, number, note=body.note))

    @router.post("/{number}/cancel")
    def cancel(number: Number, body: schemas.NoteIn, session: SessionDep, caller: Person) -> schemas.ConsultationWhole:
        """It will not take place."""
        return whole(session, caller, service.cancel(session, keys, caller, number, note=body.note))

    return router


def _listed(row: Consultation) -> dict[str, object]:
    same = ("number", "application", "starts_at", "ends_at", "identified_by", "opened_at", "closed_at", "follow_up_due")
    return {
        **{name: getattr(row, name) for name in same},
        "status": service.state(row), "booker": row.booker_id, "consultant": row.consultant_id,
    }  # fmt: skip
