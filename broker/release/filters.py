"""What a search parameter looks at, and whether a resource as it would leave fits. Pure.

Every test is made on the minimised resource, so that an element which may not leave can't be searched either: neither a count nor
a page tells of it (attacks A11, A17, A18).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

_DATE = re.compile(r"(eq|ge|gt|le|lt)?(\d{4}(?:-\d{2}(?:-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?)?)?)", re.ASCII)
_TOKEN = re.compile(r"(?:[^|\s,\x00-\x1f\x7f]{0,255}\|)?[^|,\s\x00-\x1f\x7f]{1,128}")
_CODE = re.compile(r"[^|,\s\x00-\x1f\x7f]{1,128}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})", re.ASCII)

Resource = Mapping[str, Any]
Test = Callable[[Resource], bool]
Filters = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Parameter:
    """One search parameter: ``code`` for a plain code element, ``token`` for a Coding or CodeableConcept, ``date``.

    ``elements`` are JSON names; the first that is there counts.
    """

    kind: Literal["code", "token", "date"]
    elements: tuple[str, ...]

    def shown_by(self, kept: Sequence[str]) -> bool:
        """Whether a plan that keeps these elements (names or dotted paths, choices by base or JSON name) shows what this looks at."""
        tops = {path.partition(".")[0] for path in kept}
        return any(name == top or (name.startswith(top) and name[len(top)].isupper()) for name in self.elements for top in tops)


def _of(kind: Literal["code", "token", "date"], *elements: str) -> Parameter:
    return Parameter(kind, elements)


_STATUS, _CATEGORY, _CODE_OF = _of("code", "status"), _of("token", "category"), _of("token", "code")
_MEDICATION = _of("token", "medicationCodeableConcept")
_EFFECTIVE = _of("date", "effectiveDateTime", "effectivePeriod")

#: Search parameters of R4 (searchparameter-registry) beyond ``patient``, ``_id`` and the control parameters; a type not listed has none.
SEARCHABLE: Mapping[str, Mapping[str, Parameter]] = MappingProxyType(
    {
        "AllergyIntolerance": {"clinical-status": _of("token", "clinicalStatus"), "code": _CODE_OF, "date": _of("date", "recordedDate")},
        "CarePlan": {"category": _CATEGORY, "date": _of("date", "period"), "status": _STATUS},
        "CareTeam": {"category": _CATEGORY, "date": _of("date", "period"), "status": _STATUS},
        "Claim": {"created": _of("date", "created"), "status": _STATUS, "use": _of("code", "use")},
        "Condition": {
            "category": _CATEGORY,
            "clinical-status": _of("token", "clinicalStatus"),
            "code": _CODE_OF,
            "onset-date": _of("date", "onsetDateTime", "onsetPeriod"),
            "recorded-date": _of("date", "recordedDate"),
        },
        "Coverage": {"status": _STATUS, "type": _of("token", "type")},
        "DiagnosticReport": {"category": _CATEGORY, "code": _CODE_OF, "date": _EFFECTIVE, "issued": _of("date", "issued"), "status": _STATUS},
        "DocumentReference": {"category": _CATEGORY, "date": _of("date", "date"), "status": _STATUS, "type": _of("token", "type")},
        "Encounter": {"class": _of("token", "class"), "date": _of("date", "period"), "status": _STATUS, "type": _of("token", "type")},
        "ExplanationOfBenefit": {"created": _of("date", "created"), "status": _STATUS},
        "Goal": {"category": _CATEGORY, "lifecycle-status": _of("code", "lifecycleStatus")},
        "ImagingStudy": {"started": _of("date", "started"), "status": _STATUS},
        "Immunization": {
            "date": _of("date", "occurrenceDateTime"), "status": _STATUS, "vaccine-code": _of("token", "vaccineCode"),
        },
        "Medication": {"code": _CODE_OF, "status": _STATUS},
        "MedicationAdministration": {"code": _MEDICATION, "effective-time": _EFFECTIVE, "status": _STATUS},
        "MedicationDispense": {"code": _MEDICATION, "status": _STATUS, "whenhandedover": _of("date", "whenHandedOver")},
        "MedicationRequest": {"authoredon": _of("date", "authoredOn"), "code": _MEDICATION, "intent": _of("code", "intent"), "status": _STATUS},
        "MedicationStatement": {"category": _CATEGORY, "code": _MEDICATION, "effective": _EFFECTIVE, "status": _STATUS},
        "Observation": {
            "category": _CATEGORY,
            "code": _CODE_OF,
            "date": _of("date", "effectiveDateTime", "effectivePeriod", "effectiveInstant"),
            "status": _STATUS,
        },
        "Procedure": {"category": _CATEGORY, "code": _CODE_OF, "date": _of("date", "performedDateTime", "performedPeriod"), "status": _STATUS},
        "ServiceRequest": {
            "authored": _of("date", "authoredOn"), "category": _CATEGORY, "code": _CODE_OF, "intent": _of("code", "intent"), "status": _STATUS,
        },
        "Specimen": {"status": _STATUS, "type": _of("token", "type")},
    }
)  # fmt: skip

#: Elements that say when care was given, for ``start`` and ``end`` of ``$everything``; the first that is there counts.
CARE_DATES = (
    "effectiveDateTime", "effectivePeriod", "effectiveInstant", "onsetDateTime", "onsetPeriod", "performedDateTime", "performedPeriod",
    "occurrenceDateTime", "occurrencePeriod", "whenHandedOver", "authoredOn", "period", "billablePeriod", "started", "created", "issued",
    "recordedDate", "date",
)  # fmt: skip


def readable(parameter: Parameter, value: str) -> bool:
    """Whether a value can be read as what the parameter takes. A date stands alone; codes may be several, separated by commas."""
    if parameter.kind == "date":
        return date_range(value) is not None
    pattern = _TOKEN if parameter.kind == "token" else _CODE
    return all(pattern.fullmatch(one) for one in value.split(","))


def _moment(text: str, *, end: bool) -> datetime | None:
    """The first moment of a date, or the first after it. A date without a time is taken in UTC."""
    try:
        if "T" in text:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                return None
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


def date_range(value: str) -> tuple[str, datetime, datetime] | None:
    """Prefix, first moment, first moment after, of a FHIR date search value (R4 search.html#date)."""
    match = _DATE.fullmatch(value)
    if match is None:
        return None
    start, end = _moment(match[2], end=False), _moment(match[2], end=True)
    return None if start is None or end is None else (match[1] or "eq", start, end)


def is_instant(value: str) -> bool:
    """Whether this is an R4 instant, with its zone."""
    return _INSTANT.fullmatch(value) is not None and _moment(value, end=False) is not None


def is_date(value: str) -> bool:
    """Whether this is an R4 date, without prefix or time."""
    return "T" not in value and date_range(f"eq{value}") is not None


def matcher(filters: Filters, within: Sequence[tuple[str, Sequence[Filters]]] = ()) -> Callable[[dict[str, Any]], bool] | None:
    """Whether a minimised resource, parsed, fits the filters and lies within what a token's granular scopes reach. None: nothing to ask.

    ``within`` names types that only fit one of several sets of filters; types that it doesn't name are not narrowed.
    """
    if not filters and not within:
        return None
    tests = [_test(name, value) for name, value in filters]
    narrowed = {kind: [[_test(name, value) for name, value in one] for one in alternatives] for kind, alternatives in within}

    def fits(resource: dict[str, Any]) -> bool:
        alternatives = narrowed.get(resource.get("resourceType", ""))
        if alternatives is not None and not any(all(test(resource) for test in one) for one in alternatives):
            return False
        return all(test(resource) for test in tests)

    return fits


def _test(name: str, value: str) -> Test:
    if name == "_lastUpdated":
        return _dated(lambda resource: [resource.get("meta", {}).get("lastUpdated")], value)
    if name == "_since":
        return _dated(lambda resource: [resource.get("meta", {}).get("lastUpdated")], f"ge{value}")
    if name in ("start", "end"):
        overlaps = _dated(lambda resource: [resource.get(element) for element in CARE_DATES], f"{'ge' if name == 'start' else 'le'}{value}")
        # What has no date of care is not narrowed by one (R4 Patient/$everything).
        return lambda resource: all(resource.get(element) is None for element in CARE_DATES) or overlaps(resource)

    def test(resource: Resource) -> bool:
        parameter = SEARCHABLE.get(resource.get("resourceType", ""), {}).get(name)
        return parameter is not None and _made(parameter, value)(resource)

    return test


def _made(parameter: Parameter, value: str) -> Test:
    if parameter.kind == "date":
        return _dated(lambda resource: [resource.get(element) for element in parameter.elements], value)
    if parameter.kind == "code":
        wanted = frozenset(value.split(","))
        return lambda resource: any(resource.get(element) in wanted for element in parameter.elements)
    return _token_test(parameter.elements, value)


def _token_test(elements: Sequence[str], value: str) -> Test:
    wanted = [token.rpartition("|") for token in value.split(",")]

    def fits(resource: Resource) -> bool:
        for element in elements:
            held = resource.get(element)
            for one in held if isinstance(held, list) else [held]:
                if not isinstance(one, dict):
                    continue
                for coding in one.get("coding") or [one]:
                    for system, bar, code in wanted:
                        if coding.get("code") == code and (not bar or coding.get("system", "") == system):
                            return True
        return False

    return fits


def _dated(held: Callable[[Resource], Sequence[Any]], value: str) -> Test:
    found = date_range(value)
    if found is None:  # Whoever asked has been refused already; a scope that can't be read reaches nothing.
        return lambda _: False
    prefix, start, end = found

    def fits(resource: Resource) -> bool:
        for shown in held(resource):
            if isinstance(shown, dict):
                low, high = _moment(str(shown.get("start", "0001")), end=False), _moment(str(shown.get("end", "9998")), end=True)
            elif isinstance(shown, str):
                low, high = _moment(shown, end=False), _moment(shown, end=True)
            else:
                continue
            if low is None or high is None:
                return False
            return {"eq": start <= low and high <= end, "ge": high > start, "gt": high > end, "le": low < end, "lt": low < start}[prefix]
        return False

    return fits
