"""Notifications over HTTP: one's inbox, and where else it arrives."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request

from broker import edge
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity import service as identity
from broker.identity.access import Action, Person, PersonCaller, require
from broker.notifications import service
from broker.notifications.schemas import ChannelIn, ChannelOut, ChannelsOut, InboxOut, NotificationOut, ReadOut
from broker.settings import Settings

OrganizationWriter = Annotated[PersonCaller, Depends(require(Action.ORGANIZATION_WRITE))]
ClientWriter = Annotated[PersonCaller, Depends(require(Action.CLIENT_WRITE))]
Id = Annotated[str, Path(max_length=128)]


def build_router(*, keys: Keys, settings: Settings) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1", tags=["notifications"], dependencies=[STRICT])

    @router.get("/notifications", response_model=InboxOut)
    def inbox(
        request: Request,
        session: SessionDep,
        caller: Person,
        unread: bool = False,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        after: UUID | None = None,
    ) -> InboxOut:
        """What you and your organisation were told, newest first."""
        rows = service.inbox(session, caller, unread_only=unread, limit=limit + 1, after=after)
        spoken = edge.language(request)
        items = []
        for row in rows[:limit]:
            subject, text, link = service.said(row.kind, row.facts, spoken, request.app.state.settings.time_zone)
            items.append(
                NotificationOut(
                    id=row.id, recipient=row.recipient, kind=row.kind, subject=subject, text=text, link=link,
                    facts=row.facts, at=row.at, read_at=row.read_at,
                )
            )  # fmt: skip
        return InboxOut(unread=service.unread(session, caller), items=items, next=items[-1].id if len(rows) > limit else None)

    @router.post("/notifications/read", response_model=ReadOut)
    def read_all(session: SessionDep, caller: Person) -> ReadOut:
        """Mark everything as read."""
        return ReadOut(read=service.mark_read(session, caller))

    @router.post("/notifications/{notification}/read", response_model=ReadOut)
    def read(notification: UUID, session: SessionDep, caller: Person) -> ReadOut:
        """Mark one as read."""
        return ReadOut(read=service.mark_read(session, caller, notification))

    def listed(session: SessionDep, recipient: str) -> ChannelsOut:
        return ChannelsOut(items=[ChannelOut(**vars(one)) for one in service.channels(session, keys, recipient)])

    def added(session: SessionDep, caller: PersonCaller, recipient: str, body: ChannelIn) -> ChannelOut:
        made = service.add_channel(session, keys, settings, caller.actor, recipient=recipient, way=body.way, address=body.address)
        return ChannelOut(**vars(made))

    @router.get("/me/channels", response_model=ChannelsOut)
    def own_channels(session: SessionDep, caller: Person) -> ChannelsOut:
        """Where your notifications arrive besides here."""
        return listed(session, caller.actor)

    @router.post("/me/channels", status_code=201, response_model=ChannelOut)
    def add_own_channel(body: ChannelIn, session: SessionDep, caller: Person) -> ChannelOut:
        """Let your notifications also arrive by mail or at a webhook."""
        return added(session, caller, caller.actor, body)

    @router.delete("/me/channels/{channel}", status_code=204)
    def remove_own_channel(channel: UUID, session: SessionDep, caller: Person) -> None:
        """Stop sending there."""
        service.remove_channel(session, caller.actor, recipient=caller.actor, channel=channel)

    @router.get("/organizations/{organization_id}/channels", response_model=ChannelsOut)
    def organization_channels(organization_id: Id, session: SessionDep, _caller: OrganizationWriter) -> ChannelsOut:
        """Where an organisation's notifications arrive."""
        return listed(session, f"organization:{identity.organization(session, organization_id).id}")

    @router.post("/organizations/{organization_id}/channels", status_code=201, response_model=ChannelOut)
    def add_organization_channel(organization_id: Id, body: ChannelIn, session: SessionDep, caller: OrganizationWriter) -> ChannelOut:
        """Let an organisation's notifications arrive by mail or at a webhook."""
        return added(session, caller, f"organization:{identity.organization(session, organization_id).id}", body)

    @router.delete("/organizations/{organization_id}/channels/{channel}", status_code=204)
    def remove_organization_channel(organization_id: Id, channel: UUID, session: SessionDep, caller: OrganizationWriter) -> None:
        """Stop sending there."""
        found = identity.organization(session, organization_id).id
        service.remove_channel(session, caller.actor, recipient=f"organization:{found}", channel=channel)

    @router.get("/clients/{client_id}/channels", response_model=ChannelsOut)
    def client_channels(client_id: Id, session: SessionDep, _caller: ClientWriter) -> ChannelsOut:
        """Where a client's notifications arrive."""
        return listed(session, f"client:{identity.client(session, client_id).id}")

    @router.post("/clients/{client_id}/channels", status_code=201, response_model=ChannelOut)
    def add_client_channel(client_id: Id, body: ChannelIn, session: SessionDep, caller: ClientWriter) -> ChannelOut:
        """Let a client's notifications arrive by mail or at a webhook."""
        return added(session, caller, f"client:{identity.client(session, client_id).id}", body)

    @router.delete("/clients/{client_id}/channels/{channel}", status_code=204)
    def remove_client_channel(client_id: Id, channel: UUID, session: SessionDep, caller: ClientWriter) -> None:
        """Stop sending there."""
        service.remove_channel(session, caller.actor, recipient=f"client:{identity.client(session, client_id).id}", channel=channel)

    return router
