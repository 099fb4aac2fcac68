"""What the patient's consents say to one recipient for one purpose now: the facts for policy, and the gate for each resource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import psycopg

from broker.consent import service as consent
from broker.consent.residual import ResourceGate, Use, facts_for, gate_for
from broker.crypto import Keys
from broker.policy.facts import ConsentFacts
from broker.records import service as records

Cursor = psycopg.AsyncCursor[Any]

#: Starting points that are looked up for one release; a consent that names more is answered as if the others couldn't be found.
ANCHORS = 20

_ACTORS = """
WITH RECURSIVE above AS (
    SELECT id, parent_id FROM organization WHERE id = %s
    UNION SELECT o.id, o.parent_id FROM organization o JOIN above ON o.id = above.parent_id)
SELECT id FROM above
"""


async def _actors(cursor: Cursor, organization_id: str) -> frozenset[str]:
    """The references by which a consent may name the recipient: its organisation and every one it is part of."""
    await cursor.execute(_ACTORS, (organization_id,))
    return frozenset(f"Organization/{row[0]}" for row in await cursor.fetchall())


@dataclass(frozen=True)
class Consented:
    """``facts`` go to policy; ``gate`` says what of the record the patient lets go."""

    facts: ConsentFacts
    gate: ResourceGate


async def consented(cursor: Cursor, keys: Keys, vault: records.Vault, *, recipient: str, purpose: str, at: int) -> Consented:
    """Judge the consents in force behind the gate. ``recipient`` is an organisation id, ``at`` the second of the use."""
    use = Use(actors=await _actors(cursor, recipient), purpose=purpose, at=at)
    residuals = await consent.residuals(cursor, vault)
    gate = gate_for(residuals, use)
    if gate.anchors_needed:
        gate = gate_for(residuals, use, (await _anchored(cursor, keys, vault, gate)).get)
    return Consented(facts_for(residuals, use, vault.epoch), gate)


async def _anchored(cursor: Cursor, keys: Keys, vault: records.Vault, gate: ResourceGate) -> dict[str, frozenset[str]]:
    """What the resources refer to that consents name as a starting point (``data.meaning`` related); absent: can't be told."""
    found: dict[str, frozenset[str]] = {}
    for reference in sorted(gate.anchors_needed)[:ANCHORS]:
        kind, _, name = reference.partition("/")
        row = await records.read_one(cursor, keys, kind, name)
        if row is not None and row.patient_key == vault.patient_key:
            found[reference] = consent.facts_of(orjson.loads(records.open_row(vault, row).body), ()).references
    return found
