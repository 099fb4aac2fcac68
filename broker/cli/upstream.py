"""``broker upstream``: hospitals' own FHIR servers from which records are pulled."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from broker.cli.records import NO, opened
from broker.crypto import load_keys
from broker.records import service as records
from broker.settings import settings

app = typer.Typer(no_args_is_help=True, help="上游 FHIR 服务器 · Upstream FHIR servers: key, add, list, pull.")

_TIMES = ("since", "began_at", "succeeded_at", "fully_at", "stale_after", "tried_at")


@app.command()
def key() -> None:
    """Print the public key set to register at upstream servers (SMART Backend Services)."""
    typer.echo(json.dumps(records.public_jwks(settings()), indent=1))


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="A short name; it stands in the log as the source.")],
    url: Annotated[str, typer.Option("--url", help="Base address of the FHIR server.")],
    organization: Annotated[str, typer.Option("--organization", help="Id of the organisation whose server it is.")],
    types: Annotated[str, typer.Option("--types", help="Resource types, separated by commas, in the order in which they are asked for.")],
    client_id: Annotated[str, typer.Option("--client-id", help="By which the server knows us.")] = "",
    token_endpoint: Annotated[str | None, typer.Option("--token-endpoint", help="Its OAuth2 token endpoint; unset: no token.")] = None,
    scope: Annotated[str, typer.Option("--scope", help="Scopes to ask for.")] = "system/*.rs",
    mode: Annotated[str, typer.Option("--mode", help="search: page by page; bulk: a bulk export.")] = "search",
    export_path: Annotated[str, typer.Option("--export-path", help="$export, Patient/$export or Group/<id>/$export.")] = "$export",
    every: Annotated[int, typer.Option("--every-minutes", help="Minutes between two rounds.")] = 60,
    max_age: Annotated[int | None, typer.Option("--max-age-hours", help="Older than this, nothing of its patients is released.")] = None,
) -> None:
    """Register a FHIR server; the workers pull from it from then on."""
    chosen = settings()
    given = records.Upstream(
        name, organization, url, client_id, tuple(types.split(",")), scope, token_endpoint, mode, export_path, every, max_age,
    )  # fmt: skip
    with opened(chosen) as database, database.transaction() as session:
        records.add_upstream(session, chosen, "system", given)
    typer.echo(name)


@app.command(name="list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Every upstream server, how far it is, and why the last round failed if it did."""
    with opened(settings()) as database, database.transaction() as session:
        shown: list[dict[str, Any]] = [
            {
                "name": row.name, "organization": row.organization_id, "base_url": row.base_url, "mode": row.mode, "round": row.round,
                "done": row.done, "types": row.types, "accepted": row.accepted, "refused": row.refused, "error": row.error,
                **{name: moment.isoformat() if (moment := getattr(row, name)) else None for name in _TIMES},
            }
            for row in records.upstreams(session)
        ]  # fmt: skip
    if as_json:
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    for one in shown:
        state = one["error"] or ("under way" if one["began_at"] else "up to date")
        typer.echo(f"{one['name']}  {one['base_url']}  {state}  {one['succeeded_at'] or '-'}  +{one['accepted']} -{one['refused']}")


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Name of the server.")],
    full: Annotated[bool, typer.Option("--full", help="Ask for everything, and mark what is gone there.")] = False,
) -> None:
    """Pull now; the same as the workers do. Exit 1 where the server does not give what it should."""
    chosen = settings()
    with opened(chosen) as database:
        try:
            row = records.pull(database, load_keys(chosen), chosen, name, full=full)
        except records.UpstreamFailed as error:
            typer.echo(f"{name}: {error.reason}", err=True)
            raise typer.Exit(NO) from None
    typer.echo(f"{name}: {row.accepted} + / {row.refused} -")
