"""HTTP to the verbs of the consent registry, under ``/fhir/Consent``: FHIR R4 JSON in and out, OperationOutcome for whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from broker import edge
from broker.consent import query, schemas, service
from broker.consent.errors import NoSuchConsent, NotEnforceable, NotJson, NotTheOperation, SearchNotServed
from broker.consent.references import canonical_uuid
from broker.crypto import Keys
from broker.database import SessionDep
from broker.errors import Malformed, Problem
from broker.fhir.parse import read_json
from broker.identity.access import PersonCaller
from broker.settings import Settings

FHIR_JSON = "application/fhir+json; charset=utf-8"
_JSON_TYPES = ("application/fhir+json", "application/json", "text/json")
_FORM = "application/x-www-form-urlencoded"
#: Longest Idempotency-Key.
MAX_KEY = 255

May = Callable[..., PersonCaller]


async def _body(request: Request) -> bytes:
    return await request.body()


async def _json_body(request: Request) -> bytes:
    """The body of a request that says it is JSON, or doesn't say."""
    kind = request.headers.get("content-type", _JSON_TYPES[0]).partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES:
        raise NotJson
    return await request.body()


Body = Annotated[bytes, Depends(_json_body)]
Form = Annotated[bytes, Depends(_body)]
ConsentId = Annotated[str, Path(max_length=64, description="Logical id of the consent")]
_PARAMETERS = {"requestBody": {"required": True, "content": {"application/fhir+json": {"schema": {"type": "object"}}}}}


def _read(request: Request, body: bytes) -> Any:
    settings: Settings = request.app.state.settings
    value = read_json(body, max_bytes=settings.max_body_bytes, max_depth=settings.max_json_depth)
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise Malformed(problems=(Problem("$", "not-utf8", "It holds half of a surrogate pair, which is no character."),)) from None
    return value


def _keys(request: Request) -> Keys:
    keys: Keys = request.app.state.keys
    return keys


def _base(request: Request) -> str:
    settings: Settings = request.app.state.settings
    return settings.base_url


def _id(text: str) -> UUID:
    found = canonical_uuid(text)
    if found is None:
        raise NoSuchConsent
    return found


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=40, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise SearchNotServed("The query can't be read.") from None


