"""FHIR servers that we did not write as a source: FHIRStarter and HAPI, each in a process of its own (`make upstreampeers`; RS-2.4, 0027)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from broker import clock
from broker.identity.models import Organization
from broker.records import service as records
from broker.records.upstream_http import UpstreamFailed
from broker.settings import Settings
from tests.factories.records import condition, observation, opened, patient

pytestmark = [pytest.mark.upstreampeers, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".cache" / "fhirstarter" / "bin" / "python"
HAPI = ROOT / ".cache" / "hapi"
STAMP = "2026-01-01T00:00:00Z"


def stamped(resource: dict, at: str = STAMP) -> dict:
    return {**resource, "meta": {"lastUpdated": at}}


def bundle(resources: list[dict]) -> str:
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]})


def program(name: str) -> list[str]:
    """What starts the server; the test is skipped where it isn't there."""
    servers = ROOT / "tests" / "foreign"
    if name == "fhirstarter":
        if not PYTHON.exists():
            pytest.skip("needs FHIRStarter: `make upstreampeers`")
        return [str(PYTHON), str(servers / "fhirstarter" / "server.py")]
    java = shutil.which("java")
    if java is None or not (HAPI / "done").exists():
        pytest.skip("needs HAPI, and Java 17 or newer: `make upstreampeers`")
    return [java, "-cp", f"{HAPI}/*", str(servers / "hapi" / "Server.java")]


@pytest.fixture(params=["fhirstarter", "hapi"])
def foreign(request, tmp_path) -> Iterator[tuple[str, Path]]:
    """Where it serves, and the file with its records."""
    started = program(request.param)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = tmp_path / "records.json"
    kept.write_text(bundle([stamped(patient()), *(stamped(observation(f"o{n}")) for n in range(3))]), "utf-8")
    with subprocess.Popen([*started, str(port), str(kept)], env={**os.environ, "FHIR_SEQUENCE": "R4B"}, stderr=subprocess.DEVNULL) as running:
        try:
            base, until = f"http://127.0.0.1:{port}", time.monotonic() + 300
            while True:
                try:
                    httpx2.get(f"{base}/Patient/p1", timeout=60).raise_for_status()
                    break
                except httpx2.TransportError:
                    assert running.poll() is None, f"{request.param} did not start"
                    assert time.monotonic() < until, f"{request.param} does not answer"
                    time.sleep(0.2)
            yield base, kept
        finally:
            running.terminate()


def test_it_is_pulled_changes_follow_and_what_is_gone_is_marked(database, keys, foreign, tmp_path):
    base, kept = foreign
    chosen = Settings(var=tmp_path / "var", upstream_hosts="127.0.0.1")
    with database.transaction() as session:
        session.add(
            Organization(
                id="shengli", name_zh="省立医院", name_en="Provincial Hospital", kind="hospital", relationship="external", created_at=clock.now()
            )
        )
        session.flush()
        given = records.Upstream("his", "shengli", base, types=("Patient", "Observation"), client_id="broker")
        records.add_upstream(session, chosen, "person:x", given)

    def stored() -> set[str]:
        return {f"{one.type}/{one.id}" for one in opened(database, keys, "p1", deny=["unclassified"])}

    row = records.pull(database, keys, chosen, "his")
    assert (row.accepted, row.refused, row.error) == (4, 0, "")
    whole = {"Patient/p1", "Observation/o0", "Observation/o1", "Observation/o2"}
    assert stored() == whole

    # Only what it has changed since comes, and each thing to its own patient.
    now = clock.now().isoformat(timespec="seconds")
    had = [entry["resource"] for entry in json.loads(kept.read_text("utf-8"))["entry"]]
    stranger = stamped(observation("o9", subject={"reference": "Patient/somebody"}), now)
    kept.write_text(bundle([*had, stamped(observation("o3"), now), stranger]), "utf-8")
    row = records.pull(database, keys, chosen, "his")
    assert (row.accepted, row.refused, row.full) == (6, 0, False)
    assert stored() == whole | {"Observation/o3"}

    kept.write_text(bundle([one for one in had if one["id"] != "o1"]), "utf-8")
    records.pull(database, keys, chosen, "his", full=True)
    assert stored() == whole - {"Observation/o1"}

    with database.transaction() as session:  # A type that it does not serve ends the round, and says so.
        given = records.Upstream("more", "shengli", base, types=("Condition",), client_id="broker")
        records.add_upstream(session, chosen, "person:x", given)
    kept.write_text(bundle([*had, stamped(condition("c1"))]), "utf-8")
    with pytest.raises(UpstreamFailed, match=r"upstream\."):
        records.pull(database, keys, chosen, "more")
