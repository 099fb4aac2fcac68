"""A report is as sensitive as the results in it, whichever came first; and everything is labelled anew when the rules change (TM-5.2)."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from broker.cli.labels import app
from broker.records import relabelling
from broker.records import service as records
from broker.records.labelling import Label
from tests.factories.records import LOINC, bundle, concept, condition, ndjson, observation, opened, patient, taken_in


def report(resource_id="r1", *results, **more):
    return {
        "resourceType": "DiagnosticReport",
        "id": resource_id,
        "status": "final",
        "code": concept(LOINC, "11502-2", "Laboratory report"),
        "subject": {"reference": "Patient/p1"},
        "result": [{"reference": f"Observation/{one}"} for one in results],
    } | more


def hiv(resource_id="hiv"):
    return observation(resource_id, code=concept(LOINC, "75622-1", "HIV 1 and 2 tests - Meaningful Use set"))


def labels(database, keys):
    return {f"{one.type}/{one.id}": one.labels for one in opened(database, keys)}


def jobs(database):
    with database.transaction() as session:
        return session.connection().exec_driver_sql("SELECT args FROM procrastinate_jobs WHERE task_name = 'records.relabel'").scalars().all()


def test_a_report_takes_over_the_labels_of_its_results(database, keys):
    taken_in(database, keys, bundle(patient(), observation("glucose"), hiv(), report("r1", "glucose", "hiv"), report("r2", "glucose")))
    found = labels(database, keys)
    assert found["Observation/hiv"] == found["DiagnosticReport/r1"] == ("HIV", "R")
    assert found["Observation/glucose"] == found["DiagnosticReport/r2"] == ("N",)


def test_it_goes_on_through_panels(database, keys):
    panel = observation("panel", hasMember=[{"reference": "Observation/hiv"}])
    taken_in(database, keys, bundle(patient(), report("r1", "panel"), panel, hiv()))
    assert labels(database, keys)["DiagnosticReport/r1"] == ("HIV", "R")


def test_what_was_stored_before_hands_on_too(database, keys):
    taken_in(database, keys, bundle(patient(), hiv()))
    taken_in(database, keys, bundle(report("r1", "hiv")))
    assert labels(database, keys)["DiagnosticReport/r1"] == ("HIV", "R")


def test_a_result_that_comes_later_has_its_patient_labelled_anew(database, keys):
    taken_in(database, keys, bundle(patient(), report("r1", "hiv")))
    assert labels(database, keys)["DiagnosticReport/r1"] == ("N",)
    taken_in(database, keys, bundle(hiv()))
    (job,) = jobs(database)
    records.background()[0].handler(type("Tools", (), {"database": database, "keys": keys})(), job["payload"])
    assert labels(database, keys)["DiagnosticReport/r1"] == ("HIV", "R")
    assert records.relabel(database, keys, keys.patient_key("p1")) == 0  # Again changes nothing.


def test_an_ordinary_record_asks_for_no_work(database, keys):
    taken_in(database, keys, bundle(patient(), observation("glucose"), report("r1", "glucose")))
    assert jobs(database) == []


def test_acquaintance_hands_nothing_on(database, keys):
    """A reason or an encounter is no content: an ordinary prescription stays ordinary."""
    aspirin = {
        "resourceType": "MedicationRequest",
        "id": "m",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "阿司匹林肠溶片"},
        "subject": {"reference": "Patient/p1"},
        "reasonReference": [{"reference": "Condition/psy"}],
    }
    psychosis = condition("psy", "p1", concept("http://hl7.org/fhir/sid/icd-10", "F20.0", "精神分裂症"))
    taken_in(database, keys, bundle(patient(), psychosis, aspirin, observation("o", note=[{"text": "HIV"}]), report("r", "o")))
    found = labels(database, keys)
    assert found["MedicationRequest/m"] == ("N",)
    assert found["DiagnosticReport/r"] == ("N",)  # What only a note says is not handed on.


def test_everything_is_labelled_anew_when_the_rules_change(database, keys, monkeypatch):
    taken_in(database, keys, bundle(patient(), observation("glucose"), report("r1", "glucose")))
    new = (Label("GDIS", "new-rule", "2027.01"), Label("R", "new-rule", "2027.01"))
    right = relabelling.labels_for
    monkeypatch.setattr(relabelling, "labels_for", lambda resource, **more: new if resource["id"] == "glucose" else right(resource, **more))
    assert records.relabel_all(database, keys) == 1
    (job,) = jobs(database)
    records.background()[0].handler(type("Tools", (), {"database": database, "keys": keys})(), job["payload"])
    found = {f"{one.type}/{one.id}": (one.labels, one.version) for one in opened(database, keys)}
    assert found["Observation/glucose"] == found["DiagnosticReport/r1"] == (("GDIS", "R"), 2)
    assert found["Patient/p1"] == (("N",), 1)
    assert opened(database, keys, deny=["GDIS"])
    assert not any(one.type == "Observation" for one in opened(database, keys, deny=["GDIS"]))
    with database.transaction() as session:
        (leaf,) = session.connection().exec_driver_sql("SELECT leaf FROM audit_event WHERE type = 'records.relabelled'").scalars()
        assert records.match(session, keys, {"system": "https://hospital.example/fhir/sid/mrn", "value": "MRN-p1"}).grade in ("certain", "probable")
    assert json.loads(leaf)["facts"]["changed"] == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_the_report_says_which_rule_labelled_how_many(tmp_path, as_json):
    path = tmp_path / "some.ndjson"
    path.write_bytes(ndjson(observation("a"), hiv("b"), observation("c", note=[{"text": "精神分裂症"}])))
    done = CliRunner().invoke(app, ["report", str(path), *(["--json"] if as_json else [])])
    assert done.exit_code == 0, done.output
    if as_json:
        found = json.loads(done.stdout)
        assert (found["resources"], found["labelled"], found["topics"]["HIV"]) == (3, 1, 1)
    else:
        assert done.stdout.startswith("1 / 3 (33.3%)")
