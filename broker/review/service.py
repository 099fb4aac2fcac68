"""The front door of the review: what happened in a quarter, gathered from the slices below and made into one document (RS-7.1)."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import jobs
from broker.applications import service as applications
from broker.applications.models import Application, Decision
from broker.audit import service as audit
from broker.audit.models import AuditEvent
from broker.feedback import service as feedback
from broker.identity.models import Organization
from broker.incidents import service as incidents
from broker.obligations import service as obligations
from broker.policy import service as policy
from broker.release.models import Release
from broker.requests import service as requests
from broker.retention import service as retention
from broker.review import recertifying, sampling, workbench
from broker.review.errors import NoSuchQuarter
from broker.review.figures import COLUMNS, FINAL, Case, Inputs, Report, Sent, Step, document
from broker.review.report import as_pdf, as_pictures, as_xlsx, digest, fonts_there
from broker.review.rules import SMALLEST, Quarter, agrees
from broker.review.text import LANGUAGES, WORDS, as_text, lines
from broker.review.words import CHECK_WORDS
from broker.telemedicine import service as telemedicine

__all__ = [
    "CHECK_WORDS",
    "COLUMNS",
    "LANGUAGES",
    "SMALLEST",
    "WORDS",
    "NoSuchQuarter",
    "Quarter",
    "as_json",
    "as_pdf",
    "as_pictures",
    "as_text",
    "as_xlsx",
    "background",
    "compiled",
    "digest",
    "fonts_there",
    "hospital_names",
    "lines",
    "recertifying",
    "workbench",
]


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
        names={**_words(), **_names(session, {place for case in cases for place in (case.department, case.recipient)})},
    )
    # What happened after data had left, each slice's own figures.
    afterwards = {
        **incidents.figures(session, quarter.since, quarter.until),
        "obligations": obligations.figures(session, quarter.since, quarter.until),
        "destruction": retention.figures(session, quarter.since, quarter.until),
        "telemedicine": telemedicine.figures(session, quarter.since, quarter.until),
        "requests": requests.figures(session, quarter.since, quarter.until),
    }
    made = {**document(quarter, inputs), **afterwards}
    made["concerns"] = feedback.concerns.counted(feedback.concerns.between(session, quarter.since, quarter.until), quarter.until)
    made["sample"] = sampling.sample(str(quarter), _exchanges(session, quarter, inputs, feedback_days))
    return made


def _exchanges(session: Session, quarter: Quarter, inputs: Inputs, feedback_days: int) -> list[sampling.Exchange]:
    """Every exchange that was decided on, or under which data were sent, in the quarter: what the sample is drawn from."""
    sent: dict[str, int] = defaultdict(int)
    for one in inputs.sent:
        sent[one.number] += one.releases if one.outcome != "failed" else 0
    found = {row.number: row for row in applications.by_number(session, [case.number for case in inputs.cases])}
    steps: dict[UUID, list[Decision]] = defaultdict(list)
    for step in applications.steps_before(session, [row.id for row in found.values()], quarter.until):
        steps[step.application_id].append(step)
    grants = {grant.number: grant for grant in applications.released_before(session, quarter.until)}
    late = {grant.number for grant in feedback.overdue_at(session, grants.values(), feedback_days, quarter.until)}
    first = feedback.answered(session, [grant.id for grant in grants.values()])
    unknown = [one.application for one in audit.unfinished(session, timedelta()) if quarter.since <= one.at < quarter.until]
    exchanges = []
    for case in inputs.cases:
        within = [step for step in case.steps if step.action in FINAL and quarter.since <= step.at < quarter.until]
        if not within and not sent[case.number]:
            continue
        grant = grants.get(case.number)
        taken = steps[found[case.number].id] if case.number in found else []
        given = grant is not None and grant.id in first and first[grant.id] < quarter.until
        exchanges.append(
            sampling.Exchange(
                number=case.number,
                department=case.department,
                purpose=case.purpose,
                actions=tuple(step.action for step in taken if step.round == max(one.round for one in taken)),
                people=len({step.natural_person for step in taken if step.natural_person}),
                agreed=agrees(within[-1].assessed, within[-1].action) if within else None,
                releases=sent[case.number],
                limit=grant.releases_limit if grant else None,
                unknown=unknown.count(case.number),
                feedback="given" if given else "overdue" if case.number in late else "not-due",
            )
        )
    return exchanges


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


def _words() -> dict[str, dict[str, str]]:
    """Purposes and data classes in words."""
    known = {**policy.purposes(), **{code: one.name for code, one in policy.catalogue().classes.items()}}
    return {code: {"zh": text.zh, "en": text.en} for code, text in known.items()}


def _names(session: Session, ids: set[str]) -> dict[str, dict[str, str]]:
    rows = session.exec(select(Organization).where(col(Organization.id).in_(ids))).all()
    return {row.id: {"zh": row.name_zh, "en": row.name_en} for row in rows}


def hospital_names(session: Session, hospital: str) -> dict[str, str]:
    """The hospital's name in each language; its id where it isn't entered."""
    return _names(session, {hospital}).get(hospital, {"zh": hospital, "en": hospital})


def background() -> list[jobs.Job]:
    """Every night: access rights that nobody confirmed, or that were not to be kept, are taken away."""

    def enforce(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            recertifying.enforce(session, tools.keys)

    return [jobs.Job("review.enforce", enforce, cron="30 17 * * *")]
