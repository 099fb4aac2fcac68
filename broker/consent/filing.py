"""Filing a consent, and withdrawing it: each under the patient's gate, so that nothing is released by what no longer holds.

Both wait for releases of the patient that are under way, change the registry, move the patient's epoch on and record the event in
one transaction. After it has committed no release is decided on what was true before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent import days, givers
from broker.consent.compiled import Residual, compile_statement
from broker.consent.enforceability import Report, examine
from broker.consent.errors import KeyReused, NoSuchConsent, NotEnforceable, Superseded, UnknownPatient
from broker.consent.in_force import known
from broker.consent.lifecycle import Change, State, move
from broker.consent.models import Consent, ConsentVersion
from broker.consent.parties import ASKED, TEAMS, Asker, Meant, meant
from broker.consent.references import canonical, token, type_of
from broker.consent.related import Related
from broker.consent.sealing import opened, sealed
from broker.consent.subscriptions import note_change
from broker.consent.values import Statement, Use
from broker.consent.whose import known_patient
from broker.consent.withdrawals import tell_past_recipients
from broker.crypto import Keys
from broker.database import close_gate
from broker.errors import Problem
from broker.identity import service as identity
from broker.identity.errors import UnknownOrganization
from broker.records import service as records

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Filed:
    """A consent that is in force now."""

    id: UUID
    version: int
    report: Report
    replaced: tuple[UUID, ...] = ()  #: consents that it took the place of
    again: bool = False  #: the same request was answered before


@dataclass(frozen=True)
class Revoked:
    """A consent that is not in force any more."""

    id: UUID
    version: int
    again: bool = False  #: it was not in force before either


def file(
    session: Session, keys: Keys, consent: Mapping[str, Any], *, raw: bytes, actor: str, zone: tzinfo,
    evidence: bytes | None = None, request_key: str | None = None,
) -> Filed:  # fmt: skip
    """Put a consent in force. ``raw`` are its bytes as they were given, ``evidence`` those of the document that proves it.

    ``zone``: the hospital's, whose days are meant where a period names no zone (``days``).

    Raises NotEnforceable with the report if any element can't be enforced, UnknownPatient, and Superseded where a newer consent of
    the same identifier, or a withdrawal since the consent was given, is on file. A consent with the identifier of an older one, or
    that names it, takes its place. ``request_key`` (Idempotency-Key) makes a repeated request the same one.
    """
    report = examined(session, keys, consent, zone)
    statement = replace(report.statement, giver=givers.giver(consent, partial(_related, session, keys, report.patient)))
    if not report.enforceable:
        raise NotEnforceable(report)
    patient_key = _patient(session, keys, report.patient or {})
    close_gate(session, "patient", patient_key.hex)
    vault = records.open_vault(session, keys, patient_key)
    content_hash = vault.content_hash(raw)
    token = None if request_key is None else keys.blind("consent-request", actor, request_key)
    before = None if token is None else _same_request(session, token)
    if before is not None:
        if before.patient_key != patient_key or before.content_hash != content_hash:
            raise KeyReused
        return Filed(before.id, 1, report, again=True)
    older = _replaced(session, keys, patient_key, report.statement)
    now, name = clock.now(), uuid4()
    residual = orjson.dumps(compile_statement(statement, str(name), 1).to_json())
    issued = report.statement.issued
    row = Consent(
        patient_key=patient_key,
        id=name,
        version=1,
        status=_after(None, Change.FILED),
        dialect=report.detected.dialect.value,
        speaks_until=_moment(report.statement.span.end),
        issued_from=_moment(issued.start),
        issued_until=_moment(issued.end),
        identifiers=sorted(identifier_token(keys, one) for one in report.statement.identifiers),
        request_token=token,
        content_hash=content_hash,
        filed_at=now,
        updated_at=now,
        residual=sealed(vault, name, 1, "residual", residual),
    )
    for one in older:
        _end(session, keys, vault, one, Change.REPLACED, actor=actor, evidence=None, replaced_by=name)
    facts: dict[str, str | int | bool | list[str]] = {
        "consent": str(name), "version": 1, "dialect": report.detected.dialect.value,
        "replaces": sorted(str(one.id) for one in older), "evidence": evidence is not None,
    }  # fmt: skip
    event = Event("consent.filed", actor, patient=patient_key, subject=vault.subject, facts=facts)
    _store(session, keys, vault, row, Change.FILED, raw=raw, residual=residual, evidence=evidence, event=event)
    return Filed(name, 1, report, tuple(one.id for one in older))


def revoke(
    session: Session, keys: Keys, consent_id: UUID, *, patient: Mapping[str, Any] | None, actor: str, evidence: bytes | None = None
) -> Revoked:
    """Withdraw a consent: it becomes inactive and stays on file. Withdrawing it again changes nothing.

    ``patient`` is the Reference that the caller names the patient by; None: not named. Raises NoSuchConsent for an unknown
    consent and for one of another patient.
    """
    patient_key = session.exec(select(Consent.patient_key).where(Consent.id == consent_id)).first()
    if patient_key is None or (patient is not None and known_patient(session, keys, patient) != patient_key):
        raise NoSuchConsent
    close_gate(session, "patient", patient_key.hex)
    row = session.exec(
        select(Consent).where(Consent.patient_key == patient_key, Consent.id == consent_id).execution_options(populate_existing=True)
    ).one()
    if move(State(row.status), Change.REVOKED) is None:
        return Revoked(row.id, row.version, again=True)
    vault = records.open_vault(session, keys, patient_key)
    residual = Residual.from_json(str(row.id), row.version, orjson.loads(opened(vault, row.id, row.version, "residual", row.residual)))
    _end(session, keys, vault, row, Change.REVOKED, actor=actor, evidence=evidence)
    tell_past_recipients(session, keys, vault, residual, since=row.filed_at)
    return Revoked(row.id, row.version)


def examined(session: Session, keys: Keys, consent: Mapping[str, Any], zone: tzinfo) -> Report:
    """The report on a consent as filing would give it: actors are looked up in the registry, days are the hospital's."""
    given = days.placed(consent, zone)
    return examine(given, actor=partial(_actors, session, keys, given.get("contained")), deniable=partial(_deniable, session, keys))


