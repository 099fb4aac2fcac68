"""The administrator's desk: organisations, people with their roles, clients with their keys. Three roles apart (GB/T 22239-2019 8.1.4.2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import language, persons, pickers, registers, tables, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.pages import Pages, filled, to
from broker.console.pickers import Choice
from broker.console.tables import Ask, Table
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action, Role
from broker.incidents import service as incidents
from broker.incidents.service import TargetKind

Reader = Annotated[Visitor, Depends(require(Action.REGISTRY_READ))]
OrganizationWriter = Annotated[Visitor, Depends(require(Action.ORGANIZATION_WRITE))]
PersonWriter = Annotated[Visitor, Depends(require(Action.PERSON_WRITE))]
ClientWriter = Annotated[Visitor, Depends(require(Action.CLIENT_WRITE))]


#: People and systems that another page names; the register holds all of them.
SHOWN = 20
#: The three that nobody holds two of: who administers, who decides, who audits.
APART = (Role.ADMINISTRATOR, Role.INFORMATION_MANAGER, Role.AUDITOR)


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """Lists and forms of the three registers."""
    router = APIRouter()
    zone = ZoneInfo(desk.settings.time_zone)

    def places(session: Session, spoken: str) -> Choice:
        return pickers.organizations(session, spoken, identity.ANY)

    def shown(request: Request, template: str, table: Table, name: str, *, error: BrokerError | None = None, **context: Any) -> Response:
        if kind := Ask.of(request).format:
            return tables.exported(table, kind, name)
        return pages.show(request, template, status=error.status if error else 200, table=table, error=error, **context)

    def done(session: Session, act: Callable[[], Any]) -> BrokerError | None:
        """Do it, or say why not; nothing of it stays then."""
        try:
            with session.begin_nested():
                act()
        except BrokerError as error:
            return error
        return None

    # -- organisations --

    @router.get("/console/organizations")
    def organizations(request: Request, who: Reader, session: SessionDep) -> Response:
        return _organizations(request, who, session)

    def _organizations(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        table = registers.organizations(session, desk, spoken, Ask.of(request))
        return shown(
            request, "organizations.html", table, "organizations", error=error, parents=places(session, spoken).picker(filled(request), "parent_id"),
            kinds=[(code, words.word(spoken, "kind", code)) for code in words.KIND],
            relationships=[(code, words.word(spoken, "relationship", code)) for code in words.RELATIONSHIP],
            may_write=who.caller.may(Action.ORGANIZATION_WRITE),
        )  # fmt: skip

    @router.post("/console/organizations")
    def add_organization(request: Request, form: Posted, who: OrganizationWriter, session: SessionDep) -> Response:
        error = done(
            session,
            lambda: identity.add_organization(
                session, who.caller.actor, id=form.one("id"), kind=_one_of(form, "kind", words.KIND),
                relationship=_one_of(form, "relationship", words.RELATIONSHIP), name_zh=_named(form, "name_zh"), name_en=_named(form, "name_en"),
                parent_id=places(session, "zh").read(form, "parent_id") or None, agreement_until=_until(form, zone),
                jurisdiction=_country(form),
            ),
        )  # fmt: skip
        return _organizations(request, who, session, error) if error else to("/console/organizations", done="saved")

    @router.get("/console/organizations/{organization_id}")
    def organization(request: Request, organization_id: str, who: Reader, session: SessionDep) -> Response:
        return _organization(request, organization_id, who, session)

    def _organization(request: Request, organization_id: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        it = identity.organization(session, organization_id)
        here, keys = identity.Sought(organization=it.id), desk.keys
        return pages.show(
            request, "organization.html", status=error.status if error else 200, error=error, it=it, known=identity.Directory(session),
            until=it.agreement_until.astimezone(zone).date() if it.agreement_until else None,
            people=identity.people_part(session, keys, here, None, limit=SHOWN), clients=identity.clients_part(session, here, None, limit=SHOWN),
            may_write=who.caller.may(Action.ORGANIZATION_WRITE),
        )  # fmt: skip

    @router.post("/console/organizations/{organization_id}")
    def change_organization(request: Request, organization_id: str, form: Posted, who: OrganizationWriter, session: SessionDep) -> Response:
        error = done(
            session,
            lambda: identity.change_organization(
                session, who.caller.actor, organization_id, status=_one_of(form, "status", words.STATUS), agreement_until=_until(form, zone),
                name_zh=_named(form, "name_zh"), name_en=_named(form, "name_en"),
            ),
        )  # fmt: skip
        if error:
            return _organization(request, organization_id, who, session, error)
        return to(f"/console/organizations/{quote(organization_id)}", done="saved")

    # -- people --

    @router.get("/console/people")
    def people(request: Request, who: Reader, session: SessionDep) -> Response:
        return _people(request, who, session)

    def _people(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        table = registers.people(session, desk, spoken, Ask.of(request))
        holders = {role: identity.people_part(session, desk.keys, identity.Sought(role=role.value), None, limit=SHOWN) for role in APART}
        return shown(
            request, "people.html", table, "people", error=error, organizations=places(session, spoken).picker(filled(request), "organization"),
            roles=_roles(spoken), apart=[(role.value, words.word(spoken, "role", role), part) for role, part in holders.items()],
            may_write=who.caller.may(Action.PERSON_WRITE),
        )  # fmt: skip

    @router.post("/console/people")
    def add_person(request: Request, form: Posted, who: PersonWriter, session: SessionDep) -> Response:
        def act() -> None:
            home = places(session, "zh").read(form, "organization")
            identity.add_person(
                session, who.caller.actor, username=form.one("username"), name=_named(form, "name"), organization_id=home,
                password=form.one("password") or None, temporary=True, natural_person=form.one("natural_person") or None,
                roles=[(Role(role), home) for role in form.all("role") if role in words.ROLE],
            )  # fmt: skip

        error = done(session, act)
        return _people(request, who, session, error) if error else to("/console/people", done="saved")

    @router.get("/console/people/{person_id}")
    def person(request: Request, person_id: UUID, who: Reader, session: SessionDep) -> Response:
        return _person(request, person_id, who, session)

    def _person(request: Request, person_id: UUID, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, row, known = pages.language(request), identity.person(session, person_id), identity.Directory(session)
        return pages.show(
            request, "person.html", status=error.status if error else 200, error=error, it=row, known=known, roles=_roles(spoken),
            offices=sorted(identity.offices(session, person_id)), spare=range(2),
            organizations=places(session, spoken).picker(filled(request), "role_organization"),
            frozen=incidents.frozen(session, TargetKind.PERSON, [str(person_id)]).get(str(person_id), ""),
            login=persons.login_of(session, who, person_id, desk.settings.sso_issuer),
            may_write=who.caller.may(Action.PERSON_WRITE) and person_id != who.caller.person_id,
        )  # fmt: skip

    @router.post("/console/people/{person_id}")
    def change_person(request: Request, person_id: UUID, form: Posted, who: PersonWriter, session: SessionDep) -> Response:
        def act() -> None:
            pickers.looking(form, "role_organization")
            if form.has("roles"):
                pairs = zip(form.column("role"), form.column("role_organization"), strict=False)
                identity.set_roles(
                    session, who.caller.actor, person_id, [(Role(role), where) for role, where in pairs if role in words.ROLE and where]
                )
            elif form.has("set_password"):
                identity.set_password(session, who.caller.actor, person_id, form.one("password"), temporary=True)
            else:
                identity.change_person(
                    session, who.caller.actor, person_id, status=_one_of(form, "status", words.STATUS), name=_named(form, "name"),
                    language=_one_of(form, "language", language.LANGUAGES),
                )  # fmt: skip

        error = done(session, act)
        return _person(request, person_id, who, session, error) if error else to(f"/console/people/{person_id}", done="saved")

    # -- clients --

    @router.get("/console/clients")
    def clients(request: Request, who: Reader, session: SessionDep) -> Response:
        return _clients(request, who, session)

    def _clients(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        table = registers.clients(session, spoken, Ask.of(request))
        return shown(
            request, "clients.html", table, "clients", error=error, organizations=places(session, spoken).picker(filled(request), "organization"),
            may_write=who.caller.may(Action.CLIENT_WRITE),
        )  # fmt: skip

    @router.post("/console/clients")
    def register_client(request: Request, form: Posted, who: ClientWriter, session: SessionDep) -> Response:
        error = done(
            session,
            lambda: identity.register_client(
                session,
                who.caller.actor,
                id=form.one("id"),
                organization_id=places(session, "zh").read(form, "organization"),
                name=_named(form, "name"),
                jwks=_jwks(form),
                jwks_uri=form.one("jwks_uri") or None,
                dpop=form.has("dpop"),
                redirect_uris=_lines(form, "redirect_uris"),
            ),
        )
        return _clients(request, who, session, error) if error else to("/console/clients", done="saved")

    @router.get("/console/clients/{client_id}")
    def client(request: Request, client_id: str, who: Reader, session: SessionDep) -> Response:
        return _client(request, client_id, who, session)

    def _client(request: Request, client_id: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        row = identity.client(session, client_id)
        return pages.show(
            request, "client.html", status=error.status if error else 200, error=error, it=row,
            home=identity.organization(session, row.organization_id),
            keys=[(one.get("kid", ""), one.get("kty", ""), one.get("alg", "")) for one in row.jwks.get("keys", ())],
            jwks="" if row.jwks_uri else json.dumps(row.jwks, indent=1), may_write=who.caller.may(Action.CLIENT_WRITE),
        )  # fmt: skip

    @router.post("/console/clients/{client_id}")
    def change_client(request: Request, client_id: str, form: Posted, who: ClientWriter, session: SessionDep) -> Response:
        def act() -> None:
            if form.has("set_keys"):
                kept = identity.client(session, client_id)  # What the form doesn't speak of stays.
                identity.set_client_keys(
                    session, who.caller.actor, client_id, jwks=_jwks(form), jwks_uri=form.one("jwks_uri") or None, encryption_jwk=kept.encryption_jwk
                )
            else:
                status = _one_of(form, "status", words.STATUS)
                identity.change_client(
                    session, who.caller.actor, client_id, status=status, name=_named(form, "name"), dpop=form.has("dpop"),
                    redirect_uris=_lines(form, "redirect_uris"),
                )  # fmt: skip

        error = done(session, act)
        return _client(request, client_id, who, session, error) if error else to(f"/console/clients/{quote(client_id)}", done="saved")

    return router


def _lines(form: Form, name: str) -> list[str]:
    """What stands on the lines of a field, without those that are empty."""
    return [line.strip() for line in form.one(name).splitlines() if line.strip()]


def _roles(spoken: str) -> list[tuple[str, str]]:
    return [(role.value, words.word(spoken, "role", role.value)) for role in Role]


def _one_of(form: Form, name: str, known: Any) -> str:
    """A choice. Raises Invalid for anything that the page doesn't offer."""
    if form.one(name) not in known:
        raise Invalid(problems=(Problem(f"/{name}", "unknown", "There is no such choice."),))
    return form.one(name)


