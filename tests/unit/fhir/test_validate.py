from __future__ import annotations

import copy
import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.fhir.parse import read_json
from broker.fhir.validate import MAX_PROBLEMS, problems
from tests.conftest import SHARED, SYNTHEA

OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]},
    "subject": {"reference": "Patient/p1"},
    "effectiveDateTime": "2026-03-01T08:00:00+08:00",
    "valueQuantity": {"value": Decimal("13.20"), "unit": "mmol/L"},
}


def _found(**changes: object) -> list[tuple[str, str]]:
    resource = copy.deepcopy(OBSERVATION) | changes
    return [(problem.path, problem.code) for problem in problems({name: value for name, value in resource.items() if value is not ...})]


def test_a_good_resource_has_no_problem():
    assert _found() == []


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"statuss": "x"}, "Observation.statuss", "unknown-element"),
        ({"status": ...}, "Observation.status", "missing"),
        ({"status": "zzz"}, "Observation.status", "bad-code"),
        ({"status": 7}, "Observation.status", "wrong-type"),
        ({"status": None}, "Observation.status", "null"),
        ({"status": ""}, "Observation.status", "empty"),
        ({"status": ["final"]}, "Observation.status", "unexpected-array"),
        ({"code": {}}, "Observation.code", "empty"),
        ({"code": "glucose"}, "Observation.code", "not-an-object"),
        ({"category": []}, "Observation.category", "empty"),
        ({"category": {"text": "x"}}, "Observation.category", "not-an-array"),
        ({"category": [None]}, "Observation.category[0]", "null"),
        ({"valueString": "x"}, "Observation.valueString", "two-choices"),
        ({"effectiveDateTime": "2026-02-30"}, "Observation.effectiveDateTime", "bad-format"),
        ({"effectiveDateTime": "2026-3-1"}, "Observation.effectiveDateTime", "bad-format"),
        ({"effectiveDateTime": "2026-03-01T08:00:00"}, "Observation.effectiveDateTime", "bad-format"),
        ({"effectiveDateTime": ["2026-03-01"]}, "Observation.effectiveDateTime", "unexpected-array"),
        ({"id": "has space"}, "Observation.id", "bad-format"),
        ({"id": "x" * 65}, "Observation.id", "bad-format"),
        ({"subject": {"reference": "p1"}}, "Observation.subject.reference", "bad-reference"),
        ({"subject": {"reference": "Patientt/p1"}}, "Observation.subject.reference", "bad-reference"),
        ({"subject": {"reference": "Patient/p1/extra"}}, "Observation.subject.reference", "bad-reference"),
        ({"subject": {"reference": "#gone"}}, "Observation.subject", "no-contained"),
        ({"valueQuantity": {"value": "13.20"}}, "Observation.valueQuantity.value", "wrong-type"),
        ({"valueQuantity": {"value": True}}, "Observation.valueQuantity.value", "wrong-type"),
        ({"component": [{"valueInteger": 1}]}, "Observation.component[0].code", "missing"),
        ({"component": [{"code": {"text": "x"}, "valueInteger": 2**31}]}, "Observation.component[0].valueInteger", "wrong-type"),
        ({"contained": [{"resourceType": "Patient"}]}, "Observation.contained[0]", "nested-contained"),
        ({"contained": [{"resourceType": "Patientt", "id": "x"}]}, "Observation.contained[0]", "unknown-type"),
        ({"contained": [{"resourceType": "Patient", "id": "x", "gender": "m"}]}, "Observation.contained[0].gender", "bad-code"),
        ({"extension": [{"valueString": "x"}]}, "Observation.extension[0].url", "missing"),
        ({"extension": [{"url": "http://x"}]}, "Observation.extension[0]", "bad-extension"),
        ({"_status": {}}, "Observation.status", "empty"),
        ({"_status": {"value": 1}}, "Observation.status.value", "unknown-element"),
        ({"_code": {"id": "x"}}, "Observation.code", "unknown-element"),
        ({"note": [{"text": "a\x00b"}]}, "Observation.note[0].text", "bad-format"),
        ({"note": [{"text": "\ud800"}]}, "Observation.note[0].text", "bad-format"),
        ({"valueQuantity": ..., "valueSampledData": {"origin": {"value": 1}, "period": 1}}, "Observation.valueSampledData.dimensions", "missing"),
        ({"meta": {"profile": ["a b"]}}, "Observation.meta.profile[0]", "bad-format"),
    ],
)
def test_each_problem_is_named_with_its_path(changes: dict, path: str, code: str):
    assert (path, code) in _found(**changes)


