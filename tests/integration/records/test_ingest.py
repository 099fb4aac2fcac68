from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlmodel import select

from broker.audit.models import AuditEvent
from broker.crypto import Keys, load_keys
from broker.database import Database
from broker.errors import Invalid
from broker.fhir.parse import read_json
from broker.records import service as records
from broker.records.errors import OtherKey
from broker.records.models import SHARED, BlindedIdentifier, Patient, StoredResource
from broker.settings import Settings
from tests.conftest import SYNTHEA
from tests.factories.records import (
    MRN,
    SNOMED,
    bundle,
    codes,
    concept,
    condition,
    entry,
    ndjson,
    observation,
    opened,
    patient,
    practitioner,
    raw,
    taken_in,
)

synthea = pytest.mark.skipif(not SYNTHEA.is_dir(), reason="the Synthea patients are not beside this checkout")


def _dump(url: str) -> list[tuple]:
    """Everything that is stored, as the database has it."""
    with psycopg.connect(url) as connection:
        rows = []
        for table in ("patient", "resource", "identifier", "audit_event"):
            rows += connection.execute(f"SELECT '{table}', t.* FROM {table} t ORDER BY 2, 3, 4").fetchall()
        return rows


def _counts(report: records.Report) -> tuple[int, int, int]:
    return report.accepted, report.unchanged, report.refused


@pytest.mark.synthea
@synthea
def test_all_synthea_patients_go_in_and_again_changes_nothing(database: Database, database_url: str, keys: Keys):
    first = records.ingest(database, keys, [SYNTHEA], source="synthea")
    assert first.refusals == []
    assert _counts(first) == (3474, 12, 0)  # Twelve staff and organisations stand in several files.
    before = _dump(database_url)
    again = records.ingest(database, keys, [SYNTHEA], source="synthea")
    assert _counts(again) == (0, 3486, 0)
    assert _dump(database_url) == before


@pytest.mark.synthea
@synthea
def test_what_is_stored_is_what_was_given_with_references_resolved(database: Database, keys: Keys):
    given = read_json((SYNTHEA / "patient-01.json").read_bytes(), max_bytes=10**8)
    records.ingest(database, keys, [SYNTHEA / "patient-01.json"])
    patient_id = next(one["resource"]["id"] for one in given["entry"] if one["resource"]["resourceType"] == "Patient")
    stored = {(one.type, one.id): one.body for one in opened(database, keys, patient_id)}
    names = {one["fullUrl"]: f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in given["entry"]}
    raw_text = (SYNTHEA / "patient-01.json").read_text(encoding="utf-8")
    for one in given["entry"]:
        key = one["resource"]["resourceType"], one["resource"]["id"]
        if key[0] in ("Organization", "Practitioner"):
            assert key not in stored
            continue
        body = stored[key].decode()
        assert '"reference":"urn:' not in body
        for urn, name in names.items():
            body = body.replace(f'"reference":"{name}"', f'"reference":"{urn}"')
        assert body in raw_text  # Byte for byte, apart from the references.


def test_numbers_keep_their_digits(database: Database, keys: Keys):
    body = b'{ "resourceType":"Observation", "id":"o1","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"},'
    body += b'"valueQuantity":{"value":13.20,"unit":"mmol/L"},"component":[{"code":{"text":"y"},"valueQuantity":{"value":1.50e2}}] }'
    assert taken_in(database, keys, body).accepted == 1
    assert opened(database, keys)[0].body == body


def test_the_good_go_in_and_each_bad_one_is_named(database: Database, keys: Keys, tmp_path: Path):
    deep = b'{"resource":{"resourceType":"Basic","id":"b","code":' + b'{"x":' * 10_000 + b"1" + b"}" * 10_000 + b"}}"
    twice = b'{"resource":{"resourceType":"Patient","id":"p9","id":"p9"}}'
    latin = b'{"resource":{"resourceType":"Patient","id":"p8","name":[{"text":"\xff"}]}}'
    listed = [deep, twice, latin, json.dumps(entry(patient())).encode(), json.dumps(entry(observation(status="zzz", valueString="x"))).encode()]
    file = tmp_path / "mixed.json"
    file.write_bytes(b'{"resourceType":"Bundle","type":"transaction","entry":[' + b",".join(listed) + b"]}")
    report = taken_in(database, keys, file)
    assert _counts(report) == (1, 0, 4)
    assert codes(report) == ["too-deep", "duplicate-key", "not-utf8", "bad-code", "two-choices"]
    assert [refused.where for refused in report.refusals] == ["entry[0]", "entry[1]", "entry[2]", "entry[4]"]
    assert [problem.path for problem in report.refusals[-1].problems] == ["Observation.status", "Observation.valueString"]


