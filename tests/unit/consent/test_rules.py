"""The eight rules, one case beside the other that tells it apart. Numbers as in docs/decisions/0008-consent-rules.md."""

from __future__ import annotations

import pytest

from broker.consent.values import Reason
from tests.factories.consent import actors, classes, codes, concept, consent, data, identifier, labels, observation, provision, purposes, r5
from tests.unit.consent.asking import effect, said

PERMIT, DENY, SILENT = "permit", "deny", "silent"
LOINC = "http://loinc.org"
ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"


def root(*conditions, kind="permit", nested=(), **more):
    return consent(provision(kind, *conditions, nested=list(nested), **more))


# -- 1 --


@pytest.mark.parametrize("status", ["draft", "proposed", "rejected", "inactive", "entered-in-error", None, 7])
def test_1_only_an_active_consent_speaks(status):
    assert effect(root(), observation()) == PERMIT
    assert effect(root() | {"status": status}, observation()) == SILENT
    assert effect(root(kind="deny") | {"status": status}, observation()) == SILENT


@pytest.mark.parametrize(
    ("scope", "purpose", "expected"),
    [
        ("patient-privacy", "TREAT", PERMIT),
        ("research", "TREAT", SILENT),
        ("research", "HRESCH", PERMIT),
        ("research", "CLINTRCHNPC", PERMIT),
        ("treatment", "TREAT", SILENT),
        ("adr", "TREAT", SILENT),
        ("something-else", "TREAT", DENY),
    ],
)
def test_1_the_scope_must_fit(scope, purpose, expected):
    assert effect(root() | {"scope": concept(SCOPE, scope)}, observation(), purpose=purpose) == expected


def test_1_only_the_patient_who_gave_it():
    assert effect(root(), observation(patient="p2")) == SILENT
    assert effect(root(), {"resourceType": "Patient", "id": "p1", "meta": observation()["meta"]}) == PERMIT
    assert effect(root(), {"resourceType": "Patient", "id": "p2", "meta": observation()["meta"]}) == SILENT
    assert effect(root(), {"resourceType": "Practitioner", "id": "p1", "meta": observation()["meta"]}) == SILENT


def test_1_a_resource_of_two_patients_needs_both():
    both = observation(performer=[{"reference": "Patient/p2"}])
    mine, theirs = root(), root() | {"id": "other", "patient": {"reference": "Patient/p2"}}
    assert effect(mine, both) == SILENT
    assert effect([mine, theirs], both) == PERMIT
    assert effect([mine, theirs | {"provision": {"type": "deny"}}], both) == DENY
    assert effect([root(kind="deny")], both) == DENY


@pytest.mark.parametrize(
    ("at", "expected"),
    [("2026-03-31T23:59:59Z", SILENT), ("2026-04-01T00:00:00Z", PERMIT), ("2026-05-31T23:59:59Z", PERMIT), ("2026-06-01T00:00:00Z", SILENT)],
)
def test_1_now_lies_in_the_roots_period_and_days_count_whole(at, expected):
    bounded = root(period={"start": "2026-04-01", "end": "2026-05-31"}, nested=[provision("permit", classes("Observation"))])
    assert effect(bounded, observation(), at=at) == expected


def test_1_the_root_period_bounds_its_denials_too():
    assert effect(root(kind="deny", period={"end": "2026-01-31"}), observation()) == SILENT


# -- 2 --


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        ("OPTIN", PERMIT),
        ("IMPLIED", PERMIT),
        ("IMPLIEDD", PERMIT),
        ("OPTOUT", DENY),
        ("EMRGONLY", DENY),
        ("NOPP", DENY),
        ("OPTINR", DENY),
        ("OPTOUTE", DENY),
    ],
)
def test_2_the_base_of_an_untyped_root_is_its_policy_rule(directive, expected):
    verdict = said(consent(directive=directive), observation())
    assert verdict.effect.value == expected
    assert (verdict.reason is Reason.UNENFORCEABLE) == (directive in ("NOPP", "OPTINR", "OPTOUTE"))


def test_2_opt_in_with_restrictions_holds_once_they_are_stated():
    stated = consent(provision(None, nested=[provision("deny", labels("HIV"))]), directive="OPTINR")
    assert effect(stated, observation()) == PERMIT
    assert effect(stated, observation(label=("R", "HIV"))) == DENY


