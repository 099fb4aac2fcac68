"""A remote consultation in FHIR R4: Appointment, Encounter, and a Provenance for what was done (TM-5.4).

Built through ``fhir.resources`` (R4B; these types are R4's here), so that what we write is checked by code that isn't ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from broker.telemedicine import rules
from broker.telemedicine.lifecycle import State, Step
from broker.telemedicine.models import Consultation, ConsultationStep

#: Our own business identifiers, as R4 wants them: a system that is a URI.
CONSULTATION = "urn:broker:consultation"
PERSON = "urn:broker:person"
STEP = "urn:broker:consultation-step"

_APPOINTMENT = {
    State.BOOKED: "pending", State.CONFIRMED: "booked", State.OPEN: "arrived", State.CLOSED: "fulfilled", State.FOLLOWED_UP: "fulfilled",
    State.CANCELLED: "cancelled", State.MISSED: "noshow",
}  # fmt: skip
_ENCOUNTER = {State.OPEN: "in-progress", State.CLOSED: "finished", State.FOLLOWED_UP: "finished"}


def with_provenance(bundle: Mapping[str, Any], row: Consultation, *, author: str, at: datetime, digest: str, patient: str) -> dict[str, Any]:
    """The Bundle of records with a Provenance that names them, the patient, who made them and in which consultation."""
    provenance = {
        "resourceType": "Provenance",
        "id": f"{row.number.lower()}-{digest[:16]}",
        "target": [*({"reference": one} for one in rules.references(bundle)), {"reference": f"Patient/{patient}"}],
        "recorded": _instant(at),
        "activity": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation", "code": "CREATE"}]},
        "agent": [{"type": _author(), "who": {"identifier": {"system": PERSON, "value": author}}}],
        "entity": [{"role": "source", "what": {"identifier": {"system": CONSULTATION, "value": row.number}}}],
    }
    request = {"method": "PUT", "url": f"Provenance/{provenance['id']}"}
    return {**bundle, "entry": [*bundle["entry"], {"fullUrl": f"urn:broker:{provenance['id']}", "resource": provenance, "request": request}]}


def as_fhir(row: Consultation, steps: Sequence[ConsultationStep], state: State, patient: str) -> bytes:
    """Appointment, Encounter (once it was opened) and one Provenance for each step, as a collection."""
    from fhir.resources.R4B.bundle import Bundle  # Half a second of imports that nothing else here needs.

    subject = {"reference": f"Patient/{patient}"}
    consultant = {"identifier": {"system": PERSON, "value": str(row.consultant_id)}}
    name = row.number.lower()
    resources: list[dict[str, Any]] = [
        {
            "resourceType": "Appointment",
            "id": f"{name}-appointment",
            "identifier": [{"system": CONSULTATION, "value": row.number}],
            "status": _APPOINTMENT[state],
            "start": _instant(row.starts_at),
            "end": _instant(row.ends_at),
            "participant": [
                {"actor": subject, "status": "accepted"},
                {"actor": consultant, "status": "needs-action" if state is State.BOOKED else "accepted"},
            ],
        }
    ]
    if row.opened_at is not None:
        period = {"start": _instant(row.opened_at), **({"end": _instant(row.closed_at or row.ends_at)} if state is not State.OPEN else {})}
        resources.append(
            {
                "resourceType": "Encounter",
                "id": f"{name}-encounter",
                "identifier": [{"system": CONSULTATION, "value": row.number}],
                "status": _ENCOUNTER[state],
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR", "display": "virtual"},
                "subject": subject,
                "participant": [{"individual": consultant}],
                "appointment": [{"reference": f"Appointment/{name}-appointment"}],
                "period": period,
            }
        )
    resources += [_provenance(one, f"Appointment/{name}-appointment", subject) for one in steps]
    content = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}
    return json.dumps(json.loads(Bundle.model_validate(content).model_dump_json()), ensure_ascii=False).encode()


def _provenance(step: ConsultationStep, target: str, subject: Mapping[str, str]) -> dict[str, Any]:
    who = {"identifier": {"system": PERSON, "value": str(step.person_id)}} if step.person_id else {"display": "clock"}
    return {
        "resourceType": "Provenance",
        "id": str(step.id),
        "target": [{"reference": target}, dict(subject)],
        "recorded": _instant(step.at),
        "activity": {"coding": [{"system": STEP, "code": Step(step.step).value}]},
        "agent": [{"type": _author(), "who": who}],
    }


def _author() -> dict[str, Any]:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author"}]}


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
