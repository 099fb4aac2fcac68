"""The query grammar: what a recipient may write after the question mark. Everything else is refused, never ignored.

No chaining, no ``_has``, no ``_include``, no modifiers, no sorting, no repeated parameter: search is an oracle even where results
are filtered. What a parameter looks at is in ``filters``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from broker.fhir import definitions
from broker.release.answers import Kind, Refusal
from broker.release.filters import SEARCHABLE, Filters, date_range, is_date, is_instant, readable
from broker.release.shaping import ALWAYS

MAX_COUNT = 500
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ELEMENT = re.compile(r"[a-z][A-Za-z]{0,63}")

#: What a search of any type takes besides its own parameters; ``patient`` names the one patient it is about.
CONTROL = ("_id", "_lastUpdated", "_elements", "_count", "_total", "_page", "_format")
EVERYTHING = ("_type", "_since", "start", "end", "_count", "_page", "_format")
READ = ("_elements", "_format")
#: What ``_format`` may be (R4 http.html#parameters): JSON is the one format.
JSON_FORMATS = ("json", "application/json", "application/fhir+json", "text/json")


@dataclass(frozen=True)
class Wanted:
    """One call, understood: which patient or resource, which types, which filters, which page."""

    patient: str | None = None
    types: tuple[str, ...] = ()
    id: str | None = None
    filters: tuple[tuple[str, str], ...] = ()
    count: int | None = None
    after: str | None = None  #: sealed page link as given
    everything: bool = False
    elements: tuple[str, ...] = ()  #: of ``_elements``: which the caller wants to see; empty: all that may leave
    total: bool = False  #: whether the number of all that fit is asked for
    #: What the token's granular scopes narrow types to; put in when the token has been read (``filters.matcher``).
    within: tuple[tuple[str, tuple[Filters, ...]], ...] = ()
    #: What the request was, for the page seal and the self link.
    path: str = ""
    shown: tuple[tuple[str, str], ...] = field(default=())


def _bad(detail: str) -> Refusal:
    return Refusal(Kind.BAD_QUERY, ("query.not-allowed",), detail)


def _patient(value: str) -> str | None:
    plain = value.removeprefix("Patient/")
    return plain if ID.fullmatch(plain) else None


def parse(allowed: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, str] | Refusal:
    """The parameters as a mapping, each allowed and each once."""
    seen: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            return _bad(f"The parameter {_safe(name)} is not served here. Served: {', '.join(allowed)}.")
        if name in seen:
            return _bad(f"The parameter {name} is given more than once.")
        if not value or len(value) > 4096:
            return _bad(f"The parameter {name} is empty or too long.")
        seen[name] = value
    if seen.get("_format", "json") not in JSON_FORMATS:
        return Refusal(Kind.NOT_ACCEPTABLE, ("query.format",))
    return seen


def _safe(name: str) -> str:
    """A parameter's name as an error may repeat it: what a name can look like, or nothing."""
    return name if re.fullmatch(r"[A-Za-z_$][\w.:\-]{0,40}", name) else "(unreadable)"


def _controlled(resource_type: str, given: Mapping[str, str]) -> tuple[int | None, tuple[str, ...], bool] | Refusal:
    """``_count``, ``_elements`` and whether ``_total`` asks for a number; ``_lastUpdated`` is looked at too."""
    count = None
    if "_count" in given:
        if not re.fullmatch(r"[0-9]{1,6}", given["_count"], re.ASCII) or int(given["_count"]) == 0:
            return _bad("_count must be a whole number of at least 1.")
        count = min(int(given["_count"]), MAX_COUNT)
    if given.get("_total", "none") not in ("none", "estimate", "accurate"):
        return _bad("_total is none, estimate or accurate.")
    if "_lastUpdated" in given and date_range(given["_lastUpdated"]) is None:
        return _bad("The value of _lastUpdated can't be read.")
    elements = tuple(sorted(set(given["_elements"].split(",")))) if "_elements" in given else ()
    known = definitions.table()["types"].get(resource_type, {}).get("elements", {})
    if any(not _ELEMENT.fullmatch(name) or (name not in known and name not in ALWAYS) for name in elements):
        return _bad("_elements lists elements of the type by their names in FHIR R4, separated by commas.")
    return count, elements, given.get("_total", "none") != "none"


def allowed(resource_type: str) -> tuple[str, ...]:
    """The parameters that a search of the type takes."""
    return CONTROL if resource_type == "Patient" else ("patient", *CONTROL, *SEARCHABLE.get(resource_type, {}))


