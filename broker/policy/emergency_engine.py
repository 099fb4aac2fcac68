"""Break-glass while the policy server is away (TM-5.5): the same policies, judged by the embedded engine, for declared emergencies alone.

Only where the hospital has switched that on in policy beforehand (``data/emergency.json``), so that it is drafted, tested, approved by two and
replayed like every other change. An emergency is judged by its own rules and its own least-necessary profile, whoever evaluates them; whatever
is no emergency stays unanswered, which denies. The decision names the engine that made it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from broker.policy.decision import Decision, Effect
from broker.policy.engine import Evaluator, PolicyEngine
from broker.policy.facts import Facts
from broker.policy.policy_set import PolicySet

log = logging.getLogger("broker.policy")


def switched_on(policies: PolicySet) -> bool:
    """Whether these policies let emergencies be judged while the policy server is away. Anything but a plain yes is no."""
    row = policies.data.get("emergency", {}).get("without_policy_server", {})
    return isinstance(row, Mapping) and row.get("allowed") is True


class EmergencyEngine(PolicyEngine):
    """The policy server's engine, and behind it the embedded one for emergencies."""

    def __init__(self, evaluator: Evaluator, embedded: Evaluator, policies: PolicySet, also: Callable[[], frozenset[str]] = frozenset) -> None:
        super().__init__(evaluator, policies, also)
        self._embedded = PolicyEngine(embedded, policies)

    def decide_form(self, facts: Facts | dict[str, Any]) -> Decision:
        """The server's decision; where there is none, and it is an emergency, that of the embedded engine. Never raises."""
        decision = super().decide_form(facts)
        if decision.effect is not Effect.UNAVAILABLE or not _is_emergency(facts):
            return decision
        log.error("the policy server is away: a declared emergency is judged by the embedded engine")
        return self._embedded.decide_form(facts)


def _is_emergency(facts: Facts | dict[str, Any]) -> bool:
    if isinstance(facts, Facts):
        return facts.request.emergency is True
    request = facts.get("request")
    return isinstance(request, Mapping) and request.get("emergency") is True
