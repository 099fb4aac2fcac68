"""Handing an application in: everything filled in, every patient known with certainty, numbered, assessed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import assessing, differences, people, sealing, steps, telling
from broker.applications.drafts import typed_patients
from broker.applications.errors import FeedbackOverdue, NotComplete
from broker.applications.lifecycle import Action, State
from broker.applications.means import Means
from broker.applications.models import Application, ApplicationNumber, ApplicationPatient, DataOwner
from broker.applications.rules import check_recipient, deadline, duplicates, form_problems, owners_of, steps_needed
from broker.applications.terms import Terms, content_hash, patients_digest
from broker.audit import service as audit
from broker.audit.events import Event
from broker.errors import Problem
from broker.fhir import definitions
from broker.identity import service as identity
from broker.records import service as records
from broker.workforce import service as workforce


def submit(session: Session, means: Means, person: UUID, ref: str, *, if_match: int | None) -> Application:
    """Submit a draft or a returned application: check it, match its patients, number it, let the machine assess it.

    The assessment is an opinion; one that denies doesn't keep an application from being submitted, since a person decides.
    Raises what :func:`steps.begin` raises; FeedbackOverdue; NotComplete with every field and patient that is wrong.
    """
    taken = steps.begin(session, person, ref, Action.SUBMIT, if_match=if_match)
    application, who = taken.application, taken.who
    _check_holds(session, means, who.id)
    typed = typed_patients(session, means.keys, application)
    terms = _complete(means, application, len(typed))
    place = people.places(session, [terms.recipient])[terms.recipient]
    check_recipient(who.home, place, applies=who.applies, manager=who.manages)  # Roles may have changed since the draft.
    workforce.check(session, who.id, workforce.Step.APPLY)
    patients = matched(session, means, typed)
    session.execute(sa.delete(ApplicationPatient).where(col(ApplicationPatient.application_id) == application.id))
    for position, (patient_key, said) in enumerate(zip(patients, typed, strict=True), start=1):
        vault = records.open_vault(session, means.keys, patient_key)
        sealed = sealing.seal_typed(vault.data_key, patient_key, application.id, said)
        session.add(ApplicationPatient(patient_key=patient_key, application_id=application.id, position=position, typed_sealed=sealed))
    application.patients_sealed = None
    application.content_hash = content_hash(terms.to_json(), patients_digest(patients))
    application.round += 1
    owners = owners_of(application.form.get("data") or (), owned(session), means.data_classes)
    places = people.places(session, set(owners.values()))
    home = people.places(session, [application.organization_id])[application.organization_id]
    # A department that asks for its own data has its head's endorsement, which is agreement enough.
    needed = {owner for owner in owners.values() if owner in places and owner not in home.lineage}
    application.needs = list(steps_needed(owners=needed, reviews=means.reviews))
    session.add(application)
    session.flush()
    positions = {patient_key: position for position, patient_key in enumerate(patients, start=1)}
    assessment = assessing.assess(session, means, application, terms, positions)
    # The number comes last: from here on other submissions wait, and policy has been asked already.
    application.number = application.number or next_number(session)
    application.submitted_at = clock.now()
    application.due_at = deadline(application.submitted_at, means.deadlines[terms.urgency], endorsed=False)
    differences.keep(session, application, patients)
    event = steps.event(application, who, "submitted", content=application.content_hash, patients=len(patients), assessed=assessment.effect)
    steps.store(
        session,
        means.keys,
        application,
        action=Action.SUBMIT,
        to=State.SUBMITTED,
        who=who,
        event=event,
        assessment=assessment,
        assessed=assessment.effect,
    )
    telling.submitted(session, means.keys, application)
    return application


def set_owners(session: Session, means: Means, actor: str, owners: Mapping[str, str]) -> None:
    """Say which department each data class belongs to. Raises NotComplete for unknown classes, UnknownOrganization, RecipientNotYours outside."""
    unknown = [code for code in sorted(owners) if code not in means.data_classes]
    outside = [one for one in sorted(set(owners.values())) if identity.organization(session, one).relationship != "internal"]
    if unknown or outside:
        raise NotComplete(problems=(Problem("/owners", "unknown", "There is no such data class, or the owner is not of this hospital."),))
    session.execute(sa.delete(DataOwner))
    session.add_all(DataOwner(data_class=code, organization_id=owner) for code, owner in sorted(owners.items()))
    session.flush()
    audit.record(session, Event("data-owners.set", actor, facts={"owners": [f"{code}={owner}" for code, owner in sorted(owners.items())][:40]}))


def owned(session: Session) -> dict[str, str]:
    """Which department each data class belongs to, for those that belong to one."""
    return {row.data_class: row.organization_id for row in session.exec(select(DataOwner)).all()}


def _check_holds(session: Session, means: Means, person: UUID) -> None:
    overdue = means.holds(session, person)
    if overdue:
        problems = tuple(Problem(f"/applications/{number}/feedback", "overdue", f"Feedback on {number} is overdue.") for number in overdue)
        raise FeedbackOverdue(f"Feedback is overdue on {', '.join(overdue)}.", problems=problems)


def _complete(means: Means, application: Application, patients: int) -> Terms:
    """The terms that the form states. Raises NotComplete naming everything that is missing or unknown."""
    justified = application.justification_sealed is not None
    form = {**application.form, "justification": justified}
    problems = form_problems(
        form,
        patients=patients,
        data_classes=means.data_classes,
        purposes=means.purposes,
        lawful_bases=means.lawful_bases,
        today=means.today(clock.now()),
    )
    problems += tuple(found for position, item in enumerate(form.get("data") or ()) for found in _type_problems(position, item))
    if problems:
        raise NotComplete(problems=problems)
    return terms_of(application)


def terms_of(application: Application) -> Terms:
    """The terms of an application whose form is complete."""
    return Terms.from_json({**application.form, "justified": application.justification_sealed is not None})


def _type_problems(position: int, item: dict[str, Any]) -> list[Problem]:
    """Resource types and elements that R4 does not have (hl7.org/fhir/R4/resourcelist.html)."""
    name = item.get("resource_type")
    if name is None:
        return []
    if name not in definitions.resource_types():
        return [Problem(f"/data/{position}/resource_type", "unknown", "R4 has no such resource type.")]
    return [
        Problem(f"/data/{position}/elements/{place}", "unknown", f"{name} has no such element.")
        for place, element in enumerate(item.get("elements") or ())
        if not _has_element(name, element)
    ]


def _has_element(name: str, path: str) -> bool:
    try:
        definitions.element(name, path)
    except KeyError:
        return False
    return True


def matched(session: Session, means: Means, typed: list[dict[str, Any]]) -> list[UUID]:
    """The blinded keys of the patients, in the form's order. Raises NotComplete for each that isn't known with certainty.

    An unknown patient and an ambiguous one are answered alike: whether somebody is a patient here is itself a secret.
    """
    found: list[UUID | None] = []
    for said in typed:
        birth_date = said.get("birthDate")
        if not said:  # Somebody whose key was destroyed since.
            found.append(None)
            continue
        match = records.match(session, means.keys, said["identifier"], said.get("name"), date.fromisoformat(birth_date) if birth_date else None)
        found.append(match.patient_key if match.grade == "certain" else None)
    problems = tuple(
        Problem(f"/patients/{position}", "not-matched", "No patient of this hospital matches identifier, name and birth date with certainty.")
        for position, patient_key in enumerate(found)
        if patient_key is None
    )
    certain = [patient_key for patient_key in found if patient_key is not None]
    problems += duplicates([patient_key or position for position, patient_key in enumerate(found)])
    if problems:
        raise NotComplete(problems=problems)
    return certain


def next_number(session: Session) -> str:
    """``SA-YYYY-NNNNNN``: the year's row stays locked until this commits, and a number that rolls back is given again."""
    year = clock.now().year
    new = insert(ApplicationNumber).values(year=year, last=1)
    counted = new.on_conflict_do_update(index_elements=["year"], set_={"last": ApplicationNumber.last + 1})
    last = session.execute(counted.returning(col(ApplicationNumber.last))).scalar_one()
    return f"SA-{year}-{last:06d}"
