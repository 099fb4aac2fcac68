"""Where notifications arrive besides the inbox: by mail, and at a webhook; one's own and, for who keeps the registers, an organisation's."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import pickers
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_, said
from broker.console.pages import Pages, to
from broker.console.tables import Ask, Filter
from broker.database import SessionDep
from broker.errors import BrokerError, Forbidden, Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action
from broker.notifications import service as notifications
from broker.notifications.models import Way

LONGEST = 2000


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page, adding and removing."""
    router = APIRouter()

    def whose(request: Request, session: Session) -> tuple[Filter, str]:
        """Whose messages may be looked at, and whose are."""
        spoken = pages.language(request)
        return pickers.organizations(session, spoken, identity.ANY).filter(Ask.of(request), "organization", said(spoken, N_("Whose messages")))

    def show(
        request: Request, who: Visitor, session: Session, organization: str, error: BrokerError | None = None, secret: str | None = None
    ) -> Response:
        recipient = _recipient(session, who, organization)
        places, _ = whose(request, session)
        return pages.show(
            request, "channels.html", status=error.status if error else 200, error=error, organization=organization,
            rows=notifications.channels(session, desk.keys, recipient),
            places=places if who.caller.may(Action.ORGANIZATION_WRITE) else None, secret=secret,
            mail=desk.settings.smtp_host is not None,
        )  # fmt: skip

    @router.get("/console/channels")
    def page(request: Request, who: SignedIn, session: SessionDep) -> Response:
        _, chosen = whose(request, session)
        return show(request, who, session, "" if chosen == pickers.NOBODY else chosen)

    @router.post("/console/channels")
    def add(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        place = form.one("organization")
        try:
            with session.begin_nested():
                recipient = _recipient(session, who, place)
                way, address = _given(form)
                made = notifications.add_channel(session, desk.keys, desk.settings, who.caller.actor, recipient=recipient, way=way, address=address)
        except BrokerError as error:
            return show(request, who, session, "" if isinstance(error, Forbidden) else place, error)
        if made.secret:
            return show(request, who, session, place, secret=made.secret)  # Told once, on this page alone.
        return to("/console/channels" + (f"?organization={place}" if place else ""), done="saved")

    @router.post("/console/channels/{channel}/remove")
    def remove(channel: UUID, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        place = form.one("organization")
        notifications.remove_channel(session, who.caller.actor, recipient=_recipient(session, who, place), channel=channel)
        return to("/console/channels" + (f"?organization={place}" if place else ""), done="saved")

    return router


def _recipient(session: Session, who: Visitor, organization: str) -> str:
    """Whose channels: one's own, or an organisation's. Raises Forbidden, UnknownOrganization."""
    if not organization:
        return who.caller.actor
    if not who.caller.may(Action.ORGANIZATION_WRITE):
        raise Forbidden
    return f"organization:{identity.organization(session, organization).id}"


def _given(form: Form) -> tuple[Way, str]:
    address = form.one("address")
    if form.one("way") not in [one.value for one in Way]:
        raise Invalid(problems=(Problem("/way", "unknown", "There is no such choice."),))
    if not 3 <= len(address) <= LONGEST:
        raise Invalid(problems=(Problem("/address", "required", "This must be filled in."),))
    return Way(form.one("way")), address
