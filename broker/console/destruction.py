"""Destruction at the console: orders by two people, certificates, the retention schedule, holds (PI-3.5, PIPL 19, 47)."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.audit.errors import NotSealedYet
from broker.console import afterwards, language, vocabulary, words
from broker.console.afterwards import actor_name, choice_of, offered, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor, require
from broker.console.language import N_, said
from broker.console.pages import HEADERS, Pages, named, text, to
from broker.console.patient import known_as
from broker.console.tables import Cell
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Malformed, Problem, Unavailable
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.printing import fonts_there
from broker.records import service as records
from broker.retention import service as retention
from broker.retention.models import DestructionOrder

Orderer = Annotated[Visitor, Depends(require(Button.DESTRUCTION_ORDER))]

#: Who vouches for a figure of the schedule.
STANDING = {
    "house": N_("the hospital's own choice"),
    "counsel": N_("to be confirmed by counsel"),
    "confirmed": N_("confirmed by counsel"),
}
TITLES = (N_("Number"), N_("What"), N_("Because of"), N_("State"), N_("Patients"), N_("Proposed"), N_("Carried out"))


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The orders, one order, its certificate, and the holds."""
    router = APIRouter()
    zone = desk.settings.time_zone

    def listed(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, orders = pages.language(request), who.caller.may(Button.DESTRUCTION_ORDER)
        cells = [
            [
                Cell(one.number, href=f"/console/destruction/{one.number}"),
                Cell(words.word(spoken, "destroyed", one.kind)),
                Cell(words.word(spoken, "destruction_reason", one.reason)),
                Cell(words.word(spoken, "order_state", one.status), tone=words.TONES.get(one.status, "quiet")),
                Cell(str(len(retention.items(session, one))) if one.kind == "shred" else "–"),
                Cell(language.moment(spoken, zone, one.proposed_at)),
                Cell(language.moment(spoken, zone, one.executed_at)),
            ]
            for one in retention.many(session, who.caller, limit=500)
        ]
        schedule = [
            [
                Cell(said(spoken, N_("Copies at recipients")), note=text(name, spoken)),
                Cell("–"),
                Cell(_days(spoken, days)),
                Cell(vocabulary.obligation(spoken, "DELAU")),
            ]
            for name, days in desk.kept_by_recipients
        ] + [
            [
                Cell(_data_class(spoken, one.data_class)),
                Cell(said(spoken, N_(", ")).join(_basis(desk, spoken, basis) for basis in bases)),
                Cell(_days(spoken, one.days)),
                Cell(one.law.zh if spoken == "zh" else one.law.en, note=said(spoken, STANDING[one.standing])),
            ]
            for one, bases in retention.grouped(retention.read_schedule())
        ]
        held = [
            (one, [Cell(words.word(spoken, "hold", one.kind)), Cell(language.moment(spoken, zone, one.placed_at)),
                   Cell(actor_name(session, spoken, one.placed_by)), Cell(retention.reason_of(session, desk.keys, one) or "–")])
            for one in (retention.holds(session, who.caller) if orders else ())
        ]  # fmt: skip
        return afterwards.show(
            pages, request, "destruction.html", status=error.status if error else 200, error=error,
            table=afterwards.listed(request, pages, TITLES, cells), schedule=schedule, held=held, orders=orders,
            kinds=offered(spoken, "destroyed"), reasons=offered(spoken, "destruction_reason", ["retention", "request", "error", "end-of-agreement"]),
            methods=offered(spoken, "destruction_method"), hold_kinds=offered(spoken, "hold"),
        )  # fmt: skip

    @router.get("/console/destruction")
    def many(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return listed(request, who, session)

    @router.post("/console/destruction")
    def begin(request: Request, form: Posted, who: Orderer, session: SessionDep) -> Response:
        onwards = ["/console/destruction"]

        def act() -> None:
            retention.check_orderer(who.caller)
            match form.one("step"):
                case "propose":
                    kind = choice_of(form, "kind", words.TABLES["destroyed"])
                    patients = retention.patient_keys(session, desk.keys, _patients(session, desk, form)) if kind == "shred" else []
                    row = retention.propose(
                        session, desk.keys, actor=who.caller.actor, natural_person=who.caller.natural_person, kind=kind,
                        reason=choice_of(form, "reason", ("retention", "request", "error", "end-of-agreement")),
                        method="crypto-shredding" if kind == "shred" else choice_of(form, "method", words.TABLES["destruction_method"]),
                        patients=patients, what=text_of(form, "what", required=False) or None if kind != "shred" else None,
                    )  # fmt: skip
                    onwards[0] = f"/console/destruction/{row.number}"
                case "hold":
                    (patient,) = _patients(session, desk, form)[:1] or [""]
                    retention.hold(
                        session, desk.keys, who.caller, patient=patient, kind=choice_of(form, "kind", words.TABLES["hold"]), reason=text_of(form)
                    )
                case "release":
                    retention.release_hold(session, who.caller, afterwards.id_of(form, "hold"))
                case _:
                    raise Malformed("There is no such step.")

        again = lambda error: listed(request, who, session, error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, act, again, lambda: to(onwards[0], done="saved"))

    def shown(request: Request, number: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken = pages.language(request)
        retention.many(session, who.caller, limit=1)  # Raises Forbidden for whoever may see none.
        row = retention.find(session, number)
        return pages.show(
            request, "order.html", status=error.status if error else 200, error=error, it=row, what=retention.what_of(desk.keys, row),
            approvals=[(actor_name(session, spoken, one["actor"]), one["at"]) for one in row.approvals],
            proposer=actor_name(session, spoken, row.proposed_by),
            items=[
                [Cell(one.subject or "–"), Cell(_removed(one.removed)), Cell(language.moment(spoken, zone, one.done_at))]
                for one in retention.items(session, row)
            ],
            certificate=_certificate(session, desk, who, row), orders=who.caller.may(Button.DESTRUCTION_ORDER),
            may_approve=who.caller.may(Button.DESTRUCTION_ORDER) and row.status == "proposed"
            and all(one["natural_person"] != who.caller.natural_person for one in row.approvals),
        )  # fmt: skip

    @router.get("/console/destruction/{number}")
    def one(request: Request, number: str, who: SignedIn, session: SessionDep) -> Response:
        return shown(request, number, who, session)

    @router.post("/console/destruction/{number}")
    def step(request: Request, number: str, form: Posted, who: Orderer) -> Response:
        try:
            with desk.database.transaction() as session:
                if form.one("step") == "approve":
                    retention.approve(session, desk.keys, desk.destruction, who.caller, number)
                elif form.one("step") == "cancel":
                    retention.cancel(session, who.caller, number)
                else:
                    raise Malformed("There is no such step.")
        except BrokerError as error:
            with desk.database.transaction() as session:
                return shown(request, number, who, session, error)
        with desk.database.transaction() as session:  # Answered when it stands in the list outside the database.
            retention.publish(session, desk.keys, desk.settings)
        return to(f"/console/destruction/{quote(number)}", done="saved")

    @router.get("/console/destruction/{number}/certificate.json")
    def certificate(number: str, who: SignedIn, session: SessionDep) -> Response:
        said_ = retention.certificate(session, desk.keys, who.caller, number)
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{said_["order"]}.json"'}
        return Response(orjson.dumps(said_, option=orjson.OPT_INDENT_2), media_type="application/json", headers=headers)

    @router.get("/console/destruction/{number}/certificate.pdf")
    def printed(request: Request, number: str, who: SignedIn, session: SessionDep) -> Response:
        if not fonts_there():
            raise Unavailable("No font with Chinese is installed.")
        spoken = pages.language(request)
        said_ = retention.certificate(session, desk.keys, who.caller, number)
        own = named(identity.organization(session, desk.settings.hospital), spoken)
        made = retention.certificate_pdf(said_, spoken, hospital=own, zone=zone, people=retention.approvers(session, said_))
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{said_["order"]}.{spoken}.pdf"'}
        return Response(made, media_type="application/pdf", headers=headers)

    return router


def _certificate(session: Session, desk: Desk, who: Visitor, row: DestructionOrder) -> dict[str, Any] | None:
    """The certificate, once it was carried out and the log holds it."""
    if row.event is None:
        return None
    try:
        return retention.certificate(session, desk.keys, who.caller, row.number)
    except NotSealedYet:
        return {}


def _patients(session: Session, desk: Desk, form: Form) -> list[str]:
    """FHIR ids of the patients of a field. Raises Invalid for one whom nobody knows."""
    found = []
    for number in afterwards.several(form, "patients"):
        key = known_as(session, desk.keys, desk.settings, number) or records.find_patient(session, desk.keys, number)
        if key is None:
            raise Invalid(problems=(Problem("/patients", "unknown", "There is no such choice."),))
        found.append(records.open_vault(session, desk.keys, key).fhir_id)
    if not found:
        raise Invalid(problems=(Problem("/patients", "required", "This must be filled in."),))
    return found


def _removed(removed: dict[str, int] | None) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted((removed or {}).items())) or "–"


def _data_class(spoken: str, code: str) -> str:
    return said(
        spoken, {"records": N_("Records"), "paper-outpatient": N_("Paper, outpatient"), "paper-inpatient": N_("Paper, inpatient")}.get(code, code)
    )


def _basis(desk: Desk, spoken: str, code: str) -> str:
    return said(spoken, N_("never shared")) if code == "none" else text(desk.lawful_bases.get(code), spoken, code)


def _days(spoken: str, days: int) -> str:
    return said(spoken, N_("%(days)s days")) % {"days": days}
