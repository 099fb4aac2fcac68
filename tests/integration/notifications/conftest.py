"""A mail server and a web server of a test's own, which say what came in."""

import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.factories.shared_hospital import database, keys, means, own, patients, people, shared

__all__ = ["database", "keys", "means", "own", "patients", "people", "shared"]


@dataclass
class Inbound:
    """What a server heard, and how it is to answer."""

    port: int = 0
    heard: list = field(default_factory=list)
    answers: list = field(default_factory=list)  #: the next replies; afterwards all is well


def _serve(server) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def mail_server():
    """SMTP as RFC 5321 has it, for real over a socket: HELO, MAIL, RCPT, DATA."""
    inbound = Inbound()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text):
            self.wfile.write(text.encode() + b"\r\n")

        def handle(self):
            self.say("220 mail.example ready")
            to = []
            while line := self.rfile.readline():
                verb = line.strip().upper()
                if verb.startswith((b"EHLO", b"HELO")):
                    self.say("250 mail.example")
                elif verb.startswith(b"RCPT"):
                    if inbound.answers:
                        self.say(inbound.answers.pop(0))
                        continue
                    to.append(line.strip().decode())
                    self.say("250 ok")
                elif verb == b"DATA":
                    self.say("354 go on")
                    content = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        content += part
                    inbound.heard.append((to, content))
                    self.say("250 taken")
                elif verb == b"QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    inbound.port = server.server_address[1]
    running = _serve(server)
    next(running)
    yield inbound
    next(running, None)


@pytest.fixture
def web_server():
    """A receiver of webhooks."""
    inbound = Inbound()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            inbound.heard.append((self.path, dict(self.headers), body, json.loads(body)))
            status = inbound.answers.pop(0) if inbound.answers else 204
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", f"http://127.0.0.1:{inbound.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Nothing: tests look at what was heard."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    inbound.port = server.server_address[1]
    running = _serve(server)
    next(running)
    yield inbound
    next(running, None)
