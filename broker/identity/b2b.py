"""What a client says of who asks and why: the ``hl7-b2b`` extension of its assertion (UDAP Security IG 1.0, "B2B Authorization Extension").

It is the client's own word, signed by it. The purpose must be the grant's, or no token is given; the rest is passed on in the token
and its hash is on record. It never widens anything. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

NAME = "hl7-b2b"
VERSION = "1"
_MAX = 256
_TEXTS = ("subject_name", "subject_id", "subject_role", "organization_id", "organization_name")
_LISTS = ("purpose_of_use", "consent_policy", "consent_reference")


@dataclass(frozen=True)
class B2B:
    """The extension, checked for form."""

    purposes: frozenset[str]  #: codes, without their system
    said: Mapping[str, Any]

    @property
    def subject(self) -> str | None:
        """SHA-256, hex, of who asks at the client's, for the record; None where nobody is named."""
        parts = [str(self.said.get(name, "")) for name in ("subject_id", "subject_name", "subject_role")]
        return sha256("\x1f".join(parts).encode()).hexdigest() if any(parts) else None


def read(claims: Mapping[str, Any]) -> B2B | str | None:
    """The extension in an assertion's claims; None where there is none, a sentence (ASCII) where it is not in order."""
    extensions = claims.get("extensions")
    if extensions is None:
        return None
    if not isinstance(extensions, dict):
        return "extensions must be an object."
    said = extensions.get(NAME)
    if said is None:
        return None
    if not isinstance(said, dict) or said.get("version") != VERSION or said.keys() - {"version", *_TEXTS, *_LISTS}:
        return "hl7-b2b must be an object of version 1 with its own members alone."
    if any(not isinstance(said[name], str) or not 0 < len(said[name]) <= _MAX for name in _TEXTS if name in said):
        return "A text of hl7-b2b is empty, too long or no text."
    for name in _LISTS:
        listed = said.get(name, [])
        if not isinstance(listed, list) or len(listed) > 20 or any(not isinstance(one, str) or not 0 < len(one) <= _MAX for one in listed):
            return "A list of hl7-b2b is too long or holds something else than texts."
    if not said.get("purpose_of_use") or not said.get("organization_id"):
        return "hl7-b2b must say organization_id and purpose_of_use."
    if said.get("consent_policy") and not said.get("consent_reference"):
        return "hl7-b2b with consent_policy must say consent_reference."
    return B2B(frozenset(one.rpartition("#")[2].rpartition("|")[2] for one in said["purpose_of_use"]), said)
