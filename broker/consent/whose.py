"""The one patient whom a FHIR Reference names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlmodel import Session

from broker.consent.references import canonical
from broker.crypto import Keys
from broker.records import service as records

#: Grades of a match by identifier that name one patient: the identifier belongs to exactly one whose record is current.
_ONE_PATIENT = ("certain", "probable")


def known_patient(session: Session, keys: Keys, reference: Mapping[str, Any]) -> UUID | None:
    """The one patient whom a Reference names by id, by identifier, or by both where they agree."""
    found: set[UUID | None] = set()
    named = reference.get("reference")
    if named is not None:
        kind, _, fhir_id = (canonical(named) or "").partition("/")
        found.add(records.find_patient(session, keys, fhir_id) if kind == "Patient" else None)
    identifier = reference.get("identifier")
    if isinstance(identifier, Mapping):
        system, value = identifier.get("system"), identifier.get("value")
        match = records.match(session, keys, {"system": system, "value": value}) if isinstance(system, str) and isinstance(value, str) else None
        found.add(match.patient_key if match is not None and match.grade in _ONE_PATIENT else None)
    return found.pop() if len(found) == 1 else None