def test_2_the_roots_type_goes_before_the_policy_rule():
    assert effect(consent(provision("deny"), directive="OPTIN"), observation()) == DENY
    assert effect(consent(provision("permit"), directive="OPTOUT"), observation()) == PERMIT


@pytest.mark.parametrize(
    "given",
    [
        consent(),
        consent(provision(None, purposes("TREAT"))),
        consent(provision(None), directive="OPTIN"),
        consent(policyRule={"text": "opt in"}),
        consent(policyRule={"coding": [{"code": "OPTIN"}]}),
        consent(
            policyRule={
                "coding": [
                    *concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN")["coding"],
                    *concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTOUT")["coding"],
                ]
            }
        ),
        consent(provision("maybe")),
        consent([provision("permit")]),
        r5("maybe"),
        r5("permit") | {"decision": None},
        consent(provision("permit")) | {"decision": "permit"},
    ],
)
def test_2_without_a_clear_base_it_denies(given):
    verdict = said(given, observation())
    assert (verdict.effect.value, verdict.reason) == (DENY, Reason.UNENFORCEABLE)


def test_2_an_untyped_root_with_conditions_is_refused_unless_it_is_surely_the_frame():
    bounds = actors("Organization/shengli", role="PRCP") | purposes("TREAT")
    assert effect(consent(provision(None, bounds), directive="OPTIN"), observation()) == DENY
    assert effect(consent(provision(None, purposes("HRESCH")), directive="OPTIN"), observation(), purpose="HRESCH") == DENY
    framed = consent(provision(None, bounds, nested=[provision("deny", labels("PSY"))]), directive="OPTIN")
    assert effect(framed, observation()) == PERMIT
    assert effect(framed, observation(label=("R", "PSY"))) == DENY
    assert effect(framed, observation(), purpose="HRESCH") == SILENT
    assert effect(consent(provision(None, bounds, nested=[provision("permit", labels("PSY"))]), directive="OPTIN"), observation()) == DENY
    assert effect(consent(provision(None, bounds, nested=[provision(None, labels("PSY"))]), directive="OPTIN"), observation()) == DENY
    recipient = actors("Organization/shengli")
    assert effect(consent(provision(None, recipient), directive="OPTIN"), observation()) == PERMIT
    assert effect(consent(provision(None, recipient), directive="OPTOUT"), observation()) == DENY
    mixed = {"actor": recipient["actor"] + actors("Organization/x", role="PRCP")["actor"]}
    assert effect(consent(provision(None, mixed), directive="OPTIN"), observation()) == DENY
    opposite = consent(provision(None, bounds, nested=[provision("permit", classes("Observation"))]), directive="OPTOUT")
    assert effect(opposite, observation()) == PERMIT


# -- 3 --


@pytest.mark.parametrize(
    ("condition", "outside"),
    [
        (actors("Organization/shengli"), {"actor": "Organization/renhe"}),
        (purposes("TREAT"), {"purpose": "HRESCH"}),
        (classes("Observation"), {"resource": {**observation(), "resourceType": "Condition"}}),
        (codes((LOINC, "15074-8")), {"resource": observation(code=concept(LOINC, "other"))}),
        (data("instance", "Observation/o1"), {"resource": observation("o2")}),
        ({"dataPeriod": {"start": "2026"}}, {"resource": observation(effectiveDateTime="2025-12-31")}),
        ({"action": [concept(ACTION, "access")]}, None),
    ],
)
@pytest.mark.parametrize("kind", [PERMIT, DENY])
def test_3_outside_its_conditions_the_root_says_nothing(condition, outside, kind):
    inside = observation(effectiveDateTime="2026-02-03")
    assert effect(root(condition, kind=kind), inside) == kind
    if outside:
        given = {"resource": inside, **outside}
        assert effect(root(condition, kind=kind), given.pop("resource"), **given) == SILENT


def test_3_the_roots_conditions_do_not_bound_its_children():
    given = root(labels("N"), actors("Organization/shengli"), nested=[provision("permit", labels("R"), actors("Organization/renhe"))])
    assert effect(given, observation(label=("R",)), actor="Organization/renhe") == PERMIT
    assert effect(given, observation(label=("R",))) == SILENT
    assert effect(given, observation(label=("N",))) == PERMIT


