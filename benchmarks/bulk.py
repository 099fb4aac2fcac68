"""A bulk export prepared by one worker and by two, beside binary COPY of the same rows; then one client that fetches every file.

    .venv/bin/python benchmarks/bulk.py [--patients 200] [--rounds 3]

Prints resources/s, the ratio to COPY, what a second worker adds, and each worker's memory when it had begun and at its largest.
Patients are copies of one of the demo's of about 200 resources, each with a consent; they are put into an approved grant by SQL.
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
from release import serve, wait  # Beside this file.
from rich.console import Console

from broker import demo_data
from broker.app import open_installation
from broker.database import EmbeddedServer
from broker.demo.seed import seed
from broker.demo.story import TREATMENT, Story
from broker.migrate import migrate
from broker.records import service as records
from broker.settings import Settings

HERE = Path(__file__).resolve().parent
SOURCE = "p1001"
_WORKER = (
    "import threading; from broker import jobs; from broker.app import background_jobs, open_installation; from broker.settings import load;"
    " jobs.run(background_jobs(), open_installation(load()), threading.Event())"
)


def grow(installation, story: Story, count: int) -> list[str]:
    """Copies of one patient, each with a consent; their ids."""
    source = next(bundle for bundle in demo_data.bundles() if f'"{SOURCE}"'.encode() in bundle).decode()
    identifiers = sorted(set(re.findall(r'"value":\s*"([0-9]{17}[0-9X]|ZY[0-9]{8})"', source)))
    names = []
    for number in range(count):
        name = f"b{number:06d}"
        text = source.replace(SOURCE, name)
        for one in identifiers:
            text = text.replace(one, f"{one[:-6]}{number:06d}")
        records.ingest_bundle(installation.database, installation.keys, text.encode(), source="benchmark")
        story.cast.patients[name] = story.cast.patients[SOURCE]  # Who they are, as the consent asks.
        story.file_consent(name, "shengli")
        names.append(name)
    return names


def memory(process: subprocess.Popen[bytes], name: str) -> int:
    """VmRSS or VmHWM of a process, in MB."""
    return int(re.search(rf"{name}:\s+([0-9]+) kB", Path(f"/proc/{process.pid}/status").read_text())[1]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="broker-bench-"))
    server = EmbeddedServer(folder / "postgres")
    base = "http://127.0.0.1:18921"
    environment = {"BROKER_DATABASE_URL": server.url, "BROKER_VAR": str(folder), "BROKER_BASE_URL": base, "BROKER_SECOND_FACTOR_ROLES": "none"}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        migrate(server.url)
        installation = open_installation(Settings(var=folder, database_url=server.url, base_url=base))
        cast = seed(installation)
        web = serve("broker.app:from_settings", 18921, environment)
        processes.append(web)
        wait(18921, "/livez")
        story = Story(installation, cast, base, Console(quiet=True))
        story.file_consent(SOURCE, "shengli")
        application = story.apply(cast.story["applicant"], cast.story["recipient"], SOURCE, "TREAT", "consent", TREATMENT)
        story.decide(application["number"], "endorser", "information_manager")
        keys = [installation.keys.patient_key(one) for one in grow(installation, story, given.patients)]
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO grant_patient (patient_key, grant_id) SELECT unnest(%s::uuid[]), id FROM sharing_grant WHERE number = %s",
                (keys, application["number"]),
            )
            connection.execute("VACUUM ANALYZE resource")
        system = story.system(cast.story["client"])

        def worker() -> subprocess.Popen[bytes]:
            started = subprocess.Popen([sys.executable, "-c", _WORKER], env={**os.environ, **environment})
            processes.append(started)
            return started

        def prepared() -> tuple[float, dict, dict[str, str]]:
            headers = {"Authorization": f"Bearer {system.token(application['number'])['access_token']}", "Prefer": "respond-async"}
            begun = time.perf_counter()
            where = story.http.get("/fhir/$export", headers=headers).headers["content-location"]
            while True:
                answer = story.http.get(where, headers=headers)
                if answer.status_code == 200:
                    return time.perf_counter() - begun, answer.json(), headers
                time.sleep(0.05)

        def floor() -> tuple[float, int]:
            with psycopg.connect(server.url) as connection, connection.cursor() as cursor:
                begun, rows = time.perf_counter(), 0
                query = "COPY (SELECT type, id_token, body FROM resource WHERE patient_key = ANY(%s) ORDER BY patient_key) TO STDOUT (FORMAT binary)"
                with cursor.copy(query, (keys,)) as copy:
                    for data in copy:
                        rows += len(data) > 0
                return time.perf_counter() - begun, cursor.rowcount

        first = worker()
        prepared()  # Warm.
        start = memory(first, "VmRSS")
        rates: dict[str, list[float]] = {"copy": [], "one": [], "two": [], "fetch": []}
        for _ in range(given.rounds):
            taken, rows = floor()
            rates["copy"].append(rows / taken)
            taken, manifest, _ = prepared()
            resources = sum(one["count"] for one in manifest["output"])
            rates["one"].append(resources / taken)
        largest = memory(first, "VmHWM")
        worker()
        time.sleep(3)
        for _ in range(given.rounds):
            taken, manifest, headers = prepared()
            rates["two"].append(resources / taken)
        begun = time.perf_counter()
        for one in manifest["output"]:
            if story.http.get(one["url"], headers=headers).status_code != 200:
                raise SystemExit("a file could not be fetched")
        rates["fetch"].append(resources / (time.perf_counter() - begun))
        middle = {name: statistics.median(values) for name, values in rates.items()}
        print(f"{given.patients + 1} patients, {resources:,} resources released of {rows:,} rows, {len(manifest['output'])} files")
        print(f"  COPY binary  {middle['copy']:10,.0f} rows/s")
        print(f"  one worker   {middle['one']:10,.0f} resources/s   {middle['one'] / middle['copy']:.3f} of COPY")
        print(f"  two workers  {middle['two']:10,.0f} resources/s   {middle['two'] / middle['one']:.2f} of one worker")
        print(f"  fetching     {middle['fetch']:10,.0f} resources/s   (one client, each patient's part through the gate)")
        print(
            f"  memory of a worker: {start} MB after the first export, {largest} MB at most over {given.rounds} more; web {memory(web, 'VmHWM')} MB"
        )
        (HERE / "results").mkdir(exist_ok=True)
        result = {"patients": given.patients + 1, "resources": resources, "rates": middle, "memory_start": start, "memory_most": largest}
        (HERE / "results" / "bulk.json").write_text(json.dumps(result, indent=1))
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
