"""The way in and out: login page, sign out, language, static files, where somebody begins; and errors as pages."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from broker.console import language, navigation
from broker.console.desk import Desk
from broker.console.door import Posted, Sent, SignedIn, cookie_name
from broker.console.errors import PatientSignInFirst, SignInFirst
from broker.console.language import N_
from broker.console.pages import Pages, safe_path, static, to
from broker.database import SessionDep
from broker.edge import NotServed
from broker.errors import BrokerError, Forbidden, Problem
from broker.identity import service as identity
from broker.identity.errors import PasswordRefused

WRONG = N_("The user name or the password is wrong.")
LOCKED = N_("Too many failed attempts. Wait %(seconds)s seconds, then try again.")

Next = Annotated[str, Query(max_length=500)]


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The routes that need nobody signed in, and those that everybody has."""
    router = APIRouter()
    settings = desk.settings
    secure = settings.base_url.startswith("https:")

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

    @router.get("/console/login")
    def login_page(request: Request, next: Next = "") -> Response:  # noqa: A002  (The name in the address.)
        return pages.show(request, "login.html", problem="", next=safe_path(next), username="")

    @router.post("/console/login")
    def login(request: Request, form: Sent) -> Response:
        username, onward = form.one("username"), safe_path(form.one("next"))
        opened = identity.sign_in(desk.database, desk.keys, username, form.one("password"))
        if isinstance(opened, identity.LoginRefused):
            spoken = pages.language(request)
            problem = language.said(spoken, WRONG)
            if opened.retry_after is not None:
                problem = language.said(spoken, LOCKED) % {"seconds": opened.retry_after}
            status = 401 if opened.retry_after is None else 429
            return pages.show(request, "login.html", status=status, problem=problem, next=onward, username="")
        answer = to(onward or navigation.start(opened.caller))
        answer.set_cookie(cookie_name(settings), opened.secret, path="/", secure=secure, httponly=True, samesite="lax")
        return answer

    @router.post("/console/logout")
    def logout(form: Posted, who: SignedIn, session: SessionDep) -> Response:
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

    @router.get("/console/account")
    def account(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return _account(request, who, session)

    def _account(request: Request, who: SignedIn, session: SessionDep, error: BrokerError | None = None) -> Response:
        held = sorted(identity.offices(session, who.caller.person_id))
        return pages.show(
            request,
            "account.html",
            status=error.status if error else 200,
            error=error,
            person=identity.person(session, who.caller.person_id),
            offices=[(role, identity.organization(session, organization)) for role, organization in held],
        )

    @router.post("/console/account/password")
    def password(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        proved = identity.authenticate(desk.database, desk.keys, who.caller.username, form.one("present"))
        problem: BrokerError | None = None
        if isinstance(proved, identity.LoginRefused):
            problem = Forbidden(problems=(Problem("/present", "present", "The present password is wrong."),))
        elif form.one("password") != form.one("again"):
            problem = PasswordRefused(problems=(Problem("/again", "again", "The two new passwords differ."),))
        else:
            try:
                with session.begin_nested():
                    identity.set_password(session, who.caller.actor, who.caller.person_id, form.one("password"))
            except PasswordRefused as error:
                problem = error
        if problem is not None:
            return _account(request, who, session, problem)
        return to("/console/login", done="password")

    # Whatever else is under /console has an error page, for those who are signed in and for nobody else.
    @router.get("/console/{rest:path}")
    def nothing(rest: str, who: SignedIn) -> Response:
        del rest, who
        raise NotServed

    return router


def error_page(pages: Pages, request: Request, error: BrokerError) -> Response:
    """An error as a page; whoever must sign in first is led to the login page and, after that, back."""
    if isinstance(error, PatientSignInFirst):
        return to("/console/patient/login")
    if isinstance(error, SignInFirst):
        onward = quote(str(request.url.path) + (f"?{request.url.query}" if request.url.query else "")) if request.method == "GET" else ""
        return to("/console/login" + (f"?next={onward}" if onward not in ("", "/console/", "/console") else ""))
    answer = pages.show(request, "error.html", status=error.status, error=error, request_id=request.scope.get("state", {}).get("request_id", ""))
    answer.headers.update({name: value for name, value in error.headers.items() if name.lower() != "www-authenticate"})
    return answer
