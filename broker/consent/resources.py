"""What consent rules may ask of a FHIR resource, taken from its JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.consent import times
from broker.consent.codes import CONFIDENTIALITY, CONFIDENTIALITY_SYSTEM, HANDLING, MOVED, PURPOSES, SENSITIVITY
from broker.consent.related import Related, references_of
from broker.consent.values import ResourceFacts
from broker.fhir import definitions

_INTEGRITY_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"

#: Elements that name who wrote a resource of a type (FiveWs.author and FiveWs.source of the R4 definitions), as JSON paths.
AUTHORS: dict[str, tuple[str, ...]] = {
    "AllergyIntolerance": ("recorder", "asserter"),
    "CarePlan": ("author", "contributor"),
    "Claim": ("provider", "enterer"),
    "ClaimResponse": ("insurer",),
    "ClinicalImpression": ("assessor",),
    "Communication": ("sender",),
    "Composition": ("author",),
    "Condition": ("recorder", "asserter"),
    "DetectedIssue": ("author",),
    "DeviceRequest": ("requester",),
    "DiagnosticReport": ("performer", "resultsInterpreter"),
    "DocumentReference": ("author",),
    "ExplanationOfBenefit": ("provider", "enterer"),
    "Flag": ("author",),
    "Goal": ("expressedBy",),
    "ImagingStudy": ("interpreter",),
    "Immunization": ("performer.actor",),
    "List": ("source",),
    "Media": ("operator",),
    "MedicationAdministration": ("performer.actor",),
    "MedicationDispense": ("performer.actor",),
    "MedicationRequest": ("requester", "recorder"),
    "MedicationStatement": ("informationSource",),
    "NutritionOrder": ("orderer",),
    "Observation": ("performer",),
    "Procedure": ("performer.actor", "recorder", "asserter"),
    "QuestionnaireResponse": ("author",),
    "RiskAssessment": ("performer",),
    "ServiceRequest": ("requester",),
    "Specimen": ("collection.collector",),
    "Task": ("requester",),
    "VisionPrescription": ("prescriber",),
}

NOTHING_RELATED = Related()


def labels_of(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels that a resource carries in ``meta.security``, sorted, as :class:`ResourceFacts` wants them; empty if it carries none.

    What says how data are to be handled, for which purpose they were made or whether they were altered is no label in this
    sense. What is not understood stays, as ``system|code``, so that it can't be overlooked.
    """
    meta = resource.get("meta")
    listed = meta.get("security") if isinstance(meta, dict) else None
    if listed is None:
        return ()
    found = {_label(one) for one in (listed if isinstance(listed, list) else [listed])}
    return tuple(sorted(found - {""}))


def _label(coding: Any) -> str:
    system, code = (coding.get("system"), coding.get("code")) if isinstance(coding, dict) else (None, None)
    if system == CONFIDENTIALITY_SYSTEM and isinstance(code, str):
        return code if code in CONFIDENTIALITY else MOVED.get(code, f"{system}|{code}")
    if system == SENSITIVITY.system and isinstance(code, str):
        return code if code in SENSITIVITY else "" if code in HANDLING else f"{system}|{code}"
    return "" if system in (PURPOSES.system, _INTEGRITY_SYSTEM) else f"{system}|{code}"


def walk(resource: Mapping[str, Any], path: str) -> list[Any]:
    """The values at a JSON path, through arrays."""
    found: list[Any] = [resource]
    for step in path.split("."):
        reached = [value[step] for value in found if isinstance(value, dict) and step in value]
        found = [one for value in reached for one in (value if isinstance(value, list) else [value])]
    return found


def codes_of(resource: Mapping[str, Any]) -> frozenset[str]:
    """Every Coding that stands anywhere in a resource but in ``meta``, as ``system|code``."""
    found: set[str] = set()
    waiting: list[Any] = [value for key, value in resource.items() if key != "meta"]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("system"), str) and isinstance(value.get("code"), str):
                found.add(f"{value['system']}|{value['code']}")
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return frozenset(found)


def profiles_of(resource: Mapping[str, Any]) -> frozenset[str]:
    """The profiles that a resource claims, with and without their version."""
    claimed = [one for one in walk(resource, "meta.profile") if isinstance(one, str)]
    return frozenset(claimed) | {one.partition("|")[0] for one in claimed}


def authors_of(resource: Mapping[str, Any], related: Related = NOTHING_RELATED) -> frozenset[str]:
    """Who wrote a resource: the elements of :data:`AUTHORS`, and Provenance among the related resources; each with whom they stand for."""
    named = {related.one(one) for path in AUTHORS.get(str(resource.get("resourceType")), ()) for one in walk(resource, path) if isinstance(one, dict)}
    found = {one for one in named if one} | related.authors_of(f"{resource.get('resourceType')}/{resource.get('id')}")
    return related.presented(found)


def dates_of(resource: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """First and last second that the data are about: the clinical date, else when it was last updated; (None, None) if neither is known.

    A state that lasts (Condition, AllergyIntolerance) reaches from its start to its end; without an end, it still lasts.
    """
    name = str(resource.get("resourceType"))
    span = definitions.lasting(name)
    if span is not None:
        start, end = (next((found for path in paths if (found := _at(resource, path))), None) for paths in span)
        if start is not None or end is not None:
            return (None if start is None else start.start), (None if end is None else end.end)
    for path in definitions.clinical_dates(name):
        found = _at(resource, path)
        if found is None:
            continue
        stem, _, step = path.rpartition(".")
        if step == "start":
            last = _at(resource, f"{stem}.end")
            return found.start, None if last is None else last.end
        return (None if step == "end" else found.start), found.end
    updated = _at(resource, "meta.lastUpdated") or times.Span()
    return updated.start, updated.end


def _at(resource: Mapping[str, Any], path: str) -> times.Span | None:
    found = [span for value in walk(resource, path) if (span := times.read(value)) is not None]
    return found[0] if found else None


def patients_of(resource: Mapping[str, Any], related: Related = NOTHING_RELATED) -> frozenset[str]:
    """The patients whom a resource is about (R4 CompartmentDefinition patient), as references; a Patient is about itself."""
    if resource.get("resourceType") == "Patient":
        return frozenset({f"Patient/{resource.get('id')}"})
    paths = definitions.compartment_paths(str(resource.get("resourceType")))
    named = {related.one(one) for path in paths for one in walk(resource, path) if isinstance(one, dict)}
    return frozenset(one for one in named if one and one.split("/")[-2] == "Patient")


#: Facts that cost something to find; the others are always given.
EVERYTHING = frozenset({"dates", "codes", "profiles", "references", "authors"})


def facts_of(
    resource: Mapping[str, Any], labels: tuple[str, ...], related: Related = NOTHING_RELATED, needs: frozenset[str] = EVERYTHING
) -> ResourceFacts:
    """What rules may ask of a resource, so far as ``needs`` says. ``labels`` are those it was given, which need not stand in its JSON."""
    first, last = dates_of(resource) if "dates" in needs else (None, None)
    return ResourceFacts(
        type=str(resource.get("resourceType")),
        id=str(resource.get("id")),
        labels=labels,
        date_from=first,
        date_until=last,
        codes=codes_of(resource) if "codes" in needs else frozenset(),
        profiles=profiles_of(resource) if "profiles" in needs else frozenset(),
        references=references_of(resource, related) if "references" in needs else frozenset(),
        authors=authors_of(resource, related) if "authors" in needs else frozenset(),
    )
