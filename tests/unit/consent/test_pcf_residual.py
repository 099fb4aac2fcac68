"""``ihe_pcf.residual``: as IHE PCF's own examples write it, and never wider than the rules (IHE PCF ITI-71)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from broker.consent.codes import SENSITIVITY
from broker.consent.compiled import compile_statement
from broker.consent.enforceability import examine
from broker.consent.pcf import FORBID_ALL, residual_of
from broker.consent.reading import read
from broker.consent.related import Related
from broker.consent.residual import Residual, Use, evaluate_base, gate_for
from broker.consent.values import Effect, ResourceFacts
from tests.factories.consent import classes, codes, consent, labels, provision
from tests.unit.consent import strategies
from tests.unit.consent.test_published_examples import GROUP, PCF, full

N, R, V, PSY = (
    {"system": f"http://terminology.hl7.org/CodeSystem/v3-{'Confidentiality' if code in 'NRV' else 'ActCode'}", "code": code}
    for code in ("N", "R", "V", "PSY")
)
#: A denial is written out with what lies under it.
TOPIC = [{"system": PSY["system"], "code": code} for code in sorted(SENSITIVITY.narrower("PSY"))]
CLINIC, PRACTITIONER = "Organization/clinic", "Practitioner/ex-practitioner"
YEAR = {"start": "2022-01-01T00:00:00+00:00", "end": "2022-12-31T23:59:59+00:00"}


def named(meaning, *references):
    return {"data": [{"meaning": meaning, "reference": {"reference": one}} for one in references]}


#: Example, caller, purpose → the list that PCF's notes give for it.
EXPECTED = [
    ("basic-treat", CLINIC, "TREAT", []),
    ("basic-reject", CLINIC, "TREAT", [FORBID_ALL]),
    ("basic-treat", CLINIC, "HRESCH", [FORBID_ALL]),
    ("intermediate-timeframe", CLINIC, "TREAT", [FORBID_ALL, {"type": "permit", "dataPeriod": YEAR}]),
    ("intermediate-not-timeframe", CLINIC, "TREAT", [{"type": "forbid", "dataPeriod": YEAR}]),
    ("intermediate-authoredby", CLINIC, "TREAT", [FORBID_ALL, {"type": "permit", **named("authoredby", PRACTITIONER)}]),
    ("intermediate-not-authoredby", CLINIC, "TREAT", [{"type": "forbid", **named("authoredby", PRACTITIONER)}]),
    ("intermediate-not-data", CLINIC, "TREAT", [{"type": "forbid", **named("instance", "Observation/ex-alcoholUse")}]),
    ("dissent-intermediate-break-glass", PRACTITIONER, "BTG", []),
    ("dissent-intermediate-break-glass", CLINIC, "BTG", [FORBID_ALL]),
    ("advanced-normal", CLINIC, "TREAT", [FORBID_ALL, {"type": "permit", "securityLabel": [N]}]),
    ("advanced-normal-restricted", CLINIC, "TREAT", [FORBID_ALL, {"type": "permit", "securityLabel": [N, R]}]),
    ("advanced-normal-not-restricted", CLINIC, "TREAT",
     [FORBID_ALL, {"type": "permit", "securityLabel": [N]}, {"type": "forbid", "securityLabel": [R, V]}]),
    ("advanced-normal-focused-psy", PRACTITIONER, "TREAT",
     [FORBID_ALL, {"type": "permit", "securityLabel": [N]}, {"type": "permit", "securityLabel": [PSY]}]),
    ("advanced-normal-focused-psy", CLINIC, "TREAT", [FORBID_ALL, {"type": "permit", "securityLabel": [N]}]),
    ("advanced-normal-break-glass-restricted", PRACTITIONER, "BTG", [FORBID_ALL, {"type": "permit", "securityLabel": [R]}]),
]  # fmt: skip


def stored(given_consent, name="c"):
    report = examine(given_consent, actor=Related([GROUP], at=1_793_534_400).actor)
    return Residual.from_json(name, 1, json.loads(json.dumps(compile_statement(report.statement, name, 1).to_json())))


@pytest.mark.parametrize(("name", "actor", "purpose", "expected"), EXPECTED)
def test_as_the_profile_s_own_examples(name, actor, purpose, expected):
    (root,) = (one["root"] for one in PCF["examples"] if one["name"] == name)
    assert residual_of([stored(full(root))], Use(frozenset({actor}), purpose, 1_793_534_400)) == expected


def test_what_pcf_cannot_say_is_said_narrower():
    use = Use(frozenset({CLINIC}), "TREAT", 0)
    only_kinds = consent(provision("permit", classes("Observation"), nested=[provision("permit", labels("PSY"))]))
    assert residual_of([stored(only_kinds)], use) == [FORBID_ALL, {"type": "permit", "securityLabel": [PSY]}]
    but_for = consent(
        provision("permit", nested=[provision("deny", codes(("urn:x", "y")), labels("PSY"), nested=[provision("permit", labels("SEX"))])])
    )
    assert residual_of([stored(but_for)], use) == [{"type": "forbid", "securityLabel": TOPIC}]
    assert residual_of([stored(but_for), stored(consent(provision("permit", labels("N"))), "d")], use) == [
        {"type": "permit", "securityLabel": [N]}, {"type": "forbid", "securityLabel": TOPIC},
    ]  # fmt: skip
    assert residual_of([Residual.unreadable("x")], use) == [FORBID_ALL]
    assert residual_of([], use) == [FORBID_ALL]


def flows(rules, label):
    """What an enforcer with exact matching of labels lets through: the last rule that matches decides."""
    effect = "permit"
    for rule in rules:
        if rule.keys() <= {"type", "securityLabel"} and ("securityLabel" not in rule or label in {one["code"] for one in rule["securityLabel"]}):
            effect = rule["type"]
        elif rule["type"] == "forbid" and rule.keys() - {"type", "securityLabel"}:
            return None  # It depends on what isn't asked here.
    return effect == "permit"


@settings(max_examples=100, deadline=None)
@given(strategies.several_consents(), strategies.questions)
def test_it_forbids_all_where_the_consents_do(consents, question):
    actors, purpose, at = question
    use = Use(frozenset(actors), purpose, int(at.timestamp()))
    residuals = [compile_statement(read(one).statement, f"c{number}", 1) for number, one in enumerate(consents)]
    if evaluate_base(residuals, use).effect is not Effect.PERMIT:
        assert residual_of(residuals, use) == [FORBID_ALL]


@settings(max_examples=100, deadline=None)
@given(strategies.several_consents(), strategies.questions)
def test_where_it_lets_a_plain_label_flow_so_do_the_rules(consents, question):
    actors, purpose, at = question
    use = Use(frozenset(actors), purpose, int(at.timestamp()))
    residuals = [compile_statement(read(one).statement, f"c{number}", 1) for number, one in enumerate(consents)]
    gate = gate_for(residuals, use)
    if gate.trivial or gate.by_kind:
        for label in ("N", "R", "V"):
            if flows(residual_of(residuals, use), label):
                verdict = gate.verdict(ResourceFacts("Nothing", "x", (label,)))
                assert verdict.effect is Effect.PERMIT, (label, verdict)
