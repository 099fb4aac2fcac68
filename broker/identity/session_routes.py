"""Signing in and out over HTTP, one's own sessions and password, and the link of somebody who forgot theirs."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from broker.database import SessionDep
from broker.edge import STRICT
from broker.errors import Forbidden, Invalid, NotAuthenticated, NotFound, Problem
from broker.identity import assurance, factors, login, resets, schemas, sessions
from broker.identity.access import CHALLENGE, Arriving, Person, PersonCaller, raise_locked, require
from broker.identity.bearer import token_in
from broker.identity.errors import FactorWrong, UnknownPerson
from broker.identity.models import PersonSession
from broker.identity.people import person, set_password
from broker.identity.roles import Action
from broker.identity.rules import Lack

router = APIRouter(prefix="/api/v1", tags=["identity"], dependencies=[STRICT])
PersonWriter = Annotated[PersonCaller, Depends(require(Action.PERSON_WRITE))]
RegistryReader = Annotated[PersonCaller, Depends(require(Action.REGISTRY_READ))]


@router.post("/session", status_code=201)
def open_session(request: Request, given: schemas.LoginIn) -> schemas.SessionOut:
    """Sign in. After five wrong passwords a name is locked for a minute, then longer.

    Whoever has a second factor sends its code too; without it the session can do nothing but take the code at ``/session/second-factor``.
    """
    state = request.app.state
    agent, limits = sessions.agent_of(request.headers.get("user-agent")), sessions.limits_of(state.settings)
    opened = login.sign_in(state.database, state.keys, given.username, given.password, agent=agent, limits=limits)
    if isinstance(opened, login.LoginRefused):
        raise_locked(opened)
        raise NotAuthenticated(headers=CHALLENGE)
    if given.code is not None and opened.caller.enrolled:
        opened = _second(request, opened.caller, opened.secret, given.code)
    return schemas.SessionOut(token=opened.secret, expires_at=opened.expires_at)


def _second(request: Request, caller: PersonCaller, secret: str, code: str) -> sessions.SessionGiven:
    state = request.app.state
    right = factors.prove_code(state.database, state.keys, caller, code)
    if isinstance(right, login.LoginRefused):
        raise_locked(right)
    if right is not True:
        raise FactorWrong
    return _raised(request, secret, second=True)


def _raised(request: Request, secret: str, *, second: bool) -> sessions.SessionGiven:
    with request.app.state.database.transaction() as session:
        given = sessions.raise_proof(session, secret, second=second, limits=sessions.limits_of(request.app.state.settings))
    if given is None:
        raise NotAuthenticated(headers=CHALLENGE)
    return given


@router.post("/session/second-factor")
def prove(request: Request, given: schemas.ProofIn, caller: Arriving) -> schemas.SessionOut:
    """Show the second factor, at the beginning or again before a dangerous act; where there is none, the password. The token is a new one."""
    secret, state = token_in(request.headers.get("authorization")), request.app.state
    if secret is None:
        raise Forbidden("A password that comes with each request has no session: open one at POST /api/v1/session.")
    if caller.enrolled:
        if given.code is None:
            raise Invalid(problems=(Problem("/code", "missing", "The code of your second factor is needed."),))
        raised = _second(request, caller, secret, given.code)
    else:
        if given.password is None:
            raise Invalid(problems=(Problem("/password", "missing", "Your password is needed."),))
        proved = login.authenticate(state.database, state.keys, caller.username, given.password)
        if isinstance(proved, login.LoginRefused):
            raise_locked(proved)
            raise Forbidden("password: the password is wrong.")
        raised = _raised(request, secret, second=False)
    return schemas.SessionOut(token=raised.secret, expires_at=raised.expires_at)


@router.delete("/session", status_code=204)
def close_session(request: Request, _caller: Arriving, session: SessionDep) -> None:
    """Sign out: the session that this request carries ends."""
    secret = token_in(request.headers.get("authorization"))
    if secret is not None:
        sessions.close_session(session, secret)


def _shown(caller: PersonCaller, row: PersonSession) -> schemas.RunningOut:
    return schemas.RunningOut(
        id=row.id, created_at=row.created_at, last_used_at=row.last_used_at, expires_at=row.expires_at, method=row.method,
        second_factor=row.second_at is not None, agent=row.agent, this=caller.proof is not None and caller.proof.session == row.id,
    )  # fmt: skip


@router.get("/me/sessions")
def my_sessions(caller: Person, session: SessionDep) -> list[schemas.RunningOut]:
    """Where you are signed in."""
    return [_shown(caller, row) for row in sessions.sessions_of(session, caller.person_id)]


@router.delete("/me/sessions", status_code=204)
def end_my_sessions(caller: Person, session: SessionDep) -> None:
    """Sign out everywhere, here too."""
    sessions.end_sessions(session, caller.actor, caller.person_id)


@router.delete("/me/sessions/{session_id}", status_code=204)
def end_my_session(session_id: UUID, caller: Person, session: SessionDep) -> None:
    """End one of your sessions."""
    if not sessions.end_session(session, caller.actor, caller.person_id, session_id):
        raise NotFound


@router.get("/people/{person_id}/sessions")
def sessions_of(person_id: UUID, caller: RegistryReader, session: SessionDep) -> list[schemas.RunningOut]:
    """Where somebody is signed in."""
    return [_shown(caller, row) for row in sessions.sessions_of(session, person(session, person_id).id)]


@router.delete("/people/{person_id}/sessions", status_code=204)
def end_sessions_of(person_id: UUID, caller: PersonWriter, session: SessionDep) -> None:
    """Sign somebody out everywhere."""
    sessions.end_sessions(session, caller.actor, person(session, person_id).id)


@router.put("/people/{person_id}/password", status_code=204)
def change_password(request: Request, person_id: UUID, given: schemas.PasswordIn, caller: Arriving, session: SessionDep) -> None:
    """Change one's own password, proving the present one; an administrator sets anybody else's, who then changes it first of all."""
    state = request.app.state
    if person_id != caller.person_id:
        assurance.demand(state.settings, caller)
        if not caller.may(Action.PERSON_WRITE):
            raise Forbidden
        assurance.stepped_up(state.settings, caller)
        set_password(session, caller.actor, person_id, given.password, temporary=True)
        return
    found = assurance.lack(state.settings, caller)
    if found not in (None, Lack.PASSWORD, Lack.ENROLMENT):
        raise assurance.lacking(state.settings, found)
    if given.present is None:
        raise Forbidden("present: the present password is needed.")
    proved = login.authenticate(state.database, state.keys, caller.username, given.present)
    if isinstance(proved, login.LoginRefused):
        raise_locked(proved)
        raise Forbidden("present: the present password is wrong.")
    set_password(session, caller.actor, person_id, given.password)


@router.post("/people/{person_id}/password-link", status_code=201)
def make_link(request: Request, person_id: UUID, caller: PersonWriter, session: SessionDep) -> schemas.LinkOut:
    """A link by which somebody chooses a new password, once, within a day. Their second factors stay as they are."""
    link = resets.make_password_link(session, caller, person_id)
    return schemas.LinkOut(url=f"{request.app.state.settings.base_url}/console/password/{link.secret}", expires_at=link.expires_at)


@router.post("/password-link", status_code=204)
def use_link(given: schemas.LinkIn, session: SessionDep) -> Response:
    """Choose a password with a link, which is used up."""
    resets.use_password_link(session, given.secret, given.password)
    return Response(status_code=204)


def _may_reset(caller: PersonCaller) -> None:
    """An administrator, or an information manager as the second person where there is one administrator alone."""
    if not (caller.may(Action.PERSON_WRITE) or caller.may(Action.APPLICATION_DECIDE)):
        raise Forbidden


@router.post("/people/{person_id}/factor-reset")
def reset_factors(request: Request, person_id: UUID, caller: Person, session: SessionDep) -> schemas.ResetOut:
    """Say that somebody lost their second factors. Two people say so; then they are gone, and the person adds others."""
    _may_reset(caller)
    assurance.stepped_up(request.app.state.settings, caller)
    return schemas.ResetOut(done=resets.reset_factors(session, caller, person_id))


@router.delete("/people/{person_id}/factor-reset", status_code=204)
def keep_factors(person_id: UUID, caller: Person, session: SessionDep) -> None:
    """They were not lost after all: the person themselves may say so, or whoever may reset them."""
    if person_id != caller.person_id:
        _may_reset(caller)
    if resets.factor_reset(session, person_id) is None:
        raise UnknownPerson
    resets.keep_factors(session, caller, person_id)
