"""An OPA server gone wrong in every way that is known: what a decision must survive (G18, E08, F-08)."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        document = json.loads(self.rfile.read(length))["input"]
        self.server.asked.append({"path": self.path, "headers": dict(self.headers), "input": document})
        with suppress(OSError):  # The client may have had enough.
            self.server.answer(self, document)

    def do_GET(self) -> None:
        self.server.asked.append({"path": self.path, "headers": dict(self.headers), "input": None})
        raw(b"{}")(self, {})

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: Answer

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []


class FakeOpa:
    """Holds the server; ``asked`` remembers every request."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_address[1]}"

    @property
    def asked(self) -> list[dict[str, Any]]:
        return self._server.asked

    def answers(self, answer: Answer) -> None:
        """How the server behaves from now on."""
        self._server.answer = answer


@contextmanager
def running() -> Iterator[FakeOpa]:
    """A server on a free loopback port."""
    server = _Server()
    server.answer = raw(b"{}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield FakeOpa(server)
    finally:
        server.shutdown()
        server.server_close()


def raw(body: bytes, *, status: int = 200, kind: str = "application/json", headers: dict[str, str] | None = None) -> Answer:
    """These bytes, whole."""

    def answer(handler: BaseHTTPRequestHandler, document: dict[str, Any]) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def result(make: Callable[[dict[str, Any]], Any]) -> Answer:
    """``{"result": …}`` made from the question."""

    def answer(handler: BaseHTTPRequestHandler, document: dict[str, Any]) -> None:
        raw(json.dumps({"result": make(document)}).encode())(handler, document)

    return answer


def truncated(body: bytes) -> Answer:
    """Half of what was promised, then the end."""

    def answer(handler: BaseHTTPRequestHandler, document: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        handler.close_connection = True

    return answer


def slow(seconds: float, body: bytes) -> Answer:
    """Nothing for a while, then a whole answer."""

    def answer(handler: BaseHTTPRequestHandler, document: dict[str, Any]) -> None:
        time.sleep(seconds)
        raw(body)(handler, document)

    return answer


def dripping(body: bytes, pause: float) -> Answer:
    """A byte now and then: each in time, the whole never."""

    def answer(handler: BaseHTTPRequestHandler, document: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for index in range(len(body)):
            handler.wfile.write(body[index : index + 1])
            handler.wfile.flush()
            time.sleep(pause)

    return answer


def reset(handler: BaseHTTPRequestHandler, document: dict[str, Any]) -> None:
    """The connection is reset in the middle of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"result": {')
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
