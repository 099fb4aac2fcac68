"""What a token request may say besides scope: authorization_details (RFC 9396), hl7-b2b (UDAP), granular scopes; departments' grants."""

from __future__ import annotations

import json

import pytest

from broker.identity.scopes import CATEGORISED
from broker.release.filters import SEARCHABLE
from tests.factories import identity as make
from tests.integration.identity.test_token import claims

NUMBER = "SA-2026-000001"


def detail(**changed):
    return json.dumps([{"type": "fhir_data_release", "application": NUMBER} | changed])


def ask(house, *, scope=None, details=None, extensions=None):
    given = {} if extensions is None else {"extensions": extensions}
    return house.ask(house.assertion(**given), scope, authorization_details=details)


@pytest.mark.parametrize(
    ("scope", "changed", "given", "actions", "types"),
    [
        (None, {}, f"system/Observation.rs system/Patient.rs application:{NUMBER}", ["read", "search"], ["Observation", "Patient"]),
        (None, {"datatypes": ["Observation"], "actions": ["read"]}, f"system/Observation.r application:{NUMBER}", ["read"], ["Observation"]),
        ("system/*.rs", {"datatypes": ["Patient", "Condition"]}, f"system/Patient.rs application:{NUMBER}", ["read", "search"], ["Patient"]),
        ("system/Observation.read", {"actions": ["search"]}, f"system/Observation.s application:{NUMBER}", ["search"], ["Observation"]),
        (f"system/*.r application:{NUMBER}", {"purpose": "TREAT"}, f"system/Observation.r system/Patient.r application:{NUMBER}", ["read"],
         ["Observation", "Patient"]),
    ],
)  # fmt: skip
def test_rfc9396_details_bind_and_narrow(attacked, scope, changed, given, actions, types):
    answer = ask(attacked, scope=scope, details=detail(**changed))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["scope"] == given
    granted = [{"type": "fhir_data_release", "application": NUMBER, "purpose": "TREAT", "actions": actions, "datatypes": types,
                "locations": [f"{attacked.base}/fhir"]}]  # fmt: skip
    assert body["authorization_details"] == granted
    said = attacked.ask(attacked.assertion(), path="/oauth2/introspect", grant_type=None, token=body["access_token"]).json()
    assert said["authorization_details"] == granted


def test_rfc9396_what_is_not_asked_is_not_answered(attacked):
    assert "authorization_details" not in attacked.ask(attacked.assertion()).json()


@pytest.mark.parametrize(
    "details",
    [
        "", "{", "{}", "[]", "[1]", "null", "[" * 3000, detail()[:-1] + ", " + detail()[1:], detail(type="payment"), detail(application="SA-1"),
        detail(application=5), detail(actions=[]), detail(actions=["write"]), detail(actions="read"), detail(datatypes=["*"]),
        detail(datatypes="Patient"),
        detail(purpose="HMARKT"), detail(purpose=["TREAT"]), detail(locations=["https://evil.example/fhir"]), detail(locations=[1]), detail(more=1),
        json.dumps([{"type": "fhir_data_release"}]), detail(datatypes=["A" * 10_000]),
    ],
)  # fmt: skip
def test_rfc9396_what_can_not_be_read_or_granted_is_refused_whole(attacked, details):
    answer = ask(attacked, scope="system/*.rs application:" + NUMBER if details == "" else "system/*.rs", details=details)
    if details == "":  # RFC 6749 3.2: a parameter without a value was not sent.
        assert answer.status_code == 200
        return
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_authorization_details")
    assert answer.json()["error_description"].isascii()


def test_rfc9396_details_and_scope_name_one_application(attacked):
    answer = ask(attacked, scope="system/*.rs application:SA-2026-000009", details=detail())
    assert answer.json()["error"] == "invalid_scope"
    assert ask(attacked, details=detail(application="SA-2026-000009")).json()["error"] == "invalid_scope"
    assert ask(attacked, details=detail(datatypes=["Claim"])).json()["error"] == "invalid_scope"