def _named(form: Form, name: str) -> str:
    """A name as people write it. Raises Invalid for an empty or unprintable one."""
    given = form.one(name)
    if not given or len(given) > 200 or any(ord(letter) < 32 or ord(letter) == 127 for letter in given):
        raise Invalid(problems=(Problem(f"/{name}", "required", "This field must be filled in."),))
    return given


def _until(form: Form, zone: ZoneInfo) -> datetime | None:
    """The last moment of a day at the hospital, or None where none was given. Raises Invalid."""
    given = form.one("agreement_until")
    try:
        return datetime.combine(date.fromisoformat(given), time(23, 59, 59), zone) if given else None
    except ValueError:
        raise Invalid(problems=(Problem("/agreement_until", "day", "A day is written YYYY-MM-DD."),)) from None


def _country(form: Form) -> str:
    """Two letters of ISO 3166-1; the mainland where none are given. Raises Invalid."""
    given = form.one("jurisdiction").strip().upper() or "CN"
    if not (given.isascii() and given.isalpha() and len(given) == len("CN")):
        raise Invalid(problems=(Problem("/jurisdiction", "country", "Two letters of ISO 3166-1."),))
    return given


def _jwks(form: Form) -> Any:
    """A JWK Set as it was pasted; what is wrong with it, identity says. None where an address was given in its place. Raises Invalid."""
    if not form.one("jwks"):
        if form.one("jwks_uri"):
            return None
        raise Invalid(problems=(Problem("/jwks", "keys-or-address", "Paste the public keys, or name the address where they are published."),))
    try:
        return json.loads(form.one("jwks"))
    except (ValueError, RecursionError):
        raise Invalid(problems=(Problem("/jwks", "not-json", "The text is not JSON."),)) from None
