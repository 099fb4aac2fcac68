"""Showing who one is: with a passkey at the door, with a second factor after the password, and again before a dangerous act."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from broker.console import language, navigation
from broker.console.desk import Desk
from broker.console.door import Arriving, Form, PostedOnArrival, Sent, Visitor, remember
from broker.console.language import N_
from broker.console.pages import Pages, safe_path, to
from broker.database import SessionDep
from broker.errors import BrokerError, Problem
from broker.identity import service as identity
from broker.identity.errors import LinkSpent, PasswordRefused

WRONG_KEY = N_("The key was not recognised. Try again, or sign in with your password.")
LOCKED = N_("Too many failed attempts. Wait %(seconds)s seconds, then try again.")
WRONG = N_("That was not right. Try again.")

Next = Annotated[str, Query(max_length=2000)]


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """Proving who one is."""
    router = APIRouter()
    at = identity.place(desk.settings)

    def shown(request: Request, who: Visitor, onward: str, problem: str = "", status: int = 200) -> Response:
        asked = None
        if at is not None and who.caller.enrolled:
            with desk.database.transaction() as session:
                asked = identity.ask_key(session, at, who.caller)
        return pages.show(request, "second_factor.html", status=status, problem=problem, next=onward, asked=asked, again=who.lack is None)

    @router.get("/console/second-factor")
    def second_factor(request: Request, who: Arriving, next: Next = "") -> Response:  # noqa: A002  (The name in the address.)
        return shown(request, who, safe_path(next))

    @router.post("/console/second-factor")
    def prove(request: Request, form: PostedOnArrival, who: Arriving) -> Response:
        onward, spoken = safe_path(form.one("next")), pages.language(request)
        right = proved(form, who)
        if isinstance(right, identity.LoginRefused):
            if right.retry_after is not None:
                return shown(request, who, onward, language.said(spoken, LOCKED) % {"seconds": right.retry_after}, 429)
            right = False
        if not right:
            return shown(request, who, onward, language.said(spoken, WRONG), 403)
        with desk.database.transaction() as session:
            given = identity.raise_proof(session, who.secret, second=who.caller.enrolled, limits=identity.limits_of(desk.settings))
        if given is None:
            return to("/console/login")
        return remember(to(onward or navigation.start(given.caller)), desk.settings, given.secret)

    def proved(form: Form, who: Visitor) -> bool | identity.LoginRefused:
        """Whether what was sent proves it: the answer of a key, a code, or, for who has no second factor, the password."""
        if not who.caller.enrolled:
            found = identity.authenticate(desk.database, desk.keys, who.caller.username, form.one("password"))
            return found if isinstance(found, identity.LoginRefused) else True
        if answer := form.one("answer"):
            return at is not None and identity.prove_key(desk.database, at, who.caller, answer)
        return identity.prove_code(desk.database, desk.keys, who.caller, form.one("code")[:40])

    @router.post("/console/login/key")
    def enter(request: Request, form: Sent) -> Response:
        caller = None if at is None else identity.enter_with_key(desk.database, at, form.one("answer"))
        if caller is None:
            problem = language.said(pages.language(request), WRONG_KEY)
            return pages.show(request, "login.html", status=401, next=safe_path(form.one("next")), username="", asked=None, problem=problem)
        agent = identity.agent_of(request.headers.get("user-agent"))
        with desk.database.transaction() as session:
            opened = identity.open_session(session, caller, method="passkey", second=True, agent=agent, limits=identity.limits_of(desk.settings))
        return remember(to(safe_path(form.one("next")) or navigation.start(caller)), desk.settings, opened.secret)

    @router.get("/console/password/{secret}")
    def link(request: Request, secret: str, session: SessionDep) -> Response:
        return linked(request, good=identity.link_is_good(session, secret))

    def linked(request: Request, *, good: bool, error: BrokerError | None = None) -> Response:
        status = error.status if error else 200 if good else LinkSpent.status
        return pages.show(request, "password_link.html", status=status, good=good, error=error)

    @router.post("/console/password/{secret}")
    def choose(request: Request, secret: str, form: Sent, session: SessionDep) -> Response:
        if form.one("password") != form.one("again"):
            return linked(request, good=True, error=PasswordRefused(problems=(Problem("/again", "again", "The two new passwords differ."),)))
        try:
            with session.begin_nested():
                identity.use_password_link(session, secret, form.one("password"))
        except PasswordRefused as error:
            return linked(request, good=True, error=error)
        except LinkSpent:
            return linked(request, good=False)
        return to("/console/login", done="password")

    return router
