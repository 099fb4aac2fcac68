import pytest

from broker.policy.embedded import EmbeddedEvaluator
from broker.policy.engine import PolicyEngine
from broker.policy.policy_set import load
from tests.fakes import opa
from tests.policies.conftest import ROOT


@pytest.fixture(scope="session")
def policies():
    return load(ROOT / "policies")


@pytest.fixture(scope="session")
def embedded(policies):
    return PolicyEngine(EmbeddedEvaluator(policies), policies)


@pytest.fixture
def fake_opa():
    with opa.running() as server:
        yield server
