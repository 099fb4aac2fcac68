"""Requests of patients about their own data (PIPL 44 to 50): the desk that answers them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import afterwards, corrections, language, words
from broker.console.afterwards import actor_name, choice_of, offered, several, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.language import N_, said
from broker.console.own_requests import file_of
from broker.console.pages import Pages, to
from broker.console.patient import known_as
from broker.console.tables import Ask, Cell, Filter
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Malformed, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.requests import service as requests
from broker.requests.service import ARTICLES, Action, By, Ground, Kind, State

TITLES = (N_("Number"), N_("What is asked"), N_("State"), N_("Who asks"), N_("Way"), N_("Received"), N_("Answer by"))

Reader = Annotated[Visitor, Depends(require(Button.REQUEST_READ))]
Handler = Annotated[Visitor, Depends(require(Button.REQUEST_HANDLE))]


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The list, where a request is taken at the desk, one request, and its copy."""
    router = APIRouter()
    zone = desk.settings.time_zone

    def listed(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        state = Ask.of(request).one_of("status", [one.value for one in State])
        early = requests.estimated(session)
        cells = [
            [
                Cell(one.number, href=f"/console/requests/{one.number}"),
                Cell(words.word(spoken, "request_kind", one.kind)),
                Cell(words.word(spoken, "request_state", one.status), tone=words.TONES.get(one.status, "quiet")),
                Cell(words.word(spoken, "request_by", one.by)),
                Cell(said(spoken, N_("own page") if one.channel == "page" else N_("desk"))),
                Cell(language.moment(spoken, zone, one.received_at)),
                Cell(
                    language.day(spoken, one.due_on),
                    note=said(spoken, N_("late") if requests.is_late(one) else N_("estimated") if early(one) else ""),
                ),
            ]
            for one in requests.many(session, who.caller, state=State(state) if state else None, limit=2000)
        ]
        states = Filter("status", said(spoken, N_("State")), offered(spoken, "request_state"))
        return afterwards.show(
            pages, request, "requests.html", status=error.status if error else 200, error=error,
            table=afterwards.listed(request, pages, TITLES, cells, [states]), handles=who.caller.may(Button.REQUEST_HANDLE),
            kinds=offered(spoken, "request_kind"), bys=offered(spoken, "request_by"),
        )  # fmt: skip

    @router.get("/console/requests")
    def many(request: Request, who: Reader, session: SessionDep) -> Response:
        return listed(request, who, session)

    @router.post("/console/requests")
    def take(request: Request, form: Posted, who: Handler, session: SessionDep) -> Response:
        made: list[str] = []

        def act() -> None:
            key = known_as(session, desk.keys, desk.settings, form.one("patient")[:64])
            if key is None:
                raise Invalid(problems=(Problem("/patient", "not-matched", "No patient matches."),))
            row = requests.ask(
                session, desk.keys, key, kind=Kind(choice_of(form, "kind", list(Kind))), by=By(choice_of(form, "by", list(By))), text=text_of(form),
                asker=text_of(form, "asker", required=False) or None, caller=who.caller,
            )  # fmt: skip
            made.append(row.number)

        again = lambda error: listed(request, who, session, error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, act, again, lambda: to(f"/console/requests/{made[0]}", done="saved"))

    def shown(request: Request, number: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, caller, keys = pages.language(request), who.caller, desk.keys
        row = requests.look(session, caller, number)
        kind, by = Kind(row.kind), By(row.by)
        handles = caller.may(Button.REQUEST_HANDLE)
        actions = {one.value for one in requests.possible(State(row.status))} if handles else set()
        if kind is Kind.DELETION:
            actions -= {Action.FULFIL.value}
        else:
            actions -= {Action.ORDER.value}
        if kind is not Kind.RESTRICTION or row.lifted_at is not None:
            actions -= {Action.LIFT.value}
        if row.extended:
            actions -= {Action.EXTEND.value}
        found = requests.staged(session, keys, caller, row)
        other = State(row.status) is State.APPEALED and row.decided_by == caller.natural_person
        return pages.show(
            request, "request.html", status=error.status if error else 200, error=error, it=row, article=ARTICLES[kind], late=requests.is_late(row),
            estimated=requests.estimated(session)(row),
            text=requests.words_of(session, keys, caller, row, "text", row.text_sealed), asker=requests.asker_of(session, keys, caller, row),
            answer=requests.answer_of(session, keys, caller, row), actions=actions, decided_himself=other,
            proposer=actor_name(session, spoken, found.actor) if found else "",
            grounds=offered(spoken, "request_ground", [one.value for one in requests.grounds(kind, by)]), copies=handles and requests.may_copy(row),
            staged=corrections.shown(spoken, found, caller.natural_person) if found else None,
            steps=[
                {"what": words.word(spoken, "request_step", one.action), "at": one.at, "who": actor_name(session, spoken, one.actor), "text": given}
                for one, given in requests.steps(session, keys, caller, row)
            ],
        )  # fmt: skip

    @router.get("/console/requests/{number}")
    def one(request: Request, number: str, who: Reader, session: SessionDep) -> Response:
        return shown(request, number, who, session)

    @router.post("/console/requests/{number}")
    def step(request: Request, number: str, form: Posted, who: Handler, session: SessionDep) -> Response:
        again = lambda error: shown(request, number, who, session, error)  # noqa: E731  (As above.)
        onwards = lambda: to(f"/console/requests/{quote(number)}", done="saved")  # noqa: E731  (As above.)
        return tried(session, lambda: _step(desk, form, who, session, number), again, onwards)

    @router.get("/console/requests/{number}/copy.json")
    def copy(number: str, who: Handler) -> Response:
        identity.stepped_up(desk.settings, who.caller)
        with desk.database.transaction() as session:
            row = requests.look(session, who.caller, number)
        return file_of(desk, row.number, requests.held(desk.database, desk.keys, who.caller.actor, row, hospital=desk.settings.hospital))

    return router


def _step(desk: Desk, form: Form, who: Visitor, session: Session, number: str) -> None:
    keys, caller = desk.keys, who.caller
    simple = {
        "identify": requests.identify, "extend": requests.extend, "order": requests.order, "uphold": requests.uphold, "lift": requests.lift,
        "fulfil": requests.fulfil,
    }  # fmt: skip
    name = form.one("step")
    if name in simple:
        simple[name](session, keys, caller, number, text=text_of(form))
        return
    match name:
        case "correct":
            requests.note(session, keys, caller, number, text=text_of(form), references=several(form, "references"))
        case "agree":
            requests.agree(session, keys, desk.database, caller, number, text=text_of(form))
        case "send-back":
            requests.send_back(session, keys, caller, number, text=text_of(form))
        case "refuse":
            ground = Ground(choice_of(form, "ground", list(Ground)))
            requests.refuse(session, keys, caller, number, ground=ground, text=text_of(form))
        case "appeal":
            requests.appeal(session, keys, requests.look(session, caller, number), text=text_of(form), actor=caller.actor)
        case "withdraw":
            requests.withdraw(session, keys, requests.look(session, caller, number), actor=caller.actor)
        case _:
            raise Malformed("There is no such step.")
