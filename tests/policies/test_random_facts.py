"""Random facts: the engines agree to the last word, and what is permitted keeps the laws of the house, whatever the rules say."""

import copy
import dataclasses

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.identity.models import KINDS
from broker.policy.answer import AnswerUnusable, read
from broker.policy.decision import Effect
from broker.policy.engine import question
from broker.policy.policy_set import load
from tests.policies.conftest import ROOT
from tests.policies.examples import DAY, NOW, STARTS, TODAY, as_facts, changed

DATA = load(ROOT / "policies").data
moments = st.sampled_from([0, NOW - DAY, NOW - 1, NOW, NOW + 1, NOW + DAY, NOW + 400 * DAY])
element_names = st.sampled_from(["code", "value", "effective", "component", "component.code", "code.coding", "name", "telecom", "note", "id"])
named = st.fixed_dictionaries(
    {"resource_type": st.sampled_from([*DATA["types"], "Consent", "Rumour"])},
    optional={
        "elements": st.lists(element_names, max_size=4),
        "codes": st.lists(st.sampled_from(["http://loinc.org|2339-0", "http://loinc.org|8302-2", "x"]), max_size=3),
    },
)
classes = st.builds(lambda code: {"data_class": code}, st.sampled_from([*DATA["data_classes"], "clinical.gossip"]))
GIVERS = ["patient", "guardian", "guardian-no-capacity", "both", "unknown"]
qualifications = st.lists(st.sampled_from([*DATA["workforce"]]), max_size=6, unique=True)
CHANGES = {
    "request.purpose": st.sampled_from([*DATA["purposes"], "CURIOSITY"]),
    "request.lawful_basis": st.sampled_from([*DATA["lawful_bases"], "habit"]),
    "request.data": st.lists(st.one_of(classes, named), max_size=6),
    "request.period_from": st.none() | moments,
    "request.period_until": st.none() | moments,
    "request.channel": st.sampled_from(["api", "bulk", "bundle", "fax"]),
    "request.urgency": st.sampled_from(["routine", "urgent", "emergency"]),
    "request.emergency": st.booleans(),
    "request.retention_days": st.none() | st.integers(0, 3000),
    "request.justification": st.booleans(),
    "grant.status": st.sampled_from(["proposed", "active", "suspended", "revoked", "expired", "closed"]),
    "grant.valid_from": moments,
    "grant.valid_until": moments,
    "grant.releases_used": st.integers(0, 3),
    "grant.releases_limit": st.none() | st.integers(0, 3),
    "grant.approved_by": st.integers(0, 2),
    "recipient.kind": st.sampled_from([*KINDS]),
    "recipient.relationship": st.sampled_from(["internal", "external"]),
    "recipient.status": st.sampled_from(["active", "suspended"]),
    "recipient.jurisdiction": st.sampled_from(["CN", "US"]),
    "recipient.agreement_until": st.none() | moments,
    "recipient.key_registered": st.booleans(),
    "requester.active": st.booleans(),
    "patient.match": st.sampled_from(["certain", "probable", "possible", "none"]),
    "patient.in_grant": st.booleans(),
    "patient.age": st.sampled_from(["under_14", "14_to_17", "adult", "unknown"]),
    "consent.givers": st.lists(st.sampled_from(GIVERS), max_size=2, unique=True),
    "consent.separate": st.lists(st.sampled_from(["abroad", "other-processor", "sensitive"]), max_size=3, unique=True),
    "consent.base": st.sampled_from(["permit", "deny", "silent"]),
    "consent.refused": st.booleans(),
    "consent.unenforceable": st.booleans(),
    "consent.valid_until": st.none() | moments,
    "workforce": st.none()
    | st.fixed_dictionaries({"required": qualifications, "held": qualifications, "expired": qualifications, "valid_until": st.none() | moments}),
    "residency": st.none()
    | st.fixed_dictionaries(
        {
            "route": st.none() | st.sampled_from([*DATA["transfer_routes"], "courier"]),
            "route_from": st.none() | moments,
            "route_until": st.none() | moments,
            "purposes": st.sampled_from([[*DATA["profile_index"]], [*DATA["profile_index"]], ["TREAT"], []]),
            "classes": st.sampled_from([[*DATA["data_classes"]], [*DATA["data_classes"]], ["clinical.diagnoses"], []]),
            "persons": st.integers(0, 3),
            "persons_limit": st.none() | st.integers(1, 3),
            "year_persons": st.none() | st.sampled_from([1, 9_999, 10_000]),
            **dict.fromkeys(("impact_assessed", "separate_consent", "foreign_authority", "authority_approved"), st.sampled_from([True, True, False])),
        }
    ),
    "wanted_types": st.lists(st.sampled_from([*DATA["types"]]), max_size=3),
}
CALLER = {
    "caller.status": st.sampled_from(["active", "suspended"]),
    "caller.organization": st.sampled_from(["shengli", "renhe"]),
    "caller.token_grant": st.sampled_from(["grant-1", "grant-2"]),
    "caller.token_purpose": st.sampled_from([*DATA["purposes"]]),
    "caller.types": st.lists(st.sampled_from(["*", *DATA["types"]]), max_size=3),
}


