"""Reading the form of an OAuth2 request before Authlib sees it.

Authlib is synchronous and takes a dictionary, which would drop a repeated parameter silently. RFC 6749 3.2: parameters come
in the body as a form, each once, and never in the address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

MAX_BYTES = 32_768
MAX_FIELDS = 32
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Form:
    """The parameters, each once, and the Authorization header if there is one."""

    values: Mapping[str, str]
    authorization: str | None
    proofs: tuple[str, ...] = ()  #: DPoP headers (RFC 9449)


@dataclass(frozen=True)
class FormRefused:
    """Not a form that OAuth2 allows. ``reason`` is ASCII and repeats nothing that was sent."""

    reason: str
    status: int = 400


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)


async def oauth_form(request: Request) -> Form | FormRefused:
    """The form of a request to one of the OAuth2 endpoints."""
    if request.url.query:
        return FormRefused("Parameters belong in the body, not in the address.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return FormRefused(f"The body must be {FORM}.")
    if len(request.headers.getlist("authorization")) > 1:
        return FormRefused("There is more than one Authorization header.")
    body = await _body(request)
    if body is None:
        return FormRefused("The body is too large.", 413)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        return FormRefused("The form can't be read.")
    values = dict(pairs)
    if len(values) != len(pairs):
        return FormRefused("A parameter is given more than once.")
    # RFC 6749 3.2: a parameter sent without a value is treated as if it were not there.
    return Form(
        {name: value for name, value in values.items() if value}, request.headers.get("authorization"), tuple(request.headers.getlist("dpop"))
    )


OAuthForm = Annotated[Form | FormRefused, Depends(oauth_form)]
