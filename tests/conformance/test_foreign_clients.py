"""Clients that hospitals have already: a token and a patient's record with libraries that we did not write (RS-5.3.3)."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from fhirclient import client as fhirclient
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from tests.attacks.asking import Caller
from tests.factories import identity as make

PATIENT = "p1001"
FOREIGN = Path(__file__).resolve().parents[1] / "foreign" / "openid_client"


@pytest.fixture(scope="module")
def fhir(its: Caller) -> str:
    return f"{its.story.base_url}/fhir"


def ids(its: Caller) -> set[str]:
    answer = its.call("GET", f"/fhir/Observation?patient={PATIENT}&_count=500", who="client")
    return {entry["resource"]["id"] for entry in answer.json()["entry"]}


def test_fhirpy_reads_searches_and_pages(its, fhir):
    client = SyncFHIRClient(fhir, authorization=its.credentials["client"])
    assert client.resources("Patient").search(_id=PATIENT).first()["id"] == PATIENT
    assert client.reference("Patient", PATIENT).to_resource()["id"] == PATIENT
    found = client.resources("Observation").search(patient=PATIENT).limit(5)
    assert {one["id"] for one in found} == ids(its)  # All pages.
    assert client.resources("Observation").search(patient=PATIENT).elements("code", "status").first()["code"]
    with pytest.raises(ResourceNotFound):
        client.reference("Patient", "p1006").to_resource()
    with pytest.raises(OperationOutcome):
        client.resources("Observation").search(patient=PATIENT).include("Observation", "subject").fetch()
    everything = client.execute(f"Patient/{PATIENT}/$everything", method="get")
    assert everything["resourceType"] == "Bundle"


def test_fhirpy_asynchronous(its, fhir):
    async def fetched() -> set[str]:
        client = AsyncFHIRClient(fhir, authorization=its.credentials["client"])
        return {one["id"] async for one in client.resources("Observation").search(patient=PATIENT).limit(7)}

    assert asyncio.run(fetched()) == ids(its)


def test_fhirclient_finds_the_token_endpoint_and_reads(its, fhir):
    smart = fhirclient.FHIRClient(settings={"app_id": "shengli-his", "api_base": fhir})
    smart.prepare()
    assert smart.server.auth._token_uri == f"{its.story.base_url}/oauth2/token"
    smart.server.auth.access_token = its.credentials["client"].removeprefix("Bearer ")
    patient = Patient.read(PATIENT, smart.server)
    assert patient.id == PATIENT
    found = Observation.where({"patient": PATIENT, "status": "final", "_count": "4"}).perform_resources(smart.server)
    assert {one.id for one in found} <= ids(its)
    assert found


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with openid-client from npm, pinned by its lock file."""
    if shutil.which("npm") is None:
        pytest.skip("needs node: install Node 20 with npm")
    folder = tmp_path_factory.mktemp("openid_client")
    shutil.copytree(FOREIGN, folder, dirs_exist_ok=True)
    installed = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    if installed.returncode:
        pytest.skip(f"needs node packages: npm ci said {installed.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.mark.node
@pytest.mark.parametrize("alg", ["ES384", "RS384"])
def test_openid_client_bearer_and_dpop(its, node, alg):
    key = make.private_key(alg)
    name = f"foreign-{alg.lower()}"
    body = {"id": name, "organization": "shengli-cardiology", "name": "x", "jwks": {"keys": [make.public(key)]}}
    its.story.person("deng.li").call("POST", "/api/v1/clients", expected=201, body=body)
    asked = {
        "base": its.story.base_url,
        "client_id": name,
        "jwk": key,
        "scope": f"system/*.rs application:{its.number}",
        "path": f"/fhir/Patient/{PATIENT}",
    }
    done = subprocess.run(["node", "ask.mjs", json.dumps(asked)], cwd=node, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert (told["bearer"]["type"].lower(), told["bearer"]["status"], told["bearer"]["resource"]) == ("bearer", 200, "Patient")
    assert told["bearer"]["expires_in"] <= 300
    assert told["dpop"] == {"type": "dpop", "status": 200, "stolen": 401}
    assert (told["introspection"], told["after"]) == (True, False)
