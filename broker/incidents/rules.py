"""How grave an incident is, by when somebody must be told, when it may be closed, how a risk is scored. Pure.

Sources: PIPL 57 (tell authority and persons at once; not the persons where measures effectively avoid harm); 国家网络安全事件报告管理办法
(国家互联网信息办公室, in force since 2025-11-01), article 4: from finding or learning of an incident that is 较大 or graver, the operator of critical
infrastructure within 1 hour, others within 4 hours; hospital policy PI-7, PI-5. Which of our severities is 较大 says its annex; counsel
confirms it. The hours for patients and partners, and those of what is less grave, are the hospital's own clock for "at once".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from broker.incidents.errors import TwoPeople


class Kind(StrEnum):
    """What happened."""

    KEY_STOLEN = "key-stolen"
    UNAUTHORISED_ACCESS = "unauthorised-access"
    WRONG_RECIPIENT = "wrong-recipient"
    OVER_DISCLOSURE = "over-disclosure"
    CHECK_FAILED = "check-failed"  #: the independent checker stopped a release
    LOSS = "loss"
    AVAILABILITY = "availability"
    EMERGENCY_UNREVIEWED = "emergency-unreviewed"
    POLICY_BREACH = "policy-breach"
    OTHER = "other"


class Severity(StrEnum):
    """How grave, from least to most."""

    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    CRITICAL = "critical"


class Audience(StrEnum):
    """Who is told."""

    AUTHORITY = "authority"
    PATIENTS = "patients"
    PARTNER = "partner"


ORDER = tuple(Severity)

#: Hours until each audience must have been told, the authority from the report, others from the assessment; absent: nobody need be.
HOURS: dict[Severity, dict[Audience, int]] = {
    Severity.LOW: {},
    Severity.MODERATE: {Audience.AUTHORITY: 24, Audience.PATIENTS: 72, Audience.PARTNER: 72},
    Severity.HIGH: {Audience.AUTHORITY: 4, Audience.PATIENTS: 24, Audience.PARTNER: 24},
    Severity.CRITICAL: {Audience.AUTHORITY: 1, Audience.PATIENTS: 24, Audience.PARTNER: 4},
}


def least_severity(*, patients: int, sensitive: bool) -> Severity:
    """The least severity that figures allow: nobody affected may be low, a patient is moderate, sensitive topics or a hundred are high,
    ten thousand critical. People may say more, never less.
    """
    if patients >= 10_000:
        return Severity.CRITICAL
    if patients >= 100 or (patients and sensitive):
        return Severity.HIGH
    return Severity.MODERATE if patients else Severity.LOW


def graver(one: Severity, other: Severity) -> Severity:
    """The graver of two."""
    return max(one, other, key=ORDER.index)


@dataclass(frozen=True)
class Duty:
    """Somebody who must be told, and by when. ``organization`` for a partner."""

    audience: Audience
    due_at: datetime
    organization: str | None = None


def duties(severity: Severity, reported_at: datetime, assessed_at: datetime, *, patients: int, partners: Iterable[str]) -> tuple[Duty, ...]:
    """Whom an assessed incident must be told to. No patient affected: no patient is told.

    The authority's clock runs since the hospital learnt of it: nobody gains time by assessing late.
    """
    hours = HOURS[severity]
    found = []
    for audience in Audience:
        if audience not in hours or (audience is Audience.PATIENTS and not patients):
            continue
        due = (reported_at if audience is Audience.AUTHORITY else assessed_at) + timedelta(hours=hours[audience])
        found += [Duty(audience, due, name) for name in (sorted(partners) if audience is Audience.PARTNER else (None,))]
    return tuple(found)


@dataclass(frozen=True)
class NoticeFacts:
    """What the rules must know of a notice."""

    done: bool
    due_at: datetime


def overdue(notices: Collection[NoticeFacts], at: datetime) -> int:
    """How many notices should have gone out and have not."""
    return sum(not one.done and one.due_at <= at for one in notices)


def may_close(notices: Collection[NoticeFacts]) -> bool:
    """Whether every notice was sent or waived with a reason."""
    return all(one.done for one in notices)


def check_two(first: str | None, second: str) -> None:
    """Raises TwoPeople unless two different natural persons act."""
    if first is None or first == second:
        raise TwoPeople


def risk_score(likelihood: int, impact: int) -> int:
    """1 to 25: likelihood times impact, each 1 to 5."""
    return likelihood * impact