@st.composite
def forms(draw):
    """A good case with a few facts changed, so that permits are not drowned in denials."""
    start = draw(st.sampled_from([*STARTS]))
    known = CHANGES if start == "assess" else CHANGES | CALLER
    paths = draw(st.lists(st.sampled_from(sorted(known)), unique=True, max_size=5))
    changes = {path: draw(known[path]) for path in paths}
    if "request.purpose" in changes and start != "assess" and draw(st.booleans()):
        changes["caller.token_purpose"] = changes["request.purpose"]
    return changed(STARTS[start](), changes)


@pytest.mark.opa
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forms())
def test_the_engines_agree(embedded, compiled, opa_server, form):
    there = opa_server.decide(as_facts(form))
    assert there.effect is not Effect.UNAVAILABLE
    for engine in (embedded, compiled):
        assert dataclasses.replace(engine.decide(as_facts(form)), engine="opa") == there


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forms())
def test_what_is_permitted_keeps_the_laws_of_the_house(compiled, form):
    """Written a second time, in Python, from the requirements; nothing here looks at the rules."""
    decision = compiled.decide(as_facts(form))
    if not decision.allow:
        assert decision.reasons
        assert decision.plan is None
        return
    request, grant, consent, recipient, caller = (form[name] for name in ("request", "grant", "consent", "recipient", "caller"))
    basis = DATA["lawful_bases"][request["lawful_basis"]]
    assert form["patient"]["match"] == "certain"
    assert recipient["status"] == "active"
    profile = DATA["profiles"][decision.plan["profile"]]
    if recipient["jurisdiction"] != "CN":
        shown = form["residency"]
        route = DATA["transfer_routes"][shown["route"]]
        assert profile["abroad"]
        assert DATA["purposes"][request["purpose"]]["judged_as"] in route["purposes"]
        assert shown["route_until"] is None or shown["route_until"] >= NOW
        assert shown["route_from"] <= NOW
        assert {request["purpose"], DATA["purposes"][request["purpose"]]["judged_as"]} & {*shown["purposes"]}
        assert {entry["data_class"] for entry in request["data"] if "data_class" in entry} <= {*shown["classes"]}
        brought = {name for each in shown["classes"] for name in DATA["data_classes"][each]["types"]}
        assert {entry["resource_type"] for entry in request["data"] if "resource_type" in entry} <= brought
        assert shown["persons_limit"] is None or shown["persons"] <= shown["persons_limit"]
        yearly = DATA["transfer_routes"][shown["route"]]["yearly"]
        assert yearly is None or (shown["year_persons"] is not None and shown["year_persons"] < yearly["sensitive"])
        assert route["critical_infrastructure"] or not DATA["localisation"]["critical_infrastructure"]["operator"]
        assert shown["impact_assessed"]
        assert shown["separate_consent"] or not route["separate_consent"]
        assert not shown["foreign_authority"] or shown["authority_approved"]
    registers = form["workforce"] or {"required": [], "held": [], "expired": []}
    for line in [*profile["workforce"], *([code] for code in registers["required"])]:
        assert {*line} & ({*registers["held"]} - {*registers["expired"]}), line
    assert form["requester"]["active"]
    assert recipient["relationship"] == "internal" or recipient["agreement_until"] >= NOW
    if form["question"] == "release":
        assert grant["status"] == "active"
        assert grant["valid_from"] <= NOW <= grant["valid_until"]
        assert grant["releases_limit"] is None or grant["releases_used"] < grant["releases_limit"]
        assert form["patient"]["in_grant"]
        assert caller["status"] == "active"
        assert (caller["token_grant"], caller["token_purpose"], caller["organization"]) == (grant["id"], request["purpose"], recipient["id"])
        assert grant["approved_by"] >= 1 or request["emergency"]
    if not basis["overrides_refusal"]:
        assert consent["base"] != "deny"
        assert not consent["refused"]
        assert not consent["unenforceable"]
        assert consent["base"] == "permit" or not basis["consent_required"][recipient["relationship"]]
    guarded(form, decision)
    if request["emergency"]:
        assert request["justification"]
        assert grant["valid_until"] - grant["valid_from"] <= DAY
    within(form, decision)


