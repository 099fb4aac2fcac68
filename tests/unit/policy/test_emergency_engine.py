"""Break-glass while the policy server is away (TM-5.5): only where policy says so beforehand, and only for declared emergencies."""

from dataclasses import replace

import pytest

from broker.policy import service
from broker.policy.decision import Effect
from broker.policy.emergency_engine import EmergencyEngine, switched_on
from broker.settings import Settings
from tests.policies.examples import as_facts, emergency, release

#: Nothing listens there.
AWAY = Settings(policy_engine="opa", opa_url="http://127.0.0.1:9", policy_timeout=2.0)


def policies(allowed: object):
    shipped = service.policies(Settings())
    row = {**shipped.data["emergency"]["without_policy_server"], "allowed": allowed}
    return replace(shipped, data={**shipped.data, "emergency": {"without_policy_server": row}})


def test_it_is_off_unless_a_hospital_switches_it_on():
    assert not switched_on(service.policies(Settings()))
    assert [switched_on(policies(said)) for said in (True, False, "true", 1, None)] == [True, False, False, False, False]
    assert not isinstance(service.build_engine(AWAY), EmergencyEngine)


@pytest.mark.parametrize("allowed", [True, False])
def test_only_an_emergency_is_judged_without_the_server_and_only_by_its_own_rules(allowed):
    chosen = policies(allowed)
    engine = service.PolicyEngine(service._evaluator(AWAY, chosen), chosen)
    if allowed:
        engine = EmergencyEngine(service._evaluator(AWAY, chosen), service._embedded(chosen), chosen)
    asked = as_facts(emergency())
    decision = engine.decide(asked)
    assert decision.effect is (Effect.PERMIT if allowed else Effect.UNAVAILABLE)
    if allowed:
        assert decision.engine in ("compiled", "embedded")
        assert decision.plan == service.embedded_engine(chosen).decide(asked).plan
        late = as_facts({**emergency(), "grant": {**emergency()["grant"], "status": "suspended"}})
        assert engine.decide(late).effect is Effect.DENY
    assert engine.decide(as_facts(release())).effect is Effect.UNAVAILABLE
    assert engine.decide_form(release()).effect is Effect.UNAVAILABLE


def test_the_hospital_s_own_setting_builds_it():
    if not service.problems(policies(True)):
        assert isinstance(service.build_engine(AWAY, policies(True)), EmergencyEngine)
