"""Bulk exports: what single reads give and nothing else, prepared by workers, gated at write and at download (RS-5.3.3, C15 to C18, E01)."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
import zlib
from contextlib import suppress

import boto3
import httpx2
import psycopg
import pytest
import sqlalchemy as sa
from moto.server import ThreadedMotoServer

from broker import clock, demo_data, jobs
from broker.app import background_jobs
from broker.demo.consents import revocation
from broker.demo.story import TREATMENT
from broker.records import service as records
from broker.release.bulk import cleaning, sending, writing
from broker.settings import Settings
from tests.live import hospital

ASYNC = {"Prefer": "respond-async"}
PATIENTS = ("p1001", "p1002", "p1004", "p1005")
#: In the application, but with a consent that was withdrawn.
SILENT = "p1003"
PATIENCE = 60
#: Consents in force, by patient.
FILED: dict[str, list[str]] = {}


@pytest.fixture(scope="module")
def story(module_database_url, tmp_path_factory):
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), gate_timeout=2.0, send_buffer=4096, refusal_step=0) as running:
        yield running


class Exchange:
    """An application about several patients that was approved, and a client with its token."""

    def __init__(self, story, patients=PATIENTS, silent=(SILENT,), **decision):
        self.story = story
        self.patients = patients
        for one in (*patients, *silent):
            FILED.setdefault(one, []).append(story.file_consent(one, "shengli"))
        today = clock.today()
        who = [story.cast.patients[one] for one in (*patients, *silent)]
        form = {
            "purpose": "TREAT", "lawful_basis": "consent", "recipient": "shengli-cardiology",
            "patients": [{"identifier": one.identifier, "name": one.name, "birthDate": one.birth_date} for one in who],
            "data": TREATMENT, "channel": "bulk", "valid_until": today.replace(year=today.year + 1, day=1).isoformat(),
            "urgency": "routine", "justification": "转诊后随访，需了解既往诊断、用药与检验结果。", "retention_days": 30,
        }  # fmt: skip
        person = story.person("gao.min")
        draft = person.call("POST", "/api/v1/applications", expected=201, body=form)
        path = f"/api/v1/applications/{draft.json()['draft_id']}/submit"
        self.number = person.call("POST", path, headers={"If-Match": draft.headers["etag"]}).json()["number"]
        path = f"/api/v1/applications/{self.number}"
        for name, verb, body in (("song.yi", "endorse", {}), ("deng.li", "approve", decision)):
            one = story.person(name)
            one.call("POST", f"{path}/{verb}", headers={"If-Match": one.call("GET", path).headers["etag"]}, body=body)
        for one in silent:
            withdraw(self, one)
        self.renew()

    def renew(self, scope="system/*.rs"):
        self.token = self.story.system("shengli-his").token(self.number, scope)["access_token"]

    def call(self, method, path, *, token=None, body=None, **headers):
        headers = {"Authorization": f"Bearer {token or self.token}", "Accept-Language": "en", "Accept-Encoding": "identity", **headers}
        return self.story.http.request(method, path.removeprefix(self.story.base_url), headers=headers, json=body)

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def work(self):
        jobs.run_until_idle(background_jobs(), self.story.installation)

    def start(self, path="/fhir/$export", body=None, **headers):
        answer = self.call("GET" if body is None else "POST", path, body=body, **{**ASYNC, **headers})
        assert answer.status_code == 202, answer.text
        assert answer.headers["content-location"].startswith(f"{self.story.base_url}/fhir/$export/")
        return answer.headers["content-location"]

    def done(self, path="/fhir/$export", body=None):
        where = self.start(path, body)
        self.work()
        answer = self.get(where)
        assert answer.status_code == 200, answer.text
        return where, answer.json()

    def lines(self, manifest):
        """Every line of every file, parsed; each file is what the manifest says of it."""
        found = []
        for one in manifest["output"]:
            answer = self.get(one["url"])
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith("application/fhir+ndjson")
            extension = one["extension"]
            told = extension[0]["valueString"] if isinstance(extension, list) else next(iter(extension.values()))
            assert told == f"sha-256={hashlib.sha256(answer.content).hexdigest()}"
            lines = [json.loads(line) for line in answer.content.splitlines()]
            assert {line["resourceType"] for line in lines} == {one["type"]}
            assert len(lines) == one["count"]
            found += lines
        return found

    def singly(self, patients=PATIENTS, query=""):
        """What reading one patient after the other gives: the oracle."""
        found = []
        for one in patients:
            answer = self.get(f"/fhir/Patient/{one}/$everything{query}")
            if answer.status_code == 200:
                found += [entry["resource"] for entry in answer.json().get("entry", [])]
        return found

    def events(self, kind):
        query = "SELECT leaf FROM audit_event WHERE application = %s AND type = %s ORDER BY xid, seq"
        with self.story.installation.database.transaction() as session:
            return [json.loads(row[0]) for row in session.connection().exec_driver_sql(query, (self.number, kind)).all()]


def told(resources):
    """Resources as sorted text without what tells of the one bundle that they came in."""
    return sorted(json.dumps(one, sort_keys=True, ensure_ascii=False) for one in resources)


def withdraw(its, patient):
    """Take back every consent of the patient's that a test of this module has filed."""
    while FILED.get(patient):
        its.story.person("deng.li").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(FILED[patient].pop(), patient))


