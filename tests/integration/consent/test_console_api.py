"""Consents as people work with them: notices, asking, evidence, explaining, withdrawal and its notices (PI-3.1, QA-4.2, TM-5.2)."""

from __future__ import annotations

import base64
from datetime import timedelta
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from broker import clock, edge
from broker.app import consent_wording
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent import service
from broker.consent.routes import build_router
from broker.crypto import digest
from broker.identity.access import Action, require
from broker.identity.roles import Role
from broker.policy import service as policy
from broker.records import service as records
from tests.factories import consent as factory
from tests.factories import identity
from tests.factories import records as hospital

PDF = b"%PDF-1.7 CANARY-SIGNATURE"


@pytest.fixture
def client(database, keys, test_settings, house):
    app = FastAPI()
    app.state.settings, app.state.keys, app.state.database = test_settings, keys, database
    edge.install(app)
    wording = consent_wording(policy.catalogue())
    app.include_router(build_router(may_file=require(Action.CONSENT_WRITE), may_read=require(Action.CONSENT_READ), wording=wording))
    with database.transaction() as session:
        manager = identity.signed_in(session, identity.person(session, Role.INFORMATION_MANAGER))
        auditor = identity.signed_in(session, identity.person(session, Role.AUDITOR))
        outside = identity.signed_in(session, identity.person(session, Role.APPLICANT, organization_id="shengli"))
    with TestClient(app, headers={"Accept-Language": "en", **manager}, raise_server_exceptions=False) as client:
        client.auditor, client.outside = auditor, outside
        yield client


@pytest.fixture
def stored(database, keys, house):
    """The record of p1, an adult, and of p2, a child."""
    child = (clock.now() - timedelta(days=365 * 10)).date().isoformat()
    resources = [
        hospital.patient("p1"),
        hospital.patient("p2", birthDate=child),
        hospital.observation("glucose", "p1"),
        hospital.condition("flu", "p1", hospital.concept(hospital.ICD10, "J11.1", "流行性感冒")),
        hospital.condition("hiv", "p1", hospital.concept(hospital.ICD10, "B20.9", "HIV")),
        hospital.condition("psy", "p1", hospital.concept(hospital.ICD10, "F20.0", "精神分裂症")),
        hospital.observation("noted", "p1", note=[{"text": "schizophrenia suspected"}]),
    ]
    report = hospital.taken_in(database, keys, hospital.bundle(*resources))
    assert not report.refusals


def scope(**more):
    until = (clock.now() + timedelta(days=365)).date().isoformat()
    return {
        "recipient": "shengli",
        "purpose": "TREAT",
        "data": ["clinical.laboratory", "clinical.diagnoses"],
        "sensitive": ["PSY"],
        "until": until,
    } | more


def asking(**more):
    return {
        "patient": "p1",
        "notice": "share-with-hospital",
        "version": 1,
        "scope": scope(),
        "answer": "given",
        "separate": ["other-processor", "sensitive"],
        "evidence": [{"kind": "document", "content_type": "application/pdf", "data": base64.b64encode(PDF).decode()}],
    } | more


def problems(answer, status=422):
    assert answer.status_code == status, answer.text
    return {one["code"] for one in answer.json().get("errors", answer.json().get("problems", []))} or {answer.json()["code"]}


def ask(client, **more):
    return client.post("/api/v1/consents/askings", json=asking(**more))


def effects_for(client, recipient):
    found = client.get(f"/api/v1/consents/explain?patient=p1&recipient={recipient}&purpose=TREAT").json()
    return {one["resource"]: one["effect"] for one in found["resources"]}


# -- asking --


