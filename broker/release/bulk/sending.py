"""One file of an export to its client, patient by patient, each through the gate as it stands at that moment.

What was prepared leaves only if the release path would still let it: caller, grant, policy and consents are asked again, what they
answer must be what the bytes rest on, and the independent checker looks at every line under the plan of now. Each patient's
lines are a release of their own: intent before the first byte, outcome and manifest after the last. A withdrawal waits for one
patient's lines at most; whoever is refused in the middle ends the answer broken off, so that nobody takes it for whole.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import PoolTimeout
from starlette.types import Receive, Send

from broker import clock
from broker.audit import service as audit
from broker.crypto import KeyUnusable, digest
from broker.errors import BrokerError
from broker.fhir.checker import checker
from broker.identity import access
from broker.identity.access import NotAuthenticatedReason
from broker.records import service as records
from broker.release import collect, outcome, service
from broker.release.answers import Form, Kind, Ready, Refusal
from broker.release.bulk import deleted, orders, writing
from broker.release.bulk.asked import Asked
from broker.release.bulk.storage import ObjectGone, storage_of
from broker.release.delivery import CHUNK, TURNS
from broker.release.service import Ask, Parts, Permitted, Refused

log = logging.getLogger("broker.release.bulk")

Connection = psycopg.AsyncConnection[Any]


class Outflow:
    """An answer of many pieces to one recipient, none of which may take longer than ``seconds``."""

    def __init__(self, send: Send, receive: Receive, seconds: float) -> None:
        self._send = send
        self._receive = receive
        self._seconds = seconds
        self._gone: asyncio.Future[None] | None = None
        self.begun = False
        self._squeeze: Any = None

    def squeeze(self) -> None:
        """Pack what follows as one gzip member: many HTTP libraries read the first of several and drop the rest without a word."""
        self._squeeze = zlib.compressobj(writing.LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)

    @property
    def squeezes(self) -> bool:
        """Whether what is put is packed here."""
        return self._squeeze is not None

    async def begin(self, headers: dict[str, str]) -> None:
        """Send status and headers, once."""
        self.begun = True
        self._gone = asyncio.ensure_future(self._disconnected())
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def put(self, body: bytes) -> bool:
        """Send bytes; whether the operating system has taken every one (``delivery.deliver`` says why the turns)."""
        assert self._gone is not None  # noqa: S101  (begun)
        if self._squeeze is not None:  # So far that the recipient has all of it before the next gate opens.
            body = self._squeeze.compress(body) + self._squeeze.flush(zlib.Z_SYNC_FLUSH)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds) as limit:
                for offset in range(0, len(body), CHUNK):
                    if self._gone.done():
                        return False
                    await self._send({"type": "http.response.body", "body": body[offset : offset + CHUNK], "more_body": True})
                    limit.reschedule(loop.time() + self._seconds)
                await self._send({"type": "http.response.body", "body": b"", "more_body": True})
                for _ in range(TURNS):
                    await asyncio.sleep(0)
        except (TimeoutError, OSError):
            return False
        return not self._gone.done()

    async def end(self) -> None:
        """Say that this was all."""
        rest = b"" if self._squeeze is None else self._squeeze.flush()
        await self._send({"type": "http.response.body", "body": rest, "more_body": False})

    async def close(self) -> None:
        """Stop listening for the recipient's going away."""
        if self._gone is not None:
            self._gone.cancel()
            with suppress(asyncio.CancelledError):
                await self._gone

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


_FILE = """
SELECT f.*, e.client_id, e.grant_id, e.claims, e.asked FROM export_file f JOIN export e ON e.id = f.export_id
WHERE f.id = %s AND f.export_id = %s AND e.status = 'done' AND e.expires_at > %s
"""
_SEGMENTS = """
SELECT s.*, p.basis, p.epoch, p.object, p.epoch <> o.epoch AS outdated
FROM export_part p JOIN export_segment s USING (patient_key, export_id) JOIN patient o USING (patient_key)
WHERE p.export_id = %s AND p.chunk = %s AND p.status = 'written' AND s.kind = %s AND s.type = %s ORDER BY p.position
"""


