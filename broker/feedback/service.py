"""The front door of feedback: report on the use of data, and whose report is overdue (RS-5.3.4)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.applications import service as applications
from broker.applications.models import Application, Grant
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import Forbidden, Problem
from broker.feedback import concerns
from broker.feedback.errors import NoSuchRelease
from broker.feedback.models import Feedback
from broker.feedback.rules import Answers, Clocks, check_answers, due_at, is_overdue
from broker.identity.access import Action, PersonCaller, ReleaseCaller, Role
from broker.notifications import service as notifications
from broker.release.models import Release
from broker.settings import Settings

__all__ = [
    "Answers",
    "answered",
    "background",
    "between",
    "clocks_of",
    "comment_of",
    "concerns",
    "destroy_comments",
    "due_at",
    "give",
    "give_as_client",
    "holds",
    "of_application",
    "overdue_at",
    "overdue_count",
    "remind",
]


def clocks_of(settings: Settings) -> Clocks:
    """By when this hospital answers suggestions and complaints."""
    days = (settings.complaint_days, max(settings.complaint_days, settings.complaint_shared_days), settings.suggestion_days)
    return Clocks(*days, zone=ZoneInfo(settings.time_zone))


def give(session: Session, keys: Keys, caller: PersonCaller, ref: str, answers: Answers) -> Feedback:
    """Report as the requester or as somebody of the recipient.

    Raises NoSuchApplication to everybody else, Forbidden without a role that reports, NoGrant before an approval,
    FeedbackInconsistent.
    """
    application = applications.find(session, ref)
    if application.round == 0 or not applications.is_recipients(session, caller.person_id, application):
        raise applications.NoSuchApplication
    # Whoever applied reports on it, the information manager too who entered it for somebody else.
    if not (caller.may(Action.FEEDBACK_WRITE) or application.requester_id == caller.person_id):
        raise Forbidden
    return _given(session, keys, application, answers, actor=caller.actor, person_id=caller.person_id)


def give_as_client(session: Session, keys: Keys, caller: ReleaseCaller, answers: Answers) -> Feedback:
    """Report as the recipient's system, on the application that its token is bound to. Raises NoGrant, FeedbackInconsistent."""
    application = applications.find(session, caller.application)
    if application.recipient_id != caller.organization_id:
        raise applications.NoSuchApplication
    return _given(session, keys, application, answers, actor=caller.actor, client_id=caller.client_id)


def _given(
    session: Session,
    keys: Keys,
    application: Application,
    answers: Answers,
    *,
    actor: str,
    person_id: UUID | None = None,
    client_id: str | None = None,
) -> Feedback:
    grant = applications.of_application(session, application)
    if grant is None:
        raise applications.NoGrant
    check_answers(answers)
    if answers.release is not None:
        sent = session.exec(select(Release.application).where(Release.id == answers.release)).one_or_none()
        if sent != grant.number:
            raise NoSuchRelease(problems=(Problem("/release", "unknown", "There was no such release under this application."),))
    row = Feedback(
        grant_id=grant.id,
        application=grant.number,
        release_id=answers.release,
        person_id=person_id,
        client_id=client_id,
        at=clock.now(),
        used=answers.used,
        purpose_met=answers.purpose_met,
        elements_used=list(answers.elements_used),
        examinations_avoided=answers.examinations_avoided,
        data_problems=sorted(set(answers.data_problems)),
        onward_disclosure=answers.onward_disclosure,
        deletion_done=answers.deletion_done,
    )
    row.comment_sealed = applications.seal_text(keys, application.id, f"feedback|{row.id}", answers.comment)
    event = Event(
        type="feedback.given",
        actor=actor,
        application=grant.number,
        grant=str(grant.id),
        recipient=grant.recipient_id,
        purpose=grant.purpose,
        facts={
            "used": answers.used,
            "examinations_avoided": answers.examinations_avoided,
            "onward_disclosure": answers.onward_disclosure,
            "deletion_done": answers.deletion_done,
            "data_problems": list(row.data_problems),
        },
    )
    return _store(session, row, event=event)


def _store(session: Session, row: Feedback, *, event: Event) -> Feedback:
    session.add(row)
    session.flush()
    audit.record(session, event)
    return row


def destroy_comments(session: Session, patient_key: UUID) -> int:
    """Forget the words of every report on an application about the patient; how many. The answers by code stay."""
    numbers = [one.number for one in applications.by_id(session, applications.applications_about(session, patient_key))]
    statement = sa.update(Feedback).where(col(Feedback.application).in_(numbers), col(Feedback.comment_sealed).is_not(None))
    return len(session.execute(statement.values(comment_sealed=None).returning(col(Feedback.id))).all())


