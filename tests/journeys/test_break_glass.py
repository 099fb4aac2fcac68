"""Emergency access (TM-5.5; mission row 32): opened at once, least necessary, reviewed afterwards, or it becomes an incident.

1. A patient arrives unconscious at the provincial hospital. Nobody there has an application. Dr Gao breaks the glass.
2. Her system fetches what saves a life, and nothing else: no psychiatry, no telephone numbers; not of another patient; not after an hour.
3. A patient who refused even that stays refused, and the refusal is on record.
4. Nobody reviews it. Three days later it is an incident by itself. The late review finds misuse: a case, a hearing, a decision by two,
   and Dr Gao can neither apply, nor break the glass, nor fetch.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from broker import clock
from broker.demo.client import Unexpected, expect
from broker.demo.story import TREATMENT, Story
from broker.incidents import service as incidents

PATIENT, OTHER = "p1001", "p1006"
REASON = "患者昏迷入院，需立即了解过敏史与用药。"


def body(story: Story, patient_id: str, **changes) -> dict:
    patient = story.cast.patients[patient_id]
    said = {**patient.identifier, "name": patient.name, "birthDate": patient.birth_date}
    return {"recipient": "shengli-cardiology", "patient": said, "reason": REASON, **changes}


@pytest.fixture(scope="module")
def emergency(story: Story) -> dict:
    return story.person("gao.min").call("POST", "/api/v1/emergencies", expected=201, body=body(story, PATIENT)).json()


@pytest.fixture(scope="module")
def token(story: Story, emergency: dict) -> str:
    return story.system("shengli-his").token(emergency["application"])["access_token"]


def test_what_saves_a_life_leaves_and_nothing_else(story, emergency, token):
    answer = expect(story.system("shengli-his").fetch("GET", f"/fhir/Patient/{PATIENT}/$everything", token), 200)
    resources = [entry["resource"] for entry in json.loads(answer.content)["entry"]]
    kinds = {one["resourceType"] for one in resources}
    assert {"Patient", "Condition"} <= kinds
    assert not {"Claim", "Coverage", "ExplanationOfBenefit", "Account"} & kinds
    for hidden in ("抑郁", "舍曲林", "sertraline", "telecom", "13800"):
        assert hidden not in answer.text
    refused = story.system("shengli-his").fetch("GET", f"/fhir/Patient/{OTHER}/$everything", token)
    assert refused.status_code == 403
    told = story.person("deng.li").call("GET", "/api/v1/notifications").text
    assert emergency["application"] in told


def test_it_closes_by_itself(story, emergency, token, monkeypatch):
    at = clock.now() + timedelta(minutes=61)
    monkeypatch.setattr(clock, "now", lambda: at)
    assert story.system("shengli-his").fetch("GET", f"/fhir/Patient/{PATIENT}/$everything", token).status_code in (401, 403)
    with pytest.raises(Unexpected):
        story.system("shengli-his").token(emergency["application"])


def test_who_may_not_ask_and_who_is_not_known_get_nothing(story, emergency):
    for person in ("deng.li", "cao.yan", "lu.xin"):
        with pytest.raises(Unexpected, match=r"403|422"):
            story.person(person).call("POST", "/api/v1/emergencies", expected=201, body=body(story, PATIENT))
    wrong = body(story, PATIENT)
    wrong["patient"]["birthDate"] = "1901-01-01"
    with pytest.raises(Unexpected, match="422"):
        story.person("gao.min").call("POST", "/api/v1/emergencies", expected=201, body=wrong)


@pytest.fixture(scope="module")
def incident(story: Story, emergency: dict, token: str) -> str:
    """Three days later."""
    with pytest.MonkeyPatch.context() as patch, story.installation.database.transaction() as session:
        at = clock.now() + timedelta(hours=73)
        patch.setattr(clock, "now", lambda: at)
        assert incidents.escalate(session, story.installation.keys) == 1
    return story.person("cao.yan").call("GET", "/api/v1/emergencies").json()[0]["incident"]


def test_what_nobody_reviewed_became_an_incident(story, emergency, incident):
    seen = story.person("cao.yan").call("GET", f"/api/v1/incidents/{incident}").json()
    assert (seen["kind"], seen["reported_by"], seen["status"]) == ("emergency-unreviewed", "system", "reported")
    assert emergency["application"] in seen["summary"]


def test_misuse_has_consequences(story, emergency, incident):
    first, second, accused = story.person("deng.li"), story.person("jiang.tao"), story.person("gao.min")
    review = {"verdict": "misuse", "text": "患者当日未到急诊。"}
    with pytest.raises(Unexpected, match="403"):
        accused.call("POST", f"/api/v1/emergencies/{emergency['application']}/review", body=review)
    first.call("POST", f"/api/v1/emergencies/{emergency['application']}/review", body=review)
    (case,) = accused.call("GET", "/api/v1/violations").json()
    path = f"/api/v1/violations/{case['number']}"
    accused.call("POST", f"{path}/hear", body={"text": "我误填了患者。"})
    first.call("POST", f"{path}/propose", body={"sanction": "suspended", "days": 30, "text": "擅自调阅"})
    with pytest.raises(Unexpected, match="403"):
        first.call("POST", f"{path}/decide", body={"agree": True})
    # Until here she may apply, and her grant is good.
    story.file_consent("p1004", "shengli")
    number = story.apply("gao.min", "shengli-cardiology", "p1004", "TREAT", "consent", TREATMENT)["number"]
    story.decide(number, "song.yi", "deng.li")
    hers = story.system("shengli-his").token(number)["access_token"]
    expect(story.system("shengli-his").fetch("GET", "/fhir/Patient/p1004/$everything", hers), 200)
    decided = second.call("POST", f"{path}/decide", body={"agree": True}).json()
    assert (decided["status"], decided["in_force"]) == ("decided", True)
    for call in (
        lambda: accused.call("GET", "/api/v1/me"),
        lambda: story.apply("gao.min", "shengli-cardiology", "p1004", "TREAT", "consent", TREATMENT),
        lambda: accused.call("POST", "/api/v1/emergencies", expected=201, body=body(story, PATIENT)),
    ):
        with pytest.raises(Unexpected, match="401"):
            call()
    assert story.system("shengli-his").fetch("GET", "/fhir/Patient/p1004/$everything", hers).status_code == 403
    story.verify_log()
