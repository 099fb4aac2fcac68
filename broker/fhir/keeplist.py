"""From a plan's element names to the tree of JSON properties that may stay of a resource type, and what must stand in for the rest.

Naming an element keeps what is safe in it and no more. These stay behind unless the plan names that exact path:

* text that people write: ``string`` and ``markdown`` inside a named element, ``valueString`` under ``value``, CodeableConcept.text,
  Reference.display; ``base64Binary``; Attachment data, url and title;
* Identifier, Annotation and Signature inside a named element, Reference.identifier.

These never leave, named or not: narrative, contained resources, extensions, element ids, ``implicitRules``, and ``_`` siblings of
primitives. An element that FHIR makes mandatory (min 1, https://hl7.org/fhir/R4) and that is cut is answered by an extension
``data-absent-reason`` of ``masked``, so that what is sent stays valid R4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from broker.errors import Problem
from broker.fhir import definitions

#: Extension that says why a value is missing (R4 core).
DATA_ABSENT_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

#: FHIR's id (R4 datatypes, ``id``).
ID = re.compile(r"[A-Za-z0-9.\-]{1,64}", re.ASCII)

#: Types that tell of consents or of who looked (adversarial case D17), or that wrap whole resources a keep-list can't reach.
NEVER_TYPES = frozenset({"AuditEvent", "Binary", "Bundle", "Consent", "OperationOutcome", "Parameters", "Provenance"})

#: Element names that always stay, whether named or not; ``meta`` is written anew.
ALWAYS = frozenset({"resourceType", "id", "meta"})

_NEVER_NAMES = frozenset({"id", "meta", "implicitRules", "contained", "extension", "modifierExtension"})
_NEVER_DATATYPES = frozenset({"Narrative", "Resource", "Extension", "Meta"})

#: Datatypes that a named parent does not keep.
_NAMED_ONLY = frozenset({"Annotation", "Identifier", "Signature"})
_TEXT = frozenset({"string", "markdown", "base64Binary", "xhtml"})

#: Strings that are data, not prose, by the datatype that holds them. Annotation counts only where it is named itself.
_DATA_STRINGS: Mapping[str, frozenset[str]] = {
    "Address": frozenset({"text", "line", "city", "district", "state", "postalCode", "country"}),
    "Annotation": frozenset({"text"}),
    "Coding": frozenset({"version", "display"}),
    "ContactPoint": frozenset({"value"}),
    "HumanName": frozenset({"text", "family", "given", "prefix", "suffix"}),
    "Identifier": frozenset({"value"}),
    "Reference": frozenset({"reference"}),
    "SampledData": frozenset({"data"}),
    **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration"), frozenset({"unit"})),
}

#: Datatypes of which a named parent keeps these children alone.
_ONLY: Mapping[str, frozenset[str]] = {
    "Attachment": frozenset({"contentType", "language", "size", "creation"}),
    "CodeableConcept": frozenset({"coding"}),
    "Reference": frozenset({"reference", "type"}),
}

_NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})


class Kind(Enum):
    """What a kept property must be in JSON; anything else withholds the resource."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OBJECT = "object"


@dataclass(slots=True, eq=False)
class Part:
    """One JSON property that may stay, and how its value changes (``fhir.transforms`` fills in what follows ``inside``)."""

    name: str  #: JSON name, e.g. ``valueQuantity``
    base: str  #: element name, e.g. ``value``
    path: str  #: for messages, e.g. ``Observation.component.value``
    type: str  #: FHIR type, e.g. ``Quantity``
    kind: Kind
    many: bool
    inside: Keep | None = None
    dates: str = ""  #: ``year`` or ``month``: every date in it is cut to that
    masked: bool = False
    first: int = 0  #: keep only so many items; 0: all
    change: Callable[[Any], Any] | None = None  #: what else becomes of the value; raises ValueError or ArithmeticError if it can't be done
    shift: bool = False  #: whether the date moves with all dates of the patient


@dataclass(frozen=True, slots=True)
class Need:
    """A mandatory element: one of ``names`` must stand in what is sent, else ``key`` with ``value`` takes its place."""

    names: tuple[str, ...]  #: JSON names that the plan keeps
    source: tuple[str, ...]  #: JSON names that the source may use
    key: str
    value: Any


@dataclass(slots=True, eq=False)
class Keep:
    """What stays of one JSON object, in the order of the definitions. ``type`` is empty for backbone elements."""

    type: str
    path: str
    parts: list[Part] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)


@dataclass(slots=True)
class _Wanted:
    """The plan's names as a tree."""

    named: bool = False
    children: dict[str, _Wanted] = field(default_factory=dict)


def absent(reason: str) -> dict[str, Any]:
    """An element without a value: the extension ``data-absent-reason`` with a code such as ``masked``."""
    return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": reason}]}


def json_name(base: str, type_name: str, *, choice: bool) -> str:
    """``value`` and ``Quantity`` → ``valueQuantity``; the name itself if it is no choice."""
    return base + type_name[0].upper() + type_name[1:] if choice else base


def standing_in(base: str, raw: Mapping[str, Any], reason: str) -> tuple[str, Any]:
    """JSON name and value that stand for a mandatory element without a value, with its own mandatory children. ``raw``: as in the table."""
    types = raw.get("types", ["BackboneElement"])
    # Of a choice an object is taken, if there is one: some readers (fhir.resources) overlook ``_`` siblings there.
    given = next((each for each in types if each not in definitions.primitives()), types[0])
    name = json_name(base, given, choice=raw.get("choice", False))
    value = absent(reason)
    if given in definitions.primitives():
        name = f"_{name}"
    else:
        below = definitions.resolved(raw) or definitions.raw_elements(given)
        value |= dict(standing_in(child, each, reason) for child, each in below.items() if each["min"] > 0)
    return name, [value] if raw["max"] != "1" else value


