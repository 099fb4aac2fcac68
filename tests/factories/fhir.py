"""Random FHIR R4 resources built from the definitions, with a token of its own in every value, so that a leak names its source.

Every value that can be unique is: strings hold ``canary-000017-``, dates, numbers and base64 are unique too. ``Random.tokens`` maps
each token to the JSON names that lead to it. What a minimiser must not let through is planted as well: narrative, contained
resources, extensions, element ids, ``_`` siblings, ``meta``, display texts, identifiers in references.
"""

from __future__ import annotations

import base64
import random
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from broker.fhir import definitions

#: Conformance resources are left out of random tests: they are large, hold no patient's data, and recur deeply.
CLINICAL = (
    "AllergyIntolerance",
    "Appointment",
    "CarePlan",
    "CareTeam",
    "Claim",
    "ClaimResponse",
    "ClinicalImpression",
    "Communication",
    "Composition",
    "Condition",
    "Coverage",
    "Device",
    "DeviceRequest",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "ExplanationOfBenefit",
    "FamilyMemberHistory",
    "Goal",
    "Group",
    "ImagingStudy",
    "Immunization",
    "Invoice",
    "List",
    "Location",
    "Media",
    "Medication",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
    "NutritionOrder",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "QuestionnaireResponse",
    "RelatedPerson",
    "RiskAssessment",
    "ServiceRequest",
    "Specimen",
    "SupplyDelivery",
    "Task",
    "VisionPrescription",
)

_encode = msgspec.json.Encoder(decimal_format="number").encode


def as_bytes(resource: Any) -> bytes:
    """Compact JSON; decimals keep their digits."""
    return _encode(resource)


