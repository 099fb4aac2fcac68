"""Preparing an export: jobs that any number of workers do, one chunk of patients each, one patient at a time.

Each patient passes the same steps as in a single release: gate, facts, decision, reading, reduction, check. Instead of being
sent, the bytes are sealed under the patient's key and stored in the transaction that holds the gate and records what was done. So
a worker that is killed leaves whole patients or none, and whoever takes the job up goes on with the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from broker import clock, jobs
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import seal, unseal
from broker.database import Database
from broker.errors import BrokerError
from broker.identity.access import NotAuthenticatedReason
from broker.records import service as records
from broker.release import collect, outcome, service
from broker.release.answers import Form, Item, Kind, Refusal
from broker.release.bulk import cleaning, deleted
from broker.release.bulk.asked import Asked, stamp
from broker.release.bulk.storage import Storage, storage_of
from broker.release.query import Wanted
from broker.release.service import Ask, Parts, Permitted, Refused
from broker.wire import COMMIT, Statement, run

log = logging.getLogger("broker.release.bulk")

Connection = psycopg.AsyncConnection[Any]

#: Patients that one job prepares. Few enough to take seconds, so that work spreads and a lost worker costs little.
CHUNK = 50
#: Patients of a chunk that are under way at once: while one waits for the database, another is reduced.
LANES = 4
#: How often one patient is tried while policy or database give no answer.
ATTEMPTS = 6
#: gzip level: higher ones cost more time than they save bytes.
LEVEL = 1

PLAN, WRITE, CLEAN = "release.export_plan", "release.export_write", "release.export_clean"


class NotYet(Exception):
    """Some patients could not be judged now; the job comes back for them."""


def packed(lines: Iterable[bytes]) -> tuple[bytes, bytes]:
    """Resources as NDJSON, and that as one gzip member (RFC 1952): members joined are one file. The same input gives the same bytes."""
    plain = b"".join(line + b"\n" for line in lines)
    squeeze = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = squeeze.compress(plain) + squeeze.flush()
    return plain, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff" + body + struct.pack("<II", zlib.crc32(plain), len(plain) & 0xFFFFFFFF)


def unpacked(member: bytes) -> bytes:
    """The NDJSON of one gzip member."""
    return zlib.decompress(member, wbits=zlib.MAX_WBITS | 16)


def associated(patient_key: UUID, export: UUID, kind: str, resource_type: str) -> bytes:
    """What a segment is bound to, so that it opens in its own place alone."""
    return b"export|" + patient_key.bytes + export.bytes + f"{kind}/{resource_type}".encode()


def basis(permitted: Permitted) -> str:
    """What the bytes of one patient rest on, but for the clock: plan without its periods, consents. Equal: the same would be prepared now."""
    plan = permitted.plan
    timeless = replace(plan, types={name: kept.timeless() for name, kept in plan.types.items()})
    return hashlib.sha256(f"{timeless.fingerprint}|{permitted.gate.fingerprint}|{permitted.consent_required}".encode()).hexdigest()


def wanted_of(asked: Asked, vault: records.Vault | None) -> Wanted:
    """The call that an export makes for one patient."""
    patient = None if vault is None else vault.fhir_id
    return Wanted(patient=patient, types=asked.types, elements=asked.elements, within=asked.within, everything=True, path="$export")


@dataclass(frozen=True)
class _Work:
    """One chunk under way."""

    parts: Parts
    storage: Storage
    connection: Connection
    export: dict[str, Any]
    asked: Asked

    @property
    def id(self) -> UUID:
        """Of the export."""
        found: UUID = self.export["id"]
        return found


_PATIENTS = """
INSERT INTO export_part (patient_key, export_id, chunk, position, status, attempts)
SELECT p.patient_key, %(export)s, (p.number - 1) / %(chunk)s, p.number, 'waiting', 0
FROM (SELECT m.patient_key, row_number() OVER (ORDER BY m.patient_key) AS number FROM grant_patient m
      WHERE m.grant_id = %(grant)s AND (%(patients)s::uuid[] IS NULL OR m.patient_key = ANY(%(patients)s))) p
