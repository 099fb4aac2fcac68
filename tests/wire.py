"""HTTP by hand: requests as bytes on a socket, so that nothing between test and broker mends what is wrong with them."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from typing import Any

from broker.demo.story import Story


def wire(method: str, path: str | bytes, *headers: tuple[str, str | bytes], body: bytes = b"", length: bool = True) -> bytes:
    """One request as bytes."""
    host = [] if any(name == "Host" for name, _ in headers) else [("Host", "broker")]
    given = [*host, *headers, *([("Content-Length", str(len(body)))] if length else [])]
    lines = [name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in given]
    return method.encode() + b" " + (path if isinstance(path, bytes) else path.encode()) + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body


def dial(story: Story, *, receive_buffer: int | None = None) -> socket.socket:
    """A connection to the broker."""
    host, port = story.base_url.removeprefix("http://").split(":")
    line = socket.socket()
    if receive_buffer is not None:  # Must be said before connecting, for the window to stay small.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    line.settimeout(20)
    line.connect((host, int(port)))
    return line


def length_of(head: bytes) -> int:
    """How many bytes the body has that these headers announce."""
    found = re.search(rb"content-length: ([0-9]+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def answer_on(line: socket.socket) -> Answer:
    """The next answer on a connection."""
    found = b""
    while b"\r\n\r\n" not in found:
        data = line.recv(65_536)
        assert data, "hung up without an answer"
        found += data
    head, _, body = found.partition(b"\r\n\r\n")
    while len(body) < length_of(head):
        data = line.recv(65_536)
        assert data, "hung up in the middle of an answer"
        body += data
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
    return Answer(int(first.split(" ")[1]), headers, body)


def call(story: Story, method: str, path: str | bytes, *headers: tuple[str, str | bytes], body: bytes = b"") -> Answer:
    """One request on a connection of its own."""
    with dial(story) as line:
        line.sendall(wire(method, path, *headers, ("Connection", "close"), body=body))
        return answer_on(line)
