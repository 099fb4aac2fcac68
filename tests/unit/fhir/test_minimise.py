"""Each rule of minimisation on a small resource: what stays, what goes, what stands in, and what withholds the whole (RS-5.2.3)."""

import json
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.fhir import fastpath
from broker.fhir.minimise import Minimiser, Withheld, compiled
from broker.fhir.plan import PlanInvalid, ReleasePlan
from broker.fhir.withheld import REASONS

NORMAL = b'[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}]'
MASKED = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
UNKNOWN = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
CODE = {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]}


def plan(resource_type, *elements, **more):
    return ReleasePlan.from_json({"types": {resource_type: {"elements": list(elements), **more}}, "labels": {"deny": [], "ceiling": "N"}})


def reduce_bytes(given_plan, body, pseudonym=None):
    resource_type = next(iter(given_plan.types))
    return compiled(given_plan).reduce(resource_type, body, security=NORMAL, version=3, last_updated="2026-01-01T00:00:00Z", pseudonym=pseudonym)


def reduce(given_plan, resource, pseudonym=None):
    """The reduced resource without ``resourceType``, ``id`` and ``meta``; None where nothing matches."""
    resource = {"resourceType": next(iter(given_plan.types)), "id": "a1", **resource}
    out = reduce_bytes(given_plan, json.dumps(resource, ensure_ascii=False).encode(), pseudonym)
    if out is None:
        return None
    read = json.loads(out)
    assert list(read)[:3] == ["resourceType", "meta", "id"]
    return {name: value for name, value in read.items() if name not in ("resourceType", "id", "meta")}


def withheld(given_plan, resource, **more):
    body = resource if isinstance(resource, bytes) else json.dumps({"resourceType": next(iter(given_plan.types)), "id": "a1", **resource}).encode()
    with pytest.raises(Withheld) as caught:
        reduce_bytes(given_plan, body, **more)
    assert caught.value.reason_code in REASONS
    return caught.value.reason_code, caught.value.path


def problems(given_plan):
    with pytest.raises(PlanInvalid) as caught:
        compiled(given_plan)
    return {problem.code for problem in caught.value.problems}


OBSERVATION = {"status": "final", "code": CODE}


# What is always there


def test_type_id_and_a_new_meta_are_always_there():
    body = (
        b'{"resourceType":"Basic","id":"a1","meta":{"source":"x","profile":["y"],"security":[{"code":"Z"}],"tag":[{"code":"t"}]},"code":{"text":"x"}}'
    )
    assert reduce_bytes(plan("Basic"), body) == (
        b'{"resourceType":"Basic","meta":{"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z","security":' + NORMAL + b","
        b'"tag":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}]},"id":"a1",'
        b'"code":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}}'
    )


def test_naming_what_is_always_there_changes_nothing():
    body = b'{"resourceType":"Patient","id":"a1","gender":"male"}'
    assert reduce_bytes(plan("Patient", "id", "meta", "resourceType"), body) == reduce_bytes(plan("Patient"), body)


def test_what_is_not_named_stays_behind():
    patient = {"gender": "female", "birthDate": "1980-01-02", "name": [{"text": "张三"}], "telecom": [{"value": "1"}], "unheard": {"of": 1}}
    assert reduce(plan("Patient", "gender"), patient) == {"gender": "female"}


def test_an_unlabelled_resource_is_withheld():
    with pytest.raises(Withheld) as caught:
        compiled(plan("Patient")).reduce("Patient", b'{"resourceType":"Patient","id":"a"}', security=b"[]", version=1, last_updated="x")
    assert caught.value.reason_code == "unlabelled"


def test_a_type_outside_the_plan_is_withheld():
    with pytest.raises(Withheld) as caught:
        compiled(plan("Patient")).reduce("Device", b"{}", security=NORMAL, version=1, last_updated="x")
    assert caught.value.reason_code == "type-not-in-plan"


# Numbers and texts


@pytest.mark.parametrize("digits", ["13.20", "0.10", "1.0E+2", "-0", "100.00", "0.123456789012345678901", "1e-7", "9007199254740993"])
@pytest.mark.parametrize("transforms", [[], [{"path": "effective", "do": "year"}]], ids=["fast", "slow"])
def test_numbers_keep_their_digits(digits, transforms):
    body = b'{"resourceType":"Observation","id":"a","status":"final","code":{"coding":[{"code":"x"}]},"valueQuantity":{"value": %s ,"unit":"g"}}'
    out = reduce_bytes(plan("Observation", "status", "code", "effective", "value", transforms=transforms), body % digits.encode())
    assert b'"valueQuantity":{"value":%s,"unit":"g"}' % digits.encode() in out


@pytest.mark.parametrize("transforms", [[], [{"path": "birthDate", "do": "year"}]], ids=["fast", "slow"])
def test_texts_stay_as_they_are(transforms):
    body = '{"resourceType":"Patient","id":"a","name":[{"text":"张三丰 \\"{}\\" [] \\\\ \\u5f20\\/\\n😀"}]}'.encode()
    read = json.loads(reduce_bytes(plan("Patient", "name", "birthDate", transforms=transforms), body))
    assert read["name"] == [{"text": '张三丰 "{}" [] \\ 张/\n😀'}]