"""


def plan(tools: jobs.Tools, payload: dict[str, Any]) -> None:
    """Cut an export into chunks of patients and defer a job for each. Does nothing to an export that has been cut."""
    with tools.database.transaction() as session:
        connection = session.connection().connection.driver_connection
        assert connection is not None  # noqa: S101  (just made)
        found = connection.execute(
            "SELECT grant_id, patients FROM export WHERE id = %s AND status = 'accepted' FOR UPDATE", (payload["export"],)
        ).fetchone()
        if found is None:
            return
        connection.execute(_PATIENTS, {"export": payload["export"], "grant": found[0], "patients": found[1], "chunk": CHUNK})
        chunks = connection.execute(
            "INSERT INTO export_chunk (export_id, number, status, cut, patients)"
            " SELECT export_id, chunk, 'waiting', 0, count(*) FROM export_part WHERE export_id = %s GROUP BY 1, 2 RETURNING number",
            (payload["export"],),
        ).fetchall()
        connection.execute("UPDATE export SET status = 'running' WHERE id = %s", (payload["export"],))
        if not chunks:
            connection.execute(_DONE, {"export": payload["export"], "now": clock.now()})
        for (number,) in sorted(chunks):
            jobs.defer(session, WRITE, {"export": payload["export"], "chunk": number}, queue="bulk")


def write(tools: jobs.Tools, payload: dict[str, Any]) -> None:
    """Prepare the patients of one chunk that are still waiting, then make its files."""
    asyncio.run(_write(tools, UUID(payload["export"]), payload["chunk"]))


async def _write(tools: jobs.Tools, export: UUID, chunk: int) -> None:
    intents = Database(tools.database.url, "broker_web", pool=LANES)  # Of this loop, which lives as long as the chunk.
    try:
        await _chunk(tools, Parts(tools.settings, tools.keys, tools.database, intents, tools.engine), export, chunk)
    finally:
        await intents.close()


async def _chunk(tools: jobs.Tools, parts: Parts, export: UUID, chunk: int) -> None:
    async with await psycopg.AsyncConnection.connect(tools.database.conninfo, autocommit=True, prepare_threshold=None) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute("SELECT * FROM export WHERE id = %s AND status IN ('running', 'done')", (export,))
        row = await cursor.fetchone()
        if row is None:
            return
        work = _Work(parts, storage_of(tools.settings), connection, row, Asked.from_json(row["asked"]))
        await cursor.execute("SELECT status, cut FROM export_chunk WHERE export_id = %s AND number = %s", (export, chunk))
        standing = await cursor.fetchone()
        if standing is None or standing["status"] == "done":
            return
        await cursor.execute(
            "SELECT patient_key FROM export_part WHERE export_id = %s AND chunk = %s AND status = 'waiting' ORDER BY position", (export, chunk)
        )
        parts_waiting = iter([part["patient_key"] for part in await cursor.fetchall()])
        try:
            async with asyncio.TaskGroup() as group:
                lanes = [group.create_task(_lane(work, parts_waiting)) for _ in range(LANES)]
        except ExceptionGroup as several:  # Each has let go of its patient; the job fails for the first of the reasons.
            raise several.exceptions[0] from None
        if not all(lane.result() for lane in lanes):
            raise NotYet
        await _finished(work, chunk, standing["cut"])


async def _lane(work: _Work, patients: Iterator[UUID]) -> bool:
    """Prepare patients one after the other, on a connection of its own, until none is left; whether all are settled."""
    settled = True
    first = next(patients, None)
    if first is None:
        return settled
    conninfo = work.parts.database.conninfo
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None) as connection:
        own = replace(work, connection=connection)
        for patient_key in chain((first,), patients):
            settled &= await _prepared(own, patient_key)
    return settled


async def _prepared(work: _Work, patient_key: UUID) -> bool:
    """Prepare one patient; whether that is settled now. The gate opens whatever happens."""
    try:
        return await _gated(work, patient_key)
    except BaseException:
        if not work.connection.closed:
            await work.connection.rollback()
        raise


async def _gated(work: _Work, patient_key: UUID) -> bool:
    connection, parts = work.connection, work.parts
    seen = await service.behind_the_gate(parts, connection, work.export["claims"], patient_key)
    locked = await connection.execute(
        "SELECT FROM export_part p JOIN export e ON e.id = p.export_id WHERE p.patient_key = %s AND p.export_id = %s"
        " AND p.status = 'waiting' AND e.status IN ('running', 'done') FOR UPDATE OF p",
        (patient_key, work.id),
    )
    if await locked.fetchone() is None:  # Somebody else has done it, or nobody wants it any more.
        await connection.rollback()
        return True
    if isinstance(seen.caller, NotAuthenticatedReason):
        await _settled(work, patient_key, "nothing")
        return True
    wanted = wanted_of(work.asked, seen.vault)
    try:
        answer = await service.judged(parts, Ask(None, wanted, Form.SEARCHSET), connection.cursor(binary=True), seen, seen.caller)
    except BrokerError as error:
        refusal = Refusal(Kind.UNAVAILABLE, (error.code,))
        answer = Refused(refusal, outcome.about(seen.caller, patient=None, subject=None, recipient=None))
    if seen.vault is not None:
        await service.keep_decision(parts, seen.vault, answer.decision if isinstance(answer, Permitted) else answer.refusal.decision)
    if isinstance(answer, Refused):
        return await _refused(work, patient_key, answer)
    return await _stored(work, patient_key, answer)


async def _refused(work: _Work, patient_key: UUID, answer: Refused) -> bool:
    """Record a refusal. One that only says that nobody could judge leaves the patient waiting, a few times."""
    unavailable = answer.refusal.kind is Kind.UNAVAILABLE
    await _record(work, outcome.refused(answer.common, answer.refusal))
    if not unavailable:
        await _settled(work, patient_key, "nothing")
        return True
    return await _later(work, patient_key)


async def _later(work: _Work, patient_key: UUID) -> bool:
    tried = await work.connection.execute(
        "UPDATE export_part SET attempts = attempts + 1, status = CASE WHEN attempts + 1 >= %s THEN 'failed' ELSE status END"
        " WHERE patient_key = %s AND export_id = %s RETURNING status",
        (ATTEMPTS, patient_key, work.id),
    )
    found = await tried.fetchone()
    await work.connection.execute("COMMIT")
    return found is None or found[0] == "failed"


async def _record(work: _Work, event: Event) -> None:
    event = replace(event, facts={**event.facts, "export": str(work.id)})
    await run(work.connection, (_EVENT, audit.event_row(event)))


async def _settled(work: _Work, patient_key: UUID, status: str) -> None:
    await work.connection.execute("UPDATE export_part SET status = %s WHERE patient_key = %s AND export_id = %s", (status, patient_key, work.id))
    await work.connection.execute("COMMIT")


_SEGMENT = Statement("""
INSERT INTO export_segment
  (patient_key, export_id, kind, type, resources, plain_bytes, packed_bytes, manifest, body, object_from, sealed_bytes)
