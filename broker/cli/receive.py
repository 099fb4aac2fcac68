"""``broker receive``: a recipient's side. Checks a release that came as one Bundle, and opens it; needs no server and no database."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from broker import clock
from broker.audit.note import NoteInvalid, Verifier
from broker.release.receiving import Found, Given, receipt_file, receive

NO, WRONG_USE = 1, 2
_SIGNATURE = "release-signature:"


def register(app: typer.Typer) -> None:
    """Add ``broker receive``."""
    app.command("receive")(receive_command)


def receive_command(
    answer: Annotated[Path, typer.Argument(help="The answer of POST /releases, as it came.")],
    keys: Annotated[Path, typer.Option("--keys", help="The hospital's JWK Set (/oauth2/jwks), kept from a time when it was trusted.")],
    manifest: Annotated[Path | None, typer.Option("--manifest", help="The answer of GET /releases/{id}.")] = None,
    signature: Annotated[
        Path | None, typer.Option("--signature", help="The Release-Signature header: alone, or in the headers as curl -D writes them.")
    ] = None,
    decrypt_with: Annotated[Path | None, typer.Option("--decrypt-with", help="Private JWK, where the Bundle was encrypted.")] = None,
    log_key: Annotated[str | None, typer.Option("--log-key", help="The log's verifier key, or a file with it.")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="A checkpoint of the log from elsewhere, such as a witness.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the Bundle here (mode 0600) if everything holds.")] = None,
    receipt: Annotated[Path | None, typer.Option("--receipt", help="Write what was found here: the receipt to keep, or to send back.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Check and open a release that you received: exit 0 if it holds, 1 if it doesn't, 2 for wrong use."""
    try:
        given = Given(
            body=answer.read_bytes(),
            decryption_key=_json(decrypt_with),
            signature=None if signature is None else _signature(signature.read_text(encoding="utf-8")),
            manifest=_json(manifest),
            keys=_json(keys),
            log_key=None if log_key is None else Verifier.parse(_text(log_key)),
            checkpoint=None if checkpoint is None else checkpoint.read_text(encoding="utf-8"),
        )
    except (OSError, ValueError, NoteInvalid) as error:
        typer.echo(f"{type(error).__name__}: a file can't be read as what it should be. {getattr(error, 'filename', '') or ''}".strip(), err=True)
        raise typer.Exit(WRONG_USE) from None
    received = receive(given)
    written = receipt_file(received, given, clock.now().isoformat(timespec="seconds"))
    if receipt is not None:
        receipt.write_bytes(written)
    if out is not None and received.ok and received.bundle is not None:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(received.bundle)
    if as_json:
        typer.echo(written.decode(), nl=False)
    else:
        for one in received.found:
            typer.echo(_line(one))
        typer.echo("It holds. 校验通过。" if received.ok else "It does not hold; nothing was written. 校验未通过，未写出任何内容。")
    if not received.ok:
        raise typer.Exit(NO)


def _line(found: Found) -> str:
    return f"{found.verdict:10}{found.check:12}{found.detail}"


def _json(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  (one kind of error for all that can't be read)
    return value


def _text(value: str) -> str:
    path = Path(value)
    return path.read_text(encoding="utf-8").strip() if path.exists() else value


def _signature(text: str) -> str:
    for line in text.splitlines():
        if line.lower().startswith(_SIGNATURE):
            return line[len(_SIGNATURE) :].strip()
    return text.strip()