def test_one_bad_file_does_not_stop_the_next(database: Database, keys: Keys, tmp_path: Path):
    (tmp_path / "a.json").write_bytes(b"{broken")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(bundle(patient()))[:-12])
    (tmp_path / "c.json").write_bytes(bundle(patient("p3")))
    report = records.ingest(database, keys, [tmp_path])
    assert report.accepted == 1
    assert codes(report) == ["not-json", "bad-gzip"]


def test_lines_of_many_patients_in_any_order(database: Database, keys: Keys, tmp_path: Path):
    rows = [observation(f"o{number}", f"p{number % 7}") for number in range(300)]
    (tmp_path / "Observation.ndjson.gz").write_bytes(gzip.compress(ndjson(*rows) + b'{"resourceType":"Observation","id":"bad"}\n'))
    (tmp_path / "Patient.ndjson").write_bytes(ndjson(*(patient(f"p{number}") for number in range(7))))
    report = records.ingest(database, keys, [tmp_path])
    assert _counts(report) == (307, 0, 1)
    assert report.refusals[0].where == "line 301"
    assert len(opened(database, keys, "p3")) == 44


def test_a_new_body_is_a_new_version_and_an_old_one_comes_to_nothing(database: Database, keys: Keys):
    for value, counts in ((5.6, (2, 0, 0)), (5.6, (0, 2, 0)), (6.1, (1, 1, 0)), (5.6, (0, 2, 0)), (6.1, (0, 2, 0))):
        report = taken_in(database, keys, bundle(patient(), observation(valueQuantity={"value": value})))
        assert _counts(report) == counts
    (stored,) = [one for one in opened(database, keys) if one.type == "Observation"]
    assert stored.version == 2
    assert b"6.1" in stored.body


def test_two_bodies_of_one_resource_in_one_file_are_two_versions_and_stay_so(database: Database, keys: Keys, tmp_path: Path):
    file = tmp_path / "x.ndjson"
    file.write_bytes(
        ndjson(observation(valueQuantity={"value": 1}), observation(valueQuantity={"value": 2}), observation(valueQuantity={"value": 1}))
    )
    assert _counts(taken_in(database, keys, file)) == (2, 1, 0)
    assert _counts(taken_in(database, keys, file)) == (0, 3, 0)
    assert [(one.version, b'"value": 2' in one.body) for one in opened(database, keys)] == [(2, True)]


def test_a_resource_does_not_move_to_another_patient(database: Database, keys: Keys):
    taken_in(database, keys, bundle(observation("o1", "p1")))
    report = taken_in(database, keys, bundle(observation("o1", "p2")))
    assert codes(report) == ["other-patient"]
    assert opened(database, keys, "p2") == []


def test_several_patients_and_none_are_refused(database: Database, keys: Keys):
    lost = {name: value for name, value in observation("o2").items() if name != "subject"}
    report = taken_in(database, keys, bundle(observation("o1", performer=[{"reference": "Patient/p2"}]), lost, practitioner()))
    assert codes(report) == ["several-patients", "no-patient"]
    assert report.accepted == 1
    with database.transaction() as session:
        assert session.exec(select(StoredResource.patient_key)).all() == [SHARED]


def test_conditional_references_find_what_came_before_and_wait_for_what_comes_after(database: Database, keys: Keys, tmp_path: Path):
    asks = observation(performer=[{"reference": "Practitioner?identifier=https://hospital.example/fhir/sid/staff|staff-d1"}])
    (tmp_path / "a.json").write_bytes(bundle(patient(), asks))
    assert codes(records.ingest(database, keys, [tmp_path])) == ["no-match"]
    (tmp_path / "z.json").write_bytes(bundle(practitioner()))
    report = records.ingest(database, keys, [tmp_path])
    assert _counts(report) == (2, 1, 0)
    assert b'"Practitioner/d1"' in next(one.body for one in opened(database, keys) if one.type == "Observation")