@pytest.fixture(scope="module")
def its(story):
    """An exchange that no test takes anything from."""
    return Exchange(story)


@pytest.fixture
def own(story):
    """An exchange of the test's own."""
    return Exchange(story)


@pytest.fixture(autouse=True)
def fresh(request):
    """No token grows old in a slow run."""
    if "its" in request.fixturenames:
        request.getfixturevalue("its").renew()


# --- What leaves -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/fhir/$export", "/fhir/Patient/$export", "/fhir/Group/{number}/$export"])
def test_an_export_is_the_union_of_single_reads(its, path):
    _, manifest = its.done(path.format(number=its.number))
    found = its.lines(manifest)
    assert told(found) == told(its.singly())
    assert {one["id"] for one in found if one["resourceType"] == "Patient"} == set(PATIENTS)
    assert manifest["requiresAccessToken"] is True
    assert manifest["error"] == manifest["deleted"] == []
    assert manifest["request"] == f"{its.story.base_url}{path.format(number=its.number)}"


def test_by_post_the_manifest_has_the_newer_form(its):
    body = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueString": "Patient"}]}
    _, manifest = its.done("/fhir/$export", body)
    assert manifest["outcome"] == []
    assert manifest["outputFormat"] == "application/fhir+ndjson"
    assert {one["resourceType"] for one in its.lines(manifest)} == {"Patient"}


