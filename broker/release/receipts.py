"""What a recipient may ask for afterwards: the manifest of a release, and the proof that it is in the log."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from broker.audit import service as audit
from broker.crypto import KeyUnusable
from broker.errors import Unavailable
from broker.identity import access
from broker.identity.access import NotAuthenticatedReason
from broker.records import service as records
from broker.release import outcome
from broker.release.errors import NotReleased, TokenNotUsable
from broker.release.service import Parts


async def manifest(parts: Parts, authorization: str | None, proven: str | None, release_id: str) -> dict[str, Any]:
    """What was in a release, for the client it was sent to: type, id, version and SHA-256 of each resource."""
    found, vault = await _release_of(parts, authorization, proven, release_id)
    try:
        items = outcome.opened_manifest(vault.data_key, vault.patient_key, found["id"], found["manifest"])
    except KeyUnusable as error:
        raise Unavailable from error
    return {
        "id": str(found["id"]),
        "application": found["application"],
        "sent_at": found["sent_at"].isoformat(),
        "outcome": found["outcome"],
        "digest": f"sha-256={found['digest']}",
        "policy_revision": found["policy_revision"],
        "resources": [{"type": item.type, "id": item.id, "version": item.version, "sha256": item.digest} for item in items],
    }


async def receipt(parts: Parts, authorization: str | None, proven: str | None, release_id: str) -> str:
    """The inclusion proof (C2SP tlog-proof) of the intent of a release, for the client it was sent to."""
    found, _ = await _release_of(parts, authorization, proven, release_id)

    def proof() -> str:
        with parts.database.transaction() as session:
            return audit.proof(session, found["intent"])

    return await asyncio.to_thread(proof)


async def _release_of(parts: Parts, authorization: str | None, proven: str | None, release_id: str) -> tuple[dict[str, Any], records.Vault]:
    try:
        wanted = UUID(release_id)
    except ValueError:
        wanted = UUID(int=0)
    async with parts.database.release_connection() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        caller = await access.release_caller(cursor, parts.keys, parts.settings, authorization, proven)
        if isinstance(caller, NotAuthenticatedReason):
            raise TokenNotUsable(headers=caller.headers)
        await cursor.execute("SELECT * FROM release WHERE id = %s AND client_id = %s AND grant_id = %s", (wanted, caller.client_id, caller.grant_id))
        row = await cursor.fetchone()
        vault = None if row is None else await records.vault(connection.cursor(binary=True), parts.keys, row["patient_key"])
    if row is None or vault is None:
        raise NotReleased
    return row, vault