@pytest.mark.parametrize(("actions", "kind", "expected"), [
    (["access"], PERMIT, PERMIT), (["disclose"], PERMIT, PERMIT), (["use"], PERMIT, SILENT), (["collect", "correct"], PERMIT, SILENT),
    (["use"], DENY, DENY), (["collect"], DENY, DENY), (["access"], DENY, DENY), (["correct"], DENY, SILENT), (["print"], PERMIT, DENY),
])  # fmt: skip
def test_3_actions(actions, kind, expected):
    assert effect(root({"action": [concept(ACTION, one) for one in actions]}, kind=kind), observation()) == expected


# -- 4 --


def test_4_an_untyped_exception_is_the_opposite_and_a_typed_one_is_what_it_says():
    assert effect(root(nested=[provision(None, labels("PSY"))]), observation(label=("R", "PSY"))) == DENY
    assert effect(root(kind="deny", nested=[provision(None, labels("PSY"))]), observation(label=("R", "PSY"))) == PERMIT
    assert effect(root(labels("N"), nested=[provision("permit", labels("PSY"))]), observation(label=("R", "PSY"))) == PERMIT
    third = provision(None, labels("PSY"), nested=[provision(None, actors("Organization/shengli"))])
    assert effect(root(nested=[third]), observation(label=("R", "PSY"))) == PERMIT
    assert effect(root(nested=[third]), observation(label=("R", "PSY")), actor="Organization/renhe") == DENY


def test_4_the_deepest_match_wins_and_equally_deep_denial_wins():
    given = root(
        nested=[
            provision(
                "deny", classes("Observation"), nested=[provision("permit", codes((LOINC, "15074-8")), nested=[provision("deny", purposes("COC"))])]
            ),
            provision("permit", actors("Organization/shengli")),
        ]
    )
    assert effect(given, observation()) == PERMIT
    assert effect(given, observation(code=concept(LOINC, "x"))) == DENY
    assert effect(given, observation(), purpose="COC") == DENY
    assert said(given, observation(), purpose="COC").provision == "Consent.provision.provision[0].provision[0].provision[0]"


def test_4_below_the_first_level_a_parent_must_match():
    hidden = root(kind="deny", nested=[provision("deny", classes("Condition"), nested=[provision("permit", purposes("TREAT"))])])
    assert effect(hidden, observation()) == DENY
    assert effect(hidden, {**observation(), "resourceType": "Condition"}) == PERMIT


def test_4_elements_are_joined_by_and_repeats_by_or():
    given = root(kind="deny", nested=[provision("permit", classes("Observation", "Condition"), labels("N", "PSY"), purposes("HPAYMT", "TREAT"))])
    assert effect(given, observation()) == PERMIT
    assert effect(given, observation(label=("R", "PSY"))) == PERMIT
    assert effect(given, observation(label=("R", "HIV"))) == DENY
    assert effect(given, {**observation(), "resourceType": "Procedure"}) == DENY
    assert effect(given, observation(), purpose="HRESCH") == DENY


# -- 5 --


@pytest.mark.parametrize(
    ("named", "asked", "permit", "deny"),
    [
        ("TREAT", "TREAT", PERMIT, DENY),
        ("TREAT", "COC", PERMIT, DENY),
        ("TREAT", "ERTREAT", PERMIT, DENY),
        ("TREAT", "BTG", SILENT, DENY),
        ("ETREAT", "BTG", PERMIT, DENY),
        ("BTG", "BTG", PERMIT, DENY),
        ("PurposeOfUse", "BTG", SILENT, DENY),
        ("PurposeOfUse", "HMARKT", PERMIT, DENY),
        ("COC", "TREAT", SILENT, SILENT),
        ("HRESCH", "CLINTRCHNPC", PERMIT, DENY),
        ("HPAYMT", "ELIGVER", PERMIT, DENY),
        ("HRESCH", "TREAT", SILENT, SILENT),
        ("TREAT", "NOT-A-PURPOSE", SILENT, DENY),
    ],
)
def test_5_purposes(named, asked, permit, deny):
    assert effect(root(purposes(named)), observation(), purpose=asked) == permit
    assert effect(root(purposes(named), kind="deny"), observation(), purpose=asked) == deny


