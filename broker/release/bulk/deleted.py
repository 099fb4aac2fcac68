"""What the same client got earlier under the same grant and what may not leave any more: ``deleted`` of the manifest (Bulk Data Access 3.0.0, 2.2.2).

Told is what is gone from the records, or what labels or consents keep back by now; one Bundle of DELETE entries for each patient and type. Only ids
that are in a manifest of a release to this very client under this very grant are ever named, so that nobody learns of what they were not given. Not
told is what a look-back window has left behind, which is still there; nor what this export doesn't ask for; nor resources of no patient, which others
may still refer to. Whoever withdraws altogether is told of by a call-back, and nothing about them passes the gate.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import psycopg

from broker.crypto import Keys
from broker.records import service as records
from broker.release import collect, outcome
from broker.release.answers import Item
from broker.release.bulk.asked import Asked
from broker.wire import Statement, run

log = logging.getLogger("broker.release.bulk")

Connection = psycopg.AsyncConnection[Any]
Named = tuple[str, str]  #: type and id, as the recipient knows them

_MANIFESTS = Statement(
    "SELECT id, manifest FROM release WHERE patient_key = %(patient)s AND grant_id = %(grant)s AND client_id = %(client)s AND items > 0"
)


async def given(connection: Connection, vault: records.Vault, grant_id: UUID, client_id: str) -> set[Named]:
    """What a client got of a patient under a grant, by the sealed manifests. Raises KeyUnusable if one is not what was sealed."""
    (rows,) = await run(connection, (_MANIFESTS, {"patient": vault.patient_key, "grant": grant_id, "client": client_id}))
    return {
        (item.type, item.id)
        for release, manifest in rows
        for item in outcome.opened_manifest(vault.data_key, vault.patient_key, release, bytes(manifest))
        if item.type not in records.SHARED_TYPES
    }


async def segments(
    connection: Connection, keys: Keys, order: collect.Order, export: dict[str, Any], asked: Asked, page: collect.Page
) -> list[tuple[str, str, list[bytes], list[Item]]]:
    """As segments of the export: for each type of the plan that was asked for, one line. Nothing without ``_since``."""
    types = {name for name in order.plan.types if not asked.types or name in asked.types} - records.SHARED_TYPES
    if asked.since is None or not types:
        return []
    leaving = {(kind, name) for kind, name, _ in page.resources}
    before = {one for one in await given(connection, order.vault, export["grant_id"], export["client_id"]) if one[0] in types} - leaving
    if not before:
        return []
    # What might leave if this export asked for everything, and as if it had happened yesterday.
    plan = replace(order.plan, types={name: kept.timeless() for name, kept in order.plan.types.items()})
    wanted = replace(order.wanted, types=tuple(sorted(types)), within=(), filters=(), elements=())
    still = await collect.safely(connection.cursor(binary=True), keys, replace(order, plan=plan, wanted=wanted))
    if isinstance(still, collect.Unsafe):  # What is there can't be told, so that nothing is called gone.
        log.error("what is deleted of one patient can't be told: %s", still.reason)
        return []
    gone = before - {(kind, name) for kind, name, _ in still.resources}
    return [("deleted", kind, [line(one for one in gone if one[0] == kind)], []) for kind in sorted({kind for kind, _ in gone})]


def line(gone: Iterable[Named]) -> bytes:
    """One Bundle of DELETE entries; the same input gives the same bytes."""
    entries = [{"request": {"method": "DELETE", "url": f"{kind}/{name}"}} for kind, name in sorted(gone)]
    return orjson.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries})


def holds(lines: Sequence[bytes], before: set[Named], kind: str) -> bool:
    """Whether these lines say nothing but that resources of a type are gone which were given before: asked again where they leave."""
    for one in lines:
        entries = orjson.loads(one)["entry"]
        named = [tuple(entry["request"]["url"].split("/")) for entry in entries]
        if not before.issuperset(named) or any(name[0] != kind for name in named) or line(named) != one:
            return False
    return bool(lines)
