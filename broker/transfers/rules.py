"""Which of a recipient's routes a transfer would go by. Pure; whether it may is policy's judgement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from broker.policy.facts import ResidencyFacts


@dataclass(frozen=True)
class Route:
    """A confirmed route, as policy is told of it; times in epoch seconds, ``until`` the last second."""

    code: str
    begins: int
    until: int | None
    purposes: frozenset[str]
    classes: frozenset[str]
    persons: int
    persons_limit: int | None
    year_persons: int
    impact_assessed: bool
    foreign_authority: bool
    authority_approved: bool

    def suits(self, purpose: str, classes: Collection[str], at: int) -> tuple[bool, bool, bool, bool, int]:
        """How well it suits a transfer; of two the greater is told to policy, so that the nearest reason is given where none will do."""
        in_force = self.begins <= at and (self.until is None or at <= self.until)
        fits = self.persons_limit is None or self.persons <= self.persons_limit
        return in_force, purpose in self.purposes, self.classes.issuperset(classes), fits, self.begins


def told(routes: Sequence[Route], purpose: str, classes: Collection[str], at: int, *, authority: bool) -> ResidencyFacts | None:
    """What policy is told of the routes to a recipient abroad; None: there is none. ``authority``: the recipient is one."""
    if not routes:
        return None
    best = max(routes, key=lambda one: one.suits(purpose, classes, at))
    return ResidencyFacts(
        route=best.code,
        route_from=best.begins,
        route_until=best.until,
        impact_assessed=best.impact_assessed,
        foreign_authority=authority or best.foreign_authority,
        authority_approved=best.authority_approved,
        purposes=tuple(sorted(best.purposes)),
        classes=tuple(sorted(best.classes)),
        persons=best.persons,
        persons_limit=best.persons_limit,
        year_persons=best.year_persons,
    )
