"""HTTP to the verbs of the consent registry, under ``/fhir/Consent``: FHIR R4 JSON in and out, OperationOutcome for whatever is wrong."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from broker import edge
from broker.consent import api_routes, query, schemas, service, wire_routes
from broker.consent.errors import NoSuchConsent, NotEnforceable, NotTheOperation, SearchNotServed
from broker.consent.http import FHIR_JSON, PARAMETERS, Body, Form, May, base, form_pairs, json_is_taken, pairs
from broker.consent.http import keys as keys_of
from broker.consent.http import read as read_body
from broker.consent.references import canonical_uuid
from broker.consent.wording import Wording
from broker.database import SessionDep
from broker.errors import Problem
from broker.identity.access import PersonCaller
from broker.settings import Settings

#: Longest Idempotency-Key.
MAX_KEY = 255

ConsentId = Annotated[str, Path(max_length=64, description="Logical id of the consent")]


def _id(text: str) -> UUID:
    found = canonical_uuid(text)
    if found is None:
        raise NoSuchConsent
    return found


def _shown(one: service.Shown, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    modified = one.updated_at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return Response(one.body, status, {"ETag": one.etag, "Last-Modified": modified, **(headers or {})}, FHIR_JSON)


def build_router(may_file: May, may_read: May, wording: Wording) -> APIRouter:
    """Every route of the registry. ``may_file`` and ``may_read`` are dependencies that give the person who calls, or raise.

    ``wording``: the names of purposes and data classes, and the types of each class.
    """
    router = APIRouter(tags=["consent"])
    parts = (_consents(may_file, may_read), wire_routes.build_router(may_file, may_read), api_routes.build_router(may_file, may_read, wording))
    for part in parts:
        router.include_router(part)
    return router


def _consents(may_file: May, may_read: May) -> APIRouter:
    """``/fhir/Consent``."""
    router = APIRouter(prefix="/fhir/Consent", dependencies=[Depends(json_is_taken)])
    filer, reader = Depends(may_file), Depends(may_read)

    def filed(
        request: Request, session: SessionDep, caller: PersonCaller, consent: Any, raw: bytes, evidence: bytes | None
    ) -> tuple[service.Filed, str]:
        settings: Settings = request.app.state.settings
        language, keys = edge.language(request), request.headers.getlist("idempotency-key")
        if len(keys) > 1 or any(not 0 < len(one) <= MAX_KEY for one in keys):
            raise NotTheOperation("Idempotency-Key must be one key of at most 255 characters.")
        try:
            answer = service.file(
                session, keys_of(request), consent, raw=raw, actor=caller.actor, zone=settings.zone, evidence=evidence,
                request_key=keys[0] if keys else None,
            )  # fmt: skip
        except NotEnforceable as refused:
            raise refused.spoken(language) from None
        return answer, f"{base(request)}/fhir/Consent/{answer.id}"

    def file_consent(request: Request, session: SessionDep, body: Body, caller: PersonCaller = filer) -> Response:
        """HL7 FAST ``$fileConsent``: put a consent in force, with the document that proves it. Answers with the enforceability report."""
        given = schemas.filing(read_body(request, body), body)
        answer, location = filed(request, session, caller, given.consent, given.raw, given.document)
        spoken = edge.language(request)
        headline = f"Consent/{answer.id} 已生效" if spoken == "zh" else f"Consent/{answer.id} is in force"
        return Response(schemas.report(answer.report, spoken, headline), 201, {"Location": location, "ETag": f'W/"{answer.version}"'}, FHIR_JSON)

    def revoke_consent(request: Request, session: SessionDep, body: Body, caller: PersonCaller = filer) -> Response:
        """HL7 FAST ``$revokeConsent``: withdraw a consent. Once this answers, nothing more is released on it."""
        given = schemas.withdrawal(read_body(request, body), body)
        answer = service.revoke(session, keys_of(request), _id(given.consent), patient=given.patient, actor=caller.actor, evidence=given.document)
        text = f"Consent/{answer.id} 已撤回（inactive）" if edge.language(request) == "zh" else f"Consent/{answer.id} is withdrawn (inactive)"
        headers = {"Content-Location": f"{base(request)}/fhir/Consent/{answer.id}", "ETag": f'W/"{answer.version}"'}
        return Response(schemas.said(text, "consent-revoked"), 200, headers, FHIR_JSON)

    def create(request: Request, session: SessionDep, body: Body, caller: PersonCaller = filer) -> Response:
        """FHIR create: the same as ``$fileConsent`` without a document. Answers with the consent as it is kept."""
        value = read_body(request, body)
        if not isinstance(value, dict) or value.get("resourceType") != "Consent":
            raise NotTheOperation(problems=(Problem("Consent", "not-a-consent", "The body must be a FHIR Consent."),))
        answer, location = filed(request, session, caller, value, body, None)
        return _shown(service.read(session, keys_of(request), answer.id), 201, {"Location": f"{location}/_history/{answer.version}"})

    def found(request: Request, session: SessionDep, pairs: list[tuple[str, str]]) -> Response:
        asked = query.read(pairs)
        if isinstance(asked, query.BadQuery):
            raise SearchNotServed(asked.reason)
        result = service.search(session, keys_of(request), asked)
        here = f"{base(request)}/fhir/Consent"
        links = {"self": f"{here}?{urlencode(asked.shown)}"}
        following = asked.offset + asked.count
        if asked.count and following < result.total:
            rest = [pair for pair in asked.shown if pair[0] != "_offset"]
            links["next"] = f"{here}?{urlencode([*rest, ('_offset', str(following))])}"
        return Response(schemas.bundle("searchset", result.consents, base=base(request), total=result.total, links=links), 200, media_type=FHIR_JSON)

    def search(request: Request, session: SessionDep, _caller: PersonCaller = reader) -> Response:
        """ITI-108: search. Name a patient, an identifier or ``_id``."""
        return found(request, session, pairs(request))

    def search_by_form(request: Request, session: SessionDep, body: Form, _caller: PersonCaller = reader) -> Response:
        """ITI-108: search by POST; parameters in the form, in the URL, or in both if none stands twice."""
        return found(request, session, form_pairs(request, body))

    def read(request: Request, session: SessionDep, consent: ConsentId, _caller: PersonCaller = reader) -> Response:
        """One consent as it stands now."""
        return _shown(service.read(session, keys_of(request), _id(consent)))

    def history(request: Request, session: SessionDep, consent: ConsentId, _caller: PersonCaller = reader) -> Response:
        """Every version of one consent, the newest first."""
        versions = tuple(service.history(session, keys_of(request), _id(consent)))
        links = {"self": f"{base(request)}/fhir/Consent/{versions[0].id}/_history"}
        return Response(schemas.bundle("history", versions, base=base(request), total=len(versions), links=links), 200, media_type=FHIR_JSON)

    def read_version(request: Request, session: SessionDep, consent: ConsentId, version: str, _caller: PersonCaller = reader) -> Response:
        """One version of one consent."""
        if not (version.isascii() and version.isdigit() and len(version) <= 6):
            raise NoSuchConsent
        return _shown(service.read(session, keys_of(request), _id(consent), int(version)))

    for name in ("$fileConsent", "$file-consent"):
        router.add_api_route(
            f"/{name}", file_consent, methods=["POST"], status_code=201, openapi_extra=PARAMETERS, include_in_schema=name == "$fileConsent"
        )
    for name in ("$revokeConsent", "$revoke-consent"):
        router.add_api_route(f"/{name}", revoke_consent, methods=["POST"], openapi_extra=PARAMETERS, include_in_schema=name == "$revokeConsent")
    router.add_api_route("", create, methods=["POST"], status_code=201, openapi_extra=PARAMETERS)
    router.add_api_route("", search, methods=["GET"])
    router.add_api_route("/_search", search_by_form, methods=["POST"])
    router.add_api_route("/{consent}", read, methods=["GET"])
    router.add_api_route("/{consent}/_history", history, methods=["GET"])
    router.add_api_route("/{consent}/_history/{version}", read_version, methods=["GET"])
    return router