@given(st.text().filter(bool), st.text().filter(bool))
def test_no_text_can_break_out_of_its_quotes(one, two):
    """Texts that look like what the fast path searches for, ``":{}`` or ``"reference":"#``, stay texts."""
    for text in ('":{}', 'x":{}', '"x":[{}]', '"reference":"#a"', '"reference":"#a",', "{}", "[]", "?", "\\"):
        name = {"text": one, "family": text + two, "given": [text, two + text]}
        assert reduce(plan("Patient", "name"), {"name": [name]}) == {"name": [name]}


# What naming an element keeps


def test_a_coded_concept_keeps_its_codings_and_loses_its_text():
    concept = {
        "id": "x",
        "extension": [{"url": "u", "valueString": "x"}],
        "coding": [{"id": "y", "system": "s", "version": "1", "code": "c", "display": "d", "userSelected": True, "extension": [{"url": "u"}]}],
        "text": "written by hand",
    }
    kept = {"coding": [{"system": "s", "version": "1", "code": "c", "display": "d", "userSelected": True}]}
    assert reduce(plan("Observation", "status", "code"), {**OBSERVATION, "code": concept})["code"] == kept
    assert reduce(plan("Observation", "status", "code", "code.text"), {**OBSERVATION, "code": concept})["code"] == {**kept, "text": "written by hand"}
    assert reduce(plan("Observation", "status", "code.coding.code"), {**OBSERVATION, "code": concept})["code"] == {"coding": [{"code": "c"}]}


def test_a_reference_keeps_reference_and_type():
    subject = {"reference": "Patient/1", "type": "Patient", "display": "张三", "identifier": {"system": "mrn", "value": "1"}}
    assert reduce(plan("Observation", "status", "code", "subject"), {**OBSERVATION, "subject": subject})["subject"] == {
        "reference": "Patient/1",
        "type": "Patient",
    }
    named = plan("Observation", "status", "code", "subject", "subject.display", "subject.identifier")
    assert reduce(named, {**OBSERVATION, "subject": subject})["subject"] == subject


@pytest.mark.parametrize("reference", ["#p", "#", "#a#b", '#a"b', "#a\\", "Patient?identifier=mrn|1", "http://x/Patient?name=a"])
def test_references_into_contained_resources_or_with_a_query_go(reference):
    kept = plan("Observation", "status", "code", "subject")
    assert reduce(kept, {**OBSERVATION, "subject": {"reference": reference, "type": "Patient"}})["subject"] == {"type": "Patient"}
    assert reduce(kept, {**OBSERVATION, "subject": {"reference": reference, "display": "x"}})["subject"] == MASKED


def test_a_uri_called_reference_is_no_reference():
    immunization = {"status": "completed", "education": [{"reference": "#x", "documentType": "d"}]}
    out = reduce(plan("Immunization", "status", "education"), immunization)
    assert out["education"] == [{"reference": "#x"}]


def test_free_text_inside_a_named_element_goes_unless_it_is_named():
    component = {"code": CODE, "valueString": "wrote this", "referenceRange": [{"text": "as always", "low": {"value": 1}}]}
    kept = {"code": CODE, "referenceRange": [{"low": {"value": 1}}]}
    assert reduce(plan("Observation", "status", "code", "component"), {**OBSERVATION, "component": [component]})["component"] == [kept]
    named = plan("Observation", "status", "code", "component", "component.valueString", "component.referenceRange.text")
    assert reduce(named, {**OBSERVATION, "component": [component]})["component"] == [component]


def test_markdown_is_free_text_too():
    activity = {"status": "active", "relatedArtifact": [{"type": "citation", "citation": "words", "label": "words"}]}
    assert reduce(plan("ActivityDefinition", "status", "relatedArtifact"), activity)["relatedArtifact"] == [{"type": "citation"}]


def test_a_text_value_must_be_named_itself():
    assert "valueString" not in reduce(plan("Observation", "status", "code", "value"), {**OBSERVATION, "valueString": "x"})
    assert reduce(plan("Observation", "status", "code", "valueString"), {**OBSERVATION, "valueString": "x"})["valueString"] == "x"
    assert reduce(plan("DiagnosticReport", "status", "code", "conclusion"), {**OBSERVATION, "conclusion": "x"})["conclusion"] == "x"


