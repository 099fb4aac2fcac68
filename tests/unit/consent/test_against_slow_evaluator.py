"""The rules against an evaluator that shares no code with them; the residual against the rules; what is claimed of a gate."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings

from broker.consent import rules
from broker.consent.offline import Offline
from broker.consent.related import Related
from broker.consent.residual import Residual, compile_statement, evaluate_base, gate_for
from broker.consent.resources import facts_of, labels_of, patients_of
from broker.consent.values import Effect, Use
from tests.unit.consent import slow_evaluator, strategies

many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
)


def use_of(actors, purpose, at):
    return Use(frozenset(actors), purpose, int(at.timestamp()))


@many
@given(strategies.several_consents(), strategies.resources(), strategies.questions)
def test_rules_say_what_the_slow_evaluator_says(consents, resource, question):
    fast = Offline(consents, use_of(*question), Related()).verdict(resource).effect
    assert fast == slow_evaluator.evaluate(consents, resource, *question)


@many
@given(strategies.several_consents(), strategies.resources(), strategies.questions)
def test_compiled_consents_say_what_the_rules_say(consents, resource, question):
    use, related = use_of(*question), Related()
    offline = Offline(consents, use, related)
    if patients_of(resource) != {"Patient/p"}:
        return
    statements = [one.statement for one in offline.readings if one.patient == {"reference": "Patient/p"}]
    gone = rules.replaced(statements)
    kept = [one for one in statements if one.consent not in gone and one.active]
    compiled = [
        Residual.from_json(one.consent, 1, json.loads(json.dumps(compile_statement(one, one.consent, 1).to_json())))
        for one in kept
        if not one.unenforceable
    ]
    compiled += [Residual.unreadable(one.consent) for one in kept if one.unenforceable and rules.speaks(one, use)]
    facts = facts_of(resource, labels_of(resource))
    direct = rules.evaluate(kept, use, facts, related.referred)
    gate = gate_for(compiled, use, related.referred)
    verdict = gate.verdict(facts)
    assert verdict.effect == direct.effect
    # Facts that the gate says it doesn't need make no difference.
    assert gate.verdict(facts_of(resource, labels_of(resource), needs=gate.needs)).effect == direct.effect
    base = evaluate_base(compiled, use)
    if verdict.effect is Effect.PERMIT:
        assert base.effect is Effect.PERMIT
    if base.effect is Effect.DENY:
        assert verdict.effect is Effect.DENY
        assert base.refused
    if gate.denied_labels & set(facts.labels):
        assert verdict.effect is not Effect.PERMIT
    if gate.trivial and facts.labels:
        expected = base.effect
        assert verdict.effect is expected
    assert set(base.consents) == {one.consent for one in kept if rules.speaks(one, use)}


@many
@given(strategies.several_consents(), strategies.questions)
def test_an_answer_holds_until_the_moment_it_names(consents, question):
    use = use_of(*question)
    residuals = [
        compile_statement(one.statement, one.statement.consent, 1) for one in Offline(consents, use, Related()).readings if one.statement.active
    ]
    base = evaluate_base(residuals, use)
    assert base.valid_until is None or base.valid_until >= use.at
    later = use.at + 10**9 if base.valid_until is None else base.valid_until
    again = evaluate_base(residuals, Use(use.actors, use.purpose, later))
    assert (again.effect, again.refused, again.consents) == (base.effect, base.refused, base.consents)
