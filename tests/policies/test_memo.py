"""A remembered decision is the one that would be made: over random facts and clocks, on the real policies (attack B22)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.policy.decision import Decision, Effect
from broker.policy.facts import CallerFacts, ConsentFacts, Facts, GrantFacts, PatientFacts, RecipientFacts, RequesterFacts, RequestFacts
from broker.policy.memo import KEPT, RememberingEngine, holds_until
from broker.policy.service import build_engine
from broker.settings import Settings

DAY = 86_400
NOW = 20_000 * DAY + 4_321

GOOD = Facts(
    question="release",
    at=NOW,
    request=RequestFacts("TREAT", "consent", ({"data_class": "clinical"},), justification=True),
    grant=GrantFacts("g", "SA-2026-000001", "active", NOW - 9 * DAY, NOW + 9 * DAY, approved_by=2),
    recipient=RecipientFacts("shengli", "hospital", "external", "active", agreement_until=NOW + 90 * DAY, key_registered=True),
    requester=RequesterFacts("r", ("applicant",)),
    patient=PatientFacts("k", "certain", in_grant=True, age="adult"),
    consent=ConsentFacts("permit", consents=("c",), epoch=3, givers=("patient",)),
    caller=CallerFacts("c", "shengli", "active", "g", "TREAT", ("*",)),
)


@pytest.fixture(scope="module")
def engine():
    return build_engine(Settings())


class Counting:
    """Counts how often the engine behind is asked."""

    def __init__(self, engine) -> None:
        self.engine, self.asked = engine, 0
        self.name, self.blocking, self.revision = engine.name, engine.blocking, engine.revision

    def decide(self, facts) -> Decision:
        self.asked += 1
        return self.engine.decide(facts)


def without_hash(decision: Decision) -> Decision:
    return replace(decision, input_hash="")


near = st.integers(NOW - 3 * DAY, NOW + 3 * DAY)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(near, near, st.none() | near, st.none() | near, st.none() | near, st.none() | near),
    st.lists(near, min_size=2, max_size=5),
    st.sampled_from([None, 2]),
    st.integers(0, 3),
)
def test_it_is_the_decision_that_would_be_made(engine, times, clocks, limit, used):
    valid_from, valid_until, agreement, consent_until, period_from, period_until = times
    facts = replace(
        GOOD,
        grant=replace(GOOD.grant, valid_from=valid_from, valid_until=valid_until, releases_limit=limit, releases_used=used),
        recipient=replace(GOOD.recipient, agreement_until=agreement),
        consent=replace(GOOD.consent, valid_until=consent_until),
        request=replace(GOOD.request, period_from=period_from, period_until=period_until),
    )
    remembering = RememberingEngine(engine)
    moments = sorted({moment + step for moment in (*clocks, *(one for one in times if one is not None)) for step in (-1, 0, 1)})
    for moment in moments:
        asked = replace(facts, at=moment)
        assert without_hash(remembering.decide(asked)) == without_hash(engine.decide(asked))


def test_the_same_question_is_asked_once(engine):
    counting = Counting(engine)
    remembering = RememberingEngine(counting)
    assert remembering.decide(GOOD).allow
    assert remembering.decide(replace(GOOD, at=NOW + 5)).allow
    assert remembering.decide(replace(GOOD, grant=replace(GOOD.grant, releases_used=7))).allow
    assert counting.asked == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(GOOD, patient=replace(GOOD.patient, key="other")),
        replace(GOOD, consent=replace(GOOD.consent, epoch=4)),
        replace(GOOD, caller=replace(GOOD.caller, client="other")),
        replace(GOOD, wanted_types=("Observation",)),
        replace(GOOD, request=replace(GOOD.request, purpose="HRESCH")),
        replace(GOOD, grant=replace(GOOD.grant, status="suspended")),
        replace(GOOD, question="assess"),
        replace(GOOD, at=NOW + 61),
        replace(GOOD, at=NOW - 1),
    ],
    ids=["patient", "epoch", "client", "types", "purpose", "status", "question", "later", "a clock that went back"],
)
def test_every_other_question_is_asked(engine, other):
    counting = Counting(engine)
    remembering = RememberingEngine(counting)
    remembering.decide(GOOD)
    remembering.decide(other)
    assert counting.asked == 2


def test_no_answer_is_not_remembered(engine):
    class Away(Counting):
        def decide(self, facts):
            self.asked += 1
            return Decision(Effect.UNAVAILABLE, (), None, (), "", self.revision, self.name)

    away = Away(engine)
    remembering = RememberingEngine(away)
    for _ in range(3):
        assert not remembering.decide(GOOD).allow
    assert away.asked == 3


def test_it_forgets_the_oldest(engine):
    class Quick(Counting):
        def decide(self, facts):
            self.asked += 1
            return Decision(Effect.DENY, (), None, (), "", self.revision, self.name)

    quick = Quick(engine)
    remembering = RememberingEngine(quick)
    for number in range(KEPT + 1):
        remembering.decide(replace(GOOD, patient=replace(GOOD.patient, key=str(number))))
    remembering.decide(replace(GOOD, patient=replace(GOOD.patient, key="0")))
    assert quick.asked == KEPT + 2


def test_it_holds_until_the_nearest_edge():
    assert holds_until(GOOD) == NOW + 60
    assert holds_until(replace(GOOD, consent=replace(GOOD.consent, valid_until=NOW + 7))) == NOW + 7
    assert holds_until(replace(GOOD, consent=replace(GOOD.consent, valid_until=NOW))) == NOW
    assert holds_until(replace(GOOD, at=20_001 * DAY - 3)) == 20_001 * DAY
