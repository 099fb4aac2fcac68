"""What breaking the rules in small ways showed to be held by no other test (``python -m tools.mutants``)."""

from __future__ import annotations

import dataclasses

import pytest

from broker.consent import rules
from broker.consent.reading import read
from broker.consent.times import Span
from broker.consent.values import Effect, Labels, Reason, ResourceFacts, Scope, Statement, Use, Verdict
from tests.factories.consent import actors, classes, codes, consent, labels, observation, provision, purposes
from tests.unit.consent.asking import effect, said

PERMIT, DENY, SILENT = "permit", "deny", "silent"
A_DAY = {"period": {"start": "2026-11-01", "end": "2026-11-01"}}


@pytest.mark.parametrize(("at", "expected"), [("2026-10-31T23:59:59Z", PERMIT), ("2026-11-01T12:00:00Z", DENY), ("2026-11-02T00:00:00Z", PERMIT)])
def test_a_nested_period_bounds_its_own_provision(at, expected):
    assert effect(consent(provision("permit", nested=[provision("deny", **A_DAY)])), observation(), at=at) == expected


def test_a_document_s_type_is_no_class_of_what_is_no_document():
    """A laboratory value whose code happens to be that of a document is not one."""
    note = {"class": [{"system": "http://loinc.org", "code": "15074-8"}]}
    assert effect(consent(provision("permit", note)), observation()) == SILENT
    report = {**observation(), "resourceType": "DiagnosticReport"}
    assert effect(consent(provision("permit", note)), report) == PERMIT


def test_an_exception_four_levels_down_still_belongs_to_the_denial():
    chain = provision("permit", labels("PSY"), nested=[provision("deny", classes("Condition"), nested=[provision("permit", purposes("HRESCH"))])])
    given = consent(provision("permit", nested=[provision("deny", labels("PSY"), nested=[chain])]))
    condition = {**observation(label=("R", "PSY")), "resourceType": "Condition"}
    assert effect(given, observation(label=("R", "PSY"))) == PERMIT
    assert effect(given, condition) == DENY
    assert effect(given, condition, purpose="HRESCH") == PERMIT
    denial = read(given).statement.provisions[1]
    assert [one.number for one in rules.below(read(given).statement.provisions, denial)] == [2, 3, 4]


def test_what_lifts_a_denied_label_must_permit_it_for_that_label():
    nested = [
        provision("deny", labels("PSY"), nested=[provision("deny", classes("Observation"))]),
        provision("permit", codes(("http://loinc.org", "15074-8"))),
    ]
    deeper = provision("permit", classes("Observation"), nested=[provision("permit", purposes("TREAT"), nested=[provision("permit")])])
    assert effect(consent(provision("permit", nested=[*nested, deeper])), observation(label=("R", "PSY"))) == DENY
    # Another topic than the denied one is not touched by the denial, however deep the permit stands.
    assert effect(consent(provision("permit", nested=[*nested, deeper])), observation(label=("R", "HIV"))) == PERMIT


def test_a_consent_about_treatment_itself_says_nothing_of_research_either():
    other = Statement("c", active=True, scope=Scope.OTHER, span=Span(), provisions=())
    assert not rules.speaks(other, Use(frozenset(), "HRESCH", 0))
    research = dataclasses.replace(other, scope=Scope.RESEARCH)
    assert rules.speaks(research, Use(frozenset(), "CLINTRCH", 0))
    assert not rules.speaks(research, Use(frozenset(), "TREAT", 0))
    assert rules.speaks(research, Use(frozenset(), "no-such-purpose", 0))  # It may be research: what it denies counts.


def _statement(name, start, **more):
    return Statement(name, active=True, scope=Scope.PRIVACY, span=Span(), provisions=(), issued=Span(start, start), **more)


def test_of_three_the_newest_replaces_in_whatever_order_they_come():
    one = frozenset({"urn:x|1"})
    three = [_statement("a", -5, identifiers=one), _statement("b", 0, identifiers=one), _statement("c", 5, identifiers=one)]
    assert rules.replaced(three) == rules.replaced(three[::-1]) == {"a": "c", "b": "c"}
    undated = dataclasses.replace(_statement("d", 0), issued=Span(), replaces=frozenset({"Consent/a"}))
    assert rules.replaced([_statement("a", -5), undated, dataclasses.replace(_statement("e", 1), replaces=frozenset({"Consent/a"}))]) == {"a": "e"}


def test_neither_an_inactive_consent_nor_the_consent_itself_takes_a_place():
    old = _statement("a", 0)
    assert rules.replaced([old, dataclasses.replace(_statement("b", 1), active=False, replaces=frozenset({"Consent/a"}))]) == {}
    assert rules.replaced([dataclasses.replace(old, replaces=frozenset({"Consent/a"}))]) == {}
    assert (
        rules.replaced([dataclasses.replace(old, issued=Span(1, 1), identifiers=frozenset({"x"})), _statement("b", 1, identifiers=frozenset({"x"}))])
        == {}
    )


def test_the_first_permit_is_named_and_any_denial_before_it():
    permits = [Verdict(Effect.PERMIT, Reason.PROVISION, name, "Consent.provision") for name in ("one", "two")]
    silence, denial = Verdict(Effect.SILENT, Reason.NOTHING_SAID), Verdict(Effect.DENY, Reason.PROVISION, "three", "Consent.provision")
    assert rules.combine([silence, *permits]) == permits[0]
    assert rules.combine([*permits, silence]) == permits[0]
    assert rules.combine([*permits, denial]) == denial
    assert rules.combine([]) == silence


def test_who_decided_is_told():
    given = consent(provision("deny", actors("Organization/shengli"), nested=[provision("deny", labels("PSY"))])) | {"id": "c"}
    assert said(given, observation(label=("R", "PSY"))).provision == "Consent.provision.provision[0]"
    assert said(given, observation()).provision == "Consent.provision"


def test_labels_are_told_apart():
    assert rules.labels_of(("N", "PSY", "text:HIV")) == Labels(3, False, frozenset({"PSY"}), False, frozenset({"HIV"}))
    assert rules.labels_of(("PSY",)) == Labels(None, True, frozenset({"PSY"}))
    assert rules.labels_of(()) is rules.labels_of(("N", "unclassified")) is None
    assert not rules.covers(Effect.PERMIT, frozenset({"N"}), Labels(None, True))
    facts = ResourceFacts("Observation", "o", ("N",))
    assert facts.reference == "Observation/o"
