"""``broker serve``, ``worker``, ``migrate``, ``check``: running the broker."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from typing import Annotated, Any

import typer
import uvicorn
from rich.console import Console
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from broker import metrics
from broker.settings import settings

console = Console(stderr=True)


class UnbufferedProtocol(H11Protocol):
    """HTTP whose ``send`` returns only when the operating system has the bytes, and that drops what it hasn't when an answer is broken off.

    With a buffer in between, a release would let go of its gate while up to 64 KiB still lay here, and a withdrawal could
    be acknowledged before they left.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection and set its buffer to nothing."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        self.transport = _Cut(transport, self)  # type: ignore[assignment]


class _Cut:
    """A transport whose ``close`` in the middle of an answer forgets the rest; asyncio's own would still send it, gate or no gate."""

    def __init__(self, transport: asyncio.Transport, protocol: UnbufferedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Close the connection: at once and without the rest where an answer has begun and isn't whole."""
        cycle = self._protocol.cycle
        broken_off = cycle is not None and cycle.response_started and not cycle.response_complete
        (self._transport.abort if broken_off else self._transport.close)()


def stop_on_sigterm() -> None:
    """Let SIGTERM, which service managers send, end this process as Ctrl+C does: its last acts, such as stopping the database, are done.

    uvicorn finishes its requests first and then raises the signal again, which by default would end the process on the spot.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell that starts a command in the background has it ignore SIGINT; whoever sends one means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ready_database() -> None:
    """Migrate where the broker owns its database (the try-out); elsewhere `broker migrate` is the operator's step."""
    from broker.database import server_url
    from broker.migrate import migrate as to_head

    if settings().database_url is None:
        to_head(server_url(settings(), "admin"))


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Processes; one for each core is enough.", min=1, max=64)] = 1,
) -> None:
    """Serve the API, the FHIR endpoints and the log."""
    ready_database()
    run(host, port, workers)


def run(host: str, port: int, workers: int = 1) -> None:
    """Serve until stopped. The parent holds the embedded database, so that it stops with the last of them."""
    from broker.database import stop_embedded

    config = uvicorn.Config(
        "broker.app:from_settings", factory=True, host=host, port=port, workers=workers, log_level="warning",
        http=UnbufferedProtocol, loop="asyncio",  # Another loop has transports of its own, which may keep bytes back.
        proxy_headers=False, server_header=False, date_header=True, lifespan="on", timeout_keep_alive=30, h11_max_incomplete_event_size=65_536,
    )  # fmt: skip
    console.print(f"[bold]http://{host}:{port}[/]  (Ctrl+C stops)", highlight=False)
    stop_on_sigterm()
    try:
        if workers == 1:
            uvicorn.Server(config).run()
        else:
            with metrics.counting_together():
                Multiprocess(config, sockets=[config.bind_socket()]).run()
    except KeyboardInterrupt:
        pass  # That is how one stops it.
    finally:
        stop_embedded()


def worker() -> None:
    """Do background work: put the log in order, sign and publish it; do jobs. Any number may run, on any machine."""
    from broker.app import background
    from broker.database import stop_embedded

    ready_database()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    console.print("working; Ctrl+C stops")
    background(settings(), stop)
    stop_embedded()


def migrate() -> None:
    """Bring the database to the newest schema. Safe to run twice and from two machines at once."""
    from broker.database import server_url, stop_embedded
    from broker.migrate import migrate as to_head

    to_head(server_url(settings(), "admin"))
    console.print("the database is at the newest schema")
    if again := _forgotten_again():
        console.print(f"{again} destroyed patients had come back with a backup and were destroyed again")
    stop_embedded()


def _forgotten_again() -> int:
    """After a restore: destroy again whom the list outside the database names, as the owner of the database."""
    from broker.retention import service as retention

    if not retention.list_path(settings()).exists():
        return 0
    from broker.app import destruction
    from broker.crypto import load_keys
    from broker.database import Database, server_url

    database = Database(server_url(settings(), "admin"), "owner", pool=0)
    try:
        with database.transaction() as session:
            return retention.forget_again(session, load_keys(settings(), seals=False), settings(), destruction())
    finally:
        database.dispose()


def check(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what is wrong with settings, database, policy engine and keys, and how to mend it."""
    from broker.app import checks

    results = asyncio.run(checks(settings()))
    if as_json:
        print(json.dumps([{"check": one.name, "ok": one.ok, "detail": one.detail, "help": one.help} for one in results], ensure_ascii=False))
    else:
        for one in results:
            print(f"{'ok   ' if one.ok else 'WRONG'}  {one.name}: {one.detail}" + ("" if one.ok else f"\n       {one.help}"))
    raise typer.Exit(0 if all(one.ok for one in results) else 1)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, worker, migrate, check):
        app.command()(command)
