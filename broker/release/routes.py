"""HTTP to the release path: FHIR R4 reads and searches, ``POST /releases``, manifests and receipts. No decisions.

Every route that may send a patient's data returns a :class:`GatedAnswer`, and nothing else does; the route inventory in
tests/attacks/test_route_inventory.py holds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from broker import clock, edge, errors, metrics
from broker.fhir import definitions
from broker.fhir.negotiation import sends_json, strictly, takes_json
from broker.fhir.parse import read_json
from broker.identity import access
from broker.identity.access import NotAuthenticatedReason
from broker.release import match_request, pacing, packaging, query, receipts, recognition, service
from broker.release.answers import Form, Kind, Ready, Refusal
from broker.release.capability import statement
from broker.release.delivery import deliver
from broker.release.errors import TokenNotUsable, of_refusal
from broker.release.matching import no_match, wanted_match
from broker.release.once import Once, key_of
from broker.release.service import Ask, Parts

FHIR_JSON = "application/fhir+json; charset=utf-8"
FORM_TYPE = "application/x-www-form-urlencoded"


class GatedAnswer(Response):
    """An answer that is judged, recorded, built and sent only while the gate is held."""

    def __init__(self, request: Request, ask: Ask, once: tuple[str, bytes] | None = None) -> None:
        super().__init__()
        self.request = request
        self.ask = ask
        self.once = once  #: Idempotency-Key and what it stands for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The eight steps (``release.service``), the seventh of which is the sending."""
        parts: Parts = self.request.app.state.parts
        began = asyncio.get_running_loop().time()
        made: UUID | None = None
        try:
            ask = replace(self.ask, proven=await proven_by(self.request))
            once = await self._claimed(parts, ask)
        except errors.BrokerError as error:
            await edge.rendered(self.request, error)(scope, receive, send)
            return

        async def sending(ready: Ready) -> bool:
            nonlocal made
            made = ready.release
            headers = _headers(parts, self.request, self.ask.form, ready)
            status = 304 if ready.unchanged else 200
            complete = await deliver(send, receive, body=ready.body, headers=headers, seconds=parts.settings.gate_timeout, status=status)
            metrics.release_done("sent" if complete else "partial", resources=ready.count, body_bytes=len(ready.body))
            return complete

        try:
            refusal = await service.release(parts, ask, sending)
        finally:
            if once is not None:
                async with parts.intents.release_connection() as connection:
                    await once.settle(connection, made)
        if refusal is None:
            return
        metrics.release_done(refusal.kind.value)
        if refusal.kind in pacing.PACED:
            await pacing.even(began, parts.settings.refusal_step)
        if self.ask.form is Form.MATCH and refusal.kind is Kind.REFUSED:
            answer = Response(no_match(), media_type=FHIR_JSON)
        else:
            answer = edge.rendered(self.request, of_refusal(refusal))
        await answer(scope, receive, send)

    async def _claimed(self, parts: Parts, ask: Ask) -> Once | None:
        """The claim to the request's key, if it has one and the caller a token of ours. Raises what ``Once.claim`` raises."""
        if self.once is None:
            return None
        claims = access.claims_of(parts.keys, parts.settings, ask.authorization, ask.proven)
        if isinstance(claims, NotAuthenticatedReason):
            return None  # It is refused for that.
        once = Once(claims["client_id"], *self.once)
        async with parts.intents.release_connection() as connection:
            await once.claim(connection)
        return once


