"""Reading a signed token before anything in it is believed: size, shape, and JSON that says each thing once.

Checked before any key is looked for, so that no oversized, nested, unsigned or ambiguous token reaches a library
(CVE-2025-61920 oversized segments, CVE-2025-59420 unknown ``crit``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from joserfc.util import urlsafe_b64decode

MAX_HEADER = 512  #: characters, base64url
MAX_PAYLOAD = 8192
MAX_SIGNATURE = 1024
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")


class TokenUnreadable(Exception):
    """A token is not a compact JWS that can be read. The message is ASCII and repeats nothing of the token."""


@dataclass(frozen=True)
class Unverified:
    """Header and claims of a token whose signature has not been checked."""

    header: dict[str, Any]
    claims: dict[str, Any]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise TokenUnreadable("The token names a member twice.")
    return members


def _no_constant(_: str) -> NoReturn:
    raise TokenUnreadable("The token holds a number that JSON does not know.")


def _object(segment: str) -> dict[str, Any]:
    try:
        text = urlsafe_b64decode(segment.encode()).decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise TokenUnreadable("The token is not base64url of JSON.") from error
    if not isinstance(value, dict):
        raise TokenUnreadable("The token's parts must be JSON objects.")
    return value


def read(token: str) -> Unverified:
    """Header and claims of a compact JWS (RFC 7515 7.1). Raises TokenUnreadable."""
    if len(token) > MAX_HEADER + MAX_PAYLOAD + MAX_SIGNATURE + 2:
        raise TokenUnreadable("The token is too large.")
    segments = token.split(".")
    if len(segments) != 3:
        raise TokenUnreadable("The token must have three parts.")
    for segment, limit in zip(segments, (MAX_HEADER, MAX_PAYLOAD, MAX_SIGNATURE), strict=True):
        if len(segment) > limit or not _SEGMENT.fullmatch(segment):
            raise TokenUnreadable("A part of the token is empty, too large or not base64url.")
    return Unverified(_object(segments[0]), _object(segments[1]))