def of_application(session: Session, number: str) -> list[Feedback]:
    """Every report on an application, oldest first."""
    return list(session.exec(select(Feedback).where(Feedback.application == number).order_by(col(Feedback.at), col(Feedback.id))).all())


def comment_of(keys: Keys, application: Application, row: Feedback) -> str | None:
    """The words of a report, unsealed."""
    return applications.unseal_text(keys, application.id, f"feedback|{row.id}", row.comment_sealed)


def answered(session: Session, grants: Iterable[UUID]) -> dict[UUID, datetime]:
    """When the first report on each of these grants came after data had been sent; those without one are left out.

    A report that came before anything was sent says nothing about the use of it.
    """
    first = (
        sa.select(col(Feedback.grant_id), sa.func.min(col(Feedback.at)))
        .join(Grant, col(Grant.id) == col(Feedback.grant_id))
        .where(col(Grant.id).in_(list(grants)), col(Feedback.at) >= col(Grant.first_released_at))
        .group_by(col(Feedback.grant_id))
    )
    return {row[0]: row[1] for row in session.execute(first).all()}


def overdue_at(session: Session, grants: Iterable[Grant], days: int, at: datetime) -> list[Grant]:
    """Those of the grants on which feedback was overdue at a moment, in the order given."""
    listed = list(grants)
    first = answered(session, [grant.id for grant in listed])
    return [grant for grant in listed if is_overdue(grant.first_released_at, first.get(grant.id), days, at)]


def overdue_count(session: Session, days: int, at: datetime) -> int:
    """On how many grants feedback was overdue at a moment: :func:`overdue_at` of every grant, counted by the database."""
    answer = sa.exists().where(
        col(Feedback.grant_id) == col(Grant.id), col(Feedback.at) >= col(Grant.first_released_at), col(Feedback.at) <= at
    )  # fmt: skip
    due = col(Grant.first_released_at) <= at - timedelta(days=days)
    query = sa.select(sa.func.count()).select_from(Grant).where(due, col(Grant.first_released_at) < at, ~answer)
    return int(session.execute(query).scalar_one())


def _held(days: int, session: Session, person: UUID) -> tuple[str, ...]:
    return tuple(grant.number for grant in overdue_at(session, applications.released_under(session, person), days, clock.now()))


def holds(days: int) -> applications.Holds:
    """What holds back new applications of a person: the numbers of those whose feedback is overdue.

    ``days``: ``settings.feedback_days``. Handed to ``applications`` by whoever puts the parts together.
    """
    return partial(_held, days)


def between(session: Session, since: datetime, until: datetime) -> list[Feedback]:
    """Every report of a span of time, in its order. ``until`` is not included."""
    return list(session.exec(select(Feedback).where(Feedback.at >= since, Feedback.at < until).order_by(col(Feedback.at), col(Feedback.id))).all())


#: Days before feedback is due at which its requester is reminded, and after which its delay is told to the information managers.
REMINDED, ESCALATED = timedelta(days=7), timedelta(days=14)


def remind(session: Session, keys: Keys, days: int) -> int:
    """Tell requesters, then recipients, then the information managers, of feedback that is due or overdue; how many. Safe to repeat."""
    now, told = clock.now(), 0
    reached = now - timedelta(days=days) + REMINDED
    grants = list(session.exec(select(Grant).where(col(Grant.first_released_at) <= reached).order_by(col(Grant.number))).all())
    given = answered(session, [grant.id for grant in grants])
    for grant in grants:
        if grant.id in given or grant.first_released_at is None:
            continue
        due = due_at(grant.first_released_at, days)
        facts: dict[str, str | int] = {"application": grant.number, "due": due.date().isoformat()}
        kind, once = ("feedback.overdue" if due <= now else "feedback.due"), f"feedback|{grant.id}|{'overdue' if due <= now else 'due'}"
        told += notifications.notify(session, keys, to=f"person:{grant.requester_id}", kind=kind, facts=facts, once=once) is not None
        if due <= now:
            to = f"organization:{grant.recipient_id}"
            told += notifications.notify(session, keys, to=to, kind=kind, facts=facts, once=f"{once}|recipient") is not None
        if due + ESCALATED <= now:
            told += notifications.notify_role(session, keys, Role.INFORMATION_MANAGER, kind=kind, facts=facts, once=f"{once}|up")
    return told


def background() -> list[jobs.Job]:
    """Every morning: reminders of feedback, and of suggestions and complaints without an answer."""

    def reminders(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            remind(session, tools.keys, tools.settings.feedback_days)
            concerns.remind(session, tools.keys)

    def reseal(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            concerns.reseal(session, tools.keys)

    return [jobs.Job("feedback.remind", reminders, cron="10 23 * * *"), jobs.Job("feedback.reseal", reseal, cron="11 * * * *")]
