"""What recipients owe for what they received, seen by both sides: obligations and recalls, answered here (PI-3.5, PIPL 15, 46, 47)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import afterwards, language, vocabulary, words
from broker.console.afterwards import choice_of, offered, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_, said
from broker.console.pages import Names, Pages, to
from broker.console.tables import Ask, Cell, Filter
from broker.database import SessionDep
from broker.errors import BrokerError, Malformed
from broker.identity.access import Action as Button
from broker.obligations import service as obligations
from broker.obligations.models import Obligation, Recall, RecallNotice
from broker.obligations.service import Action, Answer, Done, State

OWED = (N_("Exchange"), N_("Duty"), N_("Recipient"), N_("Due"), N_("State"), N_("Answer"))
CALLED = (N_("Recall"), N_("Because"), N_("Exchange"), N_("Recipient"), N_("Sendings"), N_("Answer by"), N_("Answer"))


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The ledger and the recalls."""
    router = APIRouter()
    zone = desk.settings.time_zone

    def owed(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, ask = pages.language(request), Ask.of(request)
        state = ask.one_of("status", [one.value for one in State])
        rows = obligations.many(
            session, who.caller, status=State(state) if state else None, overdue=ask.one_of("overdue", ["yes"]) == "yes",
            application=ask.text("application") or None, limit=2000,
        )  # fmt: skip
        names = Names(session, spoken)
        cells = [_owed(session, desk, spoken, names, one) for one in rows]
        filters = [
            Filter("application", said(spoken, N_("Exchange")), hint="SA-2026-…"),
            Filter("status", said(spoken, N_("State")), offered(spoken, "duty_state")),
            Filter("overdue", said(spoken, N_("Overdue")), [("yes", said(spoken, N_("overdue alone")))]),
        ]
        answers = who.caller.may(Button.FEEDBACK_WRITE)
        mine = sorted({one.application for one in rows if one.status == State.OPEN.value}) if answers else []
        judges = who.caller.may(Button.GRANT_REVOKE)
        return afterwards.show(
            pages, request, "obligations.html", status=error.status if error else 200, error=error,
            table=afterwards.listed(request, pages, OWED, cells, filters), mine=[(one, one) for one in mine],
            codes=sorted({(one.code, vocabulary.obligation(spoken, one.code)) for one in rows if one.status == State.OPEN.value}),
            outcomes=offered(spoken, "done"), methods=offered(spoken, "done_method"),
            judged=[
                (one, vocabulary.obligation(spoken, one.code), obligations.evidence_of(session, desk.keys, one))
                for one in (rows[:50] if judges else ())
            ],
        )  # fmt: skip

    @router.get("/console/obligations")
    def many(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return owed(request, who, session)

    @router.post("/console/obligations")
    def act(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        def step() -> None:
            match form.one("step"):
                case "answer":
                    obligations.answer(session, desk.keys, who.caller, form.one("application"), form.all("code"), _answer(form))
                case "waive" | "reject" as name:
                    obligations.judge(session, desk.keys, who.caller, afterwards.id_of(form, "obligation"), Action(name), text=text_of(form))
                case _:
                    raise Malformed("There is no such step.")

        again = lambda error: owed(request, who, session, error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, step, again, lambda: to("/console/obligations", done="saved"))

    def called(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        open_only = Ask.of(request).one_of("open", ["yes"]) == "yes"
        rows = obligations.many_recalls(session, who.caller, open_only=open_only, limit=1000)
        names = Names(session, spoken)
        today = desk.today
        cells = []
        for recall, notice in rows:
            late = notice.done is None and recall.due_on < today
            evidence = obligations.recall_evidence_of(session, desk.keys, notice)
            answer = words.word(spoken, "done", notice.done) if notice.done else said(spoken, N_("late") if late else N_("awaited"))
            cells.append(
                [
                    Cell(recall.number),
                    Cell(words.word(spoken, "recall", recall.reason)),
                    Cell(notice.application, href=f"/console/applications/{notice.application}"),
                    Cell(names.get(notice.recipient_id, notice.recipient_id)),
                    Cell(str(notice.releases)),
                    Cell(language.day(spoken, recall.due_on)),
                    Cell(answer, tone="good" if notice.done else "bad" if late else "waiting", note=evidence or ""),
                ]
            )
        answers = who.caller.may(Button.FEEDBACK_WRITE)
        waiting = [(f"{recall.number}|{notice.application}", f"{recall.number} · {notice.application}") for recall, notice in rows if not notice.done]
        filters = [Filter("open", said(spoken, N_("Answer")), [("yes", said(spoken, N_("not answered yet")))])]
        return afterwards.show(
            pages, request, "recalls.html", status=error.status if error else 200, error=error,
            table=afterwards.listed(request, pages, CALLED, cells, filters), waiting=waiting if answers else [], outcomes=offered(spoken, "done"),
            methods=offered(spoken, "done_method"), concerned=_concerned(session, spoken, zone, who, rows),
        )  # fmt: skip

    @router.get("/console/recalls")
    def recalls(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return called(request, who, session)

    @router.post("/console/recalls")
    def acknowledge(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        number, _, application = form.one("recall").partition("|")
        again = lambda error: called(request, who, session, error)  # noqa: E731  (As above.)
        verb = lambda: obligations.acknowledge(session, desk.keys, who.caller, number, application, _answer(form))  # noqa: E731  (Tried.)
        return tried(session, verb, again, lambda: to("/console/recalls", done="saved"))

    return router


def _concerned(
    session: Session, spoken: str, zone: str, who: Visitor, rows: Sequence[tuple[Recall, RecallNotice]]
) -> list[tuple[str, list[list[Cell]]]]:
    """Which sendings each unanswered notice is about: whoever must delete finds them by these."""
    return [
        (
            f"{recall.number} · {notice.application}",
            [
                [Cell(str(one.release)), Cell(language.moment(spoken, zone, one.at)), Cell("–" if one.items is None else str(one.items))]
                for one in obligations.releases_of(session, who.caller, recall.number, notice.application)[:200]
            ],
        )
        for recall, notice in [row for row in rows if row[1].done is None][:20]
    ]


def _answer(form: Form) -> Answer:
    done = Done(choice_of(form, "done", list(Done)))
    return Answer(done, choice_of(form, "method", words.TABLES["done_method"]), text_of(form, required=done is not Done.NOTHING_HELD))


def _owed(session: Session, desk: Desk, spoken: str, names: Names, one: Obligation) -> list[Cell]:
    late = one.status == State.OPEN.value and one.due_on < desk.today
    evidence = obligations.evidence_of(session, desk.keys, one)
    return [
        Cell(one.application, href=f"/console/applications/{one.application}"),
        Cell(vocabulary.obligation(spoken, one.code)),
        Cell(names.get(one.recipient_id, one.recipient_id)),
        Cell(language.day(spoken, one.due_on), note=said(spoken, N_("late")) if late else ""),
        Cell(
            words.word(spoken, "duty_state", one.status),
            tone="bad" if late else "waiting" if one.status == "open" else words.TONES.get(one.status, ""),
        ),
        Cell(words.word(spoken, "done_method", one.method) if one.method else "–", note=evidence or ""),
    ]
