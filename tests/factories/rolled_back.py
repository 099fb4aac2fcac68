"""A database that many tests share: each test's work is rolled back, so that no database need be copied for it.

What a test commits is a savepoint to the outside. Tests that need a second connection (threads, another role, the raw release
path) take a database of their own instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlmodel import Session

from broker.database import Database


class RolledBack:
    """Looks like a Database to whoever only asks for transactions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """As ``Database.transaction``: kept for the rest of the test, or undone where it raises."""
        with Session(self._connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session, session.begin():
            yield session


@contextmanager
def rolled_back(database: Database) -> Iterator[RolledBack]:
    """One test's view of a shared database."""
    with database.engine.connect() as connection:
        outer = connection.begin()
        try:
            yield RolledBack(connection)
        finally:
            outer.rollback()
