"""The decision on one page: request, assessment with reasons, consents, what would leave beside what stays, history (RS-5.3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError
from sqlmodel import Session

from broker.applications import service as applications
from broker.applications.schemas import ApplicationOut, ApproveIn, NarrowIn
from broker.consent import service as consent
from broker.console import readable, vocabulary, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, SignedIn, Visitor
from broker.console.exchange import STEPS, opinion_of, said_to, version_of
from broker.console.language import N_, said
from broker.console.pages import Names, Pages, to
from broker.console.problems import of_validation
from broker.database import SessionDep
from broker.errors import BrokerError, Malformed, NotFound, Problem
from broker.identity import service as identity

#: Resources of one type that the page shows in full; their number is told in any case.
SAMPLE = 8

WHY = {
    "not-necessary": N_("not necessary for the purpose: not in the least-necessary list"),
    "labelled": N_("bears a sensitive label that policy or the patient withholds"),
    "outside": N_("outside the period, the categories or what the consent covers"),
}


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page and its four answers."""
    router = APIRouter()

    @router.get("/console/applications/{ref}/decide")
    def decide(request: Request, ref: str, who: SignedIn, session: SessionDep) -> Response:
        return show(request, ref, who, session)

    def show(request: Request, ref: str, who: Visitor, session: Session, error: BrokerError | None = None) -> Response:
        sight = applications.look_to_decide(session, who.caller.person_id, ref)
        spoken = pages.language(request)
        thread = applications.exchange(session, desk.keys, sight)
        known = identity.Directory(session)
        newest = thread.assessments[-1] if thread.assessments else None
        consents = sorted({one for patient in newest.patients for one in patient.consents}) if newest else []
        preview = desk.preview(session, sight.application)
        return pages.show(
            request,
            "decide.html",
            own=False,
            status=error.status if error else 200,
            error=error,
            thread=thread,
            it=thread.application,
            desk=desk,
            known=known,
            newest=newest,
            opinions=[opinion_of(desk, spoken, newest, place) for place in range(len(newest.patients))] if newest else [],
            consents=[_consent(desk, session, spoken, one, Names(session, spoken)) for one in consents],
            beside=[_patient(spoken, one) for one in desk.beside(session, sight.application, preview)],
            actions=thread.application.actions,
            missing=[one.partition(":")[0] for one in thread.application.missing],
            differences=applications.differences(session, desk.keys, sight.application) if sight.application.round > 1 else [],
            reasons=[(code, words.word(spoken, "reason", code)) for code in words.REASON],
            classes=desk.catalogue.classes,
        )

    @router.post("/console/applications/{ref}/decide")
    def answer(request: Request, ref: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        name, spoken = form.one("answer"), pages.language(request)
        try:
            with session.begin_nested():
                _taken(form, name, who, session, ref, spoken)
        except BrokerError as error:
            return show(request, ref, who, session, error)
        return to(f"/console/applications/{quote(ref)}", done=name)

    def _taken(form: Form, name: str, who: Visitor, session: Session, ref: str, spoken: str) -> None:
        person, version = who.caller.person_id, version_of(form)
        if name == "approve":
            given = _read(ApproveIn, _limits(form), spoken)
            applications.approve(session, desk.means, person, ref, if_match=version, releases_limit=given.releases_limit, reason=given.said())
        elif name == "narrow":
            asked = applications.one(session, desk.keys, applications.look(session, person, ref))
            narrowed = _read(NarrowIn, {**_limits(form), **_narrowing(form, asked)}, spoken)
            applications.narrow(session, desk.means, person, ref, narrowed.narrowing(), if_match=version, reason=narrowed.said())
        elif name in ("return", "refuse", "legality", "necessity", "concur", "recuse"):
            STEPS[name](session, desk.keys, person, ref, if_match=version, reason=said_to(form, spoken).said())
        else:
            raise Malformed("There is no such answer.")

    return router


def _read(form: type[Any], given: Mapping[str, Any], spoken: str) -> Any:
    try:
        return form.model_validate(given)
    except ValidationError as error:
        raise of_validation(error, spoken) from None


def _limits(form: Form) -> dict[str, Any]:
    given: dict[str, Any] = {"code": form.one("code") or "other"}
    if form.one("reason"):
        given["reason"] = form.one("reason")
    if form.one("releases_limit"):
        given["releases_limit"] = _number(form.one("releases_limit"))
    return given


def _narrowing(form: Form, asked: ApplicationOut) -> dict[str, Any]:
    """What stays of what was asked. A field that is as it was asked is not named, so that it isn't taken for a change."""
    given: dict[str, Any] = {}
    kept = [item for place, item in enumerate(asked.data) if str(place) in form.all("keep_data")]
    if not kept:
        raise applications.NotNarrower(problems=(Problem("/data", "required", "Nothing would be left to share; refuse the application instead."),))
    if len(kept) < len(asked.data):
        given["data"] = kept
    patients = [one.position for one in asked.patients if str(one.position) in form.all("keep_patient")]
    if not patients:
        raise applications.NotNarrower(problems=(Problem("/patients", "required", "No patient would be left; refuse the application instead."),))
    if len(patients) < len(asked.patients):
        given["patients"] = patients
    before = {"start": asked.period.get("start") or "", "end": asked.period.get("end") or ""}
    period = {name: form.one(f"period_{name}") for name in before if form.one(f"period_{name}") not in ("", before[name])}
    if period:
        given["period"] = period
    if form.one("valid_until") not in ("", str(asked.valid_until or "")):
        given["valid_until"] = form.one("valid_until")
    if form.one("retention_days") not in ("", str(asked.retention_days)):
        given["retention_days"] = _number(form.one("retention_days"))
    return given


def _number(given: str) -> int | str:
    return int(given) if given.isascii() and given.isdigit() and len(given) < 8 else given


def _consent(desk: Desk, session: Session, spoken: str, consent_id: str, names: Names) -> readable.ConsentSaid | None:
    try:
        return readable.consent(desk, spoken, orjson.loads(consent.read(session, desk.keys, UUID(consent_id)).body), names)
    except (NotFound, ValueError):
        return None


def _patient(spoken: str, one: Any) -> dict[str, Any]:
    """One patient's preview in words (``release.beside.Beside``)."""
    return {
        "position": one.position,
        "effect": one.effect,
        "left": one.left,
        "held": one.held,
        "kinds": [
            {
                "name": vocabulary.kind(spoken, kind.type),
                "left": kind.left,
                "held": kind.held.total(),
                "why": [(said(spoken, WHY[code]), count) for code, count in sorted(kind.held.items())],
                "labels": sorted({vocabulary.label(spoken, code) for code in kind.labels}),
                "elements": sorted(
                    (vocabulary.element(spoken, element.name), element.whole, element.reduced, element.stays) for element in kind.elements.values()
                ),
                "sample": [(readable.headline(resource), readable.rows(spoken, resource)) for resource in kind.resources[:SAMPLE]],
            }
            for kind in one.kinds
        ],
    }
