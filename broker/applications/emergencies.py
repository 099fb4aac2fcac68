"""Break-glass: a grant without an application's way, short, for one patient, by the emergency rules of policy (PIPL 13(1)(4), TM-5.5).

Nobody approves it before; that is what the review afterwards is for (``incidents.emergencies``). What policy says no to stays no.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session

from broker import clock
from broker.applications import assessing, people, sealing, steps
from broker.applications.grants import came_to_life
from broker.applications.lifecycle import Action, State
from broker.applications.means import Means
from broker.applications.models import Application, ApplicationPatient, Assessment, Grant, GrantPatient
from broker.applications.people import Actor
from broker.applications.rules import check_recipient
from broker.applications.submission import matched, next_number
from broker.applications.terms import Item, Terms, content_hash, patients_digest
from broker.audit.events import Event
from broker.errors import Forbidden
from broker.policy.decision import Effect
from broker.records import service as records

PURPOSE, BASIS = "BTG", "vital_interests"


@dataclass(frozen=True)
class EmergencyRefused:
    """Policy said no: a value, so that the record of it survives. ``reasons`` are permanent codes."""

    number: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class EmergencyGrant:
    """What was opened: the grant, and whose data it is about."""

    grant: Grant
    patient_key: UUID


def open_emergency(
    session: Session, means: Means, person: UUID, *, recipient: str, patient: Mapping[str, Any], justification: str, until: datetime
) -> EmergencyGrant | EmergencyRefused:
    """Open a patient's emergency data for the recipient until a moment today, without anybody's approval.

    ``patient``: identifier, name and birth date as in an application. Raises Forbidden for who doesn't apply, RecipientNotYours,
    NotComplete where the patient isn't known with certainty. Feedback, training reminders and steps of review hold nothing up.
    """
    who = people.actor(session, person)
    if not who.applies:
        raise Forbidden
    place = people.places(session, [recipient]).get(recipient)
    if place is None:
        raise Forbidden
    check_recipient(who.home, place, applies=who.applies, manager=False)
    (patient_key,) = matched(session, means, [dict(patient)])
    now = clock.now()
    terms = Terms(
        purpose=PURPOSE, lawful_basis=BASIS, recipient=recipient, data=(Item(data_class="clinical"),), valid_until=until.date(),
        urgency="emergency", justified=True, emergency=True,
    )  # fmt: skip
    form = {name: value for name, value in terms.to_json().items() if name != "justified"}
    application = Application(
        requester_id=who.id, organization_id=who.home.id, recipient_id=recipient, purpose=PURPOSE, form=form, created_at=now, changed_at=now,
        submitted_at=now, round=1, version=0, number=next_number(session),
    )  # fmt: skip
    application.justification_sealed = sealing.seal_text(means.keys, application.id, "justification", justification)
    application.content_hash = content_hash(terms.to_json(), patients_digest([patient_key]))
    session.add(application)
    session.flush()
    vault = records.open_vault(session, means.keys, patient_key)
    typed = sealing.seal_typed(vault.data_key, patient_key, application.id, dict(patient))
    session.add(ApplicationPatient(patient_key=patient_key, application_id=application.id, position=1, typed_sealed=typed))
    opinion = assessing.assess(session, means, application, terms, {patient_key: 1}, ends=until)
    (said,) = assessing.of_patients(session, opinion)
    if opinion.effect != Effect.PERMIT.value:
        reasons = tuple(sorted({one["code"] for one in said.reasons}))
        refused = steps.event(application, who, "emergency-refused", reasons=list(reasons)[:20], assessed=opinion.effect)
        event = replace(refused, patient=patient_key, subject=vault.subject)
        _store(session, means, application, who, State.REFUSED, opinion, event)
        return EmergencyRefused(application.number or "", reasons)
    limits = [limit for limit in (terms.releases_limit, assessing.releases_limit([said])) if limit is not None]
    agreed = replace(terms, releases_limit=min(limits, default=None))
    grant = Grant(
        application_id=application.id, number=application.number or "", requester_id=who.id, recipient_id=recipient, purpose=PURPOSE,
        lawful_basis=BASIS, terms=agreed.to_json(), patients_digest=patients_digest([patient_key]),
        content_hash=content_hash(agreed.to_json(), patients_digest([patient_key])), consents=sorted(said.consents), approved_by=0, approved_at=now,
        valid_from=now, valid_until=until, status_at=now, releases_limit=agreed.releases_limit,
    )  # fmt: skip
    session.add(grant)
    session.flush()
    session.add(GrantPatient(patient_key=patient_key, grant_id=grant.id))
    opened = steps.event(application, who, "emergency-opened", content=grant.content_hash, seconds=int((until - now).total_seconds()))
    event = replace(opened, grant=str(grant.id), patient=patient_key, subject=vault.subject)
    _store(session, means, application, who, State.APPROVED, opinion, event)
    came_to_life(session, grant)
    return EmergencyGrant(grant, patient_key)


def _store(session: Session, means: Means, application: Application, who: Actor, to: State, opinion: Assessment, event: Event) -> None:
    """One step, which is the asking: nobody decided."""
    steps.store(session, means.keys, application, action=Action.SUBMIT, to=to, who=who, event=event, assessment=opinion, assessed=opinion.effect)
