"""Writing an application: begin a draft, change it, change it again after it was returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.applications import people, sealing, steps
from broker.applications.errors import RecipientNotYours
from broker.applications.lifecycle import Action
from broker.applications.models import Application, ApplicationPatient
from broker.applications.people import Actor
from broker.applications.rules import check_recipient
from broker.crypto import Keys
from broker.errors import Forbidden, NotFound, Problem, Unavailable
from broker.records import service as records

#: Fields of the form that are kept sealed and never stand in ``Application.form``.
SEALED = ("patients", "justification")


def draft(session: Session, keys: Keys, person: UUID, form: Mapping[str, Any]) -> Application:
    """Begin an application with whatever is known already. Raises Forbidden for people who don't apply, RecipientNotYours.

    ``form`` is the posted JSON (``schemas.ApplicationIn``), already of the right shape; it may be incomplete.
    """
    who = people.actor(session, person)
    if not (who.applies or who.manages):
        raise Forbidden("Applicants and department heads apply; the information manager may do so for an outside organisation.")
    now = clock.now()
    application = Application(requester_id=who.id, organization_id=who.home.id, form={}, created_at=now, changed_at=now, version=0)
    _fill(session, keys, who, application, form)
    return _store(session, keys, application, who, "drafted")


def update(session: Session, keys: Keys, person: UUID, ref: str, form: Mapping[str, Any], *, if_match: int | None, whole: bool) -> Application:
    """Change a draft or a returned application. ``whole``: what ``form`` doesn't name is cleared; else it stays.

    Raises what :func:`steps.begin` raises, and RecipientNotYours.
    """
    taken = steps.begin(session, person, ref, Action.EDIT, if_match=if_match)
    application = taken.application
    if whole:
        application.form = {}
        application.patients_sealed = application.justification_sealed = None
        form = {"patients": [], "justification": None, **form}
    _fill(session, keys, taken.who, application, form)
    return _store(session, keys, application, taken.who, "edited")


def _fill(session: Session, keys: Keys, who: Actor, application: Application, form: Mapping[str, Any]) -> None:
    """Put the named fields of the form into the row; a field given as null is cleared."""
    kept = {**application.form, **{name: value for name, value in form.items() if name not in SEALED}}
    application.form = {name: value for name, value in kept.items() if value is not None}
    application.purpose = application.form.get("purpose")
    if "patients" in form:
        application.patients_sealed = sealing.seal_json(keys, application.id, "patients", form["patients"] or [])
    if "justification" in form:
        application.justification_sealed = sealing.seal_text(keys, application.id, "justification", form["justification"])
    recipient = application.form.get("recipient")
    application.recipient_id = recipient
    application.on_behalf = False
    if recipient is not None:
        _settle_recipient(session, who, application, recipient)


def _settle_recipient(session: Session, who: Actor, application: Application, recipient: str) -> None:
    """Check that this person may apply for the recipient. An unknown one is answered like one that isn't theirs."""
    place = people.places(session, [recipient]).get(recipient)
    if place is None:
        raise RecipientNotYours(problems=(Problem("/recipient", "recipient-not-yours", "The recipient is not one that you may apply for."),))
    check_recipient(who.home, place, applies=who.applies, manager=who.manages)
    application.on_behalf = place.root != who.home.root


def _store(session: Session, keys: Keys, application: Application, who: Actor, happened: str) -> Application:
    steps.store(session, keys, application, action=Action.EDIT, who=who, event=steps.event(application, who, happened))
    return application


def typed_patients(session: Session, keys: Keys, application: Application) -> list[dict[str, Any]]:
    """What the applicant typed about each patient, in the form's order; from the draft or, once submitted, from the patients' own rows.

    A patient whose key was shredded is shown as an empty entry.
    """
    if application.patients_sealed is not None:
        written: list[dict[str, Any]] = sealing.unseal_json(keys, application.id, "patients", application.patients_sealed)
        return written
    return [_opened(session, keys, application, row) for row in patients_of(session, application)]


def patients_of(session: Session, application: Application) -> Sequence[ApplicationPatient]:
    """The matched patients of a submitted application, in the form's order."""
    return session.exec(
        select(ApplicationPatient).where(ApplicationPatient.application_id == application.id).order_by(col(ApplicationPatient.position))
    ).all()


def _opened(session: Session, keys: Keys, application: Application, row: ApplicationPatient) -> dict[str, Any]:
    try:
        vault = records.open_vault(session, keys, row.patient_key)
    except (NotFound, Unavailable):
        return {}
    return sealing.unseal_typed(vault.data_key, row.patient_key, application.id, row.typed_sealed)
