"""A child's record goes on the word of a parent (PIPL 28, 31), and to save a life without it (PIPL 13(1)(4)).

1. The hospital files a consent that a nine-year-old gave: nothing can be approved on it, and it is said what to do.
2. The mother agrees, separately: the record leaves, with the duties that a child's data bring.
3. The birth date is put right: the patient has turned 14. The mother's word ends with that second; the patient's own carries.
4. Nobody is asked in an emergency.
"""

from __future__ import annotations

import json

import sqlalchemy as sa

from broker import clock
from broker.demo.client import expect
from broker.demo.consents import evidence, filing, sharing_consent
from broker.demo.story import TREATMENT, Story
from broker.records import service as records

CHILD = "p1002"


def file(story: Story, *, by_guardian: bool) -> str:
    given = sharing_consent(CHILD, "shengli", at=clock.now(), by_guardian=by_guardian)
    # One form, filled in anew: what is filed later takes the place of what was filed before.
    given["identifier"] = [{"system": "https://hospital.example/fhir/sid/consent", "value": "child"}]
    answer = story.person("information_manager").call("POST", "/fhir/Consent/$fileConsent", expected=201, body=filing(given, evidence(CHILD)))
    return answer.headers["location"]


def born(story: Story, tmp_path, day: str) -> None:
    """The Patient resource is corrected at its source and taken in again."""
    with story.installation.database.transaction() as session:
        body = records.resource_of(session, story.installation.keys, "Patient", CHILD)
    file = tmp_path / "patient.ndjson"
    file.write_text(json.dumps({**json.loads(body), "birthDate": day}, ensure_ascii=False) + "\n", encoding="utf-8")
    report = records.ingest(story.installation.database, story.installation.keys, [file], source="correction")
    assert (report.accepted, report.refused) == (1, 0)


def reasons(story: Story) -> list[str]:
    """Why the last release was refused, as the log has it."""
    query = sa.text("SELECT leaf FROM audit_event WHERE type = 'release.refused' ORDER BY xid DESC, seq DESC LIMIT 1")
    with story.installation.database.transaction() as session:
        return json.loads(session.execute(query).scalar_one())["facts"]["reasons"]


def test_a_child_s_record_goes_on_a_parent_s_word(story, tmp_path):
    file(story, by_guardian=False)
    number = story.apply("gao.min", "shengli-cardiology", CHILD, "TREAT", "consent", TREATMENT)["number"]
    told = story.person("deng.li").call("GET", f"/api/v1/applications/{number}/assessment").text
    assert "minors.guardian-needed" in told

    file(story, by_guardian=True)
    story.decide(number, "song.yi", "deng.li")
    system = story.system("shengli-his")
    token = system.token(number)["access_token"]
    sent = json.loads(expect(system.fetch("GET", f"/fhir/Patient/{CHILD}/$everything", token), 200).content)
    assert sent["total"] > 1
    assert "NOREUSE" in json.dumps(sent["meta"]["security"])

    today = clock.today()
    born(story, tmp_path, today.replace(year=today.year - 14, day=1).isoformat())
    assert system.fetch("GET", f"/fhir/Patient/{CHILD}/$everything", token).status_code == 403
    assert reasons(story) == ["minors.came-of-age"]
    file(story, by_guardian=False)
    assert system.fetch("GET", f"/fhir/Patient/{CHILD}/$everything", token).status_code == 200

    born(story, tmp_path, "2017-06-02")  # What was taken back is not taken in again.
    assert system.fetch("GET", f"/fhir/Patient/{CHILD}/$everything", token).status_code == 403
    assert reasons(story) == ["minors.guardian-needed"]
    patient = story.cast.patients[CHILD]
    body = {
        "recipient": "shengli-cardiology", "reason": "患儿哮喘持续状态，需立即了解过敏史与用药。",
        "patient": {**patient.identifier, "name": patient.name, "birthDate": "2017-06-02"},
    }  # fmt: skip
    opened = story.person("gao.min").call("POST", "/api/v1/emergencies", expected=201, body=body).json()
    urgent = system.token(opened["application"])["access_token"]
    expect(system.fetch("GET", f"/fhir/Patient/{CHILD}/$everything", urgent), 200)
