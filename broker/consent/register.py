"""Reading the registry: one consent, its history, a search."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from broker.consent.errors import NoSuchConsent
from broker.consent.filing import identifier_token
from broker.consent.models import Consent, ConsentVersion
from broker.consent.query import Query, identifiers, meets
from broker.consent.references import canonical_uuid
from broker.consent.sealing import opened
from broker.crypto import Keys
from broker.records import service as records

_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Typed(msgspec.Struct):
    resourceType: str  # noqa: N815  (FHIR's name)


@dataclass(frozen=True)
class Shown:
    """One version of a consent as FHIR JSON: what was given, with id, version and status as they stand in the registry."""

    id: UUID
    version: int
    updated_at: datetime
    status: str
    change: str  #: filed, revoked, replaced
    body: bytes
    actor: str = ""  #: who changed it
    evidence: tuple[str, str] | None = None  #: of the document that proves the change: its type, and base64url of its SHA-256

    @property
    def etag(self) -> str:
        """Weak ETag of the version."""
        return f'W/"{self.version}"'


@dataclass(frozen=True)
class Found:
    """One page of a search."""

    consents: tuple[Shown, ...]
    total: int


def id_of(text: str) -> UUID:
    """The id of a consent, or of an asking, as it stands in an address. Raises NoSuchConsent."""
    found = canonical_uuid(text)
    if found is None:
        raise NoSuchConsent
    return found


def read(session: Session, keys: Keys, consent_id: UUID, version: int | None = None) -> Shown:
    """A consent, or one version of it. Raises NoSuchConsent."""
    found = [one for one in history(session, keys, consent_id) if version is None or one.version == version]
    if not found:
        raise NoSuchConsent
    return found[0]


def history(session: Session, keys: Keys, consent_id: UUID) -> list[Shown]:
    """Every version of a consent, the newest first. Raises NoSuchConsent."""
    patient_key = session.exec(select(Consent.patient_key).where(Consent.id == consent_id)).first()
    if patient_key is None:
        raise NoSuchConsent
    mine = (ConsentVersion.patient_key == patient_key, ConsentVersion.consent_id == consent_id)
    rows = session.exec(select(ConsentVersion).where(*mine).order_by(col(ConsentVersion.version).desc())).all()
    vault = records.open_vault(session, keys, patient_key)
    return [_shown(vault, row) for row in rows]


def search(session: Session, keys: Keys, query: Query) -> Found:
    """The consents that meet a query, the newest first. A patient who isn't known has none."""
    rows = list(session.exec(_statement(session, keys, query)).all())
    vaults = {key: records.open_vault(session, keys, key) for key in {row.patient_key for row in rows}}
    shown = [one for row in rows if (one := _shown(vaults[row.patient_key], row)) and meets(msgspec.json.decode(one.body), query)]
    return Found(tuple(shown[query.offset : query.offset + query.count]), len(shown))


def _statement(session: Session, keys: Keys, query: Query) -> Any:
    statement = (
        select(ConsentVersion)
        .join(
            Consent,
            (col(Consent.patient_key) == ConsentVersion.patient_key)
            & (col(Consent.id) == ConsentVersion.consent_id)
            & (col(Consent.version) == ConsentVersion.version),
        )
        .order_by(col(Consent.updated_at).desc(), col(Consent.id))
    )
    if "patient" in query.values:
        statement = statement.where(col(Consent.patient_key).in_([keys.patient_key(one.removeprefix("Patient/")) for one in query.values["patient"]]))
    if "patient.identifier" in query.values:
        found = [records.match(session, keys, _identifier(one)) for one in query.values["patient.identifier"]]
        statement = statement.where(col(Consent.patient_key).in_([one.patient_key for one in found if one.grade in ("certain", "probable")]))
    if "_id" in query.values:
        statement = statement.where(col(Consent.id).in_([one for text in query.values["_id"] if (one := canonical_uuid(text))]))
    if "identifier" in query.values:
        tokens = [identifier_token(keys, one) for one in identifiers(query.values["identifier"])]
        statement = statement.where(col(Consent.identifiers).overlap(tokens))  # type: ignore[attr-defined]
    if "status" in query.values:
        statement = statement.where(col(Consent.status).in_(list(query.values["status"])))
    return statement


def _identifier(token: str) -> dict[str, str]:
    system, _, value = token.rpartition("|")
    return {"system": system, "value": value}


def _shown(vault: records.Vault, row: ConsentVersion) -> Shown:
    """The body with what the registry knows better: id, version, time and status. Everything else stays as it was given."""
    elements = _raw.decode(opened(vault, row.consent_id, row.version, "body", row.body))
    meta = msgspec.json.decode(elements["meta"]) if "meta" in elements else {}
    at = row.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    known = {"resourceType": "Consent", "id": str(row.consent_id), "meta": {**meta, "versionId": str(row.version), "lastUpdated": at}}
    written = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in known.items()}
    rest = {name: value for name, value in elements.items() if name not in (*written, "status")}
    body = msgspec.json.encode({**written, "status": msgspec.Raw(msgspec.json.encode(row.status)), **rest})
    return Shown(row.consent_id, row.version, row.at, row.status, row.change, body, row.actor, _evidence(vault, row))


def _evidence(vault: records.Vault, row: ConsentVersion) -> tuple[str, str] | None:
    if row.evidence is None:
        return None
    document = opened(vault, row.consent_id, row.version, "evidence", row.evidence)
    digest = base64.urlsafe_b64encode(sha256(document).digest()).rstrip(b"=").decode()
    try:
        kind = msgspec.json.decode(document, type=_Typed).resourceType
    except msgspec.DecodeError:  # A document of another form, which a caller inside the house may give.
        kind = "DocumentReference"
    return kind, digest
