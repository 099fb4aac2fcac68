"""Recalls: a withdrawal, a correction or an erasure is told to everybody who received the patient's data, and each says what it did.

A withdrawal follows from the log (``follow``), so that no way of withdrawing can forget it. What was done before it stays lawful (PIPL 15);
a recipient with another lawful basis than consent answers ``kept`` and names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.consent import service as consent
from broker.crypto import Keys
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.identity.access import Action as Button
from broker.identity.access import PersonCaller
from broker.notifications import service as notifications
from broker.obligations import evidence, ledger, rules
from broker.obligations.errors import NoSuchObligation
from broker.obligations.ledger import Answer, Facts
from broker.obligations.lifecycle import Action, Done, Part, State, check_move
from broker.obligations.models import Obligation, Recall, RecallNotice

#: What in the log calls data back, and the reason that recipients are told.
CAUSES = {"consent.revoked": "withdrawn", "record.corrected": "corrected", "patient.shredded": "erased"}


def issue(session: Session, keys: Keys, patient_key: UUID, *, reason: str, actor: str, days: int, event: UUID | None = None) -> Recall | None:
    """Call a patient's data back from every past recipient; None where nobody received any, or ``event`` was answered before."""
    sent = [one for one in audit.transmissions(session, patient=patient_key, limit=100_000) if one.disclosed and one.application and one.receiver]
    counts = Counter((one.application, one.receiver) for one in sent)
    if not counts:
        return None
    row = Recall(
        patient_key=patient_key,
        number=_number(session),
        reason=reason,
        event=event,
        issued_at=clock.now(),
        issued_by=actor,
        due_on=clock.today() + timedelta(days=days),
    )
    new = insert(Recall).values(**row.model_dump()).on_conflict_do_nothing(index_elements=["event"]).returning(col(Recall.id))
    if session.execute(new).first() is None:
        return None
    for (application, recipient), releases in sorted(counts.items(), key=str):
        values = {"patient_key": patient_key, "recall_id": row.id, "releases": releases}
        session.execute(insert(RecallNotice).values(**values, application=application, recipient_id=recipient))
        facts = {"recall": row.number, "application": str(application), "reason": reason, "due": row.due_on.isoformat()}
        notifications.notify(session, keys, to=f"organization:{recipient}", kind="recall.issued", facts=facts)
    session.flush()
    facts_: Facts = {"recall": row.number, "reason": reason, "recipients": len(counts), "due": row.due_on.isoformat()}
    subject = ledger.opened_subject(session, keys, patient_key)
    audit.record(session, Event("recall.issued", actor, patient=patient_key, subject=subject, facts=facts_))
    return row


def follow(session: Session, keys: Keys, *, days: int) -> tuple[int, int]:
    """Take in what the log says since the last look: obligations owed, recalls issued; how many of each. A job of the worker."""
    owed = issued = 0
    for event in audit.follow(session, "obligations", ("release.permitted", "release.failed", *CAUSES)):
        if event.type == "release.permitted":
            owed += ledger.owe(session, event)
        elif event.type == "release.failed":
            ledger.owe_nothing(session, event)
        elif event.patient is not None:
            reason = CAUSES[event.type]
            issued += issue(session, keys, event.patient, reason=reason, actor=event.actor, days=days, event=event.id) is not None
    return owed, issued


def acknowledge(session: Session, keys: Keys, caller: PersonCaller, number: str, application: str, given: Answer) -> RecallNotice:
    """Say, as the recipient, what was done about a recall. Raises NoSuchObligation, EvidenceRequired, ObligationMoveNotAllowed."""
    recall, notice = _find(session, number, application)
    if not ledger.is_of(session, caller, notice.recipient_id):
        raise NoSuchObligation
    return _acknowledged(session, keys, caller.actor, recall, notice, given)


def acknowledge_signed(session: Session, keys: Keys, statement: identity.Statement, number: str, application: str, given: Answer) -> RecallNotice:
    """As :func:`acknowledge`, in a signed file of the recipient's system."""
    recall, notice = _find(session, number, application)
    if statement.organization_id != notice.recipient_id:
        raise NoSuchObligation
    return _acknowledged(session, keys, statement.actor, recall, notice, given)


def _find(session: Session, number: str, application: str) -> tuple[Recall, RecallNotice]:
    recall = session.exec(select(Recall).where(Recall.number == number)).one_or_none()
    if recall is None:
        raise NoSuchObligation
    notice = session.exec(
        select(RecallNotice)
        .where(RecallNotice.patient_key == recall.patient_key, RecallNotice.recall_id == recall.id, RecallNotice.application == application)
        .with_for_update()
    ).one_or_none()
    if notice is None:
        raise NoSuchObligation
    return recall, notice


def _acknowledged(session: Session, keys: Keys, actor: str, recall: Recall, notice: RecallNotice, given: Answer) -> RecallNotice:
    check_move(State.FULFILLED if notice.done else State.OPEN, Action.FULFIL, Part.RECIPIENT)
    rules.check_answer(given.done, given.method, given.evidence)
    notice.done, notice.method, notice.evidence_digest = given.done.value, given.method, given.digest
    notice.answered_at, notice.answered_by = clock.now(), actor
    notice.evidence_sealed = evidence.sealed(session, keys, evidence.of_notice(notice), given.evidence)
    session.add(notice)
    if given.done in (Done.DELETED, Done.NOTHING_HELD):
        # What is gone need not be deleted once more.
        owed = session.exec(
            select(Obligation).where(
                Obligation.patient_key == recall.patient_key,
                Obligation.application == notice.application,
                Obligation.code == "DELAU",
                Obligation.status == State.OPEN.value,
            )
        ).all()
        for row in owed:
            ledger.settle(session, keys, row, State.FULFILLED, actor, given)
            session.add(row)
    session.flush()
    _settle_withdrawals(session, keys, recall, notice.recipient_id, actor)
    facts: Facts = {
        "recall": recall.number, "done": given.done.value, "method": given.method or "none", **({"signed": given.digest} if given.digest else {})
    }  # fmt: skip
    event = Event(
        "recall.acknowledged",
        actor,
        application=notice.application,
        recipient=notice.recipient_id,
        patient=recall.patient_key,
        subject=ledger.opened_subject(session, keys, recall.patient_key),
        facts=facts,
    )
    audit.record(session, event)
    return notice


