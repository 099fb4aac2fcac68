"""Rich authorization requests (RFC 9396): one release of FHIR data, asked for as an object beside or in place of ``scope``. Pure.

``[{"type": "fhir_data_release", "application": "SA-2026-000001", "purpose": "TREAT", "actions": ["read", "search"],
"datatypes": ["Observation"], "locations": ["https://…/fhir"]}]``: type and application are required; what is left out is not narrowed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from broker.identity.scopes import ScopeRefused, SmartScope

TYPE = "fhir_data_release"
MAX_CHARACTERS = 4096
_LETTERS = {"read": "r", "search": "s"}
_FIELDS = frozenset({"type", "application", "purpose", "actions", "datatypes", "locations"})
_NAME = re.compile(r"[A-Z][A-Za-z]{1,63}")
_APPLICATION = re.compile(r"SA-[0-9]{4}-[0-9]{6}")
_PURPOSE = re.compile(r"[A-Z0-9]{1,32}")


@dataclass(frozen=True)
class Detail:
    """What one object asks for."""

    application: str  #: SA-YYYY-NNNNNN
    letters: str  #: ``r``, ``s`` or both
    datatypes: tuple[str, ...]  #: empty: every type of the grant
    purpose: str | None
    locations: tuple[str, ...]

    def scopes(self) -> tuple[SmartScope, ...]:
        """The same as SMART scopes."""
        return tuple(SmartScope("system", name, self.letters) for name in self.datatypes or ("*",))

    def cut(self, scopes: tuple[SmartScope, ...]) -> tuple[SmartScope, ...]:
        """What of granted scopes lies within this, too."""
        found: dict[SmartScope, None] = {}
        for one in scopes:
            letters = "".join(letter for letter in one.letters if letter in self.letters)
            if letters and (not self.datatypes or one.resource_type in self.datatypes):
                # The v1 words stand for both letters; what is less is said in v2.
                found[SmartScope(one.context, one.resource_type, letters, v1=one.v1 and letters == one.letters, category=one.category)] = None
        return tuple(found)


def parse(text: str) -> Detail | ScopeRefused:
    """Read the parameter. An unknown type, field or value is refused whole (RFC 9396 5)."""
    if len(text) > MAX_CHARACTERS:
        return ScopeRefused("authorization_details is too long.")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return ScopeRefused("authorization_details is not JSON.")
    if not isinstance(given, list) or len(given) != 1 or not isinstance(given[0], dict):
        return ScopeRefused("authorization_details must be a list of one object.")
    one: dict[str, Any] = given[0]
    if one.get("type") != TYPE or one.keys() - _FIELDS:
        return ScopeRefused(f"authorization_details must be of type {TYPE} with application, purpose, actions, datatypes and locations alone.")
    application, purpose = one.get("application"), one.get("purpose")
    actions, datatypes, locations = (one.get(name, default) for name, default in (("actions", [*_LETTERS]), ("datatypes", []), ("locations", [])))
    good = (
        isinstance(application, str)
        and _APPLICATION.fullmatch(application) is not None
        and (purpose is None or (isinstance(purpose, str) and _PURPOSE.fullmatch(purpose) is not None))
        and _texts(actions)
        and bool(actions)
        and set(actions) <= _LETTERS.keys()
        and _texts(datatypes)
        and all(_NAME.fullmatch(name) for name in datatypes)
        and _texts(locations)
    )
    if not good:
        return ScopeRefused("A value of authorization_details can't be read.")
    letters = "".join(letter for action, letter in _LETTERS.items() if action in actions)
    return Detail(str(application), letters, tuple(dict.fromkeys(datatypes)), purpose, tuple(locations))


def _texts(given: object) -> bool:
    return isinstance(given, list) and len(given) <= 100 and all(isinstance(one, str) for one in given)


def granted(application: str, purpose: str, scopes: tuple[SmartScope, ...], location: str) -> list[dict[str, Any]]:
    """What was granted, as the token, its answer and introspection say it (RFC 9396 7)."""
    letters = {letter for one in scopes for letter in one.letters}
    return [
        {
            "type": TYPE,
            "application": application,
            "purpose": purpose,
            "actions": [action for action, letter in _LETTERS.items() if letter in letters],
            "datatypes": sorted({one.resource_type for one in scopes}),
            "locations": [location],
        }
    ]
