"""What every request and every answer passes: request number, headers, and the one place errors are written.

The form of an error follows the path: OperationOutcome under ``/fhir``, RFC 6749 JSON under ``/oauth2``, RFC 9457
problem+json elsewhere. None of them repeats a value that was sent.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from psycopg import OperationalError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker import errors
from broker.errors import BrokerError, Problem
from broker.fhir import outcome
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


class Edge:
    """ASGI middleware: numbers the request and completes the answer's headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                present = {name for name, _ in headers}
                headers.extend((name, value) for name, value in HEADERS if name not in present)
                headers.append((b"x-request-id", request_id.encode()))
            await send(message)

        await self.app(scope, receive, completed)


def language(request: Request) -> str:
    """``zh`` or ``en``: what Accept-Language asks for first, else the setting."""
    asked = request.headers.get("accept-language", "").strip().lower()
    if asked.startswith("en"):
        return "en"
    settings: Settings | None = getattr(request.app.state, "settings", None) if "app" in request.scope else None
    return "zh" if asked.startswith("zh") or settings is None else settings.language


def rendered(request: Request, error: BrokerError) -> Response:
    """The error in the form that its path asks for."""
    path, request_id = request.url.path, request.scope.get("state", {}).get("request_id", "")
    spoken = language(request)
    if path.startswith("/fhir"):
        body: dict[str, Any] = outcome.render(error, spoken, request_id)
        media = "application/fhir+json"
    elif path.startswith("/oauth2"):
        body = {"error": "temporarily_unavailable" if error.status >= 500 else "invalid_request", "error_description": error.title("en")}
        media = "application/json"
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
            body["errors"] = [{"path": problem.path, "code": problem.code, "message": problem.message} for problem in error.problems]
        media = "application/problem+json"
    return Response(json.dumps(body, ensure_ascii=False), error.status, error.headers, media)


def _of_validation(error: RequestValidationError) -> BrokerError:
    """FastAPI's findings as ours; the value that was sent is left out, since it may be a patient's."""
    found = error.errors()
    if any(one["type"] in ("json_invalid", "json_type") for one in found):
        return errors.Malformed("The body is not JSON that can be read.")
    return errors.Invalid(
        f"{len(found)} field(s) are not valid.",
        problems=tuple(Problem("/" + "/".join(str(step) for step in one["loc"]), one["type"], one["msg"]) for one in found),
    )


def install(app: FastAPI) -> None:
    """Put the edge around the app."""
    app.add_middleware(Edge)
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        BrokerError: _broker_error,
        RequestValidationError: _validation_error,
        HTTPException: _http_error,
        UnicodeDecodeError: _undecodable,
        OperationalError: _database_away,
        DBAPIError: _database_error,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _broker_error(request: Request, error: BrokerError) -> Response:
    return rendered(request, error)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    return rendered(request, _of_validation(error))


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


async def _undecodable(request: Request, _: UnicodeDecodeError) -> Response:
    return rendered(request, errors.Malformed("The request is not UTF-8."))


async def _database_away(request: Request, error: OperationalError) -> Response:
    log.error("database unavailable: %s", type(error).__name__)
    return rendered(request, errors.Unavailable())


async def _database_error(request: Request, error: DBAPIError) -> Response:
    if isinstance(error.orig, OperationalError):
        return await _database_away(request, error.orig)
    # A NUL character or a lone surrogate in a text is refused by PostgreSQL or its driver, long after every check of ours.
    if type(error.orig).__name__ in ("DataError", "UntranslatableCharacter"):
        return rendered(request, errors.Malformed("A text holds a character that can't be stored."))
    return await _unexpected(request, error)


async def _unexpected(request: Request, error: Exception) -> Response:
    # The message may hold data, so that only the kind and the place are logged.
    trace, place = error.__traceback__, ""
    while trace is not None:
        place, trace = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}", trace.tb_next
    log.error("unexpected %s at %s, request %s", type(error).__name__, place, request.scope.get("state", {}).get("request_id", ""))
    return rendered(request, BrokerError())
