"""The few code systems that consents are written in, as data (HL7 FHIR R4 4.0.1, CC0), and what subsumes what.

``purposes.json`` and ``sensitivity.json`` are trees (child → parents), ``confidentiality.json`` is an order, ``handling.json``
lists labels that say how to handle data and not what they are about, ``directives.json`` says which base a ``policyRule`` states,
``roles.json`` which licence makes somebody a doctor, a nurse or a pharmacist.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def _data(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_HERE / f"{name}.json").read_text(encoding="utf-8"))
    return content


class Tree:
    """Codes of one system with their parents: a code subsumes itself and everything below it."""

    def __init__(self, name: str) -> None:
        content = _data(name)
        self.system: str = content["system"]
        self._parents: dict[str, list[str]] = content["parents"]
        self._wider: dict[str, frozenset[str]] = {}

    def __contains__(self, code: object) -> bool:
        return code in self._parents

    @property
    def all(self) -> frozenset[str]:
        """Every code of the tree."""
        return frozenset(self._parents)

    def wider(self, code: str) -> frozenset[str]:
        """The code itself and every code above it; just the code itself if the tree doesn't know it."""
        known = self._wider.get(code)
        if known is None:
            known = frozenset({code}).union(*(self.wider(parent) for parent in self._parents.get(code, ())))
            if code in self._parents:  # Codes from outside are not remembered: there is no end to them.
                self._wider[code] = known
        return known

    @cache  # noqa: B019  (There are two trees, and they live as long as the process.)
    def narrower(self, code: str) -> frozenset[str]:
        """The code itself and every code below it."""
        return frozenset({code, *(other for other in self._parents if code in self.wider(other))})


PURPOSES = Tree("purposes")
SENSITIVITY = Tree("sensitivity")

_confidentiality = _data("confidentiality")
CONFIDENTIALITY_SYSTEM: str = _confidentiality["system"]
#: U 0, L 1, M 2, N 3, R 4, V 5.
CONFIDENTIALITY: dict[str, int] = {code: rank for rank, code in enumerate(_confidentiality["order"])}
#: Retired codes of the confidentiality system and the sensitivity codes that took their place.
MOVED: dict[str, str] = _confidentiality["moved"]

#: Codes of v3-ActCode that say how data are to be handled; as labels they don't say what the data are about.
HANDLING: frozenset[str] = frozenset(_data("handling")["codes"])

_directives = _data("directives")
DIRECTIVE_SYSTEM: str = _directives["system"]
#: Base of a consent without a typed root: directive → ``permit`` or ``deny``.
DIRECTIVES: dict[str, str] = _directives["base"]
#: Directives that say "with restrictions" or "with exceptions" and mean nothing until these are stated.
NEEDS_TERMS: frozenset[str] = frozenset(_directives["needs_terms"])

#: Licence of the register of qualifications → the roles of FHIR, as ``system|code``, that whoever holds it has.
ROLES: dict[str, tuple[str, ...]] = {licence: tuple(codes) for licence, codes in _data("roles")["roles"].items()}
