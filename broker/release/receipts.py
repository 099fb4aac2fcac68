"""What a recipient may ask for afterwards: the manifest of a release, and the proof that it is in the log."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from uuid import UUID

from fhir.resources.R4B.provenance import Provenance
from psycopg.rows import dict_row

from broker.audit import service as audit
from broker.crypto import KeyUnusable
from broker.errors import BrokerError, Unavailable
from broker.identity import access
from broker.identity.access import NotAuthenticatedReason
from broker.records import service as records
from broker.release import outcome, packaging
from broker.release.errors import NotReleased, TokenNotUsable
from broker.release.service import Parts


async def manifest(parts: Parts, authorization: str | None, proven: str | None, release_id: str) -> dict[str, Any]:
    """What was in a release, for the client it was sent to: type, id, version and SHA-256 of each resource.

    ``log`` holds the hash of each entry about it with its inclusion proof, once it is sealed; ``statement`` is the hospital's signed word
    that these entries are about these bytes. With that, the log's key and the hospital's keys, ``broker receive`` needs nobody else.
    """
    found, vault = await _release_of(parts, authorization, proven, release_id)
    try:
        items = outcome.opened_manifest(vault.data_key, vault.patient_key, found["id"], found["manifest"])
    except KeyUnusable as error:
        raise Unavailable from error
    entries = await asyncio.to_thread(_in_the_log, parts, found["id"])
    said = {
        "iss": parts.settings.base_url,
        "release": str(found["id"]),
        "application": found["application"],
        "digest": f"sha-256={found['digest']}",
        "entries": [entry["leaf_hash"] for entry in entries],
    }
    return {
        "id": str(found["id"]),
        "application": found["application"],
        "sent_at": found["sent_at"].isoformat(),
        "outcome": found["outcome"],
        "digest": f"sha-256={found['digest']}",
        "policy_revision": found["policy_revision"],
        "signature": found["signature"],
        "log": entries,
        "statement": packaging.statement(parts.keys, said),
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


def _in_the_log(parts: Parts, release_id: UUID) -> list[dict[str, Any]]:
    """The hashes of the entries about a release in the order they were made, each with its receipt once it is sealed."""
    found = []
    with parts.database.transaction() as session:
        for event, leaf in audit.entries_of_release(session, release_id):
            try:
                receipt_text: str | None = audit.proof(session, event)
            except BrokerError:
                receipt_text = None
            found.append({"leaf_hash": leaf.hex(), "receipt": receipt_text})
    return found


async def provenance(parts: Parts, authorization: str | None, proven: str | None, release_id: str) -> bytes:
    """FHIR Provenance of a release that was sent as one signed Bundle, for the client it was sent to (R4 provenance.html, RS-5.3.3)."""
    found, _ = await _release_of(parts, authorization, proven, release_id)
    if found["signature"] is None:
        raise NotReleased
    hospital = {"identifier": {"system": f"{parts.settings.base_url}/organizations", "value": parts.settings.hospital}}
    at = found["sent_at"].isoformat(timespec="milliseconds")
    document = {
        "resourceType": "Provenance",
        "id": str(found["id"]),
        "target": [{"reference": f"Bundle/{found['id']}"}],
        "recorded": at,
        "policy": [f"{parts.settings.base_url}/api/v1/applications/{found['application']}"],
        "activity": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "code": "disclose"}]},
        "agent": [
            {
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author"}]},
                "who": hospital,
            }
        ],
        "signature": [
            {
                "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.14", "display": "Source Signature"}],
                "when": at,
                "who": hospital,
                "targetFormat": "application/fhir+json",
                "sigFormat": "application/jose",
                "data": base64.b64encode(found["signature"].encode()).decode(),
            }
        ],
    }
    return Provenance.model_validate(document).model_dump_json(exclude_none=True).encode()
