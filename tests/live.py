"""A broker that really serves: the app in this process on a socket, and people and systems that call it over HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import uvicorn
from rich.console import Console

from broker.app import Installation, create_app, open_installation
from broker.cli.serve import UnbufferedProtocol
from broker.demo.seed import Cast, seed
from broker.demo.story import Story
from broker.settings import Settings


@contextmanager
def serving(installation: Installation, listener=None) -> Iterator[None]:
    """The app on the socket that ``installation.settings.base_url`` names, until the block ends."""
    host, port = installation.settings.base_url.removeprefix("http://").split(":")
    config = uvicorn.Config(
        create_app(installation), host=host, port=int(port), http=UnbufferedProtocol, log_level="warning", server_header=False, lifespan="on"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener] if listener else None}, daemon=True)
    thread.start()
    until = time.monotonic() + 90
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise RuntimeError("the broker did not start")
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def hospital(database_url: str, folder: Path, *, send_buffer: int | None = None, name: str = "127.0.0.1", **settings) -> Iterator[Story]:
    """A demo hospital that serves on a free port: its cast, and the story's verbs to call it with.

    ``name``: what its address calls this machine; security keys are bound to names and take no number (``localhost``).
    ``send_buffer``: bytes that the operating system may hold of an answer that its recipient doesn't read.
    """
    listener = uvicorn.Config("unused", host="127.0.0.1", port=0).bind_socket()
    if send_buffer is not None:  # Connections inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    base_url = f"http://{name}:{listener.getsockname()[1]}"
    chosen = Settings(var=folder, database_url=database_url, base_url=base_url, hospital="renhe", **settings)
    installation = open_installation(chosen)
    cast: Cast = seed(installation)
    with serving(installation, listener):
        story = Story(installation, cast, base_url, Console(file=StringIO()))
        yield story
        story.close()
