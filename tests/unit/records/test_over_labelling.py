"""Ordinary care stays unlabelled: every label that the rules give in 28 whole synthetic records, each with the reason why it is right."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from broker.cli.labels import counted
from tests.conftest import SYNTHEA

pytestmark = pytest.mark.skipif(not SYNTHEA.is_dir(), reason="the Synthea records are not on this machine")

#: Rule and type → how many, and why each is about what the label says. Whoever adds to it has looked at what the rule caught.
RIGHT = {
    ("HIV HIV-words", "Observation"): (3, "an HIV status: that it was asked and what came of it, a negative one as well"),
    ("text:HIV HIV-words", "Observation"): (3, "the same in the words of the result"),
    ("SEX SEX-words", "Observation"): (3, "sexual orientation"),
    ("SEX SEX-words", "Condition"): (1, "a miscarriage"),
    ("SEX SEX-words", "Claim"): (1, "the bill for it names it"),
    ("SEX SEX-words", "ExplanationOfBenefit"): (1, "its settlement names it"),
    ("SEX SEX-pregnancy", "Encounter"): (1, "a prenatal visit"),
    ("VIO VIO-finding", "Observation"): (3, "an abuse status: that it was asked"),
}


def test_nothing_is_labelled_but_what_is_about_it():
    resources = [entry["resource"] for path in sorted(SYNTHEA.glob("*.json")) for entry in json.loads(path.read_bytes())["entry"]]
    found = counted(resources)
    given = Counter({(rule, kind): number for rule, kinds in found["rules"].items() for kind, number in kinds.items()})
    assert given == {place: number for place, (number, _) in RIGHT.items()}
    assert (found["resources"], found["labelled"]) == (3486, 13)