def guarded(form, decision):
    """A child's data go on the word of whoever answers for the child, or on the law's."""
    consent, basis = form["consent"], DATA["lawful_bases"][form["request"]["lawful_basis"]]
    lifting = {DATA["data_classes"].get(entry.get("data_class"), {}).get("lifts") for entry in form["request"]["data"]} - {None}
    of_age = form["patient"]["age"] in ("14_to_17", "adult")
    if basis["consent_required"][form["recipient"]["relationship"]] or (lifting and not basis["overrides_refusal"]):
        if of_age:
            assert "guardian" not in consent["givers"]
        else:
            assert consent["givers"]
            assert {*consent["givers"]} <= {"guardian", "guardian-no-capacity", "both"}
            assert "sensitive" in consent["separate"]
    if not of_age:
        special = DATA["minors"]
        assert decision.plan["limits"]["retention_days"] <= special["retention_days"]
        assert {each["code"] for each in special["obligations"]} <= {each["code"] for each in decision.obligations}


def within(form, decision):
    """The plan holds nothing beyond the profile and nothing beyond what was asked."""
    request, plan = form["request"], decision.plan
    profile = DATA["profiles"][plan["profile"]]
    asked = {entry["resource_type"] for entry in request["data"] if "resource_type" in entry}
    for entry in request["data"]:
        row = DATA["data_classes"].get(entry.get("data_class"), {"types": [], "parts": []})
        asked |= {*row["types"], *(part["type"] for part in row["parts"])}
    assert plan["types"].keys() <= asked & profile["types"].keys()
    if form["wanted_types"]:
        assert plan["types"].keys() <= {*form["wanted_types"]}
    if form["caller"] and "*" not in form["caller"]["types"]:
        assert plan["types"].keys() <= {*form["caller"]["types"]}
    for name, row in plan["types"].items():
        whole = profile["types"][name]
        roots = whole["elements"].split(" ")
        assert all(any(each == root or each.startswith(f"{root}.") for root in roots) for each in row["elements"])
        assert not whole["categories"] or (row["categories"] and {*row["categories"]} <= {*whole["categories"]})
        assert not whole["codes"] or (row["codes"] and {*row["codes"]} <= {*whole["codes"]})
        assert row["transforms"] == whole["transforms"]
        start, end = row["period"]["start"], row["period"]["end"]
        if DATA["types"][name]["dated"]:
            days = profile["lookback_days"].get(whole["window"])
            assert days is None or start >= TODAY - days * DAY
            assert request["period_from"] is None or start >= request["period_from"]
            assert request["period_until"] is None or end <= request["period_until"]
            assert start is None or end is None or start <= end
        entries = [entry for entry in request["data"] if entry.get("resource_type") == name]
        if entries and all(entry.get("codes") for entry in entries):
            assert row["codes"]
            assert {*row["codes"]} <= {code for entry in entries for code in entry["codes"]}
        if entries and all(entry.get("elements") for entry in entries):
            wishes = {wish for entry in entries for wish in entry["elements"]} | {*DATA["types"][name]["always"].split(" ")}
            assert all(any(each == wish or each.startswith(f"{wish}.") for wish in wishes) for each in row["elements"])
    lifted = {DATA["data_classes"][entry["data_class"]]["lifts"] for entry in request["data"] if entry.get("data_class") in DATA["data_classes"]} - {
        None
    }
    for category in lifted:
        pack = DATA["sensitive"]["categories"][category]["pack"]
        assert DATA["purposes"][request["purpose"]]["judged_as"] in pack["purposes"]
        assert form["recipient"]["kind"] in pack["kinds"]
        assert request["channel"] in pack["channels"]
        assert form["question"] == "assess" or form["grant"]["approved_by"] >= pack["approvals"]
        assert decision.plan["limits"]["retention_days"] <= pack["retention_days"]
    free = {label for category in lifted for label in DATA["sensitive"]["categories"][category]["labels"]}
    assert {*plan["labels"]["deny"]} == {*DATA["sensitive"]["deny"]} - free
    assert plan["labels"]["ceiling"] == ("R" if lifted else "N")
    days = next(each["days"] for each in decision.obligations if each["code"] == "DELAU")
    assert days <= profile["limits"]["retention_days"]


