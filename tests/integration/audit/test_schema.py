"""The migration makes the tables that the models declare, and goes back."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import broker.audit.models
from broker.database import Database
from broker.migrate import alembic_config

TABLES = {"audit_event", "log_entry", "log_tile", "log_checkpoint", "log_state"}


def test_models_and_migration_agree(database_url):
    database = Database(database_url, "owner", pool=0)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "include_name": lambda name, kind, _: kind != "table" or name in TABLES,
                "include_object": lambda item, name, kind, *_: kind != "table" or name in TABLES,
            },
        )
        assert compare_metadata(context, broker.audit.models.SQLModel.metadata) == []
    database.dispose()


def test_down_and_up_again(database_url, owner):
    database = Database(database_url, "owner", pool=0)
    config = alembic_config(database.engine)
    command.downgrade(config, "202611230900")
    left = "SELECT count(*) FROM pg_tables WHERE tablename = ANY(%s)"
    assert owner.execute(left, (list(TABLES),)).fetchone()[0] == 0
    command.upgrade(config, "202611230910")
    assert owner.execute(left, (list(TABLES),)).fetchone()[0] == len(TABLES)
    database.dispose()
