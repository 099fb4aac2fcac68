"""What happened in a quarter, gathered from the slices below: the inputs of the figures, and the exchanges of which a sample is drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.applications import service as applications
from broker.applications.models import Decision
from broker.audit import service as audit
from broker.audit.models import AuditEvent
from broker.feedback import service as feedback
from broker.identity.models import Organization
from broker.policy import service as policy
from broker.release.models import Release
from broker.review import sampling
from broker.review.figures import FINAL, Case, Inputs, Report, Sent, Step
from broker.review.rules import Quarter, agrees


def gathered(session: Session, quarter: Quarter, feedback_days: int, unknown: Mapping[str, int]) -> Inputs:
    """The inputs of a quarter's figures. ``unknown``: releases of the quarter of which no outcome is known, by application."""
    sent = _sent(session, quarter)
    cases = [
        Case(one.number, one.department, one.recipient, one.purpose, one.urgency, one.data, tuple(Step(*step) for step in one.steps))
        for one in applications.threads_between(session, quarter.since, quarter.until, {one.number for one in sent})
    ]
    return Inputs(
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
        overdue=feedback.overdue_count(session, feedback_days, quarter.until),
        unexplained=sum(unknown.values()),
        refused_releases=_refused_releases(session, quarter),
        names={**_words(), **names(session, {place for case in cases for place in (case.department, case.recipient)})},
    )


def unknown(session: Session, quarter: Quarter) -> dict[str, int]:
    """How many releases that began in the quarter have no known outcome, by application."""
    found: dict[str, int] = defaultdict(int)
    for one in audit.unfinished(session, timedelta()):
        if quarter.since <= one.at < quarter.until:
            found[one.application or ""] += 1
    return found


def sample(session: Session, quarter: Quarter, inputs: Inputs, feedback_days: int, unknown_outcomes: Mapping[str, int]) -> list[Mapping[str, object]]:
    """The drawn sample of every exchange that was decided on, or under which data were sent, in the quarter; read closely are those alone."""
    sent: dict[str, int] = defaultdict(int)
    for one in inputs.sent:
        sent[one.number] += one.releases if one.outcome != "failed" else 0

    def decisions(case: Case) -> list[Step]:
        return [step for step in case.steps if step.action in FINAL and quarter.since <= step.at < quarter.until]

    drawn = {
        case.number: case
        for case in sampling.drawn(str(quarter), [case for case in inputs.cases if sent[case.number] or decisions(case)])
    }  # fmt: skip
    rows = {row.number: row for row in applications.by_number(session, list(drawn)) if row.number}
    steps: dict[UUID, list[Decision]] = defaultdict(list)
    for taken in applications.steps_before(session, [row.id for row in rows.values()], quarter.until):
        steps[taken.application_id].append(taken)
    grants = {grant.number: grant for grant in applications.released_before(session, quarter.until, list(drawn))}
    late = {grant.number for grant in feedback.overdue_at(session, grants.values(), feedback_days, quarter.until)}
    first = feedback.answered(session, [grant.id for grant in grants.values()])
    exchanges = []
    for number, case in drawn.items():
        grant, thread, within = grants.get(number), steps[rows[number].id], decisions(case)
        given = grant is not None and grant.id in first and first[grant.id] < quarter.until
        exchanges.append(
            sampling.Exchange(
                number=number,
                department=case.department,
                purpose=case.purpose,
                actions=tuple(step.action for step in thread if step.round == max(one.round for one in thread)),
                people=len({step.natural_person for step in thread if step.natural_person}),
                agreed=agrees(within[-1].assessed, within[-1].action) if within else None,
                releases=sent[number],
                limit=grant.releases_limit if grant else None,
                unknown=unknown_outcomes.get(number, 0),
                feedback="given" if given else "overdue" if number in late else "not-due",
            )
        )
    return sampling.sample(str(quarter), exchanges)


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


def _words() -> dict[str, dict[str, str]]:
    """Purposes and data classes in words."""
    known = {**policy.purposes(), **{code: one.name for code, one in policy.catalogue().classes.items()}}
    return {code: {"zh": text.zh, "en": text.en} for code, text in known.items()}


def names(session: Session, ids: set[str]) -> dict[str, dict[str, str]]:
    """The names of organisations in each language."""
    rows = session.exec(select(Organization).where(col(Organization.id).in_(ids))).all()
    return {row.id: {"zh": row.name_zh, "en": row.name_en} for row in rows}
