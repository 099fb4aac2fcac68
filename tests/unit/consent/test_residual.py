"""What a release asks: the base for a use, the gate for a resource, what the gate says of itself, how rules are kept."""

from __future__ import annotations

import json

import pytest

from broker.consent.compiled import FORMAT
from broker.consent.reading import read
from broker.consent.residual import Residual, Use, applicable, compile_statement, evaluate_base, facts_for, gate_for
from broker.consent.resources import facts_of, labels_of
from broker.consent.values import Effect, Reason, ResourceFacts
from tests.factories.consent import actors, classes, codes, concept, consent, data, labels, observation, provision, purposes, r5

SHENGLI, RENHE = frozenset({"Organization/shengli"}), frozenset({"Organization/renhe"})
AT = 1_793_534_400  # 2026-11-01T12:00:00Z


def use(purpose="TREAT", actors=SHENGLI, at=AT):
    return Use(actors, purpose, at)


def compiled(*consents):
    """The residuals as a release reads them."""
    found = []
    for number, one in enumerate(consents):
        kept = json.dumps(compile_statement(read(one).statement, f"c{number}", 1).to_json())
        found.append(Residual.from_json(f"c{number}", 1, json.loads(kept)))
    return tuple(found)


def permit(*conditions, **more):
    return consent(provision("permit", *conditions, **more))


def deny(*conditions, **more):
    return consent(provision("deny", *conditions, **more))


def resource(kind="Observation", *label, number="o1"):
    return ResourceFacts(kind, number, label or ("N",))


def test_a_refusal_with_an_exception_is_a_permit_whose_gate_lets_the_exception_through():
    given = compiled(deny(nested=[provision("permit", actors("Organization/shengli"), classes("Observation"))]))
    base = evaluate_base(given, use())
    assert (base.effect, base.refused, base.consents) == (Effect.PERMIT, False, ("c0",))
    gate = gate_for(given, use())
    assert gate.verdict(resource("Observation")).effect is Effect.PERMIT
    assert gate.verdict(resource("Condition")).effect is Effect.DENY
    elsewhere = evaluate_base(given, use(actors=RENHE))
    assert (elsewhere.effect, elsewhere.refused) == (Effect.DENY, True)


def test_a_permit_of_some_lets_only_these_through_where_consent_is_what_counts():
    given = compiled(permit(classes("Observation")))
    gate = gate_for(given, use())
    assert evaluate_base(given, use()).effect is Effect.PERMIT
    assert gate.allows(resource("Observation"), consent_required=True)
    assert not gate.allows(resource("Condition"), consent_required=True)
    assert gate.allows(resource("Condition"), consent_required=False)


def test_a_denial_of_some_leaves_the_use_as_a_whole_undecided_but_bites():
    given = compiled(deny(labels("PSY")))
    base = evaluate_base(given, use())
    assert (base.effect, base.refused) == (Effect.SILENT, False)
    gate = gate_for(given, use())
    assert not gate.allows(resource("Observation", "R", "PSY"), consent_required=False)
    assert gate.allows(resource(), consent_required=False)
    assert not gate.allows(resource(), consent_required=True)


