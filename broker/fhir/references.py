"""References that lead to what the recipient may not fetch are taken out, whole: an id tells that something is there.

An Encounter may leave while the Condition that it names as its diagnosis stays behind; ``Condition/17`` would then say that there is one. So a
reference stays only if the plan lets its target leave to the same recipient, or if its type tells nothing of the patient
(``plan.NOBODYS_TYPES``). What the target is, and whether there is one, makes no difference: a reference into nothing goes as well.

The Reference goes with its ``type``, and so does the item around it that is not valid without it (``Encounter.diagnosis``, a section's
entry). Only an element that FHIR makes mandatory up to the resource itself is answered by ``data-absent-reason``: it is always there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import msgspec

from broker.fhir.keeplist import Keep, Kind, Need, Part
from broker.fhir.plan import NOBODYS_TYPES
from broker.fhir.slowpath import parsed

#: What stands before the target of a reference, in JSON as the minimiser writes it. Within a text its quotes would be escaped.
_BEFORE = b'"reference":"'
_RESTFUL = re.compile(r"(?:.*/)?([A-Z][A-Za-z]{1,40})/([A-Za-z0-9.\-]{1,64})(?:/_history/[A-Za-z0-9.\-]{1,64})?", re.ASCII | re.DOTALL)
_LOCAL = re.compile(r"([A-Z][A-Za-z]{1,40})/([A-Za-z0-9.\-]{1,64})(?:/_history/[A-Za-z0-9.\-]{1,64})?", re.ASCII)
_GONE: Any = object()

_encode = msgspec.json.Encoder().encode
_properties = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Target(NamedTuple):
    """What a reference leads to."""

    type: str
    id: str


def mentions(body: bytes) -> list[bytes]:
    """Everything that a reduced resource has as a ``reference``, as it is written; what an escape interrupts ends there."""
    return [part[: part.find(b'"')] for part in body.split(_BEFORE)[1:]]


def mentioned(bodies: Iterable[bytes]) -> set[bytes]:
    """What :func:`mentions` gives for all of these."""
    found: set[bytes] = set()
    for body in bodies:
        found.update(mentions(body))
    return found


def target_of(reference: bytes) -> Target | None:
    """The resource that a reference of this server leads to; None for everything else (another server's, or none at all)."""
    match = _LOCAL.fullmatch(reference.decode("utf-8", "replace"))
    return None if match is None else Target(match[1], match[2])


def tells_nothing(reference: bytes) -> bool:
    """Whether a reference is to something of nobody, here or on another server."""
    match = _RESTFUL.fullmatch(reference.decode("utf-8", "replace"))
    return match is not None and match[1] in NOBODYS_TYPES


def cut(keep: Keep, body: bytes, gone: Collection[bytes]) -> bytes:
    """A reduced resource without the references that are among ``gone`` (as :func:`mentions` gives them); itself if it has none.

    Only the properties in which one of them stands are read; the others are copied as they are.
    """
    leaving = frozenset(gone)
    if leaving.isdisjoint(mentions(body)):
        return body
    resource: dict[str, Any] = _properties(body)
    took = False
    for part in keep.parts:
        written = resource.get(part.name)
        if part.inside is None or written is None or leaving.isdisjoint(mentions(bytes(written))):
            continue
        holder = parsed(b'{"":%b}' % bytes(written))
        assert holder is not None  # noqa: S101  (the minimiser has written it)
        took |= _part(part, holder, "", leaving)
        if holder:
            resource[part.name] = holder[""]
        else:
            del resource[part.name]
    if took:
        _answer_for(keep, resource)
    return _encode(resource)


def _object(keep: Keep, value: dict[str, Any], gone: frozenset[bytes]) -> bool:
    """Take the references out of an object, in place; whether it can still stand."""
    if keep.type == "Reference":
        return not _leads_astray(value, gone)
    took = False
    for part in keep.parts:
        if part.kind is Kind.OBJECT and part.inside is not None and part.name in value:
            took |= _part(part, value, part.name, gone)
    if took and any(not _stands(need, value) for need in keep.needs):
        return False
    return bool(value) or not took


def _part(part: Part, value: dict[str, Any], name: str, gone: frozenset[bytes]) -> bool:
    """Take the references out of what an object holds under a name, in place; whether something of it went whole."""
    assert part.inside is not None  # noqa: S101  (asked before)
    inside = part.inside
    if not part.many:
        if _object(inside, value[name], gone):
            return False
        del value[name]
        return True
    items = [one for one in value[name] if _object(inside, one, gone)]
    took = len(items) < len(value[name])
    if items:
        value[name] = items
    else:
        del value[name]
    return took


def _stands(need: Need, value: dict[str, Any]) -> bool:
    """Whether a mandatory element is there, or an answer for it."""
    return any(name in value or f"_{name}" in value for name in (*need.names, need.key))


def _answer_for(keep: Keep, resource: dict[str, Any]) -> None:
    """Where a mandatory element of the resource itself went, say so."""
    for need in keep.needs:
        if not _stands(need, resource):
            resource[need.key] = need.value


def _leads_astray(value: dict[str, Any], gone: frozenset[bytes]) -> bool:
    reference = value.get("reference")
    return isinstance(reference, str) and _as_mentioned(reference) in gone


def _as_mentioned(reference: str) -> bytes:
    """A reference as :func:`mentioned` would give it: as it is written in JSON, up to the first quote."""
    written: bytes = _encode(reference)[1:]
    return written[: written.find(b'"')]
