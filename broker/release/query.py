"""The query grammar: what a recipient may write after the question mark. Everything else is refused, never ignored.

No chaining, no ``_has``, no ``_include``, no modifiers, no repeated parameter: search is an oracle even where results are
filtered. A parameter looks only at what the minimised resource shows, so a hidden element can't be searched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from broker.release.answers import Kind, Refusal

MAX_COUNT = 500
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_DATE = re.compile(r"(eq|ge|gt|le|lt)?(\d{4}(?:-\d{2}(?:-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?)?)?)")
_TOKEN = re.compile(r"(?:[^|\s,\x00-\x1f\x7f]{0,255}\|)?[^|,\s\x00-\x1f\x7f]{1,128}")

#: Elements that hold what ``code``, ``category``, ``status`` and ``date`` look at, by base name; the first that is there counts.
CODE = ("code", "vaccineCode", "medicationCodeableConcept", "type")
DATE = (
    "effectiveDateTime", "effectivePeriod", "onsetDateTime", "recordedDate", "performedDateTime", "performedPeriod", "occurrenceDateTime",
    "authoredOn", "period", "created", "started", "issued", "date", "billablePeriod",
)  # fmt: skip

#: Search parameters beyond ``patient``, ``_id``, ``_count`` for each type; a type that isn't listed has none.
SEARCHABLE: Mapping[str, tuple[str, ...]] = {
    "Observation": ("code", "category", "date", "status"),
    "Condition": ("code", "category", "date"),
    "Procedure": ("code", "date", "status"),
    "DiagnosticReport": ("code", "category", "date", "status"),
    "MedicationRequest": ("code", "date", "status"),
    "Immunization": ("code", "date", "status"),
    "Encounter": ("date", "status"),
    "ImagingStudy": ("date", "status"),
    "AllergyIntolerance": ("code",),
    "Claim": ("date", "status"),
    "ExplanationOfBenefit": ("date", "status"),
}


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
    return seen


def _safe(name: str) -> str:
    """A parameter's name as an error may repeat it: what a name can look like, or nothing."""
    return name if re.fullmatch(r"[A-Za-z_$][\w.:\-]{0,40}", name) else "(unreadable)"


def _count(given: Mapping[str, str]) -> int | Refusal | None:
    if "_count" not in given:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", given["_count"]) or int(given["_count"]) == 0:
        return _bad("_count must be a whole number of at least 1.")
    return min(int(given["_count"]), MAX_COUNT)


def search(resource_type: str, pairs: Sequence[tuple[str, str]]) -> Wanted | Refusal:
    """``GET /fhir/{Type}?…`` and ``POST /fhir/{Type}/_search``. ``patient`` is required; for Patient, ``_id`` names it."""
    own = SEARCHABLE.get(resource_type, ())
    allowed = ("_id", "_count", "_page", "_format") if resource_type == "Patient" else ("patient", "_id", "_count", "_page", "_format", *own)
    given = parse(allowed, pairs)
    if isinstance(given, Refusal):
        return given
    count = _count(given)
    if isinstance(count, Refusal):
        return count
    if "_format" in given and given["_format"] not in ("json", "application/json", "application/fhir+json"):
        return _bad("Only JSON is served: _format=json.")
    named = given.get("_id") if resource_type == "Patient" else given.get("patient")
    if named is None:
        return _bad(f"Name one patient: {'_id' if resource_type == 'Patient' else 'patient'}=<id>.")
    patient = _patient(named)
    resource_id = given.get("_id")
    if patient is None or (resource_id is not None and not ID.fullmatch(resource_id)):
        return _bad("An id has up to 64 letters, digits, dashes and dots, and one call names one.")
    filters = []
    for name in own:
        if name not in given:
            continue
        pattern = _DATE if name == "date" else _TOKEN
        values = [given[name]] if name == "date" else given[name].split(",")
        if not all(pattern.fullmatch(value) for value in values) or (name == "date" and _range(given[name]) is None):
            return _bad(f"The value of {name} can't be read.")
        filters.append((name, given[name]))
    shown = tuple((name, given[name]) for name in allowed if name in given and name not in ("_page", "_format"))
    return Wanted(
        patient=patient, types=(resource_type,), id=None if resource_type == "Patient" else resource_id, filters=tuple(filters),
        count=count, after=given.get("_page"), path=resource_type, shown=shown,
    )  # fmt: skip


