"""A small hospital with people in every part, patients who can be matched, applications in every state, a policy engine that says what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session

from broker import clock
from broker.applications import service
from broker.applications.means import Means, no_holds
from broker.applications.models import Application, Grant
from broker.crypto import Keys
from broker.policy.decision import Decision, Effect, Reason
from broker.policy.facts import ConsentFacts, Facts
from broker.records.matching import name_key
from broker.records.models import BlindedIdentifier, StoredResource
from broker.records.patients import vaults_for
from broker.records.service import id_token
from broker.records.tokens import identifier_token, person_token
from broker.records.vault import Content
from tests.factories import identity

SYSTEM = "https://hospital.example/fhir/sid/mrn"
TYPES_OF = {
    "clinical": ("Condition", "DiagnosticReport", "ImagingStudy", "Observation"),
    "clinical.laboratory": ("DiagnosticReport", "Observation"),
    "clinical.imaging": ("ImagingStudy",),
    "financial": ("Claim",),
}
RECIPIENT = "shengli-cardiology"
DENIED = Reason("consent.refused", "The patient refused this use.")


@dataclass
class StubEngine:
    """Answers as told, ``denied`` by patient, and remembers what it was asked."""

    effect: Effect = Effect.PERMIT
    denied: set[str] = field(default_factory=set)  #: blinded keys in hex
    limit: int | None = None
    revision: str = "test-1"
    asked: list[Facts] = field(default_factory=list)
    rule: Callable[[Facts], Effect] | None = None

    def decide(self, facts: Facts) -> Decision:
        """A decision of the right shape."""
        self.asked.append(facts)
        effect = self.rule(facts) if self.rule else Effect.DENY if facts.patient.key in self.denied else self.effect
        limits = {} if self.limit is None else {"releases": self.limit}
        return Decision(
            effect=effect,
            reasons=() if effect is Effect.PERMIT else (DENIED,),
            plan={"types": {"Observation": {"elements": ["code", "value"]}}, "limits": limits} if effect is Effect.PERMIT else None,
            obligations=({"code": "DELAU", "days": 30},),
            input_hash="0" * 64,
            revision=self.revision,
            engine="stub",
            necessity={"asked": 3, "left": 2},
        )


@dataclass
class StubConsents:
    """What consents say, the same for every patient unless told otherwise; remembers what it was asked."""

    base: str = "permit"
    asked: list[tuple[UUID, str, str]] = field(default_factory=list)

    def __call__(self, session: Session, patient_key: UUID, recipient: str, purpose: str, at: Any, *, requester: UUID) -> ConsentFacts:
        """See ConsentFactsOf."""
        self.asked.append((patient_key, recipient, purpose))
        consents, separate = (f"c-{patient_key.hex[:6]}",), ("abroad", "other-processor", "sensitive")
        return ConsentFacts(base=self.base, epoch=7, consents=consents, givers=("patient",), separate=separate)  # type: ignore[arg-type]


def means(keys: Keys, **values: Any) -> Means:
    """Means with stubs where nothing is given."""
    given: dict[str, Any] = {"engine": StubEngine(), "consent_facts": StubConsents(), "data_classes": TYPES_OF, "holds": no_holds}
    return Means(keys=keys, **{**given, **values})


@dataclass(frozen=True)
class House:
    """The people, by account."""

    applicant: UUID  #: of the outside hospital's cardiology
    head: UUID  #: of the same
    manager: UUID
    second_manager: UUID
    auditor: UUID
    inside_applicant: UUID  #: of our own cardiology
    inside_head: UUID
    stranger: UUID  #: applicant of another outside organisation


def house(session: Session) -> House:
    """Two trees of organisations, and a person in every part."""
    identity.organization(session, "renhe")
    identity.organization(session, "renhe-cardiology", parent_id="renhe", kind="department")
    identity.organization(session, "renhe-information", parent_id="renhe", kind="department")
    outside = {"relationship": "external", "agreement_until": clock.now() + timedelta(days=900)}
    identity.organization(session, "shengli", **outside)
    identity.organization(session, RECIPIENT, parent_id="shengli", kind="department", **outside)
    identity.organization(session, "qingyuan", kind="research", **outside)

    def one(organization: str, *roles: str) -> UUID:
        return identity.person(session, *roles, organization_id=organization).id

    return House(
        applicant=one(RECIPIENT, "applicant"),
        head=one(RECIPIENT, "department_head"),
        manager=one("renhe-information", "information_manager"),
        second_manager=one("renhe-information", "information_manager"),
        auditor=one("renhe", "auditor"),
        inside_applicant=one("renhe-cardiology", "applicant"),
        inside_head=one("renhe-cardiology", "department_head"),
        stranger=one("qingyuan", "applicant"),
    )


def typed(number: int = 1) -> dict[str, Any]:
    """What an applicant types about the patient of this number."""
    return {"identifier": {"system": SYSTEM, "value": f"MRN-{number:04d}"}, "name": f"张伟{number}", "birthDate": f"{1940 + number % 60}-05-17"}


def patient(session: Session, keys: Keys, number: int = 1, fhir_id: str | None = None) -> UUID:
    """A patient of the records who matches :func:`typed` with certainty; the blinded key."""
    said, name = typed(number), fhir_id or f"p-{number}"
    patient_key = keys.patient_key(name)
    vault = vaults_for(session, keys, [name], shared=False)[patient_key]
    body = {
        "resourceType": "Patient",
        "id": name,
        "identifier": [said["identifier"]],
        "name": [{"text": said["name"]}],
        "birthDate": said["birthDate"],
    }
    token, content = id_token(keys, "Patient", name), json.dumps(body).encode()
    session.add(
        StoredResource(
            patient_key=patient_key,
            type="Patient",
            id_token=token,
            version=1,
            last_updated=clock.now(),
            labels=[],
            links=[],
            content_hash=vault.content_hash(content),
            superseded=[],
            body=vault.seal_resource("Patient", token, 1, Content(name, (), content)),
        )
    )
    session.flush()
    for blinded in (
        identifier_token(keys, "Patient", SYSTEM, said["identifier"]["value"]),
        person_token(keys, name_key(said["name"]), said["birthDate"]),
    ):
        session.add(BlindedIdentifier(patient_key=patient_key, token=blinded, id_token=token))
    session.flush()
    return patient_key


def form(*numbers: int, **changes: Any) -> dict[str, Any]:
    """A complete application about these patients (the first one, if none is named), as posted."""
    today = clock.today()
    return {
        "purpose": "TREAT",
        "lawful_basis": "consent",
        "recipient": RECIPIENT,
        "patients": [typed(number) for number in numbers or (1,)],
        "data": [{"data_class": "clinical.laboratory"}, {"resource_type": "Observation", "elements": ["code", "value"]}],
        "period": {"start": (today - timedelta(days=365)).isoformat(), "end": today.isoformat()},
        "channel": "api",
        "valid_until": (today + timedelta(days=90)).isoformat(),
        "urgency": "routine",
        "justification": "转诊会诊，需近一年检验结果。",
        "retention_days": 30,
        **changes,
    }


def drafted(session: Session, its: Means, people: House, *numbers: int, by: UUID | None = None, **changes: Any) -> Application:
    """A draft of the outside applicant."""
    return service.draft(session, its.keys, by or people.applicant, form(*numbers, **changes))


def submitted(session: Session, its: Means, people: House, *numbers: int, by: UUID | None = None, **changes: Any) -> Application:
    """A submitted application."""
    row = drafted(session, its, people, *numbers, by=by, **changes)
    return service.submit(session, its, by or people.applicant, str(row.id), if_match=row.version)


def endorsed(session: Session, its: Means, people: House, *numbers: int, **changes: Any) -> Application:
    """An application that the head of the outside department endorsed."""
    row = submitted(session, its, people, *numbers, **changes)
    return service.endorse(session, its.keys, people.head, row.number or "", if_match=row.version)


def approved(session: Session, its: Means, people: House, *numbers: int, releases_limit: int | None = None, **changes: Any) -> Grant:
    """The grant of an application that went all the way."""
    row = endorsed(session, its, people, *numbers, **changes)
    return service.approve(session, its, people.manager, row.number or "", if_match=row.version, releases_limit=releases_limit)