def test_a_prescription_takes_the_labels_of_its_medication_whenever_that_comes(database: Database, keys: Keys, tmp_path: Path):
    prescription = {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "medicationReference": {"reference": "Medication/drug"},
        "subject": {"reference": "Patient/p1"},
    }
    (tmp_path / "a.ndjson").write_bytes(ndjson(prescription))
    records.ingest(database, keys, [tmp_path / "a.ndjson"])
    assert opened(database, keys)[0].labels == ("R", "unclassified")
    (tmp_path / "b.ndjson").write_bytes(ndjson({"resourceType": "Medication", "id": "drug", "code": {"text": "多替拉韦钠片"}}))
    assert _counts(records.ingest(database, keys, [tmp_path])) == (2, 0, 0)
    assert opened(database, keys)[0].labels == ("HIV", "R")
    assert _counts(records.ingest(database, keys, [tmp_path])) == (0, 2, 0)


def test_labels_are_kept_with_their_rules_and_can_be_denied_in_sql(database: Database, keys: Keys):
    hiv = condition("c2", code=concept(SNOMED, "86406008"))
    taken_in(database, keys, bundle(patient(), observation(), condition("c1"), hiv))
    assert Counter(label for one in opened(database, keys) for label in one.labels) == {"N": 3, "HIV": 1, "R": 1}
    assert {one.id for one in opened(database, keys, deny=["HIV"])} == {"p1", "o1", "c1"}
    assert {one.id for one in opened(database, keys, deny=["N"])} == {"c2"}


def test_nothing_about_the_patient_stands_in_plain_columns(database: Database, database_url: str, keys: Keys):
    taken_in(database, keys, bundle(patient("p-secret-id"), condition("c1", "p-secret-id", concept(SNOMED, "86406008", "secret words"))))
    with psycopg.connect(database_url) as connection:
        values = [
            value
            for table in ("patient", "resource", "identifier", "audit_event")
            for row in connection.execute(f"SELECT * FROM {table}").fetchall()
            for value in row
        ]
    text_of_all = "\n".join(map(str, values))
    for secret in ("p-secret-id", "王小明", "86406008", "secret words"):
        assert secret not in text_of_all
    # Short ones stand in ciphertext and numbers by chance.
    plain = "\n".join(str(value) for value in values if not isinstance(value, (bytes, memoryview, UUID)))
    for secret in ("HIV", "1980"):
        assert not re.search(rf"(?<![0-9A-Za-z+/]){secret}(?![0-9A-Za-z+/])", plain)


def test_each_transaction_that_stores_something_is_recorded(database: Database, keys: Keys, tmp_path: Path):
    (tmp_path / "王小明.json").write_bytes(bundle(patient(), observation(status="zzz")))
    records.ingest(database, keys, [tmp_path], source="HIS", actor="system")
    with database.transaction() as session:
        events = session.exec(select(AuditEvent)).all()
    assert [event.type for event in events] == ["records.ingested"]
    facts = json.loads(events[0].leaf)["facts"]
    assert (facts["accepted"], facts["refused"], facts["source"], len(facts["sha256"])) == (1, 1, "HIS", 64)
    assert "王小明" not in events[0].leaf


def test_a_source_is_a_plain_name(database: Database, keys: Keys):
    with pytest.raises(Invalid):
        records.ingest(database, keys, [], source="张三 的电脑")


def test_another_key_is_refused_before_anything_is_read(database: Database, keys: Keys, tmp_path: Path):
    taken_in(database, keys, bundle(patient()))
    stranger = load_keys(Settings(var=tmp_path / "elsewhere"))
    with pytest.raises(OtherKey) as caught:
        taken_in(database, stranger, bundle(patient("p2")))
    assert "BROKER_KEY_ENCRYPTION_KEY" in caught.value.help("en")
    with database.transaction() as session, pytest.raises(OtherKey):
        records.check_keys(session, stranger)
    assert len(opened(database, keys)) == 1


def test_identifiers_follow_the_newest_version(database: Database, keys: Keys):
    def match(value: str) -> str:
        with database.transaction() as session:
            return records.match(session, keys, {"system": MRN, "value": value}, "王小明").grade

    taken_in(database, keys, bundle(patient()))
    assert match("MRN-p1") == "certain"
    taken_in(database, keys, bundle(patient(identifier=[{"system": MRN, "value": "MRN-new"}])))
    assert (match("MRN-p1"), match("MRN-new")) == ("none", "certain")


