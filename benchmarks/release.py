"""`$everything` of patients of about 50, 150 and 2,000 resources, beside the floor, in one run; then again with more data stored.

    .venv/bin/python benchmarks/release.py [--rounds 5] [--seconds 3] [--connections 8] [--sizes 50,200,2000] [--grow 300]

*Warm* is every release of a patient under a grant of which nothing has changed since the last one, and the first one where a worker has
prepared it (docs/decisions/0031, 0032). *Cold*: nothing lies prepared, so that each resource is opened, reduced and checked, and what comes
of it is packed, sealed and sent to be stored. *Page* is a search for 50 where something lies prepared, *page, anew* where nothing does.
*First fetch* is one request after each approval, alone on the machine: prepared by the worker, and without one. Prints requests/s,
resources/s, the ratio to the floor by requests and by the processor time of the serving process (which other work on the machine disturbs
less), the 99th percentile under load, where the time of a warm and of a cold release goes by step, and how much slower a warm release is with more
patients, consents and log entries stored. Ratios come from interleaved rounds. Of 200 resources of the demo's patient the plan lets 153 leave.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
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
from broker.release import ahead
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


def sized(installation, story: Story, size: int) -> str:
    """A patient of about so many resources that may leave, made of the demo's, with a consent; the id."""
    name = f"s{size}"
    source = next(bundle for bundle in demo_data.bundles() if f'"{PATIENT}"'.encode() in bundle and b'"Patient"' in bundle).decode()
    for one in sorted(set(re.findall(r'"value":\s*"([0-9]{17}[0-9X]|ZY[0-9]{8})"', source))):
        source = source.replace(one, f"{one[:-6]}{size:06d}")
    entries = json.loads(source.replace(PATIENT, name))["entry"]
    others = [one for one in entries if one["resource"]["resourceType"] in ("Observation", "Condition", "MedicationRequest")]
    found = [one for one in entries if one["resource"]["resourceType"] == "Patient"]
    for number in range(size - 1):
        text = json.dumps(others[number % len(others)])
        own = others[number % len(others)]["resource"]["id"]
        found.append(json.loads(text.replace(f'{own}"', f'{own}-{number // len(others)}"')))
    for start in range(0, len(found), 500):
        records.ingest_bundle(
            installation.database, installation.keys,
            json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": found[start : start + 500]}).encode(), source="benchmark",
        )  # fmt: skip
    story.cast.patients[name] = story.cast.patients[PATIENT]  # Who they are, as the consent asks.
    story.file_consent(name, "shengli", without=("PSY",))
    return name


def forgotten(url: str) -> None:
    """Nothing lies prepared."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM prepared_release")


def first_fetches(installation, server: EmbeddedServer, grant: str, port: int, request: bytes, times: int) -> None:
    """One request after nothing lay prepared, and after the worker's job has run; half a second of rest before each."""
    found: dict[str, list[float]] = {"prepared by the worker": [], "without a worker": []}
    for _ in range(times):
        for name, waits in found.items():
            forgotten(server.url)
            if name == "prepared by the worker":
                ahead.prepare(installation, {"grant": grant})
            time.sleep(0.5)
            waits.append(once(port, request))
    middle = {name: statistics.median(waits) * 1000 for name, waits in found.items()}
    print("  first fetch after approval, one client: " + ", ".join(f"{name} {wait:.1f} ms" for name, wait in middle.items()))


