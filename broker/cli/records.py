"""``broker ingest``: take in what hospital systems export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from broker.cli.serve import ready_database
from broker.crypto import load_keys
from broker.database import Database, server_url, stop_embedded
from broker.errors import Problem
from broker.records import service as records
from broker.settings import Settings, settings

#: Exit code where something was refused.
NO = 1

#: Refusals that are printed; --json gives all that are kept.
SHOWN = 200


@contextmanager
def opened(chosen: Settings) -> Iterator[Database]:
    """The database, up to date and in the role of requests; the embedded one stops with the command."""
    ready_database()
    database = Database(server_url(chosen), "broker_web", pool=1)
    try:
        yield database
    finally:
        database.dispose()
        stop_embedded()


def _document(report: records.Report, language: str) -> str:
    refusals = [
        {"file": str(refused.file), "where": refused.where, "problems": [_problem(found, language) for found in refused.problems]}
        for refused in report.refusals
    ]
    counts = {"files": report.files, "accepted": report.accepted, "unchanged": report.unchanged, "refused": report.refused}
    return json.dumps(counts | {"refusals": refusals}, ensure_ascii=False, indent=2)


def _problem(found: Problem, language: str) -> dict[str, str]:
    return {"path": found.path, "code": found.code, "message": records.spoken(found, language)}


def _print(report: records.Report, language: str) -> None:
    accepted, unchanged, refused = ("已接收", "无变化", "已拒绝") if language == "zh" else ("accepted", "unchanged", "refused")
    for one in report.refusals[:SHOWN]:
        for found in one.problems:
            print(f"{one.file} {one.where}: {found.path}: {records.spoken(found, language)} [{found.code}]")
    if report.refused > SHOWN:
        print(f"… {report.refused - SHOWN} {'条未显示' if language == 'zh' else 'more'} (--json)")
    print(f"{accepted} {report.accepted}  {unchanged} {report.unchanged}  {refused} {report.refused}")


def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files or folders: FHIR Bundles, NDJSON, single resources, plain or gzip.")],
    source: Annotated[str, typer.Option("--source", help="Name of the system they come from; it stands in the log.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Take in FHIR Bundles and NDJSON. Running it again changes nothing; exit 0 only if nothing was refused."""
    chosen = settings()
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise typer.BadParameter(f"no such file or folder: {missing[0]}")
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )
    with opened(chosen) as database, bar:
        task = bar.add_task("ingest", total=None)

        def told(progress: records.Progress) -> None:
            counts = f"{progress.accepted} + {progress.unchanged} − {progress.refused}"
            bar.update(task, completed=progress.bytes_done, total=progress.bytes_total, description=counts)

        report = records.ingest(database, load_keys(chosen), paths, source=source, max_depth=chosen.max_json_depth, progress=told)
    if as_json:
        print(_document(report, chosen.language))
    else:
        _print(report, chosen.language)
    if report.refused:
        raise typer.Exit(NO)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ingest)
