"""Bring each new checkpoint to the witnesses of the policy, and keep what they cosign (C2SP tlog-witness, client side).

Releases never wait for a witness: it is asked after publication, and again until it answers. What it can do at once is stop
the sequencer: a witness that has cosigned a larger tree than the one at hand has seen entries that are gone.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass, field

import httpx2
import psycopg

from broker import clock
from broker.audit import store
from broker.audit.cosignature import cosigned_at
from broker.audit.errors import LogDamaged
from broker.audit.note import NoteInvalid, to_base64
from broker.audit.store import Connection, Published
from broker.audit.tiles import node_reader
from broker.audit.tree import consistency_proof
from broker.audit.witness_policy import Witness, WitnessPolicy
from broker.database import Database

logger = logging.getLogger(__name__)

#: Seconds between two looks whether there is something new to witness.
INTERVAL = 2.0
#: Seconds a witness that failed is left alone: twice as long each time, up to the last.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
TIMEOUT_SECONDS = 10.0
#: Seconds that a starting sequencer waits for a witness to say what it knows.
ASKING_SECONDS = 3.0
#: No answer is longer: a few signature lines, or a number.
MAX_ANSWER_BYTES = 16 * 1024
#: Seconds a witness's clock may be ahead of ours.
CLOCK_SKEW = 300

_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n?")


class NotWitnessed(Exception):
    """The witness did not cosign; says why. It is asked again."""


@dataclass
class _Standing:
    """What this process remembers of one witness: when to ask it next, and how often it failed in a row."""

    next_at: float = 0.0
    failures: int = 0
    trouble: str | None = None


@dataclass
class Submitter:
    """Asks the witnesses of a policy. ``trouble`` says, by witness, why the newest checkpoint is not cosigned."""

    database: Database
    policy: WitnessPolicy
    _standing: dict[str, _Standing] = field(default_factory=dict)

    @property
    def trouble(self) -> dict[str, str]:
        """Witness → what went wrong at the last attempt; empty while all is well."""
        return {name: standing.trouble for name, standing in self._standing.items() if standing.trouble}

    def run(self, stop: threading.Event) -> None:
        """Submit until ``stop`` is set. Several processes may do so; a witness answers each rightly."""
        if not any(witness.url for witness in self.policy.witnesses.values()):
            return
        while not stop.is_set():
            try:
                with psycopg.connect(self.database.conninfo, autocommit=True) as connection:
                    while not stop.is_set():
                        self.submit(connection)
                        stop.wait(INTERVAL)
            except Exception as error:  # A thread that died quietly would leave the log unwitnessed.
                logger.error("checkpoints are not being witnessed: %s", type(error).__name__, exc_info=not isinstance(error, psycopg.Error))  # noqa: TRY400  (an outage of the database needs no traceback)
                stop.wait(FIRST_PAUSE)

    def submit(self, connection: Connection) -> int:
        """Ask each witness that is due and has not cosigned the newest checkpoint; returns how many cosigned it."""
        published = store.latest(connection)
        if published is None:
            return 0
        cosigned = 0
        for witness in self.policy.witnesses.values():
            standing = self._standing.setdefault(witness.name, _Standing())
            if witness.url is None or time.monotonic() < standing.next_at or store.is_cosigned(connection, published.size, witness.key.vkey):
                continue
            try:
                self._ask(connection, witness, witness.url, published)
            except NotWitnessed as error:
                standing.failures += 1
                standing.trouble = str(error)
                standing.next_at = time.monotonic() + min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (standing.failures - 1))
                logger.warning("witness %s: %s", witness.name, error)
            else:
                cosigned += 1
                self._standing[witness.name] = _Standing()
        return cosigned

    def _ask(self, connection: Connection, witness: Witness, url: str, published: Published) -> None:
        """One submission, and a second one from where the witness says that it stands. Raises NotWitnessed."""
        old = store.newest_cosigned(connection, witness.key.vkey)
        for _ in range(2):
            answer = _post(url, _request(connection, old, published), TIMEOUT_SECONDS)
            if answer.status != 409:
                break
            size = _size_of(answer)
            if size > published.size:
                raise NotWitnessed(f"it has cosigned a tree of {size} entries, and this log holds {published.size}: the log was cut or forked")
            if size == old == published.size:
                raise NotWitnessed(f"it has cosigned another tree of {size} entries: the log was forked")
            old = size
        if answer.status != 200:
            raise NotWitnessed(f"HTTP {answer.status} {_shown(answer.text)}")
        line = _line_of(answer.text, published.note, witness)
        connection.execute(
            "INSERT INTO log_cosignature (size, witness, line, at) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (published.size, witness.key.vkey, line, clock.now()),
        )

    def check_not_behind(self, size: int) -> None:
        """Raise LogDamaged when a witness has cosigned a larger tree than this one of ``size`` entries. One that can't be reached says nothing."""
        for witness in self.policy.witnesses.values():
            if witness.url is None:
                continue
            with psycopg.connect(self.database.conninfo, autocommit=True) as connection:
                published = store.latest(connection)
                if published is None:
                    return
                request = _request(connection, 0, published)
            try:
                answer = _post(witness.url, request, ASKING_SECONDS)
                known = _size_of(answer) if answer.status == 409 else 0
            except NotWitnessed as error:
                logger.warning("witness %s: %s", witness.name, error)
                continue
            if known > size:
                raise LogDamaged(
                    f"witness {witness.name} has cosigned {known} entries and the log holds {size}: it was cut or restored from a backup"
                )


@dataclass(frozen=True)
class _Answer:
    status: int
    text: str
    media_type: str


def _request(connection: Connection, old: int, published: Published) -> str:
    size = published.size
    proof = consistency_proof(old, size, node_reader(size, lambda level, number, width: store.hashes(connection, level, number, width)))
    return "".join([f"old {old}\n", *(f"{to_base64(item)}\n" for item in proof), "\n", published.note])


def _post(url: str, body: str, timeout: float) -> _Answer:
    """POST add-checkpoint; a witness that is not there, slow or says too much has not answered."""
    data = bytearray()
    try:
        with httpx2.stream(
            "POST", f"{url.rstrip('/')}/add-checkpoint", content=body.encode(), timeout=timeout, follow_redirects=False,
            headers={"Content-Type": "text/plain; charset=utf-8"},
        ) as response:  # fmt: skip
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    raise NotWitnessed("its answer is too long")
            return _Answer(response.status_code, data.decode("utf-8", "replace"), response.headers.get("content-type", ""))
    except httpx2.HTTPError as error:
        raise NotWitnessed(type(error).__name__) from error


def _size_of(answer: _Answer) -> int:
    match = _SIZE.fullmatch(answer.text)
    if match is None or answer.media_type.partition(";")[0] != "text/x.tlog.size":
        raise NotWitnessed("HTTP 409 without the size that it has cosigned")
    return int(match[1])


def _line_of(answer: str, note: str, witness: Witness) -> str:
    """This witness's own line of the answer, once its signature holds; lines of keys that are not known are passed over."""
    for line in answer.splitlines():
        try:
            at = cosigned_at(f"{note}{line}\n", witness.key)
        except NoteInvalid:
            continue
        if at <= clock.epoch(clock.now()) + CLOCK_SKEW:
            return f"{line}\n"
    raise NotWitnessed("its answer holds no cosignature of its key")


def _shown(text: str) -> str:
    return "".join(character for character in text[:80] if character.isprintable())
