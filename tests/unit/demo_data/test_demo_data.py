"""The demo's patients are what the demo says they are: valid, invented, whole, and full of the traps a release must not fall into."""

import json
import re
from collections import Counter
from datetime import date, timedelta

import pytest
from fhir.resources.R4B import get_fhir_model_class

from broker import demo_data
from tools.demo_data.__main__ import FOLDER, files
from tools.demo_data.chart import RESIDENT_ID

HELD_BACK = re.compile("抑郁|舍曲林|sertraline|N06AB06|F32|PHQ|精神|psychiatr|depressi", re.IGNORECASE)


@pytest.fixture(scope="module")
def bundles():
    return [json.loads(bundle) for bundle in demo_data.bundles()]


@pytest.fixture(scope="module")
def resources(bundles):
    return {f"{entry['resource']['resourceType']}/{entry['resource']['id']}": entry["resource"] for bundle in bundles for entry in bundle["entry"]}


@pytest.fixture(scope="module")
def story():
    (first, *_) = demo_data.patients()
    return [entry["resource"] for entry in json.loads(first)["entry"]]


def test_the_generator_gives_the_committed_bytes():
    for path, text in files().items():
        assert (FOLDER / path).read_text(encoding="utf-8") == text, f"{path}: run `python -m tools.demo_data`"
    assert {path.name for path in (FOLDER / "patients").iterdir()} == {path.split("/")[1] for path in files() if "/" in path}


def test_every_bundle_is_valid_by_the_public_models(bundles):
    for bundle in bundles:
        get_fhir_model_class("Bundle").model_validate(bundle)


def test_every_resource_passes_the_check_at_the_door(resources):
    from broker.fhir.validate import problems

    assert {name: found for name, resource in resources.items() if (found := problems(resource))} == {}


def test_ids_are_unique_and_references_point_to_something(bundles, resources):
    assert len(resources) == sum(len(bundle["entry"]) for bundle in bundles)
    for name, resource in resources.items():
        own = {f"#{contained['id']}" for contained in resource.get("contained", ())}
        for reference in re.findall(r'"reference": "([^"]+)"', json.dumps(resource)):
            assert reference in resources or reference in own, f"{name} -> {reference}"


def test_a_patient_refers_to_nobody_elses_resources(bundles):
    for bundle in bundles[1:]:
        identity = bundle["entry"][0]["resource"]["id"]
        assert set(re.findall(r"Patient/(p\d+)", json.dumps(bundle))) == {identity}


def test_there_is_enough_of_every_kind(bundles, resources):
    kinds = Counter(resource["resourceType"] for resource in resources.values())
    assert len(bundles) - 1 >= 8
    assert len(resources) >= 300
    assert len(bundles[1]["entry"]) >= 100, "the patient of the story"
    wanted = "AllergyIntolerance CarePlan Claim Condition Coverage Device DiagnosticReport Encounter ExplanationOfBenefit ImagingStudy Immunization"
    wanted += " MedicationRequest Observation Organization Patient Practitioner PractitionerRole Procedure"
    assert not set(wanted.split()) - kinds.keys()
    assert "Consent" not in kinds, "consents are filed in the story"


def test_nobody_in_it_exists(resources):
    for resource in resources.values():
        for identifier in resource.get("identifier", ()) if resource["resourceType"] == "Patient" else ():
            if identifier["system"] == RESIDENT_ID:
                assert re.fullmatch(r"999999\d{11}[\dX]", identifier["value"])
                assert identifier["value"][6:14] == resource["birthDate"].replace("-", "")
                assert int(identifier["value"][16]) % 2 == (resource["gender"] == "male")


def test_the_story_hides_the_depression_in_every_kind_of_place(story):
    """A release to cardiology that holds mental health back has to meet each of these traps, or the demo proves nothing."""

    def mentions(*path):
        found = []
        for resource in story:
            values = [resource]
            for step in path:
                values = [item for value in values if step in value for item in (value[step] if isinstance(value[step], list) else [value[step]])]
            found += [resource["resourceType"] for value in values if HELD_BACK.search(json.dumps(value, ensure_ascii=False))]
        return set(found)

    assert "Condition" in mentions("code")
    assert "MedicationRequest" in mentions("contained")
    assert {"Encounter", "CarePlan"} <= mentions("text")
    assert {"Observation", "Condition", "MedicationRequest"} <= mentions("note")
    assert "Condition" in mentions("extension")
    assert "Encounter" in mentions("diagnosis", "condition", "display")
    assert {"Claim", "ExplanationOfBenefit"} <= mentions("diagnosis")
    assert "DiagnosticReport" in mentions("conclusion")
    assert "CarePlan" in mentions("activity", "detail", "description")
    assert "QuestionnaireResponse" in {resource["resourceType"] for resource in story}


def test_numbers_keep_the_digits_that_the_laboratory_wrote(story):
    (first, *_) = demo_data.patients()
    assert b'"value": 13.20' in first


def test_the_cast_of_the_story_is_there():
    hospital = demo_data.hospital()
    organizations = [organization["id"] for organization in hospital["organizations"]]
    people = {person["username"]: person for person in hospital["people"]}
    assert len(set(organizations)) == len(organizations)
    for place, organization in enumerate(hospital["organizations"]):
        assert organization["parent"] is None or organization["parent"] in organizations[:place], "parents first"
    for person in people.values():
        assert {person["organization"], *(role["organization"] for role in person["roles"])} <= set(organizations)
    story = hospital["story"]
    roles = {"applicant": "applicant", "endorser": "department_head", "information_manager": "information_manager"}
    roles |= {"second_information_manager": "information_manager", "auditor": "auditor", "administrator": "administrator"}
    for part, role in roles.items():
        assert role in {held["role"] for held in people[story[part]]["roles"]}, part
    assert story["information_manager"] != story["second_information_manager"]
    assert {client["organization"] for client in hospital["clients"]} <= set(organizations)
    assert story["client"] in {client["id"] for client in hospital["clients"]}


@pytest.mark.parametrize("weeks", [-3, 0, 1, 260, 700])
def test_the_records_stay_as_old_as_they_were(weeks):
    """Else a look-back of so many days would let less and less of the story through."""
    written = demo_data.WRITTEN_FOR
    on = written + timedelta(weeks=weeks, days=4)
    day = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")
    for then, now in zip([*demo_data.bundles(), json.dumps(demo_data.hospital()).encode()],
                         [*demo_data.bundles(on), json.dumps(demo_data.hospital(on)).encode()], strict=True):  # fmt: skip
        assert len(then) == len(now)
        born = re.findall(rb'"birthDate": "[0-9-]+"', then)
        assert born == re.findall(rb'"birthDate": "[0-9-]+"', now)
        days = [day.findall(re.sub(r'"birthDate": "[0-9-]+"', "", text.decode())) for text in (then, now)]
        assert {(date.fromisoformat(b) - date.fromisoformat(a)).days for a, b in zip(*days, strict=True)} <= {7 * weeks}
