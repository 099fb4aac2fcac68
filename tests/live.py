"""A broker that really serves: the app in this process on a socket, and people and systems that call it over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

import httpx2
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


@contextmanager
def another_process(story: Story, folder: Path, database_url: str) -> Iterator[str]:
    """One more process that serves the hospital's database with its keys, as a second machine would; its own address.

    What it is called by (its issuer, the audience of assertions) is the story's, since a load balancer would stand before both.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")} | {
        "BROKER_VAR": str(folder), "BROKER_DATABASE_URL": database_url, "BROKER_BASE_URL": story.base_url, "BROKER_HOSPITAL": "renhe",
        "BROKER_SECOND_FACTOR_ROLES": "none",
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-m", "broker.cli", "serve", "--port", str(port)]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while True:
            with suppress(httpx2.HTTPError):
                if httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=5).status_code == 200:
                    break
            if time.monotonic() > until:
                raise RuntimeError("a process did not start")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(30)
