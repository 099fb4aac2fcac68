"""The drawn sample of exchanges, each with its checklist: the same quarter and exchanges give the same sample, whoever draws it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, TypeVar

#: How many exchanges are looked at.
SIZE = 12

#: What is asked of each, in this order; ``True`` is as it should be, None doesn't apply.
CHECKS = ("endorsed", "decided-by-another", "assessment-agreed", "within-grant", "all-outcomes-known", "feedback-given")


@dataclass(frozen=True)
class Exchange:
    """An exchange as the checklist needs it."""

    number: str
    department: str
    purpose: str
    actions: tuple[str, ...]  #: its steps, in order
    people: int  #: distinct natural persons who applied, endorsed or decided
    agreed: bool | None  #: whether the decision was as the machine's opinion
    releases: int
    limit: int | None
    unknown: int  #: releases of which no outcome is known
    feedback: str  #: given, overdue, not-due, none


class Numbered(Protocol):
    """Anything that has a number of an exchange."""

    @property
    def number(self) -> str:
        """``SA-YYYY-NNNNNN``."""
        ...


One = TypeVar("One", bound=Numbered)


def drawn(quarter: str, exchanges: Iterable[One], size: int = SIZE) -> list[One]:
    """The sample: those whose SHA-256 with the quarter comes first, listed by number. Nobody can choose, everybody can check."""
    ranked = sorted(exchanges, key=lambda one: sha256(f"{quarter}|{one.number}".encode()).digest())
    return sorted(ranked[:size], key=lambda one: one.number)


def checked(one: Exchange) -> dict[str, bool | None]:
    """The checklist of one exchange."""
    decided = any(action in ("approve", "narrow") for action in one.actions)
    needed = 1 + sum(action in ("endorse", "agree", "concur") for action in one.actions) + decided
    return {
        "endorsed": "endorse" in one.actions if decided else None,
        "decided-by-another": one.people >= needed if decided else None,
        "assessment-agreed": one.agreed,
        "within-grant": (one.limit is None or one.releases <= one.limit) if one.releases else None,
        "all-outcomes-known": one.unknown == 0 if one.releases or one.unknown else None,
        "feedback-given": {"given": True, "overdue": False}.get(one.feedback),
    }


def sample(quarter: str, exchanges: Iterable[Exchange]) -> list[Mapping[str, Any]]:
    """The sample as it stands in the review."""
    return [
        {"number": one.number, "department": one.department, "purpose": one.purpose, "releases": one.releases, "checks": checked(one)}
        for one in drawn(quarter, exchanges)
    ]
