"""The release plan of a decision, read and compiled once for each decision that is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from broker.fhir.minimise import compiled
from broker.fhir.plan import ReleasePlan
from broker.policy.decision import Decision


@lru_cache(maxsize=512)
def _read_plan(decision: _Whole) -> ReleasePlan:
    plan = ReleasePlan.from_json(decision.decision.plan)
    compiled(plan)  # A plan that can't be compiled must not be found out after the intent.
    return plan


@dataclass(frozen=True, eq=False)
class _Whole:
    """A decision, told apart by being that very object: a remembered decision is read once."""

    decision: Decision

    def __hash__(self) -> int:
        return id(self.decision)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Whole) and other.decision is self.decision


def plan_of(decision: Decision) -> ReleasePlan:
    """The plan of a decision, read and compiled. Raises PlanInvalid."""
    return _read_plan(_Whole(decision))
