"""The command line: one file for each group of commands. The names are fixed (README)."""

from __future__ import annotations

import sys

import typer

from broker.cli import (
    administrator,
    audit,
    consent,
    demo,
    keys,
    labels,
    minimise,
    policy,
    receive,
    reconcile,
    records,
    review,
    serve,
    upstream,
    witness,
)
from broker.errors import BrokerError

app = typer.Typer(name="broker", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for _commands in (serve, administrator, demo, records, minimise, receive, reconcile, review):
    _commands.register(app)
for _name, _group in (
    ("consent", consent.app),
    ("labels", labels.app),
    ("audit", audit.app),
    ("keys", keys.app),
    ("policy", policy.app),
    ("upstream", upstream.app),
    ("witness", witness.app),
):
    app.add_typer(_group, name=_name)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the answer is no or something failed, 2 wrong use."""
    try:
        app()
    except BrokerError as error:
        print(f"{error.title('zh')} {error.title('en')}\n{error.detail}\n{error.help('zh')} {error.help('en')}", file=sys.stderr)
        raise SystemExit(1) from error
