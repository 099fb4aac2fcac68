"""``broker minimise``: what a release would leave of a bundle in a file."""

import json

import pytest
import typer
from typer.testing import CliRunner

from broker.cli import minimise
from tests.conftest import SYNTHEA

LABELS = {"deny": ["PSY"], "ceiling": "N"}
PATIENT = {"resourceType": "Patient", "id": "p1", "gender": "male", "name": [{"text": "张三丰"}]}
LAB = {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]}


def observation(number, **more):
    subject = {"reference": "Patient/p1"}
    return {"resourceType": "Observation", "id": f"o{number}", "status": "final", "code": LAB, "subject": subject, **more}


@pytest.fixture
def run(tmp_path):
    app = typer.Typer()
    app.callback()(lambda: None)
    minimise.register(app)

    def run(types, resources, *options, bundle=None, **plan):
        (tmp_path / "plan.json").write_text(json.dumps({"types": types, "labels": LABELS, **plan}))
        entries = [{"fullUrl": f"urn:uuid:{resource.get('id')}", "resource": resource} for resource in resources]
        text = json.dumps(bundle or {"resourceType": "Bundle", "type": "collection", "entry": entries})
        (tmp_path / "bundle.json").write_text(text)
        arguments = ["minimise", "--plan", str(tmp_path / "plan.json"), *options]
        result = CliRunner().invoke(app, arguments, input=text)
        again = CliRunner().invoke(app, [*arguments[:3], str(tmp_path / "bundle.json"), *options])
        assert again.exit_code == result.exit_code
        return result

    return run


def resources(result):
    assert result.exit_code == 0, result.stderr
    bundle = json.loads(result.stdout)
    assert bundle["resourceType"] == "Bundle"
    return [entry["resource"] for entry in bundle.get("entry", [])]


def test_what_would_leave_is_printed_and_what_stays_is_told(run):
    types = {
        "Patient": {"elements": ["gender", "name"], "transforms": [{"path": "name", "do": "mask"}]},
        "Observation": {"elements": ["status", "code", "subject", "effective"], "period": {"start": "2025-01-01"}, "codes": ["2339-0"]},
    }
    given = [
        PATIENT,
        observation(1, effectiveDateTime="2025-05-01", note=[{"text": "words"}]),
        observation(2, effectiveDateTime="2024-05-01"),
        observation(3),
        observation(4, effectiveDateTime="2025-05-01", code={"coding": [{"system": "http://loinc.org", "code": "2093-3"}]}),
        observation(
            5, effectiveDateTime="2025-05-01", meta={"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}]}
        ),
        observation(6, effectiveDateTime="2025-05-01", modifierExtension=[{"url": "http://x/y", "valueBoolean": True}]),
        observation(7, effectiveDateTime="2025-05-01", status=["final"]),
        {"resourceType": "Device", "id": "d"},
        {"resourceType": "张三", "id": "x"},
    ]
    result = run(types, given)
    patient, kept = resources(result)
    assert patient["name"] == [{"text": "张**"}]
    assert kept["id"] == "o1"
    assert "note" not in kept
    assert kept["meta"]["security"][0]["code"] == "N"
    assert "words" not in result.stdout
    assert "张三" not in result.output
    assert len(result.stderr.splitlines()) == 7
    assert "2 × Observation" in result.stderr


def test_pseudonyms_replace_ids_and_resolve_references(run, tmp_path):
    (tmp_path / "key").write_bytes(b"k" * 32)
    types = {
        "Patient": {"elements": []},
        "Observation": {"elements": ["status", "code", "subject"], "transforms": [{"path": "id", "do": "pseudonym"}]},
    }
    given = [PATIENT, observation(1), observation(2, subject={"reference": "urn:uuid:p1"}), observation(3, subject={"reference": "urn:uuid:x"})]
    result = run(types, given, "--key", str(tmp_path / "key"))
    patient, *found = resources(result)
    assert [each["subject"].get("reference") for each in found] == [f"Patient/{patient['id']}"] * 2 + [None]
    assert "p1" not in result.stdout
    assert "fullUrl" not in result.stdout
    assert resources(run(types, given, "--key", str(tmp_path / "key")))[0]["id"] == patient["id"]
    assert resources(run(types, given))[0]["id"] != patient["id"]


def test_without_pseudonyms_full_urls_stay(run):
    result = run({"Patient": {"elements": []}}, [PATIENT])
    assert json.loads(result.stdout)["entry"][0]["fullUrl"] == "urn:uuid:p1"
    assert resources(run({"Patient": {"elements": []}}, [], "--patient", "p1")) == []


def test_the_patient_must_be_certain(run):
    types = {"Observation": {"elements": ["status", "code", "subject"]}}
    assert run(types, [observation(1)]).exit_code == 2
    assert run(types, [PATIENT, {**PATIENT, "id": "p2"}]).exit_code == 2
    assert len(resources(run(types, [observation(1)], "--patient", "p1"))) == 1
    other = run(types, [observation(1)], "--patient", "p2")
    assert (other.exit_code, other.stdout) == (1, "")


def test_bad_plans_and_bundles(run, tmp_path):
    unknown = run({"Observation": {"elements": ["valeu"]}}, [PATIENT])
    assert unknown.exit_code == 1
    assert "valeu" in unknown.stderr
    assert run({"Observation": {"elements": "x"}}, [PATIENT]).exit_code == 1
    assert run({"Patient": {"elements": []}}, [PATIENT], consent=[{"effect": "deny"}]).exit_code == 1
    assert run({"Patient": {"elements": []}}, [], bundle={"entry": {}}).exit_code == 1
    assert run({"Patient": {"elements": []}}, [], bundle=[1]).exit_code == 1
    assert run({"Patient": {"elements": []}}, [], bundle={"entry": [{"fullUrl": "x"}, {"resource": 5}, {"resource": PATIENT}]}).exit_code == 0
    assert run({"Patient": {"elements": []}}, [PATIENT], "--key", str(tmp_path / "none")).exit_code == 2


@pytest.mark.synthea
@pytest.mark.skipif(not SYNTHEA.exists(), reason="Synthea patients are not here")
def test_a_real_patient(run):
    bundle = json.loads((SYNTHEA / "patient-01.json").read_bytes())
    result = run(
        {"Patient": {"elements": ["gender"]}, "Claim": {"elements": ["status", "type", "use", "patient", "created", "total"]}}, [], bundle=bundle
    )
    found = resources(result)
    assert {each["resourceType"] for each in found} == {"Patient", "Claim"}
    assert bundle["entry"][0]["resource"]["name"][0]["family"] not in result.stdout
