"""The consents of the story, as FHIR R4 Consents with a typed root (HL7 FAST, IHE PCF)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

_SYSTEM = "http://terminology.hl7.org/CodeSystem/"


def sharing_consent(
    patient_id: str, recipient: str, *, purpose: str = "TREAT", without: tuple[str, ...] = (), at: datetime, by_guardian: bool = False
) -> dict[str, Any]:
    """The patient lets one organisation have the record for one purpose, for a year, without the named sensitive topics.

    ``by_guardian``: the patient is a child, and the mother signs, separately for what is sensitive (PIPL 29, 31).
    """
    day = at.astimezone(UTC)
    provision: dict[str, Any] = {
        "type": "permit",
        "period": {"start": day.date().isoformat(), "end": (day + timedelta(days=365)).date().isoformat()},
        "actor": [
            {
                "role": {"coding": [{"system": f"{_SYSTEM}v3-ParticipationType", "code": "IRCP"}]},
                "reference": {"reference": f"Organization/{recipient}"},
            }
        ],
        "purpose": [{"system": f"{_SYSTEM}v3-ActReason", "code": purpose}],
    }
    if without:
        provision["provision"] = [{"type": "deny", "securityLabel": [{"system": f"{_SYSTEM}v3-ActCode", "code": code} for code in without]}]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": f"{_SYSTEM}consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": f"{_SYSTEM}v3-ActCode", "code": "INFA"}]}],
        "identifier": [{"system": "https://hospital.example/fhir/sid/consent", "value": f"{patient_id}-{recipient}-{int(at.timestamp())}"}],
        "patient": {"reference": f"Patient/{patient_id}"},
        "dateTime": day.isoformat(timespec="seconds"),
        "performer": [{"reference": "#mother"} if by_guardian else {"reference": f"Patient/{patient_id}"}],
        "organization": [{"reference": "Organization/renhe"}],
        "policy": [
            {"uri": "http://www.npc.gov.cn/npc/c2/c30834/202108/t20210820_313088.html"},
            *({"uri": f"urn:broker:separate-consent:{one}"} for one in ("other-processor", "sensitive")),
        ],
        "sourceReference": {"reference": "#evidence"},
        "contained": [
            {
                "resourceType": "DocumentReference",
                "id": "evidence",
                "status": "current",
                "content": [{"attachment": {"contentType": "application/pdf", "title": "signed consent form"}}],
            },
            *([_mother(patient_id)] if by_guardian else []),
        ],
        "provision": provision,
    }


def _mother(patient_id: str) -> dict[str, Any]:
    relationship = [{"coding": [{"system": f"{_SYSTEM}v3-RoleCode", "code": "MTH"}]}]
    return {"resourceType": "RelatedPerson", "id": "mother", "patient": {"reference": f"Patient/{patient_id}"}, "relationship": relationship}


def filing(consent: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Parameters of ``$fileConsent``."""
    return {"resourceType": "Parameters", "parameter": [{"name": "consent", "resource": consent}, {"name": "document", "resource": document}]}


def evidence(patient_id: str) -> dict[str, Any]:
    """The signed form that the consent was taken on, as a DocumentReference."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "59284-0"}]},
        "subject": {"reference": f"Patient/{patient_id}"},
        "content": [{"attachment": {"contentType": "application/pdf", "title": "知情同意书"}}],
    }


def revocation(consent_id: str, patient_id: str) -> dict[str, Any]:
    """Parameters of ``$revokeConsent``."""
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "consent", "valueReference": {"reference": f"Consent/{consent_id}"}},
            {"name": "patient", "valueReference": {"reference": f"Patient/{patient_id}"}},
        ],
    }
