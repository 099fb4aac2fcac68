"""A resource by its single values: what a correction changes, and a resource with some of them replaced. Pure; numbers keep their digits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from broker.errors import Problem

#: Not a matter of correction: what the resource is, whose it is, what the server writes, and the narrative, which is made from the rest.
FIXED = frozenset({"resourceType", "id", "meta", "text", "contained", "subject", "patient", "beneficiary", "implicitRules"})
#: FHIR R4 2.24.0.1, decimal.
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
#: More single values than this are not shown one by one.
MOST = 400


class Digits(str):
    """A number as it is written: 98.70 stays 98.70."""

    __slots__ = ()


@dataclass(frozen=True)
class Leaf:
    """A single value. ``place``: the names and positions that lead to it, joined by dots."""

    place: str
    value: str
    kind: str  #: ``text``, ``number`` or ``boolean``


@dataclass(frozen=True)
class Change:
    """A single value that differs; None where there is none."""

    place: str
    before: str | None
    after: str | None


def read(body: bytes) -> dict[str, Any]:
    """A resource of which each number is its digits."""
    found: dict[str, Any] = json.loads(body, parse_float=Digits, parse_int=Digits)
    return found


def leaves(resource: Mapping[str, Any]) -> list[Leaf]:
    """The single values that can be corrected, in the order in which they stand. References stay as they are."""
    return [leaf for name, value in resource.items() if name not in FIXED for leaf in _leaves(name, value)][:MOST]


def _leaves(place: str, value: Any) -> Iterator[Leaf]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in ("reference", "id"):
                yield from _leaves(f"{place}.{name}", inner)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _leaves(f"{place}.{position}", inner)
    elif isinstance(value, bool):
        yield Leaf(place, "true" if value else "false", "boolean")
    elif isinstance(value, Digits):
        yield Leaf(place, str(value), "number")
    elif isinstance(value, str):
        yield Leaf(place, value, "text")


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Change]:
    """Every single value that differs, in the order of the corrected resource, then those that are gone."""
    old = {one.place: one.value for one in leaves(before)} if before is not None else {}
    new = {one.place: one.value for one in leaves(after)}
    found = [Change(place, old.get(place), value) for place, value in new.items() if old.get(place) != value]
    return found + [Change(place, value, None) for place, value in old.items() if place not in new]


def corrected(body: bytes, values: Mapping[str, str]) -> tuple[bytes, tuple[Problem, ...]]:
    """The resource with single values replaced by their place, and what is wrong with them. The narrative goes: it says what was wrong.

    A value that is left empty stays as it was: what shall be gone is brought as a whole resource.
    """
    resource, problems = read(body), []
    known = {one.place: one for one in leaves(resource)}
    for place, value in values.items():
        leaf = known.get(place)
        if leaf is None or not value or value == leaf.value:
            continue
        if leaf.kind == "number" and not NUMBER.fullmatch(value):
            problems.append(Problem(f"/{place}", "number", "This is not a number."))
        elif leaf.kind == "boolean" and value not in ("true", "false"):
            problems.append(Problem(f"/{place}", "unknown", "There is no such choice."))
        else:
            _put(resource, place.split("."), Digits(value) if leaf.kind == "number" else value == "true" if leaf.kind == "boolean" else value)
    resource.pop("text", None)
    return written(resource).encode(), tuple(problems)


def _put(within: Any, place: list[str], value: Any) -> None:
    for name in place[:-1]:
        within = within[int(name)] if isinstance(within, list) else within[name]
    if isinstance(within, list):
        within[int(place[-1])] = value
    else:
        within[place[-1]] = value


def written(value: Any) -> str:
    """JSON (RFC 8259) with numbers as they were."""
    if isinstance(value, Digits):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{written(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)
