"""`$everything` of a patient of about 200 resources, beside the floor, in one run; then again with ten times the data stored.

    .venv/bin/python benchmarks/release.py [--rounds 5] [--seconds 3] [--connections 8]

*Warm* is the second and every later release of a patient under a grant of which nothing has changed, *cold* the first: nothing lies
prepared (docs/decisions/0031), so that each resource is opened, reduced and checked, and what comes of it is packed, sealed and sent to
be stored. Beside them a page of a search, which is always made anew. Prints requests/s, resources/s, the ratio to the floor by requests
and by the processor time of the serving process (which other work on the machine disturbs less), the 99th percentile, where the time of
a warm release goes by step, and how much slower a warm release is with ten times the patients, consents and log entries. Ratios come from
interleaved rounds.
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
PAGE = f"/fhir/Observation?patient={PATIENT}&_count=50"


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


def processor(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port: int, request: bytes, seconds: float, connections: int) -> tuple[float, int, float]:
    """Requests/s, bytes of an answer, 99th percentile in seconds."""
    out = subprocess.run(
        [sys.executable, str(HERE / "load.py"), "127.0.0.1", str(port), str(seconds), str(connections)],
        input=request,
        capture_output=True,
        check=True,
    )
    requests, taken, size, failed, _, slow = out.stdout.split()
    if int(failed):
        raise SystemExit(f"{int(failed)} requests failed")
    return int(requests) / float(taken), int(size) // max(1, int(requests)), float(slow)


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
    environment = {"BROKER_DATABASE_URL": server.url, "BROKER_VAR": str(folder), "BROKER_BASE_URL": base, "BROKER_SECOND_FACTOR_ROLES": "none"}
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

        def measured(label: str) -> dict[str, dict[str, float]]:
            nonlocal token
            searched = len(json.loads(story.system(parts["client"]).fetch("GET", PAGE, token).content)["entry"])
            kinds = {
                "floor": (floor_port, f"/{PATIENT}", len(released)),
                "warm": (port, f"/fhir/Patient/{PATIENT}/$everything", len(released)),
                "cold": (port, f"/fhir/Patient/{PATIENT}/$everything", len(released)),
                "page": (port, PAGE, searched),
            }
            rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
            for _ in range(given.rounds):
                token = story.system(parts["client"]).token(application["number"])["access_token"]
                for name, (at, path, _) in kinds.items():
                    forgetful(server.url, forgets=name == "cold")
                    load(at, request(path, at), 0.3, given.connections)
                    process = processes[at == floor_port]
                    began = processor(process)
                    rate, _, slow = load(at, request(path, at), given.seconds, given.connections)
                    rates[name].append((rate, (processor(process) - began) / (rate * given.seconds), slow))
            forgetful(server.url, forgets=False)
            print(label)
            found = {}
            for name, (_, _, count) in kinds.items():
                ratio = statistics.median(a[0] / b[0] for a, b in zip(rates[name], rates["floor"], strict=True))
                worth = statistics.median(b[1] / a[1] for a, b in zip(rates[name], rates["floor"], strict=True))
                rate, used, slow = (statistics.median(column) for column in zip(*rates[name], strict=True))
                found[name] = {"resources": count, "per_second": rate, "ratio": ratio, "ratio_processor": worth, "p99": slow}
                print(
                    f"  {name:5} {count:4} resources {rate:7.0f} req/s {rate * count:10,.0f} resources/s  p99 {slow * 1000:5.0f} ms"
                    f"  processor {used * 1000:5.2f} ms  ratio {ratio:.2f} (processor {worth:.2f})"
                )
            return found

        before = measured("small database")
        print(shares(port, request(f"/fhir/Patient/{PATIENT}/$everything", port), processes[0], given.connections))
        grow(installation, given.grow)
        with psycopg.connect(server.url) as connection:
            connection.execute("ANALYZE")
            counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("patient", "resource", "audit_event")}
        after = measured(f"grown database ({counts})")
        slower = before["warm"]["ratio"] / after["warm"]["ratio"]
        print(f"cost of a warm release, grown to small, each against its floor: {slower:.2f}")
        result = {"released": len(released), "small": before, "grown": after, "counts": counts}
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "release.json").write_text(json.dumps(result, indent=1))
    finally:
        for process in processes:
            process.terminate()
            process.wait(10)
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def forgetful(url: str, *, forgets: bool) -> None:
    """Whether the database takes what is prepared and does not keep it, so that each release is the first."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TRIGGER IF EXISTS benchmark_forgets ON prepared_release")
        if forgets:
            connection.execute("CREATE OR REPLACE FUNCTION benchmark_forgets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
            connection.execute("CREATE TRIGGER benchmark_forgets BEFORE INSERT ON prepared_release FOR EACH ROW EXECUTE FUNCTION benchmark_forgets()")
            connection.execute("DELETE FROM prepared_release")


#: Step → functions (file, name) in which its time is spent.
STEPS = {
    "token": {("bearer.py", "claims_of")},
    "gate and facts": {("service.py", "behind_the_gate")},
    "consents and policy": {("service.py", "judged")},
    "intent": {("service.py", "record_intent")},
    "reading, opening and asking of what lies prepared": {("prepared.py", "whole")},
    "collecting anew": {("collect.py", "page")},
    "body": {("ready.py", "made_ready")},
    "sending": {("delivery.py", "deliver")},
    "outcome": {("service.py", "record_outcome")},
}


def shares(port: int, request_bytes: bytes, process: subprocess.Popen[bytes], connections: int) -> str:
    """Where the time of a warm release goes, if py-spy is installed."""
    tool = shutil.which("py-spy")
    if tool is None:
        return "  (install py-spy to see where the time goes)"
    with tempfile.NamedTemporaryFile() as out:
        command = [tool, "record", "-d", "5", "-r", "500", "-f", "raw", "-o", out.name, "-p", str(process.pid)]
        watching = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        load(port, request_bytes, 6, connections)
        watching.wait(60)
        total, found = 0, dict.fromkeys([*STEPS, "framework, server, event loop"], 0)
        for line in Path(out.name).read_text().splitlines():
            stack, number = line.rsplit(" ", 1)
            if "run_asgi" not in stack:
                continue
            frames = {(frame.rsplit("/", 1)[-1].split(":")[0], frame.split(" (")[0].rsplit(".", 1)[-1]) for frame in stack.split(";")}
            step = next((name for name, places in STEPS.items() if not places.isdisjoint(frames)), "framework, server, event loop")
            total += int(number)
            found[step] += int(number)
    return "  share of a warm release: " + ", ".join(f"{name} {100 * number // max(1, total)} %" for name, number in found.items())


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