def keep_list(resource_type: str, elements: Iterable[str]) -> tuple[Keep, list[Problem]]:
    """The tree for a plan's element names, without ``resourceType``, ``id`` and ``meta``, which always stand; and everything wrong with the names."""
    if resource_type not in definitions.resource_types():
        return Keep(resource_type, resource_type), [Problem(f"types.{resource_type}", "unknown-type", "FHIR R4 has no such resource type")]
    if resource_type in NEVER_TYPES:
        return Keep(resource_type, resource_type), [Problem(f"types.{resource_type}", "never-released", "resources of this type are never released")]
    wanted = _Wanted()
    for element in elements:
        if element not in ALWAYS:
            node = wanted
            for step in element.split("."):
                node = node.children.setdefault(step, _Wanted())
            node.named = True
    builder = _Builder(f"types.{resource_type}.elements")
    keep = builder.object(resource_type, resource_type, resource_type, definitions.raw_elements(resource_type), wanted, implied=False)
    return keep, builder.problems


class _Builder:
    """Walks definitions and names side by side; holds the problems, and the elements that are open above (content references may recur)."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[Problem] = []
        self._open: dict[str, Keep] = {}

    def object(self, owner: str, path: str, canonical: str, elements: Mapping[str, Any], wanted: _Wanted, *, implied: bool) -> Keep:
        """``canonical`` is where the definitions describe it; it differs from ``path`` below datatypes and content references."""
        keep = Keep(owner if owner in definitions.datatypes() else "", path)
        recurring = implied and not wanted.children
        if recurring:
            self._open[canonical] = keep
        known = set()
        for base, raw in elements.items():
            names = tuple(json_name(base, given, choice=raw.get("choice", False)) for given in raw.get("types", ("BackboneElement",)))
            known |= {base, *names}
            if base in _NEVER_NAMES:
                if base in wanted.children:
                    self._problem(f"{path}.{base}", "never-released", "is never released, nor can it be reduced")
                continue
            parts = list(self._parts(owner, path, canonical, base, raw, wanted, implied=implied))
            keep.parts += parts
            if raw["min"] > 0:
                keep.needs.append(Need(tuple(part.name for part in parts), names, *standing_in(base, raw, "masked")))
        for name in wanted.children.keys() - known:
            self._unknown(f"{path}.{name}")
        if recurring:
            del self._open[canonical]
        return keep

    def _parts(self, owner: str, path: str, canonical: str, base: str, raw: Mapping[str, Any], wanted: _Wanted, *, implied: bool) -> Iterator[Part]:
        choice = raw.get("choice", False)
        by_base = wanted.children.get(base, _Wanted())
        unmatched = set(by_base.children) if choice else set()
        for given in raw.get("types", ("BackboneElement",)):
            name = json_name(base, given, choice=choice)
            by_name = wanted.children.get(name, _Wanted()) if choice else by_base
            deeper = by_base.children
            if choice:
                # ``value.coding`` speaks to those types of the choice that have such a child.
                matching = {child: each for child, each in deeper.items() if child in _children(given)}
                unmatched -= matching.keys()
                deeper = matching | by_name.children
            loose = (implied and base in _ONLY.get(owner, {base})) or (choice and by_base.named)
            below = raw.get("same_as", f"{canonical}.{base}")
            part = Part(name, base, f"{path}.{base}", given, _kind(given), raw["max"] != "1")
            if self._fill(part, owner, below, raw, _Wanted(by_name.named, deeper), loose=loose):
                yield part
        for child in unmatched:
            self._unknown(f"{path}.{base}.{child}")

    def _fill(self, part: Part, owner: str, canonical: str, raw: Mapping[str, Any], wanted: _Wanted, *, loose: bool) -> bool:
        """Whether the part stays at all; gives objects their inside."""
        if part.kind is not Kind.OBJECT:
            for child in wanted.children:
                self._unknown(f"{part.path}.{child}")
            return wanted.named or (loose and (part.type not in _TEXT or part.base in _DATA_STRINGS.get(owner, ())))
        if part.type in _NEVER_DATATYPES:
            if wanted.named or wanted.children:
                self._problem(part.path, "never-released", "is never released, nor can it be reduced")
            return False
        implied = wanted.named or (loose and part.type not in _NAMED_ONLY)
        if not implied and not wanted.children:
            return False
        own = definitions.resolved(raw)
        canonical = canonical if own else part.type
        if implied and not wanted.children and canonical in self._open:
            part.inside = self._open[canonical]
            return True
        elements = own or definitions.raw_elements(part.type)
        part.inside = self.object("" if own else part.type, part.path, canonical, elements, wanted, implied=implied)
        return bool(part.inside.parts)

    def _unknown(self, path: str) -> None:
        self._problem(path, "unknown-element", "FHIR R4 has no such element")

    def _problem(self, path: str, code: str, message: str) -> None:
        self.problems.append(Problem(f"{self.where}: {path}", code, message))


def _children(type_name: str) -> Mapping[str, Any]:
    return {} if type_name in definitions.primitives() or type_name in _NEVER_DATATYPES else definitions.raw_elements(type_name)


def _kind(type_name: str) -> Kind:
    if type_name not in definitions.primitives():
        return Kind.OBJECT
    if type_name == "boolean":
        return Kind.BOOLEAN
    return Kind.NUMBER if type_name in _NUMBERS else Kind.STRING
