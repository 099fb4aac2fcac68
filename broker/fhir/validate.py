"""Is this a FHIR R4 resource? Every problem of structure and of required codes, each with its path.

Driven by the generated table of :mod:`broker.fhir.definitions`: each type is compiled once into a :class:`Shape`, a dictionary from
JSON property names to what may stand there. A resource without problems costs one dictionary look-up and one pattern match per value.

Not checked: invariants of single resources beyond those named here, extensible and preferred bindings, profiles, and whether what a
reference points to exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from broker.errors import Problem
from broker.fhir import definitions
from broker.fhir.errors import problem
from broker.fhir.parse import shown_key

#: More problems than this are not listed one by one.
MAX_PROBLEMS = 100

#: Objects nested deeper than this are not FHIR that anybody wrote; parse.read_json stops earlier.
MAX_NESTING = 100

#: A place: (place above, name, index or None). Cheap to make, turned into text only for a problem.
Place = tuple[Any, str, int | None]

_ASCII = re.ASCII
_INT32 = 2**31

#: Patterns that differ from the table's: its own allow characters that R4 forbids in text (below 32, lone surrogates), an empty
#: uri, or backtrack without end (base64Binary).
_TEXT = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]+"
_PATTERNS = {"string": _TEXT, "markdown": _TEXT, "uri": r"\S+", "url": r"\S+", "canonical": r"\S+", "base64Binary": r"[0-9A-Za-z+/\s]*={0,2}\s*"}


def _calendar(value: str) -> bool:
    """Whether the day exists; the patterns let 31 February pass."""
    if value[8:10] in ("29", "30", "31"):
        try:
            date(int(value[:4]), int(value[5:7]), int(value[8:10]))
        except ValueError:
            return False
    return True


def _text_test(type_name: str, pattern: str) -> Callable[[Any], bool]:
    match = re.compile(pattern, _ASCII).fullmatch
    if type_name in ("date", "dateTime", "instant"):
        return lambda value: match(value) is not None and _calendar(value)
    if type_name == "base64Binary":
        return lambda value: match(value) is not None and sum(not char.isspace() for char in value) % 4 == 0
    return lambda value: match(value) is not None


def _xhtml(value: str) -> bool:
    return value.lstrip().startswith("<div") and value.rstrip().endswith(">")


def _whole(value: Any, lowest: int) -> bool:
    return type(value) is int and lowest <= value < _INT32


#: JSON type first, then the value: for types that are no strings one test does both.
_NOT_TEXT: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda value: value is True or value is False,
    "integer": lambda value: _whole(value, -_INT32),
    "unsignedInt": lambda value: _whole(value, 0),
    "positiveInt": lambda value: _whole(value, 1),
    "decimal": lambda value: type(value) in (int, Decimal, float),
}


@dataclass(slots=True)
class Slot:
    """What may stand under one JSON property name."""

    type_name: str
    repeats: bool
    most: int | None = None
    least: int = 0
    group: str | None = None  #: base name of the choice it belongs to
    text: Callable[[Any], bool] | None = None  #: test of a string
    other: Callable[[Any], bool] | None = None  #: test of a number or boolean
    shape: Shape | None = None
    codes: frozenset[str] | None = None
    systems: tuple[str, ...] = ()  #: a tuple, because what is compared with it may be unhashable
    resource: bool = False
    sibling: bool = False  #: ``_name``: id and extensions of a primitive


@dataclass(slots=True)
class Shape:
    """A type, ready for checking."""

    name: str
    slots: dict[str, Slot] = field(default_factory=dict)
    #: (base name, JSON names of which one must stand) of each mandatory element
    mandatory: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


_shapes: dict[int, Shape] = {}


def _shape(name: str, elements: Mapping[str, Any]) -> Shape:
    """The shape of a set of elements; the same set (a content reference) is compiled once, so that recursion ends."""
    known = _shapes.get(id(elements))
    if known is not None:
        return known
    shape = _shapes[id(elements)] = Shape(name)
    for base, raw in elements.items():
        names: list[str] = []
        for type_name in raw.get("types", ("BackboneElement",)):
            json_name = base + type_name[0].upper() + type_name[1:] if raw.get("choice") else base
            names.append(json_name)
            shape.slots[json_name] = slot = _slot(type_name, base, raw, f"{name}.{base}")
            if slot.text or slot.other:
                names.append(f"_{json_name}")
                shape.slots[f"_{json_name}"] = Slot(type_name, repeats=slot.repeats, group=slot.group, sibling=True, shape=_sibling_shape())
        if raw["min"] > 0:
            shape.mandatory.append((base, tuple(names)))
    return shape


def _slot(type_name: str, base: str, raw: Mapping[str, Any], path: str) -> Slot:
    most = None if raw["max"] == "*" else int(raw["max"])
    slot = Slot(type_name, repeats=most is None or most > 1, most=most, least=raw["min"], group=base if raw.get("choice") else None)
    primitives = definitions.primitives()
    if type_name == "xhtml":
        slot.text = _xhtml
    elif type_name in _NOT_TEXT:
        slot.other = _NOT_TEXT[type_name]
    elif type_name in primitives:
        slot.text = _text_tests(type_name)
    elif type_name == definitions.ANY_RESOURCE:
        slot.resource = True
    else:
        own = definitions.resolved(raw)
        slot.shape = _shape(path if own else type_name, own or definitions.raw_elements(type_name))
    if "required" in raw:
        slot.codes = definitions.required_codes(raw["required"])
        slot.systems = tuple(sorted(definitions.required_systems(raw["required"])))
    return slot


@cache
def _text_tests(type_name: str) -> Callable[[Any], bool]:
    return _text_test(type_name, _PATTERNS.get(type_name) or definitions.primitives()[type_name] or _TEXT)


@cache
def _sibling_shape() -> Shape:
    return _shape("Element", definitions.raw_elements("Element"))


@cache
def _resource_shape(type_name: str) -> Shape | None:
    if type_name not in definitions.resource_types():
        return None
    return _shape(type_name, definitions.raw_elements(type_name))


_REFERENCE = re.compile(
    r"#[A-Za-z0-9\-.]{0,64}"
    r"|(?P<type>[A-Z][A-Za-z]{1,63})/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?"
    r"|(?P<conditional>[A-Z][A-Za-z]{1,63})\?\S+"
    r"|[A-Za-z][A-Za-z0-9+.\-]*:\S+",
    _ASCII,
)


def _path(place: Place | None) -> str:
    steps: list[str] = []
    while place is not None:
        above, name, index = place
        shown = name if name == "$" else shown_key(name.removeprefix("_"))  # $ is a value that is no resource at all.
        steps.append(shown if index is None else f"{shown}[{index}]")
        place = above
    return ".".join(reversed(steps))


class _Enough(Exception):
    """The list of problems is full."""


class _Check:
    """One resource being checked: what was found, and the local references and contained ids seen on the way."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.local: list[tuple[str, Place]] = []
        self.contained: set[str] = set()
        self.nesting = 0

    def add(self, place: Place | None, code: str, message: str = "") -> None:
        if len(self.found) >= MAX_PROBLEMS:
            self.found.append(problem(_path(place), "too-many-problems"))
            raise _Enough
        self.found.append(problem(_path(place), code, message))

    def resource(self, value: Any, above: Place | None, name: str, index: int | None, *, inside: bool = False) -> None:
        """A whole resource. ``inside``: it is contained in another."""
        if type(value) is not dict:
            self.add((above, name, index), "not-an-object")
            return
        type_name = value.get("resourceType")
        shape = _resource_shape(type_name) if type(type_name) is str else None
        if shape is None:
            self.add((above, name, index), "missing" if type_name is None else "unknown-type", "Element resourceType.")
            return
        place: Place = (above, name, index) if above is not None else (None, shape.name, None)
        if inside and ("contained" in value or "id" not in value):
            self.add(place, "nested-contained")
        if inside or above is None:
            if inside and type(value.get("id")) is str:
                self.contained.add(value["id"])
            self.object(value, shape, place)
            return
        # A resource inside a Bundle or Parameters has contained resources of its own.
        local, contained, self.local, self.contained = self.local, self.contained, [], set()
        self.object(value, shape, place)
        self.local_references()
        self.local, self.contained = local, contained

    def local_references(self) -> None:
        """References like ``#x`` must find their contained resource; ``#`` alone is the containing one."""
        for target, place in self.local:
            if target not in ("#", "") and target[1:] not in self.contained:
                self.add(place, "no-contained")

    def object(self, value: Any, shape: Shape, place: Place) -> None:
        """An object of a type."""
        if type(value) is not dict:
            self.add(place, "null" if value is None else "not-an-object")
            return
        if not value:
            self.add(place, "empty")
            return
        if self.nesting > MAX_NESTING:
            self.add(place, "too-deep")
            return
        self.nesting += 1
        slots = shape.slots
        chosen: dict[str, str] | None = None
        for name, content in value.items():
            slot = slots.get(name)
            if slot is None:
                if name != "resourceType" or shape.name not in definitions.resource_types():
                    self.add((place, name, None), "unknown-element")
                continue
            if slot.group is not None:
                plain = name.removeprefix("_")
                if chosen is None:
                    chosen = {slot.group: plain}
                elif chosen.setdefault(slot.group, plain) != plain:
                    self.add((place, name, None), "two-choices", f"Element {slot.group}[x].")
            if slot.repeats:
                self.array(name, content, slot, value, place)
            elif type(content) is list:
                self.add((place, name, None), "unexpected-array")
            else:
                self.single(name, content, slot, place, None)
        for base, names in shape.mandatory:
            if names[0] not in value and not any(name in value for name in names):
                self.add((place, base, None), "missing")
        if shape.name == "Reference":
            self.reference(value, place)
        elif shape.name == "Extension":
            holds_value = any(name.startswith(("value", "_value")) for name in value)
            if holds_value == ("extension" in value):
                self.add(place, "bad-extension")
        self.nesting -= 1

    def array(self, name: str, content: Any, slot: Slot, owner: dict[str, Any], place: Place) -> None:
        """A repeating element."""
        if type(content) is not list:
            self.add((place, name, None), "null" if content is None else "not-an-array")
            return
        if not content:
            self.add((place, name, None), "empty")
            return
        if slot.most is not None and len(content) > slot.most:
            self.add((place, name, None), "too-many", f"At most {slot.most}.")
        if len(content) < slot.least:
            self.add((place, name, None), "too-few", f"At least {slot.least}.")
        partner: Any = None
        if slot.sibling or f"_{name}" in owner:
            partner = owner.get(name[1:] if slot.sibling else f"_{name}")
            if partner is not None and (type(partner) is not list or len(partner) != len(content)):
                self.add((place, name, None), "sibling", "Both arrays have the same length.")
                partner = None
        for index, item in enumerate(content):
            if item is None and (slot.sibling or slot.text or slot.other) and partner is not None and partner[index] is not None:
                continue  # A null keeps the place of an item that stands in the other array.
            self.single(name, item, slot, place, index)

    def single(self, name: str, content: Any, slot: Slot, place: Place, index: int | None) -> None:
        """One value."""
        if slot.text is not None:
            if type(content) is not str:
                self.add((place, name, index), "null" if content is None else "wrong-type", f"Expected {slot.type_name}, a string.")
            elif not content:
                self.add((place, name, index), "empty")
            elif not slot.text(content):
                self.add((place, name, index), "bad-format", f"Expected {slot.type_name}.")
            elif slot.codes is not None and content not in slot.codes:
                self.add((place, name, index), "bad-code")
        elif slot.other is not None:
            if not slot.other(content):
                self.add((place, name, index), "null" if content is None else "wrong-type", f"Expected {slot.type_name}.")
        elif slot.resource:
            self.resource(content, place, name, index, inside=name == "contained")
        elif slot.shape is not None:
            here: Place = (place, name, index)
            self.object(content, slot.shape, here)
            if slot.codes is not None and type(content) is dict:
                self.coded(content, slot, here)

    def coded(self, content: dict[str, Any], slot: Slot, place: Place) -> None:
        """A CodeableConcept that must hold a code from a value set."""
        codings = content.get("coding")
        if slot.codes is None or type(codings) is not list:
            self.add((place, "coding", None), "missing")
            return
        for coding in codings:
            if type(coding) is dict and type(coding.get("code")) is str and coding["code"] in slot.codes and coding.get("system") in slot.systems:
                return
        self.add((place, "coding", None), "bad-code")

    def reference(self, value: dict[str, Any], place: Place) -> None:
        """The form of a Reference."""
        target = value.get("reference")
        if type(target) is not str or not target:
            return  # A wrong type was found above; a reference may be by identifier or display alone.
        match = _REFERENCE.fullmatch(target)
        named = match and (match["type"] or match["conditional"])
        if match is None or (named and named not in definitions.resource_types()):
            self.add((place, "reference", None), "bad-reference")
        elif target.startswith("#"):
            self.local.append((target, place))


def problems(resource: Any) -> list[Problem]:
    """All problems of a parsed resource, in the order they stand in it; an empty list means it is well-formed FHIR R4.

    ``resource`` is what :func:`broker.fhir.parse.read_json` returns. Paths look like ``Observation.component[0].valueQuantity.value``.
    """
    check = _Check()
    try:
        check.resource(resource, None, "$", None)
        check.local_references()
    except _Enough:
        pass
    return check.found
