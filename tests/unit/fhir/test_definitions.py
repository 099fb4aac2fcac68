"""The generated table says what HL7's definitions say."""

from __future__ import annotations

import json

import pytest

from broker.fhir import definitions
from tests.conftest import SHARED

needs_official = pytest.mark.skipif(not (SHARED / "fhir").is_dir(), reason="the official definitions are not beside this checkout")


def _official(name: str) -> dict:
    return json.loads((SHARED / "fhir" / name).read_text(encoding="utf-8"))


def test_every_resource_type_and_datatype_of_r4_is_there():
    assert len(definitions.resource_types()) == 146
    assert {"Patient", "Observation", "MolecularSequence", "VisionPrescription", "Bundle"} <= definitions.resource_types()
    assert {"CodeableConcept", "Dosage", "Timing", "Extension", "Meta"} <= definitions.datatypes()
    assert {"base64Binary", "xhtml", "positiveInt"} <= set(definitions.primitives())


def test_nothing_of_the_packages_maker_is_left():
    assert "project" not in definitions.raw_elements("Meta")
    assert "url" not in definitions.raw_elements("Binary")
    assert "SubscriptionStatus" not in definitions.resource_types()
    with pytest.raises(KeyError):
        definitions.element("EvidenceVariable", "characteristic.linkId")
    assert definitions.element("EvidenceVariable", "characteristic.groupMeasure").required


def test_elements_carry_type_cardinality_choice_and_binding():
    status = definitions.element("Observation", "status")
    assert (status.types, status.min, status.max, status.choice) == (("code",), 1, 1, False)
    assert "registered" in definitions.required_codes(status.required)
    value = definitions.element("Observation", "component.value")
    assert value.choice
    assert "Quantity" in value.types
    assert not value.repeats
    assert definitions.element("Observation", "component").repeats


def test_content_references_are_followed():
    low = definitions.element("Observation", "component.referenceRange.low.value")
    assert low.types == ("decimal",)
    assert definitions.element("ExplanationOfBenefit", "item.detail.subDetail.adjudication.amount.currency").types == ("code",)


def test_json_names_walk_into_the_chosen_type():
    assert definitions.element("Observation", "valueQuantity.value").types == ("decimal",)
    assert definitions.element("Observation", "code.coding.system").types == ("uri",)
    with pytest.raises(KeyError, match=r"Observation\.value\.value"):
        definitions.element("Observation", "value.value")
    with pytest.raises(KeyError):
        definitions.element("Observation", "nonsense")


def test_json_names_of_a_choice_and_of_a_primitive():
    assert definitions.json_names("Observation", "effective") == (
        "effectiveDateTime",
        "_effectiveDateTime",
        "effectivePeriod",
        "effectiveTiming",
        "effectiveInstant",
        "_effectiveInstant",
    )
    assert definitions.json_names("Patient", "birthDate") == ("birthDate", "_birthDate")
    assert definitions.json_names("Observation", "code") == ("code",)


def test_open_value_sets_are_not_listed():
    assert definitions.required_codes(definitions.element("Attachment", "contentType").required) is None


def test_clinical_dates_come_best_first():
    assert definitions.clinical_dates("Observation")[:2] == ("effectiveDateTime", "effectivePeriod.start")
    assert definitions.clinical_dates("Observation")[-1] == "issued"
    assert definitions.clinical_dates("MedicationDispense") == ("whenHandedOver", "whenPrepared")
    assert definitions.clinical_dates("Patient") == ()
    starts, ends = definitions.lasting("Condition")
    assert "onsetDateTime" in starts
    assert "abatementDateTime" in ends
    assert definitions.lasting("Observation") is None


@needs_official
def test_the_patient_compartment_is_the_official_one():
    official = {row["code"]: row.get("param", []) for row in _official("CompartmentDefinition-patient.json")["resource"]}
    ours = {name: bool(definitions.compartment_paths(name)) for name in official}
    assert ours == {name: bool(params) for name, params in official.items()}
    assert definitions.compartment_paths("Observation") == ("subject", "performer")
    assert definitions.compartment_paths("Encounter") == ("subject",)
    assert definitions.compartment_paths("AuditEvent") == ("agent.who", "entity.what")
    assert definitions.compartment_paths("Medication") == ()


@needs_official
def test_consent_is_as_the_official_structure_definition_has_it():
    for source in _official("StructureDefinition-Consent.json")["snapshot"]["element"][1:]:
        path = source["path"].partition(".")[2].replace("[x]", "")
        found = definitions.element("Consent", path)
        assert (found.min, "*" if found.max is None else str(found.max)) == (source["min"], source["max"]), path
        if source.get("binding", {}).get("strength") == "required":
            assert found.required == source["binding"]["valueSet"].split("|")[0]