def _fact(form, which):
    """Group and name of one of the facts."""
    facts = sorted((group, name) for group, names in form.items() if isinstance(names, dict) for name in names)
    return facts[which % len(facts)]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forms(), st.integers(0, 1000))
def test_a_fact_that_is_missing_never_permits(policies, embedded, compiled, form, which):
    """Take any one fact away behind the schema's back: the answer is no, or the plan at most what it was."""
    # All that is random was drawn before an engine is asked: what happens in between must not change what is drawn.
    document, input_hash = question(as_facts(form))
    group, lost = _fact(document["facts"], which)
    crippled = copy.deepcopy(document)
    del crippled["facts"][group][lost]
    whole = compiled.decide(as_facts(form))
    for engine in (compiled, embedded):
        try:
            decision = read(engine._evaluator.evaluate(crippled), input_hash=input_hash, revision=policies.revision, engine=engine.name)
        except AnswerUnusable:
            continue
        if decision.allow:
            # Facts that a decision of this kind does not look at, such as a name, or the roles.
            assert whole.allow, (engine.name, group, lost, [r.code for r in whole.reasons])
            assert decision.plan == whole.plan, (engine.name, group, lost)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forms(), st.integers(0, 1000), st.sampled_from([None, True, 0, -1, 1.5, "", "true", "\x00", [], {}, ["*"], [None], {"allow": True}]))
def test_a_fact_of_another_kind_is_never_judged(policies, compiled, form, which, nonsense):
    """Rego puts numbers before texts, so that a text would be later than every date: what does not fit the schema must not reach it."""
    facts = copy.deepcopy(question(as_facts(form))[0]["facts"])
    group, name = _fact(facts, which)
    facts[group][name] = nonsense
    fits = jsonschema_rs.validator_for(policies.input_schema).is_valid({"facts": facts, "input_hash": "0" * 64})
    assert fits or compiled.decide_form(facts).effect is Effect.UNAVAILABLE
