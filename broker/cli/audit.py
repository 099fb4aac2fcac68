"""``broker audit``: verify the log, write it out for an auditor, print the key that it is signed with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import psycopg
import typer

from broker.audit import service, store
from broker.audit.cosignature import WitnessKey
from broker.audit.database_source import DatabaseSource, open_source
from broker.audit.errors import LogDamaged
from broker.audit.export import export as export_log
from broker.audit.new_origin import open_new_origin, set_aside
from broker.audit.note import NoteInvalid, Verifier
from broker.audit.recover import recover as recover_log
from broker.audit.sources import FolderSource, UrlSource
from broker.audit.verify import Quorum, Report, Source
from broker.audit.verify import verify as verify_log
from broker.crypto import load_keys
from broker.database import Database, server_url
from broker.settings import Settings, settings

app = typer.Typer(name="audit", help="The tamper-evident log: verify, export, recover, new-origin, key.", no_args_is_help=True)

#: Exit codes of every command: the answer is no, or wrong use.
NO, WRONG_USE = 1, 2


@app.callback()
def _audit() -> None:
    """The tamper-evident log: verify, export, recover, new-origin, key."""


@app.command()
def verify(
    log: Annotated[str | None, typer.Option("--log", help="Folder or URL (…/log) of a log; without it, this broker's database.")] = None,
    older: Annotated[
        list[Path] | None, typer.Option("--from", help="A checkpoint that you saved earlier; may be repeated. The log must continue it.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", help="The log's verifier key, or a file with it. Default: this broker's own. Those after the first are keys that came before it."
        ),
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option("--witness", help="A witness's verifier key, or a file with it, from the witness itself; may be repeated.")
    ] = None,
    least: Annotated[
        int | None, typer.Option("--quorum", min=1, help="How many of these witnesses must have cosigned. Default: all of them.")
    ] = None,
    login: Annotated[
        Path | None,
        typer.Option("--login", help="File with `name:password` of an auditor, or `Bearer` and a session token, for the entries behind a URL."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Recompute the whole log: exit 0 with size and root, or 1 and where it breaks."""
    chosen = settings()
    verifier, *former = [_verifier(chosen, one) for one in key] if key else [_verifier(chosen, None)]
    quorum = _quorum(witness or [], least)
    saved = [_text(path) for path in older or []]
    # A broker's own log is held against the checkpoint that this machine saw last, too.
    seen = chosen.var / "log" / "checkpoint"
    if log is None and seen.exists():
        saved.append(_text(seen))
    with _source(chosen, log, login) as source:
        if isinstance(source, DatabaseSource):
            former += source.former()
        report = verify_log(source, verifier, older=saved, former=former, quorum=quorum)
    _print(report, as_json=as_json, language=chosen.language)
    if not report.ok:
        raise typer.Exit(NO)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; what is there stays, what is new is added.")],
    witnessed: Annotated[bool, typer.Option("--witnessed", help="Only up to the newest checkpoint that a witness has cosigned.")] = False,
) -> None:
    """Write checkpoint, tiles and entries in the C2SP tlog-tiles layout, for tools that are not ours."""
    database = Database(server_url(settings()), "broker_web", pool=0)
    try:
        with database.transaction() as session:
            published = export_log(store.raw(session), folder, witnessed=witnessed)
    except LogDamaged as error:
        _fail(f"{LogDamaged.title(settings().language)} {error.detail}", NO)
    except OSError as error:
        _fail(f"{error.filename or folder}: {error.strerror}", NO)
    finally:
        database.dispose()
    if published is None:
        _fail("尚无检查点。" if settings().language == "zh" else "There is no checkpoint yet.", NO)
    typer.echo(f"{published.size} {folder}")


@app.command()
def recover(
    folder: Annotated[Path, typer.Argument(help="A copy of the log that is newer than the restored database, as `broker audit export` writes it.")],
    key: Annotated[str | None, typer.Option("--key", help="The log's verifier key, or a file with it. Default: this broker's own.")] = None,
) -> None:
    """After restoring a backup: put back what was published since, from a copy of the log. Nothing may serve meanwhile."""
    chosen = settings()
    if not folder.is_dir():
        _fail(f"{folder}", WRONG_USE)
    verifier = _verifier(chosen, key)
    try:
        with psycopg.connect(Database(server_url(chosen, "admin"), "owner", pool=0).conninfo) as connection:
            done = recover_log(connection, FolderSource(folder), verifier)
    except LogDamaged as error:
        _fail(f"{LogDamaged.title(chosen.language)} {error.detail}", NO)
    if chosen.language == "zh":
        typer.echo(f"数据库原有 {done.before} 条，已补回 {done.entries} 条；其中 {done.strangers} 名患者在备份之后登记，其数据已无法恢复。")
    else:
        typer.echo(f"The database held {done.before} entries; {done.entries} were put back, of {done.strangers} patients whom it does not know.")