def _shown(one: service.Shown, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    modified = one.updated_at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return Response(one.body, status, {"ETag": one.etag, "Last-Modified": modified, **(headers or {})}, FHIR_JSON)


def build_router(may_file: May, may_read: May) -> APIRouter:
    """The routes. ``may_file`` and ``may_read`` are dependencies that give the person who calls, or raise."""
    router = APIRouter(prefix="/fhir/Consent", tags=["consent"])
    filer, reader = Depends(may_file), Depends(may_read)

    def filed(
        request: Request, session: SessionDep, caller: PersonCaller, consent: Any, raw: bytes, evidence: bytes | None
    ) -> tuple[service.Filed, str]:
        language, keys = edge.language(request), request.headers.getlist("idempotency-key")
        if len(keys) > 1 or any(not 0 < len(one) <= MAX_KEY for one in keys):
            raise NotTheOperation("Idempotency-Key must be one key of at most 255 characters.")
        try:
            answer = service.file(
                session, _keys(request), consent, raw=raw, actor=caller.actor, evidence=evidence, request_key=keys[0] if keys else None
            )
        except NotEnforceable as refused:
            raise refused.spoken(language) from None
        return answer, f"{_base(request)}/fhir/Consent/{answer.id}"

    def file_consent(request: Request, session: SessionDep, body: Body, caller: PersonCaller = filer) -> Response:
        """HL7 FAST ``$fileConsent``: put a consent in force, with the document that proves it. Answers with the enforceability report."""
        given = schemas.filing(_read(request, body), body)
        answer, location = filed(request, session, caller, given.consent, given.raw, given.document)
        spoken = edge.language(request)
        headline = f"Consent/{answer.id} 已生效" if spoken == "zh" else f"Consent/{answer.id} is in force"
        return Response(schemas.report(answer.report, spoken, headline), 201, {"Location": location, "ETag": f'W/"{answer.version}"'}, FHIR_JSON)

    def revoke_consent(request: Request, session: SessionDep, body: Body, caller: PersonCaller = filer) -> Response:
        """HL7 FAST ``$revokeConsent``: withdraw a consent. Once this answers, nothing more is released on it."""
        given = schemas.withdrawal(_read(request, body), body)
        answer = service.revoke(session, _keys(request), _id(given.consent), patient=given.patient, actor=caller.actor, evidence=given.document)
        text = f"Consent/{answer.id} 已撤回（inactive）" if edge.language(request) == "zh" else f"Consent/{answer.id} is withdrawn (inactive)"
        headers = {"Content-Location": f"{_base(request)}/fhir/Consent/{answer.id}", "ETag": f'W/"{answer.version}"'}
        return Response(schemas.said(text, "consent-revoked"), 200, headers, FHIR_JSON)

    def create(request: Request, session: SessionDep, body: Body, caller: PersonCaller = filer) -> Response:
        """FHIR create: the same as ``$fileConsent`` without a document. Answers with the consent as it is kept."""
        value = _read(request, body)
        if not isinstance(value, dict) or value.get("resourceType") != "Consent":
            raise NotTheOperation(problems=(Problem("Consent", "not-a-consent", "The body must be a FHIR Consent."),))
        answer, location = filed(request, session, caller, value, body, None)
        return _shown(service.read(session, _keys(request), answer.id), 201, {"Location": f"{location}/_history/{answer.version}"})

    def found(request: Request, session: SessionDep, pairs: list[tuple[str, str]]) -> Response:
        asked = query.read(pairs)
        if isinstance(asked, query.BadQuery):
            raise SearchNotServed(asked.reason)
        result = service.search(session, _keys(request), asked)
        here = f"{_base(request)}/fhir/Consent"
        links = {"self": f"{here}?{urlencode(asked.shown)}"}
        following = asked.offset + asked.count
        if asked.count and following < result.total:
            rest = [pair for pair in asked.shown if pair[0] != "_offset"]
            links["next"] = f"{here}?{urlencode([*rest, ('_offset', str(following))])}"
        return Response(schemas.bundle("searchset", result.consents, base=_base(request), total=result.total, links=links), 200, media_type=FHIR_JSON)

    def search(request: Request, session: SessionDep, _caller: PersonCaller = reader) -> Response:
        """ITI-108: search. Name a patient, an identifier or ``_id``."""
        return found(request, session, _pairs(request.scope["query_string"]))

    def search_by_form(request: Request, session: SessionDep, body: Form, _caller: PersonCaller = reader) -> Response:
        """ITI-108: search by POST; parameters in the form, in the URL, or in both if none stands twice."""
        if request.headers.get("content-type", _FORM).partition(";")[0].strip().lower() != _FORM:
            raise NotJson(f"Send Content-Type: {_FORM}.")
        return found(request, session, [*_pairs(request.scope["query_string"]), *_pairs(body)])

    def read(request: Request, session: SessionDep, consent: ConsentId, _caller: PersonCaller = reader) -> Response:
        """One consent as it stands now."""
        return _shown(service.read(session, _keys(request), _id(consent)))

    def history(request: Request, session: SessionDep, consent: ConsentId, _caller: PersonCaller = reader) -> Response:
        """Every version of one consent, the newest first."""
        versions = tuple(service.history(session, _keys(request), _id(consent)))
        links = {"self": f"{_base(request)}/fhir/Consent/{versions[0].id}/_history"}
        return Response(schemas.bundle("history", versions, base=_base(request), total=len(versions), links=links), 200, media_type=FHIR_JSON)

    def read_version(request: Request, session: SessionDep, consent: ConsentId, version: str, _caller: PersonCaller = reader) -> Response:
        """One version of one consent."""
        if not (version.isascii() and version.isdigit() and len(version) <= 6):
            raise NoSuchConsent
        return _shown(service.read(session, _keys(request), _id(consent), int(version)))

    for name in ("$fileConsent", "$file-consent"):
        router.add_api_route(
            f"/{name}", file_consent, methods=["POST"], status_code=201, openapi_extra=_PARAMETERS, include_in_schema=name == "$fileConsent"
        )
    for name in ("$revokeConsent", "$revoke-consent"):
        router.add_api_route(f"/{name}", revoke_consent, methods=["POST"], openapi_extra=_PARAMETERS, include_in_schema=name == "$revokeConsent")
    router.add_api_route("", create, methods=["POST"], status_code=201, openapi_extra=_PARAMETERS)
    router.add_api_route("", search, methods=["GET"])
    router.add_api_route("/_search", search_by_form, methods=["POST"])
    router.add_api_route("/{consent}", read, methods=["GET"])
    router.add_api_route("/{consent}/_history", history, methods=["GET"])
    router.add_api_route("/{consent}/_history/{version}", read_version, methods=["GET"])
    return router
