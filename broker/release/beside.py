"""What would leave beside what stays, type by type and element by element, for the person who decides (RS-5.3.2).

Of what stays only its kind, its number and the reason are told, and of a resource that leaves reduced the names of the elements that
stay: a preview is no way to read what would not be released.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlmodel import Session

from broker.applications import service as applications
from broker.applications.models import Application
from broker.crypto import Keys
from broker.errors import NotFound, Unavailable
from broker.records import service as records

#: Why a resource stays, as codes: its type isn't in the plan; it bears a label that policy or consent withholds; its date, category or
#: code is outside the plan, or the consent says nothing of it.
NOT_NECESSARY, LABELLED, OUTSIDE = "not-necessary", "labelled", "outside"

_CHOICE = re.compile(
    "^(.+?)(Quantity|CodeableConcept|String|Boolean|Integer|DateTime|Period|Reference|Range|Ratio|SampledData|Time|Age|Date|Instant|Timing|Decimal|Money)$"
)
_CHOICES = frozenset(
    {"value", "effective", "onset", "abatement", "deceased", "medication", "performed", "occurrence", "serviced", "timing", "product",
     "multipleBirth", "collected", "fastingStatus", "allowed", "asNeeded", "defaultValue"}
)  # fmt: skip
_ALWAYS = frozenset({"resourceType", "id", "meta"})


@dataclass
class Element:
    """One element of one type: in how many of the resources that leave it goes whole, reduced, or not at all."""

    name: str
    whole: int = 0
    reduced: int = 0
    stays: int = 0


@dataclass
class Kind:
    """One resource type of one patient."""

    type: str
    left: int = 0
    held: Counter[str] = field(default_factory=Counter)
    labels: set[str] = field(default_factory=set)  #: of what is held back because of them
    elements: dict[str, Element] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(default_factory=list)  #: as they would leave


@dataclass(frozen=True)
class Beside:
    """One patient of the application."""

    position: int
    effect: str
    kinds: tuple[Kind, ...]

    @property
    def left(self) -> int:
        """How many resources would leave."""
        return sum(kind.left for kind in self.kinds)

    @property
    def held(self) -> int:
        """How many would stay."""
        return sum(kind.held.total() for kind in self.kinds)


def beside(session: Session, keys: Keys, application: Application, preview: Mapping[str, Any]) -> list[Beside]:
    """The preview of an application, with what stays of each patient. The look is on record already (``applications.look_to_decide``)."""
    found = []
    for (patient_key, _, plan), shown in zip(applications.opinions(session, application), preview["patients"], strict=True):
        try:
            stored = records.whole(session, keys, patient_key)
        except (NotFound, Unavailable):
            stored = []
        found.append(Beside(shown["patient"], shown["effect"], compared(stored, shown["resources"], plan or {})))
    return found


def compared(stored: Sequence[records.Opened], leaving: Sequence[dict[str, Any]], plan: Mapping[str, Any]) -> tuple[Kind, ...]:
    """What is kept against what would leave, by type. Pure."""
    kinds: dict[str, Kind] = {}
    left = {(one["resourceType"], one["id"]): one for one in leaving}
    originals = {(one.type, one.id): one for one in stored}
    pseudonymous = not left.keys() & originals.keys()
    for place, resource in left.items():
        kind = kinds.setdefault(place[0], Kind(place[0]))
        kind.left += 1
        kind.resources.append(resource)
        if place in originals:
            _elements(kind, orjson.loads(originals[place].body), resource)
    counts = Counter(place[0] for place in left)
    denied = set((plan.get("labels") or {}).get("deny", ()))
    for place, one in originals.items():
        # Under pseudonyms nobody can be told apart, so that as many as leave are taken as left.
        if place in left or (pseudonymous and counts[one.type] > 0 and not counts.subtract({one.type: 1})):
            continue
        kind = kinds.setdefault(one.type, Kind(one.type))
        sensitive = {label for label in one.labels if label in denied}
        if one.type not in (plan.get("types") or {}):
            kind.held[NOT_NECESSARY] += 1
        elif sensitive:
            kind.held[LABELLED] += 1
            kind.labels |= sensitive
        else:
            kind.held[OUTSIDE] += 1
    return tuple(sorted(kinds.values(), key=lambda kind: (kind.left == 0, kind.type)))


def _elements(kind: Kind, stored: Mapping[str, Any], leaving: Mapping[str, Any]) -> None:
    for key, value in stored.items():
        if key in _ALWAYS:
            continue
        name = element_name(key)
        element = kind.elements.setdefault(name, Element(name))
        if key not in leaving:
            element.stays += 1
        elif leaving[key] == value:
            element.whole += 1
        else:
            element.reduced += 1


def element_name(key: str) -> str:
    """The element that a JSON key stands for: ``valueQuantity`` is ``value``, ``_birthDate`` is ``birthDate``."""
    plain = key.removeprefix("_")
    choice = _CHOICE.match(plain)
    return choice[1] if choice and choice[1] in _CHOICES else plain