VALUES (%(patient)s, %(export)s, %(kind)s, %(type)s, %(resources)s, %(plain)s, %(packed)s, %(manifest)s, %(body)s, %(from)s, %(sealed)s)""")
_WRITTEN = Statement("""
UPDATE export_part SET status = 'written', epoch = %(epoch)s, basis = %(basis)s, object = %(object)s
WHERE patient_key = %(patient)s AND export_id = %(export)s""")
_EVENT = Statement(audit.INSERT_EVENT)


async def _stored(work: _Work, patient_key: UUID, permitted: Permitted) -> bool:
    """Fetch, reduce and check as for a release; then seal and store what may leave, while the gate is held."""
    connection, vault = work.connection, permitted.vault
    if permitted.counted:
        spent = await connection.execute(applications.SPEND_SQL, {"grant": work.export["grant_id"], "at": clock.now()})
        if await spent.fetchone() is None:
            refusal = Refusal(Kind.REFUSED, ("grant.used-up",), decision=permitted.decision)
            return await _refused(work, patient_key, Refused(refusal, permitted.common))
    order = collect.Order(permitted.plan, vault, permitted.gate, permitted.consent_required, permitted.recipient, permitted.wanted, None)
    page = await collect.safely(connection.cursor(binary=True), work.parts.keys, order)
    if isinstance(page, collect.Unsafe):
        await _record(work, outcome.failed(permitted.common, audit.uuid7(clock.now()), page.reason))
        log.error("export %s: nothing of one patient: %s", work.id, page.reason)
        await _settled(work, patient_key, "failed")
        return True
    segments = [("output", kind, *found) for kind, found in _by_type(page, work.asked.since, stamp(work.export["transaction_time"])).items()]
    segments += await deleted.segments(connection, work.parts.keys, order, work.export, work.asked, page)
    sealed = [seal(vault.data_key, packed(lines)[1], associated(patient_key, work.id, where, kind)) for where, kind, lines, _ in segments]
    name = await work.storage.put(work.id, sealed) if work.storage.outside and sealed else None
    start, rows = 0, []
    for (where, kind, lines, items), body in zip(segments, sealed, strict=True):
        plain = sum(map(len, lines)) + len(lines)
        rows.append({
            "patient": patient_key, "export": work.id, "kind": where, "type": kind, "resources": len(lines), "plain": plain,
            "packed": len(body) - _OVERHEAD, "body": None if name else body, "from": start if name else None, "sealed": len(body),
            "manifest": outcome.sealed_manifest(vault.data_key, patient_key, work.id, outcome.packed_manifest(items)),
        })  # fmt: skip
        start += len(body)
    event = replace(
        permitted.common, type="release.prepared", outcome="permit",
        facts={
            "sender": work.parts.settings.hospital, "items": sum(len(items) for _, _, _, items in segments),
            "held_back": page.held_back, "epoch": vault.epoch,
            "policy": permitted.decision.revision, "engine": permitted.decision.engine, "input": permitted.decision.input_hash,
            "plan": permitted.plan.fingerprint, "export": str(work.id),
        },
    )  # fmt: skip
    written = {"epoch": vault.epoch, "basis": basis(permitted), "object": name, "patient": patient_key, "export": work.id}
    await run(connection, *((_SEGMENT, row) for row in rows), (_EVENT, audit.event_row(event)), (_WRITTEN, written), (COMMIT, ()))
    return True


#: Nonce and tag of a sealed segment.
_OVERHEAD = 28
_STAMPED = b'"lastUpdated":"'
_STAMP_CHARACTERS = len("2026-01-01T00:00:00.000Z")


def _by_type(page: collect.Page, since: str | None, until: str) -> dict[str, tuple[list[bytes], list[Item]]]:
    """Resources by type that were changed before the moment of the export, and not before ``since``: ``meta`` comes first in what we write."""
    found: dict[str, tuple[list[bytes], list[Item]]] = {}
    for (kind, _, body), item in zip(page.resources, page.items, strict=True):
        start = body.index(_STAMPED) + len(_STAMPED)
        changed = body[start : start + _STAMP_CHARACTERS].decode()
        if changed < until and (since is None or changed >= since):
            lines, items = found.setdefault(kind, ([], []))
            lines.append(body)
            items.append(item)
    return dict(sorted(found.items()))


_SEGMENTS = """
SELECT s.*, p.object FROM export_part p JOIN export_segment s USING (patient_key, export_id)
WHERE p.export_id = %s AND p.chunk = %s AND p.status = 'written' ORDER BY p.position, s.kind, s.type
"""
_FILE = """
INSERT INTO export_file (id, export_id, chunk, kind, type, resources, plain_bytes, packed_bytes, digest)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_DONE = """
UPDATE export SET status = 'done', finished_at = coalesce(finished_at, %(now)s) WHERE id = %(export)s AND status = 'running'
AND NOT EXISTS (SELECT FROM export_chunk c WHERE c.export_id = export.id AND c.status <> 'done')
"""