def once(port: int, request: bytes) -> float:
    """Seconds until one answer was read whole, over a connection of its own."""
    with socket.create_connection(("127.0.0.1", port)) as channel:
        begun = time.perf_counter()
        channel.sendall(request)
        reader = channel.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += reader.readline()
        length = int(re.search(rb"content-length: ([0-9]+)", head.lower())[1])
        if not head.startswith(b"HTTP/1.1 200") or len(reader.read(length)) != length:
            raise SystemExit("a first fetch failed")
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--grow", type=int, default=300, help="patients added for the second part")
    parser.add_argument("--sizes", default="50,200,2000")
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
        with psycopg.connect(server.url) as connection:
            (grant,) = connection.execute("SELECT id FROM sharing_grant WHERE number = %s", (application["number"],)).fetchone()
        sizes = [int(one) for one in given.sizes.split(",")]
        patients = [PATIENT if size == 200 else sized(installation, story, size) for size in sizes]
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE floor (patient text, type text, id text, body bytea, PRIMARY KEY (patient, type, id))")
            for one in patients:
                if one != PATIENT:
                    connection.execute(
                        "INSERT INTO grant_patient (patient_key, grant_id) VALUES (%s, %s)", (installation.keys.patient_key(one), grant)
                    )
        counts: dict[str, int] = {}
        for one in patients:
            answer = story.system(parts["client"]).fetch("GET", f"/fhir/Patient/{one}/$everything", token)
            released = {(entry["resource"]["resourceType"], entry["resource"]["id"]) for entry in json.loads(answer.content)["entry"]}
            copy_plaintext(installation, server.url, one, released)
            counts[one] = len(released)
        processes.append(serve("floor:app", floor_port, {"FLOOR_DATABASE": server.url}))
        wait(floor_port, "/x")

        def request(path: str, at: int) -> bytes:
            return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{at}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()

        def measured(label: str, patient: str) -> dict[str, dict[str, float]]:
            nonlocal token
            whole, page = f"/fhir/Patient/{patient}/$everything", f"/fhir/Observation?patient={patient}&_count=50"
            token = story.system(parts["client"]).token(application["number"])["access_token"]
            searched = len(json.loads(story.system(parts["client"]).fetch("GET", page, token).content)["entry"])
            count = counts[patient]
            kinds = {
                "floor": (floor_port, f"/{patient}", count), "warm": (port, whole, count), "page": (port, page, searched),
                "cold": (port, whole, count), "page, anew": (port, page, searched),
            }  # fmt: skip
            rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
            for _ in range(given.rounds):
                token = story.system(parts["client"]).token(application["number"])["access_token"]
                for name, (at, path, _) in kinds.items():
                    forgetful(server.url, forgets=name in ("cold", "page, anew"))
                    if name == "page":
                        load(port, request(whole, port), 0.1, 1)
                    load(at, request(path, at), 0.3, given.connections)
                    process = processes[at == floor_port]
                    began = processor(process)
                    rate, _, slow = load(at, request(path, at), given.seconds, given.connections)
                    rates[name].append((rate, (processor(process) - began) / (rate * given.seconds), slow))
            forgetful(server.url, forgets=False)
            print(label)
            found = {}
            for name, (_, _, resources) in kinds.items():
                ratio = statistics.median(a[0] / b[0] for a, b in zip(rates[name], rates["floor"], strict=True))
                worth = statistics.median(b[1] / a[1] for a, b in zip(rates[name], rates["floor"], strict=True))
                rate, used, slow = (statistics.median(column) for column in zip(*rates[name], strict=True))
                found[name] = {"resources": resources, "per_second": rate, "ratio": ratio, "ratio_processor": worth, "p99": slow}
                print(
                    f"  {name:10} {resources:4} resources {rate:7.0f} req/s {rate * resources:10,.0f} resources/s  p99 {slow * 1000:5.0f} ms"
                    f"  processor {used * 1000:5.2f} ms  ratio {ratio:.2f} (processor {worth:.2f})"
                )
            first_fetches(installation, server, str(grant), port, request(whole, port), 2 * given.rounds)
            return found

        def where_time_goes(patient: str) -> None:
            whole = request(f"/fhir/Patient/{patient}/$everything", port)
            for name in ("warm", "cold"):
                forgetful(server.url, forgets=name == "cold")
                print(shares(name, port, whole, processes[0], given.connections))
            forgetful(server.url, forgets=False)

        small = {}
        for size, one in zip(sizes, patients, strict=True):
            small[size] = measured(f"{counts[one]} resources", one)
            where_time_goes(one)
        middle = 200 if 200 in sizes else sizes[0]
        main_patient = patients[sizes.index(middle)]
        grow(installation, given.grow)
        with psycopg.connect(server.url) as connection:
            connection.execute("ANALYZE")
            stored = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("patient", "resource", "audit_event")}
        after = measured(f"{counts[main_patient]} resources, grown database ({stored})", main_patient)
        slower = small[middle]["warm"]["ratio"] / after["warm"]["ratio"]
        print(f"cost of a warm release, grown to small, each against its floor: {slower:.2f}")
        result = {"released": counts, "small": small, "grown": after, "counts": stored}
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


#: Step → functions (file, name) in which its time is spent; the first step that one of them belongs to, anywhere in the stack, has it.
STEPS = {
    "token": {("bearer.py", "claims_of")},
    "decryption": {("vault.py", "unseal"), ("segments.py", "opened")},
    "masking": {("minimise.py", "reduce_many"), ("reaching.py", "cut")},
    "checking": {("checker.py", "examined"), ("checker.py", "problems")},
    "packing for the next": {("segments.py", "checked_and_sealed"), ("prepared.py", "contents_of"), ("prepared.py", "keep")},
    "policy and consents": {("service.py", "judged")},
    "log": {("service.py", "record_intent"), ("service.py", "record_outcome")},
    "database": {("wire.py", "run")},
    "other collecting": {("collect.py", "page")},
    "body": {("ready.py", "made_ready")},
    "sending": {("delivery.py", "deliver")},
}


def shares(name: str, port: int, request_bytes: bytes, process: subprocess.Popen[bytes], connections: int) -> str:
    """Where the processor time of a release goes, if py-spy is installed."""
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
    return f"  share of a {name} release: " + ", ".join(f"{step} {100 * number // max(1, total)} %" for step, number in found.items())


def copy_plaintext(installation, url: str, patient: str, released: set[tuple[str, str]]) -> None:
    """The rows of a patient that are released, in plain text, for the floor."""
    with psycopg.connect(url, autocommit=True) as connection, installation.database.transaction() as session:
        for key in (installation.keys.patient_key(patient), records.SHARED):
            vault = records.open_vault(session, installation.keys, key)
            query = "SELECT patient_key, type, id_token, version, last_updated, body FROM resource WHERE patient_key = %s"
            for row in session.connection().exec_driver_sql(query, (key,)):
                opened = records.open_row(vault, records.Row(*row))
                if (opened.type, opened.id) in released:
                    connection.execute("INSERT INTO floor VALUES (%s, %s, %s, %s)", (patient, opened.type, opened.id, opened.body))
        connection.execute("ANALYZE floor")


if __name__ == "__main__":
    main()
