"""What the log says of releases as FHIR R4 AuditEvents, in the shape of IHE BALP (ITI TF BasicAudit). Pure.

A disclosure (bytes left, or may have) is ``IHE.BasicAudit.PrivacyDisclosure.Source`` and claims that profile. A decision, permit or
deny, has the codes of ``IHE.BasicAudit.AuthZconsent``, and claims that profile where the consents that it rested on can be named: the profile
demands them, and the log holds no reference to a patient's documents, but the hash of the sealed policy input that names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.audit.service import Recorded

DISCLOSURES = ("release.sent", "release.partial", "release.unknown")
DECISIONS = ("release.permitted", "release.refused")

_AUTHZ_CONSENT = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.AuthZconsent"
_PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_AUTHZ = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"

#: AuditEvent.outcome (http://terminology.hl7.org/CodeSystem/audit-event-outcome): success, minor failure, serious failure.
_OUTCOMES = {"sent": "0", "permit": "0", "partial": "4", "deny": "4", "unknown": "8", "unavailable": "8"}


def _coding(system: str, code: str, display: str = "") -> dict[str, str]:
    return {"system": system, "code": code, **({"display": display} if display else {})}


def audit_event(event: Recorded, *, base_url: str, hospital: str, patient: str | None, consents: Sequence[str] = ()) -> dict[str, Any]:
    """The AuditEvent of one event of the log.

    ``patient``: FHIR id, when the asker named the patient; else the patient stays unnamed. ``consents``: ids of those that a decision rested on.
    """
    disclosure = event.type in DISCLOSURES
    named = not disclosure and bool(consents)
    made: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(event.id),
        "type": _coding(_DCM, "110106", "Export") if disclosure else _coding(_DCM, "110113", "Security Alert"),
        "subtype": [_coding(_LIFECYCLE, "disclose", "Disclose") if disclosure else _coding(_AUTHZ, "AuthZ-Consent")],
        "action": "R" if disclosure else "E",
        "recorded": event.at.isoformat(timespec="milliseconds"),
        "outcome": _OUTCOMES.get(event.outcome or "", "8"),
        "agent": _agents(event, base_url, hospital, disclosure=disclosure),
        "source": {"observer": _organization(base_url, hospital)},
        # The profile of decisions by consent has no place for other data (its slices are closed), so what else is known stands with the first.
        "entity": [_patient(event, base_url, patient), *(_consents(event, base_url, consents) if named else [_data(event, base_url)])],
    }
    if disclosure or named:
        made["meta"] = {"profile": [_PROFILE if disclosure else _AUTHZ_CONSENT]}
    if event.purpose:
        made["purposeOfEvent"] = [{"coding": [_coding(_REASON, event.purpose)]}]
    reasons = event.facts.get("reasons")
    if reasons:
        made["outcomeDesc"] = " ".join(reasons)
    return made


def _organization(base_url: str, organization: str) -> dict[str, Any]:
    return {"type": "Organization", "identifier": {"system": f"{base_url}/organizations", "value": organization}}


def _agents(event: Recorded, base_url: str, hospital: str, *, disclosure: bool) -> list[dict[str, Any]]:
    here = {"address": base_url, "type": "5"}
    there = {"address": f"urn:broker:{event.actor}", "type": "5"}
    client = {"type": "Device", "identifier": {"system": f"{base_url}/clients", "value": event.actor}}
    if not disclosure:
        # Systems act in their own name: the user whom the token names is the client, as OAuth's `sub` says.
        return [
            {"type": {"coding": [_coding(_DCM, "110150", "Application")]}, "who": client, "requestor": False, "network": there},
            {"type": {"coding": [_coding(_PARTICIPATION, "IRCP", "information recipient")]}, "who": client, "requestor": True},
            {
                "type": {"coding": [_coding(_ROLE_CLASS, "PROV", "healthcare provider")]},
                "who": _organization(base_url, event.recipient or event.actor),
                "requestor": False,
            },
            {
                "type": {"coding": [_coding("http://terminology.hl7.org/CodeSystem/extra-security-role-type", "authserver")]},
                "who": _organization(base_url, hospital),
                "requestor": False,
            },
        ]
    return [
        {
            "type": {"coding": [_coding(_DCM, "110153", "Source Role ID")]},
            "who": _organization(base_url, hospital),
            "requestor": False,
            "network": here,
        },
        {
            "type": {"coding": [_coding(_DCM, "110152", "Destination Role ID")]},
            "who": _organization(base_url, event.recipient or event.actor),
            "requestor": True,
            "network": there,
        },
    ]


def _patient(event: Recorded, base_url: str, patient: str | None) -> dict[str, Any]:
    what: dict[str, Any] = (
        {"reference": f"Patient/{patient}"}
        if patient is not None
        else {"type": "Patient", "identifier": {"system": f"{base_url}/blinded-patients", "value": str(event.patient)}}
    )
    return {"what": what, "type": _coding(_ENTITY, "1", "Person"), "role": _coding(_ROLE, "1", "Patient")}


def _consents(event: Recorded, base_url: str, consents: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"what": {"reference": f"Consent/{one}"}, "type": _coding("http://hl7.org/fhir/resource-types", "Consent")} for one in consents
    ]
    found[0]["detail"] = [*_detail(event, base_url), *([{"type": "release", "valueString": str(event.release)}] if event.release else [])]
    return found


def _detail(event: Recorded, base_url: str) -> list[dict[str, str]]:
    told = {
        "application": event.application,
        "items": event.facts.get("items"),
        "bytes": event.facts.get("bytes"),
        "digest": event.facts.get("digest"),
        "manifest": event.facts.get("manifest"),
        "types": " ".join(event.facts.get("types", [])) or None,
        "policy": event.facts.get("policy"),
        "policy-input": event.facts.get("input"),
        "log-proof": f"{base_url}/log/proof/{event.id}",
    }
    return [{"type": name, "valueString": str(value)} for name, value in told.items() if value is not None]


def _data(event: Recorded, base_url: str) -> dict[str, Any]:
    release = str(event.release) if event.release else str(event.id)
    return {
        "what": {"identifier": {"system": f"{base_url}/releases", "value": release}},
        "type": _coding(_ENTITY, "2", "System Object"),
        "role": _coding(_ROLE, "4", "Domain Resource"),
        "detail": _detail(event, base_url),
    }
