"""What the embedded engine runs is compiled from the Rego that lies beside it; cheap, so that every landing asks it."""

from __future__ import annotations

from broker.policy.compiled import found
from broker.policy.policy_set import load
from tests.policies.conftest import ROOT


def test_the_rego_was_compiled_after_its_last_change():
    policies = load(ROOT / "policies")
    assert found(policies, policies.folder) is not None, "the Rego was changed: run `broker policy compile` (and `broker policy document`)"
