"""HTTP to the verbs of identity: signing in, who am I, organisations, people, clients, and the OAuth2 server."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from sqlmodel import Session

from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import STRICT
from broker.identity import models, schemas, service
from broker.identity.access import Person, PersonCaller, require
from broker.identity.callers import GrantReader, Residual
from broker.identity.factor_routes import router as factor_router
from broker.identity.oauth_routes import build_oauth_router
from broker.identity.roles import Action, permitted
from broker.identity.session_routes import router as session_router
from broker.settings import Settings

Reader = Annotated[PersonCaller, Depends(require(Action.REGISTRY_READ))]
OrganizationWriter = Annotated[PersonCaller, Depends(require(Action.ORGANIZATION_WRITE))]
PersonWriter = Annotated[PersonCaller, Depends(require(Action.PERSON_WRITE))]
ClientWriter = Annotated[PersonCaller, Depends(require(Action.CLIENT_WRITE))]

router = APIRouter(prefix="/api/v1", tags=["identity"], dependencies=[STRICT])


def build_router(*, settings: Settings, keys: Keys, grants: GrantReader, residual: Residual | None = None) -> APIRouter:
    """Every route of identity. ``grants`` tells what a token may be bound to; applications implement it.

    ``residual``: what the consents leave to be enforced (IHE PCF), told to the hospital's own resource servers.
    """
    whole = APIRouter()
    whole.include_router(build_oauth_router(settings, keys, grants, residual))
    whole.include_router(session_router)
    whole.include_router(factor_router)
    whole.include_router(router)
    return whole


# -- who am I --


@router.get("/me")
def me(caller: Person) -> schemas.Me:
    """Who is signed in, and what they may do."""
    return schemas.Me(
        id=caller.person_id,
        username=caller.username,
        organization=caller.organization_id,
        language=caller.language,
        roles=_offices(caller.offices),
        actions=sorted(permitted(caller.roles)),
    )


# -- organisations --


@router.get("/organizations")
def organizations(_caller: Person, session: SessionDep) -> list[schemas.OrganizationOut]:
    """Every organisation: whoever applies must be able to name a recipient."""
    return [schemas.OrganizationOut.model_validate(row) for row in service.organizations(session)]


@router.post("/organizations", status_code=201)
def add_organization(given: schemas.OrganizationIn, caller: OrganizationWriter, session: SessionDep) -> schemas.OrganizationOut:
    """Add an organisation or department."""
    return schemas.OrganizationOut.model_validate(service.add_organization(session, caller.actor, **given.model_dump()))


@router.get("/organizations/{organization_id}")
def organization(organization_id: str, _caller: Person, session: SessionDep) -> schemas.OrganizationOut:
    """One organisation."""
    return schemas.OrganizationOut.model_validate(service.organization(session, organization_id))


@router.patch("/organizations/{organization_id}")
def change_organization(
    organization_id: str, given: schemas.OrganizationChange, caller: OrganizationWriter, session: SessionDep
) -> schemas.OrganizationOut:
    """Change an organisation. Suspended, none of its clients gets anything more."""
    return schemas.OrganizationOut.model_validate(service.change_organization(session, caller.actor, organization_id, **given.model_dump()))


# -- people --


@router.get("/people")
def people(_caller: Reader, session: SessionDep, organization: str | None = None) -> list[schemas.PersonOut]:
    """Accounts, of one organisation if it is named."""
    return [_person(session, row) for row in service.people(session, organization)]


@router.post("/people", status_code=201)
def add_person(given: schemas.PersonIn, caller: PersonWriter, session: SessionDep) -> schemas.PersonOut:
    """Add an account."""
    row = service.add_person(
        session,
        caller.actor,
        username=given.username,
        name=given.name,
        organization_id=given.organization,
        password=given.password,
        temporary=True,
        natural_person=given.natural_person,
        language=given.language,
        roles=[(office.role, office.organization) for office in given.roles],
    )
    return _person(session, row)


@router.get("/people/{person_id}")
def person(person_id: UUID, _caller: Reader, session: SessionDep) -> schemas.PersonOut:
    """One account."""
    return _person(session, service.person(session, person_id))


@router.patch("/people/{person_id}")
def change_person(person_id: UUID, given: schemas.PersonChange, caller: PersonWriter, session: SessionDep) -> schemas.PersonOut:
    """Change an account; suspended, it is signed out everywhere."""
    return _person(session, service.change_person(session, caller.actor, person_id, **given.model_dump()))


@router.put("/people/{person_id}/roles")
def set_roles(person_id: UUID, given: schemas.RolesIn, caller: PersonWriter, session: SessionDep) -> schemas.PersonOut:
    """Give an account these roles and no others."""
    row = service.set_roles(session, caller.actor, person_id, [(office.role, office.organization) for office in given.roles])
    return _person(session, row)


# -- clients --


@router.get("/clients")
def clients(_caller: Reader, session: SessionDep, organization: str | None = None) -> list[schemas.ClientOut]:
    """Clients, of one organisation if it is named."""
    return [schemas.ClientOut.model_validate(row) for row in service.clients(session, organization)]


@router.post("/clients", status_code=201)
def register_client(given: schemas.ClientIn, caller: ClientWriter, session: SessionDep) -> schemas.ClientOut:
    """Register a client with its public keys. A private key is refused."""
    values: dict[str, Any] = given.model_dump(exclude={"organization"})
    return schemas.ClientOut.model_validate(service.register_client(session, caller.actor, organization_id=given.organization, **values))


@router.get("/clients/{client_id}")
def client(client_id: str, _caller: Reader, session: SessionDep) -> schemas.ClientOut:
    """One client."""
    return schemas.ClientOut.model_validate(service.client(session, client_id))


@router.patch("/clients/{client_id}")
def change_client(client_id: str, given: schemas.ClientChange, caller: ClientWriter, session: SessionDep) -> schemas.ClientOut:
    """Change a client. Suspended, its tokens stop working at once."""
    return schemas.ClientOut.model_validate(service.change_client(session, caller.actor, client_id, **given.model_dump()))


@router.put("/clients/{client_id}/keys")
def set_client_keys(client_id: str, given: schemas.KeysIn, caller: ClientWriter, session: SessionDep) -> schemas.ClientOut:
    """Replace a client's public keys."""
    row = service.set_client_keys(session, caller.actor, client_id, **given.model_dump())
    return schemas.ClientOut.model_validate(row)


def _offices(held: frozenset[tuple[Any, str]]) -> list[schemas.Office]:
    return [schemas.Office(role=role, organization=organization_id) for role, organization_id in sorted(held)]


def _person(session: Session, row: models.Person) -> schemas.PersonOut:
    return schemas.PersonOut(
        id=row.id,
        username=row.username,
        name=row.name,
        organization=row.organization_id,
        natural_person=row.natural_person,
        status=row.status,
        language=row.language,
        roles=_offices(service.offices(session, row.id)),
    )
