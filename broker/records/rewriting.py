"""References within a Bundle, resolved as a FHIR transaction says, in the bytes themselves. Pure.

``urn:uuid:…`` and full URLs become ``Type/id`` of the entry they point to; a conditional reference (``Practitioner?identifier=…``)
becomes the one resource that matches. Only the string after ``"reference":`` or ``"url":`` changes; every other byte stays as given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

_STRING = re.compile(rb'("(?:reference|url)"[ \t\r\n]*:[ \t\r\n]*)("(?:[^"\\]|\\.)*+")', re.DOTALL)
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?(.*)", re.DOTALL)
_OPENING = re.compile(rb"\s*\{\s*")


class Condition(NamedTuple):
    """What a conditional reference asks for."""

    type: str
    system: str
    value: str


def conditional(target: str) -> Condition | None:
    """A conditional reference by one identifier; None for any other text. Queries by anything else are not resolved."""
    match = _CONDITIONAL.fullmatch(target)
    return None if match is None else identifier_query(match[1], match[2])


def identifier_query(type_name: str, query: str) -> Condition | None:
    """``identifier=system|value`` as a condition; None for any other query."""
    parameters = parse_qsl(query, keep_blank_values=True)
    if len(parameters) != 1 or parameters[0][0] != "identifier":
        return None
    system, bar, value = parameters[0][1].partition("|")
    return Condition(type_name, system, value) if bar and system and value else None


def targets(node: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every place in a parsed resource where a link to another entry may stand: (holder, property)."""
    queue = [node]
    while queue:
        current = queue.pop()
        if type(current) is list:
            queue.extend(current)
        elif type(current) is dict:
            for name, value in current.items():
                if type(value) is str:
                    if name in ("reference", "url"):
                        yield current, name
                elif type(value) is dict or type(value) is list:
                    queue.append(value)


def rewritten(body: bytes, changes: Mapping[str, str]) -> tuple[bytes, int]:
    """The body with these reference strings replaced, and how many were."""
    count = 0

    def replaced(match: re.Match[bytes]) -> bytes:
        nonlocal count
        written = match[2]
        old = json.loads(written) if b"\\" in written else written[1:-1].decode()
        new = changes.get(old)
        if new is None:
            return match[0]
        count += 1
        return match[1] + json.dumps(new, ensure_ascii=False).encode()

    return _STRING.sub(replaced, body), count


def with_id(body: bytes, resource_id: str) -> bytes:
    """The body of a resource that had no id, with the one that a transaction gives it, as its first property."""
    opening = _OPENING.match(body)
    if opening is None:
        raise ValueError("not an object")
    return body[: opening.end()] + b'"id":"' + resource_id.encode() + b'",' + body[opening.end() :]
