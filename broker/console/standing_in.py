"""Who stands in for whom: an office is lent to a colleague for a while, and taken back (RS-5.2.4, RS-6.1)."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.applications import service as applications
from broker.console import pickers, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.pages import Pages, filled, named, to
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Role


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page, lending and taking back."""
    router = APIRouter()
    zone = ZoneInfo(desk.settings.time_zone)

    def show(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        known = identity.Directory(session)
        lendable = _offices(session, who)
        holders = identity.names_of(session, [one[0] for one in lendable])
        return pages.show(
            request,
            "standing_in.html",
            status=error.status if error else 200,
            error=error,
            rows=[
                {
                    "id": row.id,
                    "from": known.person(row.person_id),
                    "to": known.person(row.delegate_id),
                    "office": f"{words.word(spoken, 'role', row.role)} · {named(known.get(row.organization_id), spoken)}",
                    "since": row.since,
                    "until": row.until - timedelta(microseconds=1),
                    "mine": row.delegate_id == who.caller.person_id,
                }
                for row in applications.delegations(session, who.caller)
            ],
            offices=[
                (f"{person}|{role.value}|{place}", " · ".join([*([holders[person]] if person != who.caller.person_id else []),
                 words.word(spoken, "role", role.value), named(known.get(place), spoken)]))
                for person, role, place in lendable
            ],
            colleagues=pickers.people(session, identity.OWN, by="id").picker(filled(request), "to").without(str(who.caller.person_id)),
            today=clock.now().astimezone(zone).date(),
        )  # fmt: skip

    @router.get("/console/standing-in")
    def page(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return show(request, who, session)

    @router.post("/console/standing-in")
    def lend(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                given = _given(pickers.people(session, identity.OWN, by="id").settled(form, "to"), zone)
                applications.delegate(session, who.caller, **given)
        except BrokerError as error:
            return show(request, who, session, error)
        return to("/console/standing-in", done="lent")

    @router.post("/console/standing-in/{delegation}/end")
    def take_back(request: Request, delegation: UUID, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        del form
        try:
            with session.begin_nested():
                applications.end_delegation(session, who.caller, delegation)
        except BrokerError as error:
            return show(request, who, session, error)
        return to("/console/standing-in", done="taken-back")

    return router


def _offices(session: Session, who: Visitor) -> list[tuple[UUID, Role, str]]:
    """What somebody may lend: their own offices; for the administrator, also those of whoever is away."""
    held = identity.all_offices(session)
    found = [(person, role, place) for person, offices in held.items() for role, place in sorted(offices) if role in applications.OFFICES]
    return found if Role.ADMINISTRATOR in who.caller.roles else [one for one in found if one[0] == who.caller.person_id]


def _given(form: Form, zone: ZoneInfo) -> dict[str, Any]:
    """The form as the verb takes it; the last day counts whole. Raises Invalid."""
    problems: list[Problem] = []
    person, _, rest = form.one("office").partition("|")
    role, _, place = rest.partition("|")
    given: dict[str, Any] = {"organization": place}
    for name, read in (("person", lambda: UUID(person)), ("role", lambda: Role(role)), ("to", lambda: UUID(form.one("to")))):
        try:
            given[name] = read()
        except ValueError:
            problems.append(Problem(f"/{'office' if name != 'to' else 'to'}", "unknown", "There is no such choice."))
    for name, later in (("since", 0), ("until", 1)):
        try:
            day = date.fromisoformat(form.one(name)) + timedelta(days=later)
            given[name] = datetime.combine(day, time(), zone)
        except (ValueError, OverflowError):
            problems.append(Problem(f"/{name}", "day", "This is not a day."))
    if problems:
        raise Invalid(problems=tuple(dict.fromkeys(problems)))
    return given