def test_a_choice_is_named_by_its_base_name_or_by_its_json_name():
    quantity = {**OBSERVATION, "valueQuantity": {"value": 1, "comparator": "<"}}
    assert reduce(plan("Observation", "status", "code", "value"), quantity)["valueQuantity"] == {"value": 1, "comparator": "<"}
    assert reduce(plan("Observation", "status", "code", "valueQuantity"), quantity)["valueQuantity"] == {"value": 1, "comparator": "<"}
    assert reduce(plan("Observation", "status", "code", "valueQuantity.value"), quantity)["valueQuantity"] == {"value": 1}
    assert reduce(plan("Observation", "status", "code", "value.comparator"), quantity)["valueQuantity"] == {"comparator": "<"}
    assert "valueQuantity" not in reduce(plan("Observation", "status", "code", "valueCodeableConcept"), quantity)


def test_identifiers_annotations_and_attachments():
    report = {
        "status": "final",
        "code": CODE,
        "presentedForm": [{"contentType": "application/pdf", "data": "QUJD", "url": "http://x", "title": "t", "hash": "QUJD", "size": 3}],
        "identifier": [{"system": "s", "value": "v", "assigner": {"display": "x", "reference": "Organization/1"}}],
    }
    base = ("status", "code")
    assert reduce(plan("DiagnosticReport", *base, "presentedForm"), report)["presentedForm"] == [{"contentType": "application/pdf", "size": 3}]
    named = ("presentedForm.data", "presentedForm.url", "presentedForm.title")
    assert reduce(plan("DiagnosticReport", *base, *named), report)["presentedForm"] == [{"data": "QUJD", "url": "http://x", "title": "t"}]
    kept = [{"system": "s", "value": "v", "assigner": {"reference": "Organization/1"}}]
    assert reduce(plan("DiagnosticReport", *base, "identifier"), report)["identifier"] == kept
    claim = {"related": [{"relationship": CODE, "reference": {"system": "s", "value": "v"}}]}
    assert reduce(plan("Claim", "related"), claim)["related"] == [{"relationship": CODE}]
    note = {"note": [{"authorString": "Dr X", "time": "2025-01-01", "text": "words"}]}
    assert reduce(plan("Observation", *base, "note"), {**OBSERVATION, **note})["note"] == [{"time": "2025-01-01", "text": "words"}]
    assert reduce(plan("Observation", *base, "note.time"), {**OBSERVATION, **note})["note"] == [{"time": "2025-01-01", "_text": MASKED}]


def test_dosage_loses_its_texts():
    dosage = {"sequence": 1, "text": "t", "patientInstruction": "p", "additionalInstruction": [{"text": "x"}], "timing": {"repeat": {"frequency": 2}}}
    request = {"status": "active", "intent": "order", "medicationCodeableConcept": CODE, "subject": {"reference": "Patient/1"}}
    kept = plan("MedicationRequest", "status", "intent", "medication", "subject", "dosageInstruction")
    out = reduce(kept, {**request, "dosageInstruction": [dosage]})
    assert out["dosageInstruction"] == [{"sequence": 1, "additionalInstruction": [MASKED], "timing": {"repeat": {"frequency": 2}}}]


def test_siblings_and_their_extensions_go():
    patient = {"birthDate": "1980", "_birthDate": {"id": "x", "extension": [{"url": "u"}]}, "_gender": {"extension": [{"url": "u"}]}}
    assert reduce(plan("Patient", "birthDate", "gender"), patient) == {"birthDate": "1980"}
    names = {"name": [{"given": ["三", None], "_given": [None, {"extension": [{"url": "u", "valueString": "x"}]}]}]}
    assert reduce(plan("Patient", "name"), names) == {"name": [{"given": ["三"]}]}
    assert reduce(plan("Patient", "name"), {"name": [{"given": [None]}]}) == {"name": [MASKED]}


def test_an_element_defined_by_itself_keeps_all_its_levels():
    answers = {
        "status": "completed",
        "item": [{"linkId": "1", "text": "question", "item": [{"linkId": "2", "answer": [{"valueInteger": 5, "item": [{"linkId": "3"}]}]}]}],
    }
    out = reduce(plan("QuestionnaireResponse", "status", "item"), answers)
    inner = {"answer": [{"valueInteger": 5, "item": [{"_linkId": MASKED}]}], "_linkId": MASKED}
    assert out["item"] == [{"item": [inner], "_linkId": MASKED}]
    assert reduce(plan("QuestionnaireResponse", "status", "item.linkId"), answers)["item"] == [{"linkId": "1"}]


# What stands in for a mandatory element


def test_a_mandatory_element_that_is_cut_is_masked():
    assert reduce(plan("Observation"), OBSERVATION) == {"_status": MASKED, "code": MASKED}
    coverage = {"insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/1"}}]}
    out = reduce(plan("Claim"), coverage)
    assert out["insurance"] == [{**MASKED, "_sequence": MASKED, "_focal": MASKED, "coverage": MASKED}]
    assert reduce(plan("MedicationRequest"), {})["medicationCodeableConcept"] == MASKED
    assert reduce(plan("Immunization"), {"occurrenceString": "once"})["_occurrenceDateTime"] == MASKED
    component = {**OBSERVATION, "component": [{"code": CODE, "valueInteger": 1}]}
    assert reduce(plan("Observation", "status", "code", "component.value"), component)["component"] == [{"valueInteger": 1, "code": MASKED}]


