"""Routes by which data may leave the mainland: the register, entering one, a colleague's confirmation, ending one (PIPL 38 to 41, 55)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.applications import service as applications
from broker.console.afterwards import choice_of, day_of, id_of, number_of, text_of, tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.language import N_, said
from broker.console.pages import Pages, named, to
from broker.database import SessionDep
from broker.errors import BrokerError
from broker.identity import service as identity
from broker.identity.access import Action
from broker.transfers import service as transfers

Reader = Annotated[Visitor, Depends(require(Action.REGISTRY_READ))]
Writer = Annotated[Visitor, Depends(require(Action.ORGANIZATION_WRITE))]

PATH = "/console/transfers"
STATES = {"proposed": (N_("To be confirmed"), "waiting"), "confirmed": (N_("Confirmed"), "good"), "ended": (N_("Ended"), "")}
#: What each route means, in a sentence for whoever enters it.
MEANS = {
    "security_assessment": N_(
        "The cyberspace administration has assessed the transfer. Needed for operators of critical infrastructure, for important data, and once the "
        "figures of the year are reached (PIPL 38, 40). Mind how long the decision holds."
    ),
    "standard_contract": N_(
        "The standard contract was concluded with the recipient and filed with the provincial administration. Carries until the figures of the year "
        "are reached (PIPL 38)."
    ),
    "certification": N_("A certified body has certified the protection. Carries until the figures of the year are reached (PIPL 38)."),
    "contract_exemption": N_(
        "The patient asked for it: a contract with the patient can't be fulfilled without it, such as treatment abroad. No filing."
    ),
    "emergency_exemption": N_("Life and health are in danger and nothing else helps. No filing, and no separate consent; for emergencies alone."),
    "treaty": N_("An international treaty or agreement provides for it (PIPL 38)."),
}
#: Rows that the page shows; the API has the rest.
_SHOWN = 200


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page, and its steps."""
    router = APIRouter()

    def show(request: Request, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        spoken, data = pages.language(request), desk.policies().data
        places = identity.Directory(session)
        rows = [_row(spoken, data, row, places, who) for row in transfers.many(session, limit=_SHOWN)]
        return pages.show(
            request, "transfers.html", status=error.status if error else 200, error=error, rows=rows, states=STATES,
            year=clock.today().year, counted=applications.people_abroad(session, clock.now()), figures=_figures(data),
            may_write=who.caller.may(Action.ORGANIZATION_WRITE),
            routes=[(code, row["name"][spoken], said(spoken, MEANS[code]) if code in MEANS else "", row["law"])
                    for code, row in sorted(data["transfer_routes"].items())],
            abroad=[(row.id, named(row, spoken)) for row in identity.abroad(session)],
            purposes=[(code, row["name"][spoken]) for code, row in sorted(data["purposes"].items()) if row["judged_as"] == code],
            classes=[(code, row["name"][spoken]) for code, row in sorted(data["data_classes"].items())],
        )  # fmt: skip

    @router.get(PATH)
    def page(request: Request, who: Reader, session: SessionDep) -> Response:
        return show(request, who, session)

    @router.post(PATH)
    def step(request: Request, form: Posted, who: Writer, session: SessionDep) -> Response:
        what = choice_of(form, "what", ("propose", "confirm", "end"))

        def act() -> None:
            if what == "propose":
                transfers.propose(session, who.caller.actor, who.caller.natural_person, _given(form))
            elif what == "confirm":
                transfers.confirm(session, who.caller.actor, who.caller.natural_person, id_of(form, "route_id"))
            else:
                transfers.end(session, who.caller.actor, id_of(form, "route_id"))

        again = lambda error: show(request, who, session, error)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, act, again, lambda: to(PATH, done=f"transfer-{what}"))

    return router


def _given(form: Form) -> transfers.Proposal:
    """The route that a form names. Raises Invalid."""
    limit, until = form.one("persons_limit"), form.one("valid_until")
    return transfers.Proposal(
        recipient=text_of(form, "recipient")[:64],
        route=text_of(form, "route")[:64],
        reference=text_of(form, "reference")[:200],
        valid_from=day_of(form, "valid_from"),
        valid_until=day_of(form, "valid_until") if until else None,
        purposes=tuple(form.all("purposes")),
        classes=tuple(form.all("classes")),
        impact_assessment=text_of(form, "impact_assessment")[:200],
        persons_limit=number_of(form, "persons_limit", 999_999) if limit else None,
        foreign_authority=form.has("foreign_authority"),
        authority_approval=text_of(form, "authority_approval", required=False)[:200] or None,
    )


def _row(spoken: str, data: Any, row: transfers.TransferRoute, places: Any, who: Visitor) -> dict[str, Any]:
    """One route, ready to be shown; of classes the highest that were named."""
    classes = [code for code in row.classes if not any(code.startswith(f"{other}.") for other in row.classes)]
    names = {"data_classes": classes, "purposes": row.purposes}
    known = {table: [data[table][code]["name"][spoken] if code in data[table] else code for code in codes] for table, codes in names.items()}
    route = data["transfer_routes"].get(row.route)
    return {
        "it": row,
        "recipient": named(places.get(row.recipient_id), spoken),
        "route": route["name"][spoken] if route else row.route,
        "last": None if row.valid_until is None else _last_day(row.valid_until.date()),
        "classes": known["data_classes"],
        "purposes": known["purposes"],
        "mine": row.proposed_by == who.caller.natural_person,
    }


def _last_day(first_without: date) -> date:
    return date.fromordinal(first_without.toordinal() - 1)


def _figures(data: Any) -> dict[str, Any] | None:
    """The figures of the year, of the route with the lowest; None where none has any."""
    found = [row["yearly"] for row in data["transfer_routes"].values() if row.get("yearly")]
    return min(found, key=lambda one: one["sensitive"], default=None)
