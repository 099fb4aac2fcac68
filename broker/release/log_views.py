"""Views of the log over HTTP: FHIR AuditEvents for auditors, a patient's accounting of disclosures, the supervisor's feed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse
from sqlmodel import Session

from broker.audit import service as audit
from broker.audit.errors import NotSealedYet
from broker.crypto import Keys
from broker.database import SessionDep
from broker.edge import FHIR_JSON, STRICT, Moment
from broker.errors import Invalid
from broker.identity import service as identity
from broker.identity.access import Action, PersonCaller, require
from broker.release.accounting import Disclosure, accounting
from broker.release.accounting_file import MOST, Kind, written
from broker.release.balp import DECISIONS, DISCLOSURES, audit_event
from broker.release.decided_by import consents_of_decisions
from broker.settings import Settings

Reader = Annotated[PersonCaller, Depends(require(Action.TRANSMISSION_READ))]
Auditor = Annotated[PersonCaller, Depends(require(Action.LOG_READ))]
Supervisor = Annotated[PersonCaller, Depends(require(Action.SUPERVISION_READ))]


class Subject(StrEnum):
    """What the supervisor may follow, each with the types of events that it means (ID-3.2)."""

    QUALIFICATIONS = "qualifications"
    DECISIONS = "decisions"
    DISCLOSURES = "disclosures"
    INCIDENTS = "incidents"


FOLLOWED = {
    Subject.QUALIFICATIONS: ("workforce.%",),
    Subject.DECISIONS: (*DECISIONS, "application.approved", "application.narrowed", "application.refused"),
    Subject.DISCLOSURES: (*DISCLOSURES, "release.failed"),
    Subject.INCIDENTS: ("incident.%",),
}


def build_router(settings: Settings, keys: Keys, kind: Kind) -> APIRouter:
    """``GET /log/fhir/AuditEvent``, ``/api/v1/disclosures`` and ``/api/v1/supervision``.

    ``kind``: what a type of resource is called in a language.
    """
    router = APIRouter(tags=["log"], dependencies=[STRICT])
    base = settings.base_url

    @router.get("/log/fhir/AuditEvent", response_class=Response, responses={200: {"content": {FHIR_JSON: {}}}})
    def audit_events(
        caller: Auditor,
        session: SessionDep,
        patient: Annotated[str | None, Query(max_length=64, description="FHIR id")] = None,
        agent: Annotated[str | None, Query(max_length=64, description="organisation id of the recipient")] = None,
        since: Moment | None = None,
        until: Moment | None = None,
        before: UUID | None = None,
        limit: Annotated[int, Query(alias="_count", ge=1, le=500)] = 100,
    ) -> Response:
        """Decisions and disclosures as FHIR R4 AuditEvents in the shape of IHE BALP, newest first; ``next`` leads on."""
        key = None if patient is None else keys.patient_key(patient)
        audit.record_search(session, caller.actor, key)
        found = audit.recorded(
            session, (*DECISIONS, *DISCLOSURES), patient=key, recipient=agent, since=since, until=until, before=before, limit=limit
        )
        here = {"patient": patient, "agent": agent, "since": since, "until": until, "_count": limit}
        links = {"self": {**here, "before": before}} | ({"next": {**here, "before": found[-1].id}} if len(found) == limit else {})
        # Which consents a decision rests on is sealed under the patient's key, and told only to who asks for the patient, which is on record.
        rests_on = {} if key is None else consents_of_decisions(session, keys, key, [str(one.facts.get("input", "")) for one in found])
        entries = [
            audit_event(one, base_url=base, hospital=settings.hospital, patient=patient, consents=rests_on.get(str(one.facts.get("input", "")), ()))
            for one in found
        ]
        document = {
            "resourceType": "Bundle",
            "type": "searchset",
            "link": [{"relation": name, "url": f"{base}/log/fhir/AuditEvent?{_query(values)}"} for name, values in links.items()],
            "entry": [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one, "search": {"mode": "match"}} for one in entries],
        }
        if not entries:
            del document["entry"]  # FHIR has no empty arrays.
        return JSONResponse(document, media_type=FHIR_JSON, headers={"Cache-Control": "no-store"})

    @router.get("/api/v1/disclosures")
    def disclosures(
        caller: Reader,
        session: SessionDep,
        patient: Annotated[str, Query(max_length=64, description="FHIR id")],
        since: Moment | None = None,
        until: Moment | None = None,
        receipts: Annotated[bool, Query(description="also the receipts themselves, to be kept with the answer")] = False,
    ) -> dict[str, Any]:
        """The accounting of disclosures of one patient: to whom, when, what, why, with the addresses of the proofs."""
        key = keys.patient_key(patient)
        audit.record_search(session, caller.actor, key)
        found = accounting(session, keys, key, since=since, until=until, limit=MOST)
        names = {one.id: one.name_zh for one in identity.organizations(session)}
        rows = [_row(one, base, names) for one in found]
        if receipts:
            for row, one in zip(rows, found, strict=True):
                row["receipts"] = _receipts(session, one)
        return {"disclosures": rows, "by_recipient": Counter(one["recipient"] for one in rows), "complete": len(rows) < MOST}

    @router.get("/api/v1/disclosures/file", response_class=Response, responses={200: {"content": {"application/pdf": {}}}})
    def disclosures_file(
        caller: Reader,
        session: SessionDep,
        patient: Annotated[str, Query(max_length=64, description="FHIR id")],
        language: Annotated[Literal["zh", "en"], Query(description="of the file")] = "zh",
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Response:
        """The same as PDF/A, to be handed to the patient (PIPL 44, 45)."""
        key = keys.patient_key(patient)
        audit.record_search(session, caller.actor, key)
        pdf = written(session, settings, keys, key, patient, language, kind=kind, since=since, until=until)
        headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="disclosures.pdf"'}
        return Response(pdf, media_type="application/pdf", headers=headers)

    @router.get("/api/v1/supervision")
    def supervision(
        _caller: Supervisor,
        session: SessionDep,
        subject: Annotated[list[Subject] | None, Query(description="what to follow; everything unless said")] = None,
        after: Annotated[str | None, Query(max_length=64, description="`next` of the last answer; nothing for the beginning")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> dict[str, Any]:
        """Qualifications, decisions, disclosures and incidents as they are sealed, each once and in order, without saying who a patient is (ID-3.2).

        `next` leads on and stays good across restarts, changes of keys and restores; ask again at once while `more`. `restarted`: the log lost
        entries behind your place and went on under a new name, so that it is told anew; events keep their `id`.
        """
        place = None if after is None else audit.Place.parse(after)
        if place is None and after is not None:
            raise Invalid("after: the `next` of an earlier answer")
        types = [kind for one in subject or list(Subject) for kind in FOLLOWED[one]]
        found = audit.onwards(session, place, types, limit=limit)
        events = [
            {name: value for name, value in one._asdict().items() if name != "patient"} | {"proof": f"{base}/log/proof/{one.id}"}
            for one in found.events
        ]
        reached = None if found.place is None else str(found.place)
        return {"events": events, "next": reached, "more": found.more, "restarted": found.restarted}

    return router


def _receipts(session: Session, one: Disclosure) -> list[str | None]:
    """The receipt of each entry, in the order of the addresses; None for one that is not sealed yet."""
    found: list[str | None] = []
    for event in (one.transmission.intent_event, one.transmission.outcome_event):
        if event is not None:
            try:
                found.append(audit.proof(session, event))
            except NotSealedYet:
                found.append(None)
    return found


def _row(one: Disclosure, base: str, names: Mapping[str, str]) -> dict[str, Any]:
    """What 45 CFR 164.528(b) asks for in a row: when, to whom, what, why; and where the log proves it."""
    sent = one.transmission
    return {
        "release": sent.release,
        "at": sent.at,
        "recipient": sent.receiver,
        "recipient_name": names.get(sent.receiver or ""),
        "purpose": sent.purpose,
        "application": sent.application,
        "items": sent.items,
        "kinds": dict(one.kinds),
        "manifest": sent.manifest,
        "outcome": sent.outcome,
        "proofs": [f"{base}/log/proof/{event}" for event in (sent.intent_event, sent.outcome_event) if event],
    }


def _query(values: dict[str, Any]) -> str:
    return urlencode({name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items() if value is not None})
