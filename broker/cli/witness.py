"""``broker witness``: watch over the logs of others, as a second hospital or a regulator does. Needs no database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvicorn

from broker.audit.note import NoteInvalid, Verifier
from broker.audit.witness import StateLost, Witness, witness_app

app = typer.Typer(name="witness", help="Watch over the logs of others: init, add-log, logs, serve.", no_args_is_help=True)

_Folder = Annotated[Path, typer.Option("--state", help="Folder of this witness: its key, and what it cosigned last. Never restore it from a backup.")]

NO, WRONG_USE = 1, 2


@app.callback()
def _witness() -> None:
    """Watch over the logs of others: init, add-log, logs, serve."""


@app.command()
def init(
    state: _Folder,
    name: Annotated[str, typer.Option("--name", help="What the witness is called: a URL without scheme, such as witness.regulator.example.")],
) -> None:
    """Make a witness with a key of its own, and print the verifier key to give to logs and auditors."""
    try:
        typer.echo(Witness.create(state, name).key.vkey)
    except NoteInvalid as error:
        _fail(f"--name: {error}", WRONG_USE)
    except FileExistsError:
        _fail(f"{state}: there is a witness already · 该文件夹中已有见证者", NO)


@app.command("add-log")
def add_log(state: _Folder, key: Annotated[str, typer.Argument(help="The log's verifier key (`broker audit key` prints it there).")]) -> None:
    """Watch over a log from now on. For a log that changes its key, add the new one too."""
    try:
        log = Verifier.parse(key)
    except NoteInvalid as error:
        _fail(f"{key}: {error}", WRONG_USE)
    _open(state).add_log(log)
    typer.echo(log.name)


@app.command()
def logs(state: _Folder) -> None:
    """List the logs, each with the size of the newest tree that was cosigned."""
    for checkpoint in _open(state).logs():
        typer.echo(f"{checkpoint.size} {checkpoint.origin}")


@app.command()
def serve(
    state: _Folder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 7380,
) -> None:
    """Answer submissions (C2SP tlog-witness) until stopped. One process for each folder is enough; several agree."""
    uvicorn.run(witness_app(_open(state)), host=host, port=port, log_level="warning", server_header=False)


def _open(state: Path) -> Witness:
    try:
        return Witness(state)
    except StateLost as error:
        _fail(str(error), NO)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
