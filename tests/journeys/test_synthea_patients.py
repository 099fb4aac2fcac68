"""The main job on 28 real Synthea patients, with clients that we did not write.

1. Everything is ingested without a wrong refusal, and a second time nothing changes.
2. Every patient consents to treatment at the provincial hospital, but not to what is about sexual health or abuse of substances.
3. One application for all of them is assessed, endorsed, approved.
4. Authlib gets the token with a signed assertion; fhirpy fetches over the socket.
5. Each bundle validates; a byte search shows that nothing which was held back is in it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from authlib.integrations.httpx_client import OAuth2Client
from fhir.resources.R4B.bundle import Bundle
from fhirpy import AsyncFHIRClient, SyncFHIRClient

from broker import clock
from broker.demo.consents import evidence, filing, sharing_consent
from broker.demo.story import Story
from broker.fhir.ages import age_class
from broker.fhir.validate import problems
from broker.records import service as records
from tests.conftest import SYNTHEA
from tests.integration.identity.test_real_clients import configured
from tests.oracle import forbidden_words, leaks

pytestmark = [pytest.mark.synthea, pytest.mark.skipif(not SYNTHEA.is_dir(), reason="the Synthea patients are not in ../shared/data")]

HELD_BACK = ("SEX", "SUD")
DATA = [{"data_class": "clinical"}, {"data_class": "management.staff"}]


@pytest.fixture(scope="module")
def patients(story: Story) -> dict[str, list[dict]]:
    """FHIR id → everything that Synthea wrote about the patient, after it was ingested."""
    installation = story.installation
    first = records.ingest(installation.database, installation.keys, [SYNTHEA], source="synthea")
    assert (first.refused, first.accepted + first.unchanged) == (0, 3486), first.refusals[:3]
    again = records.ingest(installation.database, installation.keys, [SYNTHEA], source="synthea")
    assert (again.refused, again.accepted, again.unchanged) == (0, 0, 3486)
    found = {}
    for file in sorted(Path(SYNTHEA).glob("*.json")):
        resources = [entry["resource"] for entry in json.loads(file.read_bytes())["entry"]]
        found[next(one["id"] for one in resources if one["resourceType"] == "Patient")] = resources
    assert len(found) == 28
    return found


@pytest.fixture(scope="module")
def application(story: Story, patients: dict[str, list[dict]]) -> str:
    """The number of an approved application for all of them."""
    manager = story.person("deng.li")
    named = []
    for patient_id, resources in patients.items():
        patient = next(one for one in resources if one["resourceType"] == "Patient")
        child = age_class(patient["birthDate"], clock.today()) == "under_14"
        consent = sharing_consent(patient_id, "shengli", without=HELD_BACK, at=clock.now(), by_guardian=child)
        manager.call("POST", "/fhir/Consent/$fileConsent", expected=201, body=filing(consent, evidence(patient_id)))
        name = next(one for one in patient["name"] if one["use"] == "official")
        identifier = next(one for one in patient["identifier"] if one.get("type", {}).get("coding", [{}])[0].get("code") == "MR")
        named.append(
            {
                "identifier": {"system": identifier["system"], "value": identifier["value"]},
                "name": " ".join([*name["given"], name["family"]]),
                "birthDate": patient["birthDate"],
            }
        )
    today = clock.today()
    form = {
        "purpose": "TREAT",
        "lawful_basis": "consent",
        "recipient": "shengli-cardiology",
        "patients": named,
        "data": DATA,
        "channel": "api",
        "valid_until": today.replace(year=today.year + 1, day=1).isoformat(),
        "justification": "Follow-up of referred patients.",
        "retention_days": 30,
    }
    applicant = story.person("gao.min")
    draft = applicant.call("POST", "/api/v1/applications", expected=201, body=form)
    submitted = applicant.call("POST", f"/api/v1/applications/{draft.json()['draft_id']}/submit", headers={"If-Match": draft.headers["etag"]}).json()
    head, path = story.person("song.yi"), f"/api/v1/applications/{submitted['number']}"
    head.call("POST", f"{path}/endorse", headers={"If-Match": head.call("GET", path).headers["etag"]}, body={})
    manager.call("POST", f"{path}/approve", headers={"If-Match": manager.call("GET", path).headers["etag"]}, body={})
    return submitted["number"]


def authlib_token(story: Story, application: str) -> str:
    """A token got by Authlib's client, with its own signing of the assertion."""
    jwk = story.cast.keys["shengli-his"].as_dict(private=True)
    endpoint = f"{story.base_url}/oauth2/token"
    with configured(OAuth2Client, endpoint, "shengli-his", jwk) as client:
        return client.fetch_token(endpoint, grant_type="client_credentials", scope=f"system/*.rs application:{application}")["access_token"]