def test_a_yes_becomes_a_consent_that_says_exactly_that(client, stored, database, keys, house):
    answer = ask(client)
    assert answer.status_code == 201, answer.text
    done = answer.json()
    assert done["report"]["enforceable"]
    assert "胜利" in done["shown"] or "shengli" in done["shown"]
    found = client.get("/api/v1/consents/explain?patient=p1&recipient=shengli&purpose=TREAT").json()
    effects = {one["resource"]: one["effect"] for one in found["resources"]}
    assert effects["Condition/flu"] == effects["Condition/psy"] == effects["Observation/glucose"] == "permit"
    assert effects["Condition/hiv"] == "deny"  # A topic that was not ticked.
    assert effects["Patient/p1"] == "silent"  # A type that was not asked for.
    (listed,) = client.get("/api/v1/consents/askings?patient=p1").json()["items"]
    assert (listed["answer"], listed["capacity"], listed["consent"]) == ("given", "self", done["consent"])
    assert listed["shown"] == done["shown"]
    proof = client.get(f"/api/v1/consents/askings/{done['id']}/evidence/1", headers=client.auditor)
    assert (proof.content, proof.headers["content-type"]) == (PDF, "application/pdf")
    assert "attachment" in proof.headers["content-disposition"]
    with database.transaction() as session:
        rows = (
            session.connection()
            .exec_driver_sql("SELECT a.record, e.body, e.content_hash FROM consent_asking a JOIN consent_evidence e ON true")
            .one()
        )
        leaves = session.connection().exec_driver_sql("SELECT string_agg(leaf, '') FROM audit_event").scalar_one()
    assert not any(b"CANARY" in bytes(one) or b'"p1"' in bytes(one) or b"Patient/p1" in bytes(one) for one in rows)
    assert digest(PDF) not in leaves
    assert "consent.evidence-read" in leaves


def test_one_hospital_s_consent_does_not_deny_another_what_the_patient_lets_it_have(client, stored):
    """Topics that were not ticked are denied to that recipient for that purpose, and to nobody else."""
    assert ask(client, scope=scope(sensitive=[])).status_code == 201
    inside = asking(notice="use-within-hospital", separate=["sensitive"], scope=scope(recipient="renhe", sensitive=["PSY", "HIV"]))
    assert client.post("/api/v1/consents/askings", json=inside).status_code == 201
    effects = {recipient: effects_for(client, recipient) for recipient in ("shengli", "renhe")}
    assert effects["shengli"]["Condition/hiv"] == effects["shengli"]["Condition/psy"] == "deny"
    assert effects["renhe"]["Condition/hiv"] == effects["renhe"]["Condition/psy"] == "permit"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"separate": ["sensitive"]}, "separate-consent-missing"),
        ({"separate": []}, "separate-consent-missing"),
        ({"evidence": []}, "evidence-missing"),
        ({"notice": "use-within-hospital"}, "notice-does-not-say"),
        ({"patient": "p2"}, "guardian-needed"),
        ({"grantor": {"capacity": "guardian", "relationship": "parent"}}, "guardian-not-needed"),
        ({"patient": "p2", "grantor": {"capacity": "guardian"}}, "missing"),
    ],
)
def test_an_answer_that_the_law_would_not_take_is_refused(client, stored, more, code):
    assert code in ask(client, **more).text
    assert ask(client, **more).status_code == 422
    assert client.get(f"/api/v1/consents/askings?patient={more.get('patient', 'p1')}").json()["items"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"purpose": "NOSUCH"}, "unknown-purpose"),
        ({"data": ["no.such"]}, "unknown-class"),
        ({"sensitive": ["NOSUCH"]}, "unknown-topic"),
        ({"method": "pigeon"}, "unknown-method"),
        ({"until": "2020-01-01"}, "over"),
    ],
)
def test_a_scope_that_is_not_known_here_is_refused(client, stored, change, code):
    answer = ask(client, scope=scope(**change))
    assert answer.status_code == 422
    assert code in answer.text


def test_for_a_child_a_guardian_answers(client, stored):
    answer = ask(client, patient="p2", grantor={"capacity": "guardian", "relationship": "parent", "name": "王大明"})
    assert answer.status_code == 201, answer.text
    (listed,) = client.get("/api/v1/consents/askings?patient=p2").json()["items"]
    assert (listed["capacity"], listed["relationship"], listed["name"]) == ("guardian", "parent", "王大明")