def test_two_at_once_store_everything_once(database: Database, keys: Keys, tmp_path: Path):
    for number in range(12):
        (tmp_path / f"{number}.json").write_bytes(
            bundle(practitioner(), patient(f"p{number % 3}"), *(observation(f"o{number}-{i}", f"p{number % 3}") for i in range(20)))
        )
    reports: list[records.Report] = []
    threads = [threading.Thread(target=lambda: reports.append(records.ingest(database, keys, [tmp_path]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.accepted for report in reports) == 1 + 3 + 240
    assert sum(report.refused for report in reports) == 0
    with database.transaction() as session:
        assert len(session.exec(select(Patient)).all()) == 4
        assert len(session.exec(select(StoredResource.id_token).distinct()).all()) == 244
        assert all(version == 1 for version in session.exec(select(StoredResource.version)))


KILLED = """
import os, sys
from pathlib import Path
from uuid import UUID
from broker.crypto import load_keys
from broker.database import Database
from broker.records import service as records
from broker.settings import load
settings = load()
def told(progress):
    if progress.accepted > 400:
        os.kill(os.getpid(), 9)
records.ingest(Database(settings.database_url.get_secret_value(), "broker_web"), load_keys(settings), [Path(sys.argv[1])], progress=told)
"""


def test_killed_in_the_middle_and_repeated_it_is_complete(database: Database, database_url: str, keys: Keys, test_settings: Settings, tmp_path: Path):
    folder = tmp_path / "given"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.json").write_bytes(bundle(patient(f"p{number}"), *(observation(f"o{number}-{i}", f"p{number}") for i in range(49))))
    environment = {**os.environ, "BROKER_DATABASE_URL": database_url, "BROKER_VAR": str(test_settings.var)}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=environment, capture_output=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    with database.transaction() as session:
        there = session.execute(text("SELECT count(*) FROM resource")).scalar_one()
    assert 0 < there < 1000
    assert there % 50 == 0  # Whole files or nothing of them.
    assert _counts(records.ingest(database, keys, [folder])) == (1000 - there, there, 0)
    assert _counts(records.ingest(database, keys, [folder])) == (0, 1000, 0)
    assert len(opened(database, keys, "p19")) == 50


def test_the_web_role_cannot_touch_keys_of_patients(database: Database, keys: Keys):
    taken_in(database, keys, bundle(patient()))
    for statement in (
        "UPDATE patient SET wrapped_key = 'x'",
        "UPDATE patient SET fhir_id_sealed = 'x'",
        "DELETE FROM patient",
        "DELETE FROM resource",
        "UPDATE key_fingerprint SET fingerprint = ''",
    ):
        with pytest.raises(Exception, match="permission denied"), database.transaction() as session:
            session.execute(text(statement))


def test_shared_resources_are_read_through_what_is_released(database: Database, keys: Keys):
    refers = observation(performer=[{"reference": "Practitioner/d1"}])
    hidden = condition("c2", code=concept(SNOMED, "86406008"), recorder={"reference": "Practitioner/d2"})
    taken_in(database, keys, bundle(patient(), practitioner("d1"), practitioner("d2"), practitioner("d3"), refers, hidden))

    async def linked(cursor: psycopg.AsyncCursor) -> list[str]:
        key = keys.patient_key("p1")
        rows = await records.read(
            cursor,
            patient_key=key,
            types={"Observation": records.Window(), "Condition": records.Window()},
            deny_tokens=records.label_tokens(keys, key, ["HIV"]),
        )
        found = await records.read_linked(cursor, keys, patient_key=key, types=["Practitioner"], sources=[row.place for row in rows])
        assert found.vault is not None
        assert found.asked == [records.id_token(keys, "Practitioner", "d1")]
        return [records.open_row(found.vault, row).id for row in found.rows]

    assert raw(database, linked) == ["d1"]


def test_an_identifier_row_belongs_to_its_resource(database: Database, keys: Keys):
    taken_in(database, keys, bundle(patient()))
    with database.transaction() as session:
        tokens = session.exec(select(BlindedIdentifier)).all()
    assert {row.id_token for row in tokens} == {records.id_token(keys, "Patient", "p1")}
