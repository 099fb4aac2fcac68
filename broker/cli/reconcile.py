"""``broker reconcile``: a recipient's own import log held against what was sent to it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import orjson
import typer

from broker.database import Database, server_url, stop_embedded
from broker.errors import BrokerError
from broker.release.reconciliation import Asked, reconcile, told
from broker.release.reconciling import LogUnreadable, objects
from broker.settings import settings

NO, WRONG_USE = 1, 2


def register(app: typer.Typer) -> None:
    """Add ``broker reconcile``."""
    app.command("reconcile")(reconcile_command)


def reconcile_command(
    files: Annotated[list[Path], typer.Argument(help="Receipts of `broker receive`, or FHIR AuditEvents of imports: JSON, Bundle, or one a line.")],
    recipient: Annotated[str, typer.Option("--recipient", help="Organisation id of the recipient.")],
    since: Annotated[datetime, typer.Option("--since", formats=["%Y-%m-%d"], help="First day, in the hospital's time.")],
    until: Annotated[datetime, typer.Option("--until", formats=["%Y-%m-%d"], help="Last day.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Compare a recipient's import log with ours: exit 0 if both tell the same, 1 if not."""
    chosen = settings()
    zone = chosen.zone
    try:
        entries = [entry for path in files for entry in objects(path.read_bytes())]
    except (OSError, LogUnreadable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(WRONG_USE) from None
    begin = datetime.combine(since.date(), time.min, zone).astimezone(UTC)
    end = datetime.combine(until.date() + timedelta(days=1), time.min, zone).astimezone(UTC)
    database = Database(server_url(chosen), "broker_web", pool=0)
    try:
        with database.transaction() as session:
            done = reconcile(session, "system", Asked(recipient, begin, end), entries)
    except BrokerError as error:
        for problem in error.problems:
            typer.echo(f"{problem.path}: {problem.message}", err=True)
        raise typer.Exit(WRONG_USE) from None
    finally:
        database.dispose()
        stop_embedded()
    if as_json:
        typer.echo(orjson.dumps(told(done), option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo("  ".join(f"{name} {count}" for name, count in done.counts.items()))
        for one in done.missing_here:
            typer.echo(f"missing here · 我方缺失  {one.release or one.digest}  {one.at or ''}")
        for ours, _ in done.changed:
            typer.echo(f"other bytes · 内容不符  {ours.release}")
        for ours in done.missing_there:
            typer.echo(f"missing there · 对方缺失  {ours.release}  {ours.at.isoformat(timespec='seconds')}  {ours.application or ''}  {ours.outcome}")
    if not done.agrees:
        raise typer.Exit(NO)