@pytest.mark.parametrize(
    ("given", "effect", "refused"),
    [
        ((), Effect.SILENT, False),
        ((permit(),), Effect.PERMIT, False),
        ((deny(),), Effect.DENY, True),
        ((deny(purposes("HRESCH")),), Effect.SILENT, False),
        ((permit(), deny()), Effect.DENY, True),
        ((permit(), deny(labels("PSY"))), Effect.PERMIT, False),
        ((permit(actors("Organization/renhe")),), Effect.SILENT, False),
        # An exception that is undone by one as deep, or deeper, for every resource, is none.
        ((deny(nested=[provision("permit", classes("Observation")), provision("deny")]),), Effect.DENY, True),
        ((deny(nested=[provision("permit", classes("Observation"), nested=[provision("deny", purposes("TREAT"))])]),), Effect.PERMIT, False),
        ((permit(nested=[provision("deny", purposes("TREAT"))]),), Effect.DENY, True),
        ((permit(nested=[provision("deny", purposes("TREAT"), nested=[provision("permit", classes("Observation"))])]),), Effect.PERMIT, False),
        ((permit(nested=[provision("deny", classes("Observation"), nested=[provision("deny", purposes("TREAT"))])]),), Effect.PERMIT, False),
        ((permit(period={"end": "2026-01-01"}),), Effect.SILENT, False),
        ((deny(period={"start": "2027-01-01"}),), Effect.SILENT, False),
        ((r5("deny"), r5("permit")), Effect.DENY, True),
    ],
)
def test_base(given, effect, refused):
    base = evaluate_base(compiled(*given), use())
    assert (base.effect, base.refused, base.unenforceable) == (effect, refused, False)
    told = facts_for(compiled(*given), use(), epoch=3)
    assert (told.base, told.refused, told.epoch, told.consents) == (effect.value, refused, 3, base.consents)


def test_one_that_is_not_understood_denies_everything_and_says_so():
    given = (*compiled(permit()), Residual.unreadable("broken"))
    told = facts_for(given, use(), 0)
    assert (told.base, told.refused, told.unenforceable) == ("deny", True, True)
    verdict = gate_for(given, use()).verdict(resource())
    assert (verdict.effect, verdict.reason, verdict.consent) == (Effect.DENY, Reason.UNENFORCEABLE, "broken")
    assert not applicable(given, use())[1].may_permit


def test_the_answer_says_until_when_it_holds():
    assert evaluate_base(compiled(permit()), use()).valid_until is None
    ends = compiled(permit(period={"start": "2026-01-01", "end": "2026-12-31"}))
    assert evaluate_base(ends, use()).valid_until == 1_798_761_599
    begins = compiled(permit(), deny(period={"start": "2026-12-01"}))
    assert evaluate_base(begins, use()).valid_until == 1_796_083_200 - 1
    inside = compiled(permit(nested=[provision("deny", period={"start": "2026-11-02"})]))
    assert evaluate_base(inside, use()).valid_until == 1_793_577_600 - 1
    past = compiled(permit(period={"end": "2026-01-01"}))
    assert evaluate_base(past, use()).valid_until is None


def test_denied_labels_are_those_that_nothing_can_lift():
    def denied(*given, **more):
        return gate_for(compiled(*given), use(**more)).denied_labels

    always = {"unclassified"}
    assert denied() == always
    assert denied(permit(nested=[provision("deny", labels("SUD"))])) == always | {"SUD", "ETHUD", "OPIOIDUD"}
    assert denied(permit(nested=[provision("deny", labels("R"))])) == always | {"R", "V"}
    assert denied(permit(nested=[provision("deny", labels("HIV"), purposes("HRESCH"))])) == always
    assert denied(permit(nested=[provision("deny", labels("HIV"), purposes("HRESCH"))]), purpose="HRESCH") == always | {"HIV"}
    assert denied(permit(nested=[provision("deny", labels("HIV"), classes("Observation"))])) == always
    assert denied(permit(nested=[provision("deny", labels("HIV"), codes(("urn:x", "y")))])) == always
    assert denied(permit(nested=[provision("deny", labels("HIV"), data("instance", "Observation/o1"))])) == always
    assert denied(permit(nested=[provision("deny", labels("HIV"), dataPeriod={"start": "2026"})])) == always
    assert denied(permit(nested=[provision("deny", labels("HIV"), nested=[provision("permit", actors("Organization/shengli"))])])) == always
    lifted_for_others = permit(nested=[provision("deny", labels("HIV"), nested=[provision("permit", actors("Organization/renhe"))])])
    assert denied(lifted_for_others) == always | {"HIV"}
    assert denied(permit(nested=[provision("deny", classes("Observation"), nested=[provision("deny", labels("HIV"))])])) == always
    assert denied(permit(nested=[provision("deny", purposes("TREAT"), nested=[provision("deny", labels("HIV"))])])) == always | {"HIV"}
    assert denied(deny(labels("HIV")), permit(nested=[provision("deny", labels("SEX"))])) == always | {"HIV", "SEX"}
    assert denied(deny(labels("HIV"), nested=[provision("permit", labels("N"))])) == always


