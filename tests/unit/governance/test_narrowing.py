"""Narrowing a profile in data (RS-5.2.3): whatever is ticked, nothing leaves that did not leave before, and the policies stay sound."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.governance.narrowing import DAYS, Kept, narrowed, needed
from broker.governance.rules import changes
from broker.policy.policy_set import load
from broker.policy.service import files_of, policy_set_of, problems
from tests.policies.conftest import ROOT

POLICIES = load(ROOT / "policies")
DATA = POLICIES.data
FILES = files_of(ROOT / "policies")


def every(name):
    return {f"{kind}.{element}" for kind, row in DATA["profiles"][name]["types"].items() for element in row["elements"].split(" ")}


def days(name):
    return {(group, field): DATA["profiles"][name][group][field] for group, field in DAYS}


@pytest.mark.parametrize("name", sorted(DATA["profiles"]))
def test_keeping_everything_changes_nothing(name):
    assert narrowed(DATA, name, Kept(every(name), DATA["profiles"][name]["channels"], days(name))) == {}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_left_was_there_before(data):
    name = data.draw(st.sampled_from(sorted(DATA["profiles"])))
    before = DATA["profiles"][name]
    elements = data.draw(st.sets(st.sampled_from([*sorted(every(name)), "Consent.status", "Patient.telecom", "Observation.note"]), min_size=1))
    channels = data.draw(st.sets(st.sampled_from(["api", "bulk", "bundle", "fax"])))
    wished = {where: data.draw(st.integers(-5, 5000)) for where in DAYS}
    made = narrowed(DATA, name, Kept(elements, channels, wished))
    after = before if not made else json.loads(made[f"data/profiles/{name}.json"])
    for kind, row in after["types"].items():
        had = set(before["types"][kind]["elements"].split(" "))
        has = set(row["elements"].split(" "))
        assert has <= had
        assert has >= {element for element in had if element in needed(DATA["types"], kind)}
        assert {key: value for key, value in row.items() if key not in ("elements", "transforms")} == {
            key: value for key, value in before["types"][kind].items() if key not in ("elements", "transforms")
        }
        # Whatever stays is changed before it leaves as it was before.
        for each in before["types"][kind]["transforms"]:
            assert each in row["transforms"] or not any(f"{one}.".startswith(f"{each['path']}.") for one in has)
    assert set(after["channels"]) <= set(before["channels"]) & channels
    for group, field in DAYS:
        assert 0 <= after[group][field] <= before[group][field]
    assert all(not each.gained for each in changes(DATA, {**DATA, "profiles": {**DATA["profiles"], name: after}}))
    rest = ("types", "channels", "limits", "lookback_days")
    assert {key: value for key, value in after.items() if key not in rest} == {key: value for key, value in before.items() if key not in rest}


def test_a_narrower_list_is_sound_and_says_what_it_takes_away():
    name = "treatment-referral"
    left = every(name) - {"Condition.severity", "Condition.code"} - {each for each in every(name) if each.startswith("Device.")}
    made = narrowed(DATA, name, Kept(left, ["api"], {**days(name), ("limits", "retention_days"): 30}))
    drafted = policy_set_of({**FILES, **made})
    assert problems(drafted) == ()
    told = {(each.kind, each.lost, tuple(field for field, _, _ in each.fields)) for each in changes(DATA, drafted.data)}
    devices = tuple(sorted(DATA["profiles"][name]["types"]["Device"]["elements"].split(" ")))
    assert told == {("Condition", ("code", "severity"), ()), ("Device", devices, ()), ("", (), ("channels", "limits.retention_days"))}


def test_what_a_type_can_not_do_without_stays_as_long_as_the_type():
    made = narrowed(DATA, "treatment-referral", Kept({"Condition.onset"}, ["api"], {}))
    (profile,) = (json.loads(content) for content in made.values())
    assert profile["types"].keys() == {"Condition"}
    assert set(profile["types"]["Condition"]["elements"].split(" ")) == {"id", "subject", "onset"}


def test_nothing_left_is_refused_by_the_checks():
    """A profile without a type, or without a way, can't be drafted."""
    from broker.policy.errors import PolicyUnusable

    made = narrowed(DATA, "treatment-referral", Kept(set(), [], {}))
    with pytest.raises(PolicyUnusable):
        policy_set_of({**FILES, **made})


def test_a_list_may_ask_for_more_of_whoever_applies_and_never_for_less():
    """TM-5.1, PI-4: of a line one is enough; what is required already stays."""
    name = "treatment-nursing"
    asked = Kept(every(name), DATA["profiles"][name]["channels"], days(name), (("licence.nursing", "licence.practice"), ("training.privacy",), ()))
    made = narrowed(DATA, name, asked)
    after = json.loads(made[f"data/profiles/{name}.json"])
    assert after["workforce"] == [["licence.nursing", "licence.practice"], ["training.privacy"]]
    assert problems(policy_set_of(FILES | made)) == ()
    assert narrowed(DATA, name, Kept(every(name), DATA["profiles"][name]["channels"], days(name), (("licence.nursing", "licence.practice"),))) == {}
    (change,) = changes(DATA, {**DATA, "profiles": {**DATA["profiles"], name: after}})
    assert change.fields == (("workforce", [["licence.nursing", "licence.practice"]], after["workforce"]),)
