"""The administrator's desk: organisations, people with their roles, clients with their keys. Three roles apart (GB/T 22239-2019 8.1.4.2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.console import language, persons, tables, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.language import N_, said
from broker.console.lists import SPAN
from broker.console.pages import Pages, named, to
from broker.console.tables import Ask, Cell, Column, Filter, Table
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.identity import models
from broker.identity import service as identity
from broker.identity.access import Action, Role

Reader = Annotated[Visitor, Depends(require(Action.REGISTRY_READ))]
OrganizationWriter = Annotated[Visitor, Depends(require(Action.ORGANIZATION_WRITE))]
PersonWriter = Annotated[Visitor, Depends(require(Action.PERSON_WRITE))]
ClientWriter = Annotated[Visitor, Depends(require(Action.CLIENT_WRITE))]


#: An agreement that ends within this is told.
SOON = timedelta(days=60)
#: The three that nobody holds two of: who administers, who decides, who audits.
APART = (Role.ADMINISTRATOR, Role.INFORMATION_MANAGER, Role.AUDITOR)


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """Lists and forms of the three registers."""
    router = APIRouter()

    def known(session: Session) -> dict[str, models.Organization]:
        return {row.id: row for row in identity.organizations(session)}

    def choices(session: Session, spoken: str) -> list[tuple[str, str]]:
        return [(id_, f"{named(row, spoken)} ({id_})") for id_, row in known(session).items()]

    def shown(request: Request, template: str, table: Table, name: str, ask: Ask, *, error: BrokerError | None = None, **context: Any) -> Response:
        if ask.format:
            return tables.exported(table, ask.format, name)
        return pages.show(request, template, status=error.status if error else 200, table=table, error=error, **context)

    def done(session: Session, act: Callable[[], Any]) -> BrokerError | None:
        """Do it, or say why not; nothing of it stays then."""
        try:
            with session.begin_nested():
                act()
        except BrokerError as error:
            return error
        return None

    def cut(spoken: str, ask: Ask, columns: list[Column], rows: list[list[Cell]], filters: list[Filter]) -> Table:
        """The part of a register that is asked for; registers are small enough to be searched here."""
        words_ = ask.text("q").lower()
        status = ask.text("status")
        found = [row for row in rows if (not words_ or any(words_ in f"{cell.text} {cell.note}".lower() for cell in row))
                 and (not status or any(cell.text == words.word(spoken, "status", status) for cell in row))]  # fmt: skip
        limit, offset = ask.window
        return tables.made(ask, columns, found[offset : offset + limit], len(found), span=said(spoken, SPAN), filters=filters)

    def usual_filters(spoken: str) -> list[Filter]:
        return [
            Filter("q", said(spoken, N_("Name or identifier"))),
            Filter("status", said(spoken, N_("State")), [(code, words.word(spoken, "status", code)) for code in words.STATUS]),
        ]

    # -- organisations --

    @router.get("/console/organizations")
    def organizations(request: Request, who: Reader, session: SessionDep) -> Response:
        return _organizations(request, who, session)

    def _organizations(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, ask, rows = pages.language(request), Ask.of(request), known(session)

        def agreement(one: models.Organization) -> Cell:
            """Until when, and whether that is over or soon."""
            if one.agreement_until is None:
                return Cell("–")
            shown_ = language.day(spoken, one.agreement_until.date())
            if one.agreement_until <= clock.now():
                return Cell(shown_, tone="bad", note=said(spoken, N_("ended")))
            soon = one.agreement_until <= clock.now() + SOON
            return Cell(shown_, tone="waiting" if soon else "", note=said(spoken, N_("ends soon")) if soon else "")

        cells = [
            [
                Cell(f"{'└ ' * depth}{named(one, spoken)}", href=f"/console/organizations/{id_}"),
                Cell(id_),
                Cell(words.word(spoken, "kind", one.kind)),
                Cell(words.word(spoken, "relationship", one.relationship)),
                Cell(named(rows.get(one.parent_id or ""), spoken)),
                agreement(one),
                Cell(words.word(spoken, "status", one.status), tone=words.TONES[one.status]),
            ]
            for depth, id_, one in tree(rows)
        ]
        titles = (N_("Name"), N_("Identifier"), N_("Kind"), N_("Belongs to us"), N_("Part of"), N_("Agreement until"), N_("State"))
        table = cut(spoken, ask, [Column(said(spoken, title)) for title in titles], cells, usual_filters(spoken))
        return shown(
            request, "organizations.html", table, "organizations", ask, error=error, parents=choices(session, spoken),
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
                parent_id=form.one("parent_id") or None, agreement_until=_until(form),
            ),
        )  # fmt: skip
        return _organizations(request, who, session, error) if error else to("/console/organizations", done="saved")

    @router.get("/console/organizations/{organization_id}")
    def organization(request: Request, organization_id: str, who: Reader, session: SessionDep) -> Response:
        return _organization(request, organization_id, who, session)

    def _organization(request: Request, organization_id: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        return pages.show(
            request, "organization.html", status=error.status if error else 200, error=error, it=identity.organization(session, organization_id),
            people=identity.people(session, organization_id), clients=identity.clients(session, organization_id), known=known(session),
            may_write=who.caller.may(Action.ORGANIZATION_WRITE),
        )  # fmt: skip

    @router.post("/console/organizations/{organization_id}")
    def change_organization(request: Request, organization_id: str, form: Posted, who: OrganizationWriter, session: SessionDep) -> Response:
        error = done(
            session,
            lambda: identity.change_organization(
                session, who.caller.actor, organization_id, status=_one_of(form, "status", words.STATUS), agreement_until=_until(form),
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
        spoken, ask, rows = pages.language(request), Ask.of(request), known(session)
        everybody = identity.people(session)
        held, with_factor = identity.all_offices(session), identity.people_with_factor(session)
        needed = desk.settings.second_factor_needed_by

        def factor(one: models.Person) -> Cell:
            if one.id in with_factor:
                return Cell(said(spoken, N_("yes")))
            missing = any(role in needed for role, _ in held.get(one.id, ()))
            return Cell(said(spoken, N_("missing")), tone="bad") if missing else Cell("–")

        cells = [
            [
                Cell(one.name, href=f"/console/people/{one.id}"),
                Cell(one.username),
                Cell(named(rows.get(one.organization_id), spoken)),
                Cell(
                    said(spoken, N_(", ")).join(dict.fromkeys(words.word(spoken, "role", role.value) for role, _ in sorted(held.get(one.id, ()))))
                    or "–"
                ),
                factor(one),
                Cell(words.word(spoken, "status", one.status), tone=words.TONES[one.status]),
            ]
            for one in everybody
        ]
        titles = (N_("Name"), N_("User name"), N_("Organisation"), N_("Roles"), N_("Second factor"), N_("State"))
        table = cut(spoken, ask, [Column(said(spoken, title)) for title in titles], cells, usual_filters(spoken))
        return shown(
            request, "people.html", table, "people", ask, error=error, organizations=choices(session, spoken), roles=_roles(spoken),
            apart=[(words.word(spoken, "role", role), [one for one in everybody if any(role == held_ for held_, _ in held.get(one.id, ()))])
                   for role in APART],
            may_write=who.caller.may(Action.PERSON_WRITE),
        )  # fmt: skip

    @router.post("/console/people")
    def add_person(request: Request, form: Posted, who: PersonWriter, session: SessionDep) -> Response:
        home = form.one("organization")
        error = done(
            session,
            lambda: identity.add_person(
                session, who.caller.actor, username=form.one("username"), name=_named(form, "name"), organization_id=home,
                password=form.one("password") or None, temporary=True, natural_person=form.one("natural_person") or None,
                roles=[(Role(role), home) for role in form.all("role") if role in words.ROLE],
            ),
        )  # fmt: skip
        return _people(request, who, session, error) if error else to("/console/people", done="saved")

    @router.get("/console/people/{person_id}")
    def person(request: Request, person_id: UUID, who: Reader, session: SessionDep) -> Response:
        return _person(request, person_id, who, session)

    def _person(request: Request, person_id: UUID, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, row = pages.language(request), identity.person(session, person_id)
        return pages.show(
            request, "person.html", status=error.status if error else 200, error=error, it=row, known=known(session), roles=_roles(spoken),
            offices=sorted(identity.offices(session, person_id)), organizations=choices(session, spoken), spare=range(2),
            login=persons.login_of(session, who, person_id, desk.settings.sso_issuer),
            may_write=who.caller.may(Action.PERSON_WRITE) and person_id != who.caller.person_id,
        )  # fmt: skip

    @router.post("/console/people/{person_id}")
    def change_person(request: Request, person_id: UUID, form: Posted, who: PersonWriter, session: SessionDep) -> Response:
        def act() -> None:
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
        spoken, ask, rows = pages.language(request), Ask.of(request), known(session)
        cells = [
            [
                Cell(one.id, href=f"/console/clients/{one.id}"),
                Cell(one.name),
                Cell(named(rows.get(one.organization_id), spoken)),
                Cell(str(len(one.jwks.get("keys", ()))) if one.jwks_uri is None else said(spoken, N_("published by it"))),
                Cell(said(spoken, N_("yes")) if one.dpop else "–"),
                Cell(words.word(spoken, "status", one.status), tone=words.TONES[one.status]),
            ]
            for one in identity.clients(session)
        ]
        titles = (N_("Identifier"), N_("Name of the system"), N_("Organisation"), N_("Keys"), N_("Tokens bound to a key"), N_("State"))
        table = cut(spoken, ask, [Column(said(spoken, title)) for title in titles], cells, usual_filters(spoken))
        return shown(
            request, "clients.html", table, "clients", ask, error=error, organizations=choices(session, spoken),
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
                organization_id=form.one("organization"),
                name=_named(form, "name"),
                jwks=_jwks(form),
                jwks_uri=form.one("jwks_uri") or None,
                dpop=form.has("dpop"),
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
                identity.change_client(session, who.caller.actor, client_id, status=status, name=_named(form, "name"), dpop=form.has("dpop"))

        error = done(session, act)
        return _client(request, client_id, who, session, error) if error else to(f"/console/clients/{quote(client_id)}", done="saved")

    return router


def tree(rows: dict[str, models.Organization]) -> list[tuple[int, str, models.Organization]]:
    """Organisations as a tree: each below the one that it is part of, with how deep it stands."""
    below: dict[str | None, list[str]] = {}
    for id_, row in rows.items():
        below.setdefault(row.parent_id if row.parent_id in rows else None, []).append(id_)
    found: list[tuple[int, str, models.Organization]] = []

    def walk(parent: str | None, depth: int) -> None:
        for id_ in below.get(parent, ()):
            found.append((depth, id_, rows[id_]))
            walk(id_, depth + 1)

    walk(None, 0)
    return found


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


def _until(form: Form) -> datetime | None:
    """The last moment of a day, or None where none was given. Raises Invalid."""
    given = form.one("agreement_until")
    try:
        return datetime.combine(date.fromisoformat(given), time(23, 59, 59), UTC) if given else None
    except ValueError:
        raise Invalid(problems=(Problem("/agreement_until", "day", "A day is written YYYY-MM-DD."),)) from None


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
