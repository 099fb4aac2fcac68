"""What a plan may do to a value that stays: the list of transforms, what each applies to, and the functions that change a value.

==============  =======================================================  ==========================================================
``do``          path                                                     what comes out
==============  =======================================================  ==========================================================
``remove``      any element                                              nothing, as if the plan had not named it
``pseudonym``   ``id`` or an element with a Reference                    ids and references of **every** type of the plan replaced
``year``        element with dates in it                                 ``2024-05-17`` → ``2024``; an instant is masked
``month``       element with dates in it                                 ``2024-05-17`` → ``2024-05``; an instant is masked
``mask``        HumanName, ContactPoint or string                        张三丰 → 张**, 13812341234 → 138****1234
``age_band``    date; option ``years``, 5 unless given                   ``1963-05-02`` → ``1960``; older than 90 counts as 90
``region``      Address                                                  use, type, city, state and country
``bucket``      element with numbers in it; option ``size``              ``72.3`` → ``70`` with a size of 5
``drop_text``   element with text in it                                  no text that people write, not even of a code's display
``shift``       element with dates in it                                 **every** date of the plan moved by days that are the patient's own
``keep_first``  repeating element; option ``count``, 1 unless given      the first items
==============  =======================================================  ==========================================================

A transform of an element that FHIR knows and the plan does not keep changes nothing: a plan narrowed by a person keeps the transforms of its profile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec

from broker import clock
from broker.errors import Problem
from broker.fhir import definitions
from broker.fhir.keeplist import Keep, Kind, Part
from broker.fhir.plan import Transform

#: Dates move by at most half a year, so that a season tells nothing and an order of years stays.
FARTHEST = 182
#: Whoever is older counts as this old: few people are, and a year of birth then names them (45 CFR 164.514(b)(2)(i)(C)).
OLDEST = 90

_DATED = frozenset({"date", "dateTime", "instant"})
_MASKABLE = frozenset({"HumanName", "ContactPoint", "string"})
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T.+)?)?)?", re.ASCII)
#: What of an Address is a region.
_REGION = frozenset({"use", "type", "city", "state", "country", "extension"})
#: Types of what people write, and which of them is data in spite of its type.
_WRITTEN = frozenset({"string", "markdown", "base64Binary", "Annotation"})
_NOT_WRITTEN = frozenset(
    {"Quantity.unit", "Age.unit", "Count.unit", "Distance.unit", "Duration.unit", "Reference.reference", "Coding.version", "SampledData.data"}
)
_MOBILE = re.compile(r"(?:\+?86[- ]?)?(1[0-9]{2})[- ]?[0-9]{4}[- ]?([0-9]{4})", re.ASCII)


def generalised(value: str, to: str) -> str | None:
    """The date as a ``year`` or a ``month``; as it is, where it says no more than that; None if it is no FHIR date."""
    if not _DATE.fullmatch(value):
        return None
    return value[: 4 if to == "year" else 7]


def days_of(secret: str) -> int:
    """By how many days the dates of a patient move: from -182 to 182, never 0; the same secret gives the same days."""
    place = int.from_bytes(sha256(secret.encode()).digest()[:8]) % (2 * FARTHEST)
    return place - FARTHEST if place < FARTHEST else place - FARTHEST + 1


def shifted(value: str, days: int) -> str | None:
    """The date moved by days, as precise as it was; time and offset stay. None if it is no FHIR date or leaves the calendar."""
    if not _DATE.fullmatch(value):
        return None
    day, rest = value[:10], value[10:]
    try:
        # Of a month or a year that moves as a whole, the middle is what moves.
        moved = (date.fromisoformat(day + "2000-07-15"[len(day) :]) + timedelta(days=days)).isoformat()
    except (ValueError, OverflowError):
        return None
    return moved[: len(day)] + rest


def in_band(value: str, years: int) -> str | None:
    """The first year of the band that a date of birth lies in; None if it is no FHIR date."""
    if not _DATE.fullmatch(value):
        return None
    year = max(int(value[:4]), clock.now().year - OLDEST)
    return f"{year - year % years:04}"


def in_bucket(value: Any, size: int) -> msgspec.Raw:
    """Where the bucket of a number (its digits) begins, towards nought. Raises ArithmeticError for a number out of all measure."""
    return msgspec.Raw(str(int(Decimal(bytes(value).decode()) // size * size)).encode())


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
    allowed = _OPTIONS.get(transform.do, frozenset())
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


def _is_date(element: definitions.Element, types: list[str], transform: Transform) -> tuple[str, str] | None:
    del element
    if transform.options.get("years", 5) not in (5, 10, 20):
        return "bad-option", "`years` must be 5, 10 or 20"
    return None if set(types) <= {"date", "dateTime"} else ("not-applicable", "applies to dates")


def _is_address(element: definitions.Element, types: list[str], transform: Transform) -> tuple[str, str] | None:
    del element, transform
    return None if types == ["Address"] else ("not-applicable", "applies to Address")


def _holds(kinds: frozenset[str], what: str) -> _Check:
    """Whether there is something of these kinds in an element, however deep."""

    def check(element: definitions.Element, types: list[str], transform: Transform) -> tuple[str, str] | None:
        size = transform.options.get("size")
        if transform.do == "bucket" and not (type(size) is int and size > 0):
            return "bad-option", "`size` must be a whole number above 0"
        below = [element.children] if element.children else []
        return None if any(_has(kinds, each, below, ()) for each in types) else ("not-applicable", f"there is no {what} in this element")

    return check


def _has(kinds: frozenset[str], type_name: str, own: list[Any], above: tuple[str, ...]) -> bool:
    if type_name in kinds:
        return True
    if type_name in definitions.primitives() or type_name in ("Extension", "Resource", "Reference", "Identifier", *above):
        return False
    elements = own[0] if own else definitions.raw_elements(type_name)
    return any(
        _has(kinds, each, [raw["elements"]] if "elements" in raw else [], above if own else (*above, type_name))
        for name, raw in elements.items()
        if "same_as" not in raw and name not in ("id", "extension", "modifierExtension")
        for each in raw["types"]
    )


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


def _band(holder: Keep, part: Part, transform: Transform) -> None:
    del holder
    part.change = partial(in_band, years=transform.options.get("years", 5))


def _region(holder: Keep, part: Part, transform: Transform) -> None:
    del holder, transform
    part.change = lambda address: {name: each for name, each in address.items() if name in _REGION}


def _bucket(holder: Keep, part: Part, transform: Transform) -> None:
    """Every number below."""
    del holder
    for each in _below(part):
        if each.kind is Kind.NUMBER:
            each.change = partial(in_bucket, size=transform.options["size"])


def _drop_text(holder: Keep, part: Part, transform: Transform) -> None:
    """Every text below, and the element itself if it is one."""
    del transform
    if part.type in _WRITTEN:
        holder.parts.remove(part)
        return
    for each in [part, *_below(part)]:
        if each.inside is not None:
            inside = each.inside
            inside.parts[:] = [one for one in inside.parts if one.type not in _WRITTEN or f"{inside.type}.{one.base}" in _NOT_WRITTEN]


def _shift(holder: Keep, part: Part, transform: Transform) -> None:
    """Nothing to write: it holds for the whole plan (``ReleasePlan.shifted``)."""
    del holder, part, transform


def shift_all(keep: Keep) -> None:
    """Every date of the tree moves."""
    for part in keep.parts:
        for each in _below(part):
            each.shift = each.type in _DATED


def _below(part: Part) -> list[Part]:
    """The part and every part below it, each once: content references lead back."""
    found: list[Part] = []
    waiting = [part]
    while waiting:
        each = waiting.pop()
        if not any(each is one for one in found):
            found.append(each)
            waiting += [] if each.inside is None else each.inside.parts
    return found


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
    "age_band": (_is_date, _band),
    "region": (_is_address, _region),
    "bucket": (_holds(frozenset({"decimal", "integer", "positiveInt", "unsignedInt"}), "number"), _bucket),
    "drop_text": (_holds(_WRITTEN, "text"), _drop_text),
    "shift": (_has_dates, _shift),
    "mask": (_nameable, _mask),
    "keep_first": (_countable, _keep_first),
}

_OPTIONS = {"keep_first": frozenset({"count"}), "age_band": frozenset({"years"}), "bucket": frozenset({"size"})}

#: Names that a plan may use.
TRANSFORMS = frozenset(_TRANSFORMS)