def test_what_a_source_writes_where_a_stand_in_belongs_is_overwritten():
    sly = {
        "_status": {"extension": [{"url": "u", "valueString": "x"}]},
        "code": {"text": "x"},
        "component": [{"code": {"text": "x"}, "valueInteger": 1}],
    }
    out = reduce(plan("Observation", "component.value"), sly)
    assert out == {"component": [{"valueInteger": 1, "code": MASKED}], "_status": MASKED, "code": MASKED}


def test_a_mandatory_choice_of_which_the_plan_keeps_another_type():
    request = {"status": "active", "intent": "order", "subject": {"reference": "Patient/1"}, "medicationCodeableConcept": CODE}
    out = reduce(plan("MedicationRequest", "status", "intent", "subject", "medicationReference"), request)
    assert out["medicationCodeableConcept"] == MASKED
    assert reduce(plan("Immunization", "occurrence"), {"occurrenceString": "once"})["_occurrenceDateTime"] == MASKED
    both = plan("MedicationRequest", "status", "intent", "subject", "medication")
    assert reduce(both, {name: value for name, value in request.items() if "medication" not in name})["medicationCodeableConcept"] == UNKNOWN


def test_a_mandatory_element_that_the_source_lacks_is_unknown():
    assert reduce(plan("Observation", "status", "code"), {"_status": {"extension": [{"url": "u"}]}}) == {"_status": UNKNOWN, "code": UNKNOWN}
    assert reduce(plan("Claim", "insurance"), {})["insurance"][0]["extension"] == UNKNOWN["extension"]


def test_an_object_of_which_nothing_stays_is_masked():
    observation = {**OBSERVATION, "subject": {"display": "张三"}, "performer": [{"display": "a"}], "category": [{"text": "a"}, {"text": "b"}, CODE]}
    out = reduce(plan("Observation", "status", "code", "subject", "performer", "category"), observation)
    assert (out["subject"], out["performer"], out["category"]) == (MASKED, [MASKED], [MASKED, MASKED, CODE])
    assert "category" not in reduce(plan("Observation", "status", "code", "category"), {**OBSERVATION, "category": []})


# What withholds


def test_an_unknown_modifier_extension_withholds_where_something_is_kept():
    extension = {"modifierExtension": [{"url": "http://x/negated", "valueBoolean": True}]}
    kept = plan("Observation", "status", "code", "component", "value", "referenceRange.low")
    assert withheld(kept, {**OBSERVATION, **extension}) == ("modifier-extension", "Observation.modifierExtension")
    assert withheld(kept, {**OBSERVATION, "component": [{"code": CODE, **extension}]})[0] == "modifier-extension"
    assert withheld(kept, {**OBSERVATION, "valueTiming": 1, "valueQuantity": {"value": 1, **extension}})[0] == "modifier-extension"
    assert withheld(kept, {**OBSERVATION, "referenceRange": [{"low": {"value": 1}, **extension}]})[0] == "modifier-extension"
    assert withheld(kept, {**OBSERVATION, "modifierExtension": None})[0] == "modifier-extension"
    assert withheld(kept, {**OBSERVATION, "modifierExtension": []})[0] == "modifier-extension"
    assert reduce(plan("Observation", "status", "code"), {**OBSERVATION, "component": [{"code": CODE, **extension}]}) == OBSERVATION