@app.command("new-origin")
def new_origin(
    lost: Annotated[Path, typer.Argument(help="The last checkpoint that left the house, from an auditor or a witness.")],
    former: Annotated[str, typer.Option("--former-key", help="The verifier key of the log that ends, or a file with it.")],
) -> None:
    """After a loss that no copy makes good: go on under a new name (set BROKER_LOG_ORIGIN first). Nothing may serve meanwhile."""
    chosen = settings()
    signing = _verifier(chosen, None)
    database = Database(server_url(chosen, "admin"), "owner", pool=0)
    try:
        with database.transaction() as session:
            done = open_new_origin(session, _text(lost), _verifier(chosen, former), signing, service.record)
    except LogDamaged as error:
        _fail(f"{LogDamaged.title(chosen.language)} {error.detail}", NO)
    finally:
        database.dispose()
    aside = set_aside(chosen.var / "log" / "checkpoint")
    if chosen.language == "zh":
        typer.echo(f"新日志 {done.origin}：保留 {done.survived} 条，缺失 {done.lost} 条，已写入缺口条目 {done.event}。新的验证公钥：{signing.vkey}")
    else:
        typer.echo(
            f"New log {done.origin}: {done.survived} entries survived, {done.lost} are lost; entry {done.event} says so. Its key: {signing.vkey}"
        )
    if aside is not None:
        typer.echo(str(aside), err=True)


@app.command()
def key() -> None:
    """Print the verifier key that auditors and recipients are given, out of band."""
    typer.echo(_verifier(settings(), None).vkey)


def _quorum(witnesses: list[str], least: int | None) -> Quorum | None:
    if not witnesses:
        if least is not None:
            _fail("--quorum: --witness", WRONG_USE)
        return None
    try:
        keys = tuple(WitnessKey.parse(_given(one)) for one in witnesses)
    except NoteInvalid as error:
        _fail(f"--witness: {error}", WRONG_USE)
    if len({one.public_key for one in keys}) < len(keys) or (least or 1) > len(keys):
        _fail("--witness, --quorum", WRONG_USE)
    return Quorum(keys, least or len(keys))


def _verifier(chosen: Settings, given: str | None) -> Verifier:
    if given is not None:
        try:
            return Verifier.parse(_given(given))
        except NoteInvalid as error:
            _fail(f"--key: {error}", WRONG_USE)
    if chosen.log_signing_key is None and not (chosen.var / "keys" / "log-signing.pem").exists():
        # Making a new key here would only find that it signed nothing.
        _fail("请用 --key 指定日志的验证公钥。" if chosen.language == "zh" else "Give the log's verifier key with --key.", WRONG_USE)
    return Verifier.of(chosen.log_origin, load_keys(chosen).log_signer)


@contextmanager
def _source(chosen: Settings, log: str | None, login: Path | None) -> Iterator[Source]:
    if log is None:
        database = Database(server_url(chosen), "broker_web", pool=0)
        with open_source(database) as source:
            yield source
    elif log.startswith(("http://", "https://")):
        said = _text(login).strip() if login else ""
        name, _, password = said.partition(":")
        with UrlSource(log, said if said.startswith("Bearer ") else (name, password) if login else None) as remote:
            yield remote
    else:
        folder = Path(log)
        if not folder.is_dir():
            _fail(f"--log: {log}", WRONG_USE)
        yield FolderSource(folder)


def _given(key_or_file: str) -> str:
    path = Path(key_or_file)
    return _text(path) if "+" not in key_or_file or path.exists() else key_or_file


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{path}: {getattr(error, 'strerror', None) or 'UTF-8'}", WRONG_USE)


def _print(report: Report, *, as_json: bool, language: str) -> None:
    if as_json:
        typer.echo(json.dumps(report.to_json(language), ensure_ascii=False))
    elif report.finding is not None:
        typer.echo(report.finding.sentence(language), err=True)
    elif language == "zh":
        typer.echo(f"日志完整：{report.size} 条，根 {report.root}")
    else:
        typer.echo(f"The log is whole: {report.size} entries, root {report.root}")


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
