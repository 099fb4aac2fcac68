"""What a patient asks of the hospital about her own data (PIPL 44 to 50), and what becomes of it.

1. Zhang's data went to the provincial hospital. She finds a mistake in it and asks for a correction; the desk brings the
   corrected record, and a second person compares it with what is kept and agrees.
2. The provincial hospital is told, fetches what is right, and answers; Zhang sees the answer.
3. She asks for a copy: it is whole, byte for byte, and stands in the transmission log like every sending.
4. She asks that nothing more be shared: the very next fetch is refused; she asks again, and it flows.
5. She asks for deletion; refused with its ground, she appeals, and somebody else grants it: two people destroy, and her words are gone too.
"""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from broker.demo.client import Unexpected, expect
from broker.demo.story import TREATMENT, Story
from broker.obligations import service as obligations
from broker.requests import service as requests

PATIENT, RIGHT = "p1001", "98.7"
DESK = "/api/v1/patient-requests"


def ask(story: Story, kind: str, text: str = "请办理") -> str:
    return story.person("deng.li").call("POST", DESK, expected=201, body={"patient": PATIENT, "kind": kind, "text": text}).json()["number"]


def step(story: Story, who: str, number: str, name: str, expected: int = 200, **body) -> dict:
    return story.person(who).call("POST", f"{DESK}/{number}/{name}", expected=expected, body={"text": "已办理", **body}).json()


def fetched(story: Story, application: str, path: str):
    token = story.system("shengli-his").token(application)["access_token"]
    return story.system("shengli-his").fetch("GET", path, token)


@pytest.fixture(scope="module")
def exchange(story: Story) -> str:
    story.file_consent(PATIENT, "shengli")
    number = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)["number"]
    story.decide(number, "song.yi", "deng.li")
    token = story.system("shengli-his").token(number)["access_token"]
    expect(story.system("shengli-his").fetch("POST", "/releases", token, {"application": number, "patient": PATIENT}), 200)
    return number


def follow(story: Story) -> None:
    with story.installation.database.transaction() as session:
        obligations.follow(session, story.installation.keys, days=15)


def test_a_correction_reaches_whoever_received_the_mistake(story, exchange):
    found = json.loads(expect(fetched(story, exchange, f"/fhir/Observation?patient={PATIENT}"), 200).content)
    one = next(entry["resource"] for entry in found["entry"] if "valueQuantity" in entry["resource"])
    kept = {name: value for name, value in one.items() if name not in ("meta", "text", "subject")}
    right = {**kept, "subject": {"reference": f"Patient/{PATIENT}"}, "valueQuantity": {**one["valueQuantity"], "value": 98.7}}
    number = ask(story, "correction", "化验值抄错了")
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": right, "request": {"method": "PUT", "url": f"Observation/{one['id']}"}}],
    }
    foreign = {**right, "subject": {"reference": "Patient/p1004"}}
    bring = lambda what, expected=200: story.person("deng.li").call(  # noqa: E731  (Three times.)
        "POST", f"{DESK}/{number}/correction", expected=expected, body=what
    )
    bring({**bundle, "entry": [{**bundle["entry"][0], "resource": foreign}]}, 422)
    staged = bring(bundle).json()
    assert (staged["status"], staged["correction"]["resources"][0]["reference"]) == ("received", f"Observation/{one['id']}")
    changed = {change["place"]: change["after"] for change in staged["correction"]["resources"][0]["changes"]}
    assert changed["valueQuantity.value"] == RIGHT
    step(story, "deng.li", number, "correction/agree", 403)
    assert RIGHT not in fetched(story, exchange, f"/fhir/Observation/{one['id']}").text
    assert step(story, "jiang.tao", number, "correction/agree")["status"] == "fulfilled"
    follow(story)
    (mine,) = story.person("gao.min").call("GET", "/api/v1/recalls").json()
    assert (mine["reason"], mine["application"], mine["done"]) == ("corrected", exchange, None)
    assert RIGHT in fetched(story, exchange, f"/fhir/Observation/{one['id']}").text
    body = {"application": exchange, "done": "corrected", "method": "corrected", "evidence": "已替换"}
    story.person("gao.min").call("POST", f"/api/v1/recalls/{mine['recall']}/acknowledge", body=body)
    seen = story.person("deng.li").call("GET", f"/api/v1/patients/{PATIENT}/recalls").json()
    assert [(row["reason"], row["done"]) for row in seen] == [("corrected", "corrected")]


