from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.fhir.parse import read_json
from broker.records import labelling
from broker.records.labelling import UNCLASSIFIED, denied, labels_for, lists
from tests.conftest import SHARED, SYNTHEA
from tests.factories.records import ICD10, LOINC, RXNORM, SNOMED, concept, condition, observation, patient, practitioner


def _codes(resource: dict, **more: object) -> set[str]:
    return {label.code for label in labels_for(resource, **more)}


def _drug(code: dict) -> dict:
    return {"resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order", "medicationCodeableConcept": code, "subject": {}}


@pytest.mark.parametrize(
    ("resource", "label"),
    [
        (condition(code=concept(SNOMED, "86406008")), "HIV"),
        (condition(code=concept(ICD10, "B24.x00", "人类免疫缺陷病毒病")), "HIV"),
        (condition(code=concept(ICD10, "Z21")), "HIV"),
        (observation(code=concept(LOINC, "56888-1")), "HIV"),
        (observation(code=concept("http://his.example/lab", "HIVAB", "抗HIV抗体测定")), "HIV"),
        (_drug(concept(RXNORM, "1999667", "bictegravir 50 MG / emtricitabine 200 MG / tenofovir alafenamide 25 MG Oral Tablet")), "HIV"),
        (_drug(concept("http://www.whocc.no/atc", "J05AR20")), "HIV"),
        (condition(code=concept(SNOMED, "370143000")), "PSY"),
        (condition(code=concept(ICD10, "F32.900", "抑郁发作")), "PSY"),
        (condition(code=concept("http://hl7.org/fhir/sid/icd-10-cm", "F33.1")), "PSY"),
        (condition(code=concept("urn:oid:2.16.156.10011.2.3.3.11", "F20.900")), "PSY"),
        (observation(code=concept(LOINC, "44261-6")), "PSY"),
        (condition(code={"text": "双相情感障碍"}), "PSY"),
        (_drug({"text": "盐酸舍曲林片 50mg"}), "PSY"),
        (condition(code=concept(SNOMED, "5602001")), "OPIOIDUD"),
        (condition(code=concept(SNOMED, "7200002")), "ETHUD"),
        (condition(code=concept(ICD10, "F10.200x001")), "ETHUD"),
        (condition(code=concept(ICD10, "F15.2")), "SUD"),
        (condition(code=concept(SNOMED, "72892002")), "SEX"),
        (condition(code=concept(ICD10, "O80.900", "单胎顺产")), "SEX"),
        (condition(code=concept(ICD10, "A53.900", "梅毒")), "STD"),
        (condition(code=concept(ICD10, "D56.100", "β地中海贫血")), "GDIS"),
        ({"resourceType": "MolecularSequence", "id": "x", "coordinateSystem": 0}, "GDIS"),
        (condition(code=concept(ICD10, "T74.1")), "VIO"),
        (condition(code=concept(SNOMED, "706893006")), "SDV"),
    ],
)
def test_what_is_sensitive_is_labelled_and_restricted(resource: dict, label: str):
    codes = _codes(resource)
    assert label in codes
    assert codes & {"R", "V"}
    assert "N" not in codes
    assert UNCLASSIFIED not in codes


@pytest.mark.parametrize(("narrow", "wide"), [("OPIOIDUD", "SUD"), ("ETHUD", "SUD"), ("STD", "SEX"), ("SDV", "VIO"), ("SCA", "GDIS")])
def test_a_narrow_label_brings_its_category(narrow: str, wide: str):
    given = {label.code for labels, _ in lists().rules.values() for label in labels if any(one.code == narrow for one in labels)}
    assert wide in given
    resource = observation(meta={"security": [{"system": labelling.ACT_CODE, "code": narrow}]})
    assert {narrow, wide, "R"} <= _codes(resource)


def test_sexual_assault_is_very_restricted():
    assert "V" in _codes(condition(code=concept(ICD10, "T74.2")))


@pytest.mark.parametrize(
    "resource",
    [
        observation(),
        observation(code=concept(LOINC, "85354-9", "Blood pressure panel with all children optional", "血压")),
        observation(code=concept(LOINC, "2947-0", "Sodium")),
        observation(code=concept(LOINC, "72166-2", "Tobacco smoking status NHIS")),
        observation(code=concept(LOINC, "10230-1", "ST segment depression")),
        condition(code=concept(SNOMED, "44054006", "Diabetes mellitus type 2")),
        condition(code=concept(ICD10, "F17.200", "烟草依赖")),
        condition(code=concept(ICD10, "G47.000", "失眠")),
        condition(code=concept(ICD10, "F03.x00", "痴呆")),
        condition(code=concept(ICD10, "T14.900", "损伤")),
        _drug(concept(RXNORM, "1049221", "Acetaminophen 325 MG / oxyCODONE Hydrochloride 5 MG Oral Tablet")),
        _drug({"text": "复方火麻仁丸（大麻仁）"}),
        {"resourceType": "CarePlan", "id": "x", "activity": [{"detail": {"code": concept(SNOMED, "226138001", "Alcohol-free diet")}}]},
        {"resourceType": "Device", "id": "x", "type": {"text": "Hearing aids"}},
        patient(),
        practitioner(qualification=[{"code": {"text": "Psychiatry, 精神科"}}]),
    ],
)
def test_ordinary_care_is_not_labelled(resource: dict):
    assert _codes(resource) == {"N"}