async def opened(work_storage: Storage, vault: records.Vault, segment: dict[str, Any]) -> bytes:
    """The gzip member of a segment. Raises KeyUnusable or ObjectGone."""
    body = segment["body"]
    if body is None:
        body = await work_storage.get(segment["object"], segment["object_from"], segment["sealed_bytes"])
    return unseal(vault.data_key, bytes(body), associated(segment["patient_key"], segment["export_id"], segment["kind"], segment["type"]))


async def _finished(work: _Work, chunk: int, cut: int) -> None:
    """Make the files of a chunk: how much is in each and the digest of its bytes, read back from where they lie, one segment at a time."""
    sums: dict[tuple[str, str], list[Any]] = {}
    vault: records.Vault | None = None
    async with await psycopg.AsyncConnection.connect(work.parts.database.conninfo, autocommit=True) as reading:
        rows = reading.cursor(row_factory=dict_row)
        async for segment in rows.stream(_SEGMENTS, (work.id, chunk)):
            if vault is None or vault.patient_key != segment["patient_key"]:
                vault = await records.vault(work.connection.cursor(binary=True), work.parts.keys, segment["patient_key"])
            if vault is None:
                continue
            entry = sums.setdefault((segment["kind"], segment["type"]), [0, 0, 0, hashlib.sha256()])
            entry[3].update(unpacked(await opened(work.storage, vault, segment)))
            for place, name in enumerate(("resources", "plain_bytes", "packed_bytes")):
                entry[place] += segment[name]
    async with work.connection.transaction():
        locked = await work.connection.execute(
            "UPDATE export_chunk SET status = 'done' WHERE export_id = %s AND number = %s AND status = 'waiting' AND cut = %s RETURNING number",
            (work.id, chunk, cut),
        )
        if await locked.fetchone() is None:  # Done by another, or to be made anew: then there is a newer job for it.
            return
        for (kind, resource_type), (resources, plain, packed_, hashed) in sorted(sums.items()):
            values = (uuid4(), work.id, chunk, kind, resource_type, resources, plain, packed_, hashed.hexdigest())
            await work.connection.execute(_FILE, values)
    # In a transaction of its own: of two workers that end the last two chunks, the later one sees both.
    await work.connection.execute(_DONE, {"export": work.id, "now": clock.now()})


def background() -> list[jobs.Job]:
    """The jobs of bulk exports."""
    return [
        jobs.Job(PLAN, plan),
        jobs.Job(WRITE, write, queue="bulk"),
        jobs.Job(CLEAN, cleaning.clean, cron="*/10 * * * *"),
    ]