def test_implicit_rules_withhold():
    assert withheld(plan("Patient"), {"implicitRules": "http://x"}) == ("implicit-rules", "Patient.implicitRules")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"status": {"text": "smuggled"}}, "Observation.status"),
        ({"status": ["final"]}, "Observation.status"),
        ({"status": None}, "Observation.status"),
        ({"status": 1}, "Observation.status"),
        ({"status": True}, "Observation.status"),
        ({"code": "text"}, "Observation.code"),
        ({"code": [CODE]}, "Observation.code"),
        ({"code": {"coding": CODE}}, "Observation.code.coding"),
        ({"code": {"coding": [None]}}, "Observation.code.coding"),
        ({"code": {"coding": [[]]}}, "Observation.code.coding"),
        ({"code": {"coding": [{"userSelected": "yes"}]}}, "Observation.code.coding.userSelected"),
        ({"code": {"coding": [{"display": {"a": 1}}]}}, "Observation.code.coding.display"),
        ({"valueQuantity": {"value": "13"}}, "Observation.value.value"),
        ({"valueQuantity": {"value": {"text": "x"}}}, "Observation.value.value"),
        ({"valueQuantity": {"value": [1]}}, "Observation.value.value"),
        ({"valueQuantity": {"value": True}}, "Observation.value.value"),
        ({"valueQuantity": {"value": None}}, "Observation.value.value"),
        ({"valueInteger": "1"}, "Observation.value"),
        ({"valueBoolean": "true"}, "Observation.value"),
        ({"valueBoolean": 1}, "Observation.value"),
        ({"component": {"code": CODE}}, "Observation.component"),
        ({"component": [1]}, "Observation.component"),
        ({"category": "x"}, "Observation.category"),
    ],
)
@pytest.mark.parametrize("transforms", [[], [{"path": "effective", "do": "year"}]], ids=["fast", "slow"])
def test_another_json_type_withholds(change, path, transforms):
    kept = plan("Observation", "status", "code", "value", "category", "component", "effective", transforms=transforms)
    assert withheld(kept, {**OBSERVATION, **change}) == ("wrong-shape", path)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"resourceType":"Patient","id":"a","gender":"\xff"}', "unreadable"),
        (b'{"resourceType":"Patient","id":"a","dropped":"\xff"}', "unreadable"),
        (b'{"resourceType":"Patient","id":"a","dropped":"\xed\xa0\x80"}', "unreadable"),
        (b'{"resourceType":"Patient","id":"a","gender":"\\ud800"}', "unreadable"),
        (b'{"resourceType":"Patient","id":"a","gender":NaN}', "unreadable"),
        (b'{"resourceType":"Patient","id":"a"', "unreadable"),
        (b'{"resourceType":"Patient","id":"a"} {}', "unreadable"),
        (b'{"resourceType":"Patient","id":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "unreadable"),
        (b"[]", "unreadable"),
        (b"null", "unreadable"),
        (b"", "unreadable"),
        (b'{"resourceType":"Person","id":"a"}', "wrong-type"),
        (b'{"id":"a"}', "wrong-type"),
        (b'{"resourceType":["Patient"],"id":"a"}', "wrong-type"),
        (b'{"resourceType":"Patient"}', "no-id"),
        (b'{"resourceType":"Patient","id":""}', "no-id"),
        (b'{"resourceType":"Patient","id":"a b"}', "no-id"),
        (b'{"resourceType":"Patient","id":"a\\n"}', "no-id"),
        ('{"resourceType":"Patient","id":"张三"}'.encode(), "no-id"),
        (b'{"resourceType":"Patient","id":1}', "no-id"),
        (b'{"resourceType":"Patient","id":"' + b"a" * 65 + b'"}', "no-id"),
    ],
)
@pytest.mark.parametrize("transforms", [[], [{"path": "birthDate", "do": "year"}]], ids=["fast", "slow"])
def test_what_is_no_such_resource_is_withheld(body, reason, transforms):
    assert withheld(plan("Patient", "gender", "birthDate", transforms=transforms), body)[0] == reason


def test_the_last_of_two_equal_keys_counts_on_both_paths():
    body = b'{"resourceType":"Patient","id":"a","gender":"male","gender":"female","modifierExtension":[{}],"modifierExtension":1}'
    assert withheld(plan("Patient", "gender"), body)[0] == "modifier-extension"
    body = b'{"resourceType":"Patient","id":"a","gender":"male","g\\u0065nder":"female"}'
    for transforms in ([], [{"path": "birthDate", "do": "year"}]):
        assert json.loads(reduce_bytes(plan("Patient", "gender", "birthDate", transforms=transforms), body))["gender"] == "female"


def test_a_reason_holds_no_value():
    """A log line must not carry what was withheld (D20): neither message, nor chained exception, nor traceback."""
    kept = plan("Patient", "gender", "birthDate", transforms=[{"path": "birthDate", "do": "year"}])
    for body in (
        b'{"resourceType":"Patient","id":"SECRET secret"}',
        b'{"resourceType":"Patient","id":"a","gender":["SECRET"]}',
        b'{"resourceType":"Patient","id":"a","birthDate":"SECRET"}',
        b'{"resourceType":"Patient","id":"a","gender":"SECRET\\ud800"}',
        b'{"resourceType":"Patient","id":"a","gender":"SECRET\xff"}',
        b'{"resourceType":"SECRET","id":"a"}',
    ):
        with pytest.raises(Withheld) as caught:
            reduce_bytes(kept, body)
        assert "SECRET" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None


# Filters


def coded(*tokens):
    return plan("Observation", "status", "code", codes=list(tokens))


def test_codes_choose():
    observation = {"status": "final", "code": {"coding": [{"system": "s", "code": "a"}, {"code": "b"}, {"system": "t"}]}}
    for token in ("s|a", "a", "s|", "|b", "b", "t|"):
        assert reduce(coded("x|y", token), observation) is not None, token
    for token in ("s|b", "|a", "x|a", "c", "u|"):
        assert reduce(coded(token), observation) is None, token
    assert reduce(coded("s|a"), {"status": "final"}) is None
    assert reduce(coded("s|a"), {"status": "final", "code": {"text": "a"}}) is None


