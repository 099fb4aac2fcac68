"""Consents as FHIR JSON, and patients to give them."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, tzinfo
from typing import Any
from uuid import UUID

from sqlmodel import Session

from broker.consent import service
from broker.crypto import Keys
from broker.records.patients import vaults_for
from tests.factories import identity

SYSTEM = "http://terminology.hl7.org/CodeSystem/"
CONFIDENTIALITY = SYSTEM + "v3-Confidentiality"
ACT_CODE = SYSTEM + "v3-ActCode"
PURPOSE = SYSTEM + "v3-ActReason"

Json = dict[str, Any]
_numbers = itertools.count(1)


def coding(system: str, code: str) -> Json:
    return {"system": system, "code": code}


def concept(system: str, code: str) -> Json:
    return {"coding": [coding(system, code)]}


def actors(*references: str, role: str = "IRCP") -> Json:
    return {"actor": [{"role": concept(SYSTEM + "v3-ParticipationType", role), "reference": {"reference": one}} for one in references]}


def purposes(*codes: str) -> Json:
    return {"purpose": [coding(PURPOSE, code) for code in codes]}


def labels(*codes: str) -> Json:
    return {"securityLabel": [coding(CONFIDENTIALITY if code in "ULMNRV" else ACT_CODE, code) for code in codes]}


def classes(*types: str) -> Json:
    return {"class": [coding("http://hl7.org/fhir/resource-types", name) for name in types]}


def data(meaning: str, *references: str) -> Json:
    return {"data": [{"meaning": meaning, "reference": {"reference": one}} for one in references]}


def codes(*pairs: tuple[str, str]) -> Json:
    return {"code": [concept(*pair) for pair in pairs]}


def provision(kind: str | None, *conditions: Json, nested: list[Json] | None = None, **more: Any) -> Json:
    """A provision of these conditions."""
    made: Json = {} if kind is None else {"type": kind}
    for one in conditions:
        made |= one
    return made | ({"provision": nested} if nested else {}) | more


def consent(root: Json | None = None, *, patient: str = "p1", directive: str | None = None, **more: Any) -> Json:
    """A valid R4 consent; ``directive`` fills ``policyRule``. A value of None leaves an element out."""
    made: Json = {
        "resourceType": "Consent",
        "status": "active",
        "scope": concept(SYSTEM + "consentscope", "patient-privacy"),
        "category": [concept("http://loinc.org", "59284-0")],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": "2026-01-02T08:00:00Z",
        "policy": [{"uri": "https://example.org/policy"}],
    }
    if directive is not None:
        made["policyRule"] = concept(ACT_CODE, directive)
    if root is not None:
        made["provision"] = root
    return {key: value for key, value in (made | more).items() if value is not None}


def r5(decision: str, *provisions: Json, patient: str = "p1", **more: Any) -> Json:
    """A consent of R5's shape."""
    made: Json = {
        "resourceType": "Consent",
        "status": "active",
        "category": [concept("http://loinc.org", "59284-0")],
        "subject": {"reference": f"Patient/{patient}"},
        "date": "2026-01-02",
        "decision": decision,
    }
    return made | ({"provision": list(provisions)} if provisions else {}) | more


def identifier(value: str = "one") -> list[Json]:
    return [{"system": "https://hospital.example/fhir/sid/consent", "value": value}]


def document() -> Json:
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"contentType": "application/pdf", "title": "signed"}}],
    }


def filing(given: Json, evidence: Json | None = None) -> Json:
    """Parameters of ``$fileConsent``."""
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "consent", "resource": given}, {"name": "document", "resource": evidence or document()}],
    }


def revocation(consent_id: Any, patient: str = "p1") -> Json:
    """Parameters of ``$revokeConsent``."""
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "consent", "valueReference": {"reference": f"Consent/{consent_id}"}},
            {"name": "patient", "valueReference": {"reference": f"Patient/{patient}"}},
        ],
    }


def observation(number: str = "o1", *, label: tuple[str, ...] = ("N",), patient: str = "p1", **more: Any) -> Json:
    """An Observation that carries these labels."""
    made: Json = {
        "resourceType": "Observation",
        "id": number,
        "status": "final",
        "code": concept("http://loinc.org", "15074-8"),
        "subject": {"reference": f"Patient/{patient}"},
    }
    return made | ({"meta": {"security": labels(*label)["securityLabel"]}} if label else {}) | more


def patient(session: Session, keys: Keys, fhir_id: str = "p1") -> UUID:
    """A patient with a data key; the blinded key."""
    (found,) = vaults_for(session, keys, [fhir_id], shared=False)
    return found


def house(session: Session) -> None:
    """Organisations that consents may name."""
    identity.organization(session, "renhe")
    identity.organization(session, "shengli", relationship="external")
    identity.organization(session, "shengli-cardiology", parent_id="shengli", kind="department", relationship="external")


def sharing(*nested: Json, organization: str = "shengli", **more: Any) -> Json:
    """Everything for treatment to one organisation, with exceptions."""
    return consent(provision("permit", actors(f"Organization/{organization}"), purposes("TREAT"), nested=list(nested)), **more)


def file(session: Session, keys: Keys, given: Json, *, actor: str = "person:test", zone: tzinfo = UTC, **more: Any) -> service.Filed:
    """File a consent as its bytes."""
    return service.file(session, keys, given, raw=json.dumps(given).encode(), actor=actor, zone=zone, **more)
