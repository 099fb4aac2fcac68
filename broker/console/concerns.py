"""Suggestions and complaints, each with its answer: from staff, and from a patient at their own page (RS-7.2, QA-4.2)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.console import language, tables, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_, said
from broker.console.lists import SPAN
from broker.console.pages import Pages, to
from broker.console.patient import MENU, Patient, PostedByPatient, SignedInPatient
from broker.console.tables import Ask, Cell, Column, Filter
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.feedback.models import Concern, ConcernKind, ConcernState
from broker.feedback.service import clocks_of, concerns
from broker.identity.access import Action

_NUMBER = re.compile(r"SA-\d{4}-\d{6,}")
LONGEST = 4000


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The list, one concern with its answers, and the patient's own."""
    router, clocks = APIRouter(), clocks_of(desk.settings)

    def listed(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, ask = pages.language(request), Ask.of(request)
        state = ask.one_of("state", [one.value for one in ConcernState])
        limit, offset = ask.window
        rows = concerns.many(session, who.caller, state=ConcernState(state) if state else None, limit=limit + 1, offset=offset)
        zone = desk.settings.time_zone
        cells = [
            [
                Cell(one.number, href=f"/console/concerns/{one.number}"),
                Cell(words.word(spoken, "concern", one.kind)),
                Cell(words.word(spoken, "concern_state", one.state), tone="waiting" if one.state == ConcernState.OPEN else "good"),
                Cell(said(spoken, N_("a patient") if one.patient_token else N_("staff"))),
                Cell(one.application or "–", href=f"/console/applications/{one.application}" if one.application else ""),
                Cell(language.moment(spoken, zone, one.raised_at)),
                Cell(language.moment(spoken, zone, one.due_at), note=said(spoken, N_("late")) if _late(one) else ""),
            ]
            for one in rows[:limit]
        ]
        titles = (N_("Number"), N_("Kind"), N_("State"), N_("Who"), N_("Exchange"), N_("Raised"), N_("Answer by"))
        states = [(code, words.word(spoken, "concern_state", code)) for code in words.CONCERN_STATE]
        table = tables.made(
            ask, [Column(said(spoken, title)) for title in titles], cells, offset + len(rows),
            span=said(spoken, SPAN if len(rows) <= limit else N_("{first} to {last}, and more")),
            filters=[Filter("state", said(spoken, N_("State")), states)],
        )  # fmt: skip
        if ask.format:
            return tables.exported(table, ask.format, "concerns")
        kinds = [(code, words.word(spoken, "concern", code)) for code in words.CONCERN]
        return pages.show(request, "concerns.html", status=error.status if error else 200, error=error, table=table, kinds=kinds)

    @router.get("/console/concerns")
    def many(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return listed(request, who, session)

    @router.post("/console/concerns")
    def raise_one(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                kind = ConcernKind.COMPLAINT if form.one("kind") == "complaint" else ConcernKind.SUGGESTION
                concerns.raise_concern(
                    session, desk.keys, kind=kind, text=_text(form), person=who.caller.person_id, application=_about(form), clocks=clocks
                )
        except BrokerError as error:
            return listed(request, who, session, error)
        return to("/console/concerns", done="concern")

    def shown(request: Request, number: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        row = concerns.look(session, who.caller, number)
        spoken = pages.language(request)
        return pages.show(
            request, "concern.html", status=error.status if error else 200, error=error, it=_said(session, desk, row),
            may_answer=who.caller.may(Action.CONCERN_ANSWER) and row.person_id != who.caller.person_id and row.state != ConcernState.CLOSED,
            may_act=who.caller.may(Action.INCIDENT_HANDLE), shared_days=clocks.shared,
            may_extend=row.kind == ConcernKind.COMPLAINT and row.state == ConcernState.OPEN and concerns.longer(session, row, clocks) > row.due_at,
            verdicts=[(code, words.word(spoken, "verdict", code)) for code in words.VERDICT],
        )  # fmt: skip

    @router.get("/console/concerns/{number}")
    def one(request: Request, number: str, who: SignedIn, session: SessionDep) -> Response:
        return shown(request, number, who, session)

    @router.post("/console/concerns/{number}")
    def answer(request: Request, number: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                if form.one("step") == "extend":
                    concerns.extend(session, desk.keys, who.caller, number, clocks=clocks)
                    return to(f"/console/concerns/{quote(number)}", done="saved")
                if form.one("verdict") not in words.VERDICT:
                    raise Invalid(problems=(Problem("/verdict", "unknown", "There is no such choice."),))
                concerns.answer(session, desk.keys, who.caller, number, text=_text(form), verdict=concerns.Verdict(form.one("verdict")))
        except BrokerError as error:
            return shown(request, number, who, session, error)
        return to(f"/console/concerns/{quote(number)}", done="answered")

    # -- the patient --

    def own(request: Request, who: Patient, session: Session, error: BrokerError | None = None) -> Response:
        rows = [_said(session, desk, row) for row in concerns.of_patient(session, desk.keys, who.key)]
        return pages.show(
            request, "patient_concerns.html", status=error.status if error else 200, error=error, rows=rows, csrf=who.csrf, nav=MENU, at_patients=True
        )

    @router.get("/console/patient/concerns")
    def my_concerns(request: Request, who: SignedInPatient, session: SessionDep) -> Response:
        return own(request, who, session)

    @router.post("/console/patient/concerns")
    def complain(request: Request, form: PostedByPatient, who: SignedInPatient, session: SessionDep) -> Response:
        try:
            with session.begin_nested():
                concerns.raise_concern(
                    session, desk.keys, kind=ConcernKind.COMPLAINT, text=_text(form), patient=who.key, application=_about(form), clocks=clocks
                )
        except BrokerError as error:
            return own(request, who, session, error)
        return to("/console/patient/concerns", done="concern")

    return router


def _said(session: Session, desk: Desk, row: Concern) -> dict[str, Any]:
    """A concern with its words and its answers'."""
    answers = [{"at": given.at, "verdict": given.verdict, "text": text} for given, text in concerns.answers_of(session, desk.keys, row)]
    return {
        "number": row.number, "kind": row.kind, "state": row.state, "application": row.application, "raised_at": row.raised_at, "due_at": row.due_at,
        "text": concerns.text_of(session, desk.keys, row), "answers": answers, "by_patient": row.patient_token is not None,
    }  # fmt: skip


def _late(row: Concern) -> bool:
    return row.state == ConcernState.OPEN and row.due_at <= clock.now()


def _text(form: Form) -> str:
    """What somebody wrote. Raises Invalid where it is nothing, too long, or not text."""
    given = form.one("text")
    if not given or len(given) > LONGEST or any(ord(letter) < 32 and letter not in "\n\t" for letter in given):
        raise Invalid(problems=(Problem("/text", "required", "This field must be filled in."),))
    return given


def _about(form: Form) -> str | None:
    """The number of the exchange that it is about. Raises Invalid."""
    given = form.one("application").upper()
    if given and not _NUMBER.fullmatch(given):
        raise Invalid(problems=(Problem("/application", "unknown", "There is no such choice."),))
    return given or None
