"""Reduce one resource in three calls into C: decode what stays into generated msgspec Structs, encode them, look for what needs care.

A property that is not a field is skipped without being built. Strings and booleans are typed, numbers are copied byte for byte
(``msgspec.Raw``, checked to be numbers by a second, smaller decoder), ``modifierExtension`` and ``implicitRules`` are fields that
accept no value at all. Whatever does not fit, for whatever reason, is left to the slow path, which says what is wrong or settles
it; so this file can only be too careful. Measured by benchmarks/minimise.py.
"""

from __future__ import annotations

import codecs
import os
import random
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from broker.fhir.keeplist import ID, Keep, Kind, absent

#: Fits no value: a string that matches nothing.
_NEVER = Annotated[str, Meta(pattern="(?!)")]

_LEAVES: dict[Kind, Any] = {Kind.STRING: str, Kind.NUMBER: msgspec.Raw, Kind.BOOLEAN: bool}
_is_id = ID.fullmatch
_are_ids = re.compile(rf"{ID.pattern}(?:\n{ID.pattern})*", re.ASCII).fullmatch
#: Mean bytes of a body above which it is cheaper not to copy them together (benchmarks/minimise.py).
LARGE = 1500

_ENCODER = msgspec.json.Encoder()

# Inside a JSON string a quote is preceded by a backslash, so what these find after a quote that is not stands outside of strings.
_EMPTY = re.compile(rb"\{\}")
#: An object of which nothing stayed, after its key.
_emptied = re.compile(rb'(?<=[A-Za-z0-9]":)\{\}|(?<=[A-Za-z0-9]":\[)\{\}').match
_MASKED = msgspec.json.encode(absent("masked"))
#: What stands before the ``#`` of a reference into a contained resource, and the rest of it; it is the first property that stays of a Reference.
_REFERENCE = b'"reference":"'
_fragment = re.compile(rb'#[^"\\]*",?').match

#: Its numbers stay in this process, so bodies, which come from outside, can't hold them but by chance.
_random = random.Random(os.urandom(32)).getrandbits  # noqa: S311


class _Recursive(Exception):
    """A content reference leads back to its own element, for which no Struct is made."""


class Fast:
    """Reduces stored bytes of one type to the JSON that ``slowpath.reduced`` gives; answers None where care is needed."""

    __slots__ = ("_ambiguous", "_check", "_check_all", "_decode", "_decode_all")

    def __init__(self, resource_type: str, keep: Keep) -> None:
        struct = _struct(keep, (("resourceType", Literal[resource_type], True), ("id", str, True)))
        numbers = _numbers(keep)
        check = None if numbers is None else msgspec.json.Decoder(numbers)
        self._decode = msgspec.json.Decoder(struct).decode
        self._decode_all = msgspec.json.Decoder(list[struct | int]).decode  # type: ignore[valid-type]
        self._check = None if check is None else check.decode
        self._check_all = None if check is None else check.decode_lines
        self._ambiguous = _has_other_reference(keep)

    def __call__(self, body: bytes) -> bytes | None:
        """One resource."""
        try:
            if not body.isascii():
                codecs.utf_8_decode(body, "strict", True)
            kept: Any = self._decode(body)
            out = _ENCODER.encode(kept)
            if self._check is not None:
                self._check(out)
        except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors.
            return None
        return self._settled(out) if _is_id(kept.f1) else None

    def many(self, bodies: Sequence[bytes]) -> list[bytes | None] | None:
        """Several resources in the calls that one takes; for each what :meth:`__call__` gives. None: one of them is wrong, ask one by one.

        The bodies are joined by a random number that none of them can know. Only if every second item of what was read is that number
        does each body hold one whole value, and can none have been read as part of its neighbour.
        """
        if sum([len(body) for body in bodies]) > LARGE * len(bodies):
            return [self(body) for body in bodies]
        fence = _random(56)
        joined = b"[" + (b",%d," % fence).join(bodies) + b"]"
        try:
            if not joined.isascii():
                codecs.utf_8_decode(joined, "strict", True)
            read: list[Any] = self._decode_all(joined)
            if len(read) != 2 * len(bodies) - 1 or read[1::2] != [fence] * (len(bodies) - 1):
                return None
            kept = read[::2]
            ids = "\n".join([each.f1 for each in kept])
            out = _ENCODER.encode_lines(kept)
            if self._check_all is not None:
                self._check_all(out)
        except (ValueError, RecursionError, AttributeError):  # A body that is a number has no id.
            return None
        # Numbers are all that is copied as it stood, and hold no line break; in a text it is written as an escape.
        lines: list[bytes | None] = out.split(b"\n")  # type: ignore[assignment]
        lines.pop()
        if len(lines) != len(kept) or ids.count("\n") != len(kept) - 1 or not _are_ids(ids):
            return None
        # One look at all of them nearly always spares one at each.
        if 0x3F in out or 0x23 in out or _EMPTY.search(out):
            return [self._settled(line) for line in lines]  # type: ignore[arg-type]
        return lines

    def _settled(self, out: bytes) -> bytes | None:
        """What was kept, free of references that lead nowhere and of empty objects; None if that is for the slow path to say."""
        # A search for one byte is the cheapest there is; so it stands before the exact one.
        if 0x23 in out:
            cut = _without_fragments(out)
            if cut is None or (self._ambiguous and len(cut) != len(out)):
                return None
            out = cut
        # References with a query are judged by the slow path.
        return None if 0x3F in out else _filled(out)


def _without_fragments(out: bytes) -> bytes | None:
    """The same without references into contained resources; None if one can't be told from its text."""
    pieces: list[bytes] = []
    done = 0
    place = out.find(b"#")
    while place >= 0:
        if out.endswith(_REFERENCE, 0, place):
            rest = _fragment(out, place)
            if rest is None:
                return None
            pieces.append(out[done : place - len(_REFERENCE)])
            done = rest.end()
        place = out.find(b"#", place + 1)
    return b"".join((*pieces, out[done:]))


def _filled(out: bytes) -> bytes | None:
    """The same with ``masked`` in every empty object; None if one is a further item of an array, or a text that looks like one."""
    if not _EMPTY.search(out):
        return out
    pieces: list[bytes] = []
    done = 0
    for empty in _EMPTY.finditer(out):
        start = empty.start()
        if _emptied(out, start) is None:
            return None
        pieces += (out[done:start], _MASKED)
        done = start + 2
    return b"".join((*pieces, out[done:]))


def fast(resource_type: str, keep: Keep) -> Fast | None:
    """The fast path of a type; None if it needs the slow path anyway: it changes values, or is defined by itself."""
    try:
        if _changes(keep, ()):
            return None
    except _Recursive:
        return None
    return Fast(resource_type, keep)


def _changes(keep: Keep, above: tuple[Keep, ...]) -> bool:
    if keep in above:
        raise _Recursive
    return any(
        part.masked
        or part.first
        or part.change
        or part.shift
        or (part.dates and part.inside is None)
        or (part.inside is not None and _changes(part.inside, (*above, keep)))
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
