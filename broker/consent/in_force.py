"""What is in force for a patient: the compiled rules, read by a session or, for a release, on its raw connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
from sqlmodel import Session

from broker import clock
from broker.consent.compiled import Residual
from broker.consent.pcf import FORBID_ALL, residual_of
from broker.consent.residual import Use, facts_for
from broker.consent.sealing import opened
from broker.consent.teams import MAX_TEAMS, Team, settled, teams_named, teams_within
from broker.crypto import Keys, KeyUnusable
from broker.identity import service as identity
from broker.identity.errors import UnknownOrganization
from broker.policy.facts import ConsentFacts
from broker.records import service as records

#: Consents of one patient that are in force or may come into force; parameters: patient key, now. A range of the primary key.
RESIDUALS_SQL = """
SELECT id, version, residual FROM consent
WHERE patient_key = %s AND status = 'active' AND (speaks_until IS NULL OR speaks_until >= %s) ORDER BY id
"""


def residuals_from_rows(rows: Iterable[Sequence[Any]], vault: records.Vault) -> tuple[Residual, ...]:
    """The rows of :data:`RESIDUALS_SQL`, opened. One that doesn't open counts as a consent that isn't understood: it denies."""
    return tuple(_residual(vault, *row) for row in rows)


def _residual(vault: records.Vault, consent: UUID, version: int, stored: bytes) -> Residual:
    try:
        return Residual.from_json(str(consent), version, orjson.loads(opened(vault, consent, version, "residual", bytes(stored))))
    except (KeyUnusable, ValueError):  # Nor one written by a version that knew more.
        return Residual.unreadable(str(consent), version)


async def residuals(cursor: psycopg.AsyncCursor[Any], vault: records.Vault) -> tuple[Residual, ...]:
    """What is in force for the vault's patient, in one query on the caller's connection."""
    await cursor.execute(RESIDUALS_SQL, (vault.patient_key, clock.now()), prepare=True, binary=True)
    return residuals_from_rows(await cursor.fetchall(), vault)


def in_force(session: Session, vault: records.Vault) -> tuple[Residual, ...]:
    """The same for a session."""
    rows = session.connection().exec_driver_sql(RESIDUALS_SQL, (vault.patient_key, clock.now()))
    return residuals_from_rows(list(rows), vault)


def consent_facts(session: Session, keys: Keys, patient_key: UUID, recipient: str, purpose: str, at: datetime) -> ConsentFacts:
    """What the patient's consents say to an organisation for a purpose at a moment, for policy.

    The organisation is meant by its own name and by those of the organisations it is part of. Raises records' UnknownPatient and
    identity's UnknownOrganization.
    """
    vault = records.open_vault(session, keys, patient_key)
    residuals, use = settle(session, keys, in_force(session, vault), use_of(session, recipient, purpose, at))
    return facts_for(residuals, use, vault.epoch)


def use_of(session: Session, recipient: str, purpose: str, at: datetime) -> Use:
    """An organisation's use for a purpose: it is meant by its own name and by those of the organisations it is part of.

    Raises identity's UnknownOrganization.
    """
    return Use(frozenset(f"Organization/{one.id}" for one in identity.lineage(session, recipient)), purpose, clock.epoch(at))


def settle(session: Session, keys: Keys, residuals: Sequence[Residual], use: Use) -> tuple[tuple[Residual, ...], Use]:
    """The residuals and the use with the teams answered for that the consents name, as they stand in the records now."""
    return settled(residuals, use, stored_teams(session, keys, teams_named(residuals)))


def stored_teams(session: Session, keys: Keys, wanted: Iterable[str]) -> dict[str, Team]:
    """These Groups and CareTeams as they are stored, with the teams within them; absent: not stored, or too many."""
    found: dict[str, Team] = {}
    waiting = sorted(wanted)
    while waiting and len(found) < MAX_TEAMS:
        reference = waiting.pop(0)
        kind, _, name = reference.partition("/")
        body = None if reference in found else records.resource_of(session, keys, kind, name)
        if body is not None:
            found[reference] = orjson.loads(body)
            waiting += sorted(teams_within(found[reference]))
    return found


def residual_for(session: Session, keys: Keys, patient: str, recipient: str, purpose: str) -> list[dict[str, Any]]:
    """What a patient's consents leave to be enforced for an organisation and a purpose now, as IHE PCF writes it.

    Forbids all for a patient or an organisation that isn't known.
    """
    patient_key = records.find_patient(session, keys, patient)
    if patient_key is None:
        return [FORBID_ALL]
    try:
        use = use_of(session, recipient, purpose, clock.now())
    except UnknownOrganization:
        return [FORBID_ALL]
    return residual_of(*settle(session, keys, in_force(session, records.open_vault(session, keys, patient_key)), use))
