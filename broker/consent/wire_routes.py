"""HTTP to what belongs to consents beside ``/fhir/Consent``: who consulted them, where they come from, who is told of changes."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response
from sqlmodel import Session

from broker import edge
from broker.consent import schemas, service
from broker.consent.errors import NoSuchConsent, NoSuchSubscription, NotTheOperation, SearchNotServed
from broker.consent.http import FHIR_JSON, PARAMETERS, Body, Form, May, base, form_pairs, json_is_taken, keys, pairs, read
from broker.consent.provenance import provenance_of
from broker.consent.references import canonical, canonical_uuid
from broker.database import SessionDep
from broker.errors import Problem
from broker.identity.access import PersonCaller
from broker.settings import Settings

Id = Annotated[str, Path(max_length=80, description="Logical id")]


def _uuid(text: str, error: type[Exception]) -> UUID:
    found = canonical_uuid(text)
    if found is None:
        raise error
    return found


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _values(given: list[tuple[str, str]], allowed: frozenset[str]) -> dict[str, list[str]]:
    """The parameters, each once; alternatives are separated by commas."""
    found: dict[str, list[str]] = {}
    for name, text in given:
        if name not in allowed or name in found or not text or len(text) > 1000 or "\x00" in text:
            raise SearchNotServed("Name consent or patient (AuditEvent), or target (Provenance), each once.")
        found[name] = [part for part in text.split(",") if part]
    return found


def build_router(may_write: May, may_read: May) -> APIRouter:
    """The routes. ``may_write`` and ``may_read`` are dependencies that give the person who calls, or raise."""
    router = APIRouter(prefix="/fhir", dependencies=[Depends(json_is_taken)])
    writer, reader = Depends(may_write), Depends(may_read)

    def record_disclosure(request: Request, session: SessionDep, body: Body, caller: PersonCaller = writer) -> Response:
        """HL7 FAST ``$recordDisclosure``: keep that a consent was consulted, whether or not anything was shared then."""
        given = schemas.consulted(read(request, body), body)
        done = service.record_disclosure(
            session, keys(request), given.event, raw=given.raw, consent_id=_uuid(given.consent, NoSuchConsent), actor=caller.actor
        )
        text = f"AuditEvent/{done.id} 已记录" if edge.language(request) == "zh" else f"AuditEvent/{done.id} is on record"
        return Response(schemas.said(text, "consent-disclosure-recorded"), 201, {"Location": f"{base(request)}/fhir/AuditEvent/{done.id}"}, FHIR_JSON)

    def found(request: Request, session: Session, given: list[tuple[str, str]]) -> Response:
        values = _values(given, frozenset({"consent", "patient", "_format"}))
        if not values.keys() & {"consent", "patient"}:
            raise SearchNotServed("Name a consent or a patient.")
        events = service.disclosures(session, keys(request), consents=values.get("consent", ()), patients=values.get("patient", ()))
        here = f"{base(request)}/fhir/AuditEvent"
        content = schemas.searchset([(f"AuditEvent/{one.id}", one.body) for one in events], base=base(request), here=here)
        return Response(content, 200, media_type=FHIR_JSON)

    def audit_events(request: Request, session: SessionDep, _caller: PersonCaller = reader) -> Response:
        """Who consulted a consent: the AuditEvents recorded by ``$recordDisclosure``, by ``consent``, ``patient`` or both."""
        return found(request, session, pairs(request))

    def audit_events_by_form(request: Request, session: SessionDep, body: Form, _caller: PersonCaller = reader) -> Response:
        """The same by POST."""
        return found(request, session, form_pairs(request, body))

    def audit_event(request: Request, session: SessionDep, event: Id, _caller: PersonCaller = reader) -> Response:
        """One AuditEvent that was recorded."""
        return Response(service.disclosure(session, keys(request), _uuid(event, NoSuchConsent)).body, 200, media_type=FHIR_JSON)

    def provenances(request: Request, session: SessionDep, _caller: PersonCaller = reader) -> Response:
        """Where a consent's versions come from: ``target=Consent/{id}``."""
        values = _values(pairs(request), frozenset({"target", "_format"}))
        targets = [canonical(one) or "" for one in values.get("target", ())]
        if len(targets) != 1 or not targets[0].startswith("Consent/"):
            raise SearchNotServed("Name target=Consent/{id}.")
        versions = service.history(session, keys(request), _uuid(targets[0].removeprefix("Consent/"), NoSuchConsent))
        listed = [(f"Provenance/{one.id}-{one.version}", orjson.dumps(provenance_of(one))) for one in versions]
        return Response(schemas.searchset(listed, base=base(request), here=f"{base(request)}/fhir/Provenance"), 200, media_type=FHIR_JSON)

    def provenance(request: Request, session: SessionDep, provenance: Id, _caller: PersonCaller = reader) -> Response:
        """The Provenance of one version of a consent."""
        name, _, version = provenance.rpartition("-")
        if not (version.isascii() and version.isdigit() and len(version) <= 6):
            raise NoSuchConsent
        shown = service.read(session, keys(request), _uuid(name, NoSuchConsent), int(version))
        return Response(orjson.dumps(provenance_of(shown)), 200, media_type=FHIR_JSON)

    def subscribe(request: Request, session: SessionDep, body: Body, caller: PersonCaller = reader) -> Response:
        """Subscribe to changes of consents (R5 Subscriptions Backport, HL7 FAST's topic): rest-hook, content empty or id-only."""
        given = read(request, body)
        if not isinstance(given, dict):
            raise NotTheOperation(problems=(Problem("Subscription", "not-a-subscription", "The body must be a FHIR Subscription."),))
        held = service.subscribe(session, keys(request), _settings(request), given, owner=caller.actor)
        return Response(held.body, 201, {"Location": f"{base(request)}/fhir/Subscription/{held.id}"}, FHIR_JSON)

    def subscription(request: Request, session: SessionDep, subscription: Id, caller: PersonCaller = reader) -> Response:
        """One's own subscription as it stands."""
        held = service.subscription(session, keys(request), _uuid(subscription, NoSuchSubscription), owner=caller.actor)
        return Response(held.body, 200, media_type=FHIR_JSON)

    def status(request: Request, session: SessionDep, subscription: Id, caller: PersonCaller = reader) -> Response:
        """``$status``: the subscription's state and how many changes it heard of."""
        held = service.subscription(session, keys(request), _uuid(subscription, NoSuchSubscription), owner=caller.actor)
        return Response(service.status_of(_settings(request), held), 200, media_type=FHIR_JSON)

    def unsubscribe(session: SessionDep, subscription: Id, caller: PersonCaller = reader) -> Response:
        """Switch one's own subscription off."""
        service.unsubscribe(session, _uuid(subscription, NoSuchSubscription), owner=caller.actor)
        return Response(status_code=204)

    for name in ("$recordDisclosure", "$record-disclosure"):
        router.add_api_route(
            f"/AuditEvent/{name}", record_disclosure, methods=["POST"], status_code=201, openapi_extra=PARAMETERS,
            include_in_schema=name == "$recordDisclosure",
        )  # fmt: skip
    router.add_api_route("/AuditEvent", audit_events, methods=["GET"])
    router.add_api_route("/AuditEvent/_search", audit_events_by_form, methods=["POST"])
    router.add_api_route("/AuditEvent/{event}", audit_event, methods=["GET"])
    router.add_api_route("/Provenance", provenances, methods=["GET"])
    router.add_api_route("/Provenance/{provenance}", provenance, methods=["GET"])
    router.add_api_route("/Subscription", subscribe, methods=["POST"], status_code=201, openapi_extra=PARAMETERS)
    router.add_api_route("/Subscription/{subscription}", subscription, methods=["GET"])
    router.add_api_route("/Subscription/{subscription}", unsubscribe, methods=["DELETE"], status_code=204)
    router.add_api_route("/Subscription/{subscription}/$status", status, methods=["GET"])
    return router