def test_where_the_age_is_not_known_nobody_answers_for_themselves(client, database, keys, house):
    assert "age-unknown" in ask(client).text


def test_whoever_refused_is_not_asked_again_for_a_while(client, stored, set_clock):
    now = clock.now()
    set_clock(now)
    assert ask(client, answer="refused", evidence=[], separate=[]).json()["consent"] is None
    again = ask(client)
    assert (again.status_code, again.json()["code"]) == (409, "consent-asked-too-soon")
    needed = client.post("/api/v1/consents/needed", json={"patient": "p1", "scope": scope()}).json()
    assert (needed["needed"], needed["reasons"], needed["not_before"][:10]) == (
        True,
        ["nothing-agreed"],
        (now + timedelta(days=90)).date().isoformat(),
    )
    assert ask(client, scope=scope(purpose="HRESCH")).status_code == 201  # Something else.
    assert ask(client, by_patient=True).status_code == 201  # The patient came by themselves.


def test_a_refusal_that_is_to_be_enforced_denies_the_recipient_the_purpose(client, stored):
    done = ask(client, answer="refused", evidence=[], separate=[], denies=True)
    assert done.status_code == 201, done.text
    found = client.get("/api/v1/consents/explain?patient=p1&recipient=shengli&purpose=TREAT").json()
    assert (found["base"], {one["effect"] for one in found["resources"]}) == ("deny", {"deny"})
    assert client.get("/api/v1/consents/explain?patient=p1&recipient=renhe&purpose=TREAT").json()["base"] == "silent"


def test_what_was_agreed_to_carries_the_same_and_less_and_nothing_else(client, stored):
    consent = ask(client).json()["consent"]

    def needed(**change):
        return client.post("/api/v1/consents/needed", json={"patient": "p1", "scope": scope(**change)}).json()

    assert needed()["carried_by"] == needed(data=["clinical.laboratory"], sensitive=[])["carried_by"] == consent
    assert needed(purpose="HRESCH")["reasons"] == ["purpose"]
    assert needed(method="bulk-file")["reasons"] == ["method"]
    assert needed(data=["clinical.allergies"])["reasons"] == ["types"]
    assert needed(sensitive=["HIV"])["reasons"] == ["topics"]
    assert client.post(f"/api/v1/consents/{consent}/withdraw").json()["status"] == "inactive"
    assert needed()["reasons"] == ["withdrawn"]


# -- notices --


def test_a_new_version_of_a_notice_retires_the_one_before(client, stored):
    notice = next(one for one in client.get("/api/v1/consents/notices").json()["items"] if one["name"] == "share-with-hospital")
    content = notice["content"] | {"texts": notice["content"]["texts"] | {"en": notice["content"]["texts"]["en"] | {"title": "A new title"}}}
    added = client.post("/api/v1/consents/notices", json=content).json()
    assert (added["version"], added["in_use"]) == (2, True)
    assert "notice-retired" in ask(client).text
    assert "A new title" in client.post("/api/v1/consents/notices/preview", json={"notice": notice["name"], "version": 2, "scope": scope()}).text
    assert ask(client, version=2).status_code == 201
    assert ask(client, version=3).status_code == 404
    broken = content | {"texts": content["texts"] | {"zh": {}}}
    refused = client.post("/api/v1/consents/notices", json=broken)
    assert refused.status_code == 422
    assert "PIPL 30" in refused.text
    assert client.post("/api/v1/consents/notices", json=content, headers=client.auditor).status_code == 403


def test_the_preview_speaks_both_languages_and_fills_every_blank(client, stored):
    texts = client.post("/api/v1/consents/notices/preview", json={"notice": "share-with-hospital", "version": 1, "scope": scope()}).json()["texts"]
    assert set(texts) == {"zh", "en"}
    assert "{" not in "".join([*texts["zh"].values(), *texts["en"].values()])


# -- explaining --


