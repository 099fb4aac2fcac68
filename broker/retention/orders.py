"""Destruction orders: proposed, approved by two natural persons, carried out with the second approval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller, Role
from broker.notifications import service as notifications
from broker.records import service as records
from broker.records.errors import UnknownPatient
from broker.retention import rules
from broker.retention.errors import NoSuchOrder, OnHold, WhatRequired
from broker.retention.lifecycle import Action, State, check_move
from broker.retention.models import DestructionItem, DestructionOrder, RetentionHold
from broker.retention.shred_list import Shredded

Facts = dict[str, str | int | bool | list[str]]

#: Forgets words about a patient that lie under other keys than the patient's own; how many. Handed in by ``broker/app.py``.
Forget = Callable[[Session, Keys, UUID], int]


@dataclass(frozen=True)
class Means:
    """What destruction needs from other slices: the verbs that forget their words."""

    forget: tuple[Forget, ...] = ()


def check_orderer(caller: PersonCaller) -> None:
    """Raises Forbidden for whoever orders no destruction."""
    if not caller.may(Button.DESTRUCTION_ORDER):
        raise Forbidden


def patient_keys(session: Session, keys: Keys, patients: Sequence[str]) -> list[UUID]:
    """Blinded keys of patients by FHIR id, in order. Raises UnknownPatient."""
    found = sorted({keys.patient_key(one) for one in patients})
    for patient_key in found:
        if records.is_shredded(session, patient_key):
            raise UnknownPatient
    return found


def propose(
    session: Session,
    keys: Keys,
    *,
    actor: str,
    natural_person: str | None,
    kind: str,
    reason: str,
    method: str,
    patients: Sequence[UUID] = (),
    what: str | None = None,
) -> DestructionOrder:
    """Propose a destruction; a person who does counts as the first of two. Raises WhatRequired."""
    if (kind == "shred") != bool(patients) or (kind != "shred" and not (what or "").strip()):
        raise WhatRequired
    now = clock.now()
    row = DestructionOrder(number=_number(session), kind=kind, reason=reason, proposed_at=now, proposed_by=actor, method=method)
    row.approvals = [] if natural_person is None else [{"actor": actor, "natural_person": natural_person, "at": now.isoformat()}]
    row.what_sealed = applications.seal_text(keys, row.id, "destruction|what", what)
    session.add(row)
    session.flush()
    session.add_all(DestructionItem(patient_key=patient_key, order_id=row.id) for patient_key in sorted(set(patients)))
    session.flush()
    facts: Facts = {"order": row.number, "kind": kind, "reason": reason, "method": method, "patients": len(set(patients))}
    audit.record(session, Event("destruction.proposed", actor, facts=facts))
    notifications.notify_role(session, keys, Role.INFORMATION_MANAGER, kind="destruction.ordered", facts={"order": row.number})
    return row


def approve(session: Session, keys: Keys, means: Means, caller: PersonCaller, number: str) -> DestructionOrder:
    """Approve; the second natural person's approval carries it out, for good.

    Raises Forbidden, NoSuchOrder, OrderMoveNotAllowed, TwoForDestruction, OnHold where a hold stands on one of the patients.
    """
    check_orderer(caller)
    row = find(session, number, lock=True)
    check_move(State(row.status), Action.APPROVE)
    whole = rules.approved([one["natural_person"] for one in row.approvals if _still(session, one)], caller.natural_person)
    row.approvals = [*row.approvals, {"actor": caller.actor, "natural_person": caller.natural_person, "at": clock.now().isoformat()}]
    session.add(row)
    session.flush()
    audit.record(session, Event("destruction.approved", caller.actor, facts={"order": row.number, "approvals": len(row.approvals)}))
    if whole:
        _execute(session, keys, means, caller.actor, row)
    return row


def cancel(session: Session, caller: PersonCaller, number: str) -> DestructionOrder:
    """Take it back, as long as nothing was destroyed. Raises as :func:`approve`."""
    check_orderer(caller)
    row = find(session, number, lock=True)
    row.status = check_move(State(row.status), Action.CANCEL).value
    session.add(row)
    session.flush()
    audit.record(session, Event("destruction.cancelled", caller.actor, facts={"order": row.number}))
    return row


def _execute(session: Session, keys: Keys, means: Means, actor: str, row: DestructionOrder) -> None:
    things = items(session, row)
    held = session.exec(
        select(RetentionHold.id)
        .where(col(RetentionHold.patient_key).in_([one.patient_key for one in things]), col(RetentionHold.released_at).is_(None))
        .limit(1)
    ).first()
    if held is not None:
        raise OnHold
    row.status, row.executed_at = check_move(State(row.status), Action.EXECUTE).value, clock.now()
    session.flush()  # The database lets a key go only by an order that stands there executed.
    for one in things:
        texts = sum(forget(session, keys, one.patient_key) for forget in means.forget)
        one.subject, removed = records.shred(session, keys, one.patient_key)
        one.removed, one.done_at = {**removed, "texts": texts}, clock.now()
        session.add(one)
        facts: Facts = {"order": row.number, **one.removed}
        audit.record(session, Event("patient.shredded", actor, patient=one.patient_key, subject=one.subject, facts=facts))
    people: list[str] = [one["actor"] for one in row.approvals]
    told: Facts = {"order": row.number, "kind": row.kind, "method": row.method, "patients": len(things), "approved_by": people}
    row.event = audit.record(session, Event("destruction.executed", actor, facts=told))
    session.add(row)
    session.flush()
    if things:
        jobs.defer(session, "retention.scrub", {"order": row.number}, once="retention.scrub")


def _still(session: Session, approval: Mapping[str, str]) -> bool:
    """Whether who approved still has a say: an account that was closed, or lost its role, counts no more."""
    earlier = identity.caller_for(session, UUID(approval["actor"].partition(":")[2]))
    return earlier is not None and earlier.may(Button.DESTRUCTION_ORDER)


def brought_back(session: Session, one: Shredded) -> None:
    """Write an executed order into a restored backup that knows nothing of it, as the list outside the database tells it."""
    row = session.exec(select(DestructionOrder).where(DestructionOrder.number == one.order)).one_or_none()
    if row is None:
        at = datetime.fromisoformat(one.at)
        row = DestructionOrder(number=one.order, kind="shred", reason="restored", method="crypto-shredding", proposed_at=at, proposed_by="system")
        session.add(row)
        session.flush()
    if session.get(DestructionItem, (one.patient_key, row.id)) is None:
        session.add(DestructionItem(patient_key=one.patient_key, order_id=row.id, done_at=datetime.fromisoformat(one.at)))
        session.flush()
    if row.status == State.PROPOSED.value:
        row.approvals, row.status, row.executed_at = list(one.approvals), State.EXECUTED.value, datetime.fromisoformat(one.at)
        session.add(row)
        session.flush()


def find(session: Session, number: str, *, lock: bool = False) -> DestructionOrder:
    """By number. Raises NoSuchOrder."""
    query = select(DestructionOrder).where(DestructionOrder.number == number)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    found = session.exec(query).one_or_none()
    if found is None:
        raise NoSuchOrder
    return found


def items(session: Session, row: DestructionOrder) -> Sequence[DestructionItem]:
    """The patients of an order."""
    return session.exec(select(DestructionItem).where(DestructionItem.order_id == row.id).order_by(col(DestructionItem.patient_key))).all()


def many(session: Session, caller: PersonCaller, *, limit: int = 100) -> Sequence[DestructionOrder]:
    """Orders, newest first, for who orders and who audits. Raises Forbidden."""
    if not (caller.may(Button.DESTRUCTION_ORDER) or caller.may(Button.INCIDENT_READ)):
        raise Forbidden
    return session.exec(select(DestructionOrder).order_by(col(DestructionOrder.proposed_at).desc()).limit(limit)).all()


def what_of(keys: Keys, row: DestructionOrder) -> str | None:
    """What paper or media were destroyed."""
    return applications.unseal_text(keys, row.id, "destruction|what", row.what_sealed)


def certificate(session: Session, keys: Keys, caller: PersonCaller, number: str) -> dict[str, Any]:
    """What was destroyed, when, how, by whom and by which order, with the proof that the log holds it.

    Raises Forbidden, NoSuchOrder, OrderMoveNotAllowed before it was carried out, NotSealedYet in the first second after.
    """
    many(session, caller, limit=1)
    row = find(session, number)
    if row.event is None or row.executed_at is None:
        check_move(State.EXECUTED, Action.EXECUTE)
    assert row.event is not None  # noqa: S101  (An executed order has its event.)
    things = items(session, row)
    return {
        "certificate": "destruction",
        "order": row.number,
        "kind": row.kind,
        "reason": row.reason,
        "method": row.method,
        "what": what_of(keys, row),
        "patients": [{"subject": one.subject, "removed": one.removed, "at": one.done_at.isoformat() if one.done_at else None} for one in things],
        "proposed_at": row.proposed_at.isoformat(),
        "executed_at": row.executed_at.isoformat() if row.executed_at else None,
        "approved_by": [{"actor": one["actor"], "at": one["at"]} for one in row.approvals],
        "scrubbed_at": row.scrubbed_at.isoformat() if row.scrubbed_at else None,
        "scrub": row.scrub,
        "event": str(row.event),
        "proof": audit.proof(session, row.event),
    }


def approvers(session: Session, said: Mapping[str, Any]) -> dict[str, str]:
    """Names of those who approved an order, by actor, for the paper that they sign."""
    actors = {one["actor"] for one in said["approved_by"]}
    return {actor: identity.person(session, UUID(actor.partition(":")[2])).name for actor in actors}


def hold(session: Session, keys: Keys, caller: PersonCaller, *, patient: str, kind: str, reason: str) -> RetentionHold:
    """Keep a patient's data from being destroyed. Raises Forbidden, UnknownPatient."""
    check_orderer(caller)
    patient_key = patient_keys(session, keys, [patient])[0]
    row = RetentionHold(patient_key=patient_key, kind=kind, reason_sealed=b"", placed_at=clock.now(), placed_by=caller.actor)
    row.reason_sealed = records.seal_words(session, keys, patient_key, f"hold|{row.id}", reason) or b""
    session.add(row)
    session.flush()
    subject = records.open_vault(session, keys, patient_key).subject
    facts: Facts = {"hold": str(row.id), "kind": kind}
    audit.record(session, Event("retention.held", caller.actor, patient=patient_key, subject=subject, facts=facts))
    return row


