"""What policy says of each resource's consent is what the gate is asked (PIPL 13, 15; consent rules 3 and 6)."""

from __future__ import annotations

import pytest

from broker.consent import service as consent
from broker.consent.reading import read
from broker.consent.residual import compile_statement
from broker.consent.values import ResourceFacts
from broker.fhir.plan import PlanInvalid, ReleasePlan
from broker.release.consents import bound
from tests.factories.consent import classes, labels, provision, purposes
from tests.factories.consent import consent as written

AT = 1_790_000_000
LAB, NOTE, PSY = (ResourceFacts("Observation", "o", ("N",)), ResourceFacts("Condition", "c", ("N",)), ResourceFacts("Observation", "p", ("R", "PSY")))


def gate():
    """The patient permits Observations for treatment, and nothing about the mind."""
    given = written(provision("permit", purposes("TREAT"), classes("Observation"), nested=[provision("deny", labels("PSY"))]))
    residual = compile_statement(read(given).statement, "c1", 1)
    return consent.gate_for([residual], consent.Use(frozenset({"Organization/a"}), "TREAT", AT))


def plan(word):
    form = {"types": {"Observation": {"elements": ["id"]}}, "labels": {"deny": [], "ceiling": "V"}}
    return ReleasePlan.from_json(form if word is None else form | {"consents": word})


@pytest.mark.parametrize(
    ("word", "leave"),
    [("required", [LAB]), (None, [LAB]), ("unless-refused", [LAB, NOTE]), ("overridden", [LAB, NOTE, PSY])],
)
def test_silence_and_refusal_weigh_what_policy_says(word, leave):
    asked, required = bound(plan(word), gate())
    assert [one for one in (LAB, NOTE, PSY) if asked.allows(one, consent_required=required)] == leave


@pytest.mark.parametrize("word", ["required", "unless-refused", "overridden"])
def test_what_has_no_label_never_leaves(word):
    asked, required = bound(plan(word), gate())
    for codes in ((), ("unclassified",)):
        assert not asked.allows(ResourceFacts("Observation", "x", codes), consent_required=required)


@pytest.mark.parametrize("word", ["", "optional", None, True, ["required"]])
def test_no_other_word_is_taken(word):
    form = {"types": {"Observation": {"elements": ["id"]}}, "labels": {"deny": [], "ceiling": "V"}, "consents": word}
    with pytest.raises(PlanInvalid):
        ReleasePlan.from_json(form)


def test_the_word_is_written_down_and_part_of_the_fingerprint():
    one, other = plan("required"), plan("unless-refused")
    assert ReleasePlan.from_json(other.to_json()) == other
    assert one.fingerprint != other.fingerprint