def test_a_note_does_not_make_a_blood_pressure_psychiatric():
    resource = observation(note=[{"text": "患者有抑郁症病史，服用舍曲林"}])
    assert _codes(resource) == {"N", "text:PSY"}
    assert set(denied(["PSY"], free_text=False)) == {"PSY", UNCLASSIFIED}
    assert "text:PSY" in denied(["PSY"], free_text=True)


def test_where_the_text_is_the_matter_it_counts():
    document = {"resourceType": "DocumentReference", "id": "d", "type": concept(LOINC, "18842-5", "Discharge summary"), "description": "HIV随访"}
    assert {"HIV", "R"} <= _codes(document)
    attached = {"contentType": "text/plain", "data": base64.b64encode("诊断：精神分裂症".encode()).decode()}
    assert "PSY" in _codes(document | {"description": "x", "content": [{"attachment": attached}]})
    assert "PSY" in _codes(
        {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed", "item": [{"linkId": "1", "text": "PHQ-9总分"}]}
    )


def _answers(**more):
    item = {"linkId": "1", "text": "Little interest or pleasure in doing things", "answer": [{"valueInteger": 2}]}
    return {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed", "item": [item]} | more


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({"questionnaire": "http://loinc.org/q/44249-1"}, "PSY"),
        ({"questionnaire": "http://loinc.org/vs/44249-1|2.70"}, "PSY"),
        ({"questionnaire": "https://forms.example/Questionnaire/PHQ-9"}, "PSY"),
        ({"questionnaire": "https://forms.example/Questionnaire/depression-phq9-zh|3"}, "PSY"),
        ({"questionnaire": "https://forms.example/Questionnaire/gad_7"}, "PSY"),
        ({"questionnaire": "https://forms.example/Questionnaire/AUDIT-C"}, "SUD"),
        ({"questionnaire": "https://forms.example/Questionnaire/audit"}, "SUD"),
        ({"item": [{"linkId": "/44249-1", "text": "Panel"}]}, "PSY"),
        ({"item": [{"linkId": "a", "text": "Panel", "item": [{"linkId": "44261-6", "text": "Sum"}]}]}, "PSY"),
        ({"item": [{"linkId": "1", "text": "Sum", "definition": "http://loinc.org/fhir/q#44261-6"}]}, "PSY"),
    ],
)
def test_a_questionnaire_is_known_by_its_name_alone(more, label):
    """Answers whose texts say nothing are sensitive where the form is."""
    assert {label, "R"} <= _codes(_answers(**more))


@pytest.mark.parametrize(
    "more",
    [
        {"questionnaire": "https://forms.example/Questionnaire/audit-trail"},
        {"questionnaire": "https://forms.example/Questionnaire/nursing-9"},
        {"questionnaire": "https://forms.example/Questionnaire/biographics"},
        {"questionnaire": "http://loinc.org/q/74728-7"},
        {"item": [{"linkId": "2026-11-23", "text": "Date"}]},
        {"item": [{"linkId": "8310-5", "text": "Temperature"}]},
    ],
)
def test_an_ordinary_questionnaire_is_not_labelled(more):
    assert _codes(_answers(**more)) == {"N"}


def test_the_narrative_is_not_searched_and_contained_resources_are():
    assert _codes(observation(text={"status": "generated", "div": "<div>HIV</div>"})) == {"N"}
    assert "HIV" in _codes(observation(contained=[condition(code=concept(SNOMED, "86406008"))]))


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Binary", "id": "b", "contentType": "application/pdf"},
        {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p1"}},
        condition(code=concept("http://his.example/local", "4711")),
        condition(code={"coding": [{"display": "  "}]}),
        _drug({"coding": [{"code": "4711"}]}),
        {"resourceType": "MedicationRequest", "id": "m", "medicationReference": {"reference": "Medication/unknown"}},
        {"resourceType": "QuestionnaireResponse", "id": "q", "status": "completed", "item": [{"linkId": "1"}]},
    ],
)
def test_what_nobody_can_judge_is_unclassified(resource: dict):
    codes = _codes(resource)
    assert UNCLASSIFIED in codes
    assert "N" not in codes


