"""A witness of other people's logs (C2SP tlog-witness v1.0.0): what a second hospital or a regulator runs.

It keeps, for each log it was told of, the newest tree it cosigned, and cosigns a newer one only with the proof that the newer
tree continues the older. State is one small file for each log in a folder of the operator's choice, replaced in one step and
synced before the answer goes out; a lock on the folder makes check and replacement one act.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker import clock
from broker.audit.cosignature import WitnessKey, cosign
from broker.audit.note import Checkpoint, NoteInvalid, SignatureInvalid, Verifier, check_name, decode, from_base64
from broker.audit.tree import EMPTY_ROOT, HASH_BYTES, ProofInvalid, check_consistency

log = logging.getLogger("broker.witness")

MAX_PROOF = 63
#: A request is a proof of at most 63 hashes and a checkpoint with its signatures.
MAX_REQUEST_BYTES = 64 * 1024

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


class StateLost(Exception):
    """The witness's state can't be believed; without it a witness must not cosign."""


@dataclass(frozen=True)
class Answer:
    """What the witness answers: an HTTP status and a body."""

    status: int
    body: str
    media_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Submission:
    """An add-checkpoint request, read."""

    old: int
    proof: tuple[bytes, ...]
    note: str


def read_submission(body: str) -> Submission:
    """Read a request. Raises NoteInvalid."""
    head, found, note = body.partition("\n\n")
    first, *lines = head.split("\n")
    match = _OLD.fullmatch(first)
    if not found or match is None:
        raise NoteInvalid("a request is: old size, proof, blank line, checkpoint")
    proof = tuple(from_base64(line) for line in lines)
    if len(proof) > MAX_PROOF or any(len(item) != HASH_BYTES for item in proof):
        raise NoteInvalid("a proof is at most 63 hashes of 32 bytes")
    return Submission(int(match[1]), proof, note)


class Witness:
    """A witness with its state in ``folder``. The key lies there too: who loses the state loses the key, and can't cosign a second history."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            name = (folder / "name").read_text(encoding="utf-8").strip()
            key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
        except (OSError, ValueError) as error:
            raise StateLost(f"{folder} is not the folder of a witness; `broker witness init` makes one") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise StateLost(f"{folder / 'key.pem'} is not an Ed25519 key")
        self._signer = key
        self.key = WitnessKey.of(name, key)

    @classmethod
    def create(cls, folder: Path, name: str) -> Witness:
        """A new witness with a new key. Raises NoteInvalid for a name that can't be one, FileExistsError where there is a witness already."""
        check_name(name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        descriptor = os.open(folder / "key.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        _replace(folder / "name", f"{name}\n")
        return cls(folder)

    def add_log(self, log: Verifier) -> None:
        """Watch over a log from now on; over one that it knows, accept this key too (for a change of keys)."""
        with self._locked(log.name) as state:
            if state.read() is None:
                state.write(Checkpoint(log.name, 0, EMPTY_ROOT).text)
            known = {key.vkey for key in state.verifiers()}
            _replace(state.keys_path, "".join(f"{vkey}\n" for vkey in sorted(known | {log.vkey})))

    def logs(self) -> list[Checkpoint]:
        """The newest cosigned tree of each log; size 0 before the first."""
        found = [_LogState(path.with_suffix("")).read() for path in sorted(self._folder.glob("*.tree"))]
        return [checkpoint for checkpoint in found if checkpoint is not None]

    def add_checkpoint(self, body: str) -> Answer:
        """Answer one submission. Steps and codes are those of tlog-witness, "add-checkpoint", in its order.

        Raises StateLost, and then cosigns nothing.
        """
        try:
            submission = read_submission(body)
            origin = submission.note.partition("\n")[0]
            check_name(origin)
        except NoteInvalid as error:
            return Answer(400, f"{error}\n")
        with self._locked(origin) as state:
            newest = state.read()
            if newest is None:
                return Answer(404, "unknown log\n")
            if newest.origin != origin:
                raise StateLost(f"the state of {origin} is that of another log")
            checkpoint = _signed_by_one_of(state.verifiers(), submission.note)
            if checkpoint is None:
                return Answer(403, "not signed by a key of this log\n")
            return self._judge(submission, checkpoint, newest, state)

    def _judge(self, submission: Submission, checkpoint: Checkpoint, newest: Checkpoint, state: _LogState) -> Answer:
        """Compare with the newest cosigned tree and put the new one in its place; the log's lock is held."""
        if submission.old > checkpoint.size:
            return Answer(400, "the old size is beyond the checkpoint\n")
        if submission.old != newest.size or (newest.size == checkpoint.size and newest.root != checkpoint.root):
            if submission.old == newest.size:
                state.keep_evidence(submission.note)
            return Answer(409, f"{newest.size}\n", "text/x.tlog.size")
        try:
            check_consistency(newest.size, checkpoint.size, newest.root, checkpoint.root, submission.proof)
        except ProofInvalid as error:
            # Signed by the log and not proven to continue what it signed before: kept, as it may be evidence of two histories.
            state.keep_evidence(submission.note)
            return Answer(422, f"{error}\n")
        state.write(checkpoint.text)
        return Answer(200, cosign(checkpoint.text, self.key.name, self._signer, clock.epoch(clock.now())))

    @contextmanager
    def _locked(self, origin: str) -> Iterator[_LogState]:
        """The state of one log, held alone by this thread of this process."""
        path = self._folder / sha256(origin.encode()).hexdigest()[:32]
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield _LogState(path)


def _signed_by_one_of(verifiers: Sequence[Verifier], note: str) -> Checkpoint | None:
    for verifier in verifiers:
        try:
            return Checkpoint.opened(note, verifier)
        except SignatureInvalid:
            continue
        except NoteInvalid:
            return None
    return None


class _LogState:
    """What a witness knows of one log: its newest cosigned tree and its keys."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.tree")
        self.keys_path = path.with_name(f"{path.name}.keys")

    def read(self) -> Checkpoint | None:
        """The newest cosigned tree, of size 0 before the first; None for a log that nobody told of. Raises StateLost."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return Checkpoint.parse(decode(text))
        except NoteInvalid as error:
            raise StateLost(f"{self._path} is damaged; retire this witness and its key") from error

    def verifiers(self) -> list[Verifier]:
        """The log's keys."""
        if not self.keys_path.exists():
            return []
        return [Verifier.parse(line) for line in self.keys_path.read_text(encoding="utf-8").splitlines()]

    def write(self, text: str) -> None:
        """Put a newer tree in its place, durably."""
        _replace(self._path, text)

    def keep_evidence(self, note: str) -> None:
        """Keep a checkpoint that the log signed and that does not continue what it signed before; the last of them, so that nobody fills the disk."""
        _replace(self._path.with_suffix(".evidence"), note)


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step; content and name are on disk before this returns."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def witness_app(witness: Witness) -> FastAPI:
    """The witness over HTTP: ``POST /add-checkpoint`` and, for whoever looks after it, ``GET /livez`` and ``GET /key``."""
    app = FastAPI(title="Log witness", docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/add-checkpoint", response_class=Response)
    async def add_checkpoint(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_REQUEST_BYTES:
                return Response("too large\n", 413, media_type="text/plain")
        try:
            text = decode(bytes(body))
        except NoteInvalid as error:
            return Response(f"{error}\n", 400, media_type="text/plain")
        try:
            answer = await run_in_threadpool(witness.add_checkpoint, text)
        except StateLost as error:
            log.critical("%s", error)
            return Response("this witness has lost its state\n", 500, media_type="text/plain")
        except OSError as error:
            # What can't be kept is not cosigned: a full disk, or one that may only be read.
            log.error("nothing was cosigned: %s", error.strerror)  # noqa: TRY400  (an outage of the disk needs no traceback)
            return Response("this witness can't keep anything at the moment\n", 503, media_type="text/plain")
        # Starlette would add a charset to a text type; the specification has this one bare.
        return Response(answer.body, answer.status, headers={"Content-Type": answer.media_type})

    @app.get("/livez")
    def livez() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/key", response_class=Response)
    def key() -> Response:
        return Response(f"{witness.key.vkey}\n", media_type="text/plain; charset=utf-8")

    return app
