"""What a plan lets through, said a third time and in the plainest way: take the resource apart into leaves, judge each, put the rest together.

Slow, without compilation, and without a line from ``broker.fhir``'s minimiser or checker; tests compare both with it. It writes no
stand-ins: :func:`without_stand_ins` takes those out of a released resource before the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from broker.fhir import definitions

GONE = {"id", "meta", "implicitRules", "contained", "extension", "modifierExtension"}
PROSE = {"string", "markdown", "base64Binary", "xhtml"}
BY_NAME_ONLY = {"Annotation", "Identifier", "Signature"}
STRINGS = {
    "Coding": "version display",
    "Reference": "reference",
    "Quantity": "unit",
    "Age": "unit",
    "Count": "unit",
    "Distance": "unit",
    "Duration": "unit",
    "HumanName": "text family given prefix suffix",
    "Address": "text line city district state postalCode country",
    "ContactPoint": "value",
    "Identifier": "value",
    "SampledData": "data",
    "Annotation": "text",
}
ONLY = {"Reference": "reference type", "CodeableConcept": "coding", "Attachment": "contentType language size creation"}


class Step(NamedTuple):
    name: str
    base: str
    type: str
    owner: str
    choice: bool


Leaf = tuple[tuple[Step, ...], tuple[str | int, ...], Any]


def leaves(value: Any, elements: dict[str, Any], owner: str, steps: tuple[Step, ...], place: tuple[str | int, ...]) -> Iterator[Leaf]:
    for base, raw in elements.items():
        for given in raw.get("types", ["BackboneElement"]):
            choice = bool(raw.get("choice"))
            name = base + given[0].upper() + given[1:] if choice else base
            if name not in value or base in GONE or given in ("Narrative", "Resource", "Extension", "Meta"):
                continue
            path = (*steps, Step(name, base, given, owner, choice))
            items = value[name] if raw["max"] != "1" else [value[name]]
            for index, item in enumerate(items):
                at = (*place, name) if raw["max"] == "1" else (*place, name, index)
                if given in definitions.primitives():
                    yield path, at, item
                else:
                    own = definitions.resolved(raw)
                    yield from leaves(item, own or definitions.raw_elements(given), "" if own else given, path, at)


def safe(step: Step) -> bool:
    """Whether a step stays because something above it was named."""
    if step.owner in ONLY and step.base not in ONLY[step.owner].split():
        return False
    if step.type in BY_NAME_ONLY:
        return False
    return step.type not in PROSE or step.base in STRINGS.get(step.owner, "").split()


def stays(path: tuple[Step, ...], elements: tuple[str, ...]) -> bool:
    for element in elements:
        names = element.split(".")
        if len(names) > len(path) or any(name not in (step.name, step.base) for name, step in zip(names, path, strict=False)):
            continue
        named, below = path[len(names) - 1], path[len(names) :]
        by_base_only = named.choice and names[-1] == named.base
        if (not by_base_only or safe(named)) and all(safe(step) for step in below):
            return True
    return False


def naive_mask(resource: dict[str, Any], elements: tuple[str, ...]) -> tuple[dict[str, Any], set[str]]:
    """The resource with the plan's elements alone, numbers as text; and the leaves' values that stay, as text."""
    kept: dict[tuple[str | int, ...], Any] = {}
    for path, place, value in leaves(resource, definitions.raw_elements(resource["resourceType"]), "", (), ()):
        local = path[-1].owner == "Reference" and path[-1].base == "reference" and (value.startswith("#") or "?" in value)
        if not local and stays(path, elements):
            kept[place] = value
    out: dict[str, Any] = {"resourceType": resource["resourceType"], "id": resource["id"]}
    for place, value in kept.items():
        spot: Any = out
        for step in place[:-1]:
            spot = spot.setdefault(step, {})
        spot[place[-1]] = value
    return listed(out), {str(value) for value in kept.values()}


def listed(value: Any) -> Any:
    """Arrays were put together as dictionaries from index to item."""
    if not isinstance(value, dict):
        return value
    if all(isinstance(key, int) for key in value):
        return [listed(each) for each in value.values()]
    return {name: listed(each) for name, each in value.items()}


def without_stand_ins(value: Any) -> Any:
    """A released resource without ``meta`` and without elements that only say that they are masked."""
    if isinstance(value, list):
        items = [without_stand_ins(each) for each in value]
        return [each for each in items if each not in ({}, [])]
    if not isinstance(value, dict):
        return value
    items = {name: without_stand_ins(each) for name, each in value.items() if not name.startswith("_") and name not in ("extension", "meta")}
    return {name: each for name, each in items.items() if each not in ({}, [])}


def read(data: bytes) -> Any:
    """JSON with every number as the text of its digits."""
    return json.loads(data, parse_float=lambda text: f"number {text}", parse_int=lambda text: f"number {text}")
