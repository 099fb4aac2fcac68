"""What the CapabilityStatement says of the consent registry: HL7 FAST's operations and IHE PCF's ITI-108, as they are served. Pure."""

from __future__ import annotations

from typing import Any

_FAST = "http://hl7.org/fhir/us/consent-management"
#: Search parameters of Consent: name, type.
_SEARCHED = (
    ("patient", "reference"), ("patient.identifier", "token"), ("patientId", "token"), ("status", "token"), ("actor", "reference"),
    ("grantee", "reference"), ("controller", "reference"), ("manager", "reference"), ("organization", "reference"), ("organizationId", "token"),
    ("date", "date"), ("scope", "token"), ("category", "token"), ("identifier", "token"), ("_id", "token"),
)  # fmt: skip
_JSON_ALONE = (
    "ITI-108 by GET and by POST to _search; name a patient, an identifier or _id. IHE PCF asks registries for XML, too: here only JSON is "
    "served, and Accept or _format for anything else is answered with 406."
)


def _interactions(*codes: str) -> list[dict[str, str]]:
    return [{"code": code} for code in codes]


def _parameters(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in pairs]


def _operation(name: str) -> dict[str, str]:
    definitions = {"fileConsent": "file-consent", "revokeConsent": "revoke-consent", "recordDisclosure": "record-disclosure"}
    return {"name": name, "definition": f"{_FAST}/OperationDefinition/{definitions[name]}"}


def capability() -> list[dict[str, Any]]:
    """The entries of ``rest.resource``, for people with a console account who may read or file consents."""
    return [
        {
            "type": "Consent",
            "documentation": _JSON_ALONE,
            "interaction": _interactions("create", "read", "vread", "history-instance", "search-type"),
            "versioning": "versioned",
            "searchParam": _parameters(*_SEARCHED),
            "operation": [_operation("fileConsent"), _operation("revokeConsent")],
        },
        {
            "type": "AuditEvent",
            "documentation": "Who consulted a consent, as $recordDisclosure kept it.",
            "interaction": _interactions("read", "search-type"),
            "searchParam": _parameters(("consent", "reference"), ("patient", "reference")),
            "operation": [_operation("recordDisclosure")],
        },
        {
            "type": "Provenance",
            "documentation": "Where a version of a consent comes from.",
            "interaction": _interactions("read", "search-type"),
            "searchParam": _parameters(("target", "reference")),
        },
        {
            "type": "Subscription",
            "documentation": f"Changes of consents ({_FAST}/SubscriptionTopic/FASTConsentSubscriptionTopic): rest-hook, content empty or id-only.",
            "interaction": _interactions("create", "read", "delete"),
            "operation": [
                {"name": "status", "definition": "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status"}
            ],
        },
    ]
