"""What belongs to consents beside them: ``$recordDisclosure`` and AuditEvents, Provenance, Subscriptions (PI-3.1, QA-4.2; HL7 FAST, IHE PCF)."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from broker import clock
from broker.consent import service, topics
from broker.fhir.validate import problems
from tests.factories import consent as factory
from tests.integration.notifications.conftest import web_server

__all__ = ["web_server"]

FHIR = "application/fhir+json"


@pytest.fixture
def settings(test_settings):
    return test_settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})


def filed(client, given=None, evidence=None):
    answer = client.post("/fhir/Consent/$fileConsent", json=factory.filing(given or factory.sharing(), evidence))
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].rsplit("/", 1)[-1]


def audit_event(consent_id, **more):
    return {
        "resourceType": "AuditEvent",
        "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110113"},
        "action": "E",
        "recorded": "2026-11-01T08:00:00Z",
        "outcome": "0",
        "agent": [{"who": {"display": "clinic"}, "requestor": True}],
        "source": {"observer": {"display": "clinic"}},
        "entity": [{"what": {"reference": f"Consent/{consent_id}"}}],
    } | more


def disclosure(event, consent_id):
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "disclosure", "resource": event}, {"name": "consent", "valueReference": {"reference": f"Consent/{consent_id}"}}],
    }


def issues(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    return answer.json()["issue"]


# -- $recordDisclosure --


@pytest.mark.parametrize("verb", ["$recordDisclosure", "$record-disclosure"])
@pytest.mark.parametrize(("outcome", "recorded"), [("0", "permit"), ("8", "deny")])
def test_a_disclosure_is_recorded_whether_or_not_anything_was_shared(client, database, verb, outcome, recorded):
    consent_id = filed(client)
    event = audit_event(consent_id, outcome=outcome, outcomeDesc="why")
    answer = client.post(f"/fhir/AuditEvent/{verb}", json=disclosure(event, consent_id))
    assert issues(answer, 201)[0]["severity"] == "information"
    place = answer.headers["location"].split("8000", 1)[1]
    kept = client.get(place, headers=client.auditor).json()
    assert kept | {"id": None} == event | {"id": None}
    assert problems(kept) == []
    with database.transaction() as session:
        row = session.connection().exec_driver_sql("SELECT outcome, leaf FROM audit_event WHERE type = 'consent.consulted'").one()
    assert row.outcome == recorded
    assert json.loads(row.leaf)["facts"]["consent"] == consent_id
    for query in (f"consent=Consent/{consent_id}", f"consent={consent_id}", "patient=Patient/p1", f"patient=p1&consent={consent_id}"):
        assert [one["resource"] for one in client.get(f"/fhir/AuditEvent?{query}").json()["entry"]] == [kept]
    for query in ("patient=p2", "patient=nobody", "consent=00000000-0000-4000-8000-000000000000", f"patient=p2&consent={consent_id}"):
        assert client.get(f"/fhir/AuditEvent?{query}").json()["total"] == 0
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/fhir/AuditEvent/_search", content="patient=p1", headers=form).json()["total"] == 1


def test_nothing_of_a_disclosure_lies_readable_in_the_database(client, database):
    consent_id = filed(client)
    client.post("/fhir/AuditEvent/$recordDisclosure", json=disclosure(audit_event(consent_id, outcomeDesc="CANARY-77"), consent_id))
    with database.transaction() as session:
        body = session.connection().exec_driver_sql("SELECT body FROM consent_disclosure").scalar_one()
        leaves = session.connection().exec_driver_sql("SELECT string_agg(leaf, '') FROM audit_event").scalar_one()
    assert b"CANARY-77" not in bytes(body)
    assert "CANARY-77" not in leaves


def test_a_disclosure_that_is_none_is_refused(client):
    consent_id = filed(client)
    unknown = "00000000-0000-4000-8000-000000000000"
    for event, named, status in (
        (audit_event(consent_id, entity=[]), consent_id, 422),
        (audit_event(unknown), consent_id, 422),
        (audit_event(consent_id, agent=[]), consent_id, 422),
        (audit_event(unknown), unknown, 404),
        (audit_event("x"), "x", 404),
        ({"resourceType": "Patient"}, consent_id, 400),
    ):
        issues(client.post("/fhir/AuditEvent/$recordDisclosure", json=disclosure(event, named)), status)
    given = disclosure(audit_event(consent_id), consent_id)
    for parameters in (given["parameter"][:1], given["parameter"][1:], [*given["parameter"], {"name": "more"}]):
        issues(client.post("/fhir/AuditEvent/$recordDisclosure", json=given | {"parameter": parameters}), 400)
    for query in ("", "entity=x", "patient=", "patient=p1&patient=p2", "_format=json"):
        issues(client.get(f"/fhir/AuditEvent?{query}"), 400)
    assert client.post("/fhir/AuditEvent/$recordDisclosure", json=given, headers=client.auditor).status_code == 403


# -- provenance --


def test_each_version_has_its_provenance(client):
    """QA-4.2: who did it, when, and by which document."""
    consent_id = filed(client)
    client.post("/fhir/Consent/$revokeConsent", json=factory.revocation(consent_id))
    found = client.get(f"/fhir/Provenance?target=Consent/{consent_id}").json()
    revoked, first = [one["resource"] for one in found["entry"]]
    assert [problems(one) for one in (revoked, first)] == [[], []]
    assert first["target"] == [{"reference": f"Consent/{consent_id}/_history/1"}]
    assert (first["activity"]["coding"][0]["code"], revoked["activity"]["coding"][0]["code"]) == ("CREATE", "NULLIFY")
    assert first["entity"][0]["what"]["type"] == "DocumentReference"
    assert first["entity"][0]["what"]["identifier"]["value"].startswith("ni:///sha-256;")
    assert "entity" not in revoked
    assert first["agent"][0]["who"]["identifier"]["value"].startswith("person:")
    assert client.get(f"/fhir/Provenance/{consent_id}-1").json() == first
    for path in ("/fhir/Provenance", "/fhir/Provenance?target=Patient/p1", f"/fhir/Provenance?target=Consent/{consent_id}&x=1"):
        issues(client.get(path), 400)
    for path in (f"/fhir/Provenance/{consent_id}-3", "/fhir/Provenance/x-1", f"/fhir/Provenance/{consent_id}-x"):
        issues(client.get(path), 404)


# -- subscriptions --


def subscription(port, *filters, content="id-only", **more):
    url = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-"
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "to keep a copy fresh",
        "criteria": topics.TOPIC,
        "_criteria": {"extension": [{"url": f"{url}filter-criteria", "valueString": one} for one in filters]},
        "channel": {
            "type": "rest-hook",
            "endpoint": f"http://127.0.0.1:{port}/hook",
            "payload": FHIR,
            "_payload": {"extension": [{"url": f"{url}payload-content", "valueCode": content}]},
            "header": ["Authorization: Bearer CANARY-SECRET"],
        },
    } | more


@pytest.fixture
def tell(database, keys, settings):
    return lambda: service.tell_due(database, keys, settings)


@pytest.fixture
def state(database):
    """The state of the one subscription, asked behind the back of sessions that time out."""

    def of():
        with database.transaction() as session:
            return session.connection().exec_driver_sql("SELECT status FROM consent_subscription").scalar_one()

    return of


def events(heard):
    """Number and focus of each notification that was heard."""
    found = []
    for _, _, _, bundle in heard:
        assert problems(bundle) == []
        parameters = {one["name"]: one for one in bundle["entry"][0]["resource"]["parameter"]}
        event = {part["name"]: part for part in parameters.get("notification-event", {}).get("part", ())}
        focus = event.get("focus", {}).get("valueReference", {}).get("reference", "").rpartition("/")[2]
        found.append((parameters["type"]["valueCode"], event.get("event-number", {}).get("valueString"), focus))
    return found


def test_a_subscriber_hears_of_filing_and_withdrawal(client, tell, web_server):
    answer = client.post("/fhir/Subscription", json=subscription(web_server.port))
    assert answer.status_code == 201, answer.text
    place = answer.headers["location"].split("8000", 1)[1]
    assert answer.json()["status"] == "requested"
    assert "CANARY" not in answer.text  # The credentials are not shown again.
    assert tell() == 1
    assert client.get(place).json()["status"] == "active"
    one = filed(client)
    client.post("/fhir/Consent/$revokeConsent", json=factory.revocation(one))
    assert tell() == 2
    assert tell() == 0
    assert events(web_server.heard) == [("handshake", None, ""), ("event-notification", "1", one), ("event-notification", "2", one)]
    assert web_server.heard[1][1]["Authorization"] == "Bearer CANARY-SECRET"
    assert web_server.heard[1][1]["Content-Type"] == "application/fhir+json"
    status = client.get(f"{place}/$status").json()["entry"][0]["resource"]["parameter"]
    assert {"name": "events-since-subscription-start", "valueString": "2"} in status
    assert client.get(place, headers=client.auditor).status_code == 404  # Somebody else's.
    assert client.delete(place).status_code == 204
    filed(client)
    assert tell() == 0
    assert client.get(place).json()["status"] == "off"


def test_filters_and_contents(client, tell, web_server):
    for content, filters in (
        ("empty", ()),
        ("id-only", ("status=inactive",)),
        ("id-only", ("Consent?organizationId=urn:o|1", "actor=Organization/renhe")),
    ):
        assert client.post("/fhir/Subscription", json=subscription(web_server.port, *filters, content=content)).status_code == 201
    tell()
    web_server.heard.clear()
    one = filed(client)
    assert tell() == 1
    assert events(web_server.heard) == [("event-notification", "1", "")]
    web_server.heard.clear()
    client.post("/fhir/Consent/$revokeConsent", json=factory.revocation(one))
    tell()
    assert sorted(events(web_server.heard)) == [("event-notification", "1", one), ("event-notification", "2", "")]
    web_server.heard.clear()
    other = filed(client, factory.sharing(organization="renhe"))
    tell()
    assert sorted(events(web_server.heard)) == [("event-notification", "1", other), ("event-notification", "3", "")]


def test_a_notification_that_does_not_arrive_is_tried_again_and_given_up_after_days(client, database, keys, tell, web_server, set_clock, state):
    set_clock(clock.now())
    client.post("/fhir/Subscription", json=subscription(web_server.port))
    tell()
    web_server.answers[:] = [503]
    one = filed(client)
    assert tell() == 0
    assert tell() == 0  # Not due yet.
    set_clock(clock.now() + timedelta(minutes=1))
    assert tell() == 1
    assert events(web_server.heard)[1:] == [("event-notification", "1", one)] * 2
    client.post("/fhir/Consent/$revokeConsent", json=factory.revocation(one))
    web_server.answers[:] = [500] * 50
    for _ in range(10):
        tell()
        set_clock(clock.now() + timedelta(hours=48))
    assert state() == "error"
    web_server.answers.clear()
    with database.transaction() as session:
        factory.file(session, keys, factory.sharing())
    assert tell() == 1
    assert state() == "active"


def test_a_handshake_that_fails_leaves_it_in_error(client, tell, web_server, set_clock, state):
    set_clock(clock.now())
    client.post("/fhir/Subscription", json=subscription(web_server.port))
    web_server.answers[:] = [404] * 50
    for _ in range(10):
        tell()
        set_clock(clock.now() + timedelta(hours=48))
    assert state() == "error"


BAD = {
    "topic": {"criteria": "Consent?status=active"},
    "status": {"status": "off"},
    "end": {"end": "soon"},
    "type": {"resourceType": "Patient"},
}


@pytest.mark.parametrize("more", BAD.values(), ids=BAD.keys())
def test_a_subscription_that_cannot_be_served_is_refused(client, more):
    assert issues(client.post("/fhir/Subscription", json=subscription(1) | more), 422)[0]["severity"] == "error"


@pytest.mark.parametrize(
    "channel",
    [
        {"type": "email"},
        {"payload": "application/fhir+xml"},
        {"_payload": {"extension": [{"url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content",
                                     "valueCode": "full-resource"}]}},
        {"_payload": None},
        {"endpoint": "ftp://127.0.0.1/"},
        {"endpoint": "https://user:secret@example.org/"},
        {"endpoint": 1},
        {"header": ["Host: elsewhere"]},
        {"header": ["no colon"]},
        {"header": ["X: a\r\nY: b"]},
        {"header": 5},
    ],
)  # fmt: skip
def test_a_channel_that_cannot_be_served_is_refused(client, channel):
    """A consent itself never travels in a notification: whoever hears of it reads it with their own credentials."""
    given = subscription(1)
    issues(client.post("/fhir/Subscription", json=given | {"channel": given["channel"] | channel}), 422)


@pytest.mark.parametrize("text", ["_has:x=1", "patientId:not=x", "status=", "", "a" * 1001])
def test_a_filter_that_the_topic_does_not_have_is_refused(client, text):
    issues(client.post("/fhir/Subscription", json=subscription(1, text)), 422)


def test_an_endpoint_in_the_hospital_s_own_network_hears_nothing_unless_it_is_named(client, database, keys, settings, web_server):
    client.post("/fhir/Subscription", json=subscription(web_server.port))
    assert service.tell_due(database, keys, settings.model_copy(update={"webhook_networks": ""})) == 0
    assert web_server.heard == []
