from __future__ import annotations

import pytest

from broker.records.compartment import belonging
from tests.factories.records import condition, observation, patient, practitioner


def test_a_patient_is_its_own_even_where_it_links_to_another():
    assert belonging(patient("p1", link=[{"other": {"reference": "Patient/p2"}, "type": "seealso"}])).patient == "p1"


@pytest.mark.parametrize(
    ("resource", "owner"),
    [
        (observation(), "p1"),
        (observation(subject={"reference": "Patient/p1/_history/3"}), "p1"),
        ({"resourceType": "Observation", "performer": [{"reference": "Practitioner/d"}, {"reference": "Patient/p7"}]}, "p7"),
        ({"resourceType": "AuditEvent", "entity": [{"what": {"reference": "Patient/p3"}}]}, "p3"),
        ({"resourceType": "Appointment", "participant": [{"actor": {"reference": "Patient/p4"}}]}, "p4"),
        ({"resourceType": "Device", "id": "x", "patient": {"reference": "Patient/p5"}}, "p5"),
        ({"resourceType": "Task", "id": "x", "for": {"reference": "Patient/p6"}}, "p6"),
        ({"resourceType": "Observation", "contained": [{"resourceType": "Coverage", "beneficiary": {"reference": "Patient/p8"}}]}, "p8"),
    ],
)
def test_the_official_compartment_then_any_reference_says_whose_it_is(resource: dict, owner: str):
    assert belonging(resource).patient == owner


def test_what_is_nobodys_is_shared_only_if_its_type_says_so():
    assert belonging(practitioner()).shared
    assert belonging({"resourceType": "Medication", "id": "m"}).shared
    assert belonging({"resourceType": "Device", "id": "m"}).shared
    lost = belonging({"resourceType": "Observation", "id": "o"})
    assert (lost.patient, lost.shared, lost.refusal, lost.path) == (None, False, "no-patient", "Observation.subject")
    assert belonging({"resourceType": "Task", "id": "t"}).refusal == "no-patient"


@pytest.mark.parametrize(
    "resource",
    [
        observation(performer=[{"reference": "Patient/p2"}]),
        {"resourceType": "Group", "member": [{"entity": {"reference": "Patient/p1"}}, {"entity": {"reference": "Patient/p2"}}]},
        observation(contained=[{"resourceType": "Condition", "id": "x", "subject": {"reference": "Patient/p2"}}]),
        {"resourceType": "Device", "patient": {"reference": "Patient/p1"}, "note": [{"authorReference": {"reference": "Patient/p2"}}]},
    ],
)
def test_a_resource_of_several_patients_is_refused(resource: dict):
    assert belonging(resource).refusal == "several-patients"


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ({"reference": "https://elsewhere.example/fhir/Patient/p1"}, "patient-elsewhere"),
        ({"type": "Patient", "identifier": {"system": "s", "value": "v"}}, "patient-elsewhere"),
        ({"reference": "#me"}, "patient-contained"),
        ({"reference": "Group/g"}, "no-patient"),
        ({"display": "somebody"}, "no-patient"),
    ],
)
def test_a_patient_who_is_only_described_is_nobody_we_know(subject: dict, code: str):
    assert belonging(condition(subject=subject, contained=[{"resourceType": "Patient", "id": "me"}])).refusal == code
