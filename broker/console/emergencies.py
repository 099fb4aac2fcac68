"""Break-glass at the console: opened in one form, reviewed by somebody else (TM-5.5)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.applications import service as applications
from broker.console import afterwards, language, pickers, words
from broker.console.afterwards import choice_of, text_of, tried
from broker.console.applying import RESIDENT_NUMBER
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_, said
from broker.console.pages import Pages, to
from broker.console.tables import Cell
from broker.database import SessionDep
from broker.errors import BrokerError, Malformed, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.errors import EnrolFirst, StepUpFirst
from broker.incidents.errors import EmergencyDenied
from broker.incidents.models import EmergencyAccess
from broker.incidents.service import emergencies

TITLES = (N_("Number"), N_("Opened by"), N_("Opened"), N_("Closes"), N_("Contact told"), N_("Review"), N_("Review by"))


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The list with the form, and one emergency with its review."""
    router = APIRouter()
    zone = desk.settings.time_zone

    def listed(request: Request, who: Visitor, session: Session, error: BrokerError | None = None, given: Form | None = None) -> Response:
        spoken = pages.language(request)
        cells = [
            [
                Cell(one.application, href=f"/console/emergencies/{one.application}"),
                Cell(identity.person(session, one.person_id).name),
                Cell(language.moment(spoken, zone, one.opened_at)),
                Cell(language.moment(spoken, zone, one.closes_at)),
                Cell(language.moment(spoken, zone, one.contact_told_at)),
                Cell(_review(spoken, one), tone="good" if one.verdict == "justified" else "bad" if one.verdict or _late(one) else "waiting"),
                Cell(language.moment(spoken, zone, one.review_due_at), note=one.incident or ""),
            ]
            for one in emergencies.many(session, who.caller, limit=500)
        ]
        mine = applications.recipients(session, who.caller.person_id)
        return afterwards.show(
            pages, request, "emergencies.html", status=error.status if error else 200, error=error,
            table=afterwards.listed(request, pages, TITLES, cells),
            recipients=pickers.among(session, spoken, mine).picker(given, "recipient") if mine else None, minutes=desk.settings.emergency_minutes,
            systems=[(desk.settings.record_number_system, said(spoken, N_("Record number"))), (RESIDENT_NUMBER, said(spoken, N_("Identity card")))],
            given={name: given.one(name) if given else "" for name in ("recipient", "system", "value", "name", "birth", "text")},
        )  # fmt: skip

    @router.get("/console/emergencies")
    def many(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return listed(request, who, session)

    @router.post("/console/emergencies")
    def break_glass(request: Request, form: Posted, who: SignedIn) -> Response:
        # A refusal must keep its record: it is committed before the page says so.
        try:
            with desk.database.transaction() as session:
                form = pickers.among(session, "zh", applications.recipients(session, who.caller.person_id)).settled(form, "recipient")
                patient = {
                    "identifier": {"system": form.one("system")[:200], "value": form.one("value")[:64]},
                    "name": form.one("name")[:200],
                    "birthDate": afterwards.day_of(form, "birth").isoformat(),
                }
                opened = emergencies.break_glass(
                    session, desk.means, who.caller, recipient=form.one("recipient")[:64], patient=patient, reason=text_of(form),
                    second_factor=desk.second_factor(session, who.caller, form.one("second_factor")[:16] or None),
                    minutes=desk.settings.emergency_minutes, review_hours=desk.settings.emergency_review_hours,
                )  # fmt: skip
                number = None if isinstance(opened, applications.EmergencyRefused) else opened.application
            if number is None:
                reasons = getattr(opened, "reasons", ())
                raise EmergencyDenied(problems=tuple(Problem("/", code, code) for code in reasons))
        except (StepUpFirst, EnrolFirst):
            raise  # The way leads over the page that asks for it.
        except BrokerError as error:
            with desk.database.transaction() as session:
                return listed(request, who, session, error, form)
        return to(f"/console/emergencies/{number}", done="glass")

    def shown(request: Request, application: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        row = emergencies.look(session, who.caller, application)
        handles = who.caller.may(Button.INCIDENT_HANDLE)
        return pages.show(
            request, "emergency.html", status=error.status if error else 200, error=error, it=row, by=identity.person(session, row.person_id).name,
            note=emergencies.note_of(session, desk.keys, who.caller, row), reason=emergencies.reason_of(session, desk.keys, who.caller, row),
            may_review=handles and row.reviewed_at is None and row.natural_person != who.caller.natural_person, handles=handles, late=_late(row),
            verdicts=afterwards.offered(pages.language(request), "emergency_verdict"), over=row.closes_at <= clock.now(),
        )  # fmt: skip

    @router.get("/console/emergencies/{application}")
    def one(request: Request, application: str, who: SignedIn, session: SessionDep) -> Response:
        return shown(request, application, who, session)

    @router.post("/console/emergencies/{application}")
    def step(request: Request, application: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        def act() -> None:
            match form.one("step"):
                case "contact-told":
                    emergencies.told_contact(session, who.caller, application)
                case "review":
                    misuse = choice_of(form, "verdict", words.TABLES["emergency_verdict"]) == "misuse"
                    emergencies.review(session, desk.keys, who.caller, application, misuse=misuse, text=text_of(form))
                case _:
                    raise Malformed("There is no such step.")

        again = lambda error: shown(request, application, who, session, error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, act, again, lambda: to(f"/console/emergencies/{application}", done="saved"))

    return router


def _late(one: EmergencyAccess) -> bool:
    return one.reviewed_at is None and one.review_due_at <= clock.now()


def _review(spoken: str, one: EmergencyAccess) -> str:
    return words.word(spoken, "emergency_verdict", one.verdict) if one.verdict else said(spoken, N_("late") if _late(one) else N_("to be reviewed"))
