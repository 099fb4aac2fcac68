"""HTTP of bulk exports (Bulk Data Access 3.0.0): kick-off, status, files, deletion. No decisions."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC
from email.utils import format_datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response
from sqlmodel import Session
from starlette.types import Receive, Scope, Send

from broker import edge, errors, metrics
from broker.database import SessionDep
from broker.fhir.negotiation import sends_json
from broker.fhir.parse import read_json
from broker.release import pacing
from broker.release.answers import Kind, Refusal
from broker.release.bulk import asked, orders, sending
from broker.release.bulk.asked import Asked
from broker.release.bulk.orders import Finished, Means, Progress, Shown
from broker.release.errors import NotAsynchronous, of_refusal
from broker.release.routes import authorization_of, proven_by
from broker.release.service import Parts

JSON = "application/json"
#: Where a digest stands in a manifest.
DIGEST = "https://data-sharing-broker.example/fhir/StructureDefinition/sha-256"
_PARAMETERS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/fhir+json": {
                "schema": {"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"const": "Parameters"}}}
            }
        },
    }
}


class GatedFile(Response):
    """A file of an export, each patient's part of which is judged, recorded and sent while that patient's gate is held."""

    def __init__(self, request: Request, shown: Shown, export: UUID | None, name: UUID | None) -> None:
        super().__init__()
        self.request = request
        self.shown = shown
        self.export = export
        self.name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or the refusal."""
        parts: Parts = self.request.app.state.parts
        began = asyncio.get_running_loop().time()
        nothing = UUID(int=0)
        outflow = sending.Outflow(send, receive, parts.settings.gate_timeout)
        refusal = await sending.send_file(parts, self.shown, self.export or nothing, self.name or nothing, outflow, gzip=_takes_gzip(self.request))
        if refusal is None:
            metrics.release_done("sent")
            return
        metrics.release_done(refusal.kind.value)
        if refusal.kind in pacing.PACED:
            await pacing.even(began, parts.settings.refusal_step)
        await edge.rendered(self.request, of_refusal(refusal))(scope, receive, send)


async def _shown(request: Request) -> Shown:
    return Shown(authorization_of(request), await proven_by(request))


def _takes_gzip(request: Request) -> bool:
    """Whether gzip may be sent (RFC 9110 12.5.3); nothing is compressed for whoever doesn't ask."""
    for part in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.strip().partition(";")
        if coding.strip() == "gzip" and not re.fullmatch(r"q=0(\.0{0,3})?", weight.replace(" ", "")):
            return True
    return False


def _means(request: Request) -> Means:
    return Means(request.app.state.settings, request.app.state.keys)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _prefers_async(request: Request) -> bool:
    return any(part.strip().lower() == "respond-async" for part in re.split("[,;]", ",".join(request.headers.getlist("prefer"))))


def _started(request: Request, session: Session, shown: Shown, group: str | None, wanted: Asked | Refusal, form: str) -> Response:
    if isinstance(refusal := orders.bearer(_means(request), shown), Refusal):
        raise of_refusal(refusal)
    if not _prefers_async(request):
        raise NotAsynchronous
    base = request.app.state.settings.base_url
    url = f"{base}{request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
    found = orders.start(session, _means(request), shown, wanted, group=group, request=url[:4096], form=form)
    if isinstance(found, Refusal):
        # The refusal is recorded in this request's transaction, which an exception would undo.
        return edge.rendered(request, of_refusal(found))
    return Response(None, 202, {"Content-Location": f"{base}/fhir/$export/{found}", "Preference-Applied": "respond-async"})


def _of_query(request: Request) -> Asked | Refusal:
    raw = request.scope["query_string"]
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=40, errors="strict")
    except (ValueError, UnicodeDecodeError):
        return Refusal(Kind.BAD_QUERY, ("query.unreadable",), "The query can't be read.")
    return asked.read(pairs)


async def _body(request: Request) -> Asked | Refusal:
    """What a POSTed kick-off asks. Its body is read for whoever shows a token of ours, and for nobody else."""
    means = _means(request)
    if isinstance(refusal := orders.bearer(means, await _shown(request)), Refusal):
        raise of_refusal(refusal)
    if not sends_json(request.headers.get("content-type")):
        raise errors.NotJson
    if request.url.query:
        return Refusal(Kind.BAD_QUERY, ("query.not-allowed",), "By POST the parameters stand in the body.")
    settings = means.settings
    pairs = asked.pairs_of(read_json(await request.body(), max_bytes=settings.max_body_bytes, max_depth=settings.max_json_depth))
    return pairs if isinstance(pairs, Refusal) else asked.read(pairs, posted=True)


Caller = Annotated[Shown, Depends(_shown)]
Posted = Annotated[Any, Depends(_body)]
GroupId = Annotated[str, Path(description="Number of the application, whose patients are the group")]
ExportId = Annotated[str, Path(description="As in Content-Location")]
_ANSWERS: dict[int | str, dict[str, Any]] = {202: {"description": "Taken on; Content-Location says where to ask."}}
_STATUS: dict[int | str, dict[str, Any]] = {202: {"description": "Under way; X-Progress says how far."}}


