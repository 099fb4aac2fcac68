"""How a migration runs: as the tables' owner, one at a time, never waiting long for a lock."""

from alembic import context
from sqlalchemy import text
from sqlmodel import SQLModel

import broker.tables  # Declares every table.

#: Two machines that migrate at once: the second waits here and then finds nothing to do.
ADVISORY_LOCK = 0x62726F6B6572

with context.config.attributes["engine"].connect() as connection:
    # For another machine that migrates it waits as long as that takes; for a lock of those who serve, not long.
    connection.execute(text("SET statement_timeout = '15min'"))
    connection.execute(text(f"SELECT pg_advisory_lock({ADVISORY_LOCK})").execution_options(autocommit=True))
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.execute(text("SET statement_timeout = '60s'"))
    connection.commit()
    try:
        context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_server_default=True, include_object=broker.tables.ours)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text(f"SELECT pg_advisory_unlock({ADVISORY_LOCK})"))
        connection.commit()
