"""What an administrator does for somebody's login: end their sessions, a link for a new password, lost second factors, the hospital's login."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console.desk import Desk
from broker.console.door import Posted, SignedIn, Visitor
from broker.console.pages import Pages, to
from broker.console.security import KINDS, METHODS
from broker.database import SessionDep
from broker.errors import Forbidden, Malformed
from broker.identity import service as identity
from broker.identity.access import Action


def login_of(session: Session, who: Visitor, person_id: UUID, issuer: str | None) -> dict[str, Any]:
    """What the page of a person says of their login, and who may change it."""
    asked = identity.factor_reset(session, person_id)
    other = person_id != who.caller.person_id
    return {
        "factors": identity.factors(session, person_id),
        "kinds": KINDS,
        "methods": METHODS,
        "sessions": identity.sessions_of(session, person_id),
        "asked": None if asked is None else identity.person(session, asked.asked_by),
        "may_agree": other and _may_reset(who) and (asked is None or asked.asked_by != who.caller.person_id),
        "links": identity.links(session, person_id),
        "issuer": issuer,
        "may_login": other and who.caller.may(Action.PERSON_WRITE),
    }


def _may_reset(who: Visitor) -> bool:
    return who.caller.may(Action.PERSON_WRITE) or who.caller.may(Action.APPLICATION_DECIDE)


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """One form with several buttons, each a verb."""
    router = APIRouter()
    settings = desk.settings

    @router.post("/console/people/{person_id}/security")
    def change(request: Request, person_id: UUID, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        caller = who.caller
        resetting = form.has("reset_factors") or form.has("keep_factors")
        if not (_may_reset(who) if resetting else caller.may(Action.PERSON_WRITE)):
            raise Forbidden
        identity.stepped_up(settings, caller)
        back = f"/console/people/{person_id}"
        if form.has("end_sessions"):
            identity.end_sessions(session, caller.actor, identity.person(session, person_id).id)
        elif form.has("password_link"):
            made = identity.make_password_link(session, caller, person_id)
            url = f"{settings.base_url}/console/password/{made.secret}"
            return pages.show(request, "person_link.html", it=identity.person(session, person_id), url=url, until=made.expires_at)
        elif form.has("reset_factors"):
            identity.reset_factors(session, caller, person_id)
        elif form.has("keep_factors"):
            identity.keep_factors(session, caller, person_id)
        elif form.has("link") and settings.sso_issuer is not None:
            identity.link(session, caller, person_id, settings.sso_issuer, form.one("subject"))
        elif form.has("unlink") and settings.sso_issuer is not None:
            identity.unlink(session, caller, person_id, settings.sso_issuer, form.one("unlink"))
        else:
            raise Malformed("There is no such button.")
        return to(back, done="saved")

    return router
