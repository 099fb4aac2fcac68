"""My account: my password, my second factors with their codes on paper, and where I am signed in."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import segno
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from markupsafe import Markup
from sqlmodel import Session

from broker.console.desk import Desk
from broker.console.door import Arriving, Posted, PostedOnArrival, SignedIn, Visitor, remember, renewed
from broker.console.language import N_
from broker.console.pages import Pages, to
from broker.database import SessionDep
from broker.errors import BrokerError, Forbidden, Invalid, Malformed, Problem
from broker.identity import service as identity
from broker.identity.errors import PasswordRefused

PATH = "/console/account/security"
#: What a factor and a session are called.
KINDS = {"totp": N_("Authenticator app"), "webauthn": N_("Security key or passkey")}
METHODS = {"password": N_("Password"), "passkey": N_("Passkey"), "sso": N_("Hospital login")}


def enrolling(request: Request, who: Arriving) -> Visitor:
    """Somebody who may see and add second factors: they lack nothing else. Raises what they lack."""
    if who.lack not in (None, identity.Lack.ENROLMENT):
        raise identity.lacking(request.app.state.settings, who.lack)
    return who


Enrolling = Annotated[Visitor, Depends(enrolling)]


def qr(uri: str, title: str) -> Markup:
    """The address as a QR code, an SVG without style and script."""
    made = segno.make(uri, error="m")
    return Markup(made.svg_inline(scale=5, border=4, light="white", svgclass=None, lineclass=None, title=title, omitsize=False))  # noqa: S704  (segno escapes.)


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The pages of one's own account."""
    router = APIRouter()
    settings = desk.settings
    at = identity.place(settings)

    # -- the password --

    @router.get("/console/account")
    def account(request: Request, who: Arriving, session: SessionDep) -> Response:
        return _account(request, who, session)

    def _account(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        if who.lack is identity.Lack.SECOND_FACTOR:
            raise identity.lacking(settings, who.lack)
        held = sorted(identity.offices(session, who.caller.person_id))
        return pages.show(
            request,
            "account.html",
            status=error.status if error else 200,
            error=error,
            must_change=who.lack is identity.Lack.PASSWORD,
            person=identity.person(session, who.caller.person_id),
            offices=[(role, identity.organization(session, organization)) for role, organization in held],
        )

    @router.post("/console/account/password")
    def password(request: Request, form: PostedOnArrival, who: Arriving, session: SessionDep) -> Response:
        if who.lack is identity.Lack.SECOND_FACTOR:
            raise identity.lacking(settings, who.lack)
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

    # -- second factors and sessions --

    @router.get(PATH)
    def security(request: Request, who: Enrolling, session: SessionDep) -> Response:
        return _security(request, who, session)

    def _security(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        asked = identity.ask_new(session, settings, at, who.caller) if at is not None and identity.is_fresh(settings, who.caller) else None
        return pages.show(
            request, "security.html", status=error.status if error else 200, error=error, first=who.lack is identity.Lack.ENROLMENT,
            factors=identity.factors(session, who.caller.person_id), kinds=KINDS, methods=METHODS, asked=asked,
            fresh=identity.is_fresh(settings, who.caller),
            left=identity.recovery_codes_left(session, who.caller.person_id), here=who.caller.proof.session if who.caller.proof else None,
            sessions=identity.sessions_of(session, who.caller.person_id) if who.lack is None else [],
        )  # fmt: skip

    def name_in(given: str) -> str:
        if not 0 < len(given) <= 100 or not given.isprintable():
            raise Invalid(problems=(Problem("/name", "required", "This field must be filled in."),))
        return given

    @router.post(f"{PATH}/app")
    def add_app(request: Request, form: PostedOnArrival, who: Enrolling, session: SessionDep) -> Response:
        identity.stepped_up(settings, who.caller)
        try:
            with session.begin_nested():
                new = identity.add_totp(session, desk.keys, who.caller, name=name_in(form.one("name")), issuer=settings.hospital)
        except Invalid as error:
            return _security(request, who, session, error)
        return to(f"{PATH}/app/{new.id}")

    def _app(request: Request, who: Visitor, session: Session, factor_id: UUID, error: BrokerError | None = None) -> Response:
        found = identity.begun(session, desk.keys, who.caller, factor_id, settings.hospital)
        spaced = " ".join(found.secret[place : place + 4] for place in range(0, len(found.secret), 4))
        code = qr(found.uri, "QR")
        return pages.show(request, "add_app.html", status=error.status if error else 200, error=error, secret=spaced, code=code, id=found.id)

    @router.get(f"{PATH}/app/{{factor_id}}")
    def app(request: Request, factor_id: UUID, who: Enrolling, session: SessionDep) -> Response:
        identity.stepped_up(settings, who.caller)
        return _app(request, who, session, factor_id)

    @router.post(f"{PATH}/app/{{factor_id}}")
    def confirm_app(request: Request, factor_id: UUID, form: PostedOnArrival, who: Enrolling, session: SessionDep) -> Response:
        identity.stepped_up(settings, who.caller)
        try:
            codes = identity.confirm_totp(desk.database, desk.keys, who.caller, factor_id, form.one("code").replace(" ", ""))
        except Forbidden as error:
            return _app(request, who, session, factor_id, error)
        return added(request, who, codes)

    def added(request: Request, who: Visitor, codes: list[str]) -> Response:
        """The factor was shown just now, so that the session has it from now on; with another secret, as always when it is worth more."""
        with desk.database.transaction() as session:
            given = identity.raise_proof(session, who.secret, second=True, limits=identity.limits_of(settings))
        if given is None:
            return to("/console/login")
        renewed(request, who, given.secret)
        answer = pages.show(request, "recovery_codes.html", codes=codes) if codes else to(PATH, done="saved")
        return remember(answer, settings, given.secret)

    @router.post(f"{PATH}/key")
    def add_key(request: Request, form: PostedOnArrival, who: Enrolling) -> Response:
        identity.stepped_up(settings, who.caller)
        if at is None:
            raise Malformed("Keys are not asked here.")
        with desk.database.transaction() as session:
            codes = identity.add_key(session, desk.keys, at, who.caller, name=name_in(form.one("name")), answer=form.one("answer"))
        return added(request, who, codes)

    @router.post(f"{PATH}/remove")
    def remove(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        identity.stepped_up(settings, who.caller)
        needed = bool(who.caller.roles & settings.second_factor_needed_by)
        try:
            with session.begin_nested():
                identity.remove_factor(session, who.caller, uuid_in(form.one("factor")), needed=needed)
        except BrokerError as error:
            return _security(request, who, session, error)
        return to(PATH, done="saved")

    @router.post(f"{PATH}/codes")
    def codes(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        del form
        identity.stepped_up(settings, who.caller)
        return pages.show(request, "recovery_codes.html", codes=identity.give_recovery_codes(session, desk.keys, who.caller))

    @router.post("/console/account/sessions")
    def end(form: Posted, who: SignedIn, session: SessionDep) -> Response:
        caller = who.caller
        if form.has("session"):
            identity.end_session(session, caller.actor, caller.person_id, uuid_in(form.one("session")))
            return to(PATH, done="saved")
        identity.end_sessions(session, caller.actor, caller.person_id)
        return to("/console/login", done="signed-out")

    def uuid_in(given: str) -> UUID:
        try:
            return UUID(given)
        except ValueError:
            raise Malformed("This is not an identifier.") from None

    return router
