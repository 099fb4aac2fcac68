"""Terms of use that a head accepts for their organisation, before what was approved for it begins to live (RS-4, RS-5.3.3)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.applications import service as applications
from broker.console.desk import Desk
from broker.console.door import Posted, SignedIn, Visitor
from broker.console.pages import Pages, to
from broker.database import SessionDep
from broker.errors import BrokerError, Malformed
from broker.identity import service as identity
from broker.identity.access import Role


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """What is still to be accepted, and the acceptance."""
    router = APIRouter()

    def show(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        mine = sorted(place for role, place in who.caller.offices if role is Role.DEPARTMENT_HEAD)
        waiting = [(identity.organization(session, place), row) for place in mine for row in applications.outstanding(session, place)]
        return pages.show(
            request, "agreements.html", status=error.status if error else 200, error=error, waiting=waiting, chinese=pages.language(request) == "zh"
        )

    @router.get("/console/terms")
    def terms(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return show(request, who, session)

    @router.post("/console/terms")
    def accept(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        version = form.one("version")
        if not (version.isascii() and version.isdigit() and len(version) < 8):
            raise Malformed("There is no such version.")
        try:
            with session.begin_nested():
                applications.accept_terms(session, desk.keys, who.caller, form.one("agreement"), int(version), form.one("organization"))
        except BrokerError as error:
            return show(request, who, session, error)
        return to("/console/terms", done="accepted")

    return router