def test_a_copy_is_whole_and_on_record(story, exchange):
    number = ask(story, "copy")
    with pytest.raises(Unexpected, match="409"):
        story.person("deng.li").call("GET", f"{DESK}/{number}/copy")
    step(story, "deng.li", number, "fulfil")
    answer = story.person("deng.li").call("GET", f"{DESK}/{number}/copy")
    resources = [entry["resource"] for entry in json.loads(answer.content)["entry"]]
    assert {"Patient", "Condition", "Observation", "MedicationRequest", "Consent"} <= {one["resourceType"] for one in resources}
    assert "抑郁" in answer.text, "it is hers: nothing is held back"
    (sent,) = [
        one
        for one in story.person("cao.yan").call("GET", f"/api/v1/disclosures?patient={PATIENT}").json()["disclosures"]
        if one["application"] == number
    ]
    assert sent["purpose"] == "PATRQT"
    for person in ("gao.min", "cao.yan"):
        with pytest.raises(Unexpected, match="403"):
            story.person(person).call("GET", f"{DESK}/{number}/copy")


def test_whoever_freezes_does_not_wait_for_a_copy_that_nobody_takes(story, exchange):
    """A reader who takes nothing: the containment is answered all the same, the copy had ended by then, and is on record as partial."""
    number = ask(story, "copy")
    step(story, "deng.li", number, "fulfil")
    begun, ended = threading.Event(), threading.Event()

    async def stuck(_send, _receive, **_given) -> bool:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return True

    installation = story.installation
    with installation.database.transaction() as session:
        row = requests.find(session, number)
    held = requests.held(installation.database, installation.keys, "patient", row, hospital="renhe")
    answer = requests.CopyAnswer(held, lambda made: (made.body, {}), stuck, seconds=3600)
    sending = threading.Thread(target=lambda: asyncio.run(answer({}, None, None)), daemon=True)
    sending.start()
    assert begun.wait(120)
    body = {"reason": "有人冒用她的身份", "targets": [{"kind": "patient", "id": PATIENT}]}
    incident = story.person("deng.li").call("POST", "/api/v1/containments", expected=201, body=body).json()["number"]
    assert ended.is_set()
    sending.join(120)
    assert not sending.is_alive()
    (sent,) = [
        one
        for one in story.person("cao.yan").call("GET", f"/api/v1/disclosures?patient={PATIENT}").json()["disclosures"]
        if one["application"] == number
    ]
    assert sent["outcome"] == "partial"
    with pytest.raises(Unexpected, match="409"):
        story.person("deng.li").call("GET", f"{DESK}/{number}/copy")
    for who, verb in (("deng.li", "ask-to-lift"), ("jiang.tao", "lift")):
        story.person(who).call("POST", f"/api/v1/incidents/{incident}/{verb}", body={"text": "核实无误"})


def test_a_restriction_holds_from_its_answer_on(story, exchange):
    number = ask(story, "restriction")
    assert fetched(story, exchange, f"/fhir/Patient/{PATIENT}/$everything").status_code == 200
    step(story, "deng.li", number, "fulfil")
    assert fetched(story, exchange, f"/fhir/Patient/{PATIENT}/$everything").status_code == 403
    step(story, "deng.li", number, "lift")
    assert fetched(story, exchange, f"/fhir/Patient/{PATIENT}/$everything").status_code == 200


def test_a_refusal_is_appealed_and_her_words_go_with_her_data(story, exchange):
    number = ask(story, "deletion", "CANARY 请删除我的数据")
    refused = step(story, "deng.li", number, "refuse", ground="kept-by-law", text="病历须保存")
    assert (refused["status"], refused["ground"], refused["answer"]) == ("refused", "kept-by-law", "病历须保存")
    step(story, "deng.li", number, "appeal")
    step(story, "deng.li", number, "order", 403)
    order = step(story, "jiang.tao", number, "order")["order"]
    story.person("deng.li").call("POST", f"/api/v1/destruction-orders/{order}/approve")
    with story.installation.database.transaction() as session:
        assert requests.settle_orders(session, story.installation.keys) == 1
    seen = story.person("deng.li").call("GET", f"{DESK}/{number}").json()
    assert (seen["status"], seen["text"], seen["answer"]) == ("fulfilled", None, None)
    assert [one["action"] for one in seen["steps"]] == ["received", "refused", "appealed", "ordered", "fulfilled"]
    story.verify_log()
