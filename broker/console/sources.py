"""The hospitals' own FHIR servers from which records are pulled: how far each is, what is wrong, and asking for a round (decision 0027)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.console.afterwards import tried
from broker.console.desk import Desk
from broker.console.door import Posted, Visitor, require
from broker.console.language import N_
from broker.console.pages import Pages, to
from broker.database import SessionDep
from broker.errors import BrokerError
from broker.identity.access import Action
from broker.records import service as records
from broker.records.models import UpstreamServer

Reader = Annotated[Visitor, Depends(require(Action.REGISTRY_READ))]
Writer = Annotated[Visitor, Depends(require(Action.CLIENT_WRITE))]

#: Why a round failed, in words; what the rest have in common is said by OTHER, with the code for whoever looks after the server.
WRONG = {
    "upstream.unreachable": N_("It can't be reached. The next round tries again."),
    "upstream.broken-off": N_("It broke off in the middle. The next round goes on where this one was."),
    "upstream.slow": N_("It is too slow. The next round goes on where this one was."),
    "upstream.token": N_("It gave us no token. Its operators must look whether they know our key."),
    "upstream.no-key": N_("We have no key to sign in with. An operator creates one."),
    "upstream.other-host": N_("It sends us to a host that no operator has named."),
    "upstream.lost-most": N_("It no longer has most of what it had. It is not believed; its operators must look."),
}
OTHER = N_("It gave something that can't be read, or that was not asked for.")


def state_of(row: UpstreamServer) -> tuple[str, str]:
    """What is said of a server, and the tone of its badge."""
    if row.stale_after is not None and row.stale_after < clock.now():
        return N_("Too old: nothing of its patients is released"), "bad"
    if row.error:
        return N_("The last round failed"), "bad"
    if row.began_at is not None:
        return N_("A round is under way"), "waiting"
    return (N_("Up to date"), "good") if row.succeeded_at else (N_("Waits for its first round"), "waiting")


def build_router(_desk: Desk, pages: Pages) -> APIRouter:
    """The list, and asking for a round."""
    router = APIRouter()

    def show(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        found = [(row, *state_of(row), WRONG.get(row.error, OTHER) if row.error else "") for row in records.upstreams(session)]
        may_ask = who.caller.may(Action.CLIENT_WRITE)
        return pages.show(request, "sources.html", status=error.status if error else 200, error=error, found=found, may_ask=may_ask)

    @router.get("/console/sources")
    def sources(request: Request, who: Reader, session: SessionDep) -> Response:
        return show(request, who, session)

    @router.post("/console/sources/{name}/pull")
    def pull(request: Request, name: str, _form: Posted, who: Writer, session: SessionDep) -> Response:
        def act() -> None:
            records.ask_pull(session, who.caller.actor, name)

        return tried(session, act, lambda error: show(request, who, session, error), lambda: to("/console/sources", done="round-asked"))

    return router
