"""What a bulk export is asked for (Bulk Data Access 3.0.0, ``$export``): by GET parameters or by a POSTed Parameters resource. Pure.

The grammar of every query holds here too: what isn't served is refused, never ignored, whatever ``Prefer`` says (attack A26).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from broker.fhir import definitions
from broker.release.answers import Kind, Refusal
from broker.release.filters import SEARCHABLE, Filters, is_instant, readable
from broker.release.query import ID

FORMATS = ("application/fhir+ndjson", "application/ndjson", "ndjson")
PARAMETERS = ("_outputFormat", "_since", "_type", "_elements", "_typeFilter")
#: By POST only: naming patients in an address would write them into logs.
POSTED = (*PARAMETERS, "patient")
MAX_PATIENTS = 10_000
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ELEMENT = re.compile(r"[a-z][A-Za-z]{0,63}")


@dataclass(frozen=True)
class Asked:
    """One export as asked. Empty means all that may leave."""

    types: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    #: For a type, the sets of filters of which a resource must fit one.
    within: tuple[tuple[str, tuple[Filters, ...]], ...] = ()
    since: str | None = None  #: as written in ``meta.lastUpdated``: UTC with milliseconds
    patients: tuple[str, ...] | None = None  #: FHIR ids; None: all of the grant

    def to_json(self) -> dict[str, Any]:
        """What is kept of it; without the patients, whose ids are kept blinded and elsewhere."""
        within = [[kind, [[list(one) for one in alternative] for alternative in alternatives]] for kind, alternatives in self.within]
        return {"types": list(self.types), "elements": list(self.elements), "within": within, "since": self.since}

    @classmethod
    def from_json(cls, form: dict[str, Any]) -> Asked:
        """The inverse of :meth:`to_json`."""
        within = tuple((kind, tuple(tuple((name, value) for name, value in one) for one in alternatives)) for kind, alternatives in form["within"])
        return cls(tuple(form["types"]), tuple(form["elements"]), within, form["since"])


def _bad(detail: str) -> Refusal:
    return Refusal(Kind.BAD_QUERY, ("query.not-allowed",), detail)


def read(pairs: Sequence[tuple[str, str]], *, posted: bool = False) -> Asked | Refusal:
    """The parameters of a kick-off. A repeated parameter is one list, as the IG says of ``_type``, ``_elements`` and ``_typeFilter``."""
    allowed = POSTED if posted else PARAMETERS
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in allowed:
            shown = name if re.fullmatch(r"[A-Za-z_$][\w.:\-]{0,40}", name) else "(unreadable)"
            return _bad(f"The parameter {shown} is not served here. Served: {', '.join(allowed)}.")
        if not value or len(value) > 4096:
            return _bad(f"The parameter {name} is empty or too long.")
        given.setdefault(name, []).append(value)
    if any(len(given.get(name, ())) > 1 for name in ("_outputFormat", "_since")):
        return _bad("A format and a moment are given once.")
    if given.get("_outputFormat", [FORMATS[0]])[0] not in FORMATS:
        return _bad(f"_outputFormat is one of {', '.join(FORMATS)}.")
    types, elements = _listed(given, "_type"), _listed(given, "_elements")
    if any(not _TYPE.fullmatch(name) or name not in definitions.resource_types() for name in types):
        return _bad("_type lists FHIR R4 resource types, separated by commas.")
    if any(not _ELEMENT.fullmatch(name) for name in elements):
        return _bad("_elements lists names of elements, separated by commas and without their type.")
    since = given.get("_since", [None])[0]
    if since is not None and not is_instant(since):
        return _bad("_since is an instant with its zone, such as 2026-01-01T00:00:00Z.")
    within = _filters(given.get("_typeFilter", []), types)
    if isinstance(within, Refusal):
        return within
    patients = [one.removeprefix("Patient/") for one in given.get("patient", [])]
    if len(patients) > MAX_PATIENTS or not all(ID.fullmatch(one) for one in patients):
        return _bad("patient is a reference such as Patient/123, at most 10000 of them.")
    return Asked(types, elements, within, None if since is None else _stamp(since), tuple(sorted(set(patients))) if patients else None)


def _stamp(instant: str) -> str:
    return stamp(datetime.fromisoformat(instant))


def stamp(moment: datetime) -> str:
    """A moment as ``meta.lastUpdated`` has it, so that the two compare as text."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _listed(given: dict[str, list[str]], name: str) -> tuple[str, ...]:
    return tuple(sorted({one for value in given.get(name, ()) for one in value.split(",")}))


def _filters(values: Sequence[str], types: Sequence[str]) -> tuple[tuple[str, tuple[Filters, ...]], ...] | Refusal:
    """``_typeFilter``: ``Type?parameter=value&…``, several of one type are alternatives. A comma between two is read, one in a value too."""
    found: dict[str, list[Filters]] = {}
    for value in values:
        for one in re.split(r",(?=[A-Z][A-Za-z]+\?)", value):
            kind, mark, query = one.partition("?")
            own = SEARCHABLE.get(kind, {})
            try:
                pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=10)
            except ValueError:
                pairs = []
            if (
                not mark
                or not pairs
                or (types and kind not in types)
                or any(name not in own or not readable(own[name], text) for name, text in pairs)
            ):
                return _bad("_typeFilter takes searches that are served for the type, such as Observation?category=laboratory.")
            found.setdefault(kind, []).append(tuple(pairs))
    return tuple((kind, tuple(alternatives)) for kind, alternatives in sorted(found.items()))


def pairs_of(body: Any) -> list[tuple[str, str]] | Refusal:
    """The parameters of a Parameters resource as pairs (R4 parameters.html): each with one value, a patient as a reference."""
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters" or not isinstance(body.get("parameter", []), list):
        return _bad("The body of $export is a Parameters resource.")
    pairs: list[tuple[str, str]] = []
    for one in body.get("parameter", []):
        values = {key: value for key, value in one.items() if key.startswith("value")} if isinstance(one, dict) else {}
        if not values or len(values) != 1 or not isinstance(one.get("name"), str):
            return _bad("Each parameter has a name and one value.")
        ((key, value),) = values.items()
        if key == "valueReference":
            value = value.get("reference") if isinstance(value, dict) else None
        if not isinstance(value, str) or key not in ("valueString", "valueReference", "valueInstant", "valueCode", "valueUri"):
            return _bad("Values of parameters are strings, codes, instants and references.")
        pairs.append((one["name"], value))
    return pairs
