"""The FHIR R4 face: the CapabilityStatement says what the server does, and the server does what R4 says (RS-5.3.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from broker.fhir import definitions
from broker.release import query
from broker.release.filters import SEARCHABLE
from tests.attacks.asking import CANARY, FHIR, FORM, Caller, check_form
from tests.wire import Answer

PATIENT = "p1001"
GOOD = {"token": "http://example.org|x", "code": "final", "date": "ge2020"}
#: Parameters of R4 that a server may offer and this one doesn't; with what is listed, each is either served or refused.
R4_OTHERS = (
    "subject", "encounter", "performer", "code-value-quantity", "combo-code", "value-quantity", "value-string", "identifier", "based-on", "name",
    "birthdate", "phone", "address", "gender", "general-practitioner", "_sort", "_include", "_revinclude", "_summary", "_contained", "_has",
    "_filter", "_text", "_content", "_list", "_query", "_tag", "_security", "_profile", "_source", "_type", "_pretty", "_since",
)  # fmt: skip


@lru_cache
def _capability(base: str, content: bytes) -> dict:
    CapabilityStatement.model_validate_json(content)
    return json.loads(content)


@pytest.fixture(scope="module")
def capability(its: Caller) -> dict:
    answer = its.call("GET", "/fhir/metadata")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(FHIR)
    return _capability(its.story.base_url, answer.body)


#: The consent registry's, for people; everything else is released to clients.
REGISTRY = ("Consent", "AuditEvent", "Provenance", "Subscription")
#: How an interaction is asked for, by HTTP method and the end of its path after the type (R4, http.html).
ASKED = {
    "create": ("post", ""), "read": ("get", "/{}"), "vread": ("get", "/{}/_history/{}"), "history-instance": ("get", "/{}/_history"),
    "search-type": ("get", ""), "delete": ("delete", "/{}"),
}  # fmt: skip


@pytest.fixture(scope="module")
def listed(capability: dict) -> Mapping[str, dict]:
    """Everything that stands in the statement, by type."""
    return {one["type"]: one for one in capability["rest"][0]["resource"]}


@pytest.fixture(scope="module")
def resources(listed: Mapping[str, dict]) -> Mapping[str, dict]:
    """Types whose resources are served to clients; of Group nothing but its bulk export is."""
    assert listed["Group"].keys() == {"type", "documentation", "operation"}
    return {kind: one for kind, one in listed.items() if kind not in ("Group", *REGISTRY)}


def get(its: Caller, path: str, *headers: tuple[str, str]) -> Answer:
    return its.call("GET", path, *headers, ("Accept-Language", "en"), who="client")


def bundle(answer: Answer) -> dict:
    assert answer.status == 200, answer.text[:300]
    Bundle.model_validate_json(answer.body)
    return answer.json()


def entries(answer: Answer) -> list[dict]:
    return [entry["resource"] for entry in bundle(answer).get("entry", [])]


def about(kind: str) -> str:
    return f"_id={PATIENT}" if kind == "Patient" else f"patient={PATIENT}"


# -- the statement and the behaviour --


def test_the_statement_says_which_server_this_is(capability):
    assert capability["fhirVersion"] == "4.0.1"
    assert capability["kind"] == "instance"
    assert capability["format"] == ["application/fhir+json", "json"]
    assert capability["rest"][0]["mode"] == "server"


def test_every_type_that_any_profile_may_release_is_listed_and_no_other(resources, its):
    from broker.policy import service as policy  # The list that profiles are checked against.

    assert set(resources) == set(policy.catalogue().types)


def test_the_registry_lists_the_interactions_that_it_has_and_no_other(listed, its):
    """Compared with the routes of the app, whose parameters have names of their own (ITI-108; HL7 FAST consent)."""
    paths = {re.sub(r"{[^}]*}", "{}", path): set(methods) for path, methods in its.call("GET", "/openapi.json").json()["paths"].items()}
    for kind in REGISTRY:
        stated = {one["code"] for one in listed[kind]["interaction"]}
        assert stated == {code for code, (method, end) in ASKED.items() if method in paths.get(f"/fhir/{kind}{end}", ())}, kind


def test_each_parameter_that_is_listed_is_served_and_each_other_is_refused(resources, its):
    """Exactly what is served: a request with a listed parameter passes the grammar, one with any other parameter of R4 is a 400."""
    for kind, stated in resources.items():
        listed = {one["name"]: one["type"] for one in stated["searchParam"]}
        assert set(query.allowed(kind)) - listed.keys() == {"_elements", "_count", "_total", "_page", "_format"}
        if kind not in ("Patient", "Observation", "MedicationRequest", "Organization"):
            continue  # They go through the same grammar.
        for name, way in listed.items():
            if name in ("patient", "_id"):
                continue
            value = GOOD["date"] if way == "date" else GOOD[SEARCHABLE[kind][name].kind]
            answer = get(its, f"/fhir/{kind}?{about(kind)}&{name}={value}")
            refused_for_the_plan = answer.status == 400 and "not among the elements that may leave" in answer.text
            assert answer.status in (200, 403) or refused_for_the_plan, (kind, name, answer.text[:200])
        for name in sorted({*R4_OTHERS, *(one for own in SEARCHABLE.values() for one in own)} - listed.keys()):
            answer = get(its, f"/fhir/{kind}?{about(kind)}&{name}=x", ("Prefer", "handling=lenient"))
            assert answer.status == 400, (kind, name)


@pytest.mark.parametrize("control", ["_elements=id", "_count=5", "_total=accurate", "_total=none", "_format=json"])
def test_the_control_parameters_that_the_documentation_names_are_served(resources, its, control):
    assert control.partition("=")[0] in resources["Observation"]["documentation"]
    assert get(its, f"/fhir/Observation?patient={PATIENT}&{control}").status == 200


def test_interactions_are_the_listed_ones(resources, its):
    for kind, stated in resources.items():
        assert {one["code"] for one in stated["interaction"]} == {"read", "search-type"}
        for method, path in [
            ("PUT", f"/fhir/{kind}/x"), ("PATCH", f"/fhir/{kind}/x"), ("DELETE", f"/fhir/{kind}/x"), ("POST", f"/fhir/{kind}"),
            ("GET", f"/fhir/{kind}/x/_history"), ("GET", f"/fhir/{kind}/x/_history/1"), ("DELETE", f"/fhir/{kind}?{about(kind)}"),
        ]:  # fmt: skip
            check_form(its.call(method, path, who="client"), path, "zh", statuses=(404, 405))


def test_operations_are_the_listed_ones(resources, its):
    assert {one["name"] for one in resources["Patient"]["operation"]} == {"everything", "export", "match"}
    assert all("operation" not in stated for kind, stated in resources.items() if kind != "Patient")
    for path in ("/fhir/Patient/$everything", f"/fhir/Patient/{PATIENT}/$summary", "/fhir/Patient/$lookup", f"/fhir/Encounter/{PATIENT}/$everything"):
        assert get(its, path).status in (400, 404)


def test_a_type_that_is_not_listed_is_never_a_success(resources, its):
    for kind in sorted(definitions.resource_types() - resources.keys() - {"Consent", "AuditEvent"}):
        assert get(its, f"/fhir/{kind}?patient={PATIENT}").status in (400, 401, 403, 404), kind  # Some are the consent registry's, for people.


# -- R4 http.html --


def test_http_read_has_a_weak_etag_and_when_it_was_changed(its):
    answer = get(its, f"/fhir/Patient/{PATIENT}")
    assert answer.headers["content-type"].startswith(FHIR)
    patient = answer.json()
    assert answer.headers["etag"] == f'W/"{patient["meta"]["versionId"]}"'
    changed = datetime.fromisoformat(patient["meta"]["lastUpdated"]).astimezone(UTC).replace(microsecond=0)
    assert parsedate_to_datetime(answer.headers["last-modified"]) == changed


@pytest.mark.parametrize(("has", "status"), [("{}", 304), ('W/"0", {}', 304), ("*", 304), ('W/"999"', 200), ("nonsense", 200)])
def test_http_conditional_read(its, has, status):
    etag = get(its, f"/fhir/Patient/{PATIENT}").headers["etag"]
    answer = get(its, f"/fhir/Patient/{PATIENT}", ("If-None-Match", has.format(etag)))
    assert answer.status == status
    assert (answer.body == b"") == (status == 304)
    assert answer.headers["etag"] == etag


def test_http_a_304_is_no_way_past_the_gate(its):
    for path in ("/fhir/Patient/p1006", "/fhir/Patient/never-was"):
        check_form(get(its, path, ("If-None-Match", "*")), path, statuses=(404,))


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/fhir+json", 200), ("application/json", 200), ("*/*", 200), ("application/*", 200), ("text/json", 200),
        ("application/fhir+json; fhirVersion=4.0", 200), ("application/fhir+xml;q=0.9, application/fhir+json;q=0.1", 200),
        ("application/fhir+json; charset=utf-8", 200), ("text/html,application/xhtml+xml;q=0.9", 200), ("", 200),
        ("application/fhir+xml", 406), ("text/turtle", 406), ("application/fhir+json; fhirVersion=3.0", 406),
        ("application/fhir+json; fhirVersion=5.0", 406), ("application/fhir+json;q=0", 406), ("image/png", 406),
        ("application/fhir+xml, */*;q=0", 406),
    ],
)  # fmt: skip
def test_http_accept(its, accept, status):
    answer = get(its, f"/fhir/Patient/{PATIENT}", ("Accept", accept))
    assert answer.status == status, answer.text[:200]
    assert answer.headers["content-type"].startswith(FHIR)


@pytest.mark.parametrize(("asked", "status"), [("json", 200), ("application/fhir%2Bjson", 200), ("xml", 406), ("ttl", 406), ("html", 406)])
def test_http_format_goes_before_accept(its, asked, status):
    assert get(its, f"/fhir/Patient/{PATIENT}?_format={asked}", ("Accept", "application/fhir+xml")).status == status


def test_http_prefer_handling(its):
    path = f"/fhir/Observation?patient={PATIENT}"
    assert get(its, path, ("Prefer", "handling=strict")).headers["preference-applied"] == "handling=strict"
    assert "preference-applied" not in get(its, path, ("Prefer", "handling=lenient")).headers
    assert "preference-applied" not in get(its, path, ("Prefer", "respond-async")).headers


def test_http_get_and_post_search_say_the_same(its):
    by_get = bundle(get(its, f"/fhir/Observation?patient={PATIENT}&_count=500&status=final"))
    form = f"patient={PATIENT}&_count=500&status=final".encode()
    by_post = its.call("POST", "/fhir/Observation/_search", ("Content-Type", FORM), who="client", body=form)
    mixed = its.call("POST", "/fhir/Observation/_search?status=final&_count=500", ("Content-Type", FORM), who="client", body=form[:13])
    assert by_get["entry"] == bundle(by_post)["entry"] == bundle(mixed)["entry"]


def test_http_the_body_of_a_search_is_a_form(its):
    answer = its.call("POST", "/fhir/Observation/_search", ("Content-Type", FHIR), ("Accept-Language", "en"), who="client", body=b"{}")
    check_form(answer, "/fhir/Observation/_search", statuses=(400,))


# -- R4 search.html --


def test_search_is_paged_without_holes_and_the_links_lead_through(its):
    path, seen = f"/fhir/Observation?patient={PATIENT}&_count=4", []
    whole = [one["id"] for one in entries(get(its, f"/fhir/Observation?patient={PATIENT}&_count=500"))]
    while path:
        page = bundle(get(its, path))
        links = {one["relation"]: one["url"].removeprefix(its.story.base_url) for one in page["link"]}
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        assert len(page["entry"]) == 4 or "next" not in links  # B02
        path = links.get("next", "")
    assert seen == whole
    assert len(whole) > 8


def test_search_total_is_of_the_permitted_set(its):
    whole = bundle(get(its, f"/fhir/Observation?patient={PATIENT}&_count=500"))
    assert whole["total"] == len(whole["entry"])
    for asked in ("accurate", "estimate"):
        assert bundle(get(its, f"/fhir/Observation?patient={PATIENT}&_count=2&_total={asked}"))["total"] == whole["total"]
    assert "total" not in bundle(get(its, f"/fhir/Observation?patient={PATIENT}&_count=2&_total=none"))


def test_search_last_updated(its):
    every = {one["id"]: one["meta"]["lastUpdated"] for one in entries(get(its, f"/fhir/Observation?patient={PATIENT}&_count=500"))}
    middle = sorted(every.values())[len(every) // 2]
    later = {one["id"] for one in entries(get(its, f"/fhir/Observation?patient={PATIENT}&_count=500&_lastUpdated=ge{middle}"))}
    assert later >= {name for name, at in every.items() if at >= middle}
    assert entries(get(its, f"/fhir/Observation?patient={PATIENT}&_lastUpdated=gt2999")) == []


def test_search_elements_leaves_what_is_asked_and_what_must_be_there(its):
    plain = {one["id"]: one for one in entries(get(its, f"/fhir/Observation?patient={PATIENT}&_count=500"))}
    for one in entries(get(its, f"/fhir/Observation?patient={PATIENT}&_count=500&_elements=effective")):
        assert set(one) <= {"resourceType", "id", "meta", "status", "code", "subject", "effectiveDateTime", "effectivePeriod"}
        assert all(plain[one["id"]][name] == value for name, value in one.items())
        assert one["meta"]["tag"][0]["code"] == "SUBSETTED"
    hidden = entries(get(its, f"/fhir/Patient?_id={PATIENT}&_elements=telecom,address,name"))[0]
    assert set(hidden) <= set(get(its, f"/fhir/Patient/{PATIENT}").json())  # B07
    assert "etag" not in get(its, f"/fhir/Patient/{PATIENT}?_elements=gender").headers


# -- Patient/$everything --


def everything(its: Caller, query: str = "") -> list[dict]:
    return entries(get(its, f"/fhir/Patient/{PATIENT}/$everything{query}"))


def test_everything_is_the_patient_and_all_that_may_leave(its):
    found = everything(its)
    assert {one["id"] for one in found if one["resourceType"] == "Patient"} == {PATIENT}
    assert len({one["resourceType"] for one in found}) > 4


def test_everything_type_since_start_end_count(its):
    whole = everything(its)
    assert {one["resourceType"] for one in everything(its, "?_type=Condition,Observation")} == {"Condition", "Observation"}
    assert everything(its, "?_since=2999-01-01T00:00:00Z") == []
    assert len(everything(its, "?_since=1999-01-01T00:00:00Z")) == len(whole)
    dated = [one for one in whole if one["resourceType"] == "Observation" and "effectiveDateTime" in one]
    day = sorted(one["effectiveDateTime"] for one in dated)[len(dated) // 2][:10]
    from_day = {one["id"] for one in everything(its, f"?start={day}") if one["resourceType"] == "Observation"}
    to_day = {one["id"] for one in everything(its, f"?end={day}") if one["resourceType"] == "Observation"}
    assert {one["id"] for one in dated if one["effectiveDateTime"][:10] > day} <= from_day
    assert not {one["id"] for one in dated if one["effectiveDateTime"][:10] < day[:8]} & from_day
    assert from_day | to_day == {one["id"] for one in whole if one["resourceType"] == "Observation"}
    first = bundle(get(its, f"/fhir/Patient/{PATIENT}/$everything?_count=3"))
    assert any(one["relation"] == "next" for one in first["link"])
    assert any(one["resourceType"] == "Patient" for one in everything(its, f"?start={day}"))  # A patient has no date of care.


# -- Patient/$match --


def match(its: Caller, patient: dict, *more: dict) -> Answer:
    body = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": {"resourceType": "Patient", **patient}}, *more]}
    return its.call("POST", "/fhir/Patient/$match", ("Content-Type", FHIR), ("Accept-Language", "en"), who="client", body=json.dumps(body).encode())


def described(its: Caller, patient: str, **changed) -> dict:
    one = its.story.cast.patients[patient]
    return {"identifier": [one.identifier], "name": [{"text": one.name}], "birthDate": one.birth_date} | changed


def test_match_finds_the_patient_of_the_grant_with_certainty(its):
    for more in ((), ({"name": "onlyCertainMatches", "valueBoolean": False}, {"name": "count", "valueInteger": 9})):
        found = bundle(match(its, described(its, PATIENT), *more))
        assert found["total"] == 1
        entry = found["entry"][0]
        assert entry["resource"]["id"] == PATIENT
        assert entry["search"]["score"] == 1
        assert entry["search"]["extension"][0]["valueCode"] == "certain"
        assert "telecom" not in entry["resource"]


def test_match_unknown_doubtful_and_somebody_elses_look_the_same(its):
    nobody = {"identifier": [{"system": "urn:x", "value": CANARY}], "name": [{"text": CANARY}]}
    both = {**described(its, PATIENT), "identifier": [its.story.cast.patients[one].identifier for one in (PATIENT, "p1006")]}
    cases = {
        "unknown": nobody,
        "another hospital's": described(its, "p1006"),
        "an identifier alone": {"identifier": [its.story.cast.patients[PATIENT].identifier]},
        "another name": described(its, PATIENT, name=[{"text": "某某"}]),
        "another birth date": described(its, PATIENT, birthDate="1901-01-01"),
        "two people": both,
    }
    shapes = set()
    for case, patient in cases.items():
        answer = match(its, patient)
        found = bundle(answer)
        assert (found.pop("total"), "entry" in found) == (0, False), case
        del found["id"], found["timestamp"]
        assert CANARY not in answer.text
        shapes.add((answer.status, json.dumps(found), tuple(sorted(name for name in answer.headers if name != "date"))))
    assert len(shapes) == 1


@pytest.mark.parametrize(
    "body",
    [
        {}, {"resourceType": "Patient"}, {"resourceType": "Parameters"}, {"resourceType": "Parameters", "parameter": []},
        {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": {"resourceType": "Patient"}}]},
        {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": {"resourceType": "Person"}}]},
        {"resourceType": "Parameters", "parameter": [{"name": CANARY, "valueString": CANARY}]},
        {"resourceType": "Parameters", "parameter": [1, None]},
        {"resourceType": "Parameters", "parameter": [{"name": "count", "valueInteger": True}]},
    ],
)  # fmt: skip
def test_match_what_is_no_request_is_refused(its, body):
    answer = its.call("POST", "/fhir/Patient/$match", ("Content-Type", FHIR), ("Accept-Language", "en"), who="client", body=json.dumps(body).encode())
    check_form(answer, "/fhir/Patient/$match", statuses=(422,))