def test_a_prescription_has_the_labels_of_its_medication():
    prescription = {"resourceType": "MedicationRequest", "id": "m", "medicationReference": {"reference": "Medication/x"}}
    medication = {"resourceType": "Medication", "id": "x", "code": {"text": "多替拉韦钠片"}}
    assert labelling.names_medication(prescription) == "Medication/x"
    assert {"HIV", "R"} <= _codes(prescription, medication=labels_for(medication))
    plain = labels_for({"resourceType": "Medication", "id": "x", "code": {"text": "阿司匹林"}})
    assert _codes(prescription, medication=plain) == {"N"}
    contained = prescription | {"contained": [medication | {"id": "y"}], "medicationReference": {"reference": "#y"}}
    assert "HIV" in _codes(contained)
    assert labelling.names_medication(contained) is None


def test_labels_of_the_source_only_make_it_stricter():
    def labelled(*codes: str) -> set[str]:
        return _codes(observation(meta={"security": [{"system": labelling.CONFIDENTIALITY, "code": code} for code in codes]}))

    assert labelled("R") == {"R"}
    assert labelled("V", "R") == {"V"}
    assert labelled("L") == {"N"}
    assert "R" in _codes(condition(code=concept(SNOMED, "86406008"), meta={"security": [{"system": labelling.CONFIDENTIALITY, "code": "U"}]}))


def test_every_label_names_its_rule_and_version():
    for label in labels_for(condition(code=concept(ICD10, "F10.2"))):
        assert label.rule
        assert re.fullmatch(r"\d{4}\.\d{2}", label.version)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.text(max_size=8) | st.none() | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "system", "text", "coding", "x"]), inner, max_size=3),
    )
)
def test_exactly_one_level_whatever_the_content(content: object):
    codes = _codes(observation(component=content))
    assert len(codes & {"N", "R", "V"}) == 1


def test_the_code_lists_are_well_formed():
    act_codes = {code for labels, _ in lists().rules.values() for code, _, _ in labels}
    for file in (Path(labelling.__file__).parent / "codes").glob("*.json"):
        category = json.loads(file.read_text(encoding="utf-8"))
        assert category["title"]["zh"]
        assert category["title"]["en"]
        for rule in category["rules"]:
            assert {"codes", "icd10", "atc", "words", "types"} & rule.keys(), rule["id"]
            for prefix in rule.get("icd10", ()):
                assert re.fullmatch(r"[A-Z][0-9A-Z]*", prefix), prefix
            for code in rule.get("codes", {}).get(SNOMED, {}):
                assert _verhoeff(code), f"{code} is not a SNOMED CT identifier"
            for code in rule.get("codes", {}).get(LOINC, {}):
                assert _mod10(code), f"{code} is not a LOINC number"
    if (SHARED / "fhir").is_dir():
        known = (SHARED / "fhir" / "CodeSystem-v3-ActCode.json").read_text(encoding="utf-8")
        assert all(f'"{code}"' in known for code in act_codes)


def _verhoeff(digits: str) -> bool:
    """The check digit of SNOMED CT identifiers: a typing error in a list shows here."""
    table = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    dihedral = [
        [(a + b) % 5 if a < 5 and b < 5 else (a + b) % 5 + 5 if a < 5 else (a - b) % 5 + 5 if b < 5 else (a - b) % 5 for b in range(10)]
        for a in range(10)
    ]
    permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    while len(table) < 8:
        table.append([table[-1][permutation[i]] for i in range(10)])
    check = 0
    for position, digit in enumerate(reversed(digits)):
        check = dihedral[check][table[position % 8][int(digit)]]
    return check == 0


def _mod10(code: str) -> bool:
    """The check digit of LOINC numbers."""
    number, check = code.split("-")
    total = 0
    for position, digit in enumerate(reversed(number)):
        doubled = int(digit) * (2 if position % 2 == 0 else 1)
        total += doubled // 10 + doubled % 10
    return (10 - total % 10) % 10 == int(check)


@pytest.mark.synthea
@pytest.mark.skipif(not SYNTHEA.is_dir(), reason="the Synthea patients are not beside this checkout")
def test_few_of_the_synthea_resources_are_sensitive_and_none_unclassified():
    labelled: dict[str, int] = {}
    for file in SYNTHEA.glob("*.json"):
        for one in read_json(file.read_bytes(), max_bytes=10**8)["entry"]:
            for code in _codes(one["resource"]):
                labelled[code] = labelled.get(code, 0) + 1
    assert UNCLASSIFIED not in labelled
    assert labelled["N"] > 3450
    assert labelled["HIV"] == 3  # "HIV status" of one patient
    assert "PSY" not in labelled
    assert "SUD" not in labelled
