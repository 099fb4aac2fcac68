"""What every request and every answer passes: request number, size limit, headers, and the one place errors are written.

The form of an error follows the path: OperationOutcome under ``/fhir``, RFC 6749 JSON under ``/oauth2``, RFC 9457
problem+json elsewhere. None of them repeats a value that was sent, nor a name that may hold one.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from psycopg import DataError, Error, OperationalError
from psycopg.errors import ReadOnlySqlTransaction
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker import errors, metrics
from broker.errors import BrokerError, Problem
from broker.fhir import outcome
from broker.fhir.errors import sentence
from broker.fhir.parse import read_json, shown_key
from broker.settings import Settings

log = logging.getLogger("broker")

#: Sent with every answer. Discovery documents may be cached and read across origins; they set their own.
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"vary", b"Authorization, Accept-Language"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"strict-transport-security", b"max-age=31536000"),
)


#: Media types of errors, and of whatever else is sent.
FHIR_JSON, JSON, PROBLEM_JSON = "application/fhir+json", "application/json", "application/problem+json"


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class NotServed(BrokerError):
    """There is nothing at this address, or it doesn't take this method."""

    status = 404
    code = "not-served"
    zh = "此地址不存在，或不支持该方法。"
    help_en = "See /fhir/metadata and the README for what is served."
    help_zh = "可用接口见 /fhir/metadata 与 README。"


class MethodNotAllowed(NotServed):
    """This address doesn't take this method."""

    status = 405
    code = "method-not-allowed"
    zh = "此地址不支持该方法。"


class BrokenOff(Exception):
    """Something went wrong after the answer had begun; the connection is closed so that nobody takes it for whole."""


class Edge:
    """ASGI middleware: numbers the request, limits its body, completes the answer's headers, and answers what nobody else caught.

    The limit stands here and not in the framework, whose own answer to a large body has another form and takes the place of
    answers that were made, and recorded, already.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, received, status, begun = False, 0, 0, time.perf_counter()

        async def completed(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                headers = message.setdefault("headers", [])
                present = {name for name, _ in headers}
                headers.extend((name, value) for name, value in HEADERS if name not in present)
                headers.append((b"x-request-id", request_id.encode()))
            await send(message)

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received <= self.max_body_bytes:
                return message
            if started:  # Whoever still asks wants to know whether the caller is there: this one is no use to us any more.
                return {"type": "http.disconnect"}
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

        request = Request(scope)
        try:
            if _declared_length(request) > self.max_body_bytes:
                await rendered(request, errors.TooLarge())(scope, receive, completed)
            else:
                await self.app(scope, limited, completed)
        except Exception as error:  # noqa: BLE001  (the server would write the message into its log, and it may hold data)
            answer = await _unexpected(request, error)
            if started:
                raise BrokenOff from None
            await answer(scope, receive, completed)
        finally:
            metrics.request_done(_pattern(scope), _method(scope), status, time.perf_counter() - begun)


def _pattern(scope: Scope) -> str:
    """The pattern of the route that was found; addresses that nobody serves count as one, since callers choose them."""
    return str(getattr(scope.get("route"), "path", "none"))


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _declared_length(request: Request) -> int:
    declared = request.headers.get("content-length", "")
    return int(declared) if re.fullmatch("[0-9]{1,18}", declared) else 0


def language(request: Request) -> str:
    """``zh`` or ``en``: which of them Accept-Language prefers (RFC 9110 12.5.4), else the setting."""
    weights: dict[str, float] = {}
    for part in request.headers.get("accept-language", "").lower().split(",")[:20]:
        tag, _, weight = part.replace(" ", "").partition(";")
        asked = tag.partition("-")[0]
        if asked in ("zh", "en") and asked not in weights:
            weights[asked] = float(weight[2:]) if re.fullmatch(r"q=[01](\.[0-9]{1,3})?", weight) else 1.0
    if weights and max(weights.values()) > 0:
        return max(weights, key=weights.__getitem__)
    settings: Settings | None = getattr(request.app.state, "settings", None) if "app" in request.scope else None
    return "zh" if settings is None else settings.language


#: Shows an error in a form of its own.
ErrorPage = Callable[[Request, BrokerError], Response]


def _error_page(request: Request) -> ErrorPage | None:
    """Who shows errors under this path, where the app names somebody: ``app.state.error_pages``, by the first step of the path."""
    pages: dict[str, ErrorPage] = getattr(request.app.state, "error_pages", {}) if "app" in request.scope else {}
    return pages.get("/" + request.url.path.split("/")[1])


def rendered(request: Request, error: BrokerError) -> Response:
    """The error in the form that its path asks for."""
    if (page := _error_page(request)) is not None:
        return page(request, error)
    path, request_id = request.url.path, request.scope.get("state", {}).get("request_id", "")
    spoken = language(request)
    if path == "/fhir" or path.startswith("/fhir/"):
        body: dict[str, Any] = outcome.render(error, spoken, request_id)
        media = FHIR_JSON
    elif path.startswith("/oauth2/"):
        body = {"error": "temporarily_unavailable" if error.status >= 500 else "invalid_request", "error_description": error.title("en")}
        media = JSON
    else:
        body = {
            "type": f"urn:broker:problem:{error.code}",
            "title": error.title(spoken),
            "status": error.status,
            "detail": error.detail or error.title(spoken),
            "code": error.code,
            "help": error.help(spoken),
            "request_id": request_id,
        }
        if error.problems:
            body["errors"] = [{"path": found.path, "code": found.code, "message": sentence(found, spoken)} for found in error.problems]
        media = PROBLEM_JSON
    return Response(json.dumps(body, ensure_ascii=False), error.status, error.headers, media)


def _of_validation(error: RequestValidationError, spoken: str) -> BrokerError:
    """FastAPI's findings as ours. The value that was sent is left out, since it may be a patient's, and so is a name we don't know."""
    found = error.errors()
    if any(one["type"] in ("json_invalid", "json_type") for one in found):
        return errors.Malformed("The body is not JSON that can be read.")
    problems = tuple(Problem(_place(one["loc"]), one["type"], errors.field_sentence(one["type"], one.get("ctx", {}), spoken)) for one in found[:50])
    return errors.Invalid(f"{len(found)} 个字段不合规范。" if spoken == "zh" else f"{len(found)} field(s) are not valid.", problems=problems)


