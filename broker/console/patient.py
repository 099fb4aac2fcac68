"""The patient's own page: my consents, who saw what and why, withdraw. And the desk where the code for it is given (QA-4.2, PIPL 15, 45)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from sqlmodel import Session, col, select

from broker.consent import service as consent
from broker.consent.errors import NoSuchConsent
from broker.consent.models import Consent
from broker.console import language, readable, vocabulary
from broker.console.applying import RESIDENT_NUMBER
from broker.console.desk import Desk
from broker.console.door import Form, Posted, Sent, Visitor, cookie_name, csrf_token, require, sent
from broker.console.entrance import LOCKED
from broker.console.errors import NotFromHere, PatientSignInFirst
from broker.console.language import N_, said
from broker.console.navigation import Entry
from broker.console.pages import HEADERS, Names, Pages, named, to
from broker.crypto import Keys
from broker.database import Database, SessionDep
from broker.identity import service as identity
from broker.identity.access import Action
from broker.records import service as records
from broker.settings import Settings

Giver = Annotated[Visitor, Depends(require(Action.CONSENT_WRITE))]

MENU = [
    Entry("/console/patient", N_("My data")),
    Entry("/console/patient/consents", N_("My consents")),
    Entry("/console/patient/requests", N_("My rights")),
    Entry("/console/patient/concerns", N_("My complaints")),
]

WRONG = N_("Number and code don't match, or the code has run out. Ask for a new one at the desk.")


@dataclass(frozen=True)
class Patient:
    """A patient at their own page."""

    key: UUID
    secret: str = field(repr=False)
    csrf: str = field(repr=False)


def patient_cookie(settings: Settings) -> str:
    """Apart from staff's, so that one browser may hold both without mixing them."""
    return cookie_name(settings) + "-patient"


def patient(request: Request) -> Patient:
    """Who is at the page. Raises PatientSignInFirst."""
    database: Database = request.app.state.database
    secret = request.cookies.get(patient_cookie(request.app.state.settings), "")
    if secret:
        with database.transaction() as session:
            key = identity.patient_of_session(session, secret)
        if key is not None:
            return Patient(key, secret, csrf_token(request.app.state.keys, secret))
    raise PatientSignInFirst


SignedInPatient = Annotated[Patient, Depends(patient)]


async def posted_by_patient(request: Request, who: SignedInPatient) -> Form:
    """A form of a patient's own page. Raises NotFromHere."""
    form = await sent(request)
    if not hmac.compare_digest(form.one("csrf").encode(), who.csrf.encode()):
        raise NotFromHere
    return form


PostedByPatient = Annotated[Form, Depends(posted_by_patient)]


