"""The machine's opinion: for each patient what policy and consent would say to these terms now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import abroad, people
from broker.applications.errors import AssessmentForbids
from broker.applications.means import Means
from broker.applications.models import Application, Assessment, PatientAssessment
from broker.applications.terms import Terms
from broker.errors import Problem
from broker.fhir.ages import age_class
from broker.identity.models import Client, Organization, Person
from broker.policy import service as policy
from broker.policy.decision import Decision, Effect
from broker.policy.facts import ConsentFacts, Facts, GrantFacts, PatientFacts, RecipientFacts, RequesterFacts
from broker.policy.models import PolicyDecision
from broker.records import service as records
from broker.workforce import service as workforce


def recipient_facts(session: Session, recipient: str) -> RecipientFacts:
    """Who would hold the data. Suspended too if what it belongs to is."""
    place = people.places(session, [recipient])[recipient]
    rows = {row.id: row for row in session.exec(select(Organization).where(col(Organization.id).in_(place.lineage))).all()}
    itself = rows[recipient]
    keyed = session.exec(select(Client.id).where(Client.organization_id == recipient, Client.status == "active").limit(1)).first()
    return RecipientFacts(
        id=itself.id,
        kind=itself.kind,
        relationship=itself.relationship,
        status="active" if all(row.status == "active" for row in rows.values()) else "suspended",
        jurisdiction=itself.jurisdiction,
        agreement_until=clock.epoch(itself.agreement_until) if itself.agreement_until else None,
        key_registered=keyed is not None,
    )


def requester_facts(session: Session, requester: UUID) -> RequesterFacts:
    """The person who applied, as the registry knows them now."""
    person = session.exec(select(Person).where(Person.id == requester)).one()
    if person.status != "active":
        return RequesterFacts(id=str(requester), roles=(), active=False)
    return RequesterFacts(id=str(requester), roles=people.actor(session, requester).roles)


def judge(
    session: Session,
    means: Means,
    application: Application,
    terms: Terms,
    patients: Iterable[UUID],
    *,
    at: datetime,
    approved_by: int,
    ends: datetime | None = None,
) -> list[tuple[UUID, ConsentFacts, Decision]]:
    """What policy says about each patient at this moment, under these terms; ``ends``: before their last day is over."""
    grant = GrantFacts(
        id=str(application.id),
        application=application.number or str(application.id),
        status="proposed",
        valid_from=clock.epoch(at),
        valid_until=clock.epoch(ends or means.end_of(terms.valid_until)),
        releases_limit=terms.releases_limit,
        approved_by=approved_by,
    )
    recipient, requester = recipient_facts(session, terms.recipient), requester_facts(session, application.requester_id)
    lineage = people.places(session, [terms.recipient])[terms.recipient].lineage
    registered = workforce.facts(session, application.requester_id, lineage, at)
    patients, judged = tuple(patients), []
    residency = abroad.residency(session, recipient, lineage, terms.request_facts(), patients, at)
    for patient_key in patients:
        vault = records.open_vault(session, means.keys, patient_key)
        age = age_class(records.born(session, means.keys, vault), at.date())
        consent = means.consent_facts(session, patient_key, terms.recipient, terms.purpose, at, requester=application.requester_id)
        facts = Facts(
            question="assess",
            at=clock.epoch(at),
            request=terms.request_facts(),
            grant=grant,
            recipient=recipient,
            requester=requester,
            patient=PatientFacts(key=patient_key.hex, match="certain", age=age),
            consent=consent,
            workforce=registered,
            residency=residency and residency.agreed(consent),
        )
        judged.append((patient_key, consent, means.engine.decide(facts)))
    return judged


def overall(effects: Sequence[Effect]) -> Effect:
    """Permit only if it is for every patient, and there is one; unavailable where one has no usable answer."""
    if Effect.UNAVAILABLE in effects:
        return Effect.UNAVAILABLE
    return Effect.PERMIT if effects and all(effect is Effect.PERMIT for effect in effects) else Effect.DENY


def assess(
    session: Session,
    means: Means,
    application: Application,
    terms: Terms,
    patients: Mapping[UUID, int],
    *,
    approved_by: int = 0,
    content: str = "",
    ends: datetime | None = None,
) -> Assessment:
    """Judge and keep the opinion with the application, whose row the caller holds locked.

    ``patients`` maps each to their place in the form; ``content`` is the hash of what is judged, the application's own by default.
    """
    at = clock.now()
    judged = judge(session, means, application, terms, patients, at=at, approved_by=approved_by, ends=ends)
    decisions = [decision for _, _, decision in judged]
    before = session.exec(select(sa.func.count()).select_from(Assessment).where(Assessment.application_id == application.id)).one()
    assessment = Assessment(
        application_id=application.id,
        ordinal=before + 1,
        round=application.round,
        content_hash=content or application.content_hash or "",
        at=at,
        effect=overall([decision.effect for decision in decisions]).value,
        revision=decisions[0].revision,
        engine=decisions[0].engine,
    )
    session.add(assessment)
    session.flush()
    for patient_key, consent, decision in judged:
        session.add(_row(assessment, patients[patient_key], patient_key, consent, decision))
        _keep(session, means, patient_key, decision)
    session.flush()
    return assessment


def _keep(session: Session, means: Means, patient_key: UUID, decision: Decision) -> None:
    """Keep the decision with its question, so that it can be asked again of other policies."""
    if decision.facts:
        data_key = records.open_vault(session, means.keys, patient_key).data_key
        row = policy.row_of(decision, patient_key=patient_key, data_key=data_key)
        session.execute(postgresql.insert(PolicyDecision).values(row).on_conflict_do_nothing())


def _row(assessment: Assessment, position: int, patient_key: UUID, consent: ConsentFacts, decision: Decision) -> PatientAssessment:
    return PatientAssessment(
        patient_key=patient_key,
        assessment_id=assessment.id,
        position=position,
        effect=decision.effect.value,
        reasons=[asdict(reason) for reason in decision.reasons],
        plan=decision.plan,
        obligations=list(decision.obligations),
        necessity=decision.necessity,
        consents=sorted(consent.consents),
        consent_epoch=consent.epoch,
    )


def latest(session: Session, application: Application) -> Assessment | None:
    """The newest assessment of this round's content."""
    return session.exec(
        select(Assessment)
        .where(Assessment.application_id == application.id, Assessment.round == application.round)
        .order_by(col(Assessment.ordinal).desc())
        .limit(1)
    ).first()