def test_explaining_names_the_provision_and_agrees_with_the_gate(client, stored, database, keys, house):
    given = factory.sharing(factory.provision("deny", factory.labels("PSY")))
    with database.transaction() as session:
        consent = factory.file(session, keys, given).id
    found = client.get("/api/v1/consents/explain?patient=p1&recipient=shengli-cardiology&purpose=TREAT").json()
    by = {one["resource"]: one for one in found["resources"]}
    assert (by["Condition/psy"]["effect"], by["Condition/psy"]["provision"]) == ("deny", "Consent.provision.provision[0]")
    assert (by["Condition/flu"]["effect"], by["Condition/flu"]["consent"]) == ("permit", str(consent))
    assert by["Observation/noted"]["effect"] == "permit"
    assert by["Observation/noted"]["notes_withheld"]
    assert not by["Observation/glucose"]["notes_withheld"]
    assert found["counts"]["Condition"] == {"permit": 2, "deny": 1, "silent": 0}
    assert found["consents"] == [str(consent)]
    assert found["whole"]
    other = client.get("/api/v1/consents/explain?patient=p1&recipient=shengli&purpose=HPAYMT").json()
    assert {one["effect"] for one in other["resources"]} <= {"silent", "deny"}
    with database.transaction() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM audit_event WHERE type = 'consent.explained'").scalar_one() == 2


def test_for_one_resource_who_could_see_it(client, stored, database, keys):
    with database.transaction() as session:
        factory.file(session, keys, factory.sharing(factory.provision("deny", factory.labels("PSY"))))
    seers = {
        one["organization"]: one["effect"]
        for one in client.get("/api/v1/consents/explain?patient=p1&resource=Condition/flu&purpose=TREAT").json()["organizations"]
    }
    assert (seers["shengli"], seers["shengli-cardiology"], seers["renhe"]) == ("permit", "permit", "silent")
    denied = client.get("/api/v1/consents/explain?patient=p1&resource=Condition/psy&purpose=TREAT").json()["organizations"]
    assert {one["effect"] for one in denied} == {"deny"}
    assert client.get("/api/v1/consents/explain?patient=p1&resource=Condition/none&purpose=TREAT").status_code == 404
    assert client.get("/api/v1/consents/explain?patient=p2&resource=Condition/flu&purpose=TREAT").status_code == 404


def test_what_a_consent_would_change_before_it_is_signed(client, stored, database, keys, house):
    with database.transaction() as session:
        factory.file(session, keys, factory.sharing(identifier=factory.identifier()))
    given = factory.sharing(factory.provision("deny", factory.labels("HIV")), identifier=factory.identifier(), dateTime=clock.now().isoformat())
    answer = client.post("/api/v1/consents/explain", json={"consent": given, "recipients": ["shengli", "renhe"], "purposes": ["TREAT"]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert len(found["replaces"]) == 1
    shengli, renhe = found["changes"]
    (hidden,) = shengli["resources"]
    assert (hidden["before"]["resource"], hidden["before"]["effect"], hidden["after"]["effect"]) == ("Condition/hiv", "permit", "deny")
    assert [(one["before"]["effect"], one["after"]["effect"]) for one in renhe["resources"]] == [("silent", "deny")]
    with database.transaction() as session:
        assert records.open_vault(session, keys, house["p1"]).epoch == 1  # Nothing was stored.
    refused = client.post(
        "/api/v1/consents/explain", json={"consent": given | {"status": "draft"}, "recipients": ["shengli"], "purposes": ["TREAT"]}
    ).json()
    assert (refused["report"]["enforceable"], refused["changes"]) == (False, [])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("patient=p1&purpose=TREAT", 422),
        ("patient=p1&purpose=TREAT&recipient=shengli&resource=Condition/flu", 422),
        ("patient=p1&purpose=NOSUCH&recipient=shengli", 422),
        ("patient=nobody&purpose=TREAT&recipient=shengli", 404),
        ("patient=p1&purpose=TREAT&recipient=nobody", 404),
        ("patient=p1&purpose=TREAT&resource=../x", 404),
    ],
)
def test_a_question_that_cannot_be_meant_is_refused(client, stored, query, status):
    assert client.get(f"/api/v1/consents/explain?{query}").status_code == status


