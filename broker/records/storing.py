"""Prepared resources into the database: sealed, in bulk, and so that storing them again changes nothing.

A body that is the newest one already, or that was the newest once, changes nothing; a new body gets the next version. The caller's
transaction commits; two that meet at one resource collide on its key, and the loser starts again (``ingest``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from sqlmodel import Session, col, select

from broker import clock
from broker.crypto import Keys
from broker.errors import Problem
from broker.records.models import SHARED, StoredResource
from broker.records.patients import bump_epoch, vaults_for
from broker.records.preparing import REASONS, Prepared, Refusal
from broker.records.tokens import id_token, identifier_token, label_tokens, person_token
from broker.records.vault import Content, StoredLabel, Vault

#: Bodies of a resource that are recognised as old ones.
REMEMBERED = 64

_COPY = """
COPY resource (patient_key, type, id_token, version, last_updated, clinical_from, clinical_until, labels, links, content_hash, superseded, body)
FROM STDIN (FORMAT BINARY)
"""
_COPY_TYPES = ("uuid", "text", "uuid", "int4", "timestamptz", "timestamptz", "timestamptz", "int8[]", "uuid[]", "bytea", "bytea[]", "bytea")

_UPDATE = """
UPDATE resource SET version = %(version)s, last_updated = %(last_updated)s, clinical_from = %(clinical_from)s, clinical_until = %(clinical_until)s,
  labels = %(labels)s, links = %(links)s, content_hash = %(content_hash)s, superseded = %(superseded)s, body = %(body)s