async def send_file(parts: Parts, shown: orders.Shown, export: UUID, name: UUID, outflow: Outflow, *, gzip: bool) -> Refusal | None:
    """Send one file; None when it has begun, else why not. A file that ends early was broken off, and its export says so when asked."""
    claims = access.claims_of(parts.keys, parts.settings, shown.authorization, shown.proven)
    if isinstance(claims, NotAuthenticatedReason):
        return Refusal(Kind.UNAUTHENTICATED, (claims.code,))
    try:
        async with parts.slots, parts.database.release_connection() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_FILE, (name, export, clock.now()))
            file = await cursor.fetchone()
            caller = await access.caller_for(connection.cursor(), claims, parts.settings)
            if isinstance(caller, NotAuthenticatedReason):
                return Refusal(Kind.UNAUTHENTICATED, (caller.code,))
            reach = caller.types("s") & caller.types("r")
            mine = file is not None and (file["client_id"], file["grant_id"]) == (caller.client_id, caller.grant_id)
            if file is None or not mine or not ("*" in reach or file["type"] in reach):
                return Refusal(Kind.NOT_FOUND, ("export.unknown",))
            # Asked as when it was prepared, so that the answers can be compared; the standing is that of the token at hand.
            claims = {**claims, "scope": file["claims"]["scope"]}
            await cursor.execute(_SEGMENTS, (export, file["chunk"], file["kind"], file["type"]))
            segments = await cursor.fetchall()
            if any(segment["outdated"] for segment in segments):  # Said before the first byte, where it can be.
                await asyncio.to_thread(_recut, parts, export)
                return Refusal(Kind.NOT_FOUND, ("export.outdated",))
            return await _sent(parts, connection, claims, file, segments, outflow, gzip=gzip)
    except (psycopg.OperationalError, PoolTimeout, OSError) as error:
        log.error("file of an export %s: %s", "broken off" if outflow.begun else "not sent", type(error).__name__)  # noqa: TRY400
        return None if outflow.begun else Refusal(Kind.UNAVAILABLE, ("database.unavailable",))
    finally:
        await outflow.close()


async def _sent(
    parts: Parts,
    connection: Connection,
    claims: dict[str, Any],
    file: dict[str, Any],
    segments: list[dict[str, Any]],
    outflow: Outflow,
    *,
    gzip: bool,
) -> Refusal | None:
    if gzip and len(segments) > 1:
        outflow.squeeze()
    for segment in segments:
        try:
            refusal = await _one(parts, connection, claims, file, segment, outflow, gzip=gzip)
        except BaseException:
            if not connection.closed:
                await connection.rollback()
            raise
        if refusal is not None:
            if refusal.kind is Kind.REFUSED:  # No longer what the file was made of; it is made anew without.
                await asyncio.to_thread(_recut, parts, file["export_id"], segment["patient_key"])
            return None if outflow.begun else Refusal(Kind.NOT_FOUND, refusal.reasons)
    if not outflow.begun:
        await outflow.begin(_headers(file, outflow, gzip=gzip))
    await outflow.end()
    return None


def _recut(parts: Parts, export: UUID, patient_key: UUID | None = None) -> None:
    with parts.database.transaction() as session:
        orders.recut(session, export, patient_key)


def _headers(file: dict[str, Any], outflow: Outflow, *, gzip: bool) -> dict[str, str]:
    # How long it is is known beforehand, but for what is packed on the way; that ends with the last chunk (RFC 9112 7.1).
    length = {} if outflow.squeezes else {"Content-Length": str(file["packed_bytes" if gzip else "plain_bytes"])}
    return {
        "Content-Type": "application/fhir+ndjson",
        **length,
        "Vary": "Accept-Encoding, Authorization",
        "Release-Digest": f"sha-256={file['digest']}",
        **({"Content-Encoding": "gzip"} if gzip else {}),
    }


