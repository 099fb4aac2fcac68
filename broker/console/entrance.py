"""The way in and out: login page, sign out, language, static files, where somebody begins; and errors as pages."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from broker.console import language, navigation
from broker.console.desk import Desk
from broker.console.door import Arriving, PostedOnArrival, Sent, SignedIn, cookie_name, device_name, remember
from broker.console.errors import PatientSignInFirst, SignInFirst
from broker.console.language import N_
from broker.console.pages import Pages, safe_path, static, to
from broker.database import SessionDep
from broker.edge import NotServed
from broker.errors import BrokerError
from broker.identity import service as identity
from broker.identity.errors import EnrolFirst, PasswordFirst, SecondFactorFirst, StepUpFirst

WRONG = N_("The user name or the password is wrong.")
LOCKED = N_("Too many failed attempts. Wait %(seconds)s seconds, then try again.")

#: A browser is known for half a year after somebody signed in with it.
DEVICE_SECONDS = 180 * 86_400
#: Addresses of pages are this deep; those of what their forms do are one step deeper.
_DEPTH = 3

Next = Annotated[str, Query(max_length=2000)]


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The routes that need nobody signed in, and those that everybody has."""
    router = APIRouter()
    settings = desk.settings
    secure = settings.base_url.startswith("https:")
    at = identity.place(settings)

    @router.get("/console")
    @router.get("/console/")
    def begin(who: SignedIn) -> Response:
        """Everybody begins at their own work."""
        return to(navigation.start(who.caller))

    @router.get("/console/static/{version}/{name}")
    def static_file(version: str, name: str) -> Response:
        found = static(name)
        if found is None or version != pages.version:
            raise NotServed
        return Response(found[0], media_type=found[1], headers={"Cache-Control": "public, max-age=31536000, immutable"})

    def door_page(request: Request, *, onward: str, problem: str = "", status: int = 200) -> Response:
        asked = None
        if at is not None:
            with desk.database.transaction() as session:
                asked = identity.ask_key(session, at, None)
        return pages.show(request, "login.html", status=status, problem=problem, next=onward, username="", asked=asked)

    @router.get("/console/login")
    def login_page(request: Request, next: Next = "") -> Response:  # noqa: A002  (The name in the address.)
        return door_page(request, onward=safe_path(next))

    @router.post("/console/login")
    def login(request: Request, form: Sent) -> Response:
        username, onward = form.one("username"), safe_path(form.one("next"))
        agent, device = identity.agent_of(request.headers.get("user-agent")), request.cookies.get(device_name(settings), "")
        opened = identity.sign_in(
            desk.database, desk.keys, username, form.one("password"), agent=agent, device=device, limits=identity.limits_of(desk.settings)
        )
        if isinstance(opened, identity.LoginRefused):
            spoken = pages.language(request)
            problem = language.said(spoken, WRONG)
            if opened.retry_after is not None:
                problem = language.said(spoken, LOCKED) % {"seconds": opened.retry_after}
            return door_page(request, onward=onward, problem=problem, status=401 if opened.retry_after is None else 429)
        answer = remember(to(onward or navigation.start(opened.caller)), settings, opened.secret)
        mark = identity.device_mark(desk.keys, username)
        answer.set_cookie(device_name(settings), mark, max_age=DEVICE_SECONDS, path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    @router.post("/console/logout")
    def logout(form: PostedOnArrival, who: Arriving, session: SessionDep) -> Response:
        del form
        identity.close_session(session, who.secret)
        answer = to("/console/login", done="signed-out")
        answer.delete_cookie(cookie_name(settings), path="/", secure=secure, httponly=True, samesite="lax")
        return answer

    @router.post("/console/language")
    def switch(form: Sent) -> Response:
        answer = to(safe_path(form.one("next")) or "/console/")
        if form.one("language") in language.LANGUAGES:
            answer.set_cookie(
                language.COOKIE, form.one("language"), max_age=31_536_000, path="/console", secure=secure, httponly=True, samesite="lax"
            )
        return answer

    # Whatever else is under /console has an error page, for those who are signed in and for nobody else.
    @router.get("/console/{rest:path}")
    def nothing(rest: str, who: SignedIn) -> Response:
        del rest, who
        raise NotServed

    return router


def _onward(request: Request) -> str:
    """Where to go on to after proving who one is: the page itself, or the one whose form was sent, as near as its address tells."""
    path = request.url.path
    if request.method != "GET":
        return quote(path if path.count("/") <= _DEPTH else path.rpartition("/")[0])
    return quote(path + (f"?{request.url.query}" if request.url.query else ""))


def error_page(pages: Pages, request: Request, error: BrokerError) -> Response:
    """An error as a page; whoever must sign in first is led to the login page and, after that, back."""
    if isinstance(error, PatientSignInFirst):
        return to("/console/patient/login")
    if isinstance(error, SecondFactorFirst | StepUpFirst):
        return to(f"/console/second-factor?next={_onward(request)}")
    if isinstance(error, PasswordFirst):
        return to("/console/account")
    if isinstance(error, EnrolFirst):
        return to("/console/account/security")
    if isinstance(error, SignInFirst):
        onward = quote(str(request.url.path) + (f"?{request.url.query}" if request.url.query else "")) if request.method == "GET" else ""
        return to("/console/login" + (f"?next={onward}" if onward not in ("", "/console/", "/console") else ""))
    answer = pages.show(request, "error.html", status=error.status, error=error, request_id=request.scope.get("state", {}).get("request_id", ""))
    answer.headers.update({name: value for name, value in error.headers.items() if name.lower() != "www-authenticate"})
    return answer
