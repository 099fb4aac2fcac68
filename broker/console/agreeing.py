"""A system asks to fetch for the person who sits here: what it asks, and yes or no (RFC 6749 4.1.1; RS-6.2.1).

``/oauth2/authorize`` leads here with the parameters as they came. Nothing of them is believed: each page and each answer judges them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from sqlmodel import Session

from broker.applications.service import GrantRegister
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.pages import HEADERS, POLICY, Pages, text
from broker.database import SessionDep
from broker.errors import Malformed
from broker.identity import service as identity
from broker.identity.access import Action

PAGE = "/console/authorize"
#: What is asked again with the answer; a parameter that isn't ours is of no use to anybody.
ASKED = (
    "response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "aud", "response_mode", "request",
    "request_uri",
)  # fmt: skip
MAX_FIELDS = 32

Agreer = Annotated[Visitor, Depends(require(Action.APPLICATION_WRITE))]


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page, and its answer."""
    router = APIRouter()
    grants = GrantRegister(desk.keys, desk.catalogue.types_of)

    def judged(
        request: Request, who: Visitor, session: Session, given: Mapping[str, str]
    ) -> tuple[identity.AuthorizationServer, identity.CodeGrant] | Response:
        """What is asked; or the way back to the system with what was wrong, or a page where it may not hear of it."""
        server = identity.authorization_server(session, desk.settings, desk.keys, grants)
        found = identity.asked_of_person(server, given, who.caller)
        if isinstance(found, identity.CodeGrant):
            return server, found
        back = identity.sent_back(server, found)
        if back is not None:
            return RedirectResponse(back, 303, HEADERS)
        return pages.show(request, "authorize.html", status=400, asked=None)

    @router.get(PAGE)
    def page(request: Request, who: Agreer, session: SessionDep) -> Response:
        given = _given(request)
        found = judged(request, who, session, given)
        if isinstance(found, Response):
            return found
        _, grant = found
        spoken, client = pages.language(request), grant.request.client
        known = [one for number in grant.choices if (one := grants.grant_of_application(session, number, client.organization_id)) is not None]
        answer = pages.show(
            request, "authorize.html", asked=client, given=given, place=client.organization_name, where=_origin(given["redirect_uri"]),
            choices=[
                (one.application, text(desk.purposes.get(one.purpose), spoken), _last_day(one.valid_until, desk.settings.zone)) for one in known
            ],
        )  # fmt: skip
        # Browsers hold a form to its policy after a redirect too, and the answer leads to the system.
        answer.headers["Content-Security-Policy"] = POLICY.replace("form-action 'self'", f"form-action 'self' {_origin(given['redirect_uri'])}")
        return answer

    @router.post(PAGE)
    def decide(request: Request, form: Posted, who: Agreer, session: SessionDep) -> Response:
        given = {name: form.one(name) for name in ASKED if form.one(name)}
        found = judged(request, who, session, given)
        if isinstance(found, Response):
            return found
        server, grant = found
        if not _said_yes(form):
            return RedirectResponse(identity.person_denied(server, grant), 303, HEADERS)
        if not grant.choose(form.one("application")):
            return pages.show(request, "authorize.html", status=400, asked=None)
        return RedirectResponse(identity.person_agreed(server, grant), 303, HEADERS)

    return router


def _last_day(until: datetime, zone: tzinfo) -> date:
    """The day with which something ends whose first moment after it is given."""
    return (until - timedelta(microseconds=1)).astimezone(zone).date()


def _said_yes(form: Form) -> bool:
    return form.one("answer") == "yes"


def _given(request: Request) -> dict[str, str]:
    """The parameters of the address. Raises Malformed where one stands twice (RFC 6749 3.1) or they can't be read."""
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Malformed("The address can't be read.") from None
    found: dict[str, Any] = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("A parameter is given more than once.")
    return {name: value for name, value in found.items() if name in ASKED and value}


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
