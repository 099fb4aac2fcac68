"""``broker review``: the review of a quarter, on the terminal and as files: what the console and the API show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from broker.crypto import load_keys
from broker.database import Database, server_url
from broker.records import service as records
from broker.review import service
from broker.settings import settings

#: Exit code of wrong use.
WRONG_USE = 2


def register(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command(name="review")(review)


def review(
    quarter: Annotated[str, typer.Argument(help="Year and quarter, such as 2026Q4.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write the review to: JSON, and in each language text, PDF/A and XLSX.")] = None,
    lang: Annotated[str | None, typer.Option("--lang", help="Languages of the text, such as `zh` or `zh,en`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON document instead of the text.")] = False,
) -> None:
    """The review of a quarter: figures, sample, findings, corrective actions, access rights, signatures. The same inputs give the same bytes."""
    chosen = settings()
    languages = [name.strip() for name in (lang or chosen.language).split(",")]
    if not set(languages) <= set(service.LANGUAGES):
        _fail(f"--lang: {', '.join(service.LANGUAGES)}")
    try:
        wanted = service.Quarter.parse(quarter)
    except service.NoSuchQuarter as error:
        _fail(f"{error.title(chosen.language)} {error.help(chosen.language)}")
    database = Database(server_url(chosen), "broker_web", pool=0)
    keys = load_keys(chosen, seals=False)
    try:
        with database.transaction() as session:
            records.check_keys(session, keys)
            laid = service.workbench.laid(session, wanted)
            figures = {} if laid else service.compiled(session, wanted, feedback_days=chosen.feedback_days)
            document = service.workbench.whole(session, keys, wanted, figures)
            signed = service.workbench.signatures(session, wanted)
            hospital = service.hospital_names(session, chosen.hospital)
    finally:
        database.dispose()
    texts = {name: service.as_text(document, name) for name in languages}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"review-{wanted}.json").write_text(service.as_json(document), encoding="utf-8")
        for name, text in texts.items():
            (out / f"review-{wanted}.{name}.txt").write_text(text, encoding="utf-8")
            (out / f"review-{wanted}.{name}.xlsx").write_bytes(service.as_xlsx(document, name, hospital[name]))
            if service.fonts_there():
                (out / f"review-{wanted}.{name}.pdf").write_bytes(service.as_pdf(document, name, hospital[name], signed))
        if not service.fonts_there():
            typer.echo("no PDF: no font with Chinese is installed (Debian: fonts-noto-cjk)", err=True)
    typer.echo(service.as_json(document) if as_json else "\n".join(texts.values()), nl=False)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(WRONG_USE)
