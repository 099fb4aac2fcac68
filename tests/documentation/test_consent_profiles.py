"""The registry's FHIR artefacts are what the code does; each example is valid or invalid for the stated reason (PI-3.1)."""

from __future__ import annotations

import json

import pytest

from broker.consent.enforceability import examine
from broker.fhir.validate import problems
from tools import consent_profiles

EXAMPLES = consent_profiles.ROOT / "examples"
INDEX = json.loads((EXAMPLES / "index.json").read_text())


@pytest.mark.parametrize("resource", consent_profiles.artefacts(), ids=lambda one: f"{one['resourceType']}-{one['id']}")
def test_each_file_says_what_the_code_does(resource):
    """Written by ``python -m tools.consent_profiles``."""
    file = consent_profiles.ROOT / f"{resource['resourceType']}-{resource['id']}.json"
    assert file.read_text(encoding="utf-8") == consent_profiles.text(resource)
    assert problems(resource) == []


@pytest.mark.parametrize("name", sorted(INDEX))
def test_each_example_is_enforced_or_refused_for_its_reason(name):
    report = examine(json.loads((EXAMPLES / name).read_text()))
    assert sorted({one.code for one in report.refused}) == INDEX[name]
    assert report.structure == ()
    assert report.enforceable == name.startswith("Consent-valid-") == (INDEX[name] == [])


def test_no_example_is_left_out():
    assert {path.name for path in EXAMPLES.glob("Consent-*.json")} == set(INDEX)


CASES = {
    "consent-purpose": ({"purpose": [{}]}, "purpose"),
    "consent-security-label": ({"securityLabel": [{}]}, "securityLabel"),
    "consent-action": ({"action": [{"coding": [{}]}]}, "action"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_code_of_a_value_set_is_enforced_and_no_other(name):
    (found,) = (one for one in consent_profiles.value_sets() if one["id"] == name)
    listed = [{"system": part["system"], "code": one["code"]} for part in found["compose"]["include"] for one in part["concept"]]
    for coding in [*listed, {"system": listed[0]["system"], "code": "NOSUCH"}]:
        value = [{"coding": [coding]}] if name == "consent-action" else [coding]
        given = json.loads((EXAMPLES / "Consent-valid-laboratory-alone.json").read_text())
        given["provision"][CASES[name][1]] = value
        refused = {one.code for one in examine(given).refused}
        assert refused == ({"unknown-code"} if coding["code"] == "NOSUCH" else set()), coding
