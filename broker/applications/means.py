"""What the verbs need from elsewhere and may not import: keys, the policy engine, and what stands above or beside this slice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import Any, Protocol
from uuid import UUID

from sqlmodel import Session

from broker.applications.models import Application
from broker.applications.terms import day_end
from broker.crypto import Keys
from broker.policy.decision import Decision
from broker.policy.facts import ConsentFacts, Facts


class Judge(Protocol):
    """The policy engine, so far as applications ask it (``policy.service.PolicyEngine``)."""

    def decide(self, facts: Facts) -> Decision:
        """The decision on these facts; never raises."""


class ConsentFactsOf(Protocol):
    """What the patient's consents in force say (``consent`` is a neighbour and may not be imported)."""

    def __call__(self, session: Session, patient_key: UUID, recipient: str, purpose: str, at: datetime, *, requester: UUID) -> ConsentFacts:
        """For one patient, one recipient (organisation id), one purpose code, one moment, and the account of the person who applies."""


#: What a grant on this application would release now, resource by resource (built in ``release``).
Preview = Callable[[Session, Application], dict[str, Any]]

#: Numbers of the applications whose overdue feedback holds back new ones of this account's person (built in ``feedback``).
Holds = Callable[[Session, UUID], tuple[str, ...]]


def no_holds(session: Session, person: UUID) -> tuple[str, ...]:  # noqa: ARG001
    """Nothing is held back; for whoever runs applications without feedback."""
    return ()


#: Hours until the decision on an application, by urgency, where the settings say nothing else (RS-5.2.4).
DEADLINES: Mapping[str, int] = {"routine": 120, "urgent": 24, "emergency": 2}


@dataclass(frozen=True)
class Means:
    """Handed to the verbs that judge.

    ``data_classes``: each code of the catalogue with the resource types that it reaches (``policy.service.Catalogue.types_of``).
    ``purposes``, ``lawful_bases``: the known codes (``policy.service.purposes`` and ``lawful_bases``); None: policy alone judges.
    ``reviews``: whether legality and necessity are reviewed as steps of their own. ``quorum``: how many people must have decided for an
    application, its applicant not counted. ``deadlines``: hours until the decision, by urgency. ``zone``: where the hospital is; a grant
    ends with a day of its clocks.
    """

    keys: Keys
    engine: Judge
    consent_facts: ConsentFactsOf
    data_classes: Mapping[str, Collection[str]]
    holds: Holds = no_holds
    purposes: Collection[str] | None = None
    lawful_bases: Collection[str] | None = None
    reviews: bool = False
    quorum: int = 2
    deadlines: Mapping[str, int] = field(default_factory=lambda: dict(DEADLINES))
    zone: tzinfo = UTC

    def end_of(self, day: date) -> datetime:
        """The first moment at which what is valid until a day is no longer valid."""
        return day_end(day, self.zone)

    def today(self, now: datetime) -> date:
        """The day that the hospital has at a moment."""
        return now.astimezone(self.zone).date()
