"""What a patient asks about their own data, at their own page: with its clock, its answer, its appeal, and the copy (PIPL 44 to 50)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import readable, vocabulary, words
from broker.console.afterwards import choice_of, offered, text_of, tried
from broker.console.desk import Desk
from broker.console.language import N_
from broker.console.pages import HEADERS, Names, Pages, to
from broker.console.patient import MENU, Patient, PostedByPatient, SignedInPatient
from broker.database import SessionDep
from broker.errors import BrokerError, Malformed
from broker.identity import service as identity
from broker.obligations import service as obligations
from broker.requests import service as requests
from broker.requests.errors import NoSuchRequest
from broker.requests.models import PatientRequest
from broker.requests.service import ARTICLES, Action, Kind, State

#: What is said of each kind before it is asked.
HELP = {
    "copy": N_("Everything that is kept of you here, to read and as a file."),
    "portability": N_("The same as a file that other institutions can take in."),
    "correction": N_("Say what is wrong and what is right. Whoever received it is told."),
    "restriction": N_("From then on nothing of you is shared, until you say otherwise."),
    "deletion": N_("As far as no law requires keeping it. It cannot be undone."),
    "explanation": N_("Why something was shared or refused, or by which rules."),
}


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The patient's requests, one step with one of them, and the copy in two forms."""
    router = APIRouter()

    def show(request: Request, who: Patient, template: str, *, status: int = 200, **context: Any) -> Response:
        return pages.show(request, template, status=status, csrf=who.csrf, nav=MENU, at_patients=True, **context)

    def own(request: Request, who: Patient, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        rows = [_said(session, desk, spoken, row) for row in requests.of_patient(session, who.key)]
        names = Names(session, spoken)
        recalls = [(recall, notice, names.get(notice.recipient_id, "–")) for recall, notice in obligations.of_patient(session, who.key)]
        return show(
            request, who, "patient_requests.html", status=error.status if error else 200, error=error, rows=rows, recalls=recalls,
            kinds=[(code, label, HELP[code]) for code, label in offered(spoken, "request_kind")],
        )  # fmt: skip

    @router.get("/console/patient/requests")
    def mine(request: Request, who: SignedInPatient, session: SessionDep) -> Response:
        return own(request, who, session)

    @router.post("/console/patient/requests")
    def act(request: Request, form: PostedByPatient, who: SignedInPatient, session: SessionDep) -> Response:
        def step() -> None:
            match form.one("step"):
                case "ask":
                    requests.ask(session, desk.keys, who.key, kind=Kind(choice_of(form, "kind", list(Kind))), text=text_of(form))
                case "appeal":
                    requests.appeal(session, desk.keys, _mine(session, who, form.one("number")), text=text_of(form))
                case "withdraw":
                    requests.withdraw(session, desk.keys, _mine(session, who, form.one("number")))
                case _:
                    raise Malformed("There is no such step.")

        again = lambda error: own(request, who, session, error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, step, again, lambda: to("/console/patient/requests", done="asked"))

    @router.get("/console/patient/requests/{number}/copy.json")
    def copy(number: str, who: SignedInPatient) -> Response:
        return file_of(desk, number, _held(desk, who, number))

    @router.get("/console/patient/requests/{number}/copy")
    def readable_copy(request: Request, number: str, who: SignedInPatient) -> Response:
        spoken = pages.language(request)

        def page(made: requests.Copy) -> tuple[bytes, dict[str, str]]:
            groups: dict[str, list[tuple[str, list[tuple[str, str]]]]] = {}
            for resource in requests.resources(made.body):
                name = vocabulary.kind(spoken, resource.get("resourceType", ""))
                groups.setdefault(name, []).append((readable.headline(resource), readable.rows(spoken, resource)))
            shown = show(request, who, "patient_copy.html", groups=groups, number=number, made=made)
            return bytes(shown.body), dict(shown.headers)

        return requests.CopyAnswer(_held(desk, who, number), page, desk.deliver, seconds=desk.settings.gate_timeout)

    return router


def _mine(session: Session, who: Patient, number: str) -> PatientRequest:
    """A request of this patient. Raises NoSuchRequest."""
    row = requests.find(session, number)
    if row.patient_key != who.key:
        raise NoSuchRequest
    return row


def _held(desk: Desk, who: Patient, number: str) -> AbstractContextManager[requests.Held]:
    with desk.database.transaction() as session:
        row = _mine(session, who, number)
    return requests.held(desk.database, desk.keys, identity.PATIENT, row, hospital=desk.settings.hospital)


def file_of(desk: Desk, number: str, held: AbstractContextManager[requests.Held]) -> Response:
    """A copy as a file."""

    def form(made: requests.Copy) -> tuple[bytes, dict[str, str]]:
        named = {"Release-Id": str(made.release), "Content-Disposition": f'attachment; filename="{number}.json"'}
        return made.body, {**HEADERS, **named, "Content-Type": "application/fhir+json", "Content-Length": str(len(made.body))}

    return requests.CopyAnswer(held, form, desk.deliver, seconds=desk.settings.gate_timeout)


def _said(session: Session, desk: Desk, spoken: str, row: PatientRequest) -> dict[str, Any]:
    """A request with its words."""
    actions = {one.value for one in requests.possible(State(row.status))}
    return {
        "row": row, "article": ARTICLES[Kind(row.kind)], "text": requests.words_of(session, desk.keys, None, row, "text", row.text_sealed),
        "answer": requests.answer_of(session, desk.keys, None, row), "late": requests.is_late(row), "copies": requests.may_copy(row),
        "appeals": Action.APPEAL.value in actions and row.kind != Kind.RESTRICTION.value, "withdraws": Action.WITHDRAW.value in actions,
        "steps": [
            {"what": words.word(spoken, "request_step", one.action), "at": one.at, "who": "", "text": given if one.action == "extended" else None}
            for one, given in requests.steps(session, desk.keys, None, row)
        ],
    }  # fmt: skip
