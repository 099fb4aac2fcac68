"""Whether a resource carries one of the codes that a plan asks for: read before anything is kept, and from the stored bytes.

A token is ``system|code``, ``|code`` (a coding without system), ``system|`` (any code of it) or ``code`` (any system), as in FHIR
search (R4, token). A resource without the coded element does not match: what is not known to be wanted stays behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from broker.errors import Problem
from broker.fhir import definitions
from broker.fhir.keeplist import json_name
from broker.fhir.plan import TypePlan
from broker.fhir.withheld import Withheld

#: Elements that say what a resource is about, first found first used.
CODE_ELEMENTS = ("code", "vaccineCode", "medication", "type")

_CODED = ("CodeableConcept", "Coding", "code")


class _Coding(msgspec.Struct, gc=False):
    system: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class _Concept(msgspec.Struct, gc=False):
    coding: list[_Coding] | UnsetType = UNSET


_TYPES: dict[str, Any] = {"CodeableConcept": _Concept, "Coding": _Coding, "code": str}
_LISTS: dict[str, Any] = {"CodeableConcept": list[_Concept], "Coding": list[_Coding], "code": list[str]}


def coded_element(resource_type: str, names: Iterable[str]) -> tuple[str, str, bool] | None:
    """(JSON name, type, repeats) of the first of these elements that the type has and that holds a code."""
    elements = definitions.raw_elements(resource_type)
    for name in names:
        raw = elements.get(name, {})
        given = next((each for each in _CODED if each in raw.get("types", ())), None)
        if given is not None:
            return json_name(name, given, choice=raw.get("choice", False)), given, raw["max"] != "1"
    return None


def code_filter(resource_type: str, plan: TypePlan) -> tuple[Callable[[bytes], bool] | None, list[Problem]]:
    """A function that says whether stored bytes match the plan's codes and categories; None if it has none. And what is wrong with them."""
    problems: list[Problem] = []
    wanted: list[tuple[str, Any, frozenset[str]]] = []
    for what, tokens, names in (("codes", plan.codes, CODE_ELEMENTS), ("categories", plan.categories, ("category",))):
        if not tokens:
            continue
        found = coded_element(resource_type, names)
        if found is None:
            problems.append(Problem(f"types.{resource_type}.{what}", "not-applicable", "this type has no such coded element to filter by"))
            continue
        name, given, many = found
        wanted.append((name, (_LISTS if many else _TYPES)[given] | UnsetType, frozenset(tokens)))
    if problems or not wanted:
        return None, problems
    fields: list[Any] = [(f"f{index}", each[1], UNSET) for index, each in enumerate(wanted)]
    probe = msgspec.defstruct("Probe", fields, rename={f"f{index}": each[0] for index, each in enumerate(wanted)}, gc=False)
    decode = msgspec.json.Decoder(probe).decode
    conditions = [(f"f{index}", each[2]) for index, each in enumerate(wanted)]

    def matches(body: bytes) -> bool:
        try:
            read = decode(body)
        except (ValueError, RecursionError):
            read = None
        if read is None:
            raise Withheld("wrong-shape", resource_type)
        return all(not tokens.isdisjoint(_tokens(getattr(read, attribute))) for attribute, tokens in conditions)

    return matches, problems


def _tokens(value: Any) -> Iterator[str]:
    """Every token that would match the value."""
    if isinstance(value, list):
        for each in value:
            yield from _tokens(each)
    elif isinstance(value, _Concept):
        yield from _tokens(value.coding)
    elif isinstance(value, str):
        yield from (value, f"|{value}")
    elif isinstance(value, _Coding):
        system = value.system if isinstance(value.system, str) else ""
        if isinstance(value.code, str):
            yield from (value.code, f"{system}|{value.code}")
        if system:
            yield f"{system}|"
