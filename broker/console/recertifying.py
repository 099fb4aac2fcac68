"""Which access rights are still needed: the list that a head or an information manager answers, keep or revoke (PI-3.2b, RS-7.1)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_, moment, said
from broker.console.lists import SPAN
from broker.console.pages import Pages, named, to
from broker.console.reviewing import quarters
from broker.console.tables import Ask, Cell, Column, exported, made
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.identity import service as identity
from broker.review import service as review
from broker.review.models import Recertification


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The list and its answers."""
    router = APIRouter()

    def show(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, ask = pages.language(request), Ask.of(request)
        quarter = review.Quarter.parse(ask.one_of("quarter", quarters(), quarters()[0]))
        limit, offset = ask.window
        rows = review.recertifying.mine(session, who.caller, quarter, limit=limit + 1, offset=offset)
        known = identity.Directory(session)
        shown = [_right(desk, spoken, row, known, mine=review.recertifying.answers_for(session, who.caller, row)) for row in rows[:limit]]
        titles = (N_("Kind"), N_("Access right"), N_("Of the organisation"), N_("Last used"), N_("Answer by"), N_("Answer"))
        table = made(
            ask, [Column(said(spoken, title)) for title in titles],
            [
                [
                    Cell(one["kind"]), Cell(one["what"], href=one["href"]), Cell(one["where"]), Cell(one["used"], note=one["unused"]),
                    Cell(one["due"]), Cell(one["state"]),
                ]
                for one in shown
            ],
            offset + len(rows), span=said(spoken, SPAN if len(rows) <= limit else N_("{first} to {last}, and more")),
        )  # fmt: skip
        if ask.format:
            return exported(table, ask.format, "access")
        return pages.show(
            request, "access.html", status=error.status if error else 200, error=error, rows=shown, table=table, quarter=str(quarter),
            quarters=[(one, one) for one in quarters()], open=sum(one["open"] for one in shown),
        )  # fmt: skip

    @router.get("/console/access")
    def access(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return show(request, who, session)

    @router.post("/console/access")
    def answer(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        quarter = form.one("quarter") if form.one("quarter") in quarters() else quarters()[0]
        try:
            with session.begin_nested():
                for right, keep in _answers(form):
                    review.recertifying.answer(session, who.caller, right, keep=keep)
        except BrokerError as error:
            return show(request, who, session, error)
        return to(f"/console/access?quarter={quarter}", done="answered-access")

    return router


def _answers(form: Form) -> list[tuple[UUID, bool]]:
    """Each right that was answered; those that were left open are not among them. Raises Invalid."""
    found = []
    for name, value in form.fields:
        if not name.startswith("right-") or not value:
            continue
        try:
            found.append((UUID(name.removeprefix("right-")), {"keep": True, "revoke": False}[value]))
        except (ValueError, KeyError):
            raise Invalid(problems=(Problem("/answer", "unknown", "There is no such choice."),)) from None
    if not found:
        raise Invalid(problems=(Problem("/answer", "none-chosen", "Choose at least one."),))
    return found


def _right(desk: Desk, spoken: str, row: Recertification, known: identity.Directory, *, mine: bool) -> dict[str, Any]:
    what, href = row.subject, ""
    if row.kind == "role":
        person, role, _ = row.subject.split("|")
        what, href = f"{known.person(person, person)} · {words.word(spoken, 'role', role)}", f"/console/people/{person}"
    elif row.kind == "grant":
        href = f"/console/applications/{row.subject}"
    elif row.kind == "client":
        href = f"/console/clients/{row.subject}"
    state = words.word(spoken, "right_outcome", row.outcome) if row.outcome else words.word(spoken, "right_answer", row.answer or "open")
    return {
        "id": row.id, "kind": words.word(spoken, "right", row.kind), "what": what, "href": href,
        "where": named(known.get(row.organization_id), spoken), "due": moment(spoken, desk.settings.time_zone, row.due_at),
        "used": moment(spoken, desk.settings.time_zone, row.last_used_at) if row.last_used_at else said(spoken, N_("never on record")),
        "unused": said(spoken, N_("proposed to go")) if row.unused else "", "answer": row.answer,
        "state": state, "open": row.outcome is None and mine,
    }  # fmt: skip
