"""The registers over HTTP: qualifications, training, what each step demands, and one's own certificates."""

from __future__ import annotations

from datetime import tzinfo
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query, Request

from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity.access import Action, Person, PersonCaller, require
from broker.settings import Settings
from broker.workforce import imports, service
from broker.workforce.codes import CODES, Register, Step
from broker.workforce.entering import day_end
from broker.workforce.schemas import (
    CredentialOut,
    CredentialsOut,
    Day,
    DemandIn,
    DemandsOut,
    ImportOut,
    QualificationIn,
    StatusIn,
    TrainingIn,
)

Reader = Annotated[PersonCaller, Depends(require(Action.WORKFORCE_READ))]
Writer = Annotated[PersonCaller, Depends(require(Action.WORKFORCE_WRITE))]
Table = Annotated[bytes, Body(media_type="text/csv", description="CSV in UTF-8 or GB18030 with a heading.")]
Code = Annotated[str | None, Query(max_length=64)]


def _zone(request: Request) -> tzinfo:
    """Whose days the last days of certificates are."""
    settings: Settings = request.app.state.settings
    return settings.zone


def build_router() -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1", tags=["workforce"], dependencies=[STRICT])
    _register(router, Register.QUALIFICATION, "qualifications")
    _register(router, Register.TRAINING, "training")

    @router.post("/qualifications", status_code=201, response_model=CredentialOut)
    def add_qualification(request: Request, body: QualificationIn, session: SessionDep, caller: Writer) -> CredentialOut:
        """Enter a licence of a person or an institution."""
        row, _ = service.add(
            session, caller.actor, Register.QUALIFICATION, person=body.person, organization=body.organization, code=body.code, number=body.number,
            issued_on=body.issued_on, zone=_zone(request), valid_until=body.valid_until, scope=body.scope, issuer=body.issuer,
        )  # fmt: skip
        return CredentialOut.of(row)

    @router.post("/training", status_code=201, response_model=CredentialOut)
    def add_training(request: Request, body: TrainingIn, session: SessionDep, caller: Writer) -> CredentialOut:
        """Enter a training that somebody passed."""
        row, _ = service.add(
            session, caller.actor, Register.TRAINING, person=body.person, code=body.code, number=body.number, issued_on=body.issued_on,
            zone=_zone(request), valid_until=body.valid_until, issuer=body.issuer,
        )  # fmt: skip
        return CredentialOut.of(row)

    @router.get("/me/credentials", response_model=CredentialsOut)
    def own(session: SessionDep, caller: Person) -> CredentialsOut:
        """Your own licences and training, under any of your accounts."""
        return CredentialsOut(items=[CredentialOut.of(row) for row in service.of_caller(session, caller.natural_person)])

    @router.get("/workforce/demands", response_model=DemandsOut)
    def demands(session: SessionDep, _caller: Person) -> DemandsOut:
        """What each step demands: of who applies, endorses and decides, and of the institution that receives."""
        found = {step: list(codes) for step, codes in service.demands(session).items()}
        return DemandsOut(demands=found, codes={code: {"en": en, "zh": zh} for code, (en, zh) in CODES.items()})

    @router.put("/workforce/demands/{step}", response_model=DemandsOut)
    def set_demands(step: Step, body: DemandIn, session: SessionDep, caller: Writer) -> DemandsOut:
        """Say what a step demands from now on."""
        service.set_demands(session, caller.actor, step, body.codes)
        return demands(session, caller)

    return router


def _register(router: APIRouter, register: Register, name: str) -> None:
    """What both books have alike."""

    def many(
        request: Request,
        session: SessionDep,
        _caller: Reader,
        person: UUID | None = None,
        organization: Annotated[str | None, Query(max_length=64)] = None,
        code: Code = None,
        ends_before: Day | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> CredentialsOut:
        """The entries, those that end first before the others."""
        until = None if ends_before is None else day_end(ends_before, _zone(request))
        rows = service.many(session, register, person=person, organization=organization, code=code, ends_before=until, limit=limit + 1, offset=offset)
        following = offset + limit if len(rows) > limit else None
        return CredentialsOut(items=[CredentialOut.of(row) for row in rows[:limit]], next=following)

    def change(credential: UUID, body: StatusIn, session: SessionDep, caller: Writer) -> CredentialOut:
        """Suspend, withdraw or restore an entry."""
        return CredentialOut.of(service.change(session, caller.actor, register, credential, body.status))

    def read(request: Request, content: Table, session: SessionDep, caller: Writer, dry_run: bool = False) -> ImportOut:
        """Enter the lines of a CSV file; each bad line is named with what is wrong, the good ones go in."""
        return ImportOut.of(imports.read(session, caller.actor, register, content, zone=_zone(request), dry_run=dry_run))

    router.add_api_route(f"/{name}", many, methods=["GET"], response_model=CredentialsOut, name=f"list {name}")
    router.add_api_route(f"/{name}/import", read, methods=["POST"], response_model=ImportOut, name=f"import {name}")
    router.add_api_route(f"/{name}/{{credential}}", change, methods=["PATCH"], response_model=CredentialOut, name=f"change {name}")
