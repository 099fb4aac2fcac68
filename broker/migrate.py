"""Bring the database to the newest schema. Safe to run twice and from two machines at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.engine import Engine

from broker.database import Database

#: Migrations lie beside the package in a checkout and inside it in a wheel.
_HERE = Path(__file__).resolve().parent
MIGRATIONS = next((path for path in (_HERE / "_migrations", _HERE.parent / "migrations") if path.is_dir()), _HERE.parent / "migrations")


def alembic_config(engine: Engine) -> Config:
    """Alembic's settings with the engine that ``migrations/env.py`` uses."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = engine
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Migrate the database behind ``url``, as its tables' owner."""
    database = Database(url, "owner", pool=0)
    try:
        command.upgrade(alembic_config(database.engine), revision)
    finally:
        database.dispose()