def everything(patient: str, pairs: Sequence[tuple[str, str]]) -> Wanted | Refusal:
    """``GET /fhir/Patient/{id}/$everything`` with ``_type`` and ``_count``."""
    given = parse(("_type", "_count", "_page", "_format"), pairs)
    if isinstance(given, Refusal):
        return given
    count = _count(given)
    if isinstance(count, Refusal):
        return count
    types = tuple(sorted(set(given["_type"].split(",")))) if "_type" in given else ()
    if any(not _TYPE.fullmatch(name) for name in types):
        return _bad("_type lists FHIR resource types, separated by commas.")
    if not ID.fullmatch(patient):
        return Refusal(Kind.REFUSED, ("patient.unreadable-id",))
    shown = tuple((name, given[name]) for name in ("_type", "_count") if name in given)
    return Wanted(
        patient=patient, types=types, count=count, after=given.get("_page"), everything=True, path=f"Patient/{patient}/$everything", shown=shown
    )


def read(resource_type: str, resource_id: str, pairs: Sequence[tuple[str, str]]) -> Wanted | Refusal:
    """``GET /fhir/{Type}/{id}``."""
    given = parse(("_format",), pairs)
    if isinstance(given, Refusal):
        return given
    if "_format" in given and given["_format"] not in ("json", "application/json", "application/fhir+json"):
        return _bad("Only JSON is served: _format=json.")
    if not ID.fullmatch(resource_id):
        return Refusal(Kind.NOT_FOUND, ("resource.unreadable-id",))
    return Wanted(
        patient=resource_id if resource_type == "Patient" else None,
        types=(resource_type,), id=resource_id, path=f"{resource_type}/{resource_id}",
    )  # fmt: skip


def _day(text: str, *, end: bool) -> datetime | None:
    try:
        if "T" in text:
            moment = datetime.fromisoformat(text)
            return moment + timedelta(seconds=1) if end else moment
        parts = [int(part) for part in text.split("-")]
        first = date(parts[0], parts[1] if len(parts) > 1 else 1, parts[2] if len(parts) > 2 else 1)
        if not end:
            return datetime(first.year, first.month, first.day, tzinfo=UTC)
        if len(parts) == 3:
            following = first + timedelta(days=1)
        elif len(parts) == 2:
            following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        else:
            following = date(first.year + 1, 1, 1)
        return datetime(following.year, following.month, following.day, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _range(value: str) -> tuple[str, datetime, datetime] | None:
    """Prefix, first moment, first moment after, of a FHIR date search value (R4 search.html#date)."""
    match = _DATE.fullmatch(value)
    if match is None:
        return None
    start, end = _day(match[2], end=False), _day(match[2], end=True)
    return None if start is None or end is None else (match[1] or "eq", start, end)


def matcher(filters: Sequence[tuple[str, str]]) -> Callable[[dict[str, Any]], bool] | None:
    """Whether a minimised resource, parsed, fits the filters. None when there are none."""
    if not filters:
        return None
    tests: list[Callable[[dict[str, Any]], bool]] = []
    for name, value in filters:
        if name == "status":
            tests.append(lambda resource, wanted=frozenset(value.split(",")): resource.get("status") in wanted)  # type: ignore[misc]
        elif name == "date":
            tests.append(_date_test(value))
        else:
            tests.append(_token_test(CODE if name == "code" else ("category",), value))
    return lambda resource: all(test(resource) for test in tests)


def _token_test(elements: Sequence[str], value: str) -> Callable[[dict[str, Any]], bool]:
    wanted = [token.rpartition("|") for token in value.split(",")]

    def fits(resource: dict[str, Any]) -> bool:
        for element in elements:
            concept = resource.get(element)
            if concept is None:
                continue
            for one in concept if isinstance(concept, list) else [concept]:
                for coding in (one.get("coding") or ()) if isinstance(one, dict) else ():
                    for system, bar, code in wanted:
                        if coding.get("code") == code and (not bar or coding.get("system", "") == system):
                            return True
        return False

    return fits


def _date_test(value: str) -> Callable[[dict[str, Any]], bool]:
    found = _range(value)
    if found is None:  # parse() has refused it already.
        return lambda _: False
    prefix, start, end = found

    def fits(resource: dict[str, Any]) -> bool:
        for element in DATE:
            shown = resource.get(element)
            if isinstance(shown, dict):
                low, high = _day(str(shown.get("start", "0001")), end=False), _day(str(shown.get("end", "9998")), end=True)
            elif isinstance(shown, str):
                low, high = _day(shown, end=False), _day(shown, end=True)
            else:
                continue
            if low is None or high is None:
                return False
            return {"eq": start <= low and high <= end, "ge": high > start, "gt": high > end, "le": low < end, "lt": low < start}[prefix]
        return False

    return fits
