"""Which policies decide at a moment: the revision whose time has come, in every process at the same second.

The schedule is read from the database again and again by a thread (``run``); a revision comes into force some seconds after it was
approved at the earliest, so that every process knows of it by then. A process that has not heard of the schedule for too long decides
nothing. Where nothing was ever activated, the policies that the settings name decide.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.database import Database
from broker.policy.decision import Decision, Effect, Reason
from broker.policy.engine import PolicyEngine
from broker.policy.errors import PolicyUnusable
from broker.policy.facts import Facts
from broker.policy.memo import RememberingEngine
from broker.policy.models import PolicyActivation, PolicyRevision
from broker.policy.packing import policy_set_of, unpacked
from broker.policy.policy_set import PolicySet

log = logging.getLogger("broker.policy")

#: Seconds between two looks at the schedule; after how many without one nothing is decided; how long before it begins a revision must be known.
PAUSE, DEAF, NOTICE = 1.0, 60.0, 10
#: Seconds for which the OPA server may still answer by the revision before, and by how many clocks of two machines may differ.
GRACE, SKEW = 30, 2

#: Decisions of which it is known that they were kept.
_KEPT = 8192

_UNAVAILABLE = Reason("policy.unavailable", "The policy engine gave no usable answer, which denies.")


@dataclass(frozen=True)
class Scheduled:
    """A revision and the second from which on it decides."""

    revision: str
    since: int


def schedule(session: Session) -> tuple[Scheduled, ...]:
    """Every activation, the oldest first."""
    rows = session.exec(select(PolicyActivation).order_by(col(PolicyActivation.effective_at))).all()
    return tuple(Scheduled(row.revision, clock.epoch(row.effective_at)) for row in rows)


def kept(session: Session, revision: str) -> PolicySet:
    """The policies of a kept revision. Raises PolicyUnusable for one that is not there, or not what it was."""
    content = session.execute(sa.select(col(PolicyRevision.files)).where(col(PolicyRevision.revision) == revision)).scalar_one_or_none()
    if content is None:
        raise PolicyUnusable("there is no such revision")
    policies = policy_set_of(unpacked(content))
    if policies.revision != revision:
        raise PolicyUnusable("a kept revision is not what it was")
    return policies


class LiveEngine:
    """The engines of the revisions that decide now or soon. Safe to share between threads."""

    def __init__(self, shipped: PolicySet, build: Callable[[PolicySet, Callable[[], frozenset[str]]], PolicyEngine]) -> None:
        """``build`` makes an engine that also takes answers of the revisions that its second argument names."""
        self._shipped, self._build = shipped, build
        self._lock = threading.Lock()
        self._engines: dict[str, RememberingEngine | None] = {}
        self._policies: dict[str, PolicySet] = {shipped.revision: shipped}
        self._schedule: tuple[Scheduled, ...] = ()
        self._heard = 0.0
        self._listening = False
        self._kept: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._engine_of(shipped.revision)

    def refresh(self, session: Session) -> None:
        """Read the schedule, and make ready whatever decides now or later. A revision that can't be used decides nothing."""
        read = schedule(session)
        now = clock.epoch(clock.now())
        begun = [each for each in read if each.since <= now]
        for each in (*begun[-2:], *(each for each in read if each.since > now)):
            if each.revision not in self._policies:
                try:
                    self._policies[each.revision] = kept(session, each.revision)
                    self._engine_of(each.revision)
                except PolicyUnusable as error:
                    log.error("revision %s cannot be used: %s", each.revision[:12], error.detail)  # noqa: TRY400
                    self._engines[each.revision] = None
        self._schedule, self._heard = read, time.monotonic()

    def run(self, database: Database, stop: threading.Event) -> None:
        """Refresh until stopped; a database that is away is asked again."""
        self._listening = True
        while not stop.wait(PAUSE):
            try:
                with database.transaction() as session:
                    self.refresh(session)
            except Exception as error:  # noqa: BLE001  (Whatever it is, the next look may go well; being deaf for long denies.)
                log.warning("the schedule of policies could not be read: %s", type(error).__name__)

    def revision_at(self, at: int) -> str:
        """The revision that decides at a second."""
        place = bisect_right(self._schedule, at, key=lambda each: each.since)
        return self._schedule[place - 1].revision if place else self._shipped.revision

    @property
    def policies(self) -> PolicySet:
        """The policies that decide now. Raises PolicyUnusable if they can't be used."""
        found = self._policies.get(self.revision)
        if found is None:
            raise PolicyUnusable("the active revision cannot be used")
        return found

    @property
    def revision(self) -> str:
        """The revision that decides now."""
        return self.revision_at(clock.epoch(clock.now()))

    @property
    def name(self) -> str:
        """``compiled``, ``embedded`` or ``opa``."""
        return self._shipped_engine.name

    @property
    def blocking(self) -> bool:
        """Whether an answer waits for the network."""
        return self._shipped_engine.blocking

    @property
    def deaf(self) -> bool:
        """Whether the schedule was last heard of too long ago."""
        return self._listening and time.monotonic() - self._heard > DEAF

    def decide(self, facts: Facts) -> Decision:
        """The decision on these facts by the revision of their moment; never raises."""
        revision = self.revision_at(facts.at)
        engine = self._engines.get(revision)
        if engine is None or self.deaf:
            log.error("policy gave no usable answer: %s", "the schedule is out of date" if self.deaf else "the revision cannot be used")
            return Decision(Effect.UNAVAILABLE, (_UNAVAILABLE,), None, (), "", revision, self.name)
        return engine.decide(facts)

    def unkept(self, decision: Decision) -> bool:
        """Whether a decision may still have to be kept with its question; one without a question can't be."""
        return bool(decision.facts) and (decision.input_hash, decision.revision) not in self._kept

    def mark_kept(self, decision: Decision) -> None:
        """Remember that a decision was kept."""
        with self._lock:
            self._kept[decision.input_hash, decision.revision] = None
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    @property
    def _shipped_engine(self) -> RememberingEngine:
        engine = self._engines[self._shipped.revision]
        assert engine is not None  # noqa: S101  (The constructor made it.)
        return engine

    def _engine_of(self, revision: str) -> None:
        policies = self._policies[revision]
        self._engines[revision] = RememberingEngine(self._build(policies, lambda: self._also(revision)))

    def _also(self, revision: str) -> frozenset[str]:
        """The revisions by which OPA may still, or already, answer when this one is asked for."""
        now = clock.epoch(clock.now())
        near = {self.revision_at(now - GRACE), self.revision_at(now + SKEW), *(each.revision for each in self._recent(now))}
        return frozenset(near - {revision}) if revision in {self.revision_at(now), *near} else frozenset()

    def _recent(self, now: int) -> Sequence[Scheduled]:
        return [each for each in self._schedule if now - GRACE <= each.since <= now]
