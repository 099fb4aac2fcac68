"""Whose is a resource? The official patient compartment says; docs/decisions/0004 says the rest. Pure.

1. A Patient is its own.
2. A resource is a patient's if an element of the official compartment definition refers to that patient; so are references to a
   Patient anywhere in its contained resources.
3. If that names nobody, any reference to a Patient anywhere in it does (a Device's ``patient``, a Task's ``for``).
4. If nothing does, and its type describes staff, organisations, places, products or knowledge, it is shared.
5. Anything else is refused: of no patient, of several, or of a patient who is only described and not identified.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from broker.fhir import definitions

#: Types that are nobody's unless they refer to a patient.
SHARED_TYPES = frozenset(
    (
        *(
            "ActivityDefinition",
            "CapabilityStatement",
            "ChargeItemDefinition",
            "CodeSystem",
            "ConceptMap",
            "Device",
            "DeviceDefinition",
            "DeviceMetric",
            "Group",
        ),
        *("Endpoint", "HealthcareService", "InsurancePlan", "Library", "Location", "Measure", "Medication", "MedicationKnowledge", "NamingSystem"),
        *("ObservationDefinition", "Organization", "OrganizationAffiliation", "PlanDefinition", "Practitioner", "PractitionerRole", "Questionnaire"),
        *("ResearchStudy", "Schedule", "Slot", "SpecimenDefinition", "StructureDefinition", "Substance", "ValueSet"),
    )
)

_PATIENT = re.compile(r"(?:.*/)?Patient/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?", re.ASCII)


@dataclass(frozen=True)
class Belonging:
    """Whose a resource is: one patient's, shared, or, with the reason, nobody's we could name."""

    patient: str | None = None  #: FHIR id
    shared: bool = False
    refusal: str | None = None  #: no-patient, several-patients, patient-elsewhere, patient-contained
    path: str = ""


def references(node: Any) -> Iterator[dict[str, Any]]:
    """Every Reference with a ``reference`` anywhere in a resource, contained resources included."""
    queue = [node]
    while queue:
        current = queue.pop()
        if type(current) is list:
            queue.extend(current)
        elif type(current) is dict:
            if type(current.get("reference")) is str:
                yield current
            queue.extend(value for value in current.values() if type(value) is dict or type(value) is list)


def _at(node: Any, path: str) -> Iterator[Any]:
    if type(node) is list:
        for item in node:
            yield from _at(item, path)
    elif not path:
        yield node
    elif type(node) is dict:
        name, _, rest = path.partition(".")
        if name in node:
            yield from _at(node[name], rest)


def patient_id(reference: str) -> str | None:
    """The FHIR id of a patient of ours, from a relative reference; None for anything else."""
    match = _PATIENT.fullmatch(reference)
    return match[1] if match and reference.startswith("Patient/") else None


def _elsewhere(reference: Mapping[str, Any]) -> bool:
    """Whether it points to a patient whom we can't identify: on another server, by a business identifier, by a query."""
    target = reference.get("reference")
    if target is None:
        return reference.get("type") == "Patient" and "identifier" in reference
    return (bool(_PATIENT.fullmatch(target)) and patient_id(target) is None) or target.startswith(("Patient?", "urn:"))


def belonging(resource: Mapping[str, Any]) -> Belonging:
    """Whose a well-formed resource is. References within its Bundle have been resolved before."""
    type_name = resource["resourceType"]
    if type_name == "Patient":
        return Belonging(patient=resource["id"])
    found: set[str] = set()
    for path in definitions.compartment_paths(type_name):
        for reference in _at(resource, path):
            if type(reference) is not dict:
                continue
            target = reference.get("reference", "")
            if target.startswith("#") and any(
                part.get("resourceType") == "Patient" and part.get("id") == target[1:] for part in resource.get("contained", ())
            ):
                return Belonging(refusal="patient-contained", path=f"{type_name}.{path}")
            if _elsewhere(reference):
                return Belonging(refusal="patient-elsewhere", path=f"{type_name}.{path}")
            named = patient_id(target)
            if named is not None:
                found.add(named)
    found |= _named(resource.get("contained", []))
    if not found:
        found = _named(resource)
    if len(found) > 1:
        return Belonging(refusal="several-patients", path=type_name)
    if found:
        return Belonging(patient=found.pop())
    if type_name in SHARED_TYPES:
        return Belonging(shared=True)
    paths = definitions.compartment_paths(type_name)
    return Belonging(refusal="no-patient", path=f"{type_name}.{paths[0]}" if paths else type_name)


def _named(node: Any) -> set[str]:
    return {named for reference in references(node) if (named := patient_id(reference["reference"])) is not None}
