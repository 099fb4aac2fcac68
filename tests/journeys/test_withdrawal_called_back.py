"""A withdrawal that ends in three recipients' confirmed deletion (PIPL 15, 47; PI-3.5; mission rows 41, 62, 63).

1. Zhang's data went to the provincial hospital (by consent), to the hospital's own finance (by contract) and to its cardiology.
2. She withdraws. By itself, from the log, each of the three is told what was sent to it and until when to answer.
3. The provincial hospital answers by its system's signed file, the finance department at the API, cardiology at the API.
4. At the desk Zhang sees that all three deleted; the ledger shows it; the log proves each answer.
"""

from __future__ import annotations

import httpx2
import pytest

from broker.demo.client import Unexpected, expect
from broker.demo.consents import revocation
from broker.demo.story import TREATMENT, Story
from broker.identity import service as sessions
from broker.obligations import service as obligations
from tests.journeys.test_stolen_key import signed

PATIENT = "p1001"


def follow(story: Story) -> None:
    with story.installation.database.transaction() as session:
        obligations.follow(session, story.installation.keys, days=15)


def own_page(story: Story) -> str:
    """What Zhang reads at her own page, with the code that the desk gave her."""
    key = story.installation.keys.patient_key(PATIENT)
    with story.installation.database.transaction() as session:
        code = sessions.give_code(session, story.installation.keys, "person:desk", key).text
    with httpx2.Client(base_url=story.base_url, headers={"Sec-Fetch-Site": "same-origin", "Accept-Language": "en"}) as http:
        number = story.cast.patients[PATIENT].identifier["value"]
        assert http.post("/console/patient/login", data={"number": number, "code": code}).status_code == 303
        return http.get("/console/patient/requests").text


@pytest.fixture(scope="module")
def numbers(story: Story) -> dict[str, str]:
    """Three recipients who received something; the consent's id too."""
    consent = story.file_consent(PATIENT, "shengli")
    from tests.factories import identity

    with story.installation.database.transaction() as session:
        _, jwk = identity.client_with_key(session, organization_id="renhe-cardiology", id="renhe-cardiology-system")
    from joserfc.jwk import ECKey

    story.cast.keys["renhe-cardiology-system"] = ECKey.import_key(jwk)
    asked = {
        "shengli-his": ("gao.min", "shengli-cardiology", "TREAT", "consent", TREATMENT, "song.yi"),
        "renhe-finance-system": ("yu.fang", "renhe-finance", "HPAYMT", "contract", [{"data_class": "financial"}], "hu.bin"),
        "renhe-cardiology-system": ("he.wenbo", "renhe-cardiology", "TREAT", "contract", TREATMENT, None),
    }
    found = {"consent": consent}
    with story.installation.database.transaction() as session:
        head = identity.person(session, "department_head", organization_id="renhe-cardiology", username="second.head")
    story.cast.passwords[head.username] = identity.PASSWORD
    for client, (applicant, recipient, purpose, basis, data, endorser) in asked.items():
        number = story.apply(applicant, recipient, PATIENT, purpose, basis, data)["number"]
        story.decide(number, endorser or "second.head", "deng.li")
        token = story.system(client).token(number)["access_token"]
        expect(story.system(client).fetch("POST", "/releases", token, {"application": number, "patient": PATIENT}), 200)
        found[client] = number
    follow(story)
    return found


def test_what_left_is_owed_for_and_both_sides_see_it(story, numbers):
    mine = story.person("gao.min").call("GET", "/api/v1/obligations").json()
    assert {one["application"] for one in mine} == {numbers["shengli-his"]}
    assert {"DELAU", "NORDSCLCD"} <= {one["code"] for one in mine}
    seen = story.person("cao.yan").call("GET", "/api/v1/obligations").json()
    assert {one["application"] for one in seen} == set(numbers.values()) - {numbers["consent"]}
    assert {one["status"] for one in seen} == {"open"}
    assert story.person("lu.xin").call("GET", "/api/v1/obligations").json() == []


