"""Decisions remembered for as long as nothing they rest on can have changed.

The key is the whole input but the clock (attack B22: a key that lacks a dimension answers somebody else's question). The clock
counts only by its order to the times in the facts and by the day (look-back windows begin at midnight UTC), so that an answer
holds until the nearest of them. tests/policies/test_memo.py holds the policies to that. UNAVAILABLE is never remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

import orjson

from broker.policy.decision import Decision, Effect
from broker.policy.engine import PolicyEngine
from broker.policy.facts import Facts

#: Decisions kept in one process, the least recently used go first.
KEPT = 1024
#: Seconds after which a decision is made again in any case.
LONGEST = 60
_DAY = 86_400


def edges(facts: Facts) -> tuple[int, ...]:
    """The moments at which the answer may change, whatever else stays."""
    times = (
        facts.grant.valid_from,
        facts.grant.valid_until,
        facts.recipient.agreement_until,
        facts.consent.valid_until,
        facts.request.period_from,
        facts.request.period_until,
        None if facts.workforce is None else facts.workforce.valid_until,
        None if facts.residency is None else facts.residency.route_from,
        None if facts.residency is None else facts.residency.route_until,
        facts.at - facts.at % _DAY + _DAY,
    )
    return tuple(moment for moment in times if moment is not None)


def holds_until(facts: Facts) -> int:
    """The first second for which the answer must be asked for again. An edge belongs to no side, so that its own second is asked."""
    later = [edge for edge in edges(facts) if edge > facts.at]
    on_edge = any(edge == facts.at for edge in edges(facts))
    return facts.at if on_edge else min([*later, facts.at + LONGEST])


class RememberingEngine:
    """A policy engine that answers a question it has answered before from memory. Safe to share between threads."""

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine
        self._kept: OrderedDict[bytes, tuple[int, int, Decision]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Of the engine behind."""
        return self._engine.name

    @property
    def blocking(self) -> bool:
        """Whether the engine behind waits for the network."""
        return self._engine.blocking

    @property
    def revision(self) -> str:
        """Of the policies behind."""
        return self._engine.revision

    def remembered(self, facts: Facts) -> Decision | None:
        """The answer, if it is known and still holds. ``input_hash`` is of the facts that were judged."""
        kept = self._kept.get(_key(facts))
        return kept[2] if kept is not None and kept[0] <= facts.at < kept[1] else None

    def decide(self, facts: Facts) -> Decision:
        """The decision on these facts; never raises."""
        known = self.remembered(facts)
        if known is not None:
            return known
        decision = self._engine.decide(facts)
        until = holds_until(facts)
        # An answer of the revision before, in the seconds of a change, is good for once.
        if decision.effect is not Effect.UNAVAILABLE and decision.revision == self.revision and until > facts.at:
            with self._lock:
                self._kept[_key(facts)] = (facts.at, until, decision)
                self._kept.move_to_end(_key(facts))
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return decision


def _key(facts: Facts) -> bytes:
    # How often a grant was used is asked only where there is a limit.
    grant = facts.grant if facts.grant.releases_limit is not None else replace(facts.grant, releases_used=0)
    return orjson.dumps(replace(facts, at=0, grant=grant))
