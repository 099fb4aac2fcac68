"""What stands beside the applications: standing in, owners of data, terms of use, networks, and one step for many."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request

from broker import clock, edge
from broker.applications import service
from broker.applications.means import Means
from broker.applications.office_schemas import (
    AcceptanceOut,
    AcceptIn,
    AgreementIn,
    AgreementOut,
    AgreementsOut,
    BulkIn,
    BulkOut,
    DelegationIn,
    DelegationOut,
    DelegationsOut,
    NetworkIn,
    NetworkOut,
    NetworksOut,
    OneOut,
    OwnersIO,
)
from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity.access import Action, Person, PersonCaller, Role, require

OrganizationWriter = Annotated[PersonCaller, Depends(require(Action.ORGANIZATION_WRITE))]
Id = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


def build_router(means: Means) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1", tags=["applications"], dependencies=[STRICT])

    @router.post("/application-actions", response_model=BulkOut)
    def bulk(request: Request, body: BulkIn, session: SessionDep, caller: Person) -> BulkOut:
        """One step for many applications; each is taken or refused by itself."""
        chosen = [service.Chosen(one.ref, one.version) for one in body.applications]
        became = service.bulk(session, means, caller.person_id, body.action, chosen, body.said())
        spoken = edge.language(request)
        items = [
            OneOut(
                ref=one.ref,
                done=one.error is None,
                problem=None if one.error is None else {"code": one.error.code, "title": one.error.title(spoken), "help": one.error.help(spoken)},
            )
            for one in became
        ]
        done = sum(one.done for one in items)
        return BulkOut(done=done, refused=len(items) - done, items=items)

    @router.get("/delegations", response_model=DelegationsOut)
    def delegations(session: SessionDep, caller: Person) -> DelegationsOut:
        """Who stands in for you, and for whom you stand in."""
        return DelegationsOut(items=[DelegationOut.of(row) for row in service.delegations(session, caller)])

    @router.post("/delegations", status_code=201, response_model=DelegationOut)
    def delegate(body: DelegationIn, session: SessionDep, caller: Person) -> DelegationOut:
        """Let a colleague stand in for you, for a while."""
        row = service.delegate(
            session, caller, person=body.person or caller.person_id, to=body.to, role=Role(body.role), organization=body.organization,
            since=body.since or clock.now(), until=body.until,
        )  # fmt: skip
        return DelegationOut.of(row)

    @router.delete("/delegations/{delegation}", status_code=204)
    def end_delegation(delegation: UUID, session: SessionDep, caller: Person) -> None:
        """Take an office back at once."""
        service.end_delegation(session, caller, delegation)

    @router.get("/data-owners", response_model=OwnersIO)
    def owners(session: SessionDep, _caller: Person) -> OwnersIO:
        """Which department each data class belongs to, whose head agrees before such data leave."""
        return OwnersIO(owners=service.owned(session))

    @router.put("/data-owners", response_model=OwnersIO)
    def set_owners(body: OwnersIO, session: SessionDep, caller: OrganizationWriter) -> OwnersIO:
        """Say which department each data class belongs to; applications that are submitted from now on ask its head."""
        service.set_owners(session, means, caller.actor, body.owners)
        return OwnersIO(owners=service.owned(session))

    @router.get("/networks", response_model=NetworksOut)
    def networks(session: SessionDep, _caller: Person) -> NetworksOut:
        """Every network of organisations."""
        found = service.networks(session)
        return NetworksOut(items=[NetworkOut(id=row.id, name_zh=row.name_zh, name_en=row.name_en, members=members) for row, members in found])

    @router.put("/networks/{network}", response_model=NetworkOut)
    def set_network(network: Id, body: NetworkIn, session: SessionDep, caller: OrganizationWriter) -> NetworkOut:
        """Enter a network, or change its names and members."""
        row = service.set_network(session, caller.actor, id=network, name_zh=body.name_zh, name_en=body.name_en, members=body.members)
        return NetworkOut(id=row.id, name_zh=row.name_zh, name_en=row.name_en, members=sorted(set(body.members)))

    @router.get("/agreements", response_model=AgreementsOut)
    def agreements(session: SessionDep, _caller: Person) -> AgreementsOut:
        """The terms of use that bind now."""
        return AgreementsOut(items=[AgreementOut.of(row) for row in service.agreements(session)])

    @router.get("/agreements/{agreement}", response_model=AgreementsOut)
    def agreement(agreement: Id, session: SessionDep, _caller: Person) -> AgreementsOut:
        """Every version of terms of use, newest first."""
        return AgreementsOut(items=[AgreementOut.of(row) for row in service.agreement_versions(session, agreement)])

    @router.post("/agreements/{agreement}", status_code=201, response_model=AgreementOut)
    def publish(agreement: Id, body: AgreementIn, session: SessionDep, caller: OrganizationWriter) -> AgreementOut:
        """Publish terms of use, or their next version."""
        row = service.publish(
            session, caller, id=agreement, organization=body.organization, network=body.network, title=(body.title_zh, body.title_en),
            text=(body.text_zh, body.text_en),
        )  # fmt: skip
        return AgreementOut.of(row)

    @router.post("/agreements/{agreement}/{version}/acceptance", status_code=201, response_model=AcceptanceOut)
    def accept(
        agreement: Id, version: Annotated[int, Path(ge=1, le=1_000_000)], body: AcceptIn, session: SessionDep, caller: Person
    ) -> AcceptanceOut:
        """Accept the newest version for your organisation, as its head; grants that waited for it begin to live."""
        row = service.accept_terms(session, means.keys, caller, agreement, version, body.organization)
        return AcceptanceOut(agreement=row.agreement_id, version=row.version, organization=row.organization_id, at=row.at)

    return router