def search(resource_type: str, pairs: Sequence[tuple[str, str]]) -> Wanted | Refusal:
    """``GET /fhir/{Type}?…`` and ``POST /fhir/{Type}/_search``. ``patient`` is required; for Patient, ``_id`` names it."""
    own = SEARCHABLE.get(resource_type, {})
    given = parse(allowed(resource_type), pairs)
    if isinstance(given, Refusal):
        return given
    controlled = _controlled(resource_type, given)
    if isinstance(controlled, Refusal):
        return controlled
    count, elements, total = controlled
    named = given.get("_id") if resource_type == "Patient" else given.get("patient")
    if named is None:
        return _bad(f"Name one patient: {'_id' if resource_type == 'Patient' else 'patient'}=<id>.")
    patient = _patient(named)
    resource_id = given.get("_id")
    if patient is None or (resource_id is not None and not ID.fullmatch(resource_id)):
        return _bad("An id has up to 64 letters, digits, dashes and dots, and one call names one.")
    for name, parameter in own.items():
        if name in given and not readable(parameter, given[name]):
            return _bad(f"The value of {name} can't be read.")
    filters = tuple((name, given[name]) for name in ("_lastUpdated", *own) if name in given)
    shown = tuple((name, given[name]) for name in allowed(resource_type) if name in given and name not in ("_page", "_format"))
    return Wanted(
        patient=patient, types=(resource_type,), id=None if resource_type == "Patient" else resource_id, filters=filters,
        count=count, after=given.get("_page"), elements=elements, total=total, path=resource_type, shown=shown,
    )  # fmt: skip


def everything(patient: str, pairs: Sequence[tuple[str, str]]) -> Wanted | Refusal:
    """``GET /fhir/Patient/{id}/$everything`` with ``_type``, ``_since``, ``start``, ``end`` and ``_count`` (R4 patient-operation-everything)."""
    given = parse(EVERYTHING, pairs)
    if isinstance(given, Refusal):
        return given
    controlled = _controlled("Patient", given)
    if isinstance(controlled, Refusal):
        return controlled
    types = tuple(sorted(set(given["_type"].split(",")))) if "_type" in given else ()
    if any(not _TYPE.fullmatch(name) for name in types):
        return _bad("_type lists FHIR resource types, separated by commas.")
    if "_since" in given and not is_instant(given["_since"]):
        return _bad("_since is an instant with its zone, such as 2026-01-01T00:00:00Z.")
    if any(name in given and not is_date(given[name]) for name in ("start", "end")):
        return _bad("start and end are dates, such as 2026-01-01.")
    if not ID.fullmatch(patient):
        return Refusal(Kind.REFUSED, ("patient.unreadable-id",))
    filters = tuple((name, given[name]) for name in ("_since", "start", "end") if name in given)
    shown = tuple((name, given[name]) for name in EVERYTHING if name in given and name not in ("_page", "_format"))
    return Wanted(
        patient=patient, types=types, filters=filters, count=controlled[0], after=given.get("_page"), everything=True,
        path=f"Patient/{patient}/$everything", shown=shown,
    )  # fmt: skip


def read(resource_type: str, resource_id: str, pairs: Sequence[tuple[str, str]]) -> Wanted | Refusal:
    """``GET /fhir/{Type}/{id}``."""
    given = parse(READ, pairs)
    if isinstance(given, Refusal):
        return given
    controlled = _controlled(resource_type, given)
    if isinstance(controlled, Refusal):
        return controlled
    if not ID.fullmatch(resource_id):
        return Refusal(Kind.NOT_FOUND, ("resource.unreadable-id",))
    return Wanted(
        patient=resource_id if resource_type == "Patient" else None,
        types=(resource_type,), id=resource_id, elements=controlled[1], path=f"{resource_type}/{resource_id}",
    )  # fmt: skip


def narrowed(wanted: Wanted, categories: Mapping[str, Sequence[str]]) -> Wanted:
    """The call as far as granular scopes reach: of the types named, resources of one of these categories alone."""
    if not categories:
        return wanted
    within = tuple((name, tuple((("category", one),) for one in found)) for name, found in sorted(categories.items()))
    return replace(wanted, within=within)


def hidden(wanted: Wanted, kept: Mapping[str, Sequence[str]]) -> Refusal | None:
    """The refusal of a search on an element that the grant does not let be seen; ``kept``: elements of each type in the plan.

    To answer it with nothing would say "there is none" of something that nobody looked at (A11, A17).
    """
    for name, _ in wanted.filters:
        own = SEARCHABLE.get(wanted.types[0], {}).get(name) if wanted.types else None
        if own is not None and not own.shown_by(kept.get(wanted.types[0], ())):
            return _bad(f"What {name} looks at is not among the elements that may leave under this application.")
    return None
