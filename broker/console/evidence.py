"""Opening a case: the sendings that prove it are searched for and ticked, on one page, without identifiers and without a script (RS-7.3).

One form holds the search, the ticks and the words, so that a search loses neither. It is sent as a body: no address says whom
somebody looks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.audit import service as audit
from broker.console import event_words, journal, language, pickers, tables, words
from broker.console.afterwards import LONGEST, actor_name, choice_of, offered, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_, said
from broker.console.pages import Pages, filled, named, text, to
from broker.console.tables import Ask
from broker.database import SessionDep
from broker.errors import BrokerError, Forbidden, Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.incidents.service import exhibits, violations

PAGE = "/console/violations/new"
TITLES = (N_("Time"), N_("Recipient"), N_("Application"), N_("Purpose"), N_("Resources"), N_("Outcome"))
SEARCHED = ("patient", "recipient", "application", "since", "until")
WRITTEN = ("person", "organization", "grounds", "text")
#: Ticks of one case; the rules of cases allow no more.
MOST = 100


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page on which a case is opened."""
    router = APIRouter()

    def row(spoken: str, known: identity.Directory, one: audit.Transmission) -> dict[str, Any]:
        at, receiver = language.moment(spoken, desk.settings.time_zone, one.at), named(known.get(one.receiver or ""), spoken)
        return {
            "event": str(one.outcome_event or one.intent_event),
            "called": f"{at} · {receiver} · {one.application or '–'}",
            "cells": [
                at, receiver, one.application or "–", text(desk.purposes.get(one.purpose or ""), spoken),
                "–" if one.items is None else str(one.items), words.word(spoken, "outcome", one.outcome),
            ],
        }  # fmt: skip

    def shown(
        request: Request, who: Visitor, session: Session, given: dict[str, str], taken: Sequence[UUID], error: BrokerError | None = None
    ) -> Response:
        spoken = pages.language(request)
        ask = Ask(PAGE, {name: given[name].strip()[:200] for name in SEARCHED if given.get(name, "").strip() and "\x00" not in given[name]})
        since, until = journal.moments(desk, ask)
        known = identity.Directory(session)
        found = audit.transmissions(
            session, patient=journal.whose(desk, session, who, ask.text("patient")), recipient=ask.one_of("recipient", known) or None,
            application=ask.text("application").upper() or None, since=since, until=until, limit=tables.SIZE + len(taken) + 1,
        )  # fmt: skip
        held = exhibits.looked_up(session, taken)
        anybody = pickers.organizations(session, spoken, identity.ANY)
        rows = [one for one in (row(spoken, known, sent) for sent in found) if UUID(one["event"]) not in taken]
        return pages.show(
            request, "violation_new.html", status=error.status if error else 200, error=error, given=given, searched=bool(ask.values),
            taken=[{"event": str(one.event), "called": exhibit_words(desk, session, spoken, one, known)} for one in held],
            titles=[said(spoken, title) for title in TITLES], found=rows[: tables.SIZE], more=len(rows) > tables.SIZE,
            recipients=anybody.picker(filled(request), "recipient"), places=anybody.picker(filled(request), "organization"),
            called={name: known.get(given.get(name)) for name in ("recipient", "organization")}, grounds=offered(spoken, "case_grounds"),
            people=pickers.people(session, identity.ANY).picker(filled(request), "person"),
        )  # fmt: skip

    @router.get(PAGE)
    def begin(request: Request, who: SignedIn, session: SessionDep) -> Response:
        check(who)
        ask = Ask.of(request)
        return shown(request, who, session, {name: ask.text(name) for name in ("application", "recipient", "organization", "person")}, ())

    @router.post(PAGE)
    def go_on(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        check(who)
        given = {name: form.one(name)[:LONGEST] for name in (*SEARCHED, *WRITTEN)}
        if form.one("step") != "open":
            return shown(request, who, session, given, _ticked(form))
        made: list[str] = []

        def act() -> None:
            taken = _ticked(form)
            if not taken:
                raise Invalid(problems=(Problem("/evidence", "evidence-none", "Tick at least one sending."),))
            against = pickers.people(session, identity.ANY).read(form, "person")
            opened = violations.open_case(
                session, desk.keys, who.caller, person=_person(session, against),
                organization=pickers.organizations(session, "zh", identity.ANY).read(form, "organization") or None,
                grounds=choice_of(form, "grounds", words.TABLES["case_grounds"]), evidence=taken, told=text_of(form),
            )  # fmt: skip
            made.append(opened.number)

        again = lambda error: shown(request, who, session, given, _ticked(form), error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, act, again, lambda: to(f"/console/violations/{made[0]}", done="case-opened"))

    return router


def check(who: Visitor) -> None:
    """Who opens cases, and may see what was sent. Raises Forbidden."""
    if not (who.caller.may(Button.INCIDENT_HANDLE) and who.caller.may(Button.TRANSMISSION_READ)):
        raise Forbidden


def exhibit_words(desk: Desk, session: Session, spoken: str, one: exhibits.Exhibit, known: identity.Directory) -> str:
    """An event as evidence, in words: when, what, to whom, under which application."""
    to_whom = named(known.get(one.recipient or ""), spoken) if one.recipient else actor_name(session, spoken, one.actor)
    at = language.moment(spoken, desk.settings.time_zone, one.at)
    return " · ".join(part for part in (at, event_words.event(spoken, one.type), to_whom, one.application or "") if part)


def _ticked(form: Form) -> tuple[UUID, ...]:
    """The events that are ticked, each once. Raises Invalid for what is no tick of ours."""
    try:
        found = tuple(dict.fromkeys(UUID(one) for one in form.all("evidence")))
    except ValueError:
        raise Invalid(problems=(Problem("/evidence", "unknown", "There is no such choice."),)) from None
    if len(found) > MOST:
        raise Invalid(problems=(Problem("/evidence", "too-many-ticked", "A case takes 100 pieces of evidence at most."),))
    return found


def _person(session: Session, username: str) -> UUID | None:
    """Raises Invalid where nobody is called so."""
    if not username:
        return None
    if found := identity.person_named(session, username):
        return found.id
    raise Invalid(problems=(Problem("/person", "unknown", "There is no such choice."),))
