"""Learning at the console: corrective actions, the risk register, adverse events (PI-5, PI-6, QA-4.3)."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import afterwards, language, pickers, words
from broker.console.afterwards import choice_of, day_of, id_of, moment_of, number_of, offered, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_, said
from broker.console.pages import Pages, filled, to
from broker.console.patient import known_as
from broker.console.tables import Ask, Cell
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Malformed, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.incidents import service as incidents
from broker.incidents.service import risk_score
from broker.records import service as records

_NUMBER = re.compile(r"[A-Z]{2}-\d{4}-\d{4,}")
TITLES = (N_("What is to be changed"), N_("Where"), N_("Because of"), N_("Owner"), N_("Due"), N_("State"))


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """One page for all three: what is open, and what was learnt."""
    router = APIRouter()
    zone = desk.settings.time_zone

    def shown(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, ask, today = pages.language(request), Ask.of(request), desk.today
        reads, handles = who.caller.may(Button.INCIDENT_READ), who.caller.may(Button.INCIDENT_HANDLE)
        rows = incidents.actions(session, who.caller)
        known = identity.Directory(session)
        cells = [
            [
                Cell(one.title, note=one.evidence or ""),
                Cell(words.word(spoken, "action_changes", one.changes)),
                Cell(words.word(spoken, "action_source", one.source), href=_where(one.source, one.source_ref), note=one.source_ref),
                Cell(known.person(one.owner_id)),
                Cell(language.day(spoken, one.due_on)),
                Cell(*_state(spoken, done=one.done_at is not None, late=one.due_on < today)),
            ]
            for one in rows
        ]
        risks: list[dict[str, Any]] = [
            {"row": one, "score": risk_score(one.likelihood, one.impact), "owner": known.person(one.owner_id),
             "late": one.status == "open" and one.review_on < today}
            for one in (incidents.risks(session, who.caller) if reads else ())
        ]  # fmt: skip
        events = [
            {"row": one, "said": incidents.adverse_words(session, desk.keys, one)}
            for one in (incidents.adverse_events(session, who.caller, limit=100) if reads else ())
        ]
        return afterwards.show(
            pages, request, "improvement.html", status=error.status if error else 200, error=error,
            table=afterwards.listed(request, pages, TITLES, cells), handles=handles, reads=reads, risks=risks, events=events,
            open_actions=[(str(one.id), one.title) for one in rows if one.done_at is None],
            owners=pickers.people(session, identity.OWN, by="id").picker(filled(request), "owner"),
            sources=offered(spoken, "action_source"), changes=offered(spoken, "action_changes"), states=offered(spoken, "risk_state"),
            grades=[(str(one), str(one)) for one in range(1, 6)], seriousness=offered(spoken, "seriousness"),
            categories=offered(spoken, "adverse_category"), source=ask.one_of("source", words.TABLES["action_source"]),
            ref=ask.text("ref"), today=today, me=str(who.caller.person_id),
        )  # fmt: skip

    @router.get("/console/improvement")
    def page(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return shown(request, who, session)

    @router.post("/console/improvement")
    def act(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        again = lambda error: shown(request, who, session, error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, lambda: _step(desk, form, who, session, zone), again, lambda: to("/console/improvement", done="saved"))

    return router


def _step(desk: Desk, form: Form, who: Visitor, session: Session, zone: str) -> None:
    if form.one("step") in ("action", "risk"):
        form = pickers.people(session, identity.OWN, by="id").settled(form, "owner")
    match form.one("step"):
        case "action":
            incidents.open_action(
                session, who.caller, source=choice_of(form, "source", words.TABLES["action_source"]), source_ref=_short(form, "ref", 40),
                changes=choice_of(form, "changes", words.TABLES["action_changes"]), title=_short(form, "title", 200), owner=id_of(form, "owner"),
                due_on=day_of(form, "due"),
            )  # fmt: skip
        case "done":
            incidents.finish_action(session, who.caller, id_of(form, "action"), evidence=_short(form, "evidence", 200))
        case "risk":
            incidents.put_risk(
                session, who.caller, risk_id=id_of(form, "risk") if form.one("risk") else None, title=_short(form, "title", 200),
                treatment=text_of(form, "treatment"), likelihood=number_of(form, "likelihood", 5), impact=number_of(form, "impact", 5),
                owner=id_of(form, "owner"), review_on=day_of(form, "review"), status=choice_of(form, "status", words.TABLES["risk_state"]),
            )  # fmt: skip
        case "event":
            key = known_as(session, desk.keys, desk.settings, form.one("patient")[:64])
            occurred = moment_of(form, "occurred", zone)
            if key is None or occurred is None:
                raise Invalid(problems=(Problem("/patient", "not-matched", "No patient matches."),))
            incidents.report_adverse_event(
                session, desk.keys, who.caller, patient=records.open_vault(session, desk.keys, key).fhir_id,
                category=choice_of(form, "category", words.TABLES["adverse_category"]),
                seriousness=choice_of(form, "seriousness", words.TABLES["seriousness"]), occurred_at=occurred, told=text_of(form),
                incident=form.one("incident") or None,
            )  # fmt: skip
        case "cause":
            incidents.analyse_adverse_event(session, desk.keys, who.caller, id_of(form, "event"), root_cause=text_of(form))
        case _:
            raise Malformed("There is no such step.")


#: Where what an action came of is read; the rest stands on the page of the actions itself.
_PAGES = MappingProxyType({"incident": "incidents", "violation": "violations", "complaint": "concerns", "suggestion": "concerns"})


def _where(source: str, ref: str) -> str:
    """The page of what an action came of; "" where it has none, or its number is none."""
    return f"/console/{_PAGES[source]}/{ref}" if source in _PAGES and _NUMBER.fullmatch(ref) else ""


def _short(form: Form, name: str, most: int) -> str:
    given = text_of(form, name)
    if len(given) > most or "\n" in given:
        raise Invalid(problems=(Problem(f"/{name}", "required", "This field must be filled in."),))
    return given


def _state(spoken: str, *, done: bool, late: bool) -> tuple[str, str, str]:
    """What stands in the last cell, and its tone."""
    if done:
        return said(spoken, N_("done")), "", "good"
    return (said(spoken, N_("late")), "", "bad") if late else (said(spoken, N_("open")), "", "waiting")
