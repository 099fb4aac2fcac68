"""Writing an application: one page that keeps what was typed and shows at once what policy would make of it (RS-5.3.1, RS-5.2.3)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError
from sqlmodel import Session

from broker.applications import service as applications
from broker.applications.schemas import ApplicationIn
from broker.console import pickers, words
from broker.console.desk import Desk
from broker.console.door import Form, Posted, PostedFile, SignedIn, Visitor
from broker.console.opinions import Opinion, opinion
from broker.console.pages import Pages, filled, text, to
from broker.console.problems import of_validation
from broker.console.tables import Ask
from broker.database import SessionDep
from broker.errors import BrokerError, Forbidden, Malformed

#: Resident identity number (GB 11643), as an OID.
RESIDENT_NUMBER = "urn:oid:2.16.156.10011.1.3"

#: The purposes that most people mean, before all others.
FIRST_PURPOSES = ("TREAT", "ETREAT", "HPAYMT", "HOPERAT", "PUBHLTH", "HRESCH")

#: The fields of an application that are written here.
KEPT = {
    "purpose", "lawful_basis", "recipient", "data", "period", "channel", "valid_until", "urgency", "justification", "retention_days", "patients",
    "attachments",
}  # fmt: skip

#: What a new application takes over of an earlier one, and how many are offered.
TAKEN_OVER = {"purpose", "lawful_basis", "recipient", "data", "channel", "retention_days"}
LIKE = 8

#: Days that a new application is valid for unless somebody says otherwise.
USUAL_DAYS = 90


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page, for a new application and for a draft or a returned one."""
    router = APIRouter()

    def page(request: Request, who: Visitor, session: Session, form: dict[str, Any], *, ref: str = "", version: int = 0,
             error: BrokerError | None = None, outlook: Opinion | None = None, returned: str = "", like: str = "") -> Response:  # fmt: skip
        spoken = pages.language(request)
        mine = applications.recipients(session, who.caller.person_id)
        chosen = {item["data_class"] for item in form.get("data") or () if item.get("data_class")}
        return pages.show(
            request,
            "apply.html",
            status=error.status if error else 200,
            error=error,
            form={"retention_days": None, "urgency": "routine", "channel": "api", "valid_until": None, "purpose": None, "lawful_basis": None,
                  "recipient": mine[0] if mine else None, "justification": None, **form},
            period={"start": None, "end": None, **(form.get("period") or {})},
            patients=[_typed(one) for one in [*(form.get("patients") or ()), *([{}] if form.get("another") or not form.get("patients") else [])]],
            chosen=chosen,
            lines=[(json.dumps(item, ensure_ascii=False), _line(item)) for item in form.get("data") or () if not item.get("data_class")],
            classes=_classes(desk, spoken),
            purposes=_purposes(desk, spoken),
            bases=[(code, text(name, spoken)) for code, name in desk.lawful_bases.items()],
            recipients=pickers.among(session, spoken, mine).picker(filled(request), "recipient"),
            systems=(RESIDENT_NUMBER, desk.settings.record_number_system),
            attachments=form.get("attachments") or [],
            kinds=[(code, words.word(spoken, "attachment", code)) for code in words.ATTACHMENT],
            ref=ref,
            version=version,
            outlook=outlook,
            returned=returned,
            like=like,
            earlier=[] if ref or error else earlier(session, who, spoken),
        )  # fmt: skip

    def chosen(session: Session, who: Visitor, form: Form) -> dict[str, str]:
        """The recipient as it was chosen or typed. Raises ChooseOne."""
        recipient = pickers.among(session, "zh", applications.recipients(session, who.caller.person_id)).read(form, "recipient")
        return {"recipient": recipient} if recipient else {}

    def earlier(session: Session, who: Visitor, spoken: str) -> list[tuple[str, str]]:
        """One's own last applications that were approved: what is asked for every week need not be ticked every week."""
        wanted = applications.Wanted(states=(applications.State.APPROVED,), mine=True, sort="-submitted")
        found = applications.listing(session, who.caller.person_id, wanted, limit=LIKE, offset=0, counted=LIKE).items
        return [(one.number or "", f"{one.number} · {text(desk.purposes.get(one.purpose or ''), spoken)}") for one in found]

    def taken_over(session: Session, who: Visitor, number: str) -> dict[str, Any]:
        """Purpose, basis, data and the like of an earlier application of one's own; never its patients, its reasons or its term."""
        sight = applications.look(session, who.caller.person_id, number)
        if sight.application.requester_id != who.caller.person_id:
            raise Forbidden
        shown = applications.one(session, desk.keys, sight).model_dump(mode="json", include=TAKEN_OVER)
        return {name: value for name, value in shown.items() if value}

    @router.get("/console/applications/new")
    def new(request: Request, who: SignedIn, session: SessionDep) -> Response:
        if not applications.recipients(session, who.caller.person_id):
            raise Forbidden
        like = Ask.of(request).text("like")
        form = taken_over(session, who, like) if like else {}
        return page(request, who, session, {"valid_until": (desk.today + timedelta(days=USUAL_DAYS)).isoformat(), **form}, like=like)

    @router.post("/console/applications/new")
    def begin(request: Request, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        given = _given(form)
        try:
            with session.begin_nested():
                given |= chosen(session, who, form)
                checked = _checked(given, pages.language(request))
                application = applications.draft(session, desk.keys, who.caller.person_id, checked)
        except BrokerError as error:
            return page(request, who, session, given, error=error)
        return onward(request, form, who, session, str(application.id), application.version, given)

    @router.get("/console/applications/{ref}/edit")
    def edit(request: Request, ref: str, who: SignedIn, session: SessionDep) -> Response:
        sight = applications.look(session, who.caller.person_id, ref)
        if "edit" not in applications.actions(session, sight):
            return to(f"/console/applications/{ref}")
        shown = applications.one(session, desk.keys, sight)
        form = shown.model_dump(mode="json", include=KEPT)
        form["another"] = "another" in request.query_params
        reason = ""
        if shown.status == "returned":
            steps = applications.exchange(session, desk.keys, sight).decisions
            reason = next((step.reason or "" for step in reversed(steps) if step.action == "return"), "")
        return page(request, who, session, form, ref=shown.id, version=shown.version, outlook=_outlook(request, who, session, ref), returned=reason)

    @router.post("/console/applications/{ref}/edit")
    def save(request: Request, ref: str, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        given, version = _given(form), _version(form)
        try:
            with session.begin_nested():
                given |= chosen(session, who, form)
                checked = _checked(given, pages.language(request))
                application = applications.update(session, desk.keys, who.caller.person_id, ref, checked, if_match=version, whole=True)
        except BrokerError as error:
            return page(request, who, session, given, ref=ref, version=version, error=error)
        return onward(request, form, who, session, ref, application.version, given)

    def onward(request: Request, form: Form, who: Visitor, session: Session, ref: str, version: int, given: dict[str, Any]) -> Response:
        """After it was kept: hand it in, or come back to it."""
        if not form.has("submit"):
            return to(f"/console/applications/{ref}/edit" + ("?another" if form.has("another") else ""), done="" if form.has("another") else "saved")
        try:
            with session.begin_nested():
                application = applications.submit(session, desk.means, who.caller.person_id, ref, if_match=version)
        except BrokerError as error:
            return page(request, who, session, given, ref=ref, version=version, error=error, outlook=_outlook(request, who, session, ref))
        return to(f"/console/applications/{application.number}", done="submitted")

    @router.post("/console/applications/{ref}/attachments")
    def attach(request: Request, ref: str, given: PostedFile, who: SignedIn, session: SessionDep) -> Response:
        kind = given.form.one("kind")
        if not given.name:
            raise Malformed("No file was sent.")
        try:
            with session.begin_nested():
                applications.attach(
                    session, desk.keys, who.caller.person_id, ref, kind=applications.AttachmentKind(kind if kind in words.ATTACHMENT else "other"),
                    name=_plain(given.name), media_type=given.media_type, content=given.content, max_bytes=desk.settings.attachment_bytes,
                )  # fmt: skip
        except BrokerError as error:
            sight = applications.look(session, who.caller.person_id, ref)
            form = applications.one(session, desk.keys, sight).model_dump(mode="json", include=KEPT)
            return page(request, who, session, form, ref=ref, version=sight.application.version, error=error)
        return to(f"/console/applications/{ref}/edit", done="attached")

    @router.post("/console/applications/{ref}/attachments/{attachment}/remove")
    def detach(ref: str, attachment: UUID, form: Posted, who: SignedIn, session: SessionDep) -> Response:
        del form
        applications.detach(session, who.caller.person_id, ref, attachment)
        return to(f"/console/applications/{ref}/edit", done="saved")

    def _outlook(request: Request, who: Visitor, session: Session, ref: str) -> Opinion | None:
        decision = applications.outlook(session, desk.means, who.caller.person_id, ref)
        if decision is None:
            return None
        return opinion(
            desk,
            pages.language(request),
            effect=decision.effect.value,
            reasons=[{"code": one.code, "message": one.message} for one in decision.reasons],
            plan=decision.plan,
            obligations=decision.obligations,
            necessity=decision.necessity,
        )

    return router


def _plain(name: str) -> str:
    """A file's name without what no name of a document holds."""
    return "".join(letter for letter in name if letter.isprintable() and letter not in '/\\"')[:200] or "document"


def _version(form: Form) -> int:
    given = form.one("version")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else -1


def _given(form: Form) -> dict[str, Any]:
    """The fields as the API's form has them; what was left empty is left out."""
    plain = {name: form.one(name) for name in ("purpose", "lawful_basis", "recipient", "channel", "valid_until", "urgency", "justification")}
    given: dict[str, Any] = {name: value for name, value in plain.items() if value}
    period = {name: form.one(f"period_{name}") for name in ("start", "end") if form.one(f"period_{name}")}
    if period:
        given["period"] = period
    days = form.one("retention_days")
    if days:
        given["retention_days"] = int(days) if days.isascii() and days.isdigit() and len(days) < 6 else days
    columns = [form.column(f"patient_{name}") for name in ("system", "value", "name", "birth")]
    given["patients"] = [
        {"identifier": {"system": system, "value": value}, **({"name": name} if name else {}), **({"birthDate": birth} if birth else {})}
        for system, value, name, birth in zip(*columns, strict=False)
        if value or name
    ]
    given["data"] = [{"data_class": code} for code in form.all("data")] + [_read(line) for line in form.all("data_line")]
    return given


def _typed(one: dict[str, Any]) -> dict[str, str]:
    """A patient as the page's fields have them."""
    identifier = one.get("identifier") or {}
    return {
        "system": identifier.get("system") or "",
        "value": identifier.get("value") or "",
        "name": one.get("name") or "",
        "birth": one.get("birthDate") or "",
    }


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return {}


def _line(item: dict[str, Any]) -> str:
    """A line that names a FHIR type, as the API's callers write it."""
    return " · ".join([str(item.get("resource_type", "")), *(item.get("elements") or ()), *(item.get("codes") or ())])


def _checked(given: dict[str, Any], spoken: str) -> dict[str, Any]:
    """The form as the verbs take it. Raises Invalid naming each field that isn't right."""
    try:
        return ApplicationIn.model_validate(given).form()
    except ValidationError as error:
        raise of_validation(error, spoken) from None


def _purposes(desk: Desk, spoken: str) -> list[tuple[str, str]]:
    codes = [*(code for code in FIRST_PURPOSES if code in desk.purposes), *(code for code in desk.purposes if code not in FIRST_PURPOSES)]
    return [(code, text(desk.purposes[code], spoken)) for code in codes]


def _classes(desk: Desk, spoken: str) -> list[tuple[str, str, list[tuple[str, str, int, bool]]]]:
    """The catalogue in its families: code and name of the family, then each class with its name, level, and whether it lifts a veil."""
    families: dict[str, list[tuple[str, str, int, bool]]] = {}
    for code, one in desk.catalogue.classes.items():
        families.setdefault(code.partition(".")[0], []).append((code, text(one.name, spoken), one.level, one.lifts is not None))
    return [
        (name, text(desk.catalogue.classes[name].name, spoken) if name in desk.catalogue.classes else "", rows) for name, rows in families.items()
    ]