@pytest.fixture(scope="module")
def token(story: Story, application: str) -> str:
    return authlib_token(story, application)


def test_every_bundle_is_valid_and_holds_nothing_that_was_held_back(story, patients, token):
    client = SyncFHIRClient(f"{story.base_url}/fhir", authorization=f"Bearer {token}")
    released_of_all = held_of_all = 0
    for patient_id, resources in patients.items():
        raw = json.dumps(client.execute(f"Patient/{patient_id}/$everything", method="GET"), ensure_ascii=False).encode()
        document = json.loads(raw)
        Bundle.model_validate(document)
        released = [entry["resource"] for entry in document["entry"]]
        assert [found for one in released for found in problems(one)] == []
        for one in released:
            labels = {label["code"] for label in one["meta"]["security"]}
            assert labels.isdisjoint({*HELD_BACK, "R", "V", "unclassified"})
        envelope = {"resourceType": "Bundle", "id": document["id"], "meta": document["meta"]}
        forbidden = forbidden_words(resources, [*released, envelope])
        assert len(forbidden) > 50
        assert leaks(raw, forbidden) == []
        of_patient = {(one["resourceType"], one["id"]) for one in resources}
        assert {(one["resourceType"], one["id"]) for one in released} <= of_patient
        released_of_all += len(released)
        held_of_all += len(of_patient) - len(released)
    assert released_of_all > 1000
    assert held_of_all > 300


def test_what_was_sensitive_did_not_leave(story, patients, token):
    """Sensitive material is in these records, so that its absence in the answers means something."""
    client = SyncFHIRClient(f"{story.base_url}/fhir", authorization=f"Bearer {token}")
    sensitive = [
        (patient_id, one["resourceType"], one["id"])
        for patient_id, resources in patients.items()
        for one in resources
        if {label.code for label in records.labels_for(one)} & set(HELD_BACK)
    ]
    assert sensitive
    for _patient_id, kind, name in sensitive[:10]:
        with pytest.raises(Exception, match=r"may be released to you|不存在"):
            client.reference(kind, name).to_resource()


def test_a_foreign_client_searches_and_pages(story, patients, token):
    client = SyncFHIRClient(f"{story.base_url}/fhir", authorization=f"Bearer {token}")
    wholes = {one: client.execute(f"Patient/{one}/$everything", method="GET", params={"_type": "Observation"}) for one in patients}
    patient_id = max(wholes, key=lambda one: len(wholes[one].get("entry", [])))

    async def all_of() -> list:
        client = AsyncFHIRClient(f"{story.base_url}/fhir", authorization=f"Bearer {token}")
        return await client.resources("Observation").search(patient=patient_id).limit(20).fetch_all()

    found = asyncio.run(all_of())
    assert len(found) > 40
    assert sorted(one["id"] for one in found) == sorted(entry["resource"]["id"] for entry in wholes[patient_id]["entry"])


def test_numbers_keep_their_digits(story, patients, token):
    """A released number is written as it was ingested, digit for digit (13.20 stays 13.20)."""
    patient_id, resources = next(iter(patients.items()))
    stored = json.loads(json.dumps(resources), parse_float=str)
    expected = {one["id"]: one["valueQuantity"]["value"] for one in stored if one["resourceType"] == "Observation" and "valueQuantity" in one}
    raw = story.http.get(f"/fhir/Patient/{patient_id}/$everything?_type=Observation", headers={"Authorization": f"Bearer {token}"})
    seen = {
        entry["resource"]["id"]: entry["resource"]["valueQuantity"]["value"]
        for entry in json.loads(raw.content, parse_float=str)["entry"]
        if "valueQuantity" in entry["resource"]
    }
    assert len(seen) > 5
    assert {name: str(value) for name, value in seen.items()} == {name: str(expected[name]) for name in seen}
