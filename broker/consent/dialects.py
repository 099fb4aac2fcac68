"""Which of the ways of writing a FHIR Consent a consent is written in. Pure.

R4, IHE PCF, HL7 FAST and R5 contradict each other on whether the root provision has a type and whether nested types are explicit
(docs/decisions/0008-consent-rules.md). The rules are the same for all; the dialect says where the base stands and how
``data.meaning = related`` is read, and it is shown to whoever files the consent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Dialect(StrEnum):
    """Where the base stands."""

    TYPED_ROOT = "typed-root"  #: ``provision.type``, as IHE PCF and HL7 FAST write it
    POLICY_RULE = "r4-policy-rule"  #: R4: the root has no type, the base is ``policyRule``
    DECISION = "r5-decision"  #: ``decision``, and a list of provisions
    NONE = "no-base"  #: it doesn't say what holds


class Nesting(StrEnum):
    """How nested provisions say what they do."""

    NONE = "none"
    EXPLICIT = "explicit"
    ALTERNATING = "alternating"  #: no types: each is the opposite of the one it is nested in
    MIXED = "mixed"


@dataclass(frozen=True)
class Detected:
    """The dialect of one consent."""

    dialect: Dialect
    nesting: Nesting
    profile: str = ""  #: ``IHE PCF`` or ``HL7 FAST`` where ``meta.profile`` claims it

    @property
    def related_belongs(self) -> bool:
        """Whether ``related`` with an Encounter, CarePlan or EpisodeOfCare means what belongs to it (PCF), not what it refers to (R4)."""
        return self.dialect is Dialect.TYPED_ROOT

    def __str__(self) -> str:
        """For people: ``typed-root, explicit nesting, IHE PCF``."""
        return ", ".join(part for part in (self.dialect.value, f"{self.nesting.value} nesting", self.profile) if part)


_PROFILES = {
    "https://profiles.ihe.net/ITI/PCF/": "IHE PCF",
    "http://hl7.org/fhir/us/consent-management/": "HL7 FAST",
}


def _profile(consent: Mapping[str, Any]) -> str:
    meta = consent.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    for url in claimed if isinstance(claimed, list) else ():
        for start, name in _PROFILES.items():
            if isinstance(url, str) and url.startswith(start):
                return name
    return ""


def _nested(provisions: Any) -> list[dict[str, Any]]:
    """Every provision of a list, at any depth; what isn't one is passed over."""
    found: list[dict[str, Any]] = []
    waiting = [provisions]
    while waiting:
        level = waiting.pop()
        for one in level if isinstance(level, list) else ():
            if isinstance(one, dict):
                found.append(one)
                waiting.append(one.get("provision"))
    return found


def every_provision(consent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every provision of a consent in any dialect, the root among them."""
    root = consent.get("provision")
    return _nested(root if isinstance(root, list) else [root])


def detect(consent: Mapping[str, Any]) -> Detected:
    """The dialect of a consent, valid or not."""
    root = consent.get("provision")
    if "decision" in consent or isinstance(root, list):
        dialect, nested = (Dialect.DECISION if "decision" in consent else Dialect.NONE), _nested(root)
    else:
        nested = _nested(root.get("provision")) if isinstance(root, dict) else []
        if isinstance(root, dict) and "type" in root:
            dialect = Dialect.TYPED_ROOT
        else:
            dialect = Dialect.POLICY_RULE if "policyRule" in consent else Dialect.NONE
    typed = sum("type" in one for one in nested)
    nesting = Nesting.MIXED if 0 < typed < len(nested) else Nesting.EXPLICIT if typed else Nesting.ALTERNATING if nested else Nesting.NONE
    return Detected(dialect, nesting, _profile(consent))