def _place(steps: Sequence[str | int]) -> str:
    """Where, as a JSON pointer. A key of the body may be anything, so that only what can be a field's name is repeated."""
    return "/" + "/".join(str(step) if isinstance(step, int) or steps[0] == "header" else shown_key(step) for step in steps)


async def strictly(request: Request) -> None:
    """Refuse what could be read in two ways, or would be overlooked, which FastAPI's own reader doesn't mind.

    JSON with a key that stands twice, another encoding than UTF-8, NaN, nesting without end. In the address, a parameter that the
    route doesn't have (to ignore it would widen what a list shows) and one that is given twice.
    """
    route = request.scope["route"]
    known = {field.alias for field in route.dependant.query_params}
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) != len(set(names)):
        raise errors.Malformed("A parameter is given more than once.")
    if not known.issuperset(names):
        raise errors.Malformed(f"There is a parameter that is not served here. Served: {', '.join(sorted(known)) or 'none'}.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json")) and (body := await request.body()):
        settings: Settings = request.app.state.settings
        read_json(body, max_bytes=settings.max_body_bytes, max_depth=settings.max_json_depth)


#: To be named in ``dependencies`` of a router whose requests FastAPI reads.
STRICT = Depends(strictly)


_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.*", re.ASCII)


def _written_moment(value: object) -> object:
    """Pydantic would also take a number, or a day, for a time."""
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return value
    raise PydanticCustomError("datetime_parsing", "a time is written as RFC 3339 does")


#: A moment as callers write it: RFC 3339, with its zone.
Moment = Annotated[AwareDatetime, BeforeValidator(_written_moment)]


def _printable(text: str) -> str:
    if not text.strip() or any(ord(character) < 32 and character not in "\n\r\t" for character in text):
        raise PydanticCustomError("text", "It must not be blank and hold no control characters.")
    return text


#: What people write: something, and no control characters but tabs and the ends of lines.
Printable = Annotated[str, AfterValidator(_printable)]


def install(app: FastAPI, *, max_body_bytes: int = 4_000_000) -> None:
    """Put the edge around the app."""
    app.add_middleware(Edge, max_body_bytes=max_body_bytes)
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        BrokerError: _broker_error,
        RequestValidationError: _validation_error,
        HTTPException: _http_error,
        UnicodeError: _not_text,
        OperationalError: _database_away,
        ReadOnlySqlTransaction: _database_away,
        DataError: _not_storable,
        DBAPIError: _database_error,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _broker_error(request: Request, error: BrokerError) -> Response:
    return rendered(request, error)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    return rendered(request, _of_validation(error, language(request)))


async def _http_error(request: Request, error: HTTPException) -> Response:
    kinds: dict[int, type[BrokerError]] = {
        404: NotServed,
        405: MethodNotAllowed,
        401: errors.NotAuthenticated,
        403: errors.Forbidden,
        413: errors.TooLarge,
    }
    kind = kinds.get(error.status_code, errors.Malformed if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else BrokerError)
    return rendered(request, kind(headers=dict(error.headers or {})))


async def _not_text(request: Request, _: UnicodeError) -> Response:
    return rendered(request, errors.Malformed("The request is not UTF-8."))


async def _not_storable(request: Request, error: DataError) -> Response:
    # A NUL character in a text is refused by PostgreSQL or its driver, long after every check of ours.
    log.warning("not storable: %s, request %s", type(error).__name__, request.scope.get("state", {}).get("request_id", ""))
    return rendered(request, errors.Malformed("A text holds a character that can't be stored."))


async def _database_away(request: Request, error: Error) -> Response:
    log.error("database unavailable: %s", type(error).__name__)
    return rendered(request, errors.Unavailable())


async def _database_error(request: Request, error: DBAPIError) -> Response:
    # One that may only be read, such as a standby: what can't be recorded is not done.
    if isinstance(error.orig, OperationalError | ReadOnlySqlTransaction):
        return await _database_away(request, error.orig)
    if isinstance(error.orig, DataError):
        return await _not_storable(request, error.orig)
    return await _unexpected(request, error)


async def _unexpected(request: Request, error: Exception) -> Response:
    # The message may hold data, so that only the kind and the place are logged.
    trace, place = error.__traceback__, ""
    while trace is not None:
        place, trace = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}", trace.tb_next
    log.error("unexpected %s at %s, request %s", type(error).__name__, place, request.scope.get("state", {}).get("request_id", ""))
    return rendered(request, BrokerError())
