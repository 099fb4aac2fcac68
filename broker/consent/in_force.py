"""What is in force for a patient: the compiled rules, read by a session or, for a release, on its raw connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
from sqlmodel import Session

from broker import clock
from broker.consent.compiled import Residual
from broker.consent.parties import Asker, Known, Resource, everybody, looked_up, named, places_denied, roles_of, settled
from broker.consent.pcf import FORBID_ALL, residual_of
from broker.consent.residual import Use, facts_for
from broker.consent.sealing import opened
from broker.crypto import Keys, KeyUnusable
from broker.identity import service as identity
from broker.identity.errors import UnknownOrganization
from broker.policy.facts import ConsentFacts
from broker.records import service as records
from broker.workforce import service as workforce

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


def consent_facts(
    session: Session, keys: Keys, patient_key: UUID, recipient: str, purpose: str, at: datetime, *, requester: UUID | None = None
) -> ConsentFacts:
    """What the patient's consents say to an organisation for a purpose at a moment, for policy. ``requester``: the account that applied.

    The organisation is meant by its own name and by those of the organisations it is part of. Raises records' UnknownPatient and
    identity's UnknownOrganization.
    """
    vault = records.open_vault(session, keys, patient_key)
    asker = asker_of(session, recipient, requester, at)
    residuals, use = settle(session, keys, in_force(session, vault), use_of(session, recipient, purpose, at), asker)
    return facts_for(residuals, use, vault.epoch)


def use_of(session: Session, recipient: str, purpose: str, at: datetime) -> Use:
    """An organisation's use for a purpose: it is meant by its own name and by those of the organisations it is part of.

    Raises identity's UnknownOrganization.
    """
    return Use(frozenset(f"Organization/{one.id}" for one in identity.lineage(session, recipient)), purpose, clock.epoch(at))


def asker_of(session: Session, recipient: str, requester: UUID | None, at: datetime) -> Asker:
    """For whom a use is, with the licences that the person who applied holds at the moment."""
    held = frozenset(workforce.facts(session, requester, (), at).held) if requester is not None else frozenset[str]()
    return Asker(recipient, requester, held)


def settle(session: Session, keys: Keys, residuals: Sequence[Residual], use: Use, asker: Asker) -> tuple[tuple[Residual, ...], Use]:
    """The residuals and the use with everybody answered for whom the consents name, as records and registry have them now."""
    wanted = named(residuals)
    if not wanted and places_denied(residuals) <= use.actors:
        return tuple(residuals), use
    return settled(residuals, use, known(session, keys, wanted, use, asker))


def known(session: Session, keys: Keys, wanted: frozenset[str], use: Use, asker: Asker) -> Known:
    """What is known of those whom consents name."""
    resources = stored(session, keys, wanted)
    accounts, names = everybody(wanted, resources)
    people = identity.known_people(session, accounts | ({asker.requester} if asker.requester else set()), names)
    around = frozenset(row[0] for row in session.connection().exec_driver_sql(identity.WITHIN_SQL, {"recipient": asker.recipient}))
    return known_of(people, resources, around, use, asker)


def known_of(people: identity.People, resources: Mapping[str, Resource], within: Iterable[str], use: Use, asker: Asker) -> Known:
    """The same, of what was read: ``within`` are the recipient and the organisations that are part of it."""
    lineage = frozenset(one.removeprefix("Organization/") for one in use.actors if one.startswith("Organization/"))
    accounts = {account: (one.natural_person, one.organizations) for account, one in people.by_account.items()}
    names = {name: (name, one.organizations) for name, one in people.by_name.items()}
    requester = None if asker.requester is None else accounts.get(str(asker.requester))
    return Known(use.at, resources, accounts, names, requester, roles_of(asker.held), lineage, lineage | frozenset(within))


def stored(session: Session, keys: Keys, wanted: Iterable[str]) -> dict[str, Resource]:
    """The teams, roles and people that consents name, and those within them, as they are stored; absent: not stored, or too many."""
    reading = looked_up(wanted)
    body: Resource | None = None
    try:
        reference = next(reading)
        while True:
            kind, _, name = reference.partition("/")
            raw = records.resource_of(session, keys, kind, name)
            body = None if raw is None else orjson.loads(raw)
            reference = reading.send(body)
    except StopIteration as done:
        found: dict[str, Resource] = done.value
        return found


def residual_for(session: Session, keys: Keys, patient: str, recipient: str, purpose: str, *, requester: UUID | None = None) -> list[dict[str, Any]]:
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
    asker = asker_of(session, recipient, requester, clock.now())
    return residual_of(*settle(session, keys, in_force(session, records.open_vault(session, keys, patient_key)), use, asker))
