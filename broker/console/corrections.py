"""Correcting a record at the desk: what is kept, what is right in its place, and the same as a file; a second person agrees (PIPL 46)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.console import readable, vocabulary
from broker.console.afterwards import tried
from broker.console.desk import Desk
from broker.console.door import Form, Posted, PostedFile, Visitor, require
from broker.console.language import N_, said
from broker.console.pages import Pages, to
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.requests import service as requests
from broker.requests.errors import CorrectionNotTaken
from broker.requests.service import Staged, difference

Handler = Annotated[Visitor, Depends(require(Button.REQUEST_HANDLE))]

#: Fields of single values are called so, and their place follows.
FIELD = "value:"
#: More single values than this are corrected by file.
MOST = 120
#: Parts of an element, as people call them.
PARTS = MappingProxyType(
    {
        "system": N_("list of codes"), "code": N_("code"), "display": N_("words of the code"), "text": N_("in words"), "value": N_("number"),
        "unit": N_("unit"), "comparator": N_("less or greater"), "low": N_("lowest"), "high": N_("highest"), "start": N_("begins"),
        "end": N_("ends"), "reference": N_("refers to"), "type": N_("kind"), "version": N_("version"), "use": N_("use"), "family": N_("family name"),
        "given": N_("given name"), "line": N_("street"), "city": N_("city"), "district": N_("district"), "state": N_("province"),
        "postalCode": N_("postal code"), "country": N_("country"), "rank": N_("order"), "sequence": N_("order"), "valueQuantity": N_("value"),
        "doseQuantity": N_("dose"), "timing": N_("timing"), "frequency": N_("how often"), "period": N_("period"), "route": N_("way it is given"),
        "doseAndRate": N_("dose"), "author": N_("author"), "time": N_("time"), "amount": N_("amount"), "currency": N_("currency"),
        "numerator": N_("numerator"), "denominator": N_("denominator"), "manifestation": N_("signs"), "repeat": N_("how often"),
        "periodUnit": N_("unit of the period"), "identifier": N_("identifier"), "assigner": N_("given by"), "individual": N_("person"),
    }
)  # fmt: skip
#: Parts that say nothing to people.
SILENT = frozenset({"coding"})


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """Choosing what is wrong, writing what is right, and bringing it as a file."""
    router = APIRouter()

    def show(request: Request, number: str, who: Visitor, session: Session, error: BrokerError | None = None, form: Form | None = None) -> Response:
        identity.stepped_up(desk.settings, who.caller)
        spoken = pages.language(request)
        row, kept = requests.kept(session, desk.keys, who.caller, number)
        wanted = form.one("resource") if form else request.query_params.get("resource", "")
        chosen = next((one for one in kept if _name(one) == wanted), None)
        values = [] if chosen is None else difference.leaves(chosen)
        return pages.show(
            request, "correction.html", status=error.status if error else 200, error=error, number=row.number, reference=wanted if chosen else "",
            headline=readable.headline(chosen) if chosen else "", by_file=len(values) > MOST,
            values=[
                (one, label_of(spoken, one.place), form.one(FIELD + one.place) if form and form.has(FIELD + one.place) else one.value)
                for one in values[:MOST]
            ],
            text=requests.words_of(session, desk.keys, who.caller, row, "text", row.text_sealed),
            groups=_grouped(spoken, kept),
        )  # fmt: skip

    @router.get("/console/requests/{number}/correct")
    def choose(request: Request, number: str, who: Handler, session: SessionDep) -> Response:
        return show(request, number, who, session)

    @router.post("/console/requests/{number}/correct")
    def write(request: Request, number: str, form: Posted, who: Handler, session: SessionDep) -> Response:
        identity.stepped_up(desk.settings, who.caller)

        def act() -> None:
            body = requests.kept_bytes(session, desk.keys, who.caller, number, form.one("resource"))
            given = {name.removeprefix(FIELD): value for name, value in form.fields if name.startswith(FIELD)}
            right, problems = difference.corrected(body, given)
            if problems:
                raise CorrectionNotTaken(problems=problems)
            requests.stage(session, desk.keys, who.caller, number, right)

        again = lambda error: show(request, number, who, session, error, form)  # noqa: E731  (The page again, with what was wrong.)
        return tried(session, act, again, lambda: to(f"/console/requests/{quote(number)}", done="correction-proposed"))

    @router.post("/console/requests/{number}/correct-file")
    def bring(request: Request, number: str, given: PostedFile, who: Handler, session: SessionDep) -> Response:
        identity.stepped_up(desk.settings, who.caller)

        def act() -> None:
            if not given.content:
                raise Invalid(problems=(Problem("/file", "required", "This field must be filled in."),))
            requests.stage(session, desk.keys, who.caller, number, given.content)

        again = lambda error: show(request, number, who, session, error)  # noqa: E731  (As above.)
        return tried(session, act, again, lambda: to(f"/console/requests/{quote(number)}", done="correction-proposed"))

    return router


def label_of(spoken: str, place: str) -> str:
    """What a single value is called: its element's name, and the way further in, in words; a part that no table knows as FHIR has it."""
    first, _, rest = place.partition(".")
    further = [said(spoken, PARTS[name]) if name in PARTS else name for name in rest.split(".") if not name.isdigit() and name not in SILENT]
    return " · ".join([vocabulary.element(spoken, readable.plain(first)), *further])


def shown(spoken: str, staged: Staged, caller_natural: str) -> dict[str, Any]:
    """A correction that waits, for the page of its request."""
    return {
        "at": staged.at,
        "actor": staged.actor,
        "mine": staged.natural_person == caller_natural,
        "resources": [
            {
                "title": f"{vocabulary.kind(spoken, str(one.body['resourceType']))} · {readable.headline(one.body)}",
                "reference": one.reference,
                "kept": one.kept,
                "changes": [(label_of(spoken, change.place), change.before, change.after) for change in one.changes],
            }
            for one in staged.resources
        ],
    }


def _name(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _grouped(spoken: str, kept: list[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for one in kept:
        day = next(
            (str(one[name])[:10] for name in ("effectiveDateTime", "authoredOn", "recordedDate", "onsetDateTime", "issued") if name in one), ""
        )
        groups.setdefault(vocabulary.kind(spoken, one["resourceType"]), []).append((_name(one), f"{readable.headline(one)} {day}".strip()))
    return groups