def _headers(parts: Parts, request: Request, form: Form, ready: Ready) -> dict[str, str]:
    headers = {
        "Release-Id": str(ready.release),
        "Release-Digest": f"sha-256={ready.digest}",
        "Disclosure-Receipt": f"{parts.settings.base_url}/releases/{ready.release}/receipt",
    }
    if ready.etag:
        headers["ETag"] = ready.etag
    if ready.unchanged:
        return headers
    headers |= {"Content-Type": packaging.JOSE if ready.encrypted else ready.media, "Content-Length": str(len(ready.body))}
    if ready.signature:
        headers["Release-Signature"] = ready.signature
    if form is Form.RESOURCE:
        changed = orjson.loads(ready.body)["meta"]["lastUpdated"]
        headers["Last-Modified"] = format_datetime(datetime.fromisoformat(changed).astimezone(UTC), usegmt=True)
    if strictly(request.headers.get("prefer")):
        headers["Preference-Applied"] = "handling=strict"
    return headers


def _pairs(raw: bytes) -> list[tuple[str, str]] | Refusal:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=40, errors="strict")
    except (ValueError, UnicodeDecodeError):
        return Refusal(Kind.BAD_QUERY, ("query.unreadable",), "The query can't be read.")


def _query(request: Request) -> list[tuple[str, str]] | Refusal:
    return _pairs(request.scope["query_string"])


def _known(resource_type: str) -> bool:
    return resource_type in definitions.resource_types() and resource_type not in service.NEVER_RELEASED


def _answer(request: Request, wanted: query.Wanted | Refusal, form: Form, application: str | None = None) -> GatedAnswer:
    # _format, which has been read by now, goes before Accept (R4 http.html#parameters).
    if "_format" not in request.query_params and not takes_json(request.headers.get("accept")):
        wanted = Refusal(Kind.NOT_ACCEPTABLE, ("query.format",))
    unless = request.headers.get("if-none-match", "") if form is Form.RESOURCE else ""
    return GatedAnswer(request, Ask(authorization_of(request), wanted, form, application, unless=unless))


def authorization_of(request: Request) -> str | None:
    """The Authorization header. Of two, another server on the way may have believed the other one, so that neither counts."""
    given = request.headers.getlist("authorization")
    return given[0] if len(given) == 1 else None


async def proven_by(request: Request) -> str | None:
    """The thumbprint of the key that the caller proved to hold, asked once for each request. Raises TokenNotUsable."""
    if not hasattr(request.state, "proven"):
        parts: Parts = request.app.state.parts
        authorization, path = authorization_of(request), request.url.path
        request.state.proven = None
        if (authorization or "")[:5].lower() == "dpop ":
            proofs = tuple(request.headers.getlist("dpop"))
            async with parts.intents.release_connection() as connection:
                request.state.proven = await access.proof_of(
                    connection, parts.keys, parts.settings, authorization=authorization, proofs=proofs, method=request.method, path=path
                )
    found: str | access.Unproven | None = request.state.proven
    if isinstance(found, access.Unproven):
        raise TokenNotUsable(headers=found.headers)
    return found


async def _authenticated(request: Request) -> None:
    """Refuse whoever shows no token of ours before a body is read for them. What the token is good for, the gate asks."""
    parts: Parts = request.app.state.parts
    claims = access.claims_of(parts.keys, parts.settings, authorization_of(request), await proven_by(request))
    if isinstance(claims, NotAuthenticatedReason):
        raise of_refusal(Refusal(Kind.UNAUTHENTICATED, (claims.code,)))


def _body(media: str, required: tuple[str, ...], properties: dict[str, Any]) -> dict[str, Any]:
    """A request body for the OpenAPI document; it is read here and not by FastAPI."""
    schema = {"type": "object", "required": list(required), "additionalProperties": False, "properties": properties}
    return {"requestBody": {"required": True, "content": {media: {"schema": schema}}}}


_ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
_RELEASE_REQUEST = _body(
    "application/json",
    ("application", "patient"),
    {
        "application": {**_ID, "description": "SA-YYYY-NNNNNN"},
        "patient": {**_ID, "description": "Logical id of the patient"},
        "types": {"type": "array", "items": {"type": "string"}, "description": "FHIR R4 resource types; left out: all that the grant allows"},
    },
)
_MATCH_REQUEST = _body(
    "application/fhir+json",
    ("resourceType", "parameter"),
    {"resourceType": {"type": "string", "const": "Parameters"}, "parameter": {"type": "array", "items": {"type": "object"}}},
)
_SEARCH_FORM = _body(FORM_TYPE, (), {"patient": _ID, "_id": _ID, "_count": {"type": "string", "pattern": "^[1-9][0-9]{0,5}$"}})

