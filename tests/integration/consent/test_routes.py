"""The registry over HTTP: HL7 FAST operations, ITI-108 search, errors as OperationOutcomes."""

from __future__ import annotations

import json

import pytest

from broker.identity.roles import Role
from tests.factories import consent as factory
from tests.factories import identity

FHIR = "application/fhir+json"


def post(client, path, body, **headers):
    return client.post(f"/fhir/Consent{path}", content=body if isinstance(body, bytes) else json.dumps(body), headers=headers)


def outcome(answer, status):
    """The issues of an error, which is always an OperationOutcome."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith(FHIR)
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    return body["issue"]


def filed_id(answer):
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].rsplit("/", 1)[-1]


def file(client, given, **headers):
    return filed_id(post(client, "/$fileConsent", factory.filing(given), **headers))


def test_file_read_revoke(client, test_settings):
    given = factory.sharing(factory.provision("deny", factory.labels("PSY")))
    answer = post(client, "/$fileConsent", factory.filing(given))
    consent_id = filed_id(answer)
    assert answer.headers["location"] == f"{test_settings.base_url}/fhir/Consent/{consent_id}"
    issues = answer.json()["issue"]
    assert consent_id in issues[0]["details"]["text"]
    assert "typed-root" in issues[0]["details"]["text"]
    assert {"Consent.provision.provision[0].securityLabel[0]"} <= {place for issue in issues for place in issue.get("expression", [])}
    assert {issue["severity"] for issue in issues} <= {"information", "warning"}

    read = client.get(f"/fhir/Consent/{consent_id}")
    assert (read.status_code, read.headers["etag"], read.json()["status"]) == (200, 'W/"1"', "active")
    assert read.json()["provision"] == given["provision"]

    revoked = post(client, "/$revokeConsent", factory.revocation(consent_id))
    assert revoked.status_code == 200
    assert revoked.json()["resourceType"] == "OperationOutcome"
    assert client.get(f"/fhir/Consent/{consent_id}").json()["status"] == "inactive"
    assert post(client, "/$revokeConsent", factory.revocation(consent_id)).status_code == 200

    history = client.get(f"/fhir/Consent/{consent_id}/_history").json()
    assert (history["type"], history["total"]) == ("history", 2)
    assert [entry["resource"]["status"] for entry in history["entry"]] == ["inactive", "active"]
    assert client.get(f"/fhir/Consent/{consent_id}/_history/1").json()["status"] == "active"
    outcome(client.get(f"/fhir/Consent/{consent_id}/_history/3"), 404)


def test_aliases_create_and_repeated_requests(client):
    consent_id = filed_id(post(client, "/$file-consent", factory.filing(factory.sharing())))
    assert post(client, "/$revoke-consent", factory.revocation(consent_id)).status_code == 200
    created = post(client, "", factory.sharing(), **{"Idempotency-Key": "abc"})
    assert created.status_code == 201
    assert created.headers["location"].endswith(f"/fhir/Consent/{created.json()['id']}/_history/1")
    again = post(client, "", factory.sharing(), **{"Idempotency-Key": "abc"})
    assert again.json()["id"] == created.json()["id"]
    outcome(post(client, "", factory.sharing(patient="p2"), **{"Idempotency-Key": "abc"}), 422)
    outcome(post(client, "", factory.sharing(), **{"Idempotency-Key": "x" * 300}), 400)


def test_the_report_of_a_refusal_names_each_element_in_both_languages(client):
    given = factory.sharing(factory.provision("permit", factory.actors("Group/g")), implicitRules="urn:rules")
    for language, word in (("en", "not known"), ("zh", "无法确认")):
        issues = outcome(post(client, "/$fileConsent", factory.filing(given), **{"Accept-Language": language}), 422)
        assert issues[0]["details"]["coding"][0]["code"] == "consent-not-enforceable"
        named = {issue["expression"][0]: issue["details"]["text"] for issue in issues if "expression" in issue}
        assert set(named) == {"Consent.provision.provision[0].actor[0].reference", "Consent.implicitRules"}
        assert word in named["Consent.provision.provision[0].actor[0].reference"]


def test_who_may(client, database):
    consent_id = file(client, factory.sharing())
    auditor = client.auditor
    assert client.get(f"/fhir/Consent/{consent_id}", headers=auditor).status_code == 200
    outcome(post(client, "/$revokeConsent", factory.revocation(consent_id), **auditor), 403)
    with database.transaction() as session:
        applicant = identity.signed_in(session, identity.person(session, Role.APPLICANT))
    outcome(client.get("/fhir/Consent?patient=p1", headers=applicant), 403)
    for path in ("/fhir/Consent?patient=p1", f"/fhir/Consent/{consent_id}"):
        outcome(client.get(path, headers={"Authorization": "Bearer no"}), 401)
    outcome(post(client, "/$fileConsent", factory.filing(factory.sharing()), Authorization=""), 401)


PARAMETERS = factory.filing(factory.sharing())


BAD = [
    ("/$fileConsent", b"{", 400),
    ("/$fileConsent", b'{"a":1,"a":2}', 400),
    ("/$fileConsent", b"[" * 10_000, 400),
    ("/$fileConsent", b"\xff\xfe", 400),
    ("/$fileConsent", b'{"resourceType":"Consent","x":"\\ud800"}', 400),
    ("/$fileConsent", b"[]", 400),
    ("/$fileConsent", b"null", 400),
    ("/$fileConsent", json.dumps(factory.sharing()).encode(), 400),
    ("/$fileConsent", json.dumps({"resourceType": "Parameters", "parameter": PARAMETERS["parameter"][:1]}).encode(), 400),
    (
        "/$fileConsent",
        json.dumps({"resourceType": "Parameters", "parameter": [*PARAMETERS["parameter"], PARAMETERS["parameter"][0]]}).encode(),
        400,
    ),
    ("/$fileConsent", json.dumps({"resourceType": "Parameters", "parameter": [*PARAMETERS["parameter"], {"name": "more"}]}).encode(), 400),
    ("/$fileConsent", json.dumps({"resourceType": "Parameters", "parameter": [1]}).encode(), 400),
    ("/$fileConsent", json.dumps(factory.filing(factory.document())).encode(), 400),
    ("/$fileConsent", json.dumps(factory.filing(factory.sharing(), {"resourceType": "Binary"})).encode(), 400),
    ("/$fileConsent", json.dumps(factory.filing(factory.sharing(patient="nobody"))).encode(), 422),
    ("/$fileConsent", json.dumps(factory.filing(factory.sharing(status="draft"))).encode(), 422),
    ("/$fileConsent", json.dumps(factory.filing({"resourceType": "Consent"})).encode(), 422),
    ("", b'{"resourceType":"Patient"}', 400),
    ("/$revokeConsent", json.dumps(factory.revocation("00000000-0000-4000-8000-000000000000")).encode(), 404),
    ("/$revokeConsent", json.dumps(factory.revocation("../x")).encode(), 400),
    ("/$revokeConsent", json.dumps(factory.revocation("not-a-uuid")).encode(), 404),
    ("/$revokeConsent", b'{"resourceType":"Parameters","parameter":[]}', 400),
    ("/$revokeConsent", b'{"resourceType":"Parameters","parameter":[{"name":"consent","valueReference":{"reference":"Consent/x"}}]}', 400),
    ("/$revokeConsent", b'{"resourceType":"Parameters","parameter":[{"name":"consent","valueReference":"x"}]}', 400),
]


def test_bad_input_is_a_clear_refusal(client, subtests):
    for path, body, status in BAD:
        with subtests.test(path=path, body=body[:80]):
            assert outcome(post(client, path, body), status)[0]["severity"] == "error"
    assert client.get("/fhir/Consent?patient=p1").json()["total"] == 0


def test_only_fhir_json_is_read(client):
    outcome(post(client, "/$fileConsent", b"<Consent/>", **{"Content-Type": "application/fhir+xml"}), 415)
    outcome(client.post("/fhir/Consent/_search", content=b"{}", headers={"Content-Type": FHIR}), 415)
    outcome(post(client, "", b" " * 5_000_000), 413)


OUTSIDE = (
    "", "status=active", "patient=p1&patient=p1", "patient=p1&_include=Consent:actor", "patient:identifier=x&patient.identifier=x",
    "patient=p1&date=soon", "patient=p1&_count=-1", "patient=", "patient=p1&_elements=id", "patient=%FF",
    "patient=p1&", "_id=a&_has:Consent:x=1", "patient=%00", "patient=p1&_count=1&_count=2", "patient=p1&%C3%BC=1",
)  # fmt: skip


def test_a_search_outside_the_grammar_is_refused(client, subtests):
    file(client, factory.sharing())
    for query in OUTSIDE:
        with subtests.test(query=query):
            outcome(client.get(f"/fhir/Consent?{query}"), 400)


def test_search_by_get_and_by_form(client):
    one, two = file(client, factory.sharing()), file(client, factory.sharing(dateTime="2026-05-01"))
    file(client, factory.sharing(patient="p2"))
    found = client.get("/fhir/Consent?patient=Patient/p1&status=active").json()
    assert (found["type"], found["total"], {entry["resource"]["id"] for entry in found["entry"]}) == ("searchset", 2, {one, two})
    assert found["entry"][0]["fullUrl"].endswith(found["entry"][0]["resource"]["id"])
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    by_form = client.post("/fhir/Consent/_search", content="patient=p1&status=active", headers=form)
    assert by_form.json()["entry"] == found["entry"]
    assert client.post("/fhir/Consent/_search?patient=p1", content="", headers=form).json()["total"] == 2
    outcome(client.post("/fhir/Consent/_search?patient=p1", content="patient=p2", headers=form), 400)
    page = client.get("/fhir/Consent?patient=p1&_count=1").json()
    following = next(link["url"] for link in page["link"] if link["relation"] == "next")
    rest = client.get(following.split("8000", 1)[1]).json()
    assert {page["entry"][0]["resource"]["id"], rest["entry"][0]["resource"]["id"]} == {one, two}
    assert client.get("/fhir/Consent?patient=nobody").json() | {"link": []} == {"resourceType": "Bundle", "type": "searchset", "total": 0, "link": []}
    assert client.get("/fhir/Consent?patient=p1&date=ge2026-04&date=le2026-06&_format=json").json()["total"] == 1


def test_unknown_and_unreadable_ids_look_alike(client):
    known = outcome(client.get("/fhir/Consent/00000000-0000-4000-8000-000000000000"), 404)
    for consent_id in ("x", "$fileConsent", "%7B00000000-0000-4000-8000-000000000000%7D"):
        assert outcome(client.get(f"/fhir/Consent/{consent_id}"), 404) == known


@pytest.mark.parametrize("path", ["?patient=p1", "/{id}", "/{id}/_history", "/{id}/_history/1"])
def test_iti_108_serves_json_and_says_406_to_anything_else(client, path):
    """IHE PCF ITI-108; R4 http.html#mime-type: ``_format`` goes before Accept."""
    made = post(client, "", json.dumps(factory.sharing()).encode()).headers["location"].split("/Consent/")[1].partition("/")[0]
    address = f"/fhir/Consent{path.format(id=made)}"
    mark = "&" if "?" in address else "?"
    for taken in ("application/fhir+json", "*/*", "application/json;q=0.5, application/fhir+xml"):
        assert client.get(address, headers={"Accept": taken}).status_code == 200
    outcome(client.get(address, headers={"Accept": "application/fhir+xml"}), 406)
    assert client.get(f"{address}{mark}_format=json", headers={"Accept": "application/fhir+xml"}).status_code == 200
    for form in ("xml", "application/fhir%2Bxml", "ttl", ""):
        outcome(client.get(f"{address}{mark}_format={form}"), 406)