async def _one(
    parts: Parts, connection: Connection, claims: dict[str, Any], file: dict[str, Any], segment: dict[str, Any], outflow: Outflow, *, gzip: bool
) -> Refusal | None:
    """One patient's lines, from gate to outcome. A refusal is recorded already."""
    patient_key = segment["patient_key"]
    seen = await service.behind_the_gate(parts, connection, claims, patient_key)
    caller = seen.caller
    if isinstance(caller, NotAuthenticatedReason):
        await connection.rollback()
        return Refusal(Kind.UNAUTHENTICATED, (caller.code,))
    if seen.grant is not None:  # What this patient's preparation has spent of the grant's limit counts once.
        unspent = replace(seen.grant.grant, releases_used=max(0, seen.grant.grant.releases_used - 1))
        seen = replace(seen, grant=replace(seen.grant, grant=unspent))
    wanted = writing.wanted_of(Asked.from_json(file["asked"]), seen.vault)
    try:
        answer = await service.judged(parts, Ask(None, wanted, Form.SEARCHSET), connection.cursor(binary=True), seen, caller)
    except BrokerError as error:
        refusal = Refusal(Kind.UNAVAILABLE, (error.code,))
        answer = Refused(refusal, outcome.about(caller, patient=None, subject=None, recipient=None))
    if seen.vault is not None:
        await service.keep_decision(parts, seen.vault, answer.decision if isinstance(answer, Permitted) else answer.refusal.decision)
    if isinstance(answer, Permitted):
        return await _carried_out(parts, connection, answer, file, segment, outflow, gzip=gzip)
    await service.record_and_open(connection, outcome.refused(answer.common, answer.refusal))
    return answer.refusal


async def _carried_out(
    parts: Parts, connection: Connection, permitted: Permitted, file: dict[str, Any], segment: dict[str, Any], outflow: Outflow, *, gzip: bool
) -> Refusal | None:
    ready, member = await _opened(parts, connection, permitted, file, segment)
    if isinstance(ready, Refusal):
        await service.record_and_open(connection, outcome.refused(permitted.common, ready))
        return ready
    intent = await service.record_intent(parts, permitted, ready.release, spend=False)  # It was counted when it was prepared.
    assert intent is not None  # noqa: S101  (nothing is spent)
    if not outflow.begun:
        await outflow.begin(_headers(file, outflow, gzip=gzip))
    complete = await outflow.put(member if gzip and not outflow.squeezes else ready.body)
    await service.record_outcome(connection, permitted, ready, intent, complete=complete)
    return None if complete else Refusal(Kind.UNAVAILABLE, ("recipient.gone",))


async def _opened(
    parts: Parts, connection: Connection, permitted: Permitted, file: dict[str, Any], segment: dict[str, Any]
) -> tuple[Ready | Refusal, bytes]:
    """The stored lines, if they are what would be prepared now, as plain text and as gzip."""
    vault = permitted.vault
    on_disk = await connection.execute(
        "SELECT FROM export_part WHERE patient_key = %s AND export_id = %s AND status = 'written' AND basis = %s",
        (segment["patient_key"], segment["export_id"], segment["basis"]),
    )
    if await on_disk.fetchone() is None or segment["epoch"] != vault.epoch or segment["basis"] != writing.basis(permitted):
        return Refusal(Kind.REFUSED, ("export.outdated",), decision=permitted.decision), b""
    try:
        member = await writing.opened(storage_of(parts.settings), vault, segment)
        items = outcome.opened_manifest(vault.data_key, vault.patient_key, segment["export_id"], bytes(segment["manifest"]))
    except (KeyUnusable, ObjectGone) as error:
        log.error("a file of an export does not open: %s", type(error).__name__)  # noqa: TRY400
        return Refusal(Kind.UNAVAILABLE, ("export.unreadable",), decision=permitted.decision), b""
    body = writing.unpacked(member)
    lines = body.split(b"\n")[:-1]
    if file["kind"] == "deleted":
        before = await deleted.given(connection, vault, permitted.bound.grant, permitted.bound.client)
        if not deleted.holds(lines, before, file["type"]):
            return Refusal(Kind.UNAVAILABLE, ("export.unreadable",), decision=permitted.decision), b""
        return Ready(audit.uuid7(clock.now()), body, (), 0, digest(body)), member
    shown = vault.fhir_id
    if permitted.plan.pseudonymous:
        shown = collect.pseudonym(parts.keys.blinding, permitted.recipient, "Patient", vault.fhir_id)
    whose = records.SHARED_TYPES.isdisjoint({file["type"]})
    problems = checker(permitted.plan).problems(lines, patient=shown)
    if problems or len(lines) != len(items) or [digest(line) for line in lines] != [item.digest for item in items]:
        # A look-back window that has moved on since is no incident; it is asked again with the plan of now.
        log.warning("a prepared file no longer passes the check (%s)", "patient" if whose else "shared")
        return Refusal(Kind.REFUSED, ("export.outdated",), decision=permitted.decision), b""
    return Ready(audit.uuid7(clock.now()), body, tuple(items), 0, digest(body)), member