def test_a_duty_is_answered_by_a_signed_file_of_the_recipient_s_own_system_alone(story, numbers):
    """PI-3.5: API, console (tests/browser) and signed file do the same; nobody signs for another, and no file counts twice."""
    said = {"application": numbers["renhe-finance-system"], "codes": ["DELAU"], "done": "deleted", "method": "wiped", "evidence": "清除单 9"}
    path = "/api/v1/obligations/answers/signed"
    before = {one["id"]: one["status"] for one in story.person("cao.yan").call("GET", "/api/v1/obligations").json()}
    assert story.http.post(path, json={"statement": signed(story, "shengli-his", said)}).status_code == 404
    assert story.http.post(path, json={"statement": signed(story, "renhe-finance-system", {**said, "done": "perhaps"})}).status_code == 422
    assert {one["id"]: one["status"] for one in story.person("cao.yan").call("GET", "/api/v1/obligations").json()} == before
    statement = signed(story, "renhe-finance-system", said)
    assert expect(story.http.post(path, json={"statement": statement}), 200).json()["answered"] == 1
    assert story.http.post(path, json={"statement": statement}).status_code == 401, "once"
    after = [one for one in story.person("cao.yan").call("GET", "/api/v1/obligations").json() if one["status"] != before[one["id"]]]
    assert [(one["application"], one["code"], one["evidence"]) for one in after] == [(said["application"], "DELAU", "清除单 9")]


@pytest.fixture(scope="module")
def recall(story: Story, numbers: dict[str, str]) -> str:
    story.person("deng.li").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(numbers["consent"], PATIENT))
    follow(story)
    return story.person("cao.yan").call("GET", "/api/v1/recalls").json()[0]["recall"]


def test_each_recipient_is_told_what_was_sent_to_it_and_of_nobody_else(story, numbers, recall):
    for person, client in (("gao.min", "shengli-his"), ("yu.fang", "renhe-finance-system"), ("he.wenbo", "renhe-cardiology-system")):
        (mine,) = story.person(person).call("GET", "/api/v1/recalls").json()
        assert (mine["application"], mine["reason"], mine["done"], mine["releases"]) == (numbers[client], "withdrawn", None, 1)
        path = f"/api/v1/recalls/{recall}/releases?application={numbers[client]}"
        (release,) = story.person(person).call("GET", path).json()
        assert release["items"] > 0
        inbox = story.person(person).call("GET", "/api/v1/notifications").text
        assert recall in inbox
        assert "张秀英" not in inbox
        assert PATIENT not in inbox
    with pytest.raises(Unexpected, match="404"):
        story.person("gao.min").call("GET", f"/api/v1/recalls/{recall}/releases?application={numbers['renhe-finance-system']}")
    with pytest.raises(Unexpected, match="403"):
        story.person("gao.min").call("GET", f"/api/v1/patients/{PATIENT}/recalls")


def test_three_confirm_and_the_patient_sees_it(story, numbers, recall):
    said = {"recall": recall, "application": numbers["shengli-his"], "done": "deleted", "method": "wiped", "evidence": "清除记录 2026-117"}
    others = {**said, "application": numbers["renhe-finance-system"]}
    assert story.http.post("/api/v1/recalls/signed", json={"statement": signed(story, "shengli-his", others)}).status_code == 404
    wrong = signed(story, "shengli-his", {**said, "done": "perhaps"})
    assert story.http.post("/api/v1/recalls/signed", json={"statement": wrong}).status_code == 422
    answer = expect(story.http.post("/api/v1/recalls/signed", json={"statement": signed(story, "shengli-his", said)}), 200).json()
    for person, client in (("yu.fang", "renhe-finance-system"), ("he.wenbo", "renhe-cardiology-system")):
        body = {"application": numbers[client], "done": "deleted", "method": "shredded", "evidence": "纸质与电子均已销毁"}
        story.person(person).call("POST", f"/api/v1/recalls/{recall}/acknowledge", body=body)
    seen = story.person("deng.li").call("GET", f"/api/v1/patients/{PATIENT}/recalls").json()
    assert {(one["application"], one["done"]) for one in seen} == {(numbers[client], "deleted") for client in numbers if client != "consent"}
    assert next(one for one in seen if one["application"] == said["application"])["evidence_digest"] == answer["digest"]
    page = own_page(story)
    assert page.count("Copies deleted") == 3, "at her own page she reads what each of the three did"
    assert recall not in page
    ledger = story.person("cao.yan").call("GET", "/api/v1/obligations").json()
    assert {one["status"] for one in ledger if one["code"] == "DELAU"} == {"fulfilled"}
    assert {one["status"] for one in ledger if one["code"] != "DELAU"} == {"open"}, "not to pass on is owed on"
    with story.installation.database.transaction() as session:
        query = "SELECT count(*), count(DISTINCT application) FROM audit_event WHERE type = 'recall.acknowledged'"
        assert tuple(session.connection().exec_driver_sql(query).one()) == (3, 3)
    story.verify_log()