_RECOGNITION = {
    "parameters": [
        {"name": "patient", "in": "query", "required": True, "schema": _ID},
        {
            "name": "code", "in": "query", "required": True, "description": "system|code of the examination",
            "schema": {"type": "string", "pattern": r"^[^|\s,]{1,255}\|[^|,\s]{1,128}$"},
        },
    ]
}  # fmt: skip

TypeName = Annotated[str, Path(description="FHIR R4 resource type")]
ResourceId = Annotated[str, Path(description="Logical id")]


def everything_router() -> APIRouter:
    """The route that is called most, to be looked at before all others: finding a route among hundreds costs as much as the token."""
    router = APIRouter()

    @router.get("/fhir/Patient/{patient}/$everything", summary="All that may leave of one patient", tags=["release"])
    async def everything(request: Request, patient: ResourceId) -> Response:
        pairs = _query(request)
        return _answer(request, pairs if isinstance(pairs, Refusal) else query.everything(patient, pairs), Form.SEARCHSET)

    return router


def build_router(served_types: tuple[str, ...], recognised: Mapping[str, Any]) -> APIRouter:
    """The routes; ``served_types`` are the types that any least-necessary profile may release, ``recognised`` the rules of mutual recognition."""
    router = APIRouter()
    known = recognition.examinations(recognised)

    @router.get("/fhir/metadata", summary="CapabilityStatement", tags=["discovery"])
    async def metadata(request: Request) -> Response:
        asked = request.query_params.getlist("_format")
        if any(one not in query.JSON_FORMATS for one in asked) or (not asked and not takes_json(request.headers.get("accept"))):
            raise of_refusal(Refusal(Kind.NOT_ACCEPTABLE, ("query.format",)))
        headers = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"}
        return Response(statement(request.app.state.settings.base_url, served_types), media_type=FHIR_JSON, headers=headers)

    @router.post("/fhir/Patient/$match", summary="The one patient who is meant", tags=["release"], openapi_extra=_MATCH_REQUEST)
    async def match(request: Request) -> Response:
        await _authenticated(request)
        if not sends_json(request.headers.get("content-type")):
            raise errors.NotJson
        settings = request.app.state.settings
        body = read_json(await request.body(), max_bytes=settings.max_body_bytes, max_depth=settings.max_json_depth)
        meant = match_request.read_request(body)
        wanted = Refusal(Kind.BAD_QUERY, ("query.not-allowed",)) if request.url.query else await wanted_match(request.app.state.parts, meant)
        return _answer(request, wanted, Form.MATCH)

    @router.post("/fhir/{resource_type}/_search", summary="Search by form", tags=["release"], openapi_extra=_SEARCH_FORM)
    async def search_by_form(request: Request, resource_type: TypeName) -> Response:
        _served(resource_type)
        await _authenticated(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
            return _answer(request, Refusal(Kind.BAD_QUERY, ("query.unreadable",), f"The body of a search is {FORM_TYPE}."), Form.SEARCHSET)
        in_url, in_body = _query(request), _pairs(await request.body())
        if isinstance(in_url, Refusal) or isinstance(in_body, Refusal):
            return _answer(request, in_url if isinstance(in_url, Refusal) else in_body, Form.SEARCHSET)  # type: ignore[arg-type]
        return _answer(request, query.search(resource_type, [*in_url, *in_body]), Form.SEARCHSET)

    @router.get("/fhir/{resource_type}", summary="Search", tags=["release"])
    async def search(request: Request, resource_type: TypeName) -> Response:
        _served(resource_type)
        pairs = _query(request)
        return _answer(request, pairs if isinstance(pairs, Refusal) else query.search(resource_type, pairs), Form.SEARCHSET)

    @router.get("/fhir/{resource_type}/{resource_id}", summary="Read", tags=["release"])
    async def read(request: Request, resource_type: TypeName, resource_id: ResourceId) -> Response:
        _served(resource_type)
        pairs = _query(request)
        return _answer(request, pairs if isinstance(pairs, Refusal) else query.read(resource_type, resource_id, pairs), Form.RESOURCE)

    @router.get("/api/v1/recognition", summary="Is there a result that needs no repeating?", tags=["release"], openapi_extra=_RECOGNITION)
    async def recognise(request: Request) -> Response:
        await _authenticated(request)
        pairs = _query(request)
        if isinstance(pairs, Refusal):
            raise errors.Invalid("The query can't be read.")
        asked = recognition.question(pairs, known, clock.now())
        return GatedAnswer(request, Ask(authorization_of(request), asked.wanted, Form.RECOGNITION, question=asked))

    @router.post("/releases", summary="One release as one Bundle", tags=["release"], openapi_extra=_RELEASE_REQUEST)
    async def releases(request: Request) -> Response:
        await _authenticated(request)
        settings = request.app.state.settings
        raw = await request.body()
        wanted, application = _release_request(read_json(raw, max_bytes=settings.max_body_bytes, max_depth=settings.max_json_depth))
        answer = _answer(request, wanted, Form.COLLECTION, application)
        key = key_of(request.headers.getlist("idempotency-key"))
        answer.once = None if key is None else (key, f"{application}\n".encode() + raw)
        return answer

    @router.get("/releases/{release_id}", summary="Manifest of a release", tags=["release"])
    async def manifest(request: Request, release_id: str) -> dict[str, Any]:
        return await receipts.manifest(request.app.state.parts, authorization_of(request), await proven_by(request), release_id)

    @router.get("/releases/{release_id}/provenance", summary="Who signed a release, as FHIR Provenance", tags=["release"])
    async def provenance(request: Request, release_id: str) -> Response:
        document = await receipts.provenance(request.app.state.parts, authorization_of(request), await proven_by(request), release_id)
        return Response(document, media_type=FHIR_JSON)

    @router.get("/releases/{release_id}/receipt", summary="Inclusion proof of a release", tags=["release"], response_class=PlainTextResponse)
    async def receipt(request: Request, release_id: str) -> Response:
        return PlainTextResponse(await receipts.receipt(request.app.state.parts, authorization_of(request), await proven_by(request), release_id))

    return router


def _served(resource_type: str) -> None:
    """Refuse what isn't an R4 type that can ever leave, in words that are the same for every caller."""
    if not _known(resource_type):
        raise edge.NotServed


def _release_request(body: Any) -> tuple[query.Wanted, str]:
    if not isinstance(body, dict):
        raise errors.Invalid("The body must be an object.", problems=(errors.Problem("/", "type", "must be an object"),))
    problems = [
        errors.Problem(f"/{name}" if name.isidentifier() else "/", "unknown", "is not a field of a release request")
        for name in body
        if name not in ("application", "patient", "types")
    ]
    problems += [
        errors.Problem(f"/{name}", "required", "must be an id")
        for name in ("application", "patient")
        if not isinstance(body.get(name), str) or not query.ID.fullmatch(body[name])
    ]
    types = body.get("types", [])
    if not isinstance(types, list) or not all(isinstance(one, str) and _known(one) for one in types):
        problems.append(errors.Problem("/types", "value", "must be a list of FHIR R4 resource types that are served"))
    if problems:
        raise errors.Invalid(f"{len(problems)} field(s) are not valid.", problems=tuple(problems))
    return query.Wanted(patient=body["patient"], types=tuple(sorted(set(types))), everything=True, path="releases"), body["application"]