def test_types_elements_filters_and_patients_narrow(its):
    _, manifest = its.done("/fhir/$export?_type=Observation&_type=Condition&_elements=code,subject")
    found = its.lines(manifest)
    assert {one["resourceType"] for one in found} == {"Observation", "Condition"}
    assert not any("effectiveDateTime" in one for one in found)
    _, manifest = its.done("/fhir/$export?_typeFilter=Observation%3Fcategory%3Dlaboratory&_type=Observation,Patient")
    found = its.lines(manifest)
    assert told(one for one in found if one["resourceType"] == "Observation") == told(
        entry["resource"]
        for one in PATIENTS
        for entry in its.get(f"/fhir/Observation?patient={one}&category=laboratory&_count=500").json().get("entry", [])
        if entry["resource"]["resourceType"] == "Observation"
    )
    body = {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": {"reference": "Patient/p1004"}}]}
    _, manifest = its.done("/fhir/Patient/$export", body)
    assert told(its.lines(manifest)) == told(its.singly(["p1004"]))


def test_since_gives_what_changed_since(its):
    resources = its.singly()
    changed = sorted({one["meta"]["lastUpdated"] for one in resources})
    middle = changed[len(changed) // 2]
    _, manifest = its.done(f"/fhir/$export?_since={middle}")
    assert told(its.lines(manifest)) == told(one for one in resources if one["meta"]["lastUpdated"] >= middle)
    _, manifest = its.done("/fhir/$export?_since=2999-01-01T00:00:00Z")
    assert manifest["output"] == []


def test_gzip_is_the_same_bytes(its):
    _, manifest = its.done("/fhir/$export?_type=Observation")
    url = manifest["output"][0]["url"]
    plain = its.get(url)
    with its.story.http.stream(
        "GET", url.removeprefix(its.story.base_url), headers={"Authorization": f"Bearer {its.token}", "Accept-Encoding": "gzip"}
    ) as packed:
        raw = b"".join(packed.iter_raw())
    assert packed.headers["content-encoding"] == "gzip"
    assert len(raw) < len(plain.content) == int(plain.headers["content-length"])
    assert gzip.decompress(raw) == plain.content
    assert len({json.loads(line)["subject"]["reference"] for line in plain.text.splitlines()}) > 1
    # A library that reads one gzip member and drops what follows, as httpx does, has every patient too.
    assert its.get(url, **{"Accept-Encoding": "gzip"}).content == plain.content


def test_every_patient_s_lines_are_a_release_with_intent_outcome_and_manifest(own):
    _, manifest = own.done("/fhir/$export?_type=Observation,Patient")
    found = own.lines(manifest)
    intents, outcomes = own.events("release.permitted"), own.events("release.sent")
    assert len(intents) == len(outcomes) == sum(1 for kind in ("Observation", "Patient") for one in PATIENTS if any(
        line["resourceType"] == kind and (line["id"] == one or line.get("subject", {}).get("reference") == f"Patient/{one}") for line in found
    ))  # fmt: skip
    assert {one["release"] for one in intents} == {one["release"] for one in outcomes}
    assert sum(one["facts"]["items"] for one in outcomes) == len(found)
    listed = [item for one in outcomes for item in own.get(f"/releases/{one['release']}").json()["resources"]]
    assert sorted((one["type"], one["id"]) for one in listed) == sorted((one["resourceType"], one["id"]) for one in found)
    assert len(own.events("release.prepared")) == len(PATIENTS)
    assert len(own.events("export.requested")) == 1
    assert [one["facts"]["reasons"] for one in own.events("release.refused")], "the patient without a consent is on record"


# --- How it goes -----------------------------------------------------------------------------------------------------


def test_progress_then_manifest_then_gone(own):
    where = own.start()
    early = own.get(where)
    assert early.status_code == 202
    assert early.headers["retry-after"].isdigit()
    assert 0 < len(early.headers["x-progress"]) < 100
    own.work()
    ready = own.get(where)
    assert ready.status_code == 200
    assert ready.headers["expires"].endswith("GMT")
    url = ready.json()["output"][0]["url"]
    assert own.call("DELETE", where).status_code == 202
    for path in (where, url):
        gone = own.get(path)
        assert gone.status_code == 404
        assert gone.json()["resourceType"] == "OperationOutcome"
    assert own.call("DELETE", where).status_code == 404
    own.work()
    with own.story.installation.database.transaction() as session:
        assert (
            session.execute(sa.text("SELECT count(*) FROM export_part p JOIN export e ON e.id = p.export_id WHERE e.status = 'cancelled'")).scalar()
            == 0
        )


def test_what_has_expired_is_deleted(own):
    where, manifest = own.done()
    with own.story.installation.database.transaction() as session:
        session.execute(sa.text("UPDATE export SET expires_at = now() WHERE id = CAST(:id AS uuid)"), {"id": where.rsplit("/", 1)[1]})
    assert own.get(where).status_code == 404
    assert own.get(manifest["output"][0]["url"]).status_code == 404
    cleaning.clean(own.story.installation, {})
    with own.story.installation.database.transaction() as session:
        left = session.execute(sa.text("SELECT count(*) FROM export_segment WHERE export_id = CAST(:id AS uuid)"), {"id": where.rsplit("/", 1)[1]})
        assert left.scalar() == 0


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/fhir/$export", {}, 400),  # Without Prefer.
        ("/fhir/$export?_outputFormat=application/xml", ASYNC, 400),
        ("/fhir/$export?_outputFormat=ndjson&_include=Observation:subject", ASYNC, 400),
        ("/fhir/$export?includeAssociatedData=LatestProvenanceResources", {"Prefer": "respond-async, handling=lenient"}, 400),
        ("/fhir/$export?_since=yesterday", ASYNC, 400),
        ("/fhir/$export?_type=Nothing", ASYNC, 400),
        ("/fhir/$export?patient=p1001", ASYNC, 400),
        ("/fhir/$export?_typeFilter=Observation%3Fvalue-quantity%3Dgt7", ASYNC, 400),
        ("/fhir/$export?_typeFilter=Observation%3Fsubject:Patient.name%3Dx", ASYNC, 400),
        ("/fhir/$export?_type=ExplanationOfBenefit", ASYNC, 403),  # C16: outside what was approved.
        ("/fhir/Group/SA-2026-999999/$export", ASYNC, 404),
        ("/fhir/Group/nobody/$export", ASYNC, 404),
    ],
)
def test_what_is_not_served_is_refused(its, path, headers, status):
    answer = its.get(path, **headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("named", ["p1006", "nobody-at-all"])
def test_a_patient_outside_the_group_is_refused_like_one_who_does_not_exist(its, named):
    body = {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": {"reference": f"Patient/{named}"}}]}
    answer = its.call("POST", "/fhir/$export", body=body, **ASYNC)
    assert answer.status_code == 403
    assert named not in answer.text


def test_a_token_that_may_only_see_some_types_exports_only_those(own):
    own.renew("system/Patient.rs")
    _, manifest = own.done()
    assert {one["type"] for one in manifest["output"]} == {"Patient"}
    assert own.get("/fhir/$export?_type=Observation", **ASYNC).status_code == 403


def test_without_a_token_nothing_is_said(its):
    where, manifest = its.done("/fhir/$export?_type=Patient")
    for method, path in (
        ("GET", "/fhir/$export"),
        ("POST", "/fhir/$export"),
        ("GET", where),
        ("DELETE", where),
        ("GET", manifest["output"][0]["url"]),
    ):
        answer = its.story.http.request(method, path.removeprefix(its.story.base_url), headers=ASYNC)
        assert answer.status_code == 401, path
        assert "www-authenticate" in answer.headers


def test_another_grant_s_token_finds_nothing(its, own):
    """C15: not even of the same client; the answer is the one for what never was."""
    where, manifest = its.done("/fhir/$export?_type=Patient")
    never = f"{its.story.base_url}/fhir/$export/00000000-0000-4000-8000-000000000000"
    answers = [own.get(path) for path in (where, never, manifest["output"][0]["url"], f"{never}/00000000-0000-4000-8000-000000000000.ndjson")]
    assert {one.status_code for one in answers} == {404}
    assert own.call("DELETE", where).status_code == 404
    shapes = {json.dumps([{k: v for k, v in issue.items() if k != "diagnostics"} for issue in one.json()["issue"]]) for one in answers}
    assert len(shapes) == 1
    assert its.get(where).status_code == 200


def test_only_so_many_at_a_time(own):
    started = [own.start() for _ in range(5)]
    answer = own.get("/fhir/$export", **ASYNC)
    assert answer.status_code == 429
    assert answer.headers["retry-after"]
    for one in started:
        own.call("DELETE", one)


# --- The gate, at write and at download --------------------------------------------------------------------------------


def test_who_withdraws_before_the_work_is_not_in_it(own):
    where = own.start()
    withdraw(own, "p1001")
    own.work()
    found = own.lines(own.get(where).json())
    assert told(found) == told(own.singly(PATIENTS[1:]))
    assert "p1001" not in json.dumps(found)


def test_who_withdraws_afterwards_can_not_be_fetched_any_more(own):
    """C18: also what was written already; the files are made anew, at new addresses, without."""
    where, before = own.done()
    withdraw(own, "p1001")
    for one in before["output"]:
        if one["type"] == "Patient":
            answer = own.get(one["url"])
            assert answer.status_code == 404, "the file held a patient who has withdrawn"
            assert b"p1001" not in answer.content
    assert own.get(where).status_code == 202
    own.work()
    after = own.get(where).json()
    assert {one["url"] for one in after["output"]}.isdisjoint(one["url"] for one in before["output"])
    assert told(own.lines(after)) == told(own.singly(PATIENTS[1:]))
    for one in before["output"]:
        assert own.get(one["url"]).status_code == 404


def test_what_became_sensitive_after_it_was_prepared_does_not_leave(own):
    """C16: the labels of now count, as they do for a single read."""
    where, before = own.done()
    (bundle,) = [json.loads(one) for one in demo_data.patients(clock.today()) if b'"p1004"' in one]
    conditions = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Condition"]
    left = {line["id"] for line in own.lines(before) if line["resourceType"] == "Condition"}
    changed = next(one for one in conditions if one["id"] in left)
    changed["code"]["coding"].append({"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"})
    installation = own.story.installation
    assert records.ingest_bundle(installation.database, installation.keys, json.dumps(changed).encode()).accepted == 1
    for one in before["output"]:
        if one["type"] in ("Condition", "Patient"):
            assert own.get(one["url"]).status_code == 404
    own.work()
    after = own.lines(own.get(where).json())
    assert changed["id"] not in {line["id"] for line in after}
    assert told(after) == told(own.singly())


def test_what_was_given_and_is_gone_is_told_as_deleted(own, its):
    """Bulk Data 2.2.2: only what this client got under this grant, and only what may not leave any more."""
    _, first = own.done()
    given = {(line["resourceType"], line["id"]) for line in own.lines(first)}
    assert first["deleted"] == []
    moment = first["transactionTime"]
    (bundle,) = [json.loads(one) for one in demo_data.patients(clock.today()) if b'"p1002"' in one]
    conditions = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Condition"]
    changed = next(one for one in conditions if ("Condition", one["id"]) in given)
    changed["code"]["coding"].append({"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"})
    never = {**changed, "id": "never-given"}
    installation = own.story.installation
    for one in (changed, never):
        assert records.ingest_bundle(installation.database, installation.keys, json.dumps(one).encode()).accepted == 1

    def deleted(exchange, query):
        _, manifest = exchange.done(f"/fhir/$export?{query}")
        assert not {(line["resourceType"], line["id"]) for line in exchange.lines(manifest)} & {("Condition", changed["id"])}
        found = []
        for one in manifest["deleted"]:
            assert (one["type"], one["count"]) == ("Bundle", 1)
            answer = exchange.get(one["url"])
            assert answer.status_code == 200, answer.text
            found += [json.loads(line) for line in answer.content.splitlines()]
        return found

    gone = [{"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": "DELETE", "url": f"Condition/{changed['id']}"}}]}]
    assert deleted(own, f"_since={moment}") == gone
    assert deleted(own, f"_since={moment}&_type=Condition&_elements=code") == gone
    # Filters of the call are not what takes something back, nor is anything told that was not asked for.
    assert deleted(own, f"_since={moment}&_type=Condition,Observation&_typeFilter=Observation?status=registered") == gone
    assert deleted(own, f"_since={moment}&_type=Observation") == []
    assert deleted(own, "_type=Condition") == []
    # A grant under which it was not given hears nothing of it, and nobody but the client gets the file.
    other = Exchange(own.story)
    assert deleted(other, f"_since={moment}") == []
    _, manifest = own.done(f"/fhir/$export?_since={moment}")
    assert other.get(manifest["deleted"][0]["url"]).status_code == its.get(manifest["deleted"][0]["url"]).status_code == 404
    withdraw(own, "p1002")
    assert own.get(manifest["deleted"][0]["url"]).status_code == 404