def would_replace(session: Session, keys: Keys, patient_key: UUID, statement: Statement) -> tuple[UUID, ...]:
    """The consents in force that a new one would take the place of. Raises Superseded as filing would."""
    return tuple(one.id for one in _replaced(session, keys, patient_key, statement))


def identifier_token(keys: Keys, identifier: str) -> bytes:
    """How a business identifier of a consent (``system|value``) is kept."""
    return keys.blind("consent-identifier", identifier)


def _after(state: State | None, change: Change) -> State:
    after = move(state, change)
    if after is None:
        raise Superseded
    return after


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else _EPOCH + timedelta(seconds=seconds)


def _same_request(session: Session, token: bytes) -> Consent | None:
    return session.exec(select(Consent).where(Consent.request_token == token)).first()


def _actors(session: Session, keys: Keys, contained: Any, reference: Mapping[str, Any]) -> frozenset[str] | None:
    """Whom an actor of a consent names: organisations of the registry, people with an account, stored roles and teams, contained groups of them.

    People, roles and teams stay under their own name: whom they mean is asked at each use.
    """
    identifier = token(reference.get("identifier"))
    if "reference" not in reference and identifier is not None:
        person = identity.known_people(session, (), (identifier,)).by_account
        return frozenset({f"Practitioner/{min(person)}"}) if person else None
    literal = canonical(reference.get("reference"))
    listed = frozenset({literal}) if literal is not None and type_of(literal) in ASKED else Related().actor(reference, contained)
    return listed if listed and all(_organization(session, one) or _tellable(session, keys, one) for one in listed) else None


def _tellable(session: Session, keys: Keys, reference: str) -> bool:
    """Whether it can be told whom a person, a role or a team means; of a team every member, so that none is passed over."""
    told = _meant(session, keys, reference)
    return told is not None and (told.whole or type_of(reference) not in TEAMS)


def _meant(session: Session, keys: Keys, reference: str) -> Meant | None:
    """What a person, a role or a team means for a use of nobody in particular; None where it can't be told."""
    if type_of(reference) not in ASKED:
        return None
    use = Use(frozenset(), "TREAT", clock.epoch(clock.now()))
    return meant(reference, known(session, keys, frozenset({reference}), use, Asker("")))


def _deniable(session: Session, keys: Keys, reference: str) -> bool:
    """Whether a denial of this actor can be enforced: everybody it means must be known."""
    told = _meant(session, keys, reference)
    return type_of(reference) not in ASKED or (told is not None and told.whole)