def build_router() -> APIRouter:
    """The routes; to be added before those that take any type and id."""
    router = APIRouter(tags=["bulk"])
    for path, whose in (("/fhir/$export", "system"), ("/fhir/Patient/$export", "patients")):
        _offered(router, path, f"Bulk export: {whose}")

    @router.get("/fhir/Group/{group}/$export", summary="Bulk export: group", status_code=202, responses=_ANSWERS)
    def of_group(request: Request, session: SessionDep, shown: Caller, group: GroupId) -> Response:
        return _started(request, session, shown, group, _of_query(request), "stu3")

    @router.post("/fhir/Group/{group}/$export", summary="Bulk export: group", status_code=202, responses=_ANSWERS, openapi_extra=_PARAMETERS)
    def of_group_by_post(request: Request, session: SessionDep, shown: Caller, group: GroupId, wanted: Posted) -> Response:
        return _started(request, session, shown, group, wanted, "stu4")

    @router.get("/fhir/$export/{export}", summary="How far a bulk export is, or its manifest", responses=_STATUS)
    def status(request: Request, session: SessionDep, shown: Caller, export: ExportId) -> Response:
        found = orders.status(session, _means(request), shown, _uuid(export))
        if isinstance(found, Refusal):
            raise of_refusal(found)
        if isinstance(found, Progress):
            said = f"{found.settled} of {found.patients} patients" if found.patients else "accepted"
            return Response(None, 202, {"X-Progress": said, "Retry-After": str(orders.retry_after(found))})
        return _manifest(request, found)

    @router.delete("/fhir/$export/{export}", summary="End a bulk export and delete its files", status_code=202)
    def cancel(request: Request, session: SessionDep, shown: Caller, export: ExportId) -> Response:
        refusal = orders.cancel(session, _means(request), shown, _uuid(export))
        if refusal is not None:
            raise of_refusal(refusal)
        return Response(None, 202)

    @router.get("/fhir/$export/{export}/outcome.ndjson", summary="What could not be exported")
    def problems(request: Request, session: SessionDep, shown: Caller, export: ExportId) -> Response:
        found = orders.status(session, _means(request), shown, _uuid(export))
        if isinstance(found, Refusal):
            raise of_refusal(found)
        failed = found.failed if isinstance(found, Finished) else 0
        return Response(orjson.dumps(_outcome(failed)) + b"\n" if failed else b"", 200, None, "application/fhir+ndjson")

    @router.get("/fhir/$export/{export}/{file}", summary="One file of a bulk export")
    async def file(request: Request, shown: Caller, export: ExportId, file: Annotated[str, Path(description="As in the manifest")]) -> Response:
        return GatedFile(request, shown, _uuid(export), _uuid(file.removesuffix(".ndjson")))

    return router


def _offered(router: APIRouter, path: str, summary: str) -> None:
    def by_get(request: Request, session: SessionDep, shown: Caller) -> Response:
        return _started(request, session, shown, None, _of_query(request), "stu3")

    def by_post(request: Request, session: SessionDep, shown: Caller, wanted: Posted) -> Response:
        return _started(request, session, shown, None, wanted, "stu4")

    router.add_api_route(path, by_get, methods=["GET"], summary=summary, status_code=202, responses=_ANSWERS)
    router.add_api_route(path, by_post, methods=["POST"], summary=summary, status_code=202, responses=_ANSWERS, openapi_extra=_PARAMETERS)


def _outcome(failed: int) -> dict[str, Any]:
    """How many patients could not be exported though nothing forbade it; not who."""
    said = f"{failed} patients could not be exported; ask for them again. {failed} 名患者未能导出，请重新请求。"
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception", "diagnostics": said}]}


def _manifest(request: Request, found: Finished) -> Response:
    """The manifest, in the form of Bulk Data 3 where it was asked for by GET, of 4 where by POST (extensions as a list, ``outcome``)."""
    export, base = found.export, f"{request.app.state.settings.base_url}/fhir/$export/{found.export.id}"
    new = export.form == "stu4"
    outputs: dict[str, list[dict[str, Any]]] = {"output": [], "deleted": []}
    for file in found.files:
        digest = f"sha-256={file.digest}"
        entry = {
            "type": "Bundle" if file.kind == "deleted" else file.type,
            "url": f"{base}/{file.id}.ndjson",
            "count": file.resources,
            "extension": [{"url": DIGEST, "valueString": digest}] if new else {DIGEST: digest},
        }
        outputs[file.kind].append(entry)
    problems = [{"type": "OperationOutcome", "url": f"{base}/outcome.ndjson", "count": 1}] if found.failed else []
    body = {
        "transactionTime": asked.stamp(export.transaction_time),
        "request": export.request,
        "requiresAccessToken": True,
        **({"outputFormat": "application/fhir+ndjson"} if new else {}),
        **outputs,
        "error": problems,
        **({"outcome": problems} if new else {}),
    }
    headers = {"Expires": format_datetime(export.expires_at.astimezone(UTC), usegmt=True)}
    return Response(orjson.dumps(body), 200, headers, JSON)
