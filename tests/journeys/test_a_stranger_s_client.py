"""A stranger points smart-fetch, which knows nothing of us, at the running demo's credentials.json, and gets their patients (RS-5.3.3, C16)."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import pytest
from joserfc.jwk import ECKey

from broker.demo.client import SystemClient

PATIENCE = 240
TYPES = ("Condition", "Observation", "Patient")


@pytest.fixture(scope="module")
def demo():
    """`broker demo` as anybody starts it: one process, its own database, and what it wrote for clients."""
    folder = Path(tempfile.mkdtemp(prefix="broker-test-stranger-"))
    folder.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BROKER_")} | {"BROKER_VAR": str(folder / "var")}
    log = (folder / "log").open("w")
    command = [sys.executable, "-W", "ignore", "-m", "broker.cli", "demo", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    credentials = folder / "var" / "demo" / "credentials.json"
    until = time.monotonic() + PATIENCE
    try:
        while "Ctrl+C" not in (folder / "log").read_text():
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "the demo did not come up"
            time.sleep(0.3)
        yield folder, json.loads(credentials.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def smart_fetch(demo, command, out, *arguments):
    folder, credentials = demo
    (client,) = [one for one in credentials["clients"] if one["client_id"] == "shengli-his"]
    key = folder / "key.jwks"
    key.write_text(json.dumps({"keys": [client["private_jwk"]]}))
    return subprocess.run(
        [Path(sys.executable).parent / "smart-fetch", command, folder / out, "--fhir-url", credentials["fhir_base"],
         "--smart-client-id", client["client_id"], "--smart-key", key, *arguments],
        capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def fetched(folder):
    found = []
    for path in folder.rglob("*.ndjson.gz"):
        if path.is_symlink() or path.name.startswith("log."):  # A managed export links to its files from above.
            continue
        found += [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return [one for one in found if "resourceType" in one]


def singly(credentials):
    """What the client may read one call after the other: the oracle."""
    (client,) = [one for one in credentials["clients"] if one["client_id"] == "shengli-his"]
    (grant,) = client["grants"]
    with httpx2.Client(base_url=credentials["base_url"], timeout=60) as http:
        system = SystemClient(http, credentials["base_url"], client["client_id"], ECKey.import_key(client["private_jwk"]))
        token = system.token(grant["application"])["access_token"]
        bundle = system.fetch("GET", f"/fhir/Patient/{grant['patients'][0]}/$everything", token).json()
    return [entry["resource"] for entry in bundle["entry"]]


def told(resources):
    return sorted(json.dumps(one, sort_keys=True, ensure_ascii=False) for one in resources if one["resourceType"] in TYPES)


@pytest.mark.parametrize("command", ["bulk", "export"])
def test_the_stranger_gets_their_patients_and_nothing_more(demo, command):
    ran = smart_fetch(demo, command, command, "--type", ",".join(TYPES), "--no-default-filters")
    assert ran.returncode == 0, ran.stderr[-1500:]
    found = fetched(demo[0] / command)
    assert told(found) == told(singly(demo[1]))
    assert {one["id"] for one in found if one["resourceType"] == "Patient"} == {"p1004"}


def test_the_application_s_patients_are_a_group(demo):
    (client,) = [one for one in demo[1]["clients"] if one["client_id"] == "shengli-his"]
    group = client["grants"][0]["application"]
    ran = smart_fetch(demo, "bulk", "group", "--type", "Patient", "--group", group, "--no-default-filters")
    assert ran.returncode == 0, ran.stderr[-1500:]
    assert {one["id"] for one in fetched(demo[0] / "group")} == {"p1004"}
    refused = smart_fetch(demo, "bulk", "other", "--type", "Patient", "--group", "SA-2026-000003", "--no-default-filters")
    assert refused.returncode != 0
    assert fetched(demo[0] / "other") == []


def test_what_was_not_approved_is_refused_and_not_passed_over(demo):
    ran = smart_fetch(demo, "bulk", "money", "--type", "Patient,Claim", "--no-default-filters")
    assert ran.returncode != 0
    assert fetched(demo[0] / "money") == []
