"""The front door of the review: what happened in a quarter, gathered from the slices below and made into one document (RS-7.1)."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.applications import service as applications
from broker.applications.models import Application, Decision
from broker.audit import service as audit
from broker.audit.models import AuditEvent
from broker.feedback import service as feedback
from broker.identity.models import Organization
from broker.incidents import service as incidents
from broker.obligations import service as obligations
from broker.release.models import Release
from broker.retention import service as retention
from broker.review.errors import NoSuchQuarter
from broker.review.figures import COLUMNS, Case, Inputs, Report, Sent, Step, document
from broker.review.rules import SMALLEST, Quarter
from broker.review.text import LANGUAGES, WORDS, as_text, lines

__all__ = ["COLUMNS", "LANGUAGES", "SMALLEST", "WORDS", "NoSuchQuarter", "Quarter", "as_json", "as_text", "compiled", "lines"]


def compiled(session: Session, quarter: Quarter, *, feedback_days: int) -> dict[str, Any]:
    """The review of a quarter as it stands in the database. What came after the quarter's end is not looked at."""
    sent = _sent(session, quarter)
    new = applications.submitted_between(session, quarter.since, quarter.until)
    decided = applications.decided_between(session, quarter.since, quarter.until)
    touched = [
        *new,
        *applications.by_id(session, {one.application_id for one in decided}),
        *applications.by_number(session, {one.number for one in sent}),
    ]
    cases = _cases(session, quarter, {one.id: one for one in touched})
    released = applications.released_before(session, quarter.until)
    inputs = Inputs(
        cases=cases,
        sent=sent,
        reports=[
            Report(
                used=one.used,
                purpose_met=one.purpose_met,
                examinations_avoided=one.examinations_avoided,
                onward_disclosure=one.onward_disclosure,
                deletion_done=one.deletion_done,
                data_problems=tuple(one.data_problems),
            )
            for one in feedback.between(session, quarter.since, quarter.until)
        ],
        overdue=len(feedback.overdue_at(session, released, feedback_days, quarter.until)),
        unexplained=sum(quarter.since <= one.at < quarter.until for one in audit.unfinished(session, timedelta())),
        refused_releases=_refused_releases(session, quarter),
        names=_names(session, {place for case in cases for place in (case.department, case.recipient)}),
    )
    # What happened after data had left, each slice's own figures.
    afterwards = {
        **incidents.figures(session, quarter.since, quarter.until),
        "obligations": obligations.figures(session, quarter.since, quarter.until),
        "destruction": retention.figures(session, quarter.since, quarter.until),
    }
    return {**document(quarter, inputs), **afterwards}


def as_json(review: dict[str, Any]) -> str:
    """The document as JSON with sorted keys; the same document gives the same bytes."""
    return json.dumps(review, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _cases(session: Session, quarter: Quarter, found: dict[UUID, Application]) -> list[Case]:
    taken: dict[UUID, list[Decision]] = defaultdict(list)
    for decision in applications.steps_before(session, list(found), quarter.until):
        taken[decision.application_id].append(decision)
    return [
        Case(
            number=one.number or "",
            department=one.organization_id,
            recipient=one.recipient_id or "",
            purpose=one.purpose or "",
            urgency=one.form.get("urgency") or "routine",
            data=tuple(sorted({item.get("data_class") or f"type:{item.get('resource_type')}" for item in one.form.get("data") or ()})),
            steps=tuple(Step(step.action, step.at, step.assessed, step.reason_code) for step in taken[one.id]),
        )
        for one in sorted(found.values(), key=lambda one: one.number or "")
        if taken[one.id]
    ]


def _sent(session: Session, quarter: Quarter) -> list[Sent]:
    """Releases of the quarter by application and outcome."""
    kept = (col(Release.application), col(Release.outcome))
    rows = session.execute(
        sa.select(*kept, sa.func.count(), sa.func.sum(col(Release.items)), sa.func.sum(col(Release.held_back)))
        .where(col(Release.sent_at) >= quarter.since, col(Release.sent_at) < quarter.until)
        .group_by(*kept)
        .order_by(*kept)
    ).all()
    return [Sent(number, outcome, releases, items, held_back) for number, outcome, releases, items, held_back in rows]


def _refused_releases(session: Session, quarter: Quarter) -> dict[str, int]:
    """Requests for data that were refused, by the codes of their reasons; a request with two reasons counts under both."""
    reasons = sa.func.jsonb_array_elements_text(sa.cast(col(AuditEvent.leaf), sa.dialects.postgresql.JSONB)["facts"]["reasons"])
    each = (
        sa.select(reasons.label("reason"))
        .where(col(AuditEvent.type) == "release.refused", col(AuditEvent.at) >= quarter.since, col(AuditEvent.at) < quarter.until)
        .subquery()
    )
    rows = session.execute(sa.select(each.c.reason, sa.func.count()).group_by(each.c.reason)).all()
    return {row[0]: row[1] for row in rows}


def _names(session: Session, ids: set[str]) -> dict[str, dict[str, str]]:
    rows = session.exec(select(Organization).where(col(Organization.id).in_(ids))).all()
    return {row.id: {"zh": row.name_zh, "en": row.name_en} for row in rows}
