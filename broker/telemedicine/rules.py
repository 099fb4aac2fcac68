"""Judgements about remote consultations. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from broker.errors import Problem

#: The longest a consultation may last, and how far ahead one is booked: what is open longer is no appointment.
LONGEST = timedelta(hours=4)
AHEAD = timedelta(days=180)

#: What a consultant must hold when data are opened (TM-5.1).
REQUIRED = ("licence.practice", "training.telemedicine")

#: Types of records that a consultation makes.
WRITTEN = ("CarePlan", "Condition", "DiagnosticReport", "Encounter", "MedicationRequest", "Observation", "Procedure", "ServiceRequest")
PRESCRIPTION = "MedicationRequest"


class Identified(StrEnum):
    """How the patient's identity was checked (TM-5.4)."""

    IDENTITY_CARD = "identity-card"
    INSURANCE_CARD = "insurance-card"
    KNOWN_TO_STAFF = "known-to-staff"
    PASSPORT = "passport"
    VIDEO_AND_CARD = "video-and-card"


def problems_of_time(starts: datetime, ends: datetime, now: datetime, valid_until: datetime) -> Iterator[Problem]:
    """What is wrong with the appointed time; ``valid_until``: the grant's end."""
    if not starts < ends:
        yield Problem("/ends_at", "value", "must be after it starts")
    elif ends - starts > LONGEST:
        yield Problem("/ends_at", "value", f"must be at most {LONGEST.seconds // 3600} hours after it starts")
    if ends <= now:
        yield Problem("/ends_at", "value", "must not have passed")
    if starts > now + AHEAD:
        yield Problem("/starts_at", "value", f"must be within {AHEAD.days} days")
    if ends > valid_until:
        yield Problem("/ends_at", "value", "must be within the grant's term")


def problems_of_records(bundle: Any, patient: str) -> Iterator[Problem]:
    """What is wrong with the records of a consultation, seen from outside: their types, and whose they are.

    Each must name the patient as its subject; that they are sound FHIR is judged where they are stored.
    """
    entries = bundle.get("entry") if isinstance(bundle, Mapping) and bundle.get("resourceType") == "Bundle" else None
    if not isinstance(entries, list) or not entries:
        yield Problem("/", "structure", "must be a Bundle with entries")
        return
    for place, entry in enumerate(entries):
        resource = entry.get("resource") if isinstance(entry, Mapping) else None
        if not isinstance(resource, Mapping):
            yield Problem(f"/entry/{place}/resource", "required", "must be a resource")
            continue
        if resource.get("resourceType") not in WRITTEN:
            yield Problem(f"/entry/{place}/resource/resourceType", "value", f"must be one of {', '.join(WRITTEN)}")
        subject = resource.get("subject")
        if not isinstance(subject, Mapping) or subject.get("reference") != f"Patient/{patient}":
            yield Problem(f"/entry/{place}/resource/subject", "value", "must be the patient of this consultation")


def prescribes(bundle: Mapping[str, Any]) -> bool:
    """Whether a prescription is among the records."""
    return any(entry["resource"]["resourceType"] == PRESCRIPTION for entry in bundle["entry"])


def references(bundle: Mapping[str, Any]) -> Sequence[str]:
    """How the records are referred to within their own Bundle: by fullUrl, else by type and id."""
    found = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        name = entry.get("fullUrl") or (f"{resource['resourceType']}/{resource['id']}" if resource.get("id") else None)
        if isinstance(name, str):
            found.append(name)
    return found


def follow_up_problem(due: date | None, today: date) -> Problem | None:
    """What is wrong with the day on which the patient is to be seen again."""
    if due is not None and due < today:
        return Problem("/follow_up_due", "value", "must not have passed")
    return None
