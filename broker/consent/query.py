"""Searching consents: which parameters there are, and whether a consent meets them. Pure.

Parameters of HL7 FAST (patient, controller, manager, date, status, scope, patientId, organizationId, grantee), of IHE PCF ITI-108
(patient.identifier, status, actor) and of R4 itself. A search names whose consents it wants; nobody lists the whole registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.consent import times
from broker.consent.dialects import every_provision
from broker.consent.references import tokens

#: Parameters and the name they are known by here.
NAMES = {
    "_id": "_id",
    "identifier": "identifier",
    "patient": "patient",
    "patient.identifier": "patient.identifier",
    "patient:identifier": "patient.identifier",
    "patientId": "patient.identifier",
    "status": "status",
    "date": "date",
    "scope": "scope",
    "category": "category",
    "actor": "actor",
    "grantee": "actor",
    "controller": "controller",
    "manager": "manager",
    "organization": "organization",
    "organizationId": "organizationId",
    "_count": "_count",
    "_offset": "_offset",
    "_format": "_format",
}
#: One of these must be given.
WHOSE = ("_id", "identifier", "patient", "patient.identifier")
JSON_FORMATS = frozenset({"json", "application/json", "application/fhir+json", "application/fhir json"})
MAX_COUNT = 200
_PREFIXES = ("eq", "ge", "le", "gt", "lt")
_EXTENSION = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Consent."


@dataclass(frozen=True)
class Query:
    """A search that can be answered. Values of one parameter are alternatives; parameters must all be met."""

    values: Mapping[str, tuple[str, ...]]
    dates: tuple[tuple[str, times.Span], ...] = ()  #: (prefix, span), all of which must be met
    count: int = 50
    offset: int = 0
    shown: tuple[tuple[str, str], ...] = field(default=())  #: the parameters as they were given, for the link to this page


@dataclass(frozen=True)
class BadQuery:
    """Why a search can't be answered: the parameter, if it is one of ours, and the reason."""

    parameter: str
    reason: str


def read(pairs: Sequence[tuple[str, str]]) -> Query | BadQuery:
    """The query, or what is wrong with it. Unknown and repeated parameters are refused: to ignore one would widen the result."""
    values: dict[str, tuple[str, ...]] = {}
    dates: list[tuple[str, times.Span]] = []
    numbers = {"_count": 50, "_offset": 0}
    for name, text in pairs:
        known = NAMES.get(name)
        if known is None:
            return BadQuery("", "There is a parameter that isn't served.")
        if known in values and known != "date":
            return BadQuery(name, "A parameter stands twice.")
        if not text or "\x00" in text or len(text) > 1000:
            return BadQuery(name, "A parameter has no value, or one that can't be meant.")
        values[known] = tuple(part for part in text.split(",") if part) or (text,)
        if known == "date":
            prefix = text[:2] if text[:2] in _PREFIXES else "eq"
            span = times.read(text.removeprefix(prefix))
            if span is None:
                return BadQuery(name, "A date can't be read.")
            dates.append((prefix, span))
        elif known in numbers:
            if not (text.isascii() and text.isdigit() and len(text) <= 6):
                return BadQuery(name, "It must be a whole number.")
            numbers[known] = int(text)
        elif known == "_format" and text.lower() not in JSON_FORMATS:
            return BadQuery(name, "Only FHIR JSON is served.")
    if not any(name in values for name in WHOSE):
        return BadQuery("patient", "Name a patient, an identifier or _id.")
    wanted = {name: value for name, value in values.items() if name not in ("date", "_format", *numbers)}
    return Query(wanted, tuple(dates), min(numbers["_count"], MAX_COUNT), numbers["_offset"], tuple(pairs))


def meets(consent: Mapping[str, Any], query: Query) -> bool:
    """Whether a consent meets every parameter that isn't answered by the registry's own columns."""
    tests = {
        "scope": lambda value: _coded(consent.get("scope"), value),
        "category": lambda value: any(_coded(one, value) for one in _list(consent.get("category"))),
        "actor": lambda value: any(_refers(one.get("reference"), value) for one in _actors(consent)),
        "controller": lambda value: any(_refers(one, value) for one in _parties(consent, "controller")),
        "manager": lambda value: any(_refers(one, value) for one in _parties(consent, "manager")),
        "organization": lambda value: any(_refers(one, value) for one in _list(consent.get("organization"))),
        "organizationId": lambda value: any(_identified(one, value) for one in _organizations(consent)),
    }
    if not all(any(tests[name](value) for value in values) for name, values in query.values.items() if name in tests):
        return False
    issued = times.read(consent.get("dateTime", consent.get("date")))
    return all(issued is not None and _dated(prefix, span, issued) for prefix, span in query.dates)


def identifiers(values: Sequence[str]) -> frozenset[str]:
    """Tokens ``system|value`` as they were asked; a bare value stands for one without a system."""
    return frozenset(value if "|" in value else f"|{value}" for value in values)


def _dated(prefix: str, asked: times.Span, issued: times.Span) -> bool:
    first, last = issued.start or 0, issued.end or 0
    match prefix:
        case "ge":
            return last >= (asked.start or 0)
        case "le":
            return first <= (asked.end or 0)
        case "gt":
            return last > (asked.end or 0)
        case "lt":
            return first < (asked.start or 0)
        case _:
            return (asked.start or 0) <= first and last <= (asked.end or 0)


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def _coded(concept: Any, asked: str) -> bool:
    system, bar, code = asked.rpartition("|")
    listed = _list(concept.get("coding")) if isinstance(concept, dict) else []
    return any(one.get("code") == code and (not bar or one.get("system", "") == system) for one in listed)


def _refers(reference: Any, asked: str) -> bool:
    named = reference.get("reference") if isinstance(reference, dict) else None
    return isinstance(named, str) and asked in (named, named.rsplit("/", 1)[-1])


def _identified(reference: Mapping[str, Any], asked: str) -> bool:
    found = tokens([reference.get("identifier"), *_list(reference.get("identifier"))])
    return bool(found & identifiers([asked])) or ("|" not in asked and any(one.endswith(f"|{asked}") for one in found))


def _actors(consent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for provision in every_provision(consent):
        yield from _list(provision.get("actor"))


def _parties(consent: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """``controller`` or ``manager``: R5's element, or FAST's extension in R4."""
    yield from _list(consent.get(name))
    for extension in _list(consent.get("extension")):
        if extension.get("url") == _EXTENSION + name:
            yield from _list(extension.get("valueReference"))


def _organizations(consent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from _list(consent.get("organization"))
    yield from _parties(consent, "controller")
    yield from _parties(consent, "manager")
    yield from (one for actor in _actors(consent) for one in _list(actor.get("reference")))
