"""A referral hospital asks before it orders a test whether a result is there already (RS-2.2), and a no tells it nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from broker.demo.consents import revocation
from broker.demo.story import Story
from tests.live import hospital

POLICIES = Path(__file__).resolve().parents[2] / "policies"
LABORATORY = [{"data_class": "clinical.demographics"}, {"data_class": "clinical.laboratory"}]
LOINC = "http://loinc.org|"


@pytest.fixture(scope="module")
def story(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A hospital whose rules know two examinations more: one that only a withheld result answers, and one that nobody had."""
    folder = tmp_path_factory.mktemp("policies") / "policies"
    shutil.copytree(POLICIES, folder)
    path = folder / "data" / "recognition.json"
    rules = json.loads(path.read_text(encoding="utf-8"))
    rules["examination-a"] = {"name": {"zh": "甲", "en": "a"}, "codes": [LOINC + "20447-9"], "days": 366}  # HIV viral load, five weeks old
    rules["examination-b"] = {"name": {"zh": "甲", "en": "a"}, "codes": [LOINC + "1-8"], "days": 366}
    rules["creatinine"]["days"] = 366
    path.write_text(json.dumps(rules), encoding="utf-8")
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), policies=folder) as running:
        yield running


def granted(story: Story, patient: str) -> str:
    story.file_consent(patient, "shengli")
    number = story.apply("gao.min", "shengli-cardiology", patient, "TREAT", "consent", LABORATORY)["number"]
    story.decide(number, "song.yi", "deng.li")
    return story.system("shengli-his").token(number)["access_token"]


@pytest.fixture(scope="module")
def tokens(story) -> dict[str, str]:
    return {patient: granted(story, patient) for patient in ("p1001", "p1006")}


def ask(story: Story, token: str, patient: str, code: str):
    return story.http.get(
        "/api/v1/recognition",
        params={"patient": patient, "code": LOINC + code},
        headers={"Authorization": f"Bearer {token}", "Accept-Language": "en"},
    )


def events(story: Story) -> list[dict]:
    query = "SELECT leaf FROM audit_event WHERE type LIKE 'release.%%' ORDER BY xid, seq"
    with story.installation.database.transaction() as session:
        return [json.loads(row[0]) for row in session.connection().exec_driver_sql(query)]


def test_a_recent_result_is_found_and_only_pointed_at(story, tokens):
    answer = ask(story, tokens["p1001"], "p1001", "4548-4")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["recognised"] is True
    assert told["examination"]["zh"] == "糖化血红蛋白"
    reference = told["result"]["reference"]
    read = story.http.get(f"/fhir/{reference}", headers={"Authorization": f"Bearer {tokens['p1001']}"}).json()
    assert read["code"]["coding"][0]["code"] == "4548-4"
    assert read["effectiveDateTime"][:10] == told["result"]["effective"][:10]
    assert str(read["valueQuantity"]["value"]) not in answer.text.replace(told["result"]["effective"], "").replace(
        told["result"]["recognised_until"], ""
    )
    manifest = story.http.get(f"/releases/{answer.headers['release-id']}", headers={"Authorization": f"Bearer {tokens['p1001']}"}).json()
    assert [f"{one['type']}/{one['id']}" for one in manifest["resources"]] == [reference]
    sent = [one for one in events(story) if one["type"] == "release.sent" and one["release"] == answer.headers["release-id"]]
    assert [one["facts"]["recognised"] for one in sent] == ["yes"]


def test_a_no_is_the_same_for_none_and_for_one_that_may_not_be_told(story, tokens):
    """The viral load is there and recent; its label keeps it back, and the answer does not show that there is anything to keep back."""
    withheld, none = (ask(story, tokens["p1006"], "p1006", code) for code in ("20447-9", "1-8"))
    assert withheld.status_code == none.status_code == 200
    assert withheld.json() == {**none.json(), "examination": {**none.json()["examination"], "id": "examination-a"}}
    assert len(withheld.content) == len(none.content)
    varying = {"release-id", "release-digest", "disclosure-receipt", "x-request-id", "date"}
    assert [{k: v for k, v in one.headers.items() if k not in varying} for one in (withheld, none)] == [
        {k: v for k, v in withheld.headers.items() if k not in varying}
    ] * 2
    same_day = ask(story, tokens["p1006"], "p1006", "14682-9")
    assert same_day.json()["recognised"] is True  # So it is the label that keeps the viral load back.
    for one in (withheld, none):
        manifest = story.http.get(f"/releases/{one.headers['release-id']}", headers={"Authorization": f"Bearer {tokens['p1006']}"}).json()
        assert manifest["resources"] == []


def test_an_old_result_is_none(story, tokens):
    """The blood count of January is there to be read, and too old to be taken over."""
    assert ask(story, tokens["p1001"], "p1001", "58410-2").json()["recognised"] is False


def test_who_may_not_ask(story, tokens):
    unknown, others = ask(story, tokens["p1001"], "nobody", "4548-4"), ask(story, tokens["p1001"], "p1006", "14682-9")
    assert unknown.status_code == others.status_code == 403
    told = [{k: v for k, v in one.json().items() if k != "request_id"} for one in (unknown, others)]
    assert told[0] == told[1]
    assert ask(story, "no-token", "p1001", "4548-4").status_code == 401
    nothing = ask(story, tokens["p1001"], "p1001", "0-0")
    assert nothing.status_code == 422
    assert nothing.json()["code"] == "examination-unknown"


def test_a_withdrawal_ends_the_answers(story):
    token = granted(story, "p1004")
    assert ask(story, token, "p1004", "718-7").status_code == 200
    consents = story.person("information_manager").call("GET", "/fhir/Consent?patient=p1004").json()
    for entry in consents["entry"]:
        story.person("information_manager").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(entry["resource"]["id"], "p1004"))
    assert ask(story, token, "p1004", "718-7").status_code == 403
