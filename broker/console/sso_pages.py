"""To the hospital's own login and back. The browser keeps a secret meanwhile, so that nobody comes back with an answer that another was given."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from broker.console import language, navigation
from broker.console.desk import Desk
from broker.console.door import remember
from broker.console.language import N_
from broker.console.pages import HEADERS, Pages, safe_path, to
from broker.database import SessionDep
from broker.edge import NotServed
from broker.identity import service as identity

UNREACHABLE = N_("The hospital login does not answer. Sign in with your password, or try again later.")
UNLINKED = N_("You signed in at the hospital, and no account here is linked to you. Ask your administrator.")
ROLES = N_("The roles that the hospital login gives you may not be held by one person. Ask your administrator.")
REFUSED = N_("The hospital login did not let you in here. Try again.")
_SAID = {"unlinked": UNLINKED, "roles": ROLES, "unreachable": UNREACHABLE}
#: Parameters of an answer that are read; each may stand once.
_READ = ("state", "code", "iss", "error")
_LONGEST = 4000


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The two steps: out and back."""
    router = APIRouter()
    settings = desk.settings
    provider = identity.provider(settings)
    mapping = identity.role_mapping(settings.sso_roles)
    secure = settings.base_url.startswith("https:")
    cookie = "__Host-broker-sso" if secure else "broker-sso"

    def refused(request: Request, reason: str) -> Response:
        problem = language.said(pages.language(request), _SAID.get(reason, REFUSED))
        answer = pages.show(request, "login.html", status=503 if reason == "unreachable" else 403, problem=problem, next="", username="", asked=None)
        answer.delete_cookie(cookie, path="/", secure=secure, httponly=True, samesite="lax")
        return answer

    @router.get("/console/sso")
    def out(request: Request, session: SessionDep) -> Response:
        if provider is None:
            raise NotServed
        try:
            leaving = identity.depart(session, desk.keys, provider, safe_path(request.query_params.get("next", "")))
        except identity.Unreachable:
            return refused(request, "unreachable")
        answer = RedirectResponse(leaving.url, 303, HEADERS)
        answer.set_cookie(cookie, leaving.browser, max_age=600, path="/", secure=secure, httponly=True, samesite="lax")
        return answer

    @router.get("/console/sso/callback")
    def back(request: Request) -> Response:
        if provider is None:
            raise NotServed
        pairs = [(name, value) for name, value in request.query_params.multi_items() if name in _READ]
        given = dict(pairs)
        whole = len(given) == len(pairs) and "state" in given and all(len(value) <= _LONGEST for value in given.values())
        with desk.database.transaction() as session:
            known = identity.attempt(session, given["state"], request.cookies.get(cookie, "")) if whole else None
            onward = None if known is None else known.onward
        said = identity.SsoRefused("state") if onward is None else identity.told(desk.keys, provider, given, onward)
        agent = identity.agent_of(request.headers.get("user-agent"))
        with desk.database.transaction() as session:
            opened = said if isinstance(said, identity.SsoRefused) else identity.arrive(session, settings, mapping, said, agent=agent)
            if isinstance(opened, identity.SsoRefused):
                identity.sso_refused(session, opened)
        if isinstance(opened, identity.SsoRefused):
            return refused(request, opened.reason)
        answer = remember(to(onward or navigation.start(opened.caller)), settings, opened.secret)
        answer.delete_cookie(cookie, path="/", secure=secure, httponly=True, samesite="lax")
        return answer

    return router