def _organization(session: Session, reference: str) -> bool:
    kind, _, name = reference.partition("/")
    try:
        return kind == "Organization" and identity.organization(session, name) is not None
    except UnknownOrganization:
        return False


def _related(session: Session, keys: Keys, patient: Mapping[str, Any] | None, reference: str) -> Mapping[str, Any] | None:
    """A stored RelatedPerson of this patient."""
    kind, _, name = reference.rpartition("/")
    try:
        raw = records.resource_of(session, keys, "RelatedPerson", name) if kind == "RelatedPerson" else None
    except records.RecordUnreadable:  # Of somebody whose key was destroyed.
        raw = None
    person = None if raw is None else orjson.loads(raw)
    return person if person is not None and patient is not None and person.get("patient", {}).get("reference") == patient.get("reference") else None


def _patient(session: Session, keys: Keys, reference: Mapping[str, Any]) -> UUID:
    found = known_patient(session, keys, reference)
    if found is None:
        raise UnknownPatient(problems=(Problem("Consent.patient", "patient-unresolved", "This patient is not known here."),))
    return found


def _replaced(session: Session, keys: Keys, patient_key: UUID, statement: Statement) -> list[Consent]:
    """The consents in force that the new one takes the place of. Raises Superseded if one of them is not older than it."""
    named = {one.removeprefix("Consent/") for one in statement.replaces}
    tokens = {identifier_token(keys, one) for one in statement.identifiers}
    named_tokens = {identifier_token(keys, one) for one in statement.replaces}
    found = []
    issued = statement.issued
    first, last = _moment(issued.start), _moment(issued.end)
    for row in session.exec(select(Consent).where(Consent.patient_key == patient_key).order_by(col(Consent.filed_at))):
        same = tokens & set(row.identifiers)
        if same and row.status == State.INACTIVE and row.replaced_by is None and (first is None or first <= row.updated_at):
            raise Superseded  # It was given before the withdrawal, as far as its date tells.
        if same and last is not None and row.issued_from is not None and last < row.issued_from:
            raise Superseded
        if row.status == State.ACTIVE and (same or str(row.id) in named or named_tokens & set(row.identifiers)):
            found.append(row)
    return found


def _end(
    session: Session,
    keys: Keys,
    vault: records.Vault,
    row: Consent,
    change: Change,
    *,
    actor: str,
    evidence: bytes | None,
    replaced_by: UUID | None = None,
) -> None:
    """Make a consent inactive and add the version that says so."""
    before = session.exec(
        select(ConsentVersion).where(
            ConsentVersion.patient_key == row.patient_key, ConsentVersion.consent_id == row.id, ConsentVersion.version == row.version
        )
    ).one()
    raw = opened(vault, row.id, row.version, "body", before.body)
    residual = opened(vault, row.id, row.version, "residual", row.residual)
    row.status = _after(State(row.status), change)
    row.version += 1
    row.updated_at = clock.now()
    row.replaced_by = replaced_by
    row.residual = sealed(vault, row.id, row.version, "residual", residual)
    facts: dict[str, str | int | bool | list[str]] = {"consent": str(row.id), "version": row.version, "evidence": evidence is not None}
    if replaced_by is not None:
        facts["replaced_by"] = str(replaced_by)
    event = Event(f"consent.{change}", actor, patient=row.patient_key, subject=vault.subject, facts=facts)
    _store(session, keys, vault, row, change, raw=raw, residual=residual, evidence=evidence, event=event)


def _store(
    session: Session,
    keys: Keys,
    vault: records.Vault,
    row: Consent,
    change: Change,
    *,
    raw: bytes,
    residual: bytes,
    evidence: bytes | None,
    event: Event,
) -> None:
    """Keep the state and its version, move the patient's epoch on, note whom to tell, record the event."""
    session.add(row)
    session.flush()
    session.add(
        ConsentVersion(
            patient_key=row.patient_key,
            consent_id=row.id,
            version=row.version,
            status=row.status,
            change=change,
            actor=event.actor,
            at=row.updated_at,
            body=sealed(vault, row.id, row.version, "body", raw),
            residual=sealed(vault, row.id, row.version, "residual", residual),
            evidence=None if evidence is None else sealed(vault, row.id, row.version, "evidence", evidence),
        )
    )
    session.flush()
    records.bump_epoch(session, row.patient_key)
    note_change(session, keys, row, raw)
    audit.record(session, event)
