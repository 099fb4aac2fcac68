"""One's own second factors over HTTP: add an app, confirm it, see what there is, take one away, get new codes on paper.

Keys that speak WebAuthn are added in the console, since they need a browser.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request

from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity import assurance, factors, schemas
from broker.identity.access import Arriving, Person, PersonCaller
from broker.identity.rules import Lack

router = APIRouter(prefix="/api/v1/me", tags=["identity"], dependencies=[STRICT])


def enrolling(request: Request, caller: Arriving) -> PersonCaller:
    """Somebody who may add a second factor: they lack nothing else, and proved a short while ago who they are. Raises what they lack."""
    settings = request.app.state.settings
    found = assurance.lack(settings, caller)
    if found not in (None, Lack.ENROLMENT):
        raise assurance.lacking(settings, found)
    assurance.stepped_up(settings, caller)
    return caller


Enrolling = Annotated[PersonCaller, Depends(enrolling)]


@router.get("/factors")
def my_factors(caller: Person, session: SessionDep) -> list[schemas.FactorOut]:
    """Your second factors."""
    return [schemas.FactorOut.model_validate(row) for row in factors.factors(session, caller.person_id)]


@router.post("/factors", status_code=201)
def add(request: Request, given: schemas.AppIn, caller: Enrolling, session: SessionDep) -> schemas.NewFactorOut:
    """Add an authenticator app. It counts once its first code has come to ``/confirm``."""
    state = request.app.state
    new = factors.add_totp(session, state.keys, caller, name=given.name, issuer=state.settings.hospital)
    return schemas.NewFactorOut(id=new.id, secret=new.secret, uri=new.uri)


@router.post("/factors/{factor_id}/confirm")
def confirm(request: Request, factor_id: UUID, given: schemas.CodeIn, caller: Enrolling) -> schemas.CodesOut:
    """The app's first code. With the first factor come ten codes on paper; then sign in again, with a code."""
    state = request.app.state
    return schemas.CodesOut(recovery_codes=factors.confirm_totp(state.database, state.keys, caller, factor_id, given.code))


@router.delete("/factors/{factor_id}", status_code=204)
def remove(request: Request, factor_id: UUID, caller: Person, session: SessionDep) -> None:
    """Take a second factor away; the last one not, where your role needs one."""
    settings = request.app.state.settings
    assurance.stepped_up(settings, caller)
    needed = bool(caller.roles & settings.second_factor_needed_by)
    factors.remove_factor(session, caller, factor_id, needed=needed)


@router.post("/recovery-codes", status_code=201)
def new_codes(request: Request, caller: Person, session: SessionDep) -> schemas.CodesOut:
    """Ten new codes on paper; those before are void."""
    state = request.app.state
    assurance.stepped_up(state.settings, caller)
    return schemas.CodesOut(recovery_codes=factors.give_recovery_codes(session, state.keys, caller))