def known_as(session: Session, keys: Keys, settings: Settings, number: str) -> UUID | None:
    """Who is named by a resident identity number or a record number of this hospital; None for nobody, or for several."""
    for system in (RESIDENT_NUMBER, settings.record_number_system):
        found = records.match(session, keys, {"system": system, "value": number})
        if found.grade in ("certain", "probable") and found.patient_key is not None:
            return found.patient_key
    return None


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The patient's pages and the desk's."""
    router = APIRouter()
    settings = desk.settings
    secure = settings.base_url.startswith("https:")

    def show(request: Request, who: Patient | None, template: str, *, status: int = 200, **context: Any) -> Response:
        given = {"csrf": who.csrf, "nav": MENU, "at_patients": True} if who else {"at_patients": True}
        return pages.show(request, template, status=status, **given, **context)

    # -- the desk: staff give the code --

    @router.get("/console/patient-code")
    def code_page(request: Request, who: Giver) -> Response:
        del who
        return pages.show(request, "patient_code.html", code=None, unknown=False)

    @router.post("/console/patient-code")
    def give_code(request: Request, form: Posted, who: Giver, session: SessionDep) -> Response:
        key = known_as(session, desk.keys, settings, form.one("number"))
        if key is None:
            return pages.show(request, "patient_code.html", status=404, code=None, unknown=True)
        return pages.show(request, "patient_code.html", code=identity.give_code(session, desk.keys, who.caller.actor, key), unknown=False)

    # -- the patient --

    @router.get("/console/patient/login")
    def login_page(request: Request) -> Response:
        return show(request, None, "patient_login.html", problem="")

    @router.post("/console/patient/login")
    def login(request: Request, form: Sent) -> Response:
        number = form.one("number")[:64]
        with desk.database.transaction() as session:
            key = known_as(session, desk.keys, settings, number)
        opened = identity.enter(desk.database, desk.keys, key, number, form.one("code")[:32])
        if isinstance(opened, identity.LoginRefused):
            spoken = pages.language(request)
            locked = opened.retry_after is not None
            problem = said(spoken, LOCKED) % {"seconds": opened.retry_after} if locked else said(spoken, WRONG)
            return show(request, None, "patient_login.html", status=429 if locked else 401, problem=problem)
        answer = to("/console/patient")
        answer.set_cookie(patient_cookie(settings), opened.secret, path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    @router.post("/console/patient/logout")
    def logout(form: PostedByPatient, who: SignedInPatient, session: SessionDep) -> Response:
        del form
        identity.close_patient_session(session, who.secret)
        answer = to("/console/patient/login", done="signed-out")
        answer.delete_cookie(patient_cookie(settings), path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    @router.get("/console/patient")
    def disclosures(request: Request, who: SignedInPatient, session: SessionDep) -> Response:
        spoken = pages.language(request)
        names = identity.Directory(session)
        shown = [
            {
                "at": language.moment(spoken, settings.time_zone, one.transmission.at),
                "who": named(names.get(one.transmission.receiver or ""), spoken),
                "why": _purpose(desk, spoken, one.transmission.purpose),
                "outcome": one.transmission.outcome,
                "kinds": [(vocabulary.kind(spoken, kind), count) for kind, count in one.kinds],
                "application": one.transmission.application,
            }
            for one in desk.accounting(session, who.key)
        ]
        return show(request, who, "patient.html", shown=shown)

    @router.get("/console/patient/disclosures.pdf")
    def accounting_file(request: Request, who: SignedInPatient, session: SessionDep) -> Response:
        # The session knows no name, and a file that was left on a shared machine tells none.
        spoken = pages.language(request)
        pdf = desk.accounting_file(session, who.key, said(spoken, N_("who is signed in")), spoken)
        return Response(pdf, media_type="application/pdf", headers={**HEADERS, "Content-Disposition": 'attachment; filename="disclosures.pdf"'})

    @router.get("/console/patient/consents")
    def consents(request: Request, who: SignedInPatient, session: SessionDep) -> Response:
        spoken = pages.language(request)
        names = Names(session, spoken)
        rows = session.exec(select(Consent).where(Consent.patient_key == who.key).order_by(col(Consent.updated_at).desc())).all()
        listed = [
            (row.status == "active", readable.consent(desk, spoken, orjson.loads(consent.read(session, desk.keys, row.id).body), names))
            for row in rows
        ]
        return show(request, who, "patient_consents.html", listed=listed)

    @router.post("/console/patient/consents/{consent_id}/withdraw")
    def withdraw(consent_id: UUID, form: PostedByPatient, who: SignedInPatient, session: SessionDep) -> Response:
        del form
        mine = session.exec(select(Consent.id).where(Consent.patient_key == who.key, Consent.id == consent_id)).first()
        if mine is None:
            raise NoSuchConsent
        consent.revoke(session, desk.keys, consent_id, patient=None, actor=identity.PATIENT)
        return to("/console/patient/consents", done="consent-withdrawn")

    return router


def _purpose(desk: Desk, spoken: str, code: str | None) -> str:
    found = desk.purposes.get(code or "")
    return "–" if found is None else found.zh if spoken == "zh" else found.en
