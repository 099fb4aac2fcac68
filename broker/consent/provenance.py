"""Where each version of a consent comes from, as FHIR R4 Provenance: who, when, by which document. Pure."""

from __future__ import annotations

from typing import Any

from broker.consent.register import Shown

_ACTIVITY = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
#: What each change of the registry is in v3-DataOperation.
ACTIVITIES = {"filed": "CREATE", "revoked": "NULLIFY", "replaced": "UPDATE"}


def provenance_of(shown: Shown) -> dict[str, Any]:
    """The Provenance of one version; its id is the consent's with the version."""
    at = shown.updated_at.isoformat(timespec="milliseconds")
    made: dict[str, Any] = {
        "resourceType": "Provenance",
        "id": f"{shown.id}-{shown.version}",
        "target": [{"reference": f"Consent/{shown.id}/_history/{shown.version}"}],
        "recorded": at,
        "activity": {"coding": [{"system": _ACTIVITY, "code": ACTIVITIES[shown.change]}], "text": shown.change},
        "agent": [{"type": {"coding": [{"system": _AGENT, "code": "enterer"}]}, "who": {"identifier": {"value": shown.actor}}}],
    }
    if shown.evidence is not None:
        kind, digest = shown.evidence
        what = {"type": kind, "identifier": {"system": "urn:ietf:rfc:6920", "value": f"ni:///sha-256;{digest}"}}
        made["entity"] = [{"role": "source", "what": what}]
    return made
