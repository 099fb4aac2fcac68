"""What policy answers: permit with a plan, deny with reasons, or no usable answer at all, which denies too."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Effect(StrEnum):
    """UNAVAILABLE is told apart from DENY in records and alarms, never in what is released: both release nothing."""

    PERMIT = "permit"
    DENY = "deny"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class Reason:
    """A permanent code such as ``consent.refused``, and the English sentence of the rule. Other languages: policy.reasons."""

    code: str
    message: str


@dataclass(frozen=True)
class Decision:
    """The one document that comes back. ``plan`` is the release plan as JSON (``fhir.plan`` reads it); None unless PERMIT."""

    effect: Effect
    reasons: tuple[Reason, ...]
    plan: dict[str, Any] | None
    obligations: tuple[dict[str, Any], ...]
    input_hash: str
    revision: str
    engine: str
    #: Necessity: what was asked and what of it the profile leaves, for the assessment page. Never consulted for a release.
    necessity: dict[str, Any] = field(default_factory=dict)
    #: The question, as canonical JSON, whose SHA-256 is ``input_hash``; empty where there was none that could be judged.
    facts: bytes = field(default=b"", repr=False, compare=False)

    @property
    def allow(self) -> bool:
        """Whether anything may leave."""
        return self.effect is Effect.PERMIT and self.plan is not None
