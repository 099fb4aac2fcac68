"""The registers of people, organisations and systems as lists: what stands in a line, and what keeps each from being used (issue 7; RS-3, ID-2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from sqlmodel import Session

from broker import clock
from broker.console import language, pickers, tables, words
from broker.console.desk import Desk
from broker.console.language import N_, said
from broker.console.pages import named
from broker.console.tables import Ask, Cell, Column, Filter, Table
from broker.identity import models
from broker.identity import service as identity
from broker.identity.access import Role
from broker.incidents import service as incidents
from broker.incidents.service import TargetKind

#: How somebody, an organisation or a system may stand, in words.
STATES: Mapping[str, str] = {
    "active": N_("Active"),
    "suspended": N_("Suspended"),
    "barred": N_("Barred by a sanction"),
    "locked": N_("Locked: wrong passwords"),
    "no-factor": N_("Second factor missing"),
    "ended": N_("Agreement ended"),
    "ends-soon": N_("Agreement ends soon"),
}


def people(session: Session, desk: Desk, spoken: str, ask: Ask) -> Table:
    """The part of the register of people that is asked for. Raises NoSuchPlace."""
    needed, known = desk.settings.second_factor_needed_by, identity.Directory(session)
    home, organization = pickers.organizations(session, spoken, identity.ANY).filter(ask, "organization", said(spoken, N_("Organisation")))
    sort = ask.sort(identity.PEOPLE_SORTS, "username")
    sought = identity.Sought(
        words=ask.text("q"), state=ask.one_of("status", identity.PEOPLE_STATES), organization=organization,
        role=ask.one_of("role", [one.value for one in Role]), sort=sort, needed=needed,
    )  # fmt: skip
    part = identity.people_part(session, desk.keys, sought, ask.place, limit=ask.limit)
    frozen = incidents.frozen(session, TargetKind.PERSON, [str(one.person.id) for one in part.items])

    def line(one: identity.PersonLine) -> list[Cell]:
        row = one.person
        missing = not one.has_factor and any(role in needed for role in one.roles)
        factor = Cell(said(spoken, N_("missing")), tone="bad") if missing else Cell(said(spoken, N_("yes")) if one.has_factor else "–")
        return [
            Cell(row.name, href=f"/console/people/{row.id}"),
            Cell(row.username),
            Cell(named(known.get(row.organization_id), spoken)),
            Cell(said(spoken, N_(", ")).join(words.word(spoken, "role", role.value) for role in one.roles) or "–"),
            factor,
            _state(spoken, row.status, [
                frozen.get(str(row.id), ""),
                said(spoken, STATES["barred"]) if row.barred_at else "",
                said(spoken, STATES["locked"]) if one.locked else "",
            ]),
        ]  # fmt: skip

    titles = {N_("Name"): "name", N_("User name"): "username", N_("Organisation"): "organization", N_("Roles"): "", N_("Second factor"): "",
              N_("State"): ""}  # fmt: skip
    roles = Filter("role", said(spoken, N_("Role")), [(role.value, words.word(spoken, "role", role.value)) for role in Role])
    filters = [_words(spoken), home, roles, _states(spoken, identity.PEOPLE_STATES)]
    return _cut(spoken, ask, titles, [line(one) for one in part.items], part, [str(one.person.id) for one in part.items], filters, sort)


def organizations(session: Session, desk: Desk, spoken: str, ask: Ask) -> Table:
    """The part of the register of organisations that is asked for: as a tree unless it is sorted otherwise. Raises NoSuchPlace."""
    known, zone = identity.Directory(session), ZoneInfo(desk.settings.time_zone)
    sort = ask.sort(identity.ORGANIZATION_SORTS, "place")
    sought = identity.Sought(
        words=ask.text("q"), state=ask.one_of("status", identity.ORGANIZATION_STATES), kind=ask.one_of("kind", words.KIND),
        relationship=ask.one_of("relationship", words.RELATIONSHIP), sort=sort, language=spoken,
    )  # fmt: skip
    part = identity.organizations_part(session, sought, ask.place, limit=ask.limit)
    frozen = incidents.frozen(session, TargetKind.ORGANIZATION, [one.organization.id for one in part.items])

    def agreement(row: models.Organization) -> Cell:
        """Until when, and whether that is over or soon."""
        if row.agreement_until is None:
            return Cell("–")
        shown = language.day(spoken, row.agreement_until.astimezone(zone).date())
        if row.agreement_until <= clock.now():
            return Cell(shown, tone="bad", note=said(spoken, N_("ended")))
        soon = row.agreement_until <= clock.now() + identity.SOON
        return Cell(shown, tone="waiting" if soon else "", note=said(spoken, N_("ends soon")) if soon else "")

    def line(one: identity.OrganizationLine) -> list[Cell]:
        row = one.organization
        return [
            Cell(f"{'└ ' * one.depth}{named(row, spoken)}", href=f"/console/organizations/{row.id}"),
            Cell(row.id),
            Cell(words.word(spoken, "kind", row.kind)),
            Cell(words.word(spoken, "relationship", row.relationship)),
            Cell(named(known.get(row.parent_id), spoken)),
            agreement(row),
            _state(spoken, row.status, [frozen.get(row.id, "")]),
        ]

    titles = {N_("Name"): "name", N_("Identifier"): "id", N_("Kind"): "", N_("Belongs to us"): "", N_("Part of"): "",
              N_("Agreement until"): "agreement", N_("State"): ""}  # fmt: skip
    kinds = Filter("kind", said(spoken, N_("Kind")), [(code, words.word(spoken, "kind", code)) for code in words.KIND])
    sides = [(code, words.word(spoken, "relationship", code)) for code in words.RELATIONSHIP]
    filters = [_words(spoken), kinds, Filter("relationship", said(spoken, N_("Belongs to us")), sides), _states(spoken, identity.ORGANIZATION_STATES)]
    return _cut(spoken, ask, titles, [line(one) for one in part.items], part, [one.organization.id for one in part.items], filters, sort)


def clients(session: Session, spoken: str, ask: Ask) -> Table:
    """The part of the register of systems that is asked for. Raises NoSuchPlace."""
    known = identity.Directory(session)
    home, organization = pickers.organizations(session, spoken, identity.ANY).filter(ask, "organization", said(spoken, N_("Organisation")))
    sort = ask.sort(identity.CLIENT_SORTS, "id")
    sought = identity.Sought(words=ask.text("q"), state=ask.one_of("status", words.STATUS), organization=organization, sort=sort)
    part = identity.clients_part(session, sought, ask.place, limit=ask.limit)
    frozen = incidents.frozen(session, TargetKind.CLIENT, [one.id for one in part.items])

    def line(one: models.Client) -> list[Cell]:
        place = known.get(one.organization_id)
        stands = place is None or place.status == "active"
        return [
            Cell(one.id, href=f"/console/clients/{one.id}"),
            Cell(one.name),
            Cell(named(place, spoken), note="" if stands else said(spoken, STATES["suspended"])),
            Cell(str(len(one.jwks.get("keys", ()))) if one.jwks_uri is None else said(spoken, N_("published by it"))),
            Cell(said(spoken, N_("yes")) if one.dpop else "–"),
            _state(spoken, one.status, [frozen.get(one.id, "")]),
        ]

    titles = {N_("Identifier"): "id", N_("Name of the system"): "name", N_("Organisation"): "organization", N_("Keys"): "",
              N_("Tokens bound to a key"): "", N_("State"): ""}  # fmt: skip
    filters = [_words(spoken), home, _states(spoken, words.STATUS)]
    return _cut(spoken, ask, titles, [line(one) for one in part.items], part, [one.id for one in part.items], filters, sort)


def _state(spoken: str, status: str, notes: list[str]) -> Cell:
    """How a line stands. The first note is the incident by which it was frozen, if it was."""
    frozen, *more = notes
    why = [said(spoken, N_("frozen: {incident}")).format(incident=frozen)] if frozen else []
    tone = "waiting" if status == "active" and any(more) else words.TONES[status]
    return Cell(words.word(spoken, "status", status), tone=tone, note=said(spoken, N_(", ")).join([*why, *filter(None, more)]))


def _words(spoken: str) -> Filter:
    return Filter("q", said(spoken, N_("Name or identifier")))


def _states(spoken: str, codes: Any) -> Filter:
    return Filter("status", said(spoken, N_("State")), [(code, said(spoken, STATES[code])) for code in codes])


def _cut(
    spoken: str, ask: Ask, titles: Mapping[str, str], rows: list[list[Cell]], part: Any, keys: list[str], filters: list[Filter], sort: str
) -> Table:  # fmt: skip
    columns = [Column(said(spoken, title), key) for title, key in titles.items()]
    ends = (keys[0], keys[-1]) if keys else ("", "")
    return tables.cut(ask, columns, rows, part, ends, span=said(spoken, tables.SHOWN), filters=filters, sort=sort)
