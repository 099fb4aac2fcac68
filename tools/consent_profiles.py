"""Writes the FHIR artefacts of the consent registry in ``fhir_profiles/``: what it takes, with its code lists, taken from the code itself.

Run from the root of the repository: ``python -m tools.consent_profiles``. A test compares the files with the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from broker.consent import query, topics
from broker.consent.codes import CONFIDENTIALITY, CONFIDENTIALITY_SYSTEM, PURPOSES, SENSITIVITY
from broker.consent.labelled import ASSIGNED
from broker.consent.provisions import ACTION_SYSTEM, PARTICIPATION_SYSTEM, RECIPIENT_ROLES
from broker.consent.values import ACTIONS

ROOT = Path(__file__).resolve().parents[1] / "fhir_profiles"
BASE = "https://data-sharing-broker.example/fhir"
FAST = "http://hl7.org/fhir/us/consent-management"
_ABOUT = {"status": "active", "experimental": False, "version": "1.0.0"}


def _value_set(name: str, title: str, description: str, *lists: tuple[str, list[str]]) -> dict[str, Any]:
    include = [{"system": system, "concept": [{"code": code} for code in codes]} for system, codes in lists]
    return {"resourceType": "ValueSet", "id": name, "url": f"{BASE}/ValueSet/{name}", "name": name.replace("-", "_"), "title": title, **_ABOUT,
            "description": description, "compose": {"include": include}}  # fmt: skip


def value_sets() -> list[dict[str, Any]]:
    """The codes that are enforced."""
    return [
        _value_set("consent-purpose", "Purposes of use", "A consent's purpose; matched by subsumption.", (PURPOSES.system, sorted(PURPOSES.all))),
        _value_set("consent-security-label", "Labels a consent may name", "Confidentiality is ordered, sensitivity matched by subsumption.",
                   (CONFIDENTIALITY_SYSTEM, sorted(CONFIDENTIALITY)), (SENSITIVITY.system, sorted(SENSITIVITY.all))),
        _value_set("assigned-sensitivity", "Topics of labels", "Records are labelled with these.", (SENSITIVITY.system, sorted(ASSIGNED))),
        _value_set("consent-action", "Actions", "A permit names access or disclose to permit a release.", (ACTION_SYSTEM, sorted(ACTIONS))),
        _value_set("consent-actor-role", "Recipients", "Roles of an actor that is enforced.", (PARTICIPATION_SYSTEM, sorted(RECIPIENT_ROLES))),
    ]  # fmt: skip


def _element(path: str, **more: Any) -> dict[str, Any]:
    return {"id": path, "path": path, **more}


def _bound(name: str) -> dict[str, Any]:
    return {"binding": {"strength": "required", "valueSet": f"{BASE}/ValueSet/{name}"}}


def profile() -> dict[str, Any]:
    """The shape of a consent that can be filed with a typed root; the enforceability report says the rest."""
    elements = [
        _element("Consent"),
        _element("Consent.modifierExtension", max="0"),
        _element("Consent.status", patternCode="active"),
        _element("Consent.patient", min=1),
        _element("Consent.provision", min=1),
        _element("Consent.provision.type", min=1),
        _element("Consent.provision.actor.role", **_bound("consent-actor-role")),
        _element("Consent.provision.action", **_bound("consent-action")),
        _element("Consent.provision.securityLabel", **_bound("consent-security-label")),
        _element("Consent.provision.purpose", **_bound("consent-purpose")),
    ]
    return {"resourceType": "StructureDefinition", "id": "broker-consent", "url": f"{BASE}/StructureDefinition/broker-consent",
            "name": "BrokerConsent", "title": "Consent that is enforced", **_ABOUT,
            "description": "An IHE PCF or HL7 FAST consent as the registry files it. R4 with policyRule and R5 with decision are taken as well.",
            "fhirVersion": "4.0.1", "kind": "resource", "abstract": False, "type": "Consent",
            "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Consent", "derivation": "constraint",
            "differential": {"element": elements}}  # fmt: skip


#: Operation → the resource it stands on, the definition it follows, its parameters: name, minimum, type.
OPERATIONS = {
    "fileConsent": ("Consent", "file-consent", (("consent", 1, "Consent"), ("document", 1, "Resource"))),
    "revokeConsent": ("Consent", "revoke-consent", (("consent", 1, "Reference"), ("patient", 1, "Reference"), ("document", 0, "Resource"))),
    "recordDisclosure": ("AuditEvent", "record-disclosure", (("disclosure", 1, "AuditEvent"), ("consent", 1, "Reference"))),
}


def operations() -> list[dict[str, Any]]:
    """The operations of HL7 FAST as they are served."""
    found = []
    for code, (resource, name, parameters) in OPERATIONS.items():
        taken = [{"name": one, "use": "in", "min": least, "max": "1", "type": kind} for one, least, kind in parameters]
        given = {"name": "return", "use": "out", "min": 0, "max": "1", "type": "OperationOutcome"}
        found.append(
            {
                "resourceType": "OperationDefinition",
                "id": name,
                "url": f"{BASE}/OperationDefinition/{name}",
                "name": code,
                **_ABOUT,
                "kind": "operation",
                "base": f"{FAST}/OperationDefinition/{name}",
                "code": code,
                "resource": [resource],
                "system": False,
                "type": True,
                "instance": False,
                "parameter": [*taken, given],
            }
        )
    return found


def search_parameters() -> list[dict[str, Any]]:
    """The parameters of HL7 FAST that R4 does not have, as the registry answers them."""
    kinds = {"patientId": "token", "organizationId": "token", "controller": "reference", "manager": "reference", "grantee": "reference"}
    made = [("Consent", code, kind) for code, kind in kinds.items() if code in query.NAMES] + [("AuditEvent", "consent", "reference")]
    return [
        {"resourceType": "SearchParameter", "id": f"fast-{resource.lower()}-{code}", "url": f"{BASE}/SearchParameter/fast-{resource.lower()}-{code}",
         "name": code, **_ABOUT, "derivedFrom": f"{FAST}/SearchParameter/fast-{resource.lower()}-{code}",
         "description": f"As HL7 FAST Scalable Consent Management defines it: {code}.", "code": code, "base": [resource], "type": kind}
        for resource, code, kind in made
    ]  # fmt: skip


def subscription_profile() -> dict[str, Any]:
    """A subscription that is taken."""
    elements = [
        _element("Subscription"),
        _element("Subscription.criteria", patternString=topics.TOPIC),
        _element("Subscription.channel.type", patternCode="rest-hook"),
        _element("Subscription.channel.endpoint", min=1),
        _element("Subscription.channel.payload", min=1, patternCode="application/fhir+json"),
    ]
    return {"resourceType": "StructureDefinition", "id": "broker-subscription", "url": f"{BASE}/StructureDefinition/broker-subscription",
            "name": "BrokerSubscription", "title": "Subscription to changes of consents", **_ABOUT,
            "description": "R5 Subscriptions Backport with the topic of HL7 FAST; content empty or id-only.", "fhirVersion": "4.0.1",
            "kind": "resource", "abstract": False, "type": "Subscription", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Subscription",
            "derivation": "constraint", "differential": {"element": elements}}  # fmt: skip


def artefacts() -> list[dict[str, Any]]:
    """Everything, as it stands in ``fhir_profiles/``."""
    return [profile(), subscription_profile(), *value_sets(), *operations(), *search_parameters()]


def text(resource: dict[str, Any]) -> str:
    """A file's content."""
    return json.dumps(resource, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    for one in artefacts():
        (ROOT / f"{one['resourceType']}-{one['id']}.json").write_text(text(one), encoding="utf-8")
