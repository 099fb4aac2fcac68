"""The review's workbench: figures, the drawn sample with its checklists, findings, corrective actions, two signatures, the files (RS-7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker import clock
from broker.console import charts, pickers, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Visitor, require
from broker.console.language import N_, said
from broker.console.pages import HEADERS, Pages, filled, text, to
from broker.console.tables import Ask
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem, Unavailable
from broker.identity import service as identity
from broker.identity.access import Action
from broker.identity.models import Person
from broker.incidents import service as incidents
from broker.review import service as review

Reader = Annotated[Visitor, Depends(require(Action.REVIEW_READ))]
Writer = Annotated[Visitor, Depends(require(Action.REVIEW_WRITE))]
Handler = Annotated[Visitor, Depends(require(Action.INCIDENT_HANDLE))]

#: Quarters that can be chosen, the present one and those before it.
BACK = 8
LONGEST = 4000

MEDIA = {
    "json": "application/json",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page, its forms, and the files."""
    router = APIRouter()

    def document(session: Session, quarter: review.Quarter, kept: review.Kept | None) -> dict[str, Any]:
        """As it was laid down, or as it stands: figures of the moment at which they were reckoned, the rest of now."""
        return review.workbench.whole(session, desk.keys, quarter, kept.document if kept else {})

    def figures(session: Session, quarter: review.Quarter, *, anew: bool = False) -> review.Kept | None:
        """The figures with their moment; None where they were laid down."""
        if review.workbench.laid(session, quarter):
            return None
        return review.shown(session, quarter, feedback_days=desk.settings.feedback_days, anew=anew)

    @router.get("/console/reviews")
    def reviews(request: Request, who: Reader, session: SessionDep) -> Response:
        known = quarters()
        return show(request, who, session, review.Quarter.parse(Ask.of(request).one_of("quarter", known, known[0])))

    def show(request: Request, who: Visitor, session: Session, chosen: review.Quarter, error: BrokerError | None = None) -> Response:
        # Whoever signed something else than what is true by now is shown what is.
        kept = figures(session, chosen, anew=isinstance(error, review.AnotherDocument))
        spoken, made = pages.language(request), document(session, chosen, kept)
        signed = review.workbench.signatures(session, chosen)
        part = next((one for one in review.workbench.SIGNING if one in who.caller.roles), None)
        over = clock.now() >= chosen.until
        return pages.show(
            request,
            "reviews.html",
            status=error.status if error else 200,
            error=error,
            quarter=str(chosen),
            review={"since": chosen.since.date(), "until": chosen.until.date()},
            smallest=review.SMALLEST,
            quarters=[(one, one) for one in quarters()],
            tiles=_tiles(made, spoken),
            charts=[charts.decided(made, spoken), *(charts.chart(desk, name, rows, spoken) for name, rows in made["breakdowns"].items())],
            figures=review.lines(made, spoken),
            sample=[_drawn(desk, one, spoken) for one in made.get("sample", ())],
            checks=[pair[spoken == "zh"] for pair in review.CHECK_WORDS.values()],
            findings=made.get("findings", ()),
            actions=made.get("actions", ()),
            access=made.get("access", ()),
            digest=review.digest(made),
            signed=signed,
            parts=[one.value for one in review.workbench.SIGNING],
            over=over,
            kept=kept,
            laid=review.workbench.laid(session, chosen) is not None,
            may_find=who.caller.may(Action.REVIEW_WRITE),
            may_correct=who.caller.may(Action.INCIDENT_HANDLE),
            sign_as=part.value if part and part.value not in signed and over else "",
            severities=[(code, words.word(spoken, "finding", code)) for code in words.FINDING],
            changes=[(code, words.word(spoken, "changes", code)) for code in words.CHANGES],
            people=pickers.people(session).picker(filled(request), "owner"),
            pdf=review.fonts_there(),
        )

    @router.get("/console/reviews/{quarter}/report")
    def report(request: Request, quarter: str, _who: Reader, session: SessionDep) -> Response:
        chosen, spoken = review.Quarter.parse(quarter), pages.language(request)
        # A file is what the API and the command line give: reckoned now. The page agrees with it from then on.
        form, made = Ask.of(request).one_of("form", tuple(MEDIA), "pdf"), document(session, chosen, figures(session, chosen, anew=True))
        hospital = review.hospital_names(session, desk.settings.hospital)[spoken]
        if form == "pdf" and not review.fonts_there():
            raise Unavailable("No font with Chinese is installed.")
        body: bytes | str
        if form == "pdf":
            body = review.as_pdf(made, spoken, hospital, review.workbench.signatures(session, chosen))
        else:
            body = review.as_xlsx(made, spoken, hospital) if form == "xlsx" else review.as_json(made)
        name = f"review-{chosen}.{form}" if form == "json" else f"review-{chosen}.{spoken}.{form}"
        return Response(body, media_type=MEDIA[form], headers={**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'})

    def done(request: Request, who: Visitor, session: Session, quarter: str, act: Any) -> Response:
        """Do it and show the page again, with what was wrong where something was."""
        chosen = review.Quarter.parse(quarter)
        try:
            with session.begin_nested():
                mark = act(chosen)
        except BrokerError as error:
            return show(request, who, session, chosen, error)
        return to(f"/console/reviews?quarter={quote(str(chosen))}", done=mark)

    @router.post("/console/reviews/{quarter}/findings")
    def find(request: Request, quarter: str, form: Posted, who: Writer, session: SessionDep) -> Response:
        def act(chosen: review.Quarter) -> str:
            severity, about = _one_of(form, "severity", words.FINDING), form.one("application") or None
            if about is not None and about not in {one["number"] for one in document(session, chosen, figures(session, chosen)).get("sample", ())}:
                raise Invalid(problems=(Problem("/application", "unknown", "There is no such choice."),))
            review.workbench.find(session, desk.keys, who.caller, chosen, severity=severity, text=_words(form, "text"), application=about)
            return "finding"

        return done(request, who, session, quarter, act)

    @router.post("/console/reviews/{quarter}/actions")
    def correct(request: Request, quarter: str, form: Posted, who: Handler, session: SessionDep) -> Response:
        def act(chosen: review.Quarter) -> str:
            found = [one["number"] for one in review.workbench.whole(session, desk.keys, chosen, {}).get("findings", ())]
            incidents.open_action(
                session, who.caller, source="finding", source_ref=_one_of(form, "finding", found), changes=_one_of(form, "changes", words.CHANGES),
                title=_words(form, "title", most=200), owner=_person(session, form).id, due_on=_coming(desk, form),
            )  # fmt: skip
            return "action"

        return done(request, who, session, quarter, act)

    @router.post("/console/reviews/{quarter}/signatures")
    def sign(request: Request, quarter: str, form: Posted, who: Reader, session: SessionDep) -> Response:
        def act(chosen: review.Quarter) -> str:
            laid = review.workbench.laid(session, chosen)
            now = {} if laid else review.compiled(session, chosen, feedback_days=desk.settings.feedback_days)
            review.workbench.sign(session, desk.keys, who.caller, chosen, now, seen=form.one("digest"))
            return "signed"

        return done(request, who, session, quarter, act)

    @router.post("/console/reviews/{quarter}/figures")
    def reckon(request: Request, quarter: str, form: Posted, who: Reader, session: SessionDep) -> Response:
        del form

        def act(chosen: review.Quarter) -> str:
            figures(session, chosen, anew=True)
            return "reckoned"

        return done(request, who, session, quarter, act)

    @router.post("/console/reviews/{quarter}/access")
    def begin(request: Request, quarter: str, form: Posted, who: Writer, session: SessionDep) -> Response:
        del form

        def act(chosen: review.Quarter) -> str:
            review.recertifying.begin(session, desk.keys, who.caller, chosen, unused_days=desk.settings.unused_days)
            return "access-begun"

        return done(request, who, session, quarter, act)

    return router


def quarters() -> list[str]:
    """The present quarter and those before it."""
    today = clock.today()
    year, number = today.year, (today.month + 2) // 3
    found = []
    for _ in range(BACK):
        found.append(f"{year}Q{number}")
        year, number = (year - 1, 4) if number == 1 else (year, number - 1)
    return found


def _tiles(made: Mapping[str, Any], spoken: str) -> list[tuple[str, Any]]:
    return [
        (said(spoken, N_("applications")), made["applications"]["submitted"]),
        (said(spoken, N_("approved")), made["applications"]["approved"]),
        (said(spoken, N_("refused")), made["applications"]["refused"]),
        (said(spoken, N_("resources sent")), made["releases"]["resources_sent"]),
        (said(spoken, N_("resources held back")), made["releases"]["resources_held_back"]),
        (said(spoken, N_("examinations avoided")), made["feedback"]["examinations_avoided"]),
    ]


def _drawn(desk: Desk, one: Mapping[str, Any], spoken: str) -> dict[str, Any]:
    """One exchange of the sample, its checklist in the order of ``CHECK_WORDS``."""
    return {
        "number": one["number"],
        "purpose": text(desk.purposes.get(one["purpose"]), spoken, one["purpose"]),
        "releases": one["releases"],
        "checks": [one["checks"][check] for check in review.CHECK_WORDS],
    }


def _one_of(form: Form, name: str, known: Any) -> str:
    given = form.one(name)
    if given not in known:
        raise Invalid(problems=(Problem(f"/{name}", "unknown", "There is no such choice."),))
    return given


def _words(form: Form, name: str, *, most: int = LONGEST) -> str:
    given = form.one(name)
    if not given or len(given) > most or any(ord(letter) < 32 and letter not in "\n\t" for letter in given):
        raise Invalid(problems=(Problem(f"/{name}", "required", "This must be filled in."),))
    return given


def _person(session: Session, form: Form) -> Person:
    """The owner, by user name."""
    found = identity.person_named(session, pickers.people(session).read(form, "owner"))
    if found is None or found.status != "active":
        raise Invalid(problems=(Problem("/owner", "unknown", "There is no such choice."),))
    return found


def _coming(desk: Desk, form: Form) -> date:
    try:
        day = date.fromisoformat(form.one("due_on"))
    except ValueError:
        raise Invalid(problems=(Problem("/due_on", "day", "This is not a day."),)) from None
    if day < desk.today:
        raise Invalid(problems=(Problem("/due_on", "past", "This day has passed."),))
    return day