def release_hold(session: Session, caller: PersonCaller, hold_id: UUID) -> RetentionHold:
    """Let go of a hold. Raises Forbidden, NoSuchOrder."""
    check_orderer(caller)
    row = session.exec(select(RetentionHold).where(RetentionHold.id == hold_id).with_for_update()).one_or_none()
    if row is None or row.released_at is not None:
        raise NoSuchOrder
    row.released_at, row.released_by = clock.now(), caller.actor
    session.add(row)
    session.flush()
    audit.record(session, Event("retention.released", caller.actor, facts={"hold": str(row.id)}))
    return row


def reason_of(session: Session, keys: Keys, row: RetentionHold) -> str | None:
    """Why a hold was placed."""
    if records.under_patient(row.reason_sealed):
        return records.open_words(session, keys, row.patient_key, f"hold|{row.id}", row.reason_sealed)
    return applications.unseal_text(keys, row.id, "hold", row.reason_sealed)


def reseal_holds(session: Session, keys: Keys) -> int:
    """Seal under the patient's key what an earlier version sealed under one of the house; how many. A job of the worker."""
    changed = 0
    for row in session.exec(select(RetentionHold)).all():
        if not records.under_patient(row.reason_sealed) and row.reason_sealed and not records.is_shredded(session, row.patient_key):
            words = reason_of(session, keys, row) or ""
            row.reason_sealed = records.seal_words(session, keys, row.patient_key, f"hold|{row.id}", words) or b""
            session.add(row)
            changed += 1
    session.flush()
    return changed


def holds(session: Session, caller: PersonCaller) -> Sequence[RetentionHold]:
    """Holds that stand. Raises Forbidden."""
    check_orderer(caller)
    return session.exec(select(RetentionHold).where(col(RetentionHold.released_at).is_(None)).order_by(col(RetentionHold.placed_at))).all()


def _number(session: Session) -> str:
    year = clock.now().year
    mine = select(DestructionOrder.number).where(col(DestructionOrder.number).startswith(f"DO-{year}-"))
    last = session.exec(mine.order_by(col(DestructionOrder.number).desc()).limit(1)).first()
    return f"DO-{year}-{int(last[-6:]) + 1 if last else 1:06d}"
