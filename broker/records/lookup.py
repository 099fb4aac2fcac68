"""Finding the patient who is meant, and shared resources by their business identifier."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from broker.crypto import Keys
from broker.records.labelling import Label
from broker.records.matching import Candidate, Match, grade, is_current, name_key, names_of
from broker.records.models import SHARED, BlindedIdentifier, Patient, StoredResource
from broker.records.nobody import NOBODY, nobody
from broker.records.patients import open_vault
from broker.records.release_reads import Opened, Row, birth_date, open_rows
from broker.records.tokens import id_token, identifier_token, person_token
from broker.records.vault import Content, Vault, unwrap

#: More patients than this under one identifier or name are not opened: the match is ambiguous anyway.
MAX_CANDIDATES = 5


def _stored(session: Session, keys: Keys, token: bytes) -> list[tuple[UUID, StoredResource, Content]]:
    """The resources that carry a blinded identifier, opened; at most one more than MAX_CANDIDATES. One statement, whatever is found."""
    statement = (
        select(StoredResource, Patient)
        .join(
            BlindedIdentifier,
            (col(BlindedIdentifier.patient_key) == StoredResource.patient_key) & (col(BlindedIdentifier.id_token) == StoredResource.id_token),
        )
        .join(Patient, col(Patient.patient_key) == StoredResource.patient_key)
        .where(BlindedIdentifier.token == token)
        .limit(MAX_CANDIDATES + 1)
    )
    found = []
    for row, whose in session.exec(statement):
        vault = unwrap(keys, whose.patient_key, whose.wrapped_key, whose.fhir_id_sealed, whose.epoch)
        found.append((row.patient_key, row, vault.open_resource(row.type, row.id_token, row.version, row.body)))
    return found


#: About as much as a patient's own resource says.
_NOBODY = b'{"resourceType":"Patient","id":"0","name":[{"family":"0","given":["0"]}],"birthDate":"1900-01-01","identifier":[{"value":"0"}]}'


@lru_cache(maxsize=4)
def _sealed_nobody(keys: Keys) -> bytes:
    return nobody(keys).seal_resource("Patient", NOBODY, 1, Content("0", (), _NOBODY))


def _nobody_opened(keys: Keys) -> None:
    """Do with nobody what is done with somebody who is found, so that the time of an answer does not tell which (B15)."""
    sealed = _sealed_nobody(keys)
    names_of(msgspec.json.decode(nobody(keys).open_resource("Patient", NOBODY, 1, sealed).body))


def match(session: Session, keys: Keys, identifier: Mapping[str, Any] | None, name: str | None = None, birth_date: date | None = None) -> Match:
    """The patient who is meant by an identifier (``system`` and ``value``), a name and a birth date, and how sure that is.

    Without an identifier, name and birth date together find candidates, which are never more than possible.
    """
    tokens: list[bytes] = []
    by_identifier = bool(identifier and identifier.get("system") and identifier.get("value"))
    if identifier and by_identifier:
        tokens.append(identifier_token(keys, "Patient", identifier["system"], identifier["value"]))
    elif name and birth_date is not None:
        tokens.append(person_token(keys, name_key(name), birth_date.isoformat()))
    candidates: list[Candidate] = []
    for token in tokens:
        for patient_key, row, content in _stored(session, keys, token):
            if row.type == "Patient" and patient_key != SHARED:
                patient = msgspec.json.decode(content.body)
                candidates.append(Candidate(patient_key, content.id, names_of(patient), patient.get("birthDate"), is_current(patient), by_identifier))
    if not candidates:
        _nobody_opened(keys)
    return grade(candidates, name=name, birth_date=birth_date)


def ids_by_identifier(session: Session, keys: Keys, resource_type: str, system: str, value: str) -> list[str]:
    """FHIR ids of the stored resources of a type that carry an identifier; several where it is not unique."""
    found = _stored(session, keys, identifier_token(keys, resource_type, system, value))
    return sorted({content.id for _, row, content in found if row.type == resource_type})


def labels_of(session: Session, keys: Keys, resource_type: str, resource_id: str) -> tuple[Label, ...] | None:
    """The labels of a shared resource, or None if it isn't stored."""
    token = id_token(keys, resource_type, resource_id)
    row = session.exec(
        select(StoredResource).where(StoredResource.patient_key == SHARED, StoredResource.type == resource_type, StoredResource.id_token == token)
    ).first()
    if row is None:
        return None
    content = open_vault(session, keys, SHARED).open_resource(row.type, row.id_token, row.version, row.body)
    return tuple(Label(*label) for label in content.labels)


def resource_of(session: Session, keys: Keys, resource_type: str, resource_id: str) -> bytes | None:
    """A stored resource by type and id, whosever it is, as it was given; None if there is none, or if two can't be told apart."""
    token = id_token(keys, resource_type, resource_id)
    rows = session.exec(select(StoredResource).where(StoredResource.id_token == token, StoredResource.type == resource_type).limit(2)).all()
    if len(rows) != 1:
        return None
    row = rows[0]
    return open_vault(session, keys, row.patient_key).open_resource(row.type, row.id_token, row.version, row.body).body


def born(session: Session, keys: Keys, vault: Vault) -> str | None:
    """The birth date of a vault's patient as it stands in their Patient resource; None where it is not said."""
    body = resource_of(session, keys, "Patient", vault.fhir_id)
    return None if body is None else birth_date(body)


def called(session: Session, keys: Keys, patient_key: UUID, system: str) -> tuple[str, str] | None:
    """A patient's name and number of this system as their Patient resource says them, each "" where it doesn't; None for nobody whom we know.

    Raises RecordUnreadable, PatientDestroyed.
    """
    if session.get(Patient, patient_key) is None:
        return None
    body = resource_of(session, keys, "Patient", open_vault(session, keys, patient_key).fhir_id)
    patient: dict[str, Any] = {} if body is None else msgspec.json.decode(body)
    first: dict[str, Any] = next(iter(patient.get("name") or ()), {})
    name = first.get("text") or "".join((first.get("family") or "", *(first.get("given") or ())))
    return name, next((one.get("value") or "" for one in patient.get("identifier") or () if one.get("system") == system), "")


def all_of(session: Session, vault: Vault, most: int) -> tuple[list[Opened], bool]:
    """Everything stored of one patient, opened, ordered by type and blinded id; whether that is all, or ``most`` was reached."""
    wanted = (StoredResource.patient_key, StoredResource.type, StoredResource.id_token, StoredResource.version, StoredResource.last_updated)
    statement = (
        select(*wanted, StoredResource.body)  # type: ignore[call-overload]
        .where(StoredResource.patient_key == vault.patient_key)
        .order_by(StoredResource.type, StoredResource.id_token)
        .limit(most + 1)
    )
    rows = [Row(*row) for row in session.exec(statement)]
    return open_rows(vault, rows[:most]), len(rows) <= most
