"""Who gave a consent, and which separate consents it says. Pure.

FHIR has a place for who gave it (``performer``, from R5 on ``grantor``) and none for a guardian's authority or for the separate consents of
PIPL 23, 29 and 39. A guardian is a RelatedPerson whose relationship says so; why one answers for somebody of fourteen or older, and the
separate consents, are said by codes of ours, which notices that are answered here bring along (``wording``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from broker.consent.provisions import codings
from broker.consent.references import canonical, type_of

PATIENT, GUARDIAN, NO_CAPACITY, BOTH, UNKNOWN = "patient", "guardian", "guardian-no-capacity", "both", "unknown"
GIVERS = frozenset({PATIENT, GUARDIAN, NO_CAPACITY, BOTH, UNKNOWN})
#: The separate consents of PIPL: sensitive information (29), another processor (23), transfer abroad (39).
SEPARATE = ("abroad", "other-processor", "sensitive")
#: ``Consent.policy.uri`` of each.
SEPARATE_URI = "urn:broker:separate-consent:"
ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
#: Parents and guardians (v3-RoleCode, below PersonalRelationshipRoleType, and GUARD). A spouse, a sibling or a friend is none.
GUARDIANS = frozenset({"GUARD", "PRN", "MTH", "FTH", "NMTH", "NFTH", "ADOPTP", "ADOPTM", "ADOPTF", "FTHFOST", "MTHFOST", "PRNFOST"})
#: Of whom somebody is the guardian: a child, or an adult without capacity (Civil Code 27, 28).
OF_WHOM = "urn:broker:guardian-of"

#: A RelatedPerson by its reference, as it is stored here; None where it isn't.
Stored = Callable[[str], Mapping[str, Any] | None]


def giver(consent: Mapping[str, Any], stored: Stored = lambda _: None) -> str:
    """Who gave it, one of :data:`GIVERS`. Whoever can't be told is UNKNOWN, which a child's consent needs more than."""
    found = {_who(one, consent, stored) for name in ("performer", "grantor") for one in _listed(consent.get(name))}
    guardian = next((one for one in (NO_CAPACITY, GUARDIAN) if one in found), None)
    if PATIENT in found:
        return PATIENT if guardian is None else BOTH
    return guardian or UNKNOWN


def separate(consent: Mapping[str, Any]) -> frozenset[str]:
    """The separate consents that it says."""
    said = {one.get("uri") for one in _listed(consent.get("policy"))}
    return frozenset(one for one in SEPARATE if SEPARATE_URI + one in said)


def _who(reference: Mapping[str, Any], consent: Mapping[str, Any], stored: Stored) -> str:
    target = reference.get("reference")
    if isinstance(target, str) and target.startswith("#"):
        person = next((one for one in _listed(consent.get("contained")) if one.get("id") == target[1:]), None)
        return UNKNOWN if person is None else _relation(person)
    name = canonical(target)
    if name is None:
        return UNKNOWN
    if type_of(name) == "Patient":
        patient = consent.get("patient", consent.get("subject"))
        return PATIENT if isinstance(patient, Mapping) and patient.get("reference") == name else UNKNOWN
    related = stored(name) if type_of(name) == "RelatedPerson" else None
    return UNKNOWN if related is None else _relation(related)


def _relation(person: Mapping[str, Any]) -> str:
    """What a RelatedPerson is to the patient, so far as giving a consent goes."""
    said = {pair for concept in _listed(person.get("relationship")) for pair in codings(concept) or ()}
    if person.get("resourceType") != "RelatedPerson" or person.get("active") is False or not said & {(ROLE_CODE, code) for code in GUARDIANS}:
        return UNKNOWN
    return NO_CAPACITY if (OF_WHOM, "no-capacity") in said else GUARDIAN


def _listed(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of an element that R4 repeats, whatever stands in it."""
    yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict))