def test_a_mandatory_primitive_may_be_given_by_its_extension_alone():
    absent = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
    assert _found(status=..., _status=absent) == []


def test_repeating_primitives_and_their_siblings_keep_step():
    patient = {"resourceType": "Patient", "id": "p", "name": [{"given": ["三", None], "_given": [None, {"id": "x"}]}]}
    assert problems(patient) == []
    patient["name"][0]["_given"] = [{"id": "x"}]
    assert "sibling" in {problem.code for problem in problems(patient)}
    del patient["name"][0]["_given"]
    assert [(problem.path, problem.code) for problem in problems(patient)] == [("Patient.name[0].given[1]", "null")]


def test_a_required_binding_on_a_concept_looks_at_system_and_code():
    condition = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}}
    system = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    assert problems(condition | {"clinicalStatus": {"coding": [{"system": system, "code": "active"}]}}) == []
    for coding in ({"system": "http://other", "code": "active"}, {"system": system, "code": "zzz"}, {"system": [], "code": {}}):
        assert "Condition.clinicalStatus.coding" in {problem.path for problem in problems(condition | {"clinicalStatus": {"coding": [coding]}})}


def test_contained_resources_are_found_by_local_references():
    device = {"resourceType": "Device", "id": "d1"}
    assert _found(contained=[device], device={"reference": "#d1"}) == []
    assert _found(contained=[device], device={"reference": "#d2"}) == [("Observation.device", "no-contained")]


def test_ideographic_spaces_are_text():
    assert _found(note=[{"text": "　血糖偏高"}]) == []


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"resourceType": 5}, {"resourceType": "Nothing"}, {"resourceType": "DomainResource"}])
def test_what_is_no_resource_at_all_is_one_problem(value: object):
    assert len(problems(value)) == 1


def test_the_list_of_problems_ends():
    found = _found(category=[{} for _ in range(10_000)])
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1][1] == "too-many-problems"


def test_nesting_without_end_is_a_problem_and_no_crash():
    extension: dict = {"url": "http://x", "valueString": "x"}
    for _ in range(900):
        extension = {"url": "http://x", "extension": [extension]}
    assert "too-deep" in {code for _, code in _found(extension=[extension])}


def test_property_names_that_could_hold_anything_are_not_repeated():
    assert "张三" not in problems(OBSERVATION | {"张三": 1})[0].path


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["final", "#", "Patient/1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["coding", "system", "code", "reference", "extension", "_value", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from([*OBSERVATION, "_status", "_id", "component", "contained", "extension", "category", "bodySite", "valueRatio"]),
    value=json_values,
)
def test_any_value_anywhere_gives_problems_and_never_an_exception(name: str, value: object):
    for problem in problems(OBSERVATION | {name: value}):
        assert problem.path
        assert problem.message


@pytest.mark.synthea
@pytest.mark.skipif(not SYNTHEA.is_dir(), reason="the Synthea patients are not beside this checkout")
def test_every_synthea_resource_and_official_example_is_without_a_problem():
    count = 0
    for file in sorted(SYNTHEA.glob("*.json")):
        bundle = read_json(file.read_bytes(), max_bytes=10**8)
        assert problems(bundle) == [], file.name
        for entry in bundle["entry"]:
            assert problems(entry["resource"]) == [], file.name
            count += 1
    assert count == 3486
    for file in (SHARED / "fhir").rglob("*.json"):
        assert problems(read_json(file.read_bytes(), max_bytes=10**8)) == [], file.name


def test_the_resources_of_fhir_resources_agree():
    """What a library that we did not write refuses as unknown or missing, we refuse too."""
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    for change in ({"statuss": "x"}, {"code": None}, {"valueString": "x"}, {"category": "x"}):
        resource = {name: value for name, value in (OBSERVATION | change).items() if value is not None}
        with pytest.raises(ValidationError):
            get_fhir_model_class("Observation").model_validate(json.loads(json.dumps(resource, default=float)))
        assert problems(resource)