def test_codes_are_looked_up_where_the_type_has_them():
    immunization = {"status": "completed", "vaccineCode": {"coding": [{"system": "cvx", "code": "08"}]}}
    assert reduce(plan("Immunization", "status", codes=["cvx|08"]), immunization) is not None
    request = {"medicationCodeableConcept": {"coding": [{"system": "rx", "code": "1"}]}}
    assert reduce(plan("MedicationRequest", codes=["rx|1"]), request) is not None
    assert reduce(plan("MedicationRequest", codes=["rx|1"]), {"medicationReference": {"reference": "Medication/1"}}) is None
    encounter = {"status": "finished", "class": {"code": "AMB"}, "type": [{"coding": [{"code": "x"}]}, {"coding": [{"code": "y"}]}]}
    assert reduce(plan("Encounter", "status", codes=["y"]), encounter) is not None


def test_categories_choose_and_both_must_match():
    observation = {**OBSERVATION, "category": [{"coding": [{"system": "c", "code": "laboratory"}]}]}
    assert reduce(plan("Observation", categories=["c|laboratory"]), observation) is not None
    assert reduce(plan("Observation", categories=["c|vital-signs"]), observation) is None
    assert reduce(plan("Observation", categories=["c|laboratory"], codes=["http://loinc.org|2339-0"]), observation) is not None
    assert reduce(plan("Observation", categories=["c|laboratory"], codes=["http://loinc.org|1"]), observation) is None
    allergy = {"patient": {"reference": "Patient/1"}, "category": ["food", "medication"]}
    assert reduce(plan("AllergyIntolerance", categories=["medication"]), allergy) is not None
    assert reduce(plan("AllergyIntolerance", categories=["biologic"]), allergy) is None


def test_a_code_that_cannot_be_read_withholds():
    assert withheld(coded("s|a"), {"status": "final", "code": "s|a"})[0] == "wrong-shape"
    assert withheld(coded("s|a"), b"{")[0] == "wrong-shape"


def test_filters_need_an_element_to_look_at():
    assert problems(plan("Patient", codes=["a"])) == {"not-applicable"}
    assert problems(plan("Patient", categories=["a"])) == {"not-applicable"}


# Plans that can't be compiled


def test_every_name_that_fhir_does_not_know_is_told_at_once():
    form = {
        "types": {
            "Observation": {"elements": ["valeu", "component.cod", "status.x", "value.x", "code.coding.code.y", "subject.reference"]},
            "Obsevation": {"elements": []},
            "Patient": {
                "elements": ["text", "contained", "extension", "modifierExtension", "implicitRules", "name.id", "text.div", "contact.extension"]
            },
            "Consent": {"elements": ["status"]},
            "Device": {
                "elements": [],
                "transforms": [{"path": "foo", "do": "year"}, {"path": "status", "do": "encrypt"}],
                "codes": ["a"],
                "categories": ["b"],
            },
        },
        "labels": {"deny": [], "ceiling": "N"},
    }
    with pytest.raises(PlanInvalid) as caught:
        Minimiser(ReleasePlan.from_json(form))
    found = [(problem.path, problem.code) for problem in caught.value.problems]
    prefix = "types.Observation.elements: Observation."
    assert {path.removeprefix(prefix) for path, _ in found if path.startswith(prefix)} == {
        "valeu",
        "component.cod",
        "status.x",
        "value.x",
        "code.coding.code.y",
    }
    assert ("types.Obsevation", "unknown-type") in found
    # ``text`` and ``text.div`` are one problem.
    assert sum(code == "never-released" for path, code in found if "Patient" in path) == 7
    assert ("types.Consent", "never-released") in found
    assert [(path, code) for path, code in found if "Device" in path] == [
        ("types.Device.transforms[0]", "unknown-element"),
        ("types.Device.transforms[1]", "unknown-transform"),
        ("types.Device.categories", "not-applicable"),
    ]


# Transforms


def changed(resource_type, element, do, value, path=None, **options):
    name = element.split(".")[0]
    given_plan = plan(resource_type, element, transforms=[{"path": path or element, "do": do, "options": options}])
    return reduce(given_plan, {name: value}).get(name)


@pytest.mark.parametrize(
    ("do", "given_date", "expected"),
    [
        ("year", "2024-05-17", "2024"),
        ("month", "2024-05-17", "2024-05"),
        ("year", "2024", "2024"),
        ("month", "2024", "2024"),
        ("month", "2024-05", "2024-05"),
    ],
)
def test_dates_are_generalised(do, given_date, expected):
    assert changed("Patient", "birthDate", do, given_date) == expected


def test_times_and_periods_are_generalised_and_instants_masked():
    transforms = [{"path": "effective", "do": "month"}, {"path": "issued", "do": "year"}]
    kept = plan("Observation", "status", "code", "effective", "issued", transforms=transforms)
    moment = "2024-05-17T10:00:00+08:00"
    assert reduce(kept, {**OBSERVATION, "effectiveDateTime": moment, "issued": moment}) == {
        **OBSERVATION,
        "effectiveDateTime": "2024-05",
        "_issued": MASKED,
    }
    assert reduce(kept, {**OBSERVATION, "effectivePeriod": {"start": moment, "end": moment}})["effectivePeriod"] == {
        "start": "2024-05",
        "end": "2024-05",
    }
    timing = {"event": [moment, "2023"], "repeat": {"boundsPeriod": {"start": moment}, "frequency": 1}}
    assert reduce(kept, {**OBSERVATION, "effectiveTiming": timing})["effectiveTiming"] == {
        "event": ["2024-05", "2023"],
        "repeat": {"boundsPeriod": {"start": "2024-05"}, "frequency": 1},
    }