def test_a_grant_that_is_revoked_ends_it_all(own):
    _, manifest = own.done()
    own.story.person("deng.li").call("POST", f"/api/v1/applications/{own.number}/revoke", body={"reason": "a test"})
    for one in manifest["output"]:
        assert own.get(one["url"]).status_code in (401, 403, 404)


def test_a_withdrawal_in_the_middle_of_a_file_breaks_it_off(own, monkeypatch):
    """One patient's lines are out, the next one withdraws before theirs: they never come, and the file is cut off."""
    _, manifest = own.done("/fhir/$export?_type=Patient")
    (entry,) = manifest["output"]
    ids = {own.story.installation.keys.patient_key(one): one for one in PATIENTS}
    before, seen = sending._one, []

    async def in_between(parts, connection, claims, file, segment, *given, **named):
        seen.append(ids[segment["patient_key"]])
        if len(seen) == 2:
            await asyncio.to_thread(withdraw, own, seen[1])
        return await before(parts, connection, claims, file, segment, *given, **named)

    monkeypatch.setattr(sending, "_one", in_between)
    found = b""
    broken_off = False
    with own.story.http.stream("GET", entry["url"], headers={"Authorization": f"Bearer {own.token}"}) as answer:
        try:
            for part in answer.iter_raw():
                found += part
        except httpx2.RemoteProtocolError:
            broken_off = True
    assert broken_off
    assert own.events("release.sent")
    assert [one["facts"]["reasons"] for one in own.events("release.refused")][-1]
    packed = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    assert [json.loads(line)["id"] for line in packed.decompress(found).splitlines()] == seen[:1]


