"""What ``Patient/$match`` asks (R4 patient-operation-match): the patient who is meant, by identifier and name or birth date. Pure.

Only a certain match is ever answered, and only of a patient of the token's grant. ``count`` and ``onlyCertainMatches`` may be sent;
whatever they say, there is one answer or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from broker.errors import Invalid, Problem

MAX_IDENTIFIERS = 10
_MAX = 256
#: Parameters and the members that may hold their values.
_OTHERS = {"onlyCertainMatches": ("valueBoolean", bool), "count": ("valueInteger", int)}


@dataclass(frozen=True)
class Meant:
    """Who is meant, as far as it was said."""

    identifiers: tuple[tuple[str, str], ...]  #: system and value
    name: str | None
    birth_date: date | None


def _invalid(path: str, message: str) -> Invalid:
    return Invalid("The body is not a request to match a patient.", problems=(Problem(path, "match", message),))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _MAX else None


def read_request(body: Any) -> Meant:
    """The one Patient of a Parameters resource. Raises Invalid."""
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters" or not isinstance(body.get("parameter"), list):
        raise _invalid("Parameters", "must be a Parameters resource with parameter")
    patient = None
    for number, one in enumerate(body["parameter"][:20]):
        name = one.get("name") if isinstance(one, dict) else None
        if name == "resource" and patient is None and isinstance(one.get("resource"), dict):
            patient = one["resource"]
        elif not isinstance(name, str) or name not in _OTHERS or type(one.get(_OTHERS[name][0])) is not _OTHERS[name][1]:
            raise _invalid(f"Parameters.parameter[{number}]", "must be resource (once), onlyCertainMatches or count")
    if patient is None or patient.get("resourceType") != "Patient":
        raise _invalid("Parameters.parameter", "must hold one resource that is a Patient")
    return Meant(_identifiers(patient), _name(patient), _birth_date(patient))


def _identifiers(patient: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    given = patient.get("identifier", [])
    found = []
    for one in given if isinstance(given, list) else []:
        system, value = (_text(one.get(member)) for member in ("system", "value")) if isinstance(one, dict) else (None, None)
        if system and value:
            found.append((system, value))
    if not found or len(found) > MAX_IDENTIFIERS:
        raise _invalid("Patient.identifier", f"must hold 1 to {MAX_IDENTIFIERS} identifiers with system and value")
    return tuple(found)


def _name(patient: dict[str, Any]) -> str | None:
    names = patient.get("name", [])
    first = names[0] if isinstance(names, list) and names and isinstance(names[0], dict) else {}
    given = first.get("given", [])
    parts = [_text(first.get("family")), *(_text(one) for one in (given if isinstance(given, list) else []))]
    return _text(first.get("text")) or "".join(part for part in parts if part) or None


def _birth_date(patient: dict[str, Any]) -> date | None:
    if "birthDate" not in patient:
        return None
    try:
        return date.fromisoformat(patient["birthDate"])
    except (TypeError, ValueError):
        raise _invalid("Patient.birthDate", "must be a whole date") from None
