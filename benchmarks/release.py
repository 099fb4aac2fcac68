"""`$everything` of a patient of about 200 resources, beside the floor, in one run; then again with ten times the data stored.

    .venv/bin/python benchmarks/release.py [--rounds 5] [--seconds 3] [--connections 8]

Prints requests/s, resources/s and the ratio to the floor, and how much slower a release is with ten times the patients,
consents and log entries. Absolute figures drift with the machine; the ratios come from interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from rich.console import Console

from broker import demo_data
from broker.app import open_installation
from broker.database import EmbeddedServer
from broker.demo.seed import seed
from broker.demo.story import Story
from broker.migrate import migrate
from broker.records import service as records
from broker.settings import Settings

HERE = Path(__file__).resolve().parent
PATIENT = "p1001"


#: Starts a server exactly as `broker serve` does: same protocol, one process.
_SERVER = "import sys, uvicorn; from broker.cli.serve import UnbufferedProtocol as P; uvicorn.run(sys.argv[1], factory=True, port=int(sys.argv[2]), http=P, log_level='error')"  # noqa: E501


def serve(module: str, port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _SERVER, module, str(port)], env={**os.environ, **environment}, cwd=HERE)


def wait(port: int, path: str) -> None:
    import httpx2

    for _ in range(200):
        try:
            httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=2)
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server did not start")


def load(port: int, request: bytes, seconds: float, connections: int) -> tuple[float, int, int]:
    out = subprocess.run(
        [sys.executable, str(HERE / "load.py"), "127.0.0.1", str(port), str(seconds), str(connections)],
        input=request,
        capture_output=True,
        check=True,
    )
    requests, taken, size, failed = out.stdout.split()
    if int(failed):
        raise SystemExit(f"{int(failed)} requests failed")
    return int(requests) / float(taken), int(size) // max(1, int(requests)), int(failed)


def grow(installation, count: int) -> None:
    """More patients with records, consents and log entries, none of which concerns the patient that is measured."""
    source = next(bundle for bundle in demo_data.patients() if b'"p1009"' in bundle).decode()
    for number in range(count):
        name = f"g{number:05d}"
        bundle = re.sub(r"999999199004179060", f"9999991990{number:08d}", source.replace("p1009", name)).replace("ZY00001009", f"ZZ{number:08d}")
        records.ingest_bundle(installation.database, installation.keys, bundle.encode(), source="benchmark")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--grow", type=int, default=300, help="patients added for the second part")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="broker-bench-"))
    server = EmbeddedServer(folder / "postgres")
    port, floor_port = 18911, 18912
    base = f"http://127.0.0.1:{port}"
    environment = {"BROKER_DATABASE_URL": server.url, "BROKER_VAR": str(folder), "BROKER_BASE_URL": base}
    processes = []
    try:
        migrate(server.url)
        installation = open_installation(Settings(var=folder, database_url=server.url, base_url=base))
        cast = seed(installation)
        processes.append(serve("broker.app:from_settings", port, environment))
        wait(port, "/livez")
        story = Story(installation, cast, base, Console(quiet=True))
        story.file_consent(PATIENT, "shengli", without=("PSY",))
        parts = cast.story
        application = story.apply(
            parts["applicant"], parts["recipient"], PATIENT, "TREAT", "consent", [{"data_class": "clinical"}, {"data_class": "management"}]
        )
        story.decide(application["number"], "endorser", "information_manager")
        token = story.system(parts["client"]).token(application["number"])["access_token"]
        first = story.system(parts["client"]).fetch("GET", f"/fhir/Patient/{PATIENT}/$everything", token)
        entries = json.loads(first.content)["entry"]
        released = {(entry["resource"]["resourceType"], entry["resource"]["id"]) for entry in entries}
        copy_plaintext(installation, server.url, released)
        processes.append(serve("floor:app", floor_port, {"FLOOR_DATABASE": server.url}))
        wait(floor_port, "/x")

        def request(path: str, at: int) -> bytes:
            return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{at}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()

        def measured(label: str) -> float:
            nonlocal token
            floor, full, sizes = [], [], [0, 0]
            for _ in range(given.rounds):
                rate, sizes[0], _ = load(floor_port, request(f"/{PATIENT}", floor_port), given.seconds, given.connections)
                floor.append(rate)
                token = story.system(parts["client"]).token(application["number"])["access_token"]
                rate, sizes[1], _ = load(port, request(f"/fhir/Patient/{PATIENT}/$everything", port), given.seconds, given.connections)
                full.append(rate)
            ratios = [a / b for a, b in zip(full, floor, strict=True)]
            print(f"{label}: {len(released)} resources a release; floor {sizes[0]:,} B, release {sizes[1]:,} B")
            print(f"  floor    {statistics.median(floor):8.0f} req/s  {statistics.median(floor) * len(released):10,.0f} resources/s")
            print(f"  release  {statistics.median(full):8.0f} req/s  {statistics.median(full) * len(released):10,.0f} resources/s")
            print(f"  ratio    {statistics.median(ratios):8.2f}  [{min(ratios):.2f}..{max(ratios):.2f}]")
            return statistics.median(ratios)

        before = measured("small database")
        grow(installation, given.grow)
        with psycopg.connect(server.url) as connection:
            connection.execute("ANALYZE")
            counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("patient", "resource", "audit_event")}
        after = measured(f"grown database ({counts})")
        print(f"cost of a release, grown to small, each against its floor: {before / after:.2f}")
        result = {"released": len(released), "ratio": before, "ratio_grown": after, "counts": counts}
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "release.json").write_text(json.dumps(result, indent=1))
    finally:
        for process in processes:
            process.terminate()
            process.wait(10)
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def copy_plaintext(installation, url: str, released: set[tuple[str, str]]) -> None:
    """The rows that are released, in plain text, for the floor."""
    with psycopg.connect(url, autocommit=True) as connection, installation.database.transaction() as session:
        connection.execute("CREATE TABLE floor (patient text, type text, id text, body bytea, PRIMARY KEY (patient, type, id))")
        for key in (installation.keys.patient_key(PATIENT), records.SHARED):
            vault = records.open_vault(session, installation.keys, key)
            query = "SELECT patient_key, type, id_token, version, last_updated, body FROM resource WHERE patient_key = %s"
            for row in session.connection().exec_driver_sql(query, (key,)):
                opened = records.open_row(vault, records.Row(*row))
                if (opened.type, opened.id) in released:
                    connection.execute("INSERT INTO floor VALUES (%s, %s, %s, %s)", (PATIENT, opened.type, opened.id, opened.body))
        connection.execute("ANALYZE floor")


if __name__ == "__main__":
    main()
