"""What the patient's consents say to one recipient for one purpose now: the facts for policy, and the gate for each resource."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg

from broker.consent import service as consent
from broker.consent.residual import Residual, ResourceGate, Use, facts_for, gate_for
from broker.crypto import Keys
from broker.fhir.plan import ReleasePlan
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


async def consented(
    cursor: Cursor, keys: Keys, vault: records.Vault, residuals: Sequence[Residual], *, lineage: Iterable[str], purpose: str, at: int
) -> Consented:
    """Judge the consents in force. ``lineage``: the recipient's organisation id and those it is part of, by any of which a consent
    may name it; ``at``: the second of the use.
    """
    use = Use(actors=frozenset(f"Organization/{one}" for one in lineage), purpose=purpose, at=at)
    if teams := consent.teams_named(residuals):
        residuals, use = consent.settled(residuals, use, await _teams(cursor, keys, vault, teams))
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


async def _teams(cursor: Cursor, keys: Keys, vault: records.Vault, wanted: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The Groups and CareTeams that consents name, and those within them, as they are stored at this moment; absent: can't be told."""
    found: dict[str, dict[str, Any]] = {}
    waiting = sorted(wanted)
    while waiting and len(found) < consent.MAX_TEAMS:
        reference = waiting.pop(0)
        kind, _, name = reference.partition("/")
        row = None if reference in found else await records.read_one(cursor, keys, kind, name)
        if row is None:
            continue
        opened = vault if row.patient_key == vault.patient_key else await records.vault(cursor, keys, row.patient_key)
        if opened is not None:
            found[reference] = orjson.loads(records.open_row(opened, row).body)
            waiting += sorted(consent.teams_within(found[reference]))
    return found
