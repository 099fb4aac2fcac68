"""Is this the patient that is meant? Pure rules; a doubtful match is never guessed (QA-2.1).

Two independent facts make a match certain: a business identifier that belongs to one patient only, and a name or a birth date that
agrees, with nothing given that disagrees. An identifier alone is one typing error away from somebody else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import permutations
from typing import Any, Literal
from uuid import UUID

Grade = Literal["certain", "probable", "possible", "none"]

#: Ways of joining the parts of a name that are tried; more parts than this are joined in the order given and reversed.
MAX_PERMUTED = 4


@dataclass(frozen=True)
class Match:
    """How sure we are, and of whom. Without a single candidate there is no patient to name."""

    grade: Grade
    patient_key: UUID | None = None
    fhir_id: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A patient who may be meant: what their Patient resource says."""

    patient_key: UUID
    fhir_id: str
    names: frozenset[str]  #: normalised, every way of writing them
    birth_date: str | None
    current: bool  #: not marked inactive and not replaced by another record
    by_identifier: bool


def name_key(name: str) -> str:
    """A name without what people write differently: case, width, spaces, dots, hyphens."""
    return "".join(char for char in unicodedata.normalize("NFKC", name).casefold() if char.isalnum())


def names_of(patient: Mapping[str, Any]) -> frozenset[str]:
    """Every way of writing the patient's names, normalised. Old names count, as people are known by them."""
    written: set[str] = set()
    for name in patient.get("name", ()):
        if name.get("text"):
            written.add(name_key(name["text"]))
        given = [part for part in name.get("given", ()) if part]
        family = name.get("family")
        for parts in ([family, *given], [family, *given[:1]]):
            known = [part for part in parts if part]
            if not family or not given:
                continue
            orders: Iterable[Sequence[str]] = permutations(known) if len(known) <= MAX_PERMUTED else (known, known[::-1], [*known[1:], known[0]])
            written |= {name_key("".join(order)) for order in orders}
    written.discard("")
    return frozenset(written)


def identifiers_of(resource: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """(system, value) pairs of a resource's business identifiers; those without a system or marked old identify nobody."""
    identifiers = resource.get("identifier", [])
    listed = identifiers if isinstance(identifiers, list) else [identifiers]
    return tuple(
        (identifier["system"], identifier["value"])
        for identifier in listed
        if identifier.get("system") and identifier.get("value") and identifier.get("use") != "old"
    )


def is_current(patient: Mapping[str, Any]) -> bool:
    """False for a record marked inactive, or replaced by another."""
    return patient.get("active", True) and not any(link.get("type") == "replaced-by" for link in patient.get("link", ()))


def grade(candidates: Sequence[Candidate], *, name: str | None, birth_date: date | None) -> Match:
    """Judge the candidates that identifier, or name and birth date, led to."""
    if not candidates:
        return Match("none")
    if len(candidates) > 1:
        return Match("possible")
    (only,) = candidates
    name_agrees = None if not name else name_key(name) in only.names
    birth_agrees = None if birth_date is None else only.birth_date == birth_date.isoformat()
    said = [agreement for agreement in (name_agrees, birth_agrees) if agreement is not None]
    graded: Grade = "possible"
    if only.by_identifier and only.current:
        if said and all(said):
            graded = "certain"
        elif not said:
            graded = "probable"
    return Match(graded, only.patient_key, only.fhir_id)
