"""References as FHIR writes them, brought to one form. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

_RELATIVE = re.compile(r"([A-Z][A-Za-z]{1,60})/([A-Za-z0-9.\-]{1,64})", re.ASCII)
_ABSOLUTE = re.compile(r"https?://[^\s#?]{1,1000}/([A-Z][A-Za-z]{1,60})/([A-Za-z0-9.\-]{1,64})", re.ASCII)


def canonical(reference: object) -> str | None:
    """``Type/id``, or the URL as it stands; None for anything else: fragments, URNs, searches, a certain version."""
    if isinstance(reference, str) and (_RELATIVE.fullmatch(reference) or _ABSOLUTE.fullmatch(reference)):
        return reference
    return None


def unversioned(reference: object) -> str | None:
    """The reference without the version it may name. For what resources refer to; a rule about one version is not understood."""
    return canonical(reference.partition("/_history/")[0]) if isinstance(reference, str) else None


def type_of(reference: str) -> str:
    """``Organization`` of ``Organization/1`` and of ``https://example.org/fhir/Organization/1``."""
    return reference.split("/")[-2]


def token(identifier: object) -> str | None:
    """An Identifier as ``system|value``; None if it has no value."""
    if not isinstance(identifier, Mapping) or not isinstance(identifier.get("value"), str) or not identifier["value"]:
        return None
    system = identifier.get("system", "")
    return f"{system}|{identifier['value']}" if isinstance(system, str) else None


def tokens(identifiers: Any) -> frozenset[str]:
    """Every identifier of a list as ``system|value``; what can't be read is left out."""
    return frozenset(found for one in (identifiers if isinstance(identifiers, list) else ()) if (found := token(one)))


def canonical_uuid(text: str) -> UUID | None:
    """The UUID that is written in its one usual form; None for anything else that could be taken for one."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None
