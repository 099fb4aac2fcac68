"""Whether what is about to be sent refers to anything that the recipient may not fetch: the checker's own reading (``fhir.checker``).

Where references may lead is told by whoever has read the database; whether they lead nowhere else is found out here, of the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from broker.errors import Problem
from broker.fhir.plan import NOBODYS_TYPES

_REFERENCES = re.compile(rb'"reference":"([^"]*)"').findall
_ADDRESS = re.compile(r"[A-Za-z0-9+.:/\-_~%@]*?(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9.\-]{1,64}(/_history/[A-Za-z0-9.\-]{1,64})?", re.ASCII)

#: Elements called ``reference`` that are a link to a document, not a Reference (R4; an Expression is told by its ``language``).
_LINKS = frozenset({("DetectedIssue",), ("Immunization", "education")})


class Ways:
    """Where references may lead in one release: the patient's own id, what of the patient may be fetched, and what is nobody's."""

    __slots__ = ("_fine", "_open")

    def __init__(self, reachable: Collection[str], patient: str) -> None:
        self._open = frozenset({*reachable, f"Patient/{patient}"})
        self._fine: set[bytes] = {one.encode() for one in self._open}

    def lead_astray(self, joined: bytes) -> bool:
        """Whether something among these bytes may be a reference to elsewhere. A look at the few different ones that there are."""
        unseen = set(_REFERENCES(joined)) - self._fine
        if not unseen:
            return False
        good = {one for one in unseen if self._leads_on(one.decode("utf-8", "replace"))}
        self._fine |= good
        return len(good) < len(unseen)

    def problems(self, resource: dict[str, Any], where: str) -> list[Problem]:
        """One problem for each reference that leads elsewhere."""
        found = []
        for path, steps, value in _holders(resource, (resource["resourceType"],)):
            if steps not in _LINKS and "language" not in value and not self._leads_on(value["reference"]):
                found.append(Problem(f"{where}{path}", "dangling-reference", "it refers to what this recipient may not fetch"))
        return found

    def _leads_on(self, reference: str) -> bool:
        if reference.split("/_history/", maxsplit=1)[0] in self._open:
            return True
        address = _ADDRESS.fullmatch(reference)
        return address is not None and address["type"] in NOBODYS_TYPES


def _holders(value: Any, steps: tuple[str, ...], path: str = "") -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Every object with a text called ``reference``: its path as shown, its names alone, itself."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _holders(each, steps, f"{path}[{index}]")
    elif isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield path, steps, value
        for name, each in value.items():
            yield from _holders(each, (*steps, name), f"{path}.{name}")


def ways(reachable: Collection[str] | None, patient: str) -> Ways | None:
    """None where nobody asks."""
    return None if reachable is None else Ways(reachable, patient)


def may_lead_astray(given: Ways | None, bodies: Sequence[bytes]) -> bool:
    """The quick look, which has doubts rather than none."""
    return given is not None and given.lead_astray(b"\n".join(bodies))