def test_where_two_overlap_the_coarser_date_holds():
    for order in (["month", "year"], ["year", "month"]):
        transforms = [{"path": path, "do": do} for path, do in zip(["effective", "effectivePeriod.start"], order, strict=True)]
        kept = plan("Observation", "status", "code", "effective", transforms=transforms)
        out = reduce(kept, {**OBSERVATION, "effectivePeriod": {"start": "2024-05-17", "end": "2024-05-18"}})["effectivePeriod"]
        assert out["start"] == "2024"
        assert out["end"] == ("2024-05" if order[0] == "month" else "2024")


def test_dates_of_an_element_defined_by_itself_are_generalised_on_every_level():
    kept = plan("QuestionnaireResponse", "status", "item", transforms=[{"path": "item", "do": "year"}])
    item = {"linkId": "1", "answer": [{"valueDate": "2024-05-17"}], "item": [{"linkId": "2", "answer": [{"valueDateTime": "2023-01-01"}]}]}
    text = json.dumps(reduce(kept, {"status": "completed", "item": [item]}))
    assert '"valueDate": "2024"' in text
    assert '"valueDateTime": "2023"' in text


def test_a_date_that_cannot_be_read_withholds():
    kept = plan("Patient", "birthDate", transforms=[{"path": "birthDate", "do": "year"}])
    for text in ("17.5.2024", "２０２４-05-17", "2024-05-17 10:00", "1980年", "198", ""):
        assert withheld(kept, {"birthDate": text}) == ("bad-date", "Patient.birthDate")


def test_names_and_numbers_are_masked():
    assert changed("Patient", "name", "mask", [{"use": "official", "text": "张三丰", "family": "张", "given": ["三", "丰"], "prefix": ["Dr"]}]) == [
        {"use": "official", "text": "张**", "family": "张**", "given": ["**", "**"]}
    ]
    assert changed("Patient", "name", "mask", [{"prefix": ["Dr"]}]) == [MASKED]
    phones = ["13812341234", "+86 138 1234 1234", "86-138-1234-1234", "010-62345678", "a@example.cn", "138123412345", ""]
    masked = ["138****1234", "138****1234", "138****1234", "****", "****", "****", "****"]
    out = changed("Patient", "telecom", "mask", [{"system": "phone", "value": phone} for phone in phones])
    assert out == [{"system": "phone", "value": value} for value in masked]
    assert changed("Patient", "telecom", "mask", [{"system": "phone"}]) == [{"system": "phone"}]
    assert changed("Organization", "name", "mask", "仁和医院") == "仁**"
    assert changed("Patient", "identifier.value", "mask", [{"value": "110101199001011234"}, {"value": "13812341234"}]) == [
        {"value": "1**"},
        {"value": "138****1234"},
    ]
    assert changed("Patient", "name", "mask", [{"text": "张三丰", "family": "张"}], path="name.text") == [{"text": "张**", "family": "张"}]


def test_keep_first_and_remove():
    names = [{"text": "a"}, {"text": "b"}, {"text": "c"}]
    assert changed("Patient", "name", "keep_first", names) == names[:1]
    assert changed("Patient", "name", "keep_first", names, count=2) == names[:2]
    assert changed("Patient", "name", "remove", names) is None
    assert changed("Patient", "name", "remove", [{"text": "a", "family": "b"}], path="name.text") == [{"family": "b"}]
    assert reduce(plan("Observation", "status", "code", transforms=[{"path": "code", "do": "remove"}]), OBSERVATION) == {
        "status": "final",
        "code": MASKED,
    }


def test_removing_alone_stays_on_the_fast_path(monkeypatch):
    monkeypatch.setattr("broker.fhir.minimise.reduced", None)
    assert changed("Patient", "name", "remove", [{"text": "a", "family": "b"}], path="name.text") == [{"family": "b"}]


def test_a_transform_of_what_the_plan_does_not_keep_changes_nothing():
    assert reduce(plan("Patient", "gender", transforms=[{"path": "birthDate", "do": "year"}]), {"gender": "male", "birthDate": "1980-01-01"}) == {
        "gender": "male"
    }
    deep = plan("Patient", "gender", transforms=[{"path": "contact.period", "do": "year"}, {"path": "contact", "do": "remove"}])
    assert reduce(deep, {"gender": "male", "contact": [{"period": {"start": "2024"}}]}) == {"gender": "male"}


