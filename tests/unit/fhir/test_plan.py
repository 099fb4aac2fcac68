"""A release plan is read strictly, all its problems at once, and equal plans have equal fingerprints."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.fhir.plan import PlanInvalid, ReleasePlan, Transform, TypePlan

LABELS = {"deny": ["HIV", "PSY"], "ceiling": "N"}
FULL = {
    "types": {
        "Observation": {
            "elements": ["id", "status", "component.code", "value"],
            "period": {"start": "2025-01-01", "end": "2025-12-31"},
            "codes": ["http://loinc.org|2339-0"],
            "categories": ["laboratory"],
            "transforms": [{"path": "subject", "do": "pseudonym"}, {"path": "performer", "do": "keep_first", "options": {"count": 2}}],
        }
    },
    "labels": LABELS,
    "consent": [{"effect": "deny"}],
    "obligations": [{"code": "DELAU", "days": 30}],
    "limits": {"releases": 10},
    "profile": "treatment-referral",
}


def problems(form):
    with pytest.raises(PlanInvalid) as caught:
        ReleasePlan.from_json(form)
    assert caught.value.status == 422
    return {problem.path: problem.code for problem in caught.value.problems}


def of_type(**given_type):
    return {"types": {"Observation": {"elements": [], **given_type}}, "labels": LABELS}


def test_a_plan_is_read():
    plan = ReleasePlan.from_json(FULL)
    observation = plan.types["Observation"]
    assert observation.elements == ("id", "status", "component.code", "value")
    assert observation.codes == ("http://loinc.org|2339-0",)
    assert observation.categories == ("laboratory",)
    assert observation.transforms[1] == Transform("performer", "keep_first", {"count": 2})
    assert plan.deny_labels == {"HIV", "PSY"}
    assert plan.ceiling == "N"
    assert plan.obligations == ({"code": "DELAU", "days": 30},)
    assert plan.limits == {"releases": 10}
    assert plan.profile == "treatment-referral"
    assert plan.consent == ({"effect": "deny"},)
    assert plan.pseudonymous
    assert not ReleasePlan.from_json(of_type()).pseudonymous


def test_the_last_day_of_a_period_belongs_to_it():
    observation = ReleasePlan.from_json(FULL).types["Observation"]
    assert observation.period_from == 1735689600  # 2025-01-01T00:00:00Z
    assert observation.period_until == 1767225599  # 2025-12-31T23:59:59Z


def test_periods_may_be_moments_or_seconds_or_open():
    def period(value):
        found = ReleasePlan.from_json(of_type(period=value)).types["Observation"]
        return found.period_from, found.period_until

    assert period({"start": "2025-01-01T08:00:00+08:00", "end": None}) == (1735689600, None)
    assert period({"end": 5}) == (None, 5)
    assert period({"start": 0, "end": 0}) == (0, 0)
    assert period({}) == (None, None)
    assert period(None) == (None, None)


def test_its_json_form_is_the_same_plan():
    plan = ReleasePlan.from_json(FULL)
    again = ReleasePlan.from_json(plan.to_json())
    assert again == plan
    assert again.fingerprint == plan.fingerprint
    assert "period" not in ReleasePlan.from_json(of_type()).to_json()["types"]["Observation"]


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": {"deny": ["HIV"], "ceiling": "N"}},
        {"labels": {"deny": ["HIV", "PSY"], "ceiling": "R"}},
        {"obligations": []},
        {"limits": {"releases": 11}},
        {"profile": "other"},
        {"consent": []},
        {"types": {"Observation": {"elements": ["id"]}}},
    ],
)
def test_any_difference_changes_the_fingerprint(changed):
    assert ReleasePlan.from_json({**FULL, **changed}).fingerprint != ReleasePlan.from_json(FULL).fingerprint


def test_the_order_of_labels_does_not_change_it():
    turned = {**FULL, "labels": {"ceiling": "N", "deny": ["PSY", "HIV"]}}
    assert ReleasePlan.from_json(turned).fingerprint == ReleasePlan.from_json(FULL).fingerprint


def test_a_period_is_not_part_of_what_is_compiled():
    observation = ReleasePlan.from_json(FULL).types["Observation"]
    assert observation.timeless() == TypePlan(observation.elements, None, None, observation.codes, observation.categories, observation.transforms)
    assert hash(observation.timeless()) == hash(ReleasePlan.from_json(FULL).types["Observation"].timeless())


def test_every_problem_is_named_at_once():
    wrong = {
        "types": {
            "Observation": {"elements": ["status", "", 3], "codes": ["a|b|c", "|"], "categories": "laboratory", "extra": 1},
            "Condition": [],
            "Procedure": {},
            "Encounter": {"elements": [], "period": {"start": "2025-13-01", "end": "yesterday", "middle": 1}},
            "Claim": {"elements": [], "period": {"start": 2, "end": 1}},
            "Patient": {"elements": [], "period": {"start": "2025-01-01T00:00:00", "end": True}},
            "Device": {
                "elements": [],
                "transforms": [1, {"do": "year"}, {"path": "x", "do": "year", "options": []}, {"path": "x", "do": "y", "z": 1}],
            },
        },
        "labels": {"deny": "HIV", "ceiling": "X"},
        "obligations": {},
        "consent": [[]],
        "limits": [],
        "profile": 1,
        "more": 1,
    }
    assert problems(wrong) == {
        "types.Observation.elements[1]": "type",
        "types.Observation.elements[2]": "type",
        "types.Observation.codes[0]": "token",
        "types.Observation.codes[1]": "token",
        "types.Observation.categories": "type",
        "types.Observation.extra": "unknown",
        "types.Condition": "type",
        "types.Procedure.elements": "required",
        "types.Encounter.period.start": "date",
        "types.Encounter.period.end": "date",
        "types.Encounter.period.middle": "unknown",
        "types.Claim.period": "period",
        "types.Patient.period.start": "date",
        "types.Patient.period.end": "date",
        "types.Device.transforms[0]": "type",
        "types.Device.transforms[1]": "type",
        "types.Device.transforms[2].options": "type",
        "types.Device.transforms[3].z": "unknown",
        "labels.deny": "type",
        "labels.ceiling": "ceiling",
        "obligations": "type",
        "consent[0]": "type",
        "limits": "type",
        "profile": "type",
        "more": "unknown",
    }


@pytest.mark.parametrize("form", [None, [], "plan", 1, {}, {"types": {}}, {"labels": LABELS}])
def test_what_is_no_plan_is_refused(form):
    assert problems(form)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(json_values, st.sampled_from(["types", "labels", "consent", "obligations", "limits", "profile"]))
def test_nothing_but_plan_invalid_is_raised(value, where):
    for form in (value, {**FULL, where: value}, of_type(period=value, codes=value, transforms=value)):
        with contextlib.suppress(PlanInvalid):
            plan = ReleasePlan.from_json(form)
            assert ReleasePlan.from_json(plan.to_json()).fingerprint == plan.fingerprint


@pytest.mark.parametrize("limits", [{"n": 2**70}, {"text": "\ud800"}])
def test_what_cannot_be_recorded_is_refused(limits):
    assert problems({**FULL, "limits": limits}) == {"": "json"}


def test_there_are_no_dates_beyond_the_calendar():
    assert problems(of_type(period={"start": -(2**60), "end": 2**60})) == {
        "types.Observation.period.start": "date",
        "types.Observation.period.end": "date",
    }
