"""One table of decisions, the same in both engines: every rule's yes and no, and what is left of what was asked.

A row of ``decision_table.json``: ``start`` (an example), ``change`` (other values at dotted paths), ``reasons`` (empty: it is
permitted), and of the plan what the row is about: ``types``, ``elements``, ``codes``, ``categories``, ``transforms`` of a type,
``period`` ``[start, end]``, ``deny`` labels, ``ceiling``, ``limits``, ``profile``, ``consents``.
"""

import json
from pathlib import Path

import pytest

from broker.policy.decision import Effect
from broker.policy.static_checks import given_codes
from tests.policies.examples import STARTS, as_facts, changed

ROWS = json.loads(Path(__file__).with_name("decision_table.json").read_text(encoding="utf-8"))


def facts_of(row):
    return as_facts(changed(STARTS[row["start"]](), row["change"]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_a_row(engine, row):
    decision = engine.decide(facts_of(row))
    assert [reason.code for reason in decision.reasons] == row["reasons"]
    assert decision.effect is (Effect.DENY if row["reasons"] else Effect.PERMIT)
    assert decision.engine == engine.name
    assert decision.revision == engine.revision
    if row["reasons"]:
        assert (decision.plan, decision.obligations) == (None, ())
    else:
        compare(decision.plan, row)


def compare(plan, row):
    types = plan["types"]
    if "types" in row:
        assert list(types) == row["types"]
    for part in ("elements", "codes", "categories"):
        for name, expected in row.get(part, {}).items():
            assert types[name][part] == expected, (part, name)
    for name, expected in row.get("transforms", {}).items():
        assert [f"{each['path']} {each['do']}" for each in types[name]["transforms"]] == expected
    for name, (start, end) in row.get("period", {}).items():
        assert types[name]["period"] == {"start": start, "end": end}
    for part, found in (
        ("deny", plan["labels"]["deny"]),
        ("ceiling", plan["labels"]["ceiling"]),
        ("limits", plan["limits"]),
        ("profile", plan["profile"]),
        ("consents", plan["consents"]),
    ):
        if part in row:
            assert found == row[part]
    assert plan["obligations"][-1]["code"] == "DELAU"


@pytest.mark.opa
def test_both_engines_say_the_same_to_the_last_word(embedded, opa_server):
    for row in ROWS:
        here, there = embedded.decide(facts_of(row)), opa_server.decide(facts_of(row))
        assert (here.effect, here.reasons, here.plan, here.obligations, here.necessity, here.input_hash) == (
            there.effect,
            there.reasons,
            there.plan,
            there.obligations,
            there.necessity,
            there.input_hash,
        ), row["name"]


def test_the_table_forgets_no_reason(policies):
    given = {code for code in given_codes(policies) if not code.startswith(("cut.", "policy.")) and not code.endswith(".undetermined")}
    given -= {"residency.localised"}  # Only where data/localisation.json says so: beside the rule.
    assert given == {code for row in ROWS for code in row["reasons"] if not code.endswith(".undetermined")}


def test_every_profile_has_a_row(policies):
    profiles = {row["profile"] for row in ROWS if "profile" in row}
    missing = policies.data["profiles"].keys() - profiles
    assert missing <= {"treatment-pharmacy", "payment-insurer", "recognition-imaging"}, "test_profiles.py asks these"
