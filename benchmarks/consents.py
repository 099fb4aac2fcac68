"""What the consents of one patient cost to ask, with few and with very many consents stored: plans, blocks and times, all in one run.

    python benchmarks/consents.py [--stored 10 10000 1000000] [--rounds 300]

One patient has ten consents in force; the others belong to other patients. For each size the plan of the one query of a release is
printed as PostgreSQL ran it (EXPLAIN ANALYZE, BUFFERS), and the middle time of the query alone and of the whole answer: read, unseal,
judge. An embedded PostgreSQL is started for it and removed again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from broker import clock
from broker.consent import service as consent
from broker.consent.in_force import RESIDUALS_SQL
from broker.crypto import load_keys
from broker.database import Database, EmbeddedServer
from broker.migrate import migrate
from broker.records.patients import vaults_for
from broker.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.factories import consent as factory

MINE = 10
RESULTS = Path(__file__).resolve().parent / "results"

_PATIENTS = """
INSERT INTO patient (patient_key, wrapped_key, fhir_id_sealed, epoch, created_at)
SELECT md5('patient' || n)::uuid, decode(md5(n::text), 'hex'), decode(md5(n::text), 'hex'), 0, now() FROM generate_series(%s::bigint, %s::bigint) n
ON CONFLICT DO NOTHING
"""
_CONSENTS = """
INSERT INTO consent (patient_key, id, version, status, dialect, identifiers, content_hash, filed_at, updated_at, residual)
SELECT md5('patient' || n / 5)::uuid, md5('consent' || n)::uuid, 1, CASE WHEN n %% 3 = 0 THEN 'inactive' ELSE 'active' END, 'typed-root',
       ARRAY[decode(md5('identifier' || n), 'hex')], decode(md5(n::text), 'hex'), now(), now(), decode(repeat(md5(n::text), 20), 'hex')
FROM generate_series(%s::bigint, %s::bigint) n
"""


def middle(work: Callable[[], object], rounds: int) -> float:
    """The middle time of a piece of work, in microseconds."""
    for _ in range(20):
        work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e6)
    return statistics.median(times)


def fill(url: str, before: int, after: int) -> None:
    """Add other patients' consents up to a number of rows, then let PostgreSQL know its tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_PATIENTS, (before // 5, after // 5))
        for start in range(before, after, 100_000):
            connection.execute(_CONSENTS, (start + 1, min(start + 100_000, after)))
        connection.execute("VACUUM ANALYZE consent")
        connection.execute("VACUUM ANALYZE patient")


def main() -> int:
    """Print the table and write ``results/consents.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stored", type=int, nargs="+", default=[MINE, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="broker-bench-"))
    server = EmbeddedServer(folder / "postgres")
    rows = []
    try:
        url = server.url
        migrate(url)
        keys, database = load_keys(Settings(var=folder)), Database(url, "broker_web", pool=2)
        with database.transaction() as session:
            factory.house(session)
            (patient_key,) = vaults_for(session, keys, ["p1"], shared=False)
            for _ in range(MINE):
                factory.file(session, keys, factory.sharing(factory.provision("deny", factory.labels("PSY"))))
        filled = MINE
        with psycopg.connect(url, autocommit=True) as connection:
            for stored in sorted(arguments.stored):
                began = time.perf_counter()
                fill(url, filled, max(stored, filled))
                filled = max(stored, filled)
                now = clock.now()
                plan = connection.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + RESIDUALS_SQL, (patient_key, now)).fetchone()
                shown = connection.execute("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) " + RESIDUALS_SQL, (patient_key, now)).fetchall()
                top = (plan or ())[0][0]["Plan"]
                blocks = top["Shared Hit Blocks"] + top["Shared Read Blocks"]

                def query(at=now) -> None:
                    connection.execute(RESIDUALS_SQL, (patient_key, at), prepare=True).fetchall()

                def whole() -> None:
                    with database.transaction() as session:
                        if consent.consent_facts(session, keys, patient_key, "shengli", "TREAT", clock.now()).base != "permit":
                            raise SystemExit("the consents of the patient do not permit")

                row = {"stored": filled, "blocks": blocks, "query_us": middle(query, arguments.rounds), "whole_us": middle(whole, arguments.rounds)}
                rows.append(row)
                print(f"-- {filled:,} consents stored ({time.perf_counter() - began:.0f} s to fill and ask)")
                print("\n".join(f"   {line[0]}" for line in shown))
        database.dispose()
        first = rows[0]
        print(f"{'stored':>12} {'blocks':>7} {'query µs':>9} {'ratio':>6} {'whole µs':>9} {'ratio':>6}")
        for row in rows:
            ratios = row["query_us"] / first["query_us"], row["whole_us"] / first["whole_us"]
            print(f"{row['stored']:>12,} {row['blocks']:>7} {row['query_us']:>9.0f} {ratios[0]:>6.2f} {row['whole_us']:>9.0f} {ratios[1]:>6.2f}")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "consents.json").write_text(json.dumps(rows, indent=1) + "\n")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
