"""Emergency access while the policy server is away (TM-5.5): only where the hospital switched it on beforehand, and only the emergency set.

Nothing listens where the broker looks for its OPA. In one hospital the switch stands as shipped, off; in the other two people turned it on long ago.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.journeys.test_break_glass import PATIENT, body
from tests.live import hospital

POLICIES = Path(__file__).resolve().parents[2] / "policies"


@pytest.mark.parametrize("switched_on", [True, False])
def test_the_glass_breaks_without_the_server_only_where_that_was_decided_before(database_url, tmp_path, switched_on):
    folder = tmp_path / "policies"
    shutil.copytree(POLICIES, folder)
    path = folder / "data" / "emergency.json"
    rules = json.loads(path.read_text(encoding="utf-8"))
    rules["without_policy_server"]["allowed"] = switched_on
    path.write_text(json.dumps(rules, ensure_ascii=False), encoding="utf-8")
    away = {"policy_engine": "opa", "opa_url": "http://127.0.0.1:9", "policies": folder}
    with hospital(database_url, tmp_path / "var", **away) as story:
        doctor, system = story.person("gao.min"), story.system("shengli-his")
        answer = doctor.http.post("/api/v1/emergencies", json=body(story, PATIENT), auth=(doctor.username, doctor.password))
        if not switched_on:
            assert (answer.status_code, answer.json()["code"]) == (403, "emergency-denied")
            return
        assert answer.status_code == 201, answer.text
        token = system.token(answer.json()["application"])["access_token"]
        fetched = system.fetch("GET", f"/fhir/Patient/{PATIENT}/$everything", token)
        assert fetched.status_code == 200, fetched.text
        kinds = {entry["resource"]["resourceType"] for entry in json.loads(fetched.content)["entry"]}
        assert {"Patient", "Condition"} <= kinds
        assert not {"Claim", "Coverage", "ExplanationOfBenefit", "Account"} & kinds
        assert "抑郁" not in fetched.text
        # What is no emergency waits for the server: an application is judged by nobody.
        story.file_consent("p1004", "shengli")
        number = story.apply("gao.min", "shengli-cardiology", "p1004", "TREAT", "consent", [{"data_class": "clinical.laboratory"}])["number"]
        assert doctor.call("GET", f"/api/v1/applications/{number}/assessment").json()["effect"] == "unavailable"