def _settle_withdrawals(session: Session, keys: Keys, recall: Recall, recipient: str, actor: str) -> None:
    """Nobody is asked twice: once a recipient answered every notice of a withdrawal, it has acknowledged the withdrawal itself."""
    if recall.reason != CAUSES["consent.revoked"] or not ledger.opened_subject(session, keys, recall.patient_key):
        return
    answers = session.exec(
        select(RecallNotice.done).where(
            RecallNotice.patient_key == recall.patient_key, RecallNotice.recall_id == recall.id, RecallNotice.recipient_id == recipient
        )
    ).all()
    if all(answers):
        destroyed = all(one in (Done.DELETED.value, Done.NOTHING_HELD.value) for one in answers)
        consent.settle_told(session, keys, recall.patient_key, recipient, destroyed=destroyed, actor=actor)


def evidence_of(session: Session, keys: Keys, notice: RecallNotice) -> str | None:
    """The words of the answer again."""
    return evidence.opened(session, keys, evidence.of_notice(notice), notice.evidence_sealed)


def many(session: Session, caller: PersonCaller, *, open_only: bool = False, limit: int = 200) -> list[tuple[Recall, RecallNotice]]:
    """Recalls and their notices, newest first: all for who oversees, else those to one's own organisation."""
    query = select(Recall, RecallNotice).join(
        RecallNotice, (col(RecallNotice.patient_key) == col(Recall.patient_key)) & (col(RecallNotice.recall_id) == col(Recall.id))
    )
    if not ledger.oversees(caller):
        line = identity.lineage(session, caller.organization_id)
        home = line[-1].id if line[-1].relationship == "external" else caller.organization_id
        query = query.where(col(RecallNotice.recipient_id).in_(identity.below(session, home)))
    if open_only:
        query = query.where(col(RecallNotice.done).is_(None))
    rows = session.exec(query.order_by(col(Recall.issued_at).desc(), col(Recall.number), col(RecallNotice.application)).limit(limit)).all()
    return [(recall, notice) for recall, notice in rows]


def of_patient(session: Session, patient_key: UUID) -> list[tuple[Recall, RecallNotice]]:
    """What the patient may see: each recall of their data, and what each recipient did."""
    query = select(Recall, RecallNotice).join(
        RecallNotice, (col(RecallNotice.patient_key) == col(Recall.patient_key)) & (col(RecallNotice.recall_id) == col(Recall.id))
    )
    rows = session.exec(query.where(Recall.patient_key == patient_key).order_by(col(Recall.issued_at), col(RecallNotice.application))).all()
    return [(recall, notice) for recall, notice in rows]


def releases_of(session: Session, caller: PersonCaller, number: str, application: str) -> list[audit.Transmission]:
    """Which releases a notice is about: the recipient finds the data by their ids, without being told a name. Raises NoSuchObligation."""
    recall, notice = _find(session, number, application)
    if not (ledger.oversees(caller) or ledger.is_of(session, caller, notice.recipient_id)):
        raise NoSuchObligation
    sent = audit.transmissions(session, patient=recall.patient_key, application=application, limit=100_000)
    return [one for one in sent if one.disclosed and one.at <= recall.issued_at]


def escalate(session: Session, keys: Keys, *, grace_days: int) -> tuple[int, int]:
    """Write down what is overdue, once, and suspend the grants of recipients who stay silent; how many of each."""
    today = clock.today()
    late: Sequence[tuple[Recall, RecallNotice]] = session.exec(
        select(Recall, RecallNotice)
        .join(RecallNotice, (col(RecallNotice.patient_key) == col(Recall.patient_key)) & (col(RecallNotice.recall_id) == col(Recall.id)))
        .where(col(RecallNotice.done).is_(None), col(Recall.due_on) < today)
        .order_by(col(Recall.number), col(RecallNotice.application))
    ).all()
    told = 0
    for recall, notice in late:
        if notice.escalated_at is None:
            notice.escalated_at = clock.now()
            session.add(notice)
            told += 1
            facts: Facts = {"recall": recall.number, "due": recall.due_on.isoformat()}
            audit.record(session, Event("recall.overdue", "system", application=notice.application, recipient=notice.recipient_id, facts=facts))
    session.flush()
    stopped = sorted({notice.application for recall, notice in late if rules.suspends(recall.due_on, today, grace_days)})
    return told, sum(ledger.suspend(session, keys, number) for number in stopped)


def check_issuer(caller: PersonCaller) -> None:
    """Raises Forbidden for whoever may not call data back."""
    if not caller.may(Button.GRANT_REVOKE):
        raise Forbidden


def _number(session: Session) -> str:
    year = clock.now().year
    last = session.exec(
        select(Recall.number).where(col(Recall.number).startswith(f"RC-{year}-")).order_by(col(Recall.number).desc()).limit(1)
    ).first()
    return f"RC-{year}-{int(last[-6:]) + 1 if last else 1:06d}"