def test_a_line_changed_on_disk_does_not_leave(own):
    """Whoever can write to the tables can't make the broker send what it did not prepare."""
    where, manifest = own.done("/fhir/$export?_type=Patient")
    with own.story.installation.database.transaction() as session:
        session.execute(sa.text("UPDATE export_segment SET body = set_byte(body, 40, get_byte(body, 40) # 1) WHERE export_id = CAST(:id AS uuid)"),
                        {"id": where.rsplit("/", 1)[1]})  # fmt: skip
    answer = own.get(manifest["output"][0]["url"])
    assert answer.status_code in (404, 503)
    assert b'resourceType":"Patient' not in answer.content


def test_a_segment_of_another_patient_does_not_open_in_this_one_s_place(own):
    where, manifest = own.done("/fhir/$export?_type=Patient")
    export = where.rsplit("/", 1)[1]
    one = "(SELECT max(body) FROM export_segment WHERE export_id = CAST(:id AS uuid))"
    with own.story.installation.database.transaction() as session:
        session.execute(sa.text(f"UPDATE export_segment SET body = {one} WHERE export_id = CAST(:id AS uuid)"), {"id": export})
    found = b""
    headers = {"Authorization": f"Bearer {own.token}"}
    # Broken off, where the first patient's own lines could still go.
    with suppress(httpx2.RemoteProtocolError), own.story.http.stream("GET", manifest["output"][0]["url"], headers=headers) as answer:
        for part in answer.iter_bytes():
            found += part
    lines = [json.loads(line)["id"] for line in found.splitlines() if b"Patient" in line]
    assert len(lines) <= 1


