"""The register of transfer routes over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity.access import Action, PersonCaller, require
from broker.transfers import service
from broker.transfers.schemas import RouteIn, RouteOut, RoutesOut

Reader = Annotated[PersonCaller, Depends(require(Action.REGISTRY_READ))]
Writer = Annotated[PersonCaller, Depends(require(Action.ORGANIZATION_WRITE))]


def build_router() -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1/transfer-routes", tags=["transfers"], dependencies=[STRICT])

    @router.get("", response_model=RoutesOut)
    def many(
        session: SessionDep,
        _caller: Reader,
        recipient: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> RoutesOut:
        """The routes by which data may leave the mainland, the newest entry first."""
        rows = service.many(session, recipient=recipient, limit=limit + 1, offset=offset)
        return RoutesOut(items=[RouteOut.of(row) for row in rows[:limit]], next=offset + limit if len(rows) > limit else None)

    @router.post("", status_code=201, response_model=RouteOut)
    def propose(body: RouteIn, session: SessionDep, caller: Writer) -> RouteOut:
        """Enter a route; it counts once a second person has confirmed it."""
        return RouteOut.of(service.propose(session, caller.actor, caller.natural_person, body.proposal()))

    @router.post("/{route}/confirm", response_model=RouteOut)
    def confirm(route: UUID, session: SessionDep, caller: Writer) -> RouteOut:
        """Let a route count that somebody else entered."""
        return RouteOut.of(service.confirm(session, caller.actor, caller.natural_person, route))

    @router.post("/{route}/end", response_model=RouteOut)
    def end(route: UUID, session: SessionDep, caller: Writer) -> RouteOut:
        """Let a route count no more. Releases that would go by it are refused from now on."""
        return RouteOut.of(service.end(session, caller.actor, route))

    return router
