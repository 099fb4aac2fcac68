"""Who could see what of a patient's record, and which provision says so: asked of the rules that a release asks, without releasing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from uuid import UUID

import orjson
from sqlmodel import Session

from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent.compiled import compile_statement
from broker.consent.enforceability import Report
from broker.consent.errors import NoSuchConsent
from broker.consent.filing import examined, would_replace
from broker.consent.in_force import asker_of, in_force, settle, use_of
from broker.consent.parties import Asker
from broker.consent.residual import Residual, ResourceGate, evaluate_base, gate_for
from broker.consent.resources import EVERYTHING, dates_of, facts_of
from broker.consent.values import Effect, Use
from broker.consent.whose import known_patient
from broker.crypto import Keys
from broker.identity import service as identity
from broker.records import service as records

#: Resources of one patient that are looked at; beyond, the answer says that it is not whole.
MOST = 20_000


@dataclass(frozen=True)
class Judged:
    """What the consents say of one resource. ``notes``: its free text alone is denied, and stays behind where the rest leaves."""

    resource: str  #: ``Type/id``
    date: str | None  #: first day that it is about
    effect: Effect
    reason: str
    consent: str  #: id; empty where none decided
    provision: str  #: FHIRPath
    notes: bool = False


@dataclass(frozen=True)
class Explained:
    """The whole answer for one recipient and purpose."""

    consents: tuple[str, ...]  #: those that speak
    base: Effect
    judged: tuple[Judged, ...]
    whole: bool


@dataclass(frozen=True)
class Seer:
    """Whether one organisation could see one resource."""

    organization: str
    judged: Judged


@dataclass(frozen=True)
class Change:
    """What a consent would change for one recipient and purpose, resource by resource."""

    recipient: str
    purpose: str
    changed: tuple[tuple[Judged, Judged], ...]  #: before, after
    unchanged: int


@dataclass(frozen=True)
class Foreseen:
    """A consent before it is signed: its report, what it would replace, what would be different."""

    report: Report
    replaces: tuple[UUID, ...]
    changes: tuple[Change, ...]
    whole: bool


def explain(
    session: Session,
    keys: Keys,
    *,
    patient: Mapping[str, Any],
    recipient: str,
    purpose: str,
    at: datetime,
    actor: str,
    requester: UUID | None = None,
) -> Explained:
    """Which resources the organisation could see for the purpose, so far as consents go, on the application of this person or of
    nobody in particular. Looking is recorded.

    ``patient`` is a FHIR Reference. Raises NoSuchConsent for a patient who isn't known, and identity's UnknownOrganization and
    UnknownPerson.
    """
    patient_key = _patient(session, keys, patient)
    vault = records.open_vault(session, keys, patient_key)
    if requester is not None:
        identity.person(session, requester)
    asker = asker_of(session, recipient, requester, at)
    residuals, use = settle(session, keys, in_force(session, vault), use_of(session, recipient, purpose, at), asker)
    stored, whole = records.all_of(session, vault, MOST)
    judged = _judge(residuals, use, stored)
    _looked(session, actor, vault, {"recipient": recipient, "purpose": purpose, "resources": len(judged)})
    said = _base(residuals, use)
    return Explained(said[1], said[0], tuple(judged), whole)


def who_could_see(
    session: Session, keys: Keys, *, patient: Mapping[str, Any], resource: str, purpose: str, at: datetime, actor: str
) -> tuple[Seer, ...]:
    """For one resource of the patient: what the consents say to each organisation of the registry. Raises NoSuchConsent."""
    patient_key = _patient(session, keys, patient)
    vault = records.open_vault(session, keys, patient_key)
    stored, _ = records.all_of(session, vault, MOST)
    wanted = [one for one in stored if f"{one.type}/{one.id}" == resource]
    if not wanted:
        raise NoSuchConsent
    residuals, found = in_force(session, vault), []
    for organization in identity.organizations(session):
        settled, use = settle(session, keys, residuals, use_of(session, organization.id, purpose, at), Asker(organization.id))
        found.append(Seer(organization.id, _judge(settled, use, wanted, among=stored)[0]))
    _looked(session, actor, vault, {"purpose": purpose, "resources": 1, "organizations": len(found)})
    return tuple(found)


def foresee(
    session: Session, keys: Keys, consent: Mapping[str, Any], *, uses: Sequence[tuple[str, str]], at: datetime, actor: str, zone: tzinfo
) -> Foreseen:
    """What a consent would change if it were filed now, for these recipients and purposes. Nothing is stored but that somebody looked.

    A consent that can't be enforced changes nothing: the report says why. Raises NoSuchConsent for a patient who isn't known.
    """
    report = examined(session, keys, consent, zone)
    if not report.enforceable:
        return Foreseen(report, (), (), whole=True)
    patient_key = _patient(session, keys, report.patient or {})
    vault = records.open_vault(session, keys, patient_key)
    replaced = would_replace(session, keys, patient_key, report.statement)
    before = in_force(session, vault)
    gone = {str(one) for one in replaced}
    after = (*(one for one in before if one.consent not in gone), compile_statement(report.statement, "new", 1))
    stored, whole = records.all_of(session, vault, MOST)
    changes = []
    for recipient, purpose in uses:
        use = use_of(session, recipient, purpose, at)
        old, new = (_judge(*settle(session, keys, one, use, Asker(recipient)), stored) for one in (before, after))
        changed = tuple((one, other) for one, other in zip(old, new, strict=True) if (one.effect, one.notes) != (other.effect, other.notes))
        changes.append(Change(recipient, purpose, changed, len(old) - len(changed)))
    _looked(session, actor, vault, {"resources": len(stored), "foreseen": True})
    return Foreseen(report, replaced, tuple(changes), whole)


def _patient(session: Session, keys: Keys, patient: Mapping[str, Any]) -> UUID:
    found = known_patient(session, keys, patient)
    if found is None:
        raise NoSuchConsent
    return found


def _base(residuals: Sequence[Residual], use: Use) -> tuple[Effect, tuple[str, ...]]:
    base = evaluate_base(residuals, use)
    return base.effect, base.consents


def _judge(residuals: Sequence[Residual], use: Use, stored: Sequence[records.Opened], among: Sequence[records.Opened] | None = None) -> list[Judged]:
    """What the gate of a release says of each resource. ``among``: where the resources are looked for that consents name as a start."""
    gate = gate_for(residuals, use)
    if gate.anchors_needed:
        everything = stored if among is None else among
        anchors = {f"{one.type}/{one.id}": one for one in everything if f"{one.type}/{one.id}" in gate.anchors_needed}
        gate = gate_for(residuals, use, {name: facts_of(orjson.loads(one.body), ()).references for name, one in anchors.items()}.get)
    return [_verdict(gate, one) for one in stored]


def _verdict(gate: ResourceGate, one: records.Opened) -> Judged:
    body = orjson.loads(one.body)
    facts = facts_of(body, one.labels, needs=frozenset(gate.needs) & EVERYTHING)
    said = gate.verdict(facts)
    # What only its notes speak of counts where notes leave, and which elements leave is for policy to say.
    notes = (
        said.effect is Effect.PERMIT and bool(one.in_text) and gate.verdict(facts_of(body, (*one.labels, *one.in_text))).effect is not Effect.PERMIT
    )
    first, _ = dates_of(body)
    day = None if first is None else datetime.fromtimestamp(first, UTC).date().isoformat()
    return Judged(f"{one.type}/{one.id}", day, said.effect, said.reason.value, said.consent, said.provision, notes)


def _looked(session: Session, actor: str, vault: records.Vault, facts: Mapping[str, str | int | bool]) -> None:
    audit.record(session, Event("consent.explained", actor, patient=vault.patient_key, subject=vault.subject, facts=dict(facts)))


def counts(judged: Iterable[Judged]) -> dict[str, dict[str, int]]:
    """How many resources of each type are permitted, denied, or not spoken of."""
    found: dict[str, dict[str, int]] = {}
    for one in judged:
        row = found.setdefault(one.resource.partition("/")[0], {effect.value: 0 for effect in Effect})
        row[one.effect.value] += 1
    return dict(sorted(found.items()))