def test_a_limit_on_releases_counts_patients(story):
    limited = Exchange(story, releases_limit=2)
    _, manifest = limited.done("/fhir/$export?_type=Patient")
    assert len(limited.lines(manifest)) == 2


def test_nothing_of_a_patient_lies_in_clear(own, module_database_url):
    where, _ = own.done()
    with psycopg.connect(module_database_url) as connection:
        for table in ("export", "export_chunk", "export_part", "export_segment", "export_file", "procrastinate_jobs", "procrastinate_events"):
            content = "".join(str(row) for row in connection.execute(f"SELECT {table}::text FROM {table}").fetchall())
            for word in ("p1001", "张秀英"):
                assert word not in content, (table, word)
                assert word.encode().hex() not in content, (table, word)
    assert where


# --- Where it lies ---------------------------------------------------------------------------------------------------


@pytest.fixture
def s3():
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret")
    client.create_bucket(Bucket="exports")
    yield endpoint, client
    server.stop()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_files_may_lie_outside_and_say_nothing_there(story, own, tmp_path, kind, request, monkeypatch):
    if kind == "folder":
        options = {"export_store": f"file://{tmp_path / 'store'}"}
        stored = lambda: [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]  # noqa: E731
    else:
        endpoint, client = request.getfixturevalue("s3")
        options = {"export_store": "s3://exports/renhe", "export_store_endpoint": endpoint, "export_store_region": "us-east-1",
                   "export_store_key": "key", "export_store_secret": "secret"}  # fmt: skip
        stored = lambda: [client.get_object(Bucket="exports", Key=one["Key"])["Body"].read()  # noqa: E731
                          for one in client.list_objects_v2(Bucket="exports").get("Contents", [])]  # fmt: skip
    for name, value in Settings(**options).model_dump(include=set(options)).items():
        monkeypatch.setitem(story.installation.settings.__dict__, name, value)
    where, manifest = own.done()
    assert len(stored()) == len(PATIENTS)
    assert not any(b"resourceType" in one or b"p1001" in one for one in stored())
    assert told(own.lines(manifest)) == told(own.singly())
    own.call("DELETE", where)
    own.work()
    assert stored() == []


