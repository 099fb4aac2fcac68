"""The real OPA under the broker's control: it takes the signed bundle and no tampered one, changes its revision under load without a failed or
mixed decision, and tells of itself (attack E08).
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker import clock
from broker.governance import canaries, service
from broker.identity import service as identity
from broker.policy import bundle
from broker.policy.service import INSERT_DECISION, compared, row_of
from broker.records import service as records
from tests.factories import identity as accounts
from tests.live import hospital
from tests.policies.conftest import free_port, opa, policies  # noqa: F401  (fixtures)

REFERRAL = "data/profiles/treatment-referral.json"
TOKEN = "a-token-that-opa-knows"


@pytest.fixture(scope="module")
def key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def private(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


@pytest.fixture(scope="module")
def public(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def repacked(content, change):
    """The bundle with one file changed and its signature left as it was."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    change(files)
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, each in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(each)
            tar.addfile(entry, io.BytesIO(each))
    return out.getvalue()


def widened(files):
    files["/data.json"] = files["/data.json"].replace(b'"overrides_refusal":false', b'"overrides_refusal":true', 1)


def another_rule(files):
    files["/broker/release/release.rego"] = files["/broker/release/release.rego"].replace(b"default allow := false", b"default allow := true")


def one_more(files):
    files["/broker/more.rego"] = b"package broker.more\n"


def one_less(files):
    del files["/broker/release/rules/consent/consent.rego"]


def unsigned(files):
    del files["/.signatures.json"]


