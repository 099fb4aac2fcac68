"""An SSH agent with one Ed25519 key, for `litewitness`, which takes its key from an agent (draft-miller-ssh-agent)."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REQUEST_IDENTITIES, IDENTITIES_ANSWER, SIGN_REQUEST, SIGN_RESPONSE, FAILURE = 11, 12, 13, 14, 5


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _taken(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length], data[4 + length :]


class Agent:
    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.blob = string(b"ssh-ed25519") + string(key.public_key().public_bytes_raw())

    @property
    def fingerprint(self) -> str:
        return f"SHA256:{b64encode(sha256(self.blob).digest()).decode().rstrip('=')}"

    def answer(self, message: bytes) -> bytes:
        if message[0] == REQUEST_IDENTITIES:
            return bytes([IDENTITIES_ANSWER]) + (1).to_bytes(4, "big") + string(self.blob) + string(b"witness")
        if message[0] == SIGN_REQUEST:
            blob, rest = _taken(message[1:])
            data, _ = _taken(rest)
            if blob == self.blob:
                return bytes([SIGN_RESPONSE]) + string(string(b"ssh-ed25519") + string(self._key.sign(data)))
        return bytes([FAILURE])


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


@contextmanager
def running(path: Path, key: Ed25519PrivateKey) -> Iterator[Agent]:
    """The agent on a Unix socket at ``path``."""
    agent = Agent(key)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(EOFError, OSError):
            while True:
                length = int.from_bytes(_exactly(connection, 4), "big")
                connection.sendall(string(agent.answer(_exactly(connection, length))))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield agent
    finally:
        listener.close()