# --- Many workers, and one that is killed -------------------------------------------------------------------------------

WORKER = """
import sys, threading
from pathlib import Path
from broker import jobs
from broker.app import background_jobs, open_installation
from broker.release.bulk import writing
from broker.settings import load
if __name__ == "__main__":
    if sys.argv[1:] == ["slowly"]:
        before = writing._by_type
        def slowly(*given):
            import time
            time.sleep(1.0)
            return before(*given)
        writing._by_type = slowly
    jobs.run(background_jobs(), open_installation(load()), threading.Event())
"""


def worker(story, *arguments):
    settings = story.installation.settings
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BROKER_")}
    environment |= {
        "BROKER_VAR": str(settings.var),
        "BROKER_DATABASE_URL": settings.database_url.get_secret_value(),
        "BROKER_BASE_URL": settings.base_url,
    }
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", WORKER, *arguments], env=environment)


def eventually(condition, what):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def test_a_killed_worker_leaves_whole_patients_and_others_finish_without_loss_or_duplicate(own, monkeypatch):
    monkeypatch.setattr(writing, "CHUNK", 2)
    story = own.story
    where = own.start()
    export = where.rsplit("/", 1)[1]

    def counted(status):
        with story.installation.database.transaction() as session:
            query = sa.text("SELECT count(*) FROM export_part WHERE export_id = CAST(:id AS uuid) AND status = :status")
            return session.execute(query, {"id": export, "status": status}).scalar()

    writing.plan(story.installation, {"export": export})
    victim = worker(story, "slowly")
    try:
        eventually(lambda: counted("written") >= 1, "the first patient is prepared")
        assert counted("waiting") >= 1
    finally:
        victim.kill()
        victim.wait(PATIENCE)
    with story.installation.database.transaction() as session:
        session.execute(sa.text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'"))
    others = [worker(story), worker(story)]
    try:
        own.renew()
        eventually(lambda: own.get(where).status_code == 200, "the others finish it")
    finally:
        for one in others:
            one.kill()
            one.wait(PATIENCE)
    manifest = own.get(where).json()
    assert told(own.lines(manifest)) == told(own.singly())
    assert len(own.events("release.prepared")) == len(PATIENTS)