class RandomResources:
    """Makes resources; the same ``random.Random`` state gives the same resources. ``density``: chance of an optional element.

    With ``turn`` a resource is filled wherever it can be, once each, and choices take their types in turn: 0, 1, 2 … give them all.
    """

    def __init__(self, rng: random.Random, *, density: float = 0.5, noise: bool = True, turn: int | None = None) -> None:
        self.rng = rng
        self.density = density if turn is None else 9.0
        self.noise = noise  #: plant what must never leave
        self.turn = turn
        self.most = 3 if turn is None else 1  #: items of a repeating element
        self.tokens: dict[str, tuple[str, ...]] = {}
        self._count = 0
        self._points_inside = False

    def resource(self, resource_type: str, **fixed: Any) -> dict[str, Any]:
        """A resource that ``validate.problems`` finds nothing wrong with; ``fixed`` elements are taken as they are."""
        elements = {name: raw for name, raw in definitions.raw_elements(resource_type).items() if name not in fixed}
        body = {"resourceType": resource_type, "id": str(uuid.UUID(int=self.rng.getrandbits(128), version=4))}
        self._points_inside = False
        body |= self._object(elements, (), ())
        if self._points_inside and "contained" not in body:
            self._special("contained", {}, (), body)
        return body | fixed

    def _object(self, elements: dict[str, Any], path: tuple[str, ...], above: tuple[int, ...]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if above.count(id(elements)) > 1:
            elements = {name: raw for name, raw in elements.items() if raw["min"] > 0}
        for base, raw in elements.items():
            chance = self.density / (1 + len(path) / 3)
            if raw["min"] == 0 and self.rng.random() > chance:
                continue
            if base in ("id", "text", "contained", "extension", "modifierExtension", "implicitRules", "meta") and self._special(base, raw, path, out):
                continue
            types = raw.get("types", ["BackboneElement"])
            given = self.rng.choice(types) if self.turn is None else types[self.turn % len(types)]
            name = base + given[:1].upper() + given[1:] if raw.get("choice") else base
            most = self.most if raw["max"] == "*" else int(raw["max"])
            count = max(raw["min"], self.rng.randint(1, min(most, self.most))) if raw["max"] != "1" else 1
            values = [self._value(given, raw, (*path, name), (*above, id(elements))) for _ in range(count)]
            if any(value is None for value in values):
                continue
            out[name] = values if raw["max"] != "1" else values[0]
            if self.noise and given in definitions.primitives() and self.rng.random() < 0.3:
                sibling = {"id": self.token(path, f"_{name}", "id"), "extension": [self._extension((*path, f"_{name}"))]}
                out[f"_{name}"] = [sibling, *[None] * (count - 1)] if raw["max"] != "1" else sibling
        if path and not out:
            out["extension"] = [self._extension(path)]
        return out

    def _special(self, base: str, raw: dict[str, Any], path: tuple[str, ...], out: dict[str, Any]) -> bool:
        """What must never leave, instead of what the definitions would give; True if it was dealt with."""
        if base == "text" and raw.get("types") != ["Narrative"]:
            return False
        if self.noise and base == "id" and path:
            out["id"] = self.token(path, "id")
        elif self.noise and base == "text":
            out["text"] = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{self.token(path, "text", "div")}</div>'}
        elif self.noise and base == "contained":
            out["contained"] = [{"resourceType": "Basic", "id": "c1", "code": {"text": self.token(path, "contained", "code", "text")}}]
        elif self.noise and base == "extension":
            out["extension"] = [self._extension(path)]
        elif self.noise and base == "meta":
            out["meta"] = {
                "source": self.token(path, "meta", "source"),
                "security": [{"system": "urn:x", "code": self.token(path, "meta", "security")}],
            }
        return True

    def _extension(self, path: tuple[str, ...]) -> dict[str, Any]:
        value: dict[str, Any] = {"url": "http://example.org/extension", "valueString": self.token(path, "extension", "valueString")}
        return value if self.rng.random() < 0.5 else {"url": "http://example.org/nested", "extension": [value]}

    def _value(self, given: str, raw: dict[str, Any], path: tuple[str, ...], above: tuple[int, ...]) -> Any:
        if given == "Resource":
            return None
        if given in definitions.primitives():
            return self._primitive(given, raw, path)
        if given == "Extension":
            return self._extension(path)
        if given == "Reference":
            return self._reference(raw, path)
        if raw.get("required") and given in ("CodeableConcept", "Coding"):
            coding = {
                "system": min(definitions.required_systems(raw["required"])),
                "code": self._code(raw),
                "display": self.token(path, "coding", "display"),
                "version": self.token(path, "coding", "version"),
                "userSelected": False,
            }
            return coding if given == "Coding" else {"coding": [coding], "text": self.token(path, "text")}
        own = definitions.resolved(raw)
        return self._object(own or definitions.raw_elements(given), path, above)

    def _reference(self, raw: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        target = self.rng.choice(raw.get("targets", ["Practitioner", "Encounter"]))
        kind = self.rng.random()
        reference: dict[str, Any] = {}
        if kind < 0.8:
            reference["reference"] = "Patient/p1" if target == "Patient" else f"{target}/{self.token(path, 'reference')}"
        elif kind < 0.85 and self.noise:
            reference["reference"] = "#c1"
            self._points_inside = True
        if self.noise and self.rng.random() < 0.3:
            reference["identifier"] = {"system": "urn:mrn", "value": self.token(path, "identifier", "value")}
        if self.turn is not None:
            # Identifier leads back to Reference by its assigner, so it is filled here alone.
            reference["type"] = target
            if "identifier" not in path:
                reference["identifier"] = self._object(definitions.raw_elements("Identifier"), (*path, "identifier"), ())
        if self.noise and (self.rng.random() < 0.5 or not reference):
            reference["display"] = self.token(path, "display")
        return reference or {"reference": f"{target}/x"}

    def _code(self, raw: dict[str, Any]) -> str:
        return self.rng.choice(sorted(definitions.required_codes(raw["required"])))

    def _primitive(self, given: str, raw: dict[str, Any], path: tuple[str, ...]) -> Any:
        if raw.get("required") and definitions.required_codes(raw["required"]):
            return self._code(raw)
        number = self._next()
        if given == "boolean":
            return self.rng.random() < 0.5
        if given in ("integer", "positiveInt", "unsignedInt"):
            return self._note(str(1_000_000 + number), path, int)
        if given == "decimal":
            return self._note(f"7.{number:06d}0", path, Decimal)
        text = {
            "date": (date(1900, 1, 1) + timedelta(days=number)).isoformat(),
            "dateTime": (datetime(2100, 1, 1, 10, 20, 30, tzinfo=UTC) + timedelta(days=number)).isoformat(),
            "instant": (datetime(2300, 1, 1, 10, 20, 30, tzinfo=UTC) + timedelta(days=number)).isoformat(),
            "time": f"10:20:30.{number:06d}",
            "base64Binary": base64.b64encode(f"canary-{number:06d}-".encode()).decode(),
            "oid": f"urn:oid:1.2.{1_000_000 + number}",
            "uuid": f"urn:uuid:{uuid.UUID(int=number, version=4)}",
            "uri": f"urn:canary-{number:06d}-",
            "url": f"http://canary-{number:06d}-.example",
            "canonical": f"http://canary-{number:06d}-.example/x",
        }.get(given, f"canary-{number:06d}-")
        return self._note(text, path, str)

    def token(self, path: tuple[str, ...], *names: str) -> str:
        """A text that occurs nowhere else."""
        return self._note(f"canary-{self._next():06d}-", (*path, *names), str)

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _note(self, text: str, path: tuple[str, ...], make: Any) -> Any:
        self.tokens[text] = path
        return make(text)
