"""Reduce one resource as Python objects: the judge of everything the fast path does not settle, and the only path that changes values.

Numbers are kept as the digits that stood in the stored bytes (``msgspec.Raw``), so 13.20 stays 13.20 and 0.10 stays 0.10. Whatever has
another JSON type than FHIR gives it withholds the resource. An object of which nothing stays says that it was ``masked``; a mandatory
element that is missing gets its stand-in: ``masked`` where the plan cut it, ``unknown`` where the source had no value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from broker.fhir.keeplist import ID, Keep, Kind, Need, Part, absent
from broker.fhir.transforms import days_of, generalised, masked, shifted
from broker.fhir.withheld import Withheld

#: ``(resource type, id) → id`` of this recipient; must give the same answer for the same question throughout a release. Asked for
#: ``("date-shift", "")`` it gives any text that is the same for the patient's whole release, and that nobody else can tell.
Pseudonym = Callable[[str, str], str]

_LOCAL_REFERENCE = re.compile(r"([A-Z][A-Za-z]{1,40})/([A-Za-z0-9.\-]{1,64})(?:/_history/[A-Za-z0-9.\-]{1,64})?", re.ASCII)
_TYPES: dict[Kind, Any] = {Kind.STRING: str, Kind.NUMBER: msgspec.Raw, Kind.BOOLEAN: bool, Kind.OBJECT: dict}
_GONE: Any = object()  #: Nothing of it stays.
_MASKED: Any = object()  #: Stays as an element without a value.

_encode = msgspec.json.Encoder().encode


def _number(digits: str) -> msgspec.Raw:
    return msgspec.Raw(digits.encode())


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def parsed(body: bytes) -> dict[str, Any] | None:
    """The resource with its numbers as raw digits; None if it is no JSON object in UTF-8 or too deep for Python."""
    try:
        value = json.loads(body.decode(), parse_int=_number, parse_float=_number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def reduced(resource_type: str, keep: Keep, body: bytes, *, pseudonymous: bool, pseudonym: Pseudonym | None) -> bytes:
    """The resource as compact JSON, ``resourceType`` and ``id`` first and without ``meta``. Raises :class:`Withheld`."""
    given = parsed(body)
    if given is None:
        raise Withheld("unreadable", resource_type)
    if given.get("resourceType") != resource_type:
        raise Withheld("wrong-type", resource_type)
    if "implicitRules" in given:
        raise Withheld("implicit-rules", f"{resource_type}.implicitRules")
    replace = _Disguise(resource_type, pseudonym) if pseudonymous else None
    own = given.get("id")
    if not isinstance(own, str) or not ID.fullmatch(own):
        raise Withheld("no-id", f"{resource_type}.id")
    out = {"resourceType": resource_type, "id": replace(resource_type, own) if replace else own}
    out |= _object(keep, given, replace)
    try:
        return _encode(out)
    except UnicodeEncodeError:
        pass  # Raised below, so that the exception does not carry the text.
    raise Withheld("unreadable", resource_type)  # A lone surrogate, written as an escape.


class _Disguise:
    """The caller's function, trusted only as far as its answers are ids that differ from what they hide; and the days that dates move by."""

    __slots__ = ("_days", "_path", "_pseudonym")

    def __init__(self, resource_type: str, pseudonym: Pseudonym | None) -> None:
        if pseudonym is None:
            raise Withheld("no-pseudonym", f"{resource_type}.id")
        self._path, self._pseudonym, self._days = f"{resource_type}.id", pseudonym, 0

    def __call__(self, target: str, own: str) -> str:
        answer = self._pseudonym(target, own)
        if not isinstance(answer, str) or not ID.fullmatch(answer) or answer == own:
            raise Withheld("no-pseudonym", self._path)
        return answer

    @property
    def days(self) -> int:
        """Never nought."""
        self._days = self._days or days_of(self("date-shift", ""))
        return self._days


def _object(keep: Keep, given: dict[str, Any], replace: _Disguise | None) -> dict[str, Any]:
    if "modifierExtension" in given:
        raise Withheld("modifier-extension", f"{keep.path}.modifierExtension")
    out: dict[str, Any] = {}
    for part in keep.parts:
        if part.name in given:
            value = _part(part, given[part.name], replace)
            if value is _MASKED:
                out[f"_{part.name}"] = absent("masked")
            elif value is not _GONE:
                out[part.name] = value
    if keep.type == "Reference" and "reference" in out:
        _refer(out, replace)
    for need in keep.needs:
        if not any(name in out or f"_{name}" in out for name in need.names):
            out[need.key] = need.value if _was_cut(need, given) else _unknown(need.value)
    return out


def _was_cut(need: Need, given: dict[str, Any]) -> bool:
    """Whether the plan took the value away; else the source had none. An element of which the plan keeps nothing is not looked for."""
    return not need.names or any(name in given for name in need.source)


def _unknown(stand_in: Any) -> Any:
    if isinstance(stand_in, list):
        return [_unknown(each) for each in stand_in]
    return stand_in | absent("unknown")


def _part(part: Part, value: Any, replace: _Disguise | None) -> Any:
    if not part.many:
        return _value(part, value, replace)
    if not isinstance(value, list):
        raise Withheld("wrong-shape", part.path)
    # A null holds the place of a value that has an extension only (R4 JSON, arrays of primitives); both go.
    items = [each for each in value if each is not None] if part.kind is not Kind.OBJECT else value
    kept = [_value(part, each, replace) for each in (items[: part.first] if part.first else items)]
    return [each for each in kept if each is not _MASKED] or _GONE


def _value(part: Part, value: Any, replace: _Disguise | None) -> Any:
    if not isinstance(value, _TYPES[part.kind]):
        raise Withheld("wrong-shape", part.path)
    if part.inside is not None:
        value = _object(part.inside, value, replace)
    else:
        if part.shift and replace is not None:
            value = shifted(value, replace.days)
        if part.dates and value is not None:
            if part.type == "instant":
                return _MASKED  # An instant has no coarser form (R4 datatypes, instant).
            value = generalised(value, part.dates)
        if value is None:
            raise Withheld("bad-date", part.path)
    if part.change is not None:
        try:
            value = part.change(value)
        except (ValueError, ArithmeticError):
            value = None
        if value is None:
            raise Withheld("bad-date" if part.type in ("date", "dateTime") else "wrong-shape", part.path)
    if part.masked:
        value = masked(value, part.type)
    return absent("masked") if value == {} else value


def _refer(out: dict[str, Any], replace: _Disguise | None) -> None:
    """Drop a reference into a contained resource (they all go), or one with a query in it (it can hold an identifier); replace the id."""
    reference: str = out["reference"]
    local = _LOCAL_REFERENCE.fullmatch(reference)
    if reference.startswith("#") or "?" in reference or (replace and not local):
        del out["reference"]
    elif replace and local:
        out["reference"] = f"{local[1]}/{replace(local[1], local[2])}"