@pytest.mark.opa
@pytest.mark.parametrize(
    ("change", "taken"),
    [(lambda _: None, True), (widened, False), (another_rule, False), (one_more, False), (one_less, False), (unsigned, False)],
    ids=["as it is", "data", "rule", "one more", "one less", "unsigned"],
)
def test_opa_takes_the_bundle_as_it_was_signed_and_no_other(opa, policies, private, public, tmp_path, change, taken):  # noqa: F811
    (tmp_path / "broker.tar.gz").write_bytes(repacked(bundle.archive(policies, private), change))
    (tmp_path / "public.pem").write_text(public)
    verify = ["--verification-key", tmp_path / "public.pem", "--verification-key-id", bundle.KEY_ID, "--signing-alg", "ES256"]
    done = subprocess.run(
        [opa, "build", "--bundle", tmp_path / "broker.tar.gz", *verify, "-o", tmp_path / "out.tar.gz"], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == taken, done.stderr


def configured(folder, base_url, public):
    config = {
        "services": {"broker": {"url": f"{base_url}/opa", "credentials": {"bearer": {"token": TOKEN}}}},
        "keys": {"broker": {"algorithm": "ES256", "key": public}},
        "bundles": {
            "broker": {
                "service": "broker", "resource": "bundles/broker.tar.gz", "signing": {"keyid": bundle.KEY_ID},
                "polling": {"long_polling_timeout_seconds": 10},
            }
        },
        "decision_logs": {"service": "broker", "reporting": {"min_delay_seconds": 1, "max_delay_seconds": 1}},
        "status": {"service": "broker"},
    }  # fmt: skip
    (folder / "opa.json").write_text(json.dumps(config))
    return folder / "opa.json"


def until(what, seconds=60.0):
    """Wait for something to be true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def hospital_with_opa(opa, database_url, private, public, tmp_path):  # noqa: F811
    port = free_port()
    settings = {"policy_engine": "opa", "opa_url": f"http://127.0.0.1:{port}", "policy_timeout": 20.0}
    with hospital(database_url, tmp_path / "var", bundle_signing_key=private, opa_control_token=TOKEN, **settings) as story:
        command = [opa, "run", "--server", "--addr", f"127.0.0.1:{port}", "--log-level", "error", "--disable-telemetry"]
        server = subprocess.Popen([*command, "--config-file", configured(tmp_path, story.base_url, public)])
        try:
            until(lambda: _healthy(port))
            yield story
        finally:
            server.terminate()
            server.wait(10)


def _healthy(port):
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health?bundles", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.mark.opa
def test_a_new_revision_under_load(hospital_with_opa, monkeypatch):
    story = hospital_with_opa
    installation = story.installation
    live, shipped = installation.engine, installation.engine.policies
    every = canaries.uses
    monkeypatch.setattr(canaries, "uses", lambda given: [use for use in every(given) if use[1] == "insurer"])

    def asked(number):
        good = canaries.good(shipped, "TREAT", "hospital", "external")
        return replace(
            good, grant=replace(good.grant, id=f"g{number}", valid_until=good.at + 3600), caller=replace(good.caller, token_grant=f"g{number}")
        )

    assert live.decide(asked(0)).allow
    assert httpx2.get(f"{story.base_url}/readyz").json()["policy_revision"] == shipped.revision

    # A decision that is kept, to be found again in OPA's own log.
    with installation.database.transaction() as session:
        patient = installation.keys.patient_key(next(iter(story.cast.patients.values())).id)
        good = asked(-1)
        decision = live.decide(replace(good, patient=replace(good.patient, key=patient.hex)))
        row = row_of(decision, patient_key=patient, data_key=records.open_vault(session, installation.keys, patient).data_key)
        session.connection().connection.driver_connection.cursor().execute(INSERT_DECISION, row)

    made, stop = [], threading.Event()

    def load(offset):
        number = offset
        while not stop.is_set():
            made.append(live.decide(asked(number)))
            number += 10

    threads = [threading.Thread(target=load, args=(offset,)) for offset in (1, 2, 3)]
    for thread in threads:
        thread.start()
    try:
        with installation.database.transaction() as session:
            author, colleague = (
                identity.caller_for(session, accounts.person(session, "information_manager", username=f"policy{number}").id) for number in (1, 2)
            )
            profile = json.loads((shipped.folder / REFERRAL).read_text(encoding="utf-8"))
            del profile["types"]["MedicationRequest"]
            draft = service.draft(session, author, shipped, {REFERRAL: json.dumps(profile)}, note="load")
            service.run_tests(session, author, draft.revision)
            service.replay(session, installation.keys, author, draft.revision)
        with installation.database.transaction() as session:
            activation = service.approve(session, colleague, draft.revision)
        until(lambda: clock.now() > activation.effective_at + timedelta(seconds=1))
        until(lambda: made[-1].revision == draft.revision)
        count = len(made)
        until(lambda: len(made) > count + 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert {each.effect.value for each in made} == {"permit"}, "no decision failed"
    assert {each.revision for each in made} == {shipped.revision, draft.revision}
    for each in made:
        assert ("MedicationRequest" in each.plan["types"]) == (each.revision == shipped.revision), "no decision is of two revisions"
    assert live.revision == draft.revision

    # What OPA tells of itself.
    def told():
        with installation.database.transaction() as session:
            found = compared(session, datetime(2020, 1, 1, tzinfo=UTC))
        return found if found.matched and any(each["revision"] == draft.revision for each in found.instances) else None

    found = until(told)
    assert (found.matched, found.contradicted) == (1, 0)
    assert all(each["problem"] == "" for each in found.instances)


@pytest.mark.parametrize("path", ["/opa/logs", "/opa/status"])
def test_who_does_not_know_the_token_tells_nothing(database_url, tmp_path, path):
    with hospital(database_url, tmp_path, opa_control_token=TOKEN) as story:
        said = {"content": b"[]", "headers": {"authorization": "Bearer other", "content-type": "application/json"}}
        assert httpx2.post(f"{story.base_url}{path}", **said).status_code == 404
        said["headers"]["authorization"] = f"Bearer {TOKEN}"
        for body, encoding in ((b"{", ""), (b"not gzip", "gzip"), (gzip.compress(b"[" * 100), "gzip"), (b"[]", "br")):
            said["headers"]["content-encoding"] = encoding
            assert httpx2.post(f"{story.base_url}{path}", headers=said["headers"], content=body).status_code == 422
        lines = gzip.compress(json.dumps([{"decision_id": "x"}, None, 3]).encode())
        said["headers"]["content-encoding"] = "gzip"
        assert httpx2.post(f"{story.base_url}/opa/logs", headers=said["headers"], content=lines).status_code == 204
