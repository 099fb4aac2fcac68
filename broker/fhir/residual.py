"""What could still tell who the patient is in what a plan lets leave: counted for each release from plan and types, without reading a body.

Kinds follow 45 CFR 164.514(b)(2)(i), the list of identifiers of HIPAA's Safe Harbor, as far as R4 elements hold them. A resource counts
if it *may* carry the kind: bodies are not looked into, so the count is an upper bound, and nought means none at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from broker.fhir.keeplist import Keep, Part, keep_list
from broker.fhir.plan import ReleasePlan, TypePlan
from broker.fhir.transforms import apply, shift_all

#: Kind → what it means.
KINDS = {
    "address": "a postal address, in full or a region of it",
    "birth-date": "a date of birth or of death finer than a year",
    "contact": "a telephone number, mail address or the like",
    "date": "a date finer than a year of something that was done or found, not moved",
    "device-number": "a serial number, lot number or UDI of a device",
    "free-text": "text that people wrote",
    "identifier": "an identity, insurance or record number",
    "link": "a web address",
    "name": "the name of the patient or of somebody close",
    "record-id": "the id under which the hospital's system knows the resource or what it refers to",
    "staff-name": "the name of a clinician or an institution",
}

_PERSONAL = frozenset({"Patient", "RelatedPerson", "Person", "FamilyMemberHistory"})
_BY_TYPE = {"Address": "address", "ContactPoint": "contact", "Identifier": "identifier", "url": "link"}
_DEVICE_NUMBERS = frozenset({"Device.serialNumber", "Device.udiCarrier", "Device.lotNumber", "Device.distinctIdentifier"})
_BIRTHS = frozenset({"Patient.birthDate", "Patient.deceased", "RelatedPerson.birthDate", "FamilyMemberHistory.born"})
_WRITTEN = frozenset({"string", "markdown", "Annotation"})
_PROSE = frozenset({"CodeableConcept", "Annotation"})
#: Strings that are named for what they are, and are no prose.
_NAMED_STRINGS = frozenset({"Organization.name", "Location.name", "Device.deviceName.name", "Medication.batch.lotNumber", "Immunization.lotNumber"})


def counted(plan: ReleasePlan, types: Iterable[str] | Mapping[str, int]) -> dict[str, int]:
    """Kind → how many of the resources with these types (each, or their numbers) may carry it, sorted by kind, without kinds that none carries."""
    found: Counter[str] = Counter()
    for resource_type, number in (types if isinstance(types, Mapping) else Counter(iter(types))).items():
        for kind in kinds(resource_type, plan.types[resource_type].timeless(), pseudonymous=plan.pseudonymous, shifted=plan.shifted):
            found[kind] += number
    return dict(sorted(found.items()))


@lru_cache(maxsize=1024)
def kinds(resource_type: str, plan: TypePlan, *, pseudonymous: bool, shifted: bool) -> frozenset[str]:
    """The kinds of one type under its plan, which must be one that ``fhir.minimise`` compiles."""
    keep, _ = keep_list(resource_type, plan.elements)
    apply(keep, resource_type, plan.transforms)
    if shifted:
        shift_all(keep)
    found = frozenset(_walk(resource_type, keep, set()))
    return found if pseudonymous else found | {"record-id"}


def _walk(resource_type: str, keep: Keep, seen: set[int]) -> Iterator[str]:
    """The kinds in a tree; content references lead back, so that each object is looked at once."""
    if id(keep) in seen:
        return
    seen.add(id(keep))
    for part in keep.parts:
        yield from _own(resource_type, keep, part)
        if part.inside is not None and not part.masked and part.type != "HumanName" and part.type not in _BY_TYPE:
            yield from _walk(resource_type, part.inside, seen)


def _own(resource_type: str, keep: Keep, part: Part) -> Iterator[str]:
    if part.masked:
        return
    place = f"{keep.path}.{part.base}"
    if part.type == "HumanName" or place in ("Organization.name", "Location.name"):
        yield "name" if resource_type in _PERSONAL else "staff-name"
    elif part.type in _BY_TYPE:
        yield _BY_TYPE[part.type]
    elif place in _DEVICE_NUMBERS:
        yield "device-number"
    elif part.type in ("date", "dateTime", "instant"):
        if part.dates != "year" and part.change is None and not part.shift and not (part.dates and part.type == "instant"):
            yield "birth-date" if place in _BIRTHS else "date"
    elif (
        part.type in _WRITTEN
        and place not in _NAMED_STRINGS
        and (keep.type in ("", resource_type) or keep.type in _PROSE or place.endswith("Reference.display"))
    ):
        yield "free-text"
