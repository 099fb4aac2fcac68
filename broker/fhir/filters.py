"""Whether a resource carries one of the codes that a plan asks for: read before anything is kept, and from the stored bytes.

A token is ``system|code``, ``|code`` (a coding without system), ``system|`` (any code of it) or ``code`` (any system), as in FHIR
search (R4, token). A resource without the coded element does not match: what is not known to be wanted stays behind.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
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

#: Its numbers stay in this process; see ``fastpath.Fast.many``.
_random = random.Random(os.urandom(32)).getrandbits  # noqa: S311

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


class CodeFilter:
    """Says whether stored bytes match what a plan asks for: one of the tokens of each of these elements."""

    def __init__(self, resource_type: str, wanted: Sequence[tuple[str, Any, frozenset[str]]]) -> None:
        """``wanted``: JSON name, type that msgspec reads it as, tokens."""
        names = {f"f{index}": name for index, (name, _, _) in enumerate(wanted)}
        fields: list[Any] = [(attribute, each[1], UNSET) for attribute, each in zip(names, wanted, strict=True)]
        probe = msgspec.defstruct("Probe", fields, rename=names, gc=False)
        self._type = resource_type
        self._decode = msgspec.json.Decoder(probe).decode
        self._decode_all = msgspec.json.Decoder(list[probe | int]).decode  # type: ignore[valid-type]
        self._conditions = [(attribute, each[2]) for attribute, each in zip(names, wanted, strict=True)]

    def __call__(self, body: bytes) -> bool:
        """Raises :class:`Withheld` if the codes can't be read."""
        try:
            read = self._decode(body)
        except (ValueError, RecursionError):
            read = None
        if read is None:
            raise Withheld("wrong-shape", self._type)
        return self._holds(read)

    def many(self, bodies: Sequence[bytes]) -> list[bool] | None:
        """The answer for each of several; None if one of them can't be read with the others. How they are kept apart: ``fastpath.Fast.many``."""
        fence = _random(56)
        try:
            read: list[Any] = self._decode_all(b"[" + (b",%d," % fence).join(bodies) + b"]")
        except (ValueError, RecursionError):
            return None
        if len(read) != 2 * len(bodies) - 1 or read[1::2] != [fence] * (len(bodies) - 1) or any(isinstance(each, int) for each in read[::2]):
            return None
        return [self._holds(each) for each in read[::2]]

    def _holds(self, read: Any) -> bool:
        return all(not tokens.isdisjoint(_tokens(getattr(read, attribute))) for attribute, tokens in self._conditions)


def code_filter(resource_type: str, plan: TypePlan) -> tuple[CodeFilter | None, list[Problem]]:
    """The filter of the plan's codes and categories; None if it has none. And what is wrong with them."""
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
    return CodeFilter(resource_type, wanted), problems


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
