"""The ledger of obligations: written from the log, answered by recipients, judged by the hospital, escalated by the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import service as applications
from broker.applications.models import Grant
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller, Role
from broker.notifications import service as notifications
from broker.obligations import evidence, rules
from broker.obligations.errors import EvidenceRequired, NoSuchObligation
from broker.obligations.lifecycle import Action, Done, Part, State, check_move
from broker.obligations.models import Obligation
from broker.records import service as records

Facts = dict[str, str | int | bool | list[str]]
_SUSPENDING = "附加义务或召回逾期未答复 / An obligation or a recall was not answered in time."


@dataclass(frozen=True)
class Answer:
    """What a recipient says it did. ``digest``: SHA-256 of the signed file that says so, where there is one."""

    done: Done
    method: str
    evidence: str
    digest: str | None = None


def owe(session: Session, event: audit.Happened) -> int:
    """Enter the obligations of a release that was permitted; how many. It counts from its intent, whose outcome may never be known."""
    grant = session.get(Grant, event.grant) if event.grant else None
    if grant is None or event.patient is None or event.release is None:
        return 0
    owed = rules.due(event.facts.get("obligations", ()), event.at, grant.valid_until)
    for one in owed:
        new = insert(Obligation).values(
            patient_key=event.patient,
            grant_id=grant.id,
            code=one.code,
            due_on=one.on,
            id=uuid4(),
            application=grant.number,
            recipient_id=grant.recipient_id,
            status=State.OPEN.value,
            releases=1,
            first_release=event.release,
            first_at=event.at,
            last_at=event.at,
        )
        again = {"status": State.OPEN.value, "releases": col(Obligation.releases) + 1, "last_at": event.at, "escalated_at": None}
        session.execute(new.on_conflict_do_update(index_elements=["patient_key", "grant_id", "code", "due_on"], set_=again))
    return len(owed)


def owe_nothing(session: Session, event: audit.Happened) -> None:
    """A release of which not a byte left obliges to nothing, unless others of the same day did leave."""
    mine = (col(Obligation.patient_key) == event.patient, col(Obligation.first_release) == event.release, col(Obligation.releases) == 1)
    session.execute(sa.update(Obligation).where(*mine).values(status=State.WAIVED.value, method="nothing-sent"))


def is_of(session: Session, caller: PersonCaller, recipient: str) -> bool:
    """Whether the person reports for the recipient: works there, in a part of it, or in what it belongs to."""
    return caller.may(Button.FEEDBACK_WRITE) and (
        caller.organization_id in {one.id for one in identity.lineage(session, recipient)}
        or recipient in {one.id for one in identity.lineage(session, caller.organization_id)}
    )


def oversees(caller: PersonCaller) -> bool:
    """Whether the person looks after obligations of everybody."""
    return caller.may(Button.INCIDENT_READ)


def many(
    session: Session, caller: PersonCaller, *, application: str | None = None, overdue: bool = False, status: State | None = None, limit: int = 200
) -> Sequence[Obligation]:
    """Obligations that the caller may see, what is due first first: all for who oversees, else those of one's own organisation."""
    query = select(Obligation)
    if not oversees(caller):
        line = identity.lineage(session, caller.organization_id)
        home = line[-1].id if line[-1].relationship == "external" else caller.organization_id
        query = query.where(col(Obligation.recipient_id).in_(identity.below(session, home)))
    if application is not None:
        query = query.where(Obligation.application == application)
    if status is not None:
        query = query.where(Obligation.status == status.value)
    if overdue:
        query = query.where(Obligation.status == State.OPEN.value, Obligation.due_on < clock.today())
    return session.exec(
        query.order_by(col(Obligation.due_on), col(Obligation.application), col(Obligation.code), col(Obligation.id)).limit(limit)
    ).all()


def answer(session: Session, keys: Keys, caller: PersonCaller, application: str, codes: Sequence[str], given: Answer) -> int:
    """Answer every open obligation of these codes under an application, as the recipient; how many.

    Raises NoSuchObligation where there is none, or it isn't one's own, EvidenceRequired.
    """
    rows = [row for row in _open(session, application, codes) if is_of(session, caller, row.recipient_id)]
    return _answered(session, keys, caller.actor, application, rows, given)


def answer_signed(session: Session, keys: Keys, statement: identity.Statement, application: str, codes: Sequence[str], given: Answer) -> int:
    """As :func:`answer`, in a signed file of the recipient's system."""
    rows = [row for row in _open(session, application, codes) if row.recipient_id == statement.organization_id]
    return _answered(session, keys, statement.actor, application, rows, given)


def _open(session: Session, application: str, codes: Sequence[str]) -> Sequence[Obligation]:
    query = select(Obligation).where(Obligation.application == application, Obligation.status == State.OPEN.value)
    if codes:
        query = query.where(col(Obligation.code).in_(list(codes)))
    return session.exec(query.order_by(col(Obligation.id)).with_for_update()).all()


