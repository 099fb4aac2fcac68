"""Who consulted a patient's consent, and what came of it: AuditEvents that others send (HL7 FAST ``$recordDisclosure``).

FAST has it called whenever a consent was consulted, whether or not anything was shared then, so that a patient can ask who looked. What
this broker itself decides stands in the log with the consents that it rested on; here is what other systems report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent.errors import NoSuchConsent, NotADisclosure
from broker.consent.models import Consent, Disclosure
from broker.consent.references import canonical, canonical_uuid
from broker.consent.sealing import opened, sealed
from broker.consent.whose import known_patient
from broker.crypto import Keys
from broker.errors import Problem
from broker.fhir.validate import problems
from broker.records import service as records

#: R4 AuditEvent.outcome: success, and three degrees of failure. Whatever is no success is recorded as a refusal.
_SUCCESS = "0"


@dataclass(frozen=True)
class Recorded:
    """A disclosure that is on record."""

    id: UUID
    consent: UUID
    patient: UUID  #: blinded
    at: datetime
    body: bytes


def consents_named(event: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the consents that an AuditEvent's entities name, so far as they are here."""
    entities = event.get("entity")
    named = [one.get("what") for one in (entities if isinstance(entities, list) else ()) if isinstance(one, dict)]
    references = [canonical(one.get("reference")) for one in named if isinstance(one, dict)]
    return frozenset(one.rsplit("/", 1)[-1] for one in references if one is not None and one.split("/")[-2] == "Consent")


def record_disclosure(session: Session, keys: Keys, event: Mapping[str, Any], *, raw: bytes, consent_id: UUID, actor: str) -> Recorded:
    """Keep an AuditEvent that says that a consent was consulted. Raises NoSuchConsent, and NotADisclosure with what is wrong with the event."""
    found = list(problems(dict(event)))
    if str(consent_id) not in consents_named(event):
        found.append(Problem("AuditEvent.entity", "no-consent", "An entity must name the consent that was consulted (entity.what)."))
    if found:
        raise NotADisclosure(problems=tuple(found))
    patient_key = session.exec(select(Consent.patient_key).where(Consent.id == consent_id)).first()
    if patient_key is None:
        raise NoSuchConsent
    vault = records.open_vault(session, keys, patient_key)
    row = Disclosure(patient_key=patient_key, id=uuid4(), consent_id=consent_id, at=clock.now(), actor=actor, body=b"")
    row.body = sealed(vault, row.id, 1, "disclosure", raw)
    session.add(row)
    session.flush()
    shared = event.get("outcome", _SUCCESS) == _SUCCESS
    facts: dict[str, str | int | bool | list[str]] = {"consent": str(consent_id), "disclosure": str(row.id), "shared": shared}
    outcome = "permit" if shared else "deny"
    audit.record(session, Event("consent.consulted", actor, patient=patient_key, subject=vault.subject, outcome=outcome, facts=facts))
    return _recorded(vault, row)


def disclosures(session: Session, keys: Keys, *, consents: Sequence[str] = (), patients: Sequence[str] = ()) -> list[Recorded]:
    """The disclosures on record of these consents (ids) or these patients (``Patient/id`` or ids), or of both; the newest first.

    At least one must be named, or nothing is found.
    """
    statement = select(Disclosure).order_by(col(Disclosure.at).desc(), col(Disclosure.id))
    if consents:
        ids = [found for one in consents if (found := canonical_uuid(one.rsplit("/", 1)[-1])) is not None]
        owners = session.exec(select(Consent.patient_key).where(col(Consent.id).in_(ids))).all()
        statement = statement.where(col(Disclosure.patient_key).in_(owners), col(Disclosure.consent_id).in_(ids))
    if patients:
        known = [known_patient(session, keys, {"reference": f"Patient/{one.removeprefix('Patient/')}"}) for one in patients]
        statement = statement.where(col(Disclosure.patient_key).in_([one for one in known if one is not None]))
    if not consents and not patients:
        return []
    rows = session.exec(statement).all()
    vaults = {key: records.open_vault(session, keys, key) for key in {row.patient_key for row in rows}}
    return [_recorded(vaults[row.patient_key], row) for row in rows]


def disclosure(session: Session, keys: Keys, disclosure_id: UUID) -> Recorded:
    """One disclosure. Raises NoSuchConsent where there is none."""
    row = session.exec(select(Disclosure).where(Disclosure.id == disclosure_id)).first()
    if row is None:
        raise NoSuchConsent
    return _recorded(records.open_vault(session, keys, row.patient_key), row)


def _recorded(vault: records.Vault, row: Disclosure) -> Recorded:
    """The AuditEvent with the id that it has here; everything else as it was given."""
    given = orjson.loads(opened(vault, row.id, 1, "disclosure", row.body))
    return Recorded(row.id, row.consent_id, row.patient_key, row.at, orjson.dumps({"resourceType": "AuditEvent", **given, "id": str(row.id)}))
