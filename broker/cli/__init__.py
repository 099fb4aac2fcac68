"""The command line: one file for each group of commands. The names are fixed (see README)."""

from __future__ import annotations

import typer

app = typer.Typer(name="broker", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command line."""
    app()