def of_patients(session: Session, assessment: Assessment) -> Sequence[PatientAssessment]:
    """What an assessment says about each patient, in the form's order."""
    return session.exec(
        select(PatientAssessment).where(PatientAssessment.assessment_id == assessment.id).order_by(col(PatientAssessment.position))
    ).all()


def check_permits(assessment: Assessment, rows: Sequence[PatientAssessment]) -> None:
    """Raises AssessmentForbids with every reason, by patient, unless the assessment permits."""
    if assessment.effect == Effect.PERMIT:
        return
    problems = [
        Problem(f"/patients/{row.position - 1}", reason["code"], reason["message"])
        for row in rows
        if row.effect != Effect.PERMIT
        for reason in row.reasons
    ]
    raise AssessmentForbids(problems=tuple(problems))


def releases_limit(rows: Sequence[PatientAssessment]) -> int | None:
    """How many releases policy's plans allow, the strictest for all these patients; None where none sets a limit."""
    found = [(row.plan or {}).get("limits", {}).get("releases") for row in rows]
    return min((limit for limit in found if isinstance(limit, int)), default=None)


def approvers(rows: Sequence[PatientAssessment]) -> int:
    """How many people policy's plans ask to have decided for it, the strictest for all these patients; 0 where none asks."""
    found = [(row.plan or {}).get("limits", {}).get("approvers") for row in rows]
    return max((number for number in found if isinstance(number, int)), default=0)