WHERE patient_key = %(patient_key)s AND type = %(type)s AND id_token = %(id_token)s AND version = %(version)s - 1
"""

_FORGET = "DELETE FROM identifier WHERE patient_key = %s AND id_token = %s"
_IDENTIFY = "INSERT INTO identifier (patient_key, token, id_token) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


class Collision(Exception):
    """Somebody else stored the same resource meanwhile; start again."""


@dataclass
class Stored:
    """What became of a batch."""

    accepted: int = 0
    unchanged: int = 0
    refused: list[Refusal] = field(default_factory=list)


class _Known(NamedTuple):
    patient_key: UUID
    version: int
    content_hash: bytes
    superseded: list[bytes]
    labels: list[int]


class _Row(NamedTuple):
    """A row as COPY writes it."""

    patient_key: UUID
    type: str
    id_token: UUID
    version: int
    last_updated: datetime
    clinical_from: datetime | None
    clinical_until: datetime | None
    labels: list[int]
    links: list[UUID]
    content_hash: bytes
    superseded: list[bytes]
    body: bytes


def store(session: Session, keys: Keys, batch: Sequence[Prepared]) -> Stored:
    """Store a batch. Of one resource that comes twice with different bodies, the later one is the newer version.

    Raises Collision when another transaction stored one of them first.
    """
    stored = Stored()
    queue = list(batch)
    while queue:
        first: dict[UUID, Prepared] = {}
        later: list[Prepared] = []
        for prepared in queue:
            token = id_token(keys, prepared.type, prepared.id)
            if token in first:
                later.append(prepared)
            else:
                first[token] = prepared
        _store_each_once(session, keys, first, stored)
        queue = later
    return stored


def _store_each_once(session: Session, keys: Keys, batch: dict[UUID, Prepared], stored: Stored) -> None:
    patients = {prepared.patient for prepared in batch.values() if prepared.patient is not None}
    vaults = vaults_for(session, keys, patients, shared=any(prepared.patient is None for prepared in batch.values()))
    known = _known(session, batch)
    now = clock.now()
    new: list[_Row] = []
    changed: list[_Row] = []
    identified: list[tuple[_Row, Prepared]] = []
    relabelled: set[UUID] = set()
    for token, prepared in batch.items():
        patient_key = SHARED if prepared.patient is None else keys.patient_key(prepared.patient)
        there = known.get(token)
        if there is not None and there.patient_key != patient_key:
            stored.refused.append(Refusal(prepared.where, (Problem(prepared.type, "other-patient", REASONS["other-patient"][0]),)))
            continue
        row = _row(keys, vaults[patient_key], token, prepared, there, now)
        if row is None:
            stored.unchanged += 1
            continue
        (new if there is None else changed).append(row)
        if there is not None and row.labels != sorted(there.labels):
            relabelled.add(patient_key)
        if prepared.identifiers or prepared.names or (there is not None and (prepared.type == "Patient" or patient_key == SHARED)):
            identified.append((row, prepared))
    connection: psycopg.Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
    with connection.cursor() as cursor:
        _write(cursor, new, changed)
        _identify(cursor, keys, identified)
    # What was prepared or paged under the old labels must not leave any more, as after a change of the consents.
    for patient_key in sorted(relabelled - {SHARED}):
        bump_epoch(session, patient_key)
    stored.accepted += len(new) + len(changed)


def _known(session: Session, tokens: Iterable[UUID]) -> dict[UUID, _Known]:
    columns = (
        StoredResource.id_token,
        StoredResource.patient_key,
        StoredResource.version,
        StoredResource.content_hash,
        StoredResource.superseded,
        StoredResource.labels,
    )
    rows = session.execute(select(*columns).where(col(StoredResource.id_token).in_(list(tokens))))  # type: ignore[call-overload]
    return {row[0]: _Known(*row[1:]) for row in rows}


def _row(keys: Keys, vault: Vault, token: UUID, prepared: Prepared, there: _Known | None, now: datetime) -> _Row | None:
    """The sealed row, or None if nothing is new about it."""
    content_hash = vault.content_hash(prepared.body)
    labels = label_tokens(keys, vault.patient_key, (label.code for label in prepared.labels))
    superseded: list[bytes] = []
    if there is not None:
        if content_hash in there.superseded or (content_hash == there.content_hash and labels == sorted(there.labels)):
            return None
        superseded = there.superseded if content_hash == there.content_hash else [*there.superseded, there.content_hash][-REMEMBERED:]
    version = 1 if there is None else there.version + 1
    content = Content(prepared.id, tuple(StoredLabel(*label) for label in prepared.labels), prepared.body)
    return _Row(
        vault.patient_key,
        prepared.type,
        token,
        version,
        now,
        prepared.clinical_from,
        prepared.clinical_until,
        labels,
        sorted({id_token(keys, *link) for link in prepared.links}),
        content_hash,
        superseded,
        vault.seal_resource(prepared.type, token, version, content),
    )


def _write(cursor: psycopg.Cursor[Any], new: list[_Row], changed: list[_Row]) -> None:
    try:
        if new:
            with cursor.copy(_COPY) as copy:
                copy.set_types(_COPY_TYPES)
                for row in sorted(new, key=lambda row: (row.patient_key, row.type, row.id_token)):
                    copy.write_row(row)
        if changed:
            cursor.executemany(_UPDATE, [row._asdict() for row in changed])
            if cursor.rowcount != len(changed):
                raise Collision
    except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected) as error:
        raise Collision from error


def _identify(cursor: psycopg.Cursor[Any], keys: Keys, identified: list[tuple[_Row, Prepared]]) -> None:
    """Keep the blinded identifiers of patients and shared resources as their newest version has them."""
    outdated = [(row.patient_key, row.id_token) for row, _ in identified if row.version > 1]
    if outdated:
        cursor.executemany(_FORGET, outdated)
    tokens = []
    for row, prepared in identified:
        written = {identifier_token(keys, prepared.type, system, value) for system, value in prepared.identifiers}
        if prepared.birth_date is not None:
            written |= {person_token(keys, name, prepared.birth_date) for name in prepared.names}
        tokens += [(row.patient_key, token, row.id_token) for token in sorted(written)]
    if tokens:
        cursor.executemany(_IDENTIFY, tokens)
