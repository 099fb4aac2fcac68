"""A question of before is asked again with what was not known then, and its answer is never a permit (QA-3.3)."""

from __future__ import annotations

import copy

import jsonschema_rs
import pytest

from broker.governance.not_known import NOT_KNOWN, filled
from broker.governance.rules import Outcome, compared
from broker.policy.decision import Decision, Effect
from broker.policy.policy_set import load
from tests.policies.conftest import ROOT
from tests.policies.examples import changed, release

POLICIES = load(ROOT / "policies")
FITS = jsonschema_rs.validator_for(POLICIES.input_schema).is_valid
SHOWN = {
    "route": "standard_contract", "route_from": 1, "route_until": None, "impact_assessed": True, "separate_consent": True, "foreign_authority": False,
    "authority_approved": False, "purposes": ["TREAT"], "classes": ["clinical"], "persons": 0, "persons_limit": None, "year_persons": 0,
}  # fmt: skip


@pytest.mark.parametrize("path", list(NOT_KNOWN), ids=".".join)
def test_a_fact_that_is_absent_is_filled_and_named(path):
    facts = changed(release(), {"residency": copy.deepcopy(SHOWN), "recipient.jurisdiction": "HK"})
    within = facts
    for step in path[:-1]:
        within = within[step]
    del within[path[-1]]
    assert not FITS({"facts": facts, "input_hash": "0" * 64})
    before = copy.deepcopy(facts)
    whole, absent = filled(facts)
    assert (absent, facts) == ((".".join(path),), before)
    assert FITS({"facts": whole, "input_hash": "0" * 64})


def test_nothing_else_is_ever_filled():
    for name in ("grant", "consent", "patient", "recipient", "request"):
        facts = release()
        del facts[name]
        whole, absent = filled(facts)
        assert (whole, absent) == (facts, ())
        assert not FITS({"facts": whole, "input_hash": "0" * 64})


def test_whatever_the_draft_says_of_it_is_no_permit():
    plan = {"types": {}, "labels": {}, "obligations": [], "limits": {}}
    permit = Decision(Effect.PERMIT, (), plan, (), "h", "r", "e")
    deny = Decision(Effect.DENY, (), None, (), "h", "r", "e")
    lost = Decision(Effect.UNAVAILABLE, (), None, (), "h", "r", "e")
    said = {
        (effect, after.effect.value): compared(effect, plan if effect == "permit" else None, after, known=False).outcome
        for effect in ("permit", "deny")
        for after in (permit, deny, lost)
    }
    assert said == {
        ("permit", "permit"): Outcome.NOT_KNOWN,
        ("permit", "deny"): Outcome.NOT_KNOWN,
        ("permit", "unavailable"): Outcome.UNAVAILABLE,
        ("deny", "permit"): Outcome.NOT_KNOWN,
        ("deny", "deny"): Outcome.SAME,
        ("deny", "unavailable"): Outcome.UNAVAILABLE,
    }
