"""Cases against people and organisations at the console: opened with evidence, heard, decided by two, appealed (RS-7.3)."""

from __future__ import annotations

from types import MappingProxyType

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.audit import receipt
from broker.console import afterwards, language, words
from broker.console.afterwards import actor_name, choice_of, offered, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.evidence import exhibit_words
from broker.console.language import N_, said
from broker.console.pages import HEADERS, Pages, named, to
from broker.console.tables import Cell
from broker.database import SessionDep
from broker.errors import BrokerError, Malformed, NotFound
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.incidents.models import Violation
from broker.incidents.service import CASE_MOVES, CaseAction, CaseState, Sanction, exhibits, possible_for, violations

#: What comes next, for whoever looks.
NEXT = MappingProxyType(
    {
        CaseState.OPENED: N_("The accused answers or lets the time pass; then somebody who handles cases proposes a sanction or dismisses it."),
        CaseState.HEARD: N_("Somebody who handles cases proposes a sanction, or dismisses the case."),
        CaseState.PROPOSED: N_("A second person, other than whoever proposed it, agrees or sends it back."),
        CaseState.DECIDED: N_("The accused may appeal. Without an appeal it ends by itself where it has days, or with the training."),
        CaseState.APPEALED: N_("An auditor who took no part upholds or overturns it."),
        CaseState.UPHELD: N_("The decision stands. It ends by itself where it has days, or with the training."),
    }
)
TITLES = (N_("Number"), N_("Against"), N_("Grounds"), N_("State"), N_("Sanction"), N_("Opened"))


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The list, and one case."""
    router = APIRouter()
    zone = desk.settings.time_zone

    def against(session: Session, spoken: str, row: Violation) -> str:
        if row.person_id is not None:
            return identity.person(session, row.person_id).name
        return named(identity.organization(session, row.organization_id or ""), spoken)

    @router.get("/console/violations")
    def many(request: Request, who: SignedIn, session: SessionDep) -> Response:
        spoken = pages.language(request)
        cells = [
            [
                Cell(one.number, href=f"/console/violations/{one.number}"),
                Cell(against(session, spoken, one)),
                Cell(words.word(spoken, "case_grounds", one.grounds)),
                Cell(words.word(spoken, "case_state", one.status), tone=words.TONES.get(one.status, "quiet")),
                Cell(words.word(spoken, "sanction", one.sanction), note=said(spoken, N_("in force")) if one.in_force else ""),
                Cell(language.moment(spoken, zone, one.opened_at)),
            ]
            for one in violations.many(session, who.caller, limit=500)
        ]
        handles = who.caller.may(Button.INCIDENT_HANDLE)
        return afterwards.show(pages, request, "violations.html", table=afterwards.listed(request, pages, TITLES, cells), handles=handles)

    def shown(request: Request, number: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        row = violations.look(session, who.caller, number)
        known = identity.Directory(session)
        state = CaseState(row.status)
        accused = violations.is_accused(session, who.caller, row)
        offers = {action for at, action in CASE_MOVES if at is state}
        handles = who.caller.may(Button.INCIDENT_HANDLE) and not accused
        appealing = CaseAction.APPEAL in offers and row.appeal_until is not None and clock.now() <= row.appeal_until
        heard = state is not CaseState.OPENED or clock.now() >= row.hearing_until
        may = {
            "hear": accused and CaseAction.HEAR in offers,
            "propose": handles and CaseAction.PROPOSE in offers and heard,
            "decide": handles and CaseAction.DECIDE in offers and row.proposed_by != who.caller.natural_person,
            "appeal": (accused or (handles and row.in_force)) and appealing,
            "decide-appeal": who.caller.may(Button.REVIEW_WRITE) and CaseAction.UPHOLD in offers,
            "end": handles and CaseAction.END in offers and row.sanction == Sanction.RETRAINING.value,
            "dismiss": handles and CaseAction.DISMISS in offers,
        }
        return pages.show(
            request, "violation.html", status=error.status if error else 200, error=error, it=row, against=against(session, spoken, row),
            opener=actor_name(session, spoken, row.opened_by), may=may, waits=handles and CaseAction.PROPOSE in offers and not heard,
            said_words=[(words.word(spoken, "case_words", name), text) for name, text in violations.words(desk.keys, row).items() if text],
            sanctions=offered(spoken, "sanction", [one.value for one in possible_for(person=row.person_id is not None)]),
            next=NEXT.get(state), may_act=handles, proves=who.caller.may(Button.TRANSMISSION_READ), accused=accused,
            evidence=[(one, exhibit_words(desk, session, spoken, one, known)) for one in exhibits.shown(session, row)],
        )  # fmt: skip

    @router.get("/console/violations/{number}")
    def one(request: Request, number: str, who: SignedIn, session: SessionDep) -> Response:
        return shown(request, number, who, session)

    @router.get("/console/violations/{number}/receipts/{index}")
    def proven(number: str, index: int, who: SignedIn, session: SessionDep) -> Response:
        found = [one for one in exhibits.shown(session, violations.look(session, who.caller, number)) if one.index == index and one.receipt]
        if not found:
            raise NotFound("an entry of this case")
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{number}-{index}.tlog-proof"'}
        return Response(found[0].receipt, media_type=receipt.MEDIA_TYPE, headers=headers)

    @router.post("/console/violations/{number}")
    def step(request: Request, number: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        if form.one("step") in ("propose", "agree"):
            identity.stepped_up(desk.settings, who.caller)
        again = lambda error: shown(request, number, who, session, error)  # noqa: E731  (As above.)
        return tried(session, lambda: _step(desk, form, who, session, number), again, lambda: to(f"/console/violations/{number}", done="saved"))

    return router


def _step(desk: Desk, form: Form, who: Visitor, session: Session, number: str) -> None:
    keys, caller = desk.keys, who.caller
    match form.one("step"):
        case "hear":
            violations.hear(session, keys, caller, number, text=text_of(form))
        case "propose":
            sanction = Sanction(choice_of(form, "sanction", list(Sanction)))
            days = afterwards.number_of(form, "days", 3650) if sanction is Sanction.SUSPENDED else None
            violations.propose(session, keys, caller, number, sanction=sanction, days=days, text=text_of(form))
        case "agree" | "return" as name:
            violations.decide(session, keys, caller, number, agree=name == "agree")
        case "appeal":
            violations.appeal(session, keys, caller, number, text=text_of(form))
        case "uphold" | "overturn" as name:
            violations.decide_appeal(session, caller, number, uphold=name == "uphold")
        case "end":
            violations.end(session, caller, number, text=text_of(form))
        case "dismiss":
            violations.dismiss(session, caller, number)
        case _:
            raise Malformed("There is no such step.")
