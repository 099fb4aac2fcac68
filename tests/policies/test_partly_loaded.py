"""Policies that were loaded in part: any table, any row of a table or any profile gone, and nothing more is permitted than with all of them."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from broker.policy.compiled import CompiledEvaluator, found
from broker.policy.decision import Effect
from broker.policy.engine import PolicyEngine
from broker.policy.policy_set import load
from tests.policies.conftest import ROOT
from tests.policies.examples import STARTS, as_facts, changed, emergency, release

POLICIES = load(ROOT / "policies")
MODULE = found(POLICIES, POLICIES.folder)
QUESTIONS = [
    as_facts(release()),
    as_facts(STARTS["assess"]()),
    as_facts(emergency()),
    as_facts(changed(release(), {"request.data": [{"data_class": "clinical.diagnoses"}, {"data_class": "sensitive.hiv"}], "grant.approved_by": 2})),
    as_facts(changed(release(), {"grant.status": "revoked"})),
    as_facts(changed(release(), {"consent.refused": True})),
]
TABLES = sorted(POLICIES.documents["broker"])


def judged(documents):
    engine = PolicyEngine(CompiledEvaluator(SimpleNamespace(documents=documents), MODULE), POLICIES)
    return [engine.decide(facts) for facts in QUESTIONS]


WHOLE = judged(POLICIES.documents)


def no_more_than_whole(given):
    for decision, whole in zip(given, WHOLE, strict=True):
        if not decision.allow:
            continue
        assert whole.allow
        for name, row in decision.plan["types"].items():
            assert set(row["elements"]) <= set(whole.plan["types"][name]["elements"])
        assert decision.plan["labels"] == whole.plan["labels"]
        assert decision.plan["limits"] == whole.plan["limits"]


def test_with_all_of_them_the_good_cases_are_permitted():
    assert [decision.allow for decision in WHOLE] == [True, True, True, True, False, False]


@pytest.mark.parametrize("instead", ["gone", "empty", "null"])
@pytest.mark.parametrize("table", TABLES)
def test_without_a_table_nothing_more_is_permitted(table, instead):
    documents = copy.deepcopy(POLICIES.documents)
    if instead == "gone":
        del documents["broker"][table]
    else:
        documents["broker"][table] = {} if instead == "empty" else None
    no_more_than_whole(judged(documents))


@pytest.mark.parametrize("table", [table for table in TABLES if table not in ("reasons", "policy_set")])
def test_without_any_one_row_nothing_more_is_permitted(table):
    for row in list(POLICIES.documents["broker"][table]):
        documents = copy.deepcopy(POLICIES.documents)
        del documents["broker"][table][row]
        no_more_than_whole(judged(documents))


def test_without_a_revision_every_answer_is_unusable():
    documents = copy.deepcopy(POLICIES.documents)
    del documents["broker"]["policy_set"]
    assert {decision.effect for decision in judged(documents)} == {Effect.UNAVAILABLE}


def test_with_nothing_loaded_at_all():
    assert not any(decision.allow for decision in judged({}))
    assert not any(decision.allow for decision in judged({"broker": {}}))
