"""What a plan may do to a value that stays: the list of transforms, what each applies to, and the functions that change a value.

==============  =======================================================  ==========================================================
``do``          path                                                     what comes out
==============  =======================================================  ==========================================================
``remove``      any element                                              nothing, as if the plan had not named it
``pseudonym``   ``id`` or an element with a Reference                    ids and references of **every** type of the plan replaced
``year``        element with dates in it                                 ``2024-05-17`` → ``2024``; an instant is masked
``month``       element with dates in it                                 ``2024-05-17`` → ``2024-05``; an instant is masked
``mask``        HumanName, ContactPoint or string                        张三丰 → 张**, 13812341234 → 138****1234
``keep_first``  repeating element; option ``count``, 1 unless given      the first items
==============  =======================================================  ==========================================================

A transform of an element that FHIR knows and the plan does not keep changes nothing: a plan narrowed by a person keeps the transforms of its profile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from broker.errors import Problem
from broker.fhir import definitions
from broker.fhir.keeplist import Keep, Part
from broker.fhir.plan import Transform

_DATED = frozenset({"date", "dateTime", "instant"})
_MASKABLE = frozenset({"HumanName", "ContactPoint", "string"})
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T.+)?)?)?", re.ASCII)
_MOBILE = re.compile(r"(?:\+?86[- ]?)?(1[0-9]{2})[- ]?[0-9]{4}[- ]?([0-9]{4})", re.ASCII)


def generalised(value: str, to: str) -> str | None:
    """The date as a ``year`` or a ``month``; as it is, where it says no more than that; None if it is no FHIR date."""
    if not _DATE.fullmatch(value):
        return None
    return value[: 4 if to == "year" else 7]


def masked_name(text: str) -> str:
    """张三丰 → 张**. The stars do not tell the length."""
    return f"{text[:1]}**"


def masked_phone(text: str) -> str:
    """13812341234 → 138****1234; anything that is not a mobile number of the mainland loses every sign."""
    mobile = _MOBILE.fullmatch(text.strip())
    return f"{mobile[1]}****{mobile[2]}" if mobile else "****"


def masked(value: Any, type_name: str) -> Any:
    """A reduced HumanName, ContactPoint or string with its content masked; prefix and suffix go."""
    if type_name == "HumanName":
        changes: dict[str, Callable[[Any], Any]] = {
            "text": masked_name,
            "family": masked_name,
            "given": lambda names: ["**" for _ in names],
        }
        return {name: changes.get(name, _same)(each) for name, each in value.items() if name not in ("prefix", "suffix")}
    if type_name == "ContactPoint":
        return {name: masked_phone(each) if name == "value" else each for name, each in value.items()}
    return masked_phone(value) if _MOBILE.fullmatch(value.strip()) else masked_name(value)


def _same(value: Any) -> Any:
    return value


def apply(keep: Keep, resource_type: str, transforms: Iterable[Transform]) -> list[Problem]:
    """Write the transforms into the tree; returns everything wrong with them."""
    problems = []
    for index, transform in enumerate(transforms):
        wrong = _wrong(resource_type, transform)
        if wrong:
            problems.append(Problem(f"types.{resource_type}.transforms[{index}]", *wrong))
            continue
        for holder, part in _reach(keep, transform.path.split(".")):
            _TRANSFORMS[transform.do][1](holder, part, transform)
    return problems


def _wrong(resource_type: str, transform: Transform) -> tuple[str, str] | None:
    if transform.do not in _TRANSFORMS:
        return "unknown-transform", f"`do` must be one of {', '.join(_TRANSFORMS)}"
    try:
        element = definitions.element(resource_type, transform.path)
    except KeyError:
        return "unknown-element", "FHIR R4 has no such element, or a choice above it leaves its type open"
    allowed = {"count"} if transform.do == "keep_first" else set()
    if transform.options.keys() - allowed:
        return "unknown-option", f"knows only the options {sorted(allowed)}"
    types = [element.types[0]] if not element.choice else _chosen(element, transform.path)
    return _TRANSFORMS[transform.do][0](element, types, transform)


def _chosen(element: definitions.Element, path: str) -> list[str]:
    """The types that a path of a choice speaks of: one, if it ends in a JSON name."""
    last = path.rsplit(".", 1)[-1]
    return [given for given in element.types if last in (element.name, element.name + given[0].upper() + given[1:])]


def _any_but_id(element: definitions.Element, types: list[str], transform: Transform) -> tuple[str, str] | None:
    del types, transform
    return ("not-applicable", "a resource keeps its id") if element.path == "id" else None


def _identifies(element: definitions.Element, types: list[str], transform: Transform) -> tuple[str, str] | None:
    del transform
    return None if element.path == "id" or "Reference" in types else ("not-applicable", "applies to `id` and to references")


def _has_dates(element: definitions.Element, types: list[str], transform: Transform) -> tuple[str, str] | None:
    del transform
    below = [element.children] if element.children else []
    return None if any(_dated(each, below) for each in types) else ("not-applicable", "there is no date in this element")


def _dated(type_name: str, own: list[Any]) -> bool:
    if type_name in _DATED:
        return True
    if type_name in definitions.primitives() or type_name in ("Extension", "Resource", "Reference", "Identifier"):
        return False
    elements = own[0] if own else definitions.raw_elements(type_name)
    return any(
        _dated(each, [raw["elements"]] if "elements" in raw else [])
        for name, raw in elements.items()
        if "same_as" not in raw and name not in ("id", "extension", "modifierExtension")
        for each in raw["types"]
    )


def _nameable(element: definitions.Element, types: list[str], transform: Transform) -> tuple[str, str] | None:
    del element, transform
    return None if set(types) <= _MASKABLE else ("not-applicable", "applies to HumanName, ContactPoint and string")


def _countable(element: definitions.Element, types: list[str], transform: Transform) -> tuple[str, str] | None:
    del types
    count = transform.options.get("count", 1)
    if not element.repeats:
        return "not-applicable", "applies to elements that repeat"
    return None if type(count) is int and count > 0 else ("bad-option", "`count` must be a whole number above 0")


def _reach(keep: Keep, steps: list[str]) -> Iterator[tuple[Keep, Part]]:
    """The kept parts at a path of base names or JSON names, each with the object that holds it."""
    for part in list(keep.parts):
        if steps[0] in (part.base, part.name):
            if len(steps) == 1:
                yield keep, part
            else:
                yield from () if part.inside is None else _reach(part.inside, steps[1:])


def _remove(holder: Keep, part: Part, transform: Transform) -> None:
    del transform
    holder.parts.remove(part)


def _pseudonym(holder: Keep, part: Part, transform: Transform) -> None:
    """Nothing to write: it holds for the whole plan (``ReleasePlan.pseudonymous``)."""
    del holder, part, transform


def _dates(holder: Keep, part: Part, transform: Transform) -> None:
    """Every date below is cut; where two transforms overlap, the coarser one holds."""
    del holder
    if part.type in _DATED and part.dates != "year":
        part.dates = transform.do
    if part.inside is not None and part.dates != transform.do:
        part.dates = transform.do  # Marks the object as visited too: content references lead back to it.
        for each in part.inside.parts:
            _dates(part.inside, each, transform)


def _mask(holder: Keep, part: Part, transform: Transform) -> None:
    del holder, transform
    part.masked = True


def _keep_first(holder: Keep, part: Part, transform: Transform) -> None:
    del holder
    part.first = transform.options.get("count", 1)


_Check = Callable[[definitions.Element, list[str], Transform], tuple[str, str] | None]
_Write = Callable[[Keep, Part, Transform], None]

#: What each transform applies to, and how it is written into the tree.
_TRANSFORMS: dict[str, tuple[_Check, _Write]] = {
    "remove": (_any_but_id, _remove),
    "pseudonym": (_identifies, _pseudonym),
    "year": (_has_dates, _dates),
    "month": (_has_dates, _dates),
    "mask": (_nameable, _mask),
    "keep_first": (_countable, _keep_first),
}

#: Names that a plan may use.
TRANSFORMS = frozenset(_TRANSFORMS)
