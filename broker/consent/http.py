"""What the routes of the registry share: reading bodies and queries as FHIR wants them, and refusing the rest in its form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from broker.consent.errors import NotJson, SearchNotServed
from broker.consent.query import JSON_FORMATS
from broker.crypto import Keys
from broker.errors import Malformed, NotAcceptable, Problem
from broker.fhir.negotiation import takes_json
from broker.fhir.parse import read_json
from broker.identity.access import PersonCaller
from broker.settings import Settings

FHIR_JSON = "application/fhir+json; charset=utf-8"
_JSON_TYPES = ("application/fhir+json", "application/json", "text/json")
_FORM = "application/x-www-form-urlencoded"

May = Callable[..., PersonCaller]
#: What OpenAPI says of a body that is FHIR.
PARAMETERS = {"requestBody": {"required": True, "content": {"application/fhir+json": {"schema": {"type": "object"}}}}}


async def _body(request: Request) -> bytes:
    return await request.body()


async def _json_body(request: Request) -> bytes:
    """The body of a request that says it is JSON, or doesn't say."""
    kind = request.headers.get("content-type", _JSON_TYPES[0]).partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES:
        raise NotJson
    return await request.body()


def json_is_taken(request: Request) -> None:
    """ITI-108 and R4 http.html#mime-type: FHIR JSON is what is served. ``_format`` goes before Accept. Raises NotAcceptable."""
    formats = request.query_params.getlist("_format")
    if any(one.lower() not in JSON_FORMATS for one in formats) or (not formats and not takes_json(request.headers.get("accept"))):
        raise NotAcceptable


Body = Annotated[bytes, Depends(_json_body)]
Form = Annotated[bytes, Depends(_body)]


def read(request: Request, body: bytes) -> Any:
    """The JSON value of a body, within the limits that are set."""
    settings: Settings = request.app.state.settings
    value = read_json(body, max_bytes=settings.max_body_bytes, max_depth=settings.max_json_depth)
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise Malformed(problems=(Problem("$", "not-utf8", "It holds half of a surrogate pair, which is no character."),)) from None
    return value


def keys(request: Request) -> Keys:
    """The keys of the installation."""
    found: Keys = request.app.state.keys
    return found


def base(request: Request) -> str:
    """The public address."""
    settings: Settings = request.app.state.settings
    return settings.base_url


def pairs(request: Request) -> list[tuple[str, str]]:
    """The parameters of the query."""
    return _pairs(request.scope["query_string"])


def form_pairs(request: Request, body: bytes) -> list[tuple[str, str]]:
    """The parameters of the query and of the form."""
    if request.headers.get("content-type", _FORM).partition(";")[0].strip().lower() != _FORM:
        raise NotJson(f"Send Content-Type: {_FORM}.")
    return [*pairs(request), *_pairs(body)]


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=40, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise SearchNotServed("The query can't be read.") from None