@pytest.mark.parametrize("named", range(6))
@pytest.mark.parametrize("given", range(6))
def test_5_a_permit_covers_its_level_and_lower_a_denial_its_level_and_higher(named, given):
    ladder = "ULMNRV"
    resource = observation(label=(ladder[given],))
    assert effect(root(labels(ladder[named])), resource) == (PERMIT if given <= named else SILENT)
    assert effect(root(labels(ladder[named]), kind="deny"), resource) == (DENY if given >= named else SILENT)


def test_5_several_levels_and_the_high_water_mark():
    assert effect(root(labels("N", "R")), observation(label=("R",))) == PERMIT
    assert effect(root(labels("N")), observation(label=("N", "R"))) == SILENT
    assert effect(root(labels("V", "R"), kind="deny"), observation(label=("N", "R"))) == DENY


def test_5_sensitivity_by_subsumption():
    assert effect(root(labels("SUD")), observation(label=("R", "ETHUD"))) == PERMIT
    assert effect(root(labels("SUD"), kind="deny"), observation(label=("R", "ETHUD"))) == DENY
    assert effect(root(labels("ETHUD"), kind="deny"), observation(label=("R", "SUD"))) == SILENT
    assert effect(root(labels("SPI"), kind="deny"), observation(label=("R", "OPIOIDUD"))) == DENY


def test_5_a_missing_level_may_be_any():
    assert effect(root(labels("V")), observation(label=("ETHUD",))) == SILENT
    assert effect(root(labels("V"), kind="deny"), observation(label=("ETHUD",))) == DENY


# -- 6 --


def test_6_one_denied_label_denies():
    given = root(nested=[provision("deny", labels("SUD"))])
    assert effect(given, observation(label=("R", "SUD", "HIV"))) == DENY
    assert effect(given, observation(label=("R", "HIV"))) == PERMIT


def test_6_an_exception_for_one_topic_does_not_free_the_others():
    given = root(nested=[provision("deny", labels("PSY", "SUD"), nested=[provision("permit", labels("SUD"))])])
    assert effect(given, observation(label=("R", "SUD"))) == PERMIT
    assert effect(given, observation(label=("R", "PSY", "SUD"))) == DENY
    apart = root(
        nested=[provision("deny", labels("PSY")), provision("deny", labels("SUD"), nested=[provision("permit", actors("Organization/shengli"))])]
    )
    assert effect(apart, observation(label=("R", "SUD"))) == PERMIT
    assert effect(apart, observation(label=("R", "PSY", "SUD"))) == DENY


def test_6_a_deeper_permit_elsewhere_does_not_lift_a_denied_label():
    given = root(
        nested=[provision("deny", labels("PSY")), provision("deny", classes("Observation"), nested=[provision("permit", codes((LOINC, "15074-8")))])]
    )
    assert effect(given, observation()) == PERMIT
    assert effect(given, observation(label=("R", "PSY"))) == DENY


def test_6_an_exception_for_a_topic_lifts_the_denied_level_of_that_topic_alone():
    given = root(nested=[provision("deny", labels("R"), nested=[provision("permit", labels("HIV"))])])
    assert effect(given, observation(label=("R", "HIV"))) == PERMIT
    assert effect(given, observation(label=("R", "HIV", "PSY"))) == DENY
    assert effect(given, observation(label=("R",))) == DENY


def test_6_a_denied_label_at_the_root_is_not_freed_by_a_permit_of_its_level():
    given = root(labels("PSY"), kind="deny", nested=[provision("permit", labels("HIV"))])
    assert effect(given, observation(label=("R", "PSY", "HIV"))) == DENY
    assert effect(given, observation(label=("R", "HIV"))) == PERMIT


@pytest.mark.parametrize("label", [(), ("unclassified",)])
def test_6_what_has_no_label_is_withheld(label):
    resource = observation(label=()) if not label else {**observation(), "meta": {"security": []}}
    verdict = said(root(), resource)
    assert (verdict.effect.value, verdict.reason) == (DENY, Reason.UNLABELLED)


def test_6_a_label_that_is_not_understood_is_covered_by_every_denial_of_a_topic_and_by_no_permit():
    odd = observation()
    odd["meta"] = {"security": [*odd["meta"]["security"], {"system": "urn:local", "code": "secret"}]}
    assert effect(root(nested=[provision("deny", labels("HIV"))]), odd) == DENY
    assert effect(root(nested=[provision("deny", labels("R"))]), odd) == PERMIT
    assert effect(root(labels("HIV")), odd) == SILENT


# -- 7 --


