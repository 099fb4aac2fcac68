from __future__ import annotations

import json

import pytest

from broker.records.preparing import REASONS, Prepared, Refusal, Surroundings, Unchanged, prepare, spoken, survey
from broker.records.rewriting import Condition
from broker.records.sources import Entry, bundle_part
from tests.factories.records import bundle, condition, entry, observation, patient, practitioner

URN = "urn:uuid:0fc60a5a-6a3e-4dd1-a92e-4ed5e1e0a7c5"


def _results(data: bytes, around: Surroundings | None = None) -> list[Prepared | Refusal | Unchanged]:
    around = around or Surroundings(unnamed=lambda _: "made")
    entries = [one for one in bundle_part(data).entries if isinstance(one, Entry)]
    survey(entries, around)
    return [prepare(one, around) for one in entries]


def _refused(result: object) -> list[tuple[str, str]]:
    assert isinstance(result, Refusal)
    return [(problem.path, problem.code) for problem in result.problems]


def test_a_resource_is_stored_byte_for_byte():
    body = '{"resourceType" : "Observation", "id":"o1","status":"final","code":{"text":"血糖"},'
    body += '"subject":{"reference":"Patient/p1"},"valueQuantity":{"value":13.20}}'
    (result,) = _results(('{"resourceType":"Bundle","type":"batch","entry":[{"resource": ' + body + " }]}").encode())
    assert isinstance(result, Prepared)
    assert result.body.decode() == body
    assert (result.patient, result.type, result.id) == ("p1", "Observation", "o1")


def test_references_to_entries_are_resolved_and_nothing_else_changes():
    urn = entry(patient()) | {"fullUrl": URN}
    referring = observation(subject={"reference": URN}, identifier=[{"system": "urn:ietf:rfc:3986", "value": URN}], valueQuantity={"value": 1})
    _, result = _results(bundle(urn, entry(referring)))
    assert result.patient == "p1"
    stored = json.loads(result.body)
    assert stored["subject"]["reference"] == "Patient/p1"
    assert stored["identifier"][0]["value"] == URN


def test_an_entry_without_id_gets_the_one_of_its_address():
    nameless = {name: value for name, value in patient().items() if name != "id"}
    by_urn, by_url, by_put, by_content = (
        {"fullUrl": URN, "resource": nameless},
        {"fullUrl": "https://his.example/fhir/Patient/77", "resource": nameless},
        {"resource": nameless, "request": {"method": "PUT", "url": "Patient/88"}},
        {"resource": nameless, "request": {"method": "POST", "url": "Patient"}},
    )
    results = _results(bundle(by_urn, by_url, by_put, by_content))
    assert [result.id for result in results] == [URN.removeprefix("urn:uuid:"), "77", "88", "made"]
    assert all(json.loads(result.body)["id"] == result.id for result in results)


@pytest.mark.parametrize(
    ("broken", "path", "code"),
    [
        ({"request": {"method": "DELETE", "url": "Patient/p1"}}, "request.method", "method"),
        ({"request": {"method": "POST", "url": "Patient"}}, "resource", "no-resource"),
        ({"resource": {}}, "$", "missing"),
        ({"resource": []}, "entry[0]", "wrong-type"),
        ({"resource": 5, "fullUrl": 7}, "entry[0]", "wrong-type"),
        (entry(observation(status="zzz")), "Observation.status", "bad-code"),
        (entry(observation(subject={"reference": "urn:uuid:gone"})), "Observation.subject", "unresolved-reference"),
        (entry(observation(subject={"reference": "Patient?identifier=s|v"})), "Observation.subject", "no-match"),
        (entry(observation(performer=[{"reference": "Practitioner?name=Li"}])), "Observation.performer[0]", "unsupported-condition"),
        (entry(observation(performer=[{"reference": "Patient/p2"}])), "Observation", "several-patients"),
        ({"fullUrl": "https://his.example/Patient/a b", "resource": {"resourceType": "Patient"}}, "Patient.id", "bad-format"),
    ],
)
def test_each_refusal_names_path_and_reason(broken: dict, path: str, code: str):
    (result,) = _results(bundle(broken))
    assert (path, code) in _refused(result)


def test_an_address_that_two_entries_have_is_ambiguous():
    *_, result = _results(
        bundle(entry(patient("p1")) | {"fullUrl": URN}, entry(patient("p2")) | {"fullUrl": URN}, observation(subject={"reference": URN}))
    )
    assert _refused(result) == [("Observation.subject", "ambiguous-reference")]


def test_conditional_references_need_exactly_one_match():
    performer = {"performer": [{"reference": "Practitioner?identifier=https://hospital.example/fhir/sid/staff|staff-d1"}]}
    _, result = _results(bundle(practitioner(), observation(**performer)))
    assert json.loads(result.body)["performer"][0]["reference"] == "Practitioner/d1"
    assert result.links == (("Practitioner", "d1"),)
    twin = practitioner("d2", identifier=practitioner()["identifier"])
    *_, ambiguous = _results(bundle(practitioner(), twin, observation(**performer)))
    assert _refused(ambiguous) == [("Observation.performer[0]", "several-matches")]
    (stored,) = _results(bundle(observation(**performer)), Surroundings(stored=lambda _: ["d9"]))
    assert b"Practitioner/d9" in stored.body
    (missing,) = _results(bundle(observation(**performer)))
    assert missing.waiting


def test_a_conditional_create_of_what_is_there_changes_nothing_and_is_referred_to():
    asked = Condition("Practitioner", "s", "v")
    around = Surroundings(stored=lambda condition: ["old"] if condition == asked else [])
    create = entry(practitioner("new")) | {"fullUrl": URN, "request": {"method": "POST", "url": "Practitioner", "ifNoneExist": "identifier=s|v"}}
    first, second = _results(bundle(create, observation(performer=[{"reference": URN}])), around)
    assert isinstance(first, Unchanged)
    assert b"Practitioner/old" in second.body


def test_what_a_patient_is_found_by():
    (result,) = _results(bundle(patient()))
    assert result.identifiers == (("https://hospital.example/fhir/sid/mrn", "MRN-p1"),)
    assert "王小明" in result.names
    assert result.birth_date == "1980-05-06"
    (shared,) = _results(bundle(practitioner()))
    assert shared.patient is None
    (other,) = _results(bundle(condition(identifier=[{"system": "s", "value": "v"}])))
    assert other.identifiers == ()


def test_every_reason_is_said_in_both_languages():
    for code in REASONS:
        (result,) = _results(bundle(observation(subject={"reference": "urn:uuid:gone"})))
        assert spoken(result.problems[0], "en")
        assert spoken(result.problems[0], "zh") != spoken(result.problems[0], "en")
        assert all(REASONS[code])