def b2b(**changed):
    said = {"version": "1", "organization_id": "https://shengli.example", "purpose_of_use": ["urn:oid:2.16.840.1.113883.5.8#TREAT"]} | changed
    return {"hl7-b2b": {name: value for name, value in said.items() if value is not None}}


def test_b2b_is_passed_on_and_its_subject_is_on_record_as_a_hash(house):
    answer = ask(house, scope=f"system/*.rs application:{NUMBER}", extensions=b2b(subject_name="Gao Min", subject_role="physician"))
    assert answer.status_code == 200, answer.text
    said = claims(house, answer.json()["access_token"]).claims["extensions"]
    assert said["hl7-b2b"]["subject_name"] == "Gao Min"
    assert said["ihe_iua"]["purpose_of_use"][0]["code"] == "TREAT"
    (event,) = house.events("token.issued")
    assert len(event["facts"]["b2b_subject_sha256"]) == 64
    assert "Gao Min" not in json.dumps(event)


@pytest.mark.parametrize("purposes", [["TREAT"], ["HPAYMT", "TREAT"], ["http://terminology.hl7.org/CodeSystem/v3-ActReason|TREAT"]])
def test_b2b_the_purpose_is_among_those_said(attacked, purposes):
    assert ask(attacked, scope=f"system/*.rs application:{NUMBER}", extensions=b2b(purpose_of_use=purposes)).status_code == 200


@pytest.mark.parametrize(
    "extensions",
    [
        b2b(purpose_of_use=["HMARKT"]), b2b(purpose_of_use=[]), b2b(purpose_of_use=None), b2b(purpose_of_use="TREAT"), b2b(purpose_of_use=[1]),
        b2b(version="2"), b2b(version=None), b2b(organization_id=None), b2b(organization_id=""), b2b(subject_name="x" * 300), b2b(subject_id=5),
        b2b(consent_policy=["https://p.example"]), b2b(more="x"), {"hl7-b2b": []}, {"hl7-b2b": "x"}, [], "x", 5,
    ],
    ids=str,
)  # fmt: skip
def test_e07_b2b_never_widens_and_must_be_in_order(attacked, extensions):
    answer = ask(attacked, scope=f"system/*.rs application:{NUMBER}", extensions=extensions)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert answer.json()["error_description"].isascii()


def test_b2b_other_extensions_are_nothing_to_us(attacked):
    assert ask(attacked, scope=f"system/*.rs application:{NUMBER}", extensions={"other": 1}).status_code == 200


@pytest.mark.parametrize(
    "scope",
    ["system/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory", "system/Observation.s?category=exam"],
)
def test_259_granular_scopes_are_given_as_asked(attacked, scope):
    assert ask(attacked, scope=f"{scope} application:{NUMBER}").json()["scope"] == f"{scope} application:{NUMBER}"


def test_types_that_a_scope_may_narrow_are_those_whose_category_a_search_looks_at():
    assert {kind for kind, own in SEARCHABLE.items() if "category" in own} == CATEGORISED


def test_a_department_s_grant_is_for_the_system_of_its_hospital_and_no_other_way(house):
    """A client gets tokens for its own organisation and its parts; not for the organisation above, nor for a sister."""
    with house.database.transaction() as session:
        for name in ("cardiology", "surgery"):
            make.organization(session, f"shengli-{name}", relationship="external", parent_id="shengli", kind="department")
        own, jwk = make.client_with_key(session, organization_id="shengli-surgery")
        sister = own.id
    house.grants.add(make.grant("shengli-cardiology", "SA-2026-000002"))
    house.grants.grant_of_application = lambda _s, number, _o: next(one for one in house.grants.held.values() if one.application == number)
    assert house.ask(house.assertion(), "system/*.rs application:SA-2026-000002").status_code == 200
    for number in ("SA-2026-000001", "SA-2026-000002"):
        answer = house.ask(make.assertion(sister, jwk, house.token_endpoint), f"system/*.rs application:{number}")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