def two(older, newer, **more):
    return [older | {"id": "older", "dateTime": "2026-01-01"}, newer | {"id": "newer", "dateTime": "2026-02-01"} | more]


def test_7_a_denial_overrides_whichever_is_newer():
    for pair in (two(root(kind="deny"), root()), two(root(), root(kind="deny"))):
        assert effect(pair, observation()) == DENY
    assert effect(two(root(), root(purposes("HRESCH"))), observation()) == PERMIT
    assert said(two(root(purposes("HRESCH")), root()), observation()).consent == "newer"


def test_7_the_same_identifier_replaces():
    older, newer = two(root(kind="deny"), root())
    assert effect([older | {"identifier": identifier()}, newer | {"identifier": identifier()}], observation()) == PERMIT
    assert effect([older | {"identifier": identifier()}, newer | {"identifier": identifier("two")}], observation()) == DENY
    assert effect([older | {"identifier": identifier(), "dateTime": "2026-02"}, newer | {"identifier": identifier()}], observation()) == DENY
    assert effect([older | {"identifier": identifier()}, newer | {"identifier": identifier(), "status": "inactive"}], observation()) == DENY
    undated = {key: value for key, value in newer.items() if key != "dateTime"}
    assert effect([older | {"identifier": identifier()}, undated | {"identifier": identifier()}], observation()) == DENY


