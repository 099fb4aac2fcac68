"""The front door of obligations: the ledger, recalls, and what follows by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import jobs
from broker.obligations import evidence, ledger, recalls
from broker.obligations.evidence import destroy_texts
from broker.obligations.ledger import Answer, answer, answer_signed, evidence_of, judge, many
from broker.obligations.lifecycle import Action, Done, State
from broker.obligations.models import Obligation, Recall, RecallNotice
from broker.obligations.recalls import acknowledge, acknowledge_signed, follow, issue, of_patient, releases_of
from broker.obligations.recalls import evidence_of as recall_evidence_of
from broker.obligations.recalls import many as many_recalls

__all__ = [
    "Action",
    "Answer",
    "Done",
    "State",
    "acknowledge",
    "acknowledge_signed",
    "answer",
    "answer_signed",
    "background",
    "destroy_texts",
    "escalate",
    "evidence_of",
    "figures",
    "follow",
    "issue",
    "judge",
    "many",
    "many_recalls",
    "of_patient",
    "recall_evidence_of",
    "releases_of",
]


def escalate(session: Session, keys: Any, *, grace_days: int) -> tuple[int, int]:
    """Obligations and recalls that are overdue: told of, and grants suspended; how many of each."""
    told, stopped = ledger.escalate(session, keys, grace_days=grace_days)
    more_told, more_stopped = recalls.escalate(session, keys, grace_days=grace_days)
    return told + more_told, stopped + more_stopped


def background() -> list[jobs.Job]:
    """Every minute what the log says is taken in; every day recipients are reminded, and what is overdue is escalated."""

    def take_in(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            follow(session, tools.keys, days=tools.settings.recall_days)

    def look_after(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            ledger.remind(session, tools.keys)
            escalate(session, tools.keys, grace_days=tools.settings.obligation_grace_days)

    def reseal(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            evidence.reseal(session, tools.keys)

    return [
        jobs.Job("obligations.reseal", reseal, cron="13 * * * *"),
        jobs.Job("obligations.follow", take_in, cron="* * * * *"),
        jobs.Job("obligations.escalate", look_after, cron="7 1 * * *"),
    ]


def figures(session: Session, since: datetime, until: datetime) -> dict[str, Any]:
    """Obligations due and recalls issued in a span of time, for the review; ``until`` is not included."""
    due = session.execute(
        sa.select(col(Obligation.status), sa.func.count())
        .where(col(Obligation.due_on) >= since.date(), col(Obligation.due_on) < until.date())
        .group_by(col(Obligation.status))
    ).all()
    issued = session.exec(select(Recall).where(Recall.issued_at >= since, Recall.issued_at < until)).all()
    notices = session.exec(select(RecallNotice).where(col(RecallNotice.recall_id).in_([one.id for one in issued]))).all()
    done: dict[str, int] = {}
    for one in notices:
        done[one.done or "unanswered"] = done.get(one.done or "unanswered", 0) + 1
    return {
        "obligations_due": {str(status): int(count) for status, count in sorted(due)},
        "recalls": len(issued),
        "recall_notices": dict(sorted(done.items())),
    }
