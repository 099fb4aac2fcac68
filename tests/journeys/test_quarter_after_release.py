"""The quarterly review shows what happened after the data had left (RS-7.1, RS-7.3, PI-3.5, PI-5, PI-6, PI-7, TM-5.5, QA-4.3).

One quarter of the hospital: a share with obligations, a withdrawal answered by its recipient, an incident and a drill, a break-glass, a case,
paper destroyed, an adverse event, a risk, an overdue corrective action, two requests
of a patient, a booked consultation, a complaint.
The review counts each, in both languages, and twice the same.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import clock
from broker.demo.client import expect
from broker.demo.consents import revocation
from broker.demo.story import TREATMENT, Story
from broker.obligations import service as obligations
from broker.review import service as review

PATIENT, OTHER = "p1001", "p1004"


@pytest.fixture(scope="module")
def document(story: Story) -> dict:
    manager, second, applicant = story.person("deng.li"), story.person("jiang.tao"), story.person("gao.min")
    consent = story.file_consent(PATIENT, "shengli")
    number = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)["number"]
    story.decide(number, "song.yi", "deng.li")
    token = story.system("shengli-his").token(number)["access_token"]
    expect(story.system("shengli-his").fetch("POST", "/releases", token, {"application": number, "patient": PATIENT}), 200)
    manager.call("POST", "/fhir/Consent/$revokeConsent", body=revocation(consent, PATIENT))
    with story.installation.database.transaction() as session:
        obligations.follow(session, story.installation.keys, days=15)
    (recall,) = applicant.call("GET", "/api/v1/recalls").json()
    done = {"application": number, "done": "deleted", "method": "wiped", "evidence": "清除记录"}
    applicant.call("POST", f"/api/v1/recalls/{recall['recall']}/acknowledge", body=done)
    target = [{"kind": "client", "id": "renhe-finance-system"}]
    for drill in (True, False):
        body = {"targets": target, "reason": "核查", "drill": drill}
        incident = manager.call("POST", "/api/v1/containments", expected=201, body=body).json()["number"]
    manager.call("POST", f"/api/v1/incidents/{incident}/assess", body={"severity": "low", "sensitive": False})
    patient = story.cast.patients[OTHER]
    said = {**patient.identifier, "name": patient.name, "birthDate": patient.birth_date}
    glass = {"recipient": "shengli-cardiology", "patient": said, "reason": "昏迷入院"}
    opened = applicant.call("POST", "/api/v1/emergencies", expected=201, body=glass).json()["application"]
    manager.call("POST", f"/api/v1/emergencies/{opened}/review", body={"verdict": "misuse", "text": "患者未到急诊"})
    case = applicant.call("GET", "/api/v1/violations").json()[0]["number"]
    applicant.call("POST", f"/api/v1/violations/{case}/hear", body={"text": "误填"})
    manager.call("POST", f"/api/v1/violations/{case}/propose", body={"sanction": "warning", "text": "首次"})
    second.call("POST", f"/api/v1/violations/{case}/decide", body={"agree": True})
    order = {"kind": "paper", "reason": "retention", "method": "cross-cut", "what": "2019 年纸质申请单"}
    destroyed = manager.call("POST", "/api/v1/destruction-orders", expected=201, body=order).json()["number"]
    second.call("POST", f"/api/v1/destruction-orders/{destroyed}/approve")
    event = {
        "patient": OTHER,
        "category": "medication-mishap",
        "seriousness": "Serious",
        "occurred_at": "2026-11-20T08:00:00+08:00",
        "told": "用药错误",
    }
    applicant.call("POST", "/api/v1/adverse-events", expected=201, body=event)
    owner = manager.call("GET", "/api/v1/me").json()["id"]
    today = clock.today()
    risk = {"title": "密钥保管", "treatment": "轮换", "likelihood": 3, "impact": 4, "owner": owner, "review_on": today.isoformat()}
    manager.call("POST", "/api/v1/risks", expected=201, body=risk)
    late = (today - timedelta(days=1)).isoformat()
    action = {"source": "violation", "source_ref": case, "changes": "training", "title": "紧急调阅培训", "owner": owner, "due_on": late}
    manager.call("POST", "/api/v1/corrective-actions", expected=201, body=action)
    for kind, text in (("explanation", "请解释"), ("restriction", "请暂停共享")):
        asked = manager.call("POST", "/api/v1/patient-requests", expected=201, body={"patient": OTHER, "kind": kind, "text": text}).json()
    refusal = {"ground": "not-identified", "text": "未能核实身份"}
    manager.call("POST", f"/api/v1/patient-requests/{asked['number']}/refuse", body=refusal)
    story.file_consent(OTHER, "shengli", without=("PSY",))
    shared = story.apply("gao.min", "shengli-cardiology", OTHER, "TREAT", "consent", TREATMENT)["number"]
    story.decide(shared, "song.yi", "deng.li")
    consultant = next(one["id"] for one in story.person("peng.bo").call("GET", "/api/v1/people").json() if one["username"] == "song.yi")
    now = clock.now()
    term = {"starts_at": (now + timedelta(hours=1)).isoformat(), "ends_at": (now + timedelta(hours=2)).isoformat()}
    applicant.call("POST", "/api/v1/consultations", expected=201, body={"application": shared, "consultant": consultant, **term})
    applicant.call("POST", "/api/v1/concerns", expected=201, body={"kind": "complaint", "text": "答复太慢"})
    name = f"{today.year}Q{(today.month + 2) // 3}"
    story.person("cao.yan").call("POST", f"/api/v1/reviews/{name}/access")
    with story.installation.database.transaction() as session:
        quarter = review.Quarter.parse(name)
        first, again = (review.compiled(session, quarter, feedback_days=30) for _ in range(2))
        whole = review.workbench.whole(session, story.installation.keys, quarter, first)
    assert review.as_json(first) == review.as_json(again)
    return whole


def test_each_is_counted(document):
    assert (document["incidents"]["reported"], document["incidents"]["drills"]) == (1, 1)
    assert document["incidents"]["by_kind"] == {"unauthorised-access": 1}
    assert (document["emergencies"]["opened"], document["emergencies"]["misuse"]) == (1, 1)
    assert (document["violations"]["opened"], document["violations"]["sanctions"]) == (1, {"warning": 1})
    assert (document["obligations"]["recalls"], document["obligations"]["recall_notices"]) == (1, {"deleted": 1})
    assert document["destruction"]["orders"] == {"paper": 1}
    assert (document["improvement"]["actions_overdue"], document["improvement"]["adverse_events"], document["improvement"]["risks_open"]) == (1, 1, 1)
    assert document["releases"]["by_outcome"]["sent"] >= 1
    assert document["telemedicine"]["booked"] == 1
    assert document["requests"]["received"] == 2
    assert document["requests"]["refused"] == 1
    assert document["concerns"]["raised"] == 1
    assert {one["kind"]: one["asked"] > 0 for one in document["access"]} == {"role": True, "client": True, "grant": True}


@pytest.mark.parametrize(
    ("language", "words"), [("zh", ("安全事件", "违规立案", "召回答复：已删除", "纸质")), ("en", ("Incidents", "Drills", "warning", "deleted"))]
)
def test_it_can_be_read_in_both_languages_and_names_nobody(story, document, language, words):
    text = review.as_text(document, language)
    for word in words:
        assert word in text
    for name in (PATIENT, OTHER, *(story.cast.patients[one].name for one in (PATIENT, OTHER))):
        assert name not in text
        assert name not in review.as_json(document)
