"""What could still tell who the patient is, counted from the plan: an upper bound that is nought where nothing can (RS-5.2.3, D20)."""

from __future__ import annotations

import json

import pytest

from broker.fhir.plan import ReleasePlan
from broker.fhir.residual import KINDS, counted
from tests.policies.conftest import ROOT


def plan(types):
    rows = {name: {"elements": elements.split(), "transforms": transforms} for name, (elements, transforms) in types.items()}
    return ReleasePlan.from_json({"types": rows, "labels": {"deny": [], "ceiling": "N"}})


def of(resource_type, elements, *transforms):
    return counted(plan({resource_type: (elements, list(transforms))}), [resource_type])


def do(path, name, **options):
    return {"path": path, "do": name, "options": options}


def test_a_patient_in_full():
    everything = of("Patient", "name telecom address identifier birthDate deceased gender")
    assert everything == {"address": 1, "birth-date": 1, "contact": 1, "identifier": 1, "name": 1, "record-id": 1}


@pytest.mark.parametrize(
    ("element", "transform", "left"),
    [
        ("name", do("name", "mask"), {"record-id": 1}),
        ("name", do("name", "remove"), {"record-id": 1}),
        ("birthDate", do("birthDate", "year"), {"record-id": 1}),
        ("birthDate", do("birthDate", "age_band"), {"record-id": 1}),
        ("birthDate", do("birthDate", "month"), {"birth-date": 1, "record-id": 1}),
        ("birthDate", do("birthDate", "shift"), {}),
        ("gender", do("id", "pseudonym"), {}),
        ("address", do("address", "region"), {"address": 1, "record-id": 1}),
    ],
)
def test_what_a_transform_takes_away(element, transform, left):
    assert of("Patient", element, transform) == left


def test_text_and_numbers_of_devices():
    assert of("Observation", "status code valueString note", do("id", "pseudonym")) == {"date": 1, "free-text": 1}, "a note has its time"
    assert of("Observation", "status code valueString", do("id", "pseudonym")) == {"free-text": 1}
    assert of("Observation", "status code code.text", do("id", "pseudonym")) == {"free-text": 1}
    assert of("Observation", "status code value", do("id", "pseudonym"), do("value", "year")) == {}
    assert of("Device", "serialNumber type", do("id", "pseudonym")) == {"device-number": 1}
    assert of("Practitioner", "name", do("id", "pseudonym")) == {"staff-name": 1}


def test_each_resource_counts_once_for_each_kind():
    both = plan({"Observation": ("status effective issued", []), "Patient": ("name", [])})
    assert counted(both, ["Observation"] * 30 + ["Patient"]) == {"date": 30, "name": 1, "record-id": 31}


def test_research_gets_none_of_them():
    profile = json.loads((ROOT / "policies" / "data" / "profiles" / "research-deidentified.json").read_text(encoding="utf-8"))
    types = {name: (row["elements"], row["transforms"]) for name, row in profile["types"].items()}
    assert counted(plan(types), profile["types"]) == {}


def test_every_kind_is_one_that_is_explained():
    everything = "name telecom address identifier birthDate photo contact link communication"
    assert of("Patient", everything).keys() <= KINDS.keys()
