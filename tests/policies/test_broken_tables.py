"""A table that lost a key, behind the schemas' back, lets nothing leave that did not leave before (RS-5.2.1, RS-5.2.3; adversarial E)."""

from __future__ import annotations

import copy
import dataclasses
import os

import pytest

from broker.governance.rules import Outcome, compared
from broker.policy.compiled import CompiledEvaluator, found
from broker.policy.engine import PolicyEngine
from broker.policy.errors import PolicyUnusable
from tests.policies.test_decision_table import ROWS, facts_of

#: Tables that only words and checks read.
IDLE = {"elements", "emergency", "reasons", "recognition"}
#: Every key of every table takes a minute (BROKER_TEST_EVERY_KEY=1). In CI one profile stands for all, and of the rest each eighth key.
EVERY = bool(os.environ.get("BROKER_TEST_EVERY_KEY"))
ONE, EACH = "treatment-teleconsultation", 1 if EVERY else 8
#: What was found open once, and stays closed: always asked.
ONCE_OPEN = {("minors", "obligations"), ("data_classes", "sensitive.hiv", "lifts"), ("data_classes", "sensitive.genetics", "lifts")}


def paths(data):
    """Each key that could be lost, by where it stands; lists count as one thing."""

    def below(value, path):
        if isinstance(value, dict):
            for key, each in value.items():
                yield (*path, key)
                if len(path) < (3 if path[:1] == ("profiles",) else 4):
                    yield from below(each, (*path, key))

    for table, rows in data.items():
        if table in IDLE:
            continue
        for path in below(rows, (table,)):
            words = {"name", "why", "law", "level", "ancestors", "source", "confirmed_by_counsel", "uri"} & {*path}
            if not words and (EVERY or table != "profiles" or path[1] == ONE):
                yield path


def cases():
    """Of the decision table a row for each reason and for each profile, and what is released to a child."""
    seen, chosen = set(), []
    for row in ROWS:
        about = {*row["reasons"], row.get("profile"), "child" if row["change"].get("patient.age") == "under_14" else None} - {None}
        if not about <= seen:
            seen |= about
            chosen.append(facts_of(row))
    return chosen


def lost(data, path):
    changed = {**data, path[0]: copy.deepcopy(data[path[0]])}
    place = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return changed


@pytest.fixture(scope="module")
def asked(policies):
    engine = PolicyEngine(CompiledEvaluator(policies, found(policies, policies.folder)), policies)
    return [(facts, engine.decide(facts)) for facts in cases()]


def test_a_key_that_is_lost_opens_nothing(policies, asked):
    module, tried, opened = found(policies, policies.folder), 0, []
    for number, path in enumerate(paths(dict(policies.data))):
        if number % EACH and path not in ONCE_OPEN:
            continue
        tried += 1
        broken = dataclasses.replace(policies, data=lost(dict(policies.data), path))
        try:
            evaluator = CompiledEvaluator(broken, module)
        except (KeyError, AttributeError, PolicyUnusable):
            continue  # Tables that can't even be laid before an engine.
        engine = PolicyEngine(evaluator, broken)
        for facts, before in asked:
            after = engine.decide(facts)
            if not after.allow:
                continue
            fewer = [each for each in before.obligations if each not in after.obligations]
            if not before.allow or compared("permit", before.plan, after).outcome not in (Outcome.SAME, Outcome.NARROWED) or fewer:
                opened.append((".".join(path), [reason.code for reason in before.reasons], fewer))
                break
    assert tried > 60
    assert opened == []