def _answered(session: Session, keys: Keys, actor: str, application: str, rows: Sequence[Obligation], given: Answer) -> int:
    if not rows:
        raise NoSuchObligation
    rules.check_answer(given.done, given.method, given.evidence)
    action = Action.KEEP if given.done is Done.KEPT else Action.FULFIL
    for row in rows:
        settle(session, keys, row, check_move(State(row.status), action, Part.RECIPIENT).to, actor, given)
        session.add(row)
    session.flush()
    facts: Facts = {
        "codes": sorted({row.code for row in rows}), "count": len(rows), "done": given.done.value, "method": given.method or "none",
        **({"signed": given.digest} if given.digest else {}),
    }  # fmt: skip
    audit.record(session, Event("obligation.answered", actor, application=application, recipient=rows[0].recipient_id, facts=facts))
    return len(rows)


def settle(session: Session, keys: Keys, row: Obligation, to: State, actor: str, given: Answer) -> None:
    """Put an answer into a row."""
    row.status, row.answered_at, row.answered_by = to.value, clock.now(), actor
    row.method, row.evidence_digest = given.method, given.digest
    row.evidence_sealed = evidence.sealed(session, keys, evidence.of_obligation(row), given.evidence)


def evidence_of(session: Session, keys: Keys, row: Obligation) -> str | None:
    """The words of the answer again."""
    return evidence.opened(session, keys, evidence.of_obligation(row), row.evidence_sealed)


def judge(session: Session, keys: Keys, caller: PersonCaller, obligation_id: UUID, action: Action, *, text: str) -> Obligation:
    """Waive an open obligation or send an answer back, with words that say why. Raises Forbidden, NoSuchObligation, ObligationMoveNotAllowed."""
    if not caller.may(Button.GRANT_REVOKE):
        raise Forbidden
    row = session.exec(select(Obligation).where(Obligation.id == obligation_id).with_for_update()).one_or_none()
    if row is None:
        raise NoSuchObligation
    move = check_move(State(row.status), action, Part.MANAGER)
    if not text.strip():
        raise EvidenceRequired
    row.status = move.to.value
    row.evidence_sealed = evidence.sealed(session, keys, evidence.of_obligation(row), text)
    session.add(row)
    session.flush()
    facts: Facts = {"obligation": str(row.id), "code": row.code, "action": action.value}
    audit.record(session, Event("obligation.judged", caller.actor, application=row.application, recipient=row.recipient_id, facts=facts))
    return row


def escalate(session: Session, keys: Keys, *, grace_days: int) -> tuple[int, int]:
    """Tell of what is overdue, once, and suspend the grants under which it is so for longer than the grace; how many of each."""
    today = clock.today()
    late = session.exec(
        select(Obligation)
        .where(Obligation.status == State.OPEN.value, Obligation.due_on < today)
        .order_by(col(Obligation.application), col(Obligation.due_on), col(Obligation.id))
    ).all()
    told: set[str] = set()
    for row in late:
        if row.escalated_at is None:
            row.escalated_at = clock.now()
            session.add(row)
            if row.application not in told:
                told.add(row.application)
                _told_overdue(session, keys, row, sum(one.application == row.application for one in late))
    session.flush()
    stopped = sorted({row.application for row in late if rules.suspends(row.due_on, today, grace_days)})
    return len(told), sum(suspend(session, keys, number) for number in stopped)


def _told_overdue(session: Session, keys: Keys, first: Obligation, count: int) -> None:
    facts: dict[str, str | int] = {"application": first.application, "count": count, "due": first.due_on.isoformat()}
    notifications.notify(session, keys, to=f"organization:{first.recipient_id}", kind="obligation.overdue", facts=facts)
    notifications.notify_role(session, keys, Role.INFORMATION_MANAGER, kind="obligation.overdue", facts=facts)
    said: Facts = {"count": count, "due": first.due_on.isoformat()}
    audit.record(session, Event("obligation.overdue", "system", application=first.application, recipient=first.recipient_id, facts=said))


def suspend(session: Session, keys: Keys, number: str) -> bool:
    """Suspend the grant of an application because its recipient did not answer; whether it was active."""
    reason = applications.Reason(_SUSPENDING, applications.ReasonCode.RECIPIENT)
    return applications.suspend_by_clock(session, keys, number, reason=reason)


def remind(session: Session, keys: Keys, *, days: int = 3) -> int:
    """Tell recipients of what is due within so many days, once for each application and day; how many were told."""
    until = clock.today() + timedelta(days=days)
    rows = session.execute(
        sa.select(col(Obligation.application), col(Obligation.recipient_id), col(Obligation.due_on), sa.func.count())
        .where(col(Obligation.status) == State.OPEN.value, col(Obligation.due_on) >= clock.today(), col(Obligation.due_on) <= until)
        .group_by(col(Obligation.application), col(Obligation.recipient_id), col(Obligation.due_on))
    ).all()
    told = 0
    for application, recipient, on, count in rows:
        facts = {"application": application, "count": count, "due": on.isoformat()}
        once = f"obligation|{application}|{on}"
        told += notifications.notify(session, keys, to=f"organization:{recipient}", kind="obligation.due", facts=facts, once=once) is not None
    return told


def opened_subject(session: Session, keys: Keys, patient_key: UUID) -> str | None:
    """How the log names the patient; None once their key was destroyed."""
    try:
        return records.open_vault(session, keys, patient_key).subject
    except records.RecordUnreadable:
        return None
