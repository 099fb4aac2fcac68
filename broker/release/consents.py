"""What the patient's consents say to one recipient for one purpose now: the facts for policy, and the gate for each resource."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import psycopg

from broker.applications import service as applications
from broker.consent import service as consent
from broker.consent.residual import Residual, ResourceGate, Use, facts_for, gate_for
from broker.crypto import Keys
from broker.fhir.plan import ReleasePlan
from broker.identity import service as identity
from broker.policy.facts import ConsentFacts
from broker.records import service as records

Cursor = psycopg.AsyncCursor[Any]

#: Starting points that are looked up for one release; a consent that names more is answered as if the others couldn't be found.
ANCHORS = 20


@dataclass(frozen=True)
class Consented:
    """``facts`` go to policy; ``gate`` says what of the record the patient lets go."""

    facts: ConsentFacts
    gate: ResourceGate


async def under_grant(
    cursor: Cursor, keys: Keys, vault: records.Vault, residuals: Sequence[Residual], grant: applications.GrantRow, at: int
) -> Consented:
    """Judge the consents in force for a release under a grant."""
    asker = consent.Asker(grant.recipient.id, UUID(grant.requester.id), frozenset(grant.workforce.held))
    return await consented(cursor, keys, vault, residuals, lineage=grant.recipient_lineage, purpose=grant.purpose, at=at, asker=asker)


async def consented(
    cursor: Cursor,
    keys: Keys,
    vault: records.Vault,
    residuals: Sequence[Residual],
    *,
    lineage: Iterable[str],
    purpose: str,
    at: int,
    asker: consent.Asker,
) -> Consented:
    """Judge the consents in force. ``lineage``: the recipient's organisation id and those it is part of, by any of which a consent
    may name it; ``at``: the second of the use; ``asker``: the recipient, and the person who applied.
    """
    use = Use(actors=frozenset(f"Organization/{one}" for one in lineage), purpose=purpose, at=at)
    named = consent.named(residuals)
    if named or not consent.places_denied(residuals) <= use.actors:
        residuals, use = consent.settled(residuals, use, await _known(cursor, keys, vault, named, use, asker))
    gate = gate_for(residuals, use)
    if gate.anchors_needed:
        gate = gate_for(residuals, use, (await _anchored(cursor, keys, vault, gate)).get)
    return Consented(facts_for(residuals, use, vault.epoch), gate)


def bound(plan: ReleasePlan, gate: ResourceGate) -> tuple[ResourceGate, bool]:
    """The gate as policy says that it holds (``ReleasePlan.consents``), and whether silence withholds.

    Where the law that makes the basis overrides a refusal, no consent is asked; a resource without a label still stays behind.
    """
    if plan.consents == "overridden":
        return ResourceGate(()), False
    return gate, plan.consents != "unless-refused"


async def _anchored(cursor: Cursor, keys: Keys, vault: records.Vault, gate: ResourceGate) -> dict[str, frozenset[str]]:
    """What the resources refer to that consents name as a starting point (``data.meaning`` related); absent: can't be told."""
    found: dict[str, frozenset[str]] = {}
    for reference in sorted(gate.anchors_needed)[:ANCHORS]:
        kind, _, name = reference.partition("/")
        row = await records.read_one(cursor, keys, kind, name)
        if row is not None and row.patient_key == vault.patient_key:
            found[reference] = consent.facts_of(orjson.loads(records.open_row(vault, row).body), ()).references
    return found


async def _known(cursor: Cursor, keys: Keys, vault: records.Vault, wanted: frozenset[str], use: Use, asker: consent.Asker) -> consent.Known:
    """What is known at this moment of those whom consents name: as in ``consent.in_force.known``, on the release's own connection."""
    resources = await _stored(cursor, keys, vault, wanted)
    accounts, names = consent.everybody(wanted, resources)
    ids = accounts | ({asker.requester} if asker.requester else set())
    await cursor.execute(identity.STANDING_SQL, {"ids": list(ids), "names": list(names)})
    people = identity.people_from_rows(await cursor.fetchall())
    await cursor.execute(identity.WITHIN_SQL, {"recipient": asker.recipient})
    within = [row[0] for row in await cursor.fetchall()]
    return consent.known_of(people, resources, within, use, asker)


async def _stored(cursor: Cursor, keys: Keys, vault: records.Vault, wanted: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The teams, roles and people that consents name, and those within them, as they are stored at this moment; absent: can't be told."""
    reading = consent.looked_up(wanted)
    try:
        reference = next(reading)
        while True:
            kind, _, name = reference.partition("/")
            row = await records.read_one(cursor, keys, kind, name)
            opened = vault if row is None or row.patient_key == vault.patient_key else await records.vault(cursor, keys, row.patient_key)
            body = None if row is None or opened is None else orjson.loads(records.open_row(opened, row).body)
            reference = reading.send(body)
    except StopIteration as done:
        found: dict[str, Mapping[str, Any]] = done.value
        return found
