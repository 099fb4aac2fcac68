"""Who gave a consent, and which separate consents it says (PIPL 23, 29, 31, 39); whatever can't be told is unknown."""

import dataclasses

import pytest

from broker.consent import givers
from broker.consent.asking_rules import NO_CAPACITY, Answerer
from broker.consent.compiled import Residual, compile_statement
from broker.consent.reading import read
from broker.consent.residual import Use, facts_for
from tests.factories.consent import actors, consent, provision

ROLE = givers.ROLE_CODE


def relative(*codings, **more):
    return {
        "resourceType": "RelatedPerson", "id": "g", "patient": {"reference": "Patient/p1"},
        "relationship": [{"coding": [{"system": system, "code": code} for system, code in codings]}], **more,
    }  # fmt: skip


def given(*references, contained=(), **more):
    return consent(
        provision("permit", actors("Organization/shengli")), performer=[{"reference": one} for one in references], contained=list(contained), **more
    )


@pytest.mark.parametrize(
    ("made", "giver"),
    [
        (given("Patient/p1"), "patient"),
        (given("Patient/other"), "unknown"),
        (given("#g", contained=[relative((ROLE, "MTH"))]), "guardian"),
        (given("#g", contained=[relative((ROLE, "GUARD"), (givers.OF_WHOM, "no-capacity"))]), "guardian-no-capacity"),
        (given("#g", "Patient/p1", contained=[relative((ROLE, "FTH"))]), "both"),
        (given("#g", contained=[relative((ROLE, "SPS"))]), "unknown"),
        (given("#g", contained=[relative(("https://example.org", "MTH"))]), "unknown"),
        (given("#g", contained=[relative((ROLE, "MTH"), active=False)]), "unknown"),
        (given("#g", contained=[{**relative((ROLE, "MTH")), "resourceType": "Person"}]), "unknown"),
        (given("#other", contained=[relative((ROLE, "MTH"))]), "unknown"),
        (given("RelatedPerson/7"), "unknown"),
        (given("Practitioner/7"), "unknown"),
        (given("urn:uuid:x"), "unknown"),
        (given(), "unknown"),
        ({"performer": "mother", "contained": 7, "patient": []}, "unknown"),
    ],
)
def test_who_gave_it(made, giver):
    assert givers.giver(made) == giver


def test_a_stored_relative_is_looked_up():
    assert givers.giver(given("RelatedPerson/7"), {"RelatedPerson/7": relative((ROLE, "PRN"))}.get) == "guardian"


def test_the_separate_consents():
    said = [{"uri": givers.SEPARATE_URI + one} for one in ("sensitive", "abroad", "everything")]
    assert givers.separate(given("Patient/p1", policy=said)) == {"sensitive", "abroad"}
    assert givers.separate({"policy": ["urn:broker:separate-consent:abroad"]}) == frozenset()


USE = Use(actors=frozenset({"Organization/shengli"}), purpose="TREAT", at=1_795_420_800)


def residual(made, name="c1"):
    return Residual.from_json(name, 1, compile_statement(read(made, name=name).statement, name, 1).to_json())


def test_policy_is_told_who_gave_what_permits():
    both = [{"uri": givers.SEPARATE_URI + one} for one in ("sensitive", "abroad")]
    mother = residual(given("#g", contained=[relative((ROLE, "MTH"))], policy=both))
    own = residual(given("Patient/p1", policy=both[:1]), "c2")
    refusal = residual(consent(provision("deny", actors("Organization/renhe")), performer=[{"reference": "Patient/p1"}]), "c3")
    assert (facts_for([mother], USE, 1).givers, facts_for([mother], USE, 1).separate) == (("guardian",), ("abroad", "sensitive"))
    told = facts_for([mother, own, refusal], USE, 1)
    assert (told.givers, told.separate) == (("guardian", "patient"), ("sensitive",))
    assert (facts_for([], USE, 1).givers, facts_for([], USE, 1).separate) == ((), ())


def test_what_was_filed_before_says_neither():
    stored = residual(given("Patient/p1")).to_json()
    for change in ({"giver": None}, {"giver": "mother"}, {"separate": [7, "everything"]}):
        again = Residual.from_json("c1", 1, stored | change)
        assert again.readable
        assert again.giver == ("patient" if "separate" in change else "unknown")
        assert again.separate == frozenset()
    del stored["giver"], stored["separate"]
    assert dataclasses.asdict(Residual.from_json("c1", 1, stored))["giver"] == "unknown"
    assert not Residual.from_json("c1", 1, stored | {"separate": 7}).readable


def test_what_is_answered_here_says_who_and_what():
    from broker.consent.wording import _guardian

    for reason, giver in (("", "guardian"), (NO_CAPACITY, "guardian-no-capacity")):
        person = _guardian("p1", Answerer("guardian", "母亲", reason))
        assert givers.giver(given("#guardian", contained=[person])) == giver
