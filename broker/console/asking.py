"""Asking a patient at the desk: the notice as the law wants it, the answer, and what proves it (PIPL 14, 17, 23, 29; PI-3.1)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session

from broker.consent import service as consent
from broker.consent.models import Notice
from broker.console import language, pickers, vocabulary
from broker.console.applying import FIRST_PURPOSES, RESIDENT_NUMBER
from broker.console.desk import Desk
from broker.console.door import Form, Posted, PostedFile, Visitor, require
from broker.console.language import N_, said
from broker.console.pages import Pages, filled, text, to
from broker.database import SessionDep
from broker.errors import BrokerError, Invalid, Problem
from broker.identity.access import Action

Asker = Annotated[Visitor, Depends(require(Action.CONSENT_WRITE))]

METHODS = {"fhir-api": N_("FHIR interface"), "bulk-file": N_("Bulk export"), "on-screen": N_("On screen")}
SEPARATE = {
    "sensitive": N_("I agree separately that my health data, which are sensitive, are processed for this."),
    "other-processor": N_("I agree separately that they are given to the recipient named above."),
    "abroad": N_("I agree separately that they leave the country."),
}
#: What the parts of a notice are called (PIPL 17, 23, 30, 39); its title has no name.
PARTS = {
    "handler": N_("Who processes the data"),
    "contact": N_("Contact"),
    "purpose": N_("What for"),
    "method": N_("How"),
    "types": N_("Which data"),
    "retention": N_("How long"),
    "rights": N_("Your rights"),
    "recipient": N_("Who receives them"),
    "recipient_contact": N_("Contact of the recipient"),
    "necessity": N_("Why it is necessary"),
    "impact": N_("What it may mean for you"),
}
#: Sensitive topics that a patient may let go by name.
TOPICS = ("PSY", "HIV", "SUD", "SEX", "GDIS", "VIO")
USUAL_DAYS = 365
_FILES = {"application/pdf": "document", "image/png": "image", "image/jpeg": "image"}


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """What is asked, then the notice and the answer."""
    router = APIRouter()

    def choices(request: Request, session: Session) -> dict[str, Any]:
        spoken = pages.language(request)
        codes = [*(code for code in FIRST_PURPOSES if code in desk.purposes), *(code for code in desk.purposes if code not in FIRST_PURPOSES)]
        newest: dict[str, Notice] = {}
        for one in consent.known_notices(session):
            if one.retired_at is None:
                newest.setdefault(one.name, one)
        return {
            "recipients": pickers.organizations(session, spoken).picker(filled(request), "recipient"),
            "purposes": [(code, text(desk.purposes[code], spoken)) for code in codes],
            "methods": [(code, said(spoken, words)) for code, words in METHODS.items()],
            "classes": [(code, text(one.name, spoken)) for code, one in desk.catalogue.classes.items() if code.startswith("clinical.")],
            "topics": [(code, vocabulary.label(spoken, code)) for code in TOPICS],
            "notices": [(f"{one.name}|{one.version}", _titled(spoken, one)) for one in newest.values()],
            "systems": (RESIDENT_NUMBER, desk.settings.record_number_system),
            "until": (desk.today + timedelta(days=USUAL_DAYS)).isoformat(),
        }

    @router.get("/console/consent")
    def first(request: Request, who: Asker, session: SessionDep) -> Response:
        del who
        return pages.show(request, "asking.html", error=None, **choices(request, session))

    @router.post("/console/consent")
    def notice(request: Request, form: Posted, who: Asker, session: SessionDep) -> Response:
        del who
        try:
            return _notice(request, session, pickers.organizations(session, pages.language(request)).settled(form, "recipient"))
        except BrokerError as error:
            return pages.show(request, "asking.html", status=error.status, error=error, **choices(request, session))

    def _notice(request: Request, session: Session, form: Form, error: BrokerError | None = None) -> Response:
        scope, days, name, version, spoken = _asked(form)
        template = consent.notice(session, name, version)
        words = consent.shown(session, desk.settings, template, scope, days, desk.wording, spoken)
        ticked = [(code, said(spoken, sentence)) for code, sentence in SEPARATE.items() if code in template.content["kinds"]]
        return pages.show(
            request,
            "asking_answer.html",
            status=error.status if error else 200,
            error=error,
            notice=[(said(spoken, PARTS[name]) if name in PARTS else "", part) for name, part in words.parts],
            notice_tag=language.TAGS[spoken],
            separate=ticked,
            fields=[(key, value) for key, value in form.fields if key in KEPT],
        )

    @router.post("/console/consent/answer")
    def answer(request: Request, given: PostedFile, who: Asker, session: SessionDep) -> Response:
        form = given.form
        try:
            with session.begin_nested():
                scope, days, name, version, spoken = _asked(form)
                capacity = "guardian" if form.one("capacity") == "guardian" else "self"
                taken = consent.take(
                    session,
                    desk.keys,
                    desk.settings,
                    consent.Answer(
                        patient={"identifier": {"system": form.one("system"), "value": form.one("number")}},
                        notice=name,
                        version=version,
                        scope=scope,
                        retention_days=days,
                        given=form.one("answer") == "yes",
                        separate=frozenset(form.all("separate")) & SEPARATE.keys(),
                        answerer=consent.Answerer(capacity, form.one("relationship"), form.one("reason")),
                        language=spoken,
                        evidence=_evidence(given.media_type, given.content, form.one("witness")),
                        name=form.one("guardian"),
                    ),
                    desk.wording,
                    actor=who.caller.actor,
                )
        except BrokerError as error:
            return _notice(request, session, form, error)
        return to("/console/consent", done="consent-filed" if taken.filed else "consent-refused")

    return router


def _titled(spoken: str, one: Notice) -> str:
    """A notice by its title and version, as whoever reads it out finds it at the top of the paper."""
    version = said(spoken, N_("version {number}")).format(number=one.version)
    return f"{one.content['texts'][spoken]['title']} ({version})"


#: Fields of the first page that the second carries on.
KEPT = frozenset({"system", "number", "notice", "recipient", "purpose", "method", "data", "topic", "until", "retention_days", "spoken"})


def _asked(form: Form) -> tuple[consent.Scope, int, str, int, str]:
    """What is asked for, for how many days it is kept, and with which notice in which language. Raises Invalid."""
    problems = []
    name, _, version = form.one("notice").partition("|")
    days = form.one("retention_days") or "30"
    try:
        until = date.fromisoformat(form.one("until"))
    except ValueError:
        until = date.max
        problems.append(Problem("/until", "day", "A day is written YYYY-MM-DD."))
    problems += [
        Problem(f"/{field}", "required", "This field must be filled in.")
        for field in ("number", "recipient", "purpose", "data")
        if not form.all(field)
    ]
    if not (version.isascii() and version.isdigit() and len(version) < 8):
        problems.append(Problem("/notice", "unknown", "There is no such choice."))
    if not (days.isascii() and days.isdigit() and len(days) < 6):
        problems.append(Problem("/retention_days", "unknown", "It must be a whole number."))
    if problems:
        raise Invalid(problems=tuple(problems))
    scope = consent.Scope(
        form.one("recipient"), form.one("purpose"), form.one("method") or "fhir-api", frozenset(form.all("data")), frozenset(form.all("topic")), until
    )
    return scope, int(days), name, int(version), "en" if form.one("spoken") == "en" else "zh"


def _evidence(media_type: str, content: bytes, witness: str) -> tuple[consent.Proof, ...]:
    """The signed paper as it was scanned or photographed, and the witness. Raises Invalid for another kind of file."""
    found = []
    if content:
        if media_type not in _FILES:
            raise Invalid(problems=(Problem("/file", "media-type", "A signed form is a PDF, PNG or JPEG."),))
        found.append(consent.Proof(_FILES[media_type], media_type, content))
    if witness:
        found.append(consent.Proof("witness", "text/plain", witness.encode()))
    return tuple(found)