def test_what_a_gate_looks_at():
    def gate(*nested):
        return gate_for(compiled(permit(nested=list(nested))), use())

    assert gate().trivial
    assert gate().by_kind
    assert gate(provision("deny", purposes("HRESCH"), labels("HIV"))).trivial
    for condition, needs in (
        (labels("HIV"), set()),
        (classes("Observation"), set()),
        (codes(("urn:x", "y")), {"codes"}),
        ({"dataPeriod": {"end": "2020"}}, {"dates"}),
        ({"class": [{"system": "urn:ietf:rfc:3986", "code": "urn:p"}]}, {"profiles"}),
        ({"class": [{"system": "http://loinc.org", "code": "x"}]}, {"codes"}),
        (data("instance", "Observation/1"), set()),
        (data("related", "Observation/1"), set()),
        (data("related", "Encounter/1"), {"references"}),
        (data("authoredby", "Practitioner/1"), {"authors"}),
    ):
        made = gate(provision("deny", condition))
        assert made.needs == needs
        assert not made.trivial
        assert made.by_kind == (not needs and "data" not in condition)
    assert gate(provision("deny", data("related", "Observation/1"))).anchors_needed == {"Observation/1"}
    assert gate(provision("deny", data("related", "Encounter/1"))).anchors_needed == frozenset()


def test_anchors_are_asked_where_r4s_related_needs_them():
    given = compiled(permit(nested=[provision("deny", data("related", "DiagnosticReport/r"))]))
    anchored = gate_for(given, use(), {"DiagnosticReport/r": frozenset({"Observation/o1"})}.get)
    assert anchored.verdict(resource(number="o1")).effect is Effect.DENY
    assert anchored.verdict(resource(number="o2")).effect is Effect.PERMIT
    assert gate_for(given, use()).verdict(resource(number="o2")).effect is Effect.DENY


def test_what_has_no_label_never_leaves():
    for given in ((), compiled(permit())):
        gate = gate_for(given, use())
        for label in ((), ("unclassified",), ("unclassified", "R")):
            assert not gate.allows(ResourceFacts("Observation", "o", label), consent_required=False)
    assert gate_for(compiled(permit()), use()).verdict(ResourceFacts("Observation", "o", ())).reason is Reason.UNLABELLED
    assert gate_for((), use()).allows(resource(), consent_required=False)


def test_a_topic_that_only_free_text_speaks_of_can_deny_and_never_permits():
    text = resource("Observation", "N", "text:ETHUD")
    assert gate_for(compiled(permit(nested=[provision("deny", labels("SUD"))])), use()).verdict(text).effect is Effect.DENY
    assert gate_for(compiled(permit(labels("SUD"))), use()).verdict(text).effect is Effect.SILENT
    assert gate_for(compiled(permit(nested=[provision("deny", labels("HIV"))])), use()).verdict(text).effect is Effect.PERMIT
    excepted = permit(nested=[provision("deny", labels("SUD"), nested=[provision("permit", actors("Organization/shengli"))])])
    assert gate_for(compiled(excepted), use()).verdict(text).effect is Effect.PERMIT
    other = permit(nested=[provision("deny", labels("SUD"), nested=[provision("permit", labels("HIV"))])])
    assert gate_for(compiled(other), use()).verdict(resource("Observation", "N", "HIV", "text:SUD")).effect is Effect.DENY


