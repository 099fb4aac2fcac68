"""Retention and destruction over HTTP, under ``/api/v1``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response
from sqlmodel import Session

from broker.crypto import Keys
from broker.database import Database, SessionDep
from broker.edge import STRICT
from broker.errors import Unavailable
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import Person, PersonCaller, require
from broker.printing import fonts_there
from broker.retention import schemas, service
from broker.retention.models import DestructionOrder
from broker.settings import Settings

Number = Annotated[str, Path(max_length=40, description="The number of the order (DO-YYYY-NNNNNN).")]
Orderer = Annotated[PersonCaller, Depends(require(Button.DESTRUCTION_ORDER))]


def build_router(*, settings: Settings, keys: Keys, database: Database, means: service.Means) -> APIRouter:
    """The routes. ``means``: what forgets words of other slices. ``database``: an approval is committed before its list is written."""
    router = APIRouter(prefix="/api/v1", tags=["retention"], dependencies=[STRICT])

    @router.get("/retention/schedule")
    def schedule(_caller: Person) -> list[schemas.LineOut]:
        """How long what is kept, on which basis, and why."""
        return [schemas.LineOut.model_validate(asdict(line)) for line in service.read_schedule()]

    @router.get("/retention/holds")
    def holds(session: SessionDep, caller: Orderer) -> list[schemas.HoldOut]:
        """What stands in the way of destruction."""
        return [schemas.HoldOut(**{name: getattr(row, name) for name in schemas.HoldOut.model_fields}) for row in service.holds(session, caller)]

    @router.post("/retention/holds", status_code=201)
    def hold(body: schemas.HoldIn, session: SessionDep, caller: Orderer) -> schemas.HoldOut:
        """Keep a patient's data from being destroyed."""
        row = service.hold(session, keys, caller, patient=body.patient, kind=body.kind, reason=body.reason)
        return schemas.HoldOut(**{name: getattr(row, name) for name in schemas.HoldOut.model_fields})

    @router.post("/retention/holds/{hold_id}/release", status_code=204)
    def release_hold(hold_id: UUID, session: SessionDep, caller: Orderer) -> None:
        """Let go of a hold."""
        service.release_hold(session, caller, hold_id)

    @router.get("/destruction-orders")
    def many(session: SessionDep, caller: Person) -> list[schemas.OrderOut]:
        """Destruction orders, newest first."""
        return [_shown(session, keys, row) for row in service.many(session, caller)]

    @router.post("/destruction-orders", status_code=201)
    def propose(body: schemas.OrderIn, session: SessionDep, caller: Orderer) -> schemas.OrderOut:
        """Propose a destruction, as the first of two."""
        row = service.propose(
            session,
            keys,
            actor=caller.actor,
            natural_person=caller.natural_person,
            kind=body.kind,
            reason=body.reason,
            method=body.method,
            patients=service.patient_keys(session, keys, body.patients),
            what=body.what,
        )
        return _shown(session, keys, row)

    @router.post("/destruction-orders/{number}/approve")
    def approve(number: Number, caller: Orderer) -> schemas.OrderOut:
        """Approve it; the second approval carries it out, for good. Answered when it stands in the list outside the database."""
        with database.transaction() as session:
            shown = _shown(session, keys, service.approve(session, keys, means, caller, number))
        with database.transaction() as session:
            service.publish(session, keys, settings)
        return shown

    @router.post("/destruction-orders/{number}/cancel")
    def cancel(number: Number, session: SessionDep, caller: Orderer) -> schemas.OrderOut:
        """Take it back."""
        return _shown(session, keys, service.cancel(session, caller, number))

    @router.get("/destruction-orders/{number}/certificate")
    def certificate(number: Number, session: SessionDep, caller: Person) -> dict[str, Any]:
        """What was destroyed, when, how, by whom, with the log's proof."""
        return service.certificate(session, keys, caller, number)

    @router.get("/destruction-orders/{number}/certificate.pdf", response_class=Response, responses={200: {"content": {"application/pdf": {}}}})
    def printed(number: Number, session: SessionDep, caller: Person, language: Literal["zh", "en"] = "zh") -> Response:
        """The same on paper: PDF/A."""
        if not fonts_there():
            raise Unavailable("No font with Chinese is installed.")
        said = service.certificate(session, keys, caller, number)
        own = identity.organization(session, settings.hospital)
        made = service.certificate_pdf(
            said,
            language,
            hospital=own.name_zh if language == "zh" else own.name_en,
            zone=settings.time_zone,
            people=service.approvers(session, said),
        )
        headers = {"Content-Disposition": f'attachment; filename="{number}.{language}.pdf"'}
        return Response(made, media_type="application/pdf", headers=headers)

    return router


def _shown(session: Session, keys: Keys, row: DestructionOrder) -> schemas.OrderOut:
    return schemas.OrderOut(
        **{name: getattr(row, name) for name in schemas.OrderOut.model_fields if name not in ("patients", "what", "approvals")},
        patients=len(service.items(session, row)),
        what=service.what_of(keys, row),
        approvals=[{"actor": one["actor"], "at": one["at"]} for one in row.approvals],
    )