@pytest.mark.parametrize(
    "naming",
    [
        {"sourceReference": {"reference": "Consent/older"}},
        {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/replaces", "valueReference": {"reference": "Consent/older"}}]},
        {"extension": [{"url": "http://example.org/supersedes", "valueUri": "Consent/older"}]},
        {"extension": [{"url": "http://example.org/Supersedes", "valueReference": {"identifier": identifier("old")[0]}}]},
    ],
)
def test_7_a_consent_that_names_another_replaces_it(naming):
    older, newer = two(root(kind="deny"), root())
    older |= {"identifier": identifier("old")}
    assert effect([older, newer | naming], observation()) == PERMIT
    assert effect([older, newer], observation()) == DENY
    assert effect([older, newer | naming | {"dateTime": "2025-01-01"}], observation()) == DENY
    undated = {key: value for key, value in (newer | naming).items() if key != "dateTime"}
    assert effect([older, undated], observation()) == PERMIT


def test_7_of_two_that_name_each_other_the_dates_decide_or_neither_goes():
    older, newer = two(root(kind="deny"), root())
    older |= {"sourceReference": {"reference": "Consent/newer"}}
    newer |= {"sourceReference": {"reference": "Consent/older"}}
    assert effect([older, newer], observation()) == PERMIT
    assert effect([older | {"dateTime": "2026-02-01"}, newer], observation()) == DENY


def test_7_what_is_not_understood_takes_nobodys_place():
    older, newer = two(root(kind="deny"), root(), identifier=identifier(), scope=concept(SCOPE, "research"), implicitRules="urn:x")
    assert effect([older | {"identifier": identifier()}, newer], observation()) == DENY


# -- 8 --


@pytest.mark.parametrize(
    "broken",
    [
        {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]},
        {"implicitRules": "urn:x"},
        {"_status": {"extension": []}},
        {"somethingNew": 1},
        {"dateTime": "yesterday"},
        {"policy": [{"modifierExtension": [{"url": "urn:x"}]}]},
        {"policy": ["x"]},
        {"verification": [{"verified": False}]},
        {"provision": {"type": "permit", "period": {"start": "soon"}}},
        {"provision": {"type": "permit", "period": {}}},
        {"provision": {"type": "permit", "period": {"start": "2027", "end": "2026"}}},
        {"provision": {"type": "permit", "dataPeriod": {"start": "2026-02-30"}}},
        {"provision": {"type": "permit", "modifierExtension": []}},
        {"provision": {"type": "permit", "_period": {}}},
        {"provision": {"type": "permit", "purpose": []}},
        {"provision": {"type": "permit", "purpose": {"code": "TREAT"}}},
        {"provision": {"type": "permit", "purpose": [{"system": "urn:x", "code": "TREAT"}]}},
        {"provision": {"type": "permit", "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "LOVE"}]}},
        {"provision": {"type": "permit", "securityLabel": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "PSY"}]}},
        {"provision": {"type": "permit", "securityLabel": [{"system": "http://terminology.hl7.org/ValueSet/v3-X", "code": "PSY"}]}},
        {"provision": {"type": "permit", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observations"}]}},
        {"provision": {"type": "permit", "code": [{"text": "sugar"}]}},
        {"provision": {"type": "permit", "code": [{"coding": [{"system": "urn:x", "code": "y", "extra": 1}]}]}},
        {"provision": {"type": "permit", "actor": ["Organization/x"]}},
        {"provision": {"type": "permit"} | actors("Group/x")},
        {"provision": {"type": "permit"} | actors("CareTeam/x")},
        {"provision": {"type": "permit"} | actors("#x")},
        {"provision": {"type": "permit"} | actors("urn:uuid:6b6a4c5e-6b6a-4c5e-8b6a-4c5e6b6a4c5e")},
        {"provision": {"type": "permit"} | actors("Organization?name=x")},
        {"provision": {"type": "permit"} | actors("Organization/x", role="CST")},
        {"provision": {"type": "permit", "actor": [{"reference": {"display": "X"}}]}},
        {"provision": {"type": "permit", "actor": [{"role": {"text": "friend"}, "reference": {"reference": "Organization/x"}}]}},
        {"provision": {"type": "permit", "actor": [{"reference": {"reference": "Organization/x"}, "modifierExtension": [{}]}]}},
        {"provision": {"type": "permit"} | data("instance", "Observation/o1/_history/1")},
        {"provision": {"type": "permit"} | data("nearby", "Observation/o1")},
        {"provision": {"type": "permit", "data": [{"meaning": "instance"}]}},
        {"provision": {"type": "permit", "data": ["Observation/o1"]}},
        {"provision": {"type": "permit", "provision": [{}]}},
        {"provision": {"type": "permit", "provision": {}}},
        {"provision": {"type": "permit", "provision": [1]}},
        {"provision": {"type": "permit", "provision": [{"type": "forbid"}]}},
        {"provision": {"type": "permit", "provision": [{"type": "deny", "somethingNew": 1}]}},
        {"provision": {"type": "permit", "expression": "true"}},
    ],
)  # fmt: skip
def test_8_what_is_not_understood_denies(broken):
    verdict = said(consent() | {"provision": {"type": "permit"}} | broken, observation())
    assert (verdict.effect.value, verdict.reason) == (DENY, Reason.UNENFORCEABLE)


def test_8_what_sets_no_rule_may_stand_anywhere():
    given = root(id="a", extension=[{"url": "urn:x", "valueString": "y"}]) | {
        "verification": [{"verified": True}],
        "language": "zh",
        "_dateTime": {"id": "x"},
    }
    assert effect(given, observation()) == PERMIT


def test_a_thousand_provisions_are_read_and_more_are_refused():
    assert effect(root(nested=[provision("deny", labels("HIV"))] * 999), observation()) == PERMIT
    assert effect(root(nested=[provision("deny", labels("HIV"))] * 1000), observation()) == DENY


# -- R5 --


def test_r5_alternates_has_no_types_and_bounds_by_its_own_period():
    given = r5("permit", labels("PSY") | {"provision": [actors("Organization/shengli")]})
    assert effect(given, observation()) == PERMIT
    assert effect(given, observation(label=("R", "PSY"))) == PERMIT
    assert effect(given, observation(label=("R", "PSY")), actor="Organization/renhe") == DENY
    assert effect(given | {"period": {"end": "2026-01-31"}}, observation()) == SILENT
    assert effect(r5("deny"), observation()) == DENY
    assert effect(r5("permit", {"type": "permit"} | labels("PSY")), observation()) == DENY  # R5 has no such element.
    assert effect(r5("permit", classes("Observation")), observation()) == DENY


def test_r5_types_and_documents_must_both_hold():
    document = {
        "resourceType": "DocumentReference",
        "id": "d",
        "subject": {"reference": "Patient/p1"},
        "type": concept(LOINC, "18842-5"),
        "meta": observation()["meta"],
    }
    both = {
        "resourceType": [{"system": "http://hl7.org/fhir/fhir-types", "code": "DocumentReference"}],
        "documentType": [{"system": LOINC, "code": "18842-5"}],
    }
    assert effect(r5("deny", both), document) == PERMIT
    assert effect(r5("deny", both), document | {"type": concept(LOINC, "other")}) == DENY
    assert effect(r5("deny", both), observation(code=concept(LOINC, "18842-5"))) == DENY
