"""From what a patient agreed to, in the hospital's words, to the FHIR Consent that says it. Pure; the words are handed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from broker.consent import givers
from broker.consent.asking_rules import NO_CAPACITY, SELF, Answerer, Scope
from broker.consent.codes import SENSITIVITY
from broker.consent.labelled import ASSIGNED
from broker.errors import Problem

_SYSTEM = "http://terminology.hl7.org/CodeSystem/"
METHODS = ("fhir-api", "bulk-file", "on-screen")


@dataclass(frozen=True)
class Wording:
    """Names of purposes and data classes, and the resource types of each class; policy's data, handed in."""

    purposes: Mapping[str, tuple[str, str]]  #: code → zh, en
    classes: Mapping[str, tuple[str, str]]  #: code → zh, en
    types: Mapping[str, tuple[str, ...]]

    def purpose(self, code: str, language: str) -> str:
        """A purpose's name."""
        return self.purposes[code][1 if language == "en" else 0]

    def data(self, codes: Iterable[str], language: str) -> str:
        """The names of data classes, as a list."""
        return ("; " if language == "en" else "、").join(self.classes[code][1 if language == "en" else 0] for code in sorted(codes))

    def types_of(self, codes: Iterable[str]) -> list[str]:
        """The resource types of data classes."""
        return sorted({name for code in codes for name in self.types[code]})

    def problems(self, scope: Scope) -> list[Problem]:
        """What of a scope is not known here."""
        found = [] if scope.purpose in self.purposes else [Problem("/purpose", "unknown-purpose", "No such purpose.")]
        found += [Problem("/data", "unknown-class", "No such data class.") for code in sorted(scope.data) if not self.types.get(code)]
        found += [Problem("/sensitive", "unknown-topic", "No such sensitive topic.") for code in sorted(scope.sensitive) if code not in SENSITIVITY]
        if scope.method not in METHODS:
            found.append(Problem("/method", "unknown-method", f"One of {', '.join(METHODS)}."))
        if not scope.data:
            found.append(Problem("/data", "missing", "At least one data class."))
        return found


def consent_of(
    scope: Scope, wording: Wording, *, patient: str, given: bool, notice: tuple[str, int], asking: UUID, now: datetime, hospital: str,
    answerer: Answerer, guardian: str = "", separate: Iterable[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """The FHIR R4 Consent: a typed root with recipient, purpose, types and end; topics that were not agreed to are denied below it.

    A refusal denies the recipient the purpose altogether.
    """
    provision: dict[str, Any] = {
        "type": "permit" if given else "deny",
        "period": {"start": now.date().isoformat(), "end": scope.until.isoformat()},
        "actor": [
            {
                "role": {"coding": [{"system": f"{_SYSTEM}v3-ParticipationType", "code": "IRCP"}]},
                "reference": {"reference": f"Organization/{scope.recipient}"},
            }
        ],
        "purpose": [{"system": f"{_SYSTEM}v3-ActReason", "code": scope.purpose}],
    }
    if given:
        types = wording.types_of(scope.data)
        provision["class"] = [{"system": "http://hl7.org/fhir/resource-types", "code": name} for name in types]
        agreed = {code for topic in scope.sensitive for code in SENSITIVITY.narrower(topic)}
        withheld = sorted(code for code in ASSIGNED if code not in agreed and not SENSITIVITY.wider(code) & scope.sensitive)
        if withheld:
            # The root does not bound what is nested in it: without actor and purpose this would deny everybody else as well.
            bounds = {name: provision[name] for name in ("actor", "purpose")}
            codes = [{"system": f"{_SYSTEM}v3-ActCode", "code": code} for code in withheld]
            provision["provision"] = [{"type": "deny", **bounds, "securityLabel": codes}]
    own = answerer.capacity == SELF
    performer = {"reference": f"Patient/{patient}"} if own else {"reference": "#guardian", "type": "RelatedPerson", "display": guardian or "guardian"}
    return {
        "resourceType": "Consent",
        "status": "active",
        **({} if own else {"contained": [_guardian(patient, answerer)]}),
        "scope": {"coding": [{"system": f"{_SYSTEM}consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{asking}"}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": now.isoformat(timespec="seconds"),
        "performer": [performer],
        "organization": [{"reference": f"Organization/{hospital}"}],
        "policy": [{"uri": f"urn:broker:notice:{notice[0]}:{notice[1]}"}, *({"uri": givers.SEPARATE_URI + one} for one in sorted(separate))],
        "provision": provision,
    }


def _guardian(patient: str, answerer: Answerer) -> dict[str, Any]:
    """The guardian as the consent names them: the relationship in the words of the form, and for whom they may answer."""
    coding = [
        {"system": givers.ROLE_CODE, "code": "GUARD"},
        {"system": givers.OF_WHOM, "code": answerer.reason if answerer.reason == NO_CAPACITY else "child"},
    ]
    relationship = {"coding": coding, **({"text": answerer.relationship} if answerer.relationship else {})}
    return {"resourceType": "RelatedPerson", "id": "guardian", "patient": {"reference": f"Patient/{patient}"}, "relationship": [relationship]}