# -- withdrawal --


def released(session, keys, patient_key, recipient, outcome="sent"):

    release, subject = uuid4(), records.open_vault(session, keys, patient_key).subject
    about = {"actor": "client:x", "recipient": recipient, "purpose": "TREAT", "patient": patient_key, "subject": subject, "release": release}
    audit.record(session, Event("release.permitted", outcome="permit", facts={"items": 3}, **about))
    audit.record(session, Event(f"release.{outcome}", outcome=outcome, facts={"bytes": 0 if outcome == "failed" else 9}, **about))


def test_past_recipients_are_told_of_a_withdrawal_and_acknowledge(client, stored, database, keys, house):
    with database.transaction() as session:
        consent = factory.file(session, keys, factory.sharing()).id
        for recipient, outcome in (("shengli", "sent"), ("shengli", "partial"), ("shengli-cardiology", "failed"), ("renhe", "sent")):
            released(session, keys, house["p1"], recipient, outcome)
        released(session, keys, house["p2"], "shengli")
    assert client.post(f"/api/v1/consents/{consent}/withdraw").status_code == 200
    (told,) = client.get("/api/v1/consents/withdrawals").json()["items"]  # Not renhe, of which the consent doesn't speak.
    assert (told["consent"], told["recipient"], told["releases"], told["acknowledged_at"]) == (str(consent), "shengli", 2, None)
    with database.transaction() as session:
        kinds = session.connection().exec_driver_sql("SELECT recipient, kind FROM notification").all()
    assert [tuple(one) for one in kinds] == [("organization:shengli", "consent.withdrawn")]
    assert client.get("/api/v1/consents/withdrawals", headers=client.outside).json()["items"] == [told]
    place = f"/api/v1/consents/withdrawals/{consent}"
    assert client.post(f"{place}/renhe/acknowledge", json={"destroyed": True}, headers=client.outside).status_code == 403
    done = client.post(f"{place}/shengli/acknowledge", json={"destroyed": True}, headers=client.outside).json()
    assert done["destroyed"] is True
    assert done["acknowledged_by"].startswith("person:")
    assert client.post(f"{place}/shengli/acknowledge", json={"destroyed": False}, headers=client.outside).json() == done
    assert client.get("/api/v1/consents/withdrawals?waiting=true").json()["items"] == []
    assert client.post(f"{place}/nobody/acknowledge", json={"destroyed": True}).status_code == 404
    assert client.post(f"/api/v1/consents/{consent}/withdraw").json()["status"] == "inactive"  # Again changes nothing.
    assert len(client.get("/api/v1/consents/withdrawals").json()["items"]) == 1


def test_withdrawing_asks_for_nothing_but_the_consent(client, stored):
    """PIPL 15: as easy as giving."""
    consent = ask(client).json()["consent"]
    assert client.post(f"/api/v1/consents/{consent}/withdraw").status_code == 200
    assert client.get(f"/fhir/Consent/{consent}").json()["status"] == "inactive"
    assert service.background()


def test_explaining_asks_for_the_person_who_would_apply(client, stored, database, keys):
    """Decision 0023: a permit of a person speaks for nobody else."""
    with database.transaction() as session:
        doctor, other = (str(identity.person(session, organization_id="shengli-cardiology").id) for _ in range(2))
        factory.file(session, keys, factory.consent(factory.provision("permit", factory.actors(f"Practitioner/{doctor}"))))
    address = "/api/v1/consents/explain?patient=p1&recipient=shengli-cardiology&purpose=TREAT"
    said = {name: client.get(f"{address}&requester={who}").json()["base"] for name, who in (("doctor", doctor), ("other", other))}
    assert said == {"doctor": "permit", "other": "silent"}
    assert client.get(address).json()["base"] == "silent"
    assert client.get(f"{address}&requester=00000000-0000-0000-0000-000000000000").status_code == 404
    assert client.get(f"{address}&requester=x").status_code == 422
