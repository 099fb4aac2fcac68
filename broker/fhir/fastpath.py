"""Reduce one resource in three calls into C: decode what stays into generated msgspec Structs, encode them, look for what needs care.

A property that is not a field is skipped without being built. Strings and booleans are typed, numbers are copied byte for byte
(``msgspec.Raw``, checked to be numbers by a second, smaller decoder), ``modifierExtension`` and ``implicitRules`` are fields that
accept no value at all. Whatever does not fit, for whatever reason, is left to the slow path, which says what is wrong or settles
it; so this file can only be too careful. Measured by benchmarks/minimise.py.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from broker.fhir.keeplist import ID, Keep, Kind, absent

#: Fits no value: a string that matches nothing.
_NEVER = Annotated[str, Meta(pattern="(?!)")]

_LEAVES: dict[Kind, Any] = {Kind.STRING: str, Kind.NUMBER: msgspec.Raw, Kind.BOOLEAN: bool}
_is_id = ID.fullmatch

# Inside a JSON string a quote is preceded by a backslash, so what these find after a quote that is not stands outside of strings.
_EMPTY = re.compile(rb"\{\}")
#: An object of which nothing stayed, after its key; the look behind comes last because a pattern that begins with a literal is found faster.
_EMPTIED = re.compile(rb'\{\}(?:(?<=[A-Za-z0-9]":\{\})|(?<=[A-Za-z0-9]":\[\{\}))')
_MASKED = msgspec.json.encode(absent("masked"))
#: A reference into a contained resource, which is the first property that stays of a Reference.
_INTO_CONTAINED = re.compile(rb'"reference":"#[^"\\]*",?')


class _Recursive(Exception):
    """A content reference leads back to its own element, for which no Struct is made."""


def fast(resource_type: str, keep: Keep) -> Callable[[bytes], bytes | None] | None:
    """A function from stored bytes to reduced JSON (as ``slowpath.reduced`` gives it), or to None where care is needed.

    None instead of a function if the type needs the slow path anyway: it changes values, or is defined by itself.
    """
    try:
        if _changes(keep, ()):
            return None
    except _Recursive:
        return None
    decode = msgspec.json.Decoder(_struct(keep, (("resourceType", Literal[resource_type], True), ("id", str, True)))).decode
    encode = msgspec.json.Encoder().encode
    numbers = _numbers(keep)
    check = msgspec.json.Decoder(numbers).decode if numbers is not None else None
    ambiguous = _has_other_reference(keep)

    def reduce(body: bytes) -> bytes | None:
        try:
            if not body.isascii():
                codecs.utf_8_decode(body, "strict", True)
            kept: Any = decode(body)
            out = encode(kept)
            if check is not None:
                check(out)
        except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors.
            return None
        # A membership test of one byte is the cheapest question there is, so it stands before the exact one.
        if 0x23 in out and b'"reference":"#' in out:
            if ambiguous:
                return None
            out = _INTO_CONTAINED.sub(b"", out)
        if _EMPTY.search(out):
            out = _EMPTIED.sub(_MASKED, out)
            if _EMPTY.search(out):
                return None  # A further item of an array, or a text that looks like one.
        # References with a query, and ids that are none, are judged by the slow path.
        if 0x3F in out or not _is_id(kept.f1):
            return None
        return out

    return reduce


def _changes(keep: Keep, above: tuple[Keep, ...]) -> bool:
    if keep in above:
        raise _Recursive
    return any(
        part.masked or part.first or (part.dates and part.inside is None) or (part.inside is not None and _changes(part.inside, (*above, keep)))
        for part in keep.parts
    )


def _has_other_reference(keep: Keep) -> bool:
    """Whether a property called ``reference`` is kept that belongs to no Reference, such as the uri in Immunization.education."""
    return any(
        (part.name == "reference" and part.kind is Kind.STRING and keep.type != "Reference")
        or (part.inside is not None and _has_other_reference(part.inside))
        for part in keep.parts
    )


def _struct(keep: Keep, root: tuple[tuple[str, Any, bool], ...] = ()) -> type[msgspec.Struct]:
    """The Struct of one object; ``root`` holds the fields that a resource begins with."""
    needs = [(need, tuple(part.name for part in keep.parts if part.name in need.names)) for need in keep.needs]
    alone = {names[0] for _, names in needs if len(names) == 1}
    fields = list(root)
    for part in keep.parts:
        one = _LEAVES[part.kind] if part.inside is None else _struct(part.inside)
        fields.append((part.name, _listed(one, many=part.many), part.name in alone))
    cut = [need for need, names in needs if not names]
    fields += [(need.key, msgspec.Raw, False) for need in cut]
    fields += [(name, _NEVER, False) for name in (("modifierExtension", "implicitRules") if root else ("modifierExtension",))]
    stand_ins = tuple((need.key, msgspec.json.encode(need.value)) for need in cut)
    return _made(tuple(fields), stand_ins, tuple(names for _, names in needs if len(names) > 1))


@lru_cache(maxsize=4096)
def _made(
    fields: tuple[tuple[str, Any, bool], ...], stand_ins: tuple[tuple[str, bytes], ...], choices: tuple[tuple[str, ...], ...]
) -> type[msgspec.Struct]:
    """A Struct class; equal ones are made once, since a CodeableConcept looks the same in every plan."""
    attributes = {name: f"f{index}" for index, (name, _, _) in enumerate(fields)}
    after = _after(
        [(attributes[name], msgspec.Raw(value)) for name, value in stand_ins],
        [tuple(attributes[name] for name in names) for names in choices],
    )
    return msgspec.defstruct(
        "Kept",
        [(attributes[name], type_) if required else (attributes[name], type_ | UnsetType, UNSET) for name, type_, required in fields],
        rename={attribute: name for name, attribute in attributes.items()},
        kw_only=True,
        gc=False,
        namespace={"__post_init__": after} if after else {},
    )


def _listed(one: Any, *, many: bool) -> Any:
    return Annotated[list[one], Meta(min_length=1)] if many else one


def _after(stand_ins: list[tuple[str, msgspec.Raw]], choices: list[tuple[str, ...]]) -> Callable[[Any], None] | None:
    """What msgspec runs on each decoded object: write the stand-ins over whatever was read there; one of each mandatory choice must be there."""
    if not stand_ins and not choices:
        return None

    def after(self: Any) -> None:
        for attribute, value in stand_ins:
            setattr(self, attribute, value)
        for names in choices:
            if all(getattr(self, name) is UNSET for name in names):
                raise ValueError

    return after


def _numbers(keep: Keep) -> type[msgspec.Struct] | None:
    """A Struct that reads only the numbers of what was kept, and reads them as numbers."""
    fields: list[tuple[str, Any, bool]] = []
    for part in keep.parts:
        one: Any = float if part.kind is Kind.NUMBER else _numbers(part.inside) if part.inside is not None else None
        if one is not None:
            fields.append((part.name, _listed(one, many=part.many), False))
    return _made(tuple(fields), (), ()) if fields else None
