"""Remote consultations: one's own, booking one, and each with its steps."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.applications import service as applications
from broker.applications.service import GrantState, Wanted
from broker.console import words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.language import N_
from broker.console.pages import Pages, to
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Malformed, Problem
from broker.identity import service as identity
from broker.identity.models import Person
from broker.telemedicine import service as telemedicine
from broker.telemedicine.service import Identified, Step

#: Lengths that are offered, in minutes.
LENGTHS = (15, 30, 45, 60, 90, 120)
#: Own exchanges in force that are offered for a booking, the latest first.
OFFERED = 50

#: What the button of each step says. Records come from the consultant's system, over the API.
BUTTONS = {
    Step.CONFIRM: N_("Confirm"),
    Step.IDENTIFY: N_("Record the identity check"),
    Step.OPEN: N_("Begin the consultation"),
    Step.CLOSE: N_("End the consultation"),
    Step.FOLLOW_UP: N_("Record the follow-up"),
    Step.CANCEL: N_("Cancel the consultation"),
}

#: What comes next, for whoever looks, by the state.
NEXT = {
    "booked": N_("The consultant confirms. A confirmed one that nobody opens in its time is missed."),
    "confirmed": N_("Somebody makes sure who the patient is; in its time the consultant begins, and only then data can be fetched."),
    "open": N_("The consultant's system brings the records and the prescription back. It ends at its last minute, whoever forgets to."),
    "closed": N_("The consultant records the follow-up by its day."),
    "missed": N_("Nothing was opened. Book another one if it is still needed."),
}


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The pages."""
    router = APIRouter()

    @router.get("/console/consultations")
    def many(request: Request, who: SignedIn, session: SessionDep) -> Response:
        return show_all(request, who, session)

    def show_all(request: Request, who: Visitor, session: Session, error: BrokerError | None = None, given: Form | None = None) -> Response:
        rows = telemedicine.many(session, who.caller)
        tomorrow = (clock.now().astimezone(ZoneInfo(desk.settings.time_zone)) + timedelta(days=1)).replace(minute=0)
        return pages.show(
            request,
            "consultations.html",
            status=error.status if error else 200,
            error=error,
            rows=[(row, telemedicine.state(row).value, _name(session, row.consultant_id)) for row in rows],
            choices=_choices(session, who),
            lengths=[(str(one), str(one)) for one in LENGTHS],
            given={name: given.one(name) if given else "" for name in ("choice", "starts", "minutes", "note")},
            usual=tomorrow.strftime("%Y-%m-%dT%H:%M"),
        )

    @router.post("/console/consultations")
    def book(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        application, _, consultant = form.one("choice").partition("|")
        try:
            with session.begin_nested():
                starts, ends = _span(form, desk.settings.time_zone)
                row = telemedicine.book(
                    session, desk.keys, who.caller, application=application, consultant=_id(consultant), starts_at=starts, ends_at=ends,
                    note=form.one("note")[:4000] or None,
                )  # fmt: skip
        except BrokerError as error:
            return show_all(request, who, session, error, form)
        return to(f"/console/consultations/{row.number}", done="booked")

    @router.get("/console/consultations/{number}")
    def one(request: Request, number: str, who: SignedIn, session: SessionDep) -> Response:
        return show(request, number, who, session)

    def show(request: Request, number: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        row = telemedicine.look(session, who.caller, number)
        spoken = pages.language(request)
        return pages.show(
            request,
            "consultation.html",
            status=error.status if error else 200,
            error=error,
            it=row,
            state=telemedicine.state(row).value,
            next=NEXT.get(telemedicine.state(row).value),
            booker=_name(session, row.booker_id),
            consultant=_name(session, row.consultant_id),
            steps=[(one, _name(session, one.person_id)) for one in telemedicine.steps(session, row)],
            notes=telemedicine.notes(session, desk.keys, who.caller, row),
            buttons=[(step.value, BUTTONS[step]) for step in telemedicine.possible_steps(who.caller, row) if step in BUTTONS],
            methods=[(one.value, words.word(spoken, "identified", one.value)) for one in Identified],
        )

    @router.post("/console/consultations/{number}")
    def step(request: Request, number: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        name, note = form.one("step"), form.one("note")[:4000] or None
        try:
            with session.begin_nested():
                match name:
                    case Step.CONFIRM:
                        telemedicine.confirm(session, desk.keys, who.caller, number, note=note)
                    case Step.IDENTIFY:
                        telemedicine.identify(session, desk.keys, who.caller, number, _method(form), note=note)
                    case Step.OPEN:
                        telemedicine.open_(session, desk.keys, who.caller, number)
                    case Step.CLOSE:
                        telemedicine.close(session, desk.keys, who.caller, number, follow_up_due=_day(form), note=note)
                    case Step.FOLLOW_UP:
                        telemedicine.follow_up(session, desk.keys, who.caller, number, note=note)
                    case Step.CANCEL:
                        telemedicine.cancel(session, desk.keys, who.caller, number, note=note)
                    case _:
                        raise Malformed("There is no such step.")
        except BrokerError as error:
            return show(request, number, who, session, error)
        return to(f"/console/consultations/{number}", done=f"consultation-{name}")

    return router


def _choices(session: Session, who: Visitor) -> list[tuple[str, str]]:
    """Which of one's exchanges in force with which clinician of its recipient, as values of one field and what they say."""
    person = who.caller.person_id
    found = applications.listing(session, person, Wanted(grant=GrantState.ACTIVE, mine=True), limit=OFFERED, offset=0, counted=OFFERED)
    places: dict[str, list[Person]] = {}
    choices = []
    for row in found.items:
        if row.recipient is None or row.number is None:
            continue
        if row.recipient not in places:
            staff = identity.active_in(session, identity.below(session, row.recipient))
            places[row.recipient] = [one for one in staff if one.natural_person != who.caller.natural_person]
        choices += [(f"{row.number}|{one.id}", f"{row.number} · {one.name}") for one in places[row.recipient]]
    return choices


def _name(session: Session, person: UUID | None) -> str | None:
    return identity.person(session, person).name if person else None


def _id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise Invalid(problems=(Problem("/consultant", "required", "Choose an exchange and a consultant."),)) from None


def _span(form: Form, zone: str) -> tuple[datetime, datetime]:
    """Begin and end, from the hospital's own time. Raises Invalid."""
    minutes = form.one("minutes")
    try:
        starts = datetime.fromisoformat(form.one("starts"))
    except ValueError:
        raise Invalid(problems=(Problem("/starts", "required", "Say when it begins."),)) from None
    if starts.tzinfo is not None or minutes not in {str(one) for one in LENGTHS}:
        raise Invalid(problems=(Problem("/minutes", "unknown", "Choose how long it lasts."),))
    begin = starts.replace(tzinfo=ZoneInfo(zone))
    return begin, begin + timedelta(minutes=int(minutes))


def _method(form: Form) -> Identified:
    try:
        return Identified(form.one("method"))
    except ValueError:
        raise Invalid(problems=(Problem("/method", "required", "Say how the identity was checked."),)) from None


def _day(form: Form) -> date | None:
    given = form.one("follow_up_due")
    if not given:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise Invalid(problems=(Problem("/follow_up_due", "value", "The day can't be read."),)) from None