@pytest.mark.parametrize(
    "transform",
    [
        {"path": "gender", "do": "year"},
        {"path": "name", "do": "pseudonym"},
        {"path": "birthDate", "do": "mask"},
        {"path": "address", "do": "mask"},
        {"path": "birthDate", "do": "keep_first"},
        {"path": "name", "do": "keep_first", "options": {"count": 0}},
        {"path": "name", "do": "keep_first", "options": {"count": True}},
        {"path": "name", "do": "keep_first", "options": {"size": 1}},
        {"path": "name", "do": "mask", "options": {"count": 1}},
        {"path": "id", "do": "remove"},
        {"path": "deceased.x", "do": "year"},
        {"path": "managingOrganization", "do": "year"},
        {"path": "deceasedBoolean", "do": "year"},
        {"path": "name", "do": "shuffle"},
    ],
)
def test_a_transform_that_does_not_apply_is_refused(transform):
    assert problems(plan("Patient", "name", transforms=[transform])) <= {
        "not-applicable",
        "bad-option",
        "unknown-option",
        "unknown-element",
        "unknown-transform",
    }


# Pseudonyms


def other(kind, own):
    return f"{kind[:3]}-{own}-x"


def test_pseudonyms_hold_for_ids_and_references_of_every_type():
    form = {
        "types": {
            "Observation": {"elements": ["status", "code", "subject", "performer"], "transforms": [{"path": "subject", "do": "pseudonym"}]},
            "Patient": {"elements": ["managingOrganization"]},
        },
        "labels": {"deny": [], "ceiling": "N"},
    }
    minimiser = compiled(ReleasePlan.from_json(form))
    assert minimiser.pseudonymous

    def reduced(resource):
        out = minimiser.reduce(
            resource["resourceType"], json.dumps(resource).encode(), security=NORMAL, version=1, last_updated="2026-01-01T00:00:00Z", pseudonym=other
        )
        return json.loads(out)

    performers = [{"reference": each} for each in ("Practitioner/d/_history/2", "http://x/Practitioner/d", "urn:uuid:d", "#d")]
    observation = reduced(
        {"resourceType": "Observation", "id": "o", **OBSERVATION, "subject": {"reference": "Patient/p", "type": "Patient"}, "performer": performers}
    )
    patient = reduced({"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "Organization/q"}})
    assert observation["id"] == "Obs-o-x"
    assert observation["subject"] == {"reference": "Patient/Pat-p-x", "type": "Patient"}
    assert observation["performer"] == [{"reference": "Practitioner/Pra-d-x"}, MASKED, MASKED, MASKED]
    assert patient["id"] == "Pat-p-x"
    assert patient["managingOrganization"] == {"reference": "Organization/Org-q-x"}


@pytest.mark.parametrize("answer", [None, "", "a b", "a1", 5, "张三"])
def test_a_pseudonym_that_is_none_withholds(answer):
    kept = plan("Patient", transforms=[{"path": "id", "do": "pseudonym"}])
    assert withheld(kept, {}, pseudonym=lambda _kind, _own: answer)[0] == "no-pseudonym"


def test_without_a_function_for_pseudonyms_nothing_leaves():
    assert withheld(plan("Patient", transforms=[{"path": "id", "do": "pseudonym"}]), {})[0] == "no-pseudonym"


# Compiling


def test_a_type_is_compiled_once_whatever_its_period(monkeypatch):
    first = compiled(plan("Device", "status", "type", period={"start": 1}))
    monkeypatch.setattr("broker.fhir.minimise.keep_list", None)
    second = compiled(plan("Device", "status", "type", period={"start": 2}))
    assert first._ways["Device"] is second._ways["Device"]


def test_types_that_are_defined_by_themselves_or_change_values_have_no_fast_path():
    def has_fast(given_plan):
        return next(iter(compiled(given_plan)._ways.values())).fast is not None

    assert has_fast(plan("QuestionnaireResponse", "item.linkId"))
    assert not has_fast(plan("QuestionnaireResponse", "item"))
    assert has_fast(plan("Patient", "name", "birthDate"))
    for path, do in (("name", "mask"), ("birthDate", "year"), ("name", "keep_first"), ("id", "pseudonym")):
        assert not has_fast(plan("Patient", "name", "birthDate", transforms=[{"path": path, "do": do}]))


def test_the_fast_path_hands_over_what_it_cannot_judge():
    keep = compiled(plan("Observation", "status", "code", "category"))._ways["Observation"].keep
    fast = fastpath.fast("Observation", keep)
    start = b'{"resourceType":"Observation","id":"a","status":"final",'
    assert fast(start + b'"code":{"coding":[{"code":"x"}]}}') is not None
    assert fast(start + b'"code":{"coding":[{"code":"x"}]},"category":[{"text":"a"},{"text":"b"}]}') is None
    assert fast(start + b'"code":{"coding":[{"code":"x?"}]}}') is None
    assert fast(start + b'"code":{"coding":[]}}') is None
    assert fast(b"[" * 100_000) is None
