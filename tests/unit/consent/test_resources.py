"""What rules may ask of a resource."""

from __future__ import annotations

import pytest

from broker.consent import times
from broker.consent.resources import AUTHORS, authors_of, codes_of, dates_of, facts_of, labels_of, patients_of, profiles_of
from broker.fhir import definitions
from tests.factories.consent import ACT_CODE, CONFIDENTIALITY, concept, labels, observation

DAY = 86_400


def security(*codings):
    return {"meta": {"security": list(codings)}}


def coding(system, code):
    return {"system": system, "code": code}


def test_labels():
    assert labels_of({"meta": labels("R", "PSY") and {"security": labels("R", "PSY")["securityLabel"]}}) == ("PSY", "R")
    assert labels_of({}) == labels_of({"meta": {}}) == labels_of({"meta": "x"}) == ()
    assert labels_of(security(coding(CONFIDENTIALITY, "HIV"))) == ("HIV",)
    ignored = [
        coding(ACT_CODE, "DELAU"),
        coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST"),
        coding("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "SUBSETTED"),
    ]
    assert labels_of(security(*ignored)) == ()
    assert labels_of(security(coding(CONFIDENTIALITY, "C"))) == (f"{CONFIDENTIALITY}|C",)
    assert labels_of(security(coding(ACT_CODE, "MENCAT"))) == (f"{ACT_CODE}|MENCAT",)
    assert labels_of(security({"display": "secret"}, "x", coding("urn:x", "y"))) == ("None|None", "urn:x|y")
    assert labels_of({"meta": {"security": coding(CONFIDENTIALITY, "N")}}) == ("N",)


@pytest.mark.parametrize(
    ("resource", "first", "last"),
    [
        ({"resourceType": "Observation", "effectiveDateTime": "2024-03-10", "issued": "2024-04-01T00:00:00Z"}, "2024-03-10", "2024-03-10"),
        ({"resourceType": "Observation", "effectivePeriod": {"start": "2024-03-10", "end": "2024-03-12"}}, "2024-03-10", "2024-03-12"),
        ({"resourceType": "Observation", "effectivePeriod": {"start": "2024-03-10"}}, "2024-03-10", None),
        ({"resourceType": "Observation", "effectivePeriod": {"end": "2024-03-10"}}, None, "2024-03-10"),
        ({"resourceType": "Observation", "issued": "2024-03-10T00:00:00Z"}, "2024-03-10T00:00:00Z", "2024-03-10T00:00:00Z"),
        ({"resourceType": "Observation", "meta": {"lastUpdated": "2024-03-10T00:00:00Z"}}, "2024-03-10T00:00:00Z", "2024-03-10T00:00:00Z"),
        ({"resourceType": "Observation", "effectiveDateTime": "yesterday"}, None, None),
        ({"resourceType": "Condition", "onsetDateTime": "2024-03"}, "2024-03", None),
        ({"resourceType": "Condition", "onsetDateTime": "2024-03", "abatementDateTime": "2024-05"}, "2024-03", "2024-05"),
        ({"resourceType": "Condition", "abatementDateTime": "2024-05"}, None, "2024-05"),
        ({"resourceType": "Condition", "recordedDate": "2024-05-01"}, "2024-05-01", "2024-05-01"),
        ({"resourceType": "Patient"}, None, None),
        ({"resourceType": "Unknown"}, None, None),
    ],
)
def test_dates(resource, first, last):
    assert dates_of(resource) == (first and times.read(first).start, last and times.read(last).end)


def test_codes_profiles_authors_patients():
    resource = observation(
        component=[{"code": concept("urn:x", "inner"), "valueCodeableConcept": concept("urn:y", "value")}],
        performer=[{"reference": "Practitioner/1"}, {"display": "nobody"}, "x"],
    )
    resource["meta"]["profile"] = ["urn:p|2", "urn:q", 3]
    assert codes_of(resource) == {"http://loinc.org|15074-8", "urn:x|inner", "urn:y|value"}
    assert profiles_of(resource) == {"urn:p|2", "urn:p", "urn:q"}
    assert authors_of(resource) == {"Practitioner/1"}
    assert patients_of(resource) == {"Patient/p1"}
    assert patients_of({"resourceType": "Organization", "id": "x"}) == frozenset()
    facts = facts_of(resource, ("N",), needs=frozenset())
    assert (facts.codes, facts.authors, facts.date_from, facts.reference) == (frozenset(), frozenset(), None, "Observation/o1")
    assert facts_of(resource, ("N",)).references == {"Patient/p1", "Practitioner/1"}


def test_every_element_that_names_an_author_is_one_of_r4():
    for name, paths in AUTHORS.items():
        for path in paths:
            definitions.element(name, path)
