"""The main job, as three people and one system live it (RS-5.3.1 to RS-5.3.4, PI-3.3).

1. Zhang Xiuying consents to share her record with the provincial hospital for treatment, but nothing of mental health.
2. Dr Gao of the provincial hospital applies; policy assesses; her head endorses; Deng Li, information manager, previews and approves.
3. The provincial hospital's system gets a token and fetches: what it gets is what the preview showed, valid R4, and nothing else.
4. Dr Gao reports on the use. Zhang withdraws: the very next fetch, with the same token, is refused.
5. The log holds it all and verifies.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest
from fhir.resources.R4B.bundle import Bundle

from broker import clock, demo_data
from broker.demo.client import expect
from broker.demo.consents import revocation
from broker.demo.story import TREATMENT, Story
from broker.fhir.validate import problems
from tests.oracle import forbidden_words, leaks

PATIENT = "p1001"


@pytest.fixture(scope="module")
def exchange(story: Story) -> dict:
    consent = story.file_consent(PATIENT, "shengli", without=("PSY",))
    application = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)
    preview = story.decide(application["number"], "song.yi", "deng.li")
    token = story.system("shengli-his").token(application["number"])["access_token"]
    return {"consent": consent, "number": application["number"], "preview": preview, "token": token}


def fetch(story: Story, exchange: dict, path: str):
    return story.system("shengli-his").fetch("GET", path, exchange["token"])


def stored() -> list[dict]:
    bundles = [json.loads(bundle) for bundle in demo_data.bundles(clock.today())]
    return [entry["resource"] for bundle in bundles for entry in bundle["entry"]]


def test_what_leaves_is_what_the_preview_showed(story, exchange):
    answer = expect(fetch(story, exchange, f"/fhir/Patient/{PATIENT}/$everything"), 200)
    left = [entry["resource"] for entry in json.loads(answer.content)["entry"]]
    shown = exchange["preview"]["patients"][0]["resources"]
    assert len(left) > 50
    assert {(one["resourceType"], one["id"]) for one in left} == {(one["resourceType"], one["id"]) for one in shown}
    assert left == shown


def test_it_is_valid_r4_and_says_that_it_is_not_whole(story, exchange):
    answer = fetch(story, exchange, f"/fhir/Patient/{PATIENT}/$everything")
    document = json.loads(answer.content)
    Bundle.model_validate(document)
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["cache-control"] == "no-store"
    for entry in document["entry"]:
        resource = entry["resource"]
        assert problems(resource) == []
        assert any(tag["code"] == "SUBSETTED" for tag in resource["meta"]["tag"])
        assert any(label["code"] in "NRV" for label in resource["meta"]["security"])


def test_nothing_held_back_is_in_the_bytes(story, exchange):
    answer = fetch(story, exchange, f"/fhir/Patient/{PATIENT}/$everything")
    left = [entry["resource"] for entry in json.loads(answer.content)["entry"]]
    forbidden = forbidden_words(stored(), left)
    assert len(forbidden) > 500
    assert leaks(answer.content, forbidden) == []
    assert not any(label["code"] in {"PSY", "MH", "HIV", "SUD"} for one in left for label in one["meta"]["security"])
    for hidden in ("抑郁", "舍曲林", "sertraline", "PHQ-9", "<div", "13800", "telecom"):
        assert hidden not in answer.text


def test_a_psychiatric_resource_is_as_unknown_as_one_that_never_was(story, exchange):
    hidden = [one["id"] for one in stored() if one["resourceType"] == "Condition" and "F32" in json.dumps(one) and "p1001" in json.dumps(one)]
    assert hidden
    never = fetch(story, exchange, "/fhir/Condition/never-was")
    for name in hidden:
        answer = fetch(story, exchange, f"/fhir/Condition/{name}")
        assert (answer.status_code, without_number(answer)) == (never.status_code, without_number(never)) == (404, without_number(never))


def without_number(answer) -> dict:
    document = answer.json()
    return {**document, "id": None, "issue": [{**issue, "diagnostics": None} for issue in document["issue"]]}


def test_pages_hold_the_whole_and_each_resource_once(story, exchange):
    whole = json.loads(fetch(story, exchange, f"/fhir/Observation?patient={PATIENT}&_count=500").content)
    seen: Counter[str] = Counter()
    url, pages = f"/fhir/Observation?patient={PATIENT}&_count=7", 0
    while url:
        page = json.loads(expect(fetch(story, exchange, url.removeprefix(story.base_url)), 200).content)
        entries = page.get("entry", [])
        links = {link["relation"]: link["url"] for link in page["link"]}
        assert len(entries) == 7 or "next" not in links
        seen.update(entry["resource"]["id"] for entry in entries)
        url, pages = links.get("next"), pages + 1
    assert pages > 2
    assert set(seen.values()) == {1}
    assert set(seen) == {entry["resource"]["id"] for entry in whole["entry"]}


def test_search_finds_by_what_is_shown(story, exchange):
    found = json.loads(fetch(story, exchange, f"/fhir/Observation?patient={PATIENT}&code=http://loinc.org|4548-4").content)
    assert found["entry"]
    assert all(any(coding["code"] == "4548-4" for coding in entry["resource"]["code"]["coding"]) for entry in found["entry"])
    none = json.loads(fetch(story, exchange, f"/fhir/Observation?patient={PATIENT}&code=http://loinc.org|0000-0").content)
    assert "entry" not in none


def test_another_patient_is_refused_like_one_that_never_was(story, exchange):
    other, never = (fetch(story, exchange, f"/fhir/Patient/{name}/$everything") for name in ("p1006", "never-was"))
    assert (other.status_code, without_number(other)) == (never.status_code, without_number(never))
    assert other.status_code == 403


def test_feedback_then_withdrawal_then_refusal_and_a_log_that_proves_it(story, exchange):
    answers = {"used": True, "purpose_met": "yes", "examinations_avoided": 1, "onward_disclosure": False, "deletion_done": False}
    story.person("gao.min").call("POST", f"/api/v1/applications/{exchange['number']}/feedback", expected=201, body=answers)
    released = story.system("shengli-his").fetch(
        "POST", "/releases", exchange["token"], {"application": exchange["number"], "patient": PATIENT, "types": ["Condition"]}
    )
    assert {entry["resource"]["resourceType"] for entry in released.json()["entry"]} == {"Condition"}
    manifest = fetch(story, exchange, f"/releases/{released.headers['release-id']}").json()
    assert [one["id"] for one in manifest["resources"]] == [entry["resource"]["id"] for entry in released.json()["entry"]]
    assert manifest["digest"] == released.headers["release-digest"]

    story.person("deng.li").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(exchange["consent"], PATIENT))
    for path in (f"/fhir/Patient/{PATIENT}/$everything", f"/fhir/Observation?patient={PATIENT}"):
        refused = fetch(story, exchange, path)
        assert refused.status_code == 403
        assert refused.json()["resourceType"] == "OperationOutcome"
        assert "张秀英" not in refused.text
    story.verify_log()

    thread = story.person("deng.li").call("GET", f"/api/v1/applications/{exchange['number']}/exchange").json()
    assert any(sent["outcome"] == "sent" and sent["items"] for sent in thread["transmissions"])