def test_documents_profiles_dates_codes_and_authors_survive_being_kept():
    nested = [
        provision("deny", {"class": [{"system": "urn:ietf:rfc:3986", "code": "urn:p"}, {"system": "http://loinc.org", "code": "18842-5"}]}),
        provision("deny", codes(("urn:x", "secret"))),
        provision("deny", dataPeriod={"start": "2004", "end": "2004"}),
        provision("deny", data("authoredby", "Practitioner/1")),
        provision("deny", data("dependents", "Encounter/1")),
    ]
    gate = gate_for(compiled(permit(nested=nested)), use())

    def verdict(given):
        return gate.verdict(facts_of(given, labels_of(given))).effect

    plain = observation(effectiveDateTime="2026-01-01")
    assert verdict(plain) is Effect.PERMIT
    assert verdict(plain | {"meta": plain["meta"] | {"profile": ["urn:p|1"]}}) is Effect.DENY
    assert (
        verdict(plain | {"resourceType": "DocumentReference", "type": concept("http://loinc.org", "18842-5"), "date": "2026-01-01T00:00:00Z"})
        is Effect.DENY
    )
    assert verdict(plain | {"code": concept("urn:x", "secret")}) is Effect.DENY
    assert verdict(plain | {"effectiveDateTime": "2004-07"}) is Effect.DENY
    assert verdict(plain | {"performer": [{"reference": "Practitioner/1"}]}) is Effect.DENY
    assert verdict(plain | {"encounter": {"reference": "Encounter/1"}}) is Effect.DENY


KEPT = compile_statement(
    read(permit(labels("N"), nested=[provision("deny", classes("Observation"), period={"start": "2026"})])).statement, "c", 1
).to_json()


def test_rules_are_kept_as_plain_json():
    assert Residual.from_json("c", 1, json.loads(json.dumps(KEPT))).to_json() == KEPT
    assert KEPT["format"] == FORMAT


@pytest.mark.parametrize(
    "value",
    [
        None, [], "x", {}, KEPT | {"format": 2}, KEPT | {"scope": "everything"}, KEPT | {"span": [1]}, KEPT | {"span": None},
        KEPT | {"rules": None}, KEPT | {"rules": [1]},
        KEPT | {"rules": [{**KEPT["rules"][0], "effect": "maybe"}]},
        KEPT | {"rules": [{**KEPT["rules"][0], "when": {"weather": ["fine"]}}]},
        KEPT | {"rules": [{**KEPT["rules"][0], "when": {"classes": [1]}}]},
        KEPT | {"rules": [{**KEPT["rules"][0], "when": {"data": [["nearby", "x"]]}}]},
        KEPT | {"rules": KEPT["rules"][1:]},
        KEPT | {"rules": [{**KEPT["rules"][0], "in": 0}]},
        {key: value for key, value in KEPT.items() if key != "rules"},
    ],
)  # fmt: skip
def test_what_was_kept_and_can_not_be_read_denies(value):
    found = Residual.from_json("c", 1, value)
    assert not found.readable
    assert evaluate_base((found,), use()).unenforceable


def test_a_consent_that_is_not_in_force_compiles_to_a_denial():
    assert not compile_statement(read(permit() | {"status": "draft"}).statement, "c", 1).readable
    assert not compile_statement(read(permit() | {"implicitRules": "urn:x"}).statement, "c", 1).readable


def test_a_consent_that_is_not_understood_still_denies_once_it_was_kept():
    """PI-3.1: kept as an empty list of rules it would be silent, and a release on another basis would pass it."""
    (kept,) = compiled(consent(provision("permit", modifierExtension=[{"url": "urn:x"}])))
    assert not kept.readable
    assert gate_for([kept], use()).verdict(resource()).reason is Reason.UNENFORCEABLE
    assert not Residual.from_json("c", 1, {"format": FORMAT, "scope": "patient-privacy", "span": [None, None], "rules": []}).readable
