"""Resources per second that `broker ingest` takes in: Synthea's where they are at hand, else the demo's; then the same files again.

    .venv/bin/python -m benchmarks ingest

The floor is reading and parsing the same files and nothing else.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

import orjson

from broker import demo_data
from broker.crypto import load_keys
from broker.database import Database, EmbeddedServer
from broker.migrate import migrate
from broker.records import service as records
from broker.settings import Settings

HERE = Path(__file__).resolve().parent
SYNTHEA = HERE.parents[1] / "shared" / "data" / "synthea"


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="broker-bench-"))
    server = EmbeddedServer(folder / "postgres")
    try:
        migrate(server.url)
        source = SYNTHEA
        if not source.is_dir():
            source = folder / "demo"
            source.mkdir()
            for number, bundle in enumerate(demo_data.bundles()):
                (source / f"{number:02}.json").write_bytes(bundle)
        keys = load_keys(Settings(var=folder))
        database = Database(server.url, "broker_web")
        start = time.perf_counter()
        count = sum(len(orjson.loads(file.read_bytes())["entry"]) for file in sorted(source.glob("*.json")))
        floor = time.perf_counter() - start
        result = {"resources": count}
        for label in ("first", "again"):
            start = time.perf_counter()
            report = records.ingest(database, keys, [source], source="benchmark")
            seconds = time.perf_counter() - start
            result[label] = {"per_second": count / seconds, "accepted": report.accepted, "unchanged": report.unchanged, "refused": report.refused}
            print(f"ingest {label}: {count / seconds:8,.0f} resources/s, {seconds / floor:.0f} times reading alone; refused {report.refused}")
        database.dispose()
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "ingest.json").write_text(json.dumps(result, indent=1))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
