"""The front door of applications: write, submit, decide, read; grants for identity and for the release path.

Verbs take the session first, then the keys or the :class:`Means`, then the account of the person who acts, then the number
(or the draft's uuid). They lock, judge, store and record; the transaction is the caller's.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from broker import jobs
from broker.applications import people
from broker.applications.abroad import people_abroad
from broker.applications.agreements import accept_terms, networks, outstanding, publish, set_network
from broker.applications.agreements import newest as agreements
from broker.applications.agreements import versions as agreement_versions
from broker.applications.assessing import latest as latest_assessment
from broker.applications.assessing import of_patients
from broker.applications.attachments import AttachmentKind, attach, detach, opened
from broker.applications.attachments import name_of as attachment_name
from broker.applications.bulk import Became, BulkAction, Chosen
from broker.applications.bulk import act as bulk
from broker.applications.deciding import (
    Narrowing,
    agree,
    approve,
    concur,
    endorse,
    legality,
    narrow,
    necessity,
    reassess,
    recuse,
    refuse,
    return_,
    withdraw,
)
from broker.applications.delegations import OFFICES, delegate, lent_offices
from broker.applications.delegations import end as end_delegation
from broker.applications.delegations import of_caller as delegations
from broker.applications.destroying import applications_about, destroy_texts
from broker.applications.differences import between as differences
from broker.applications.drafts import draft, patients_of, typed_patients, update
from broker.applications.emergencies import EmergencyGrant, EmergencyRefused, open_emergency
from broker.applications.errors import NoGrant, NoSuchApplication, NotNarrower
from broker.applications.grant_views import GrantRegister, parties_of, types_within
from broker.applications.grants import (
    PREPARE,
    close,
    expire_due,
    of_application,
    resume,
    revoke,
    revoke_by_clock,
    state_now,
    suspend,
    suspend_by_clock,
)
from broker.applications.idempotency import Answer, forget, idempotent, request_hash
from broker.applications.lifecycle import Action, GrantAction, GrantState, State
from broker.applications.listing import SORTS, Glance, Listing, Wanted, glance, listing, recipients, waiting
from broker.applications.looking_back import threads_between
from broker.applications.means import ConsentFactsOf, Holds, Judge, Means, Preview, no_holds
from broker.applications.models import Application, Decision, Grant
from broker.applications.outlook import outlook
from broker.applications.reading import Sight, actions, exchange, look, look_to_decide, many, one, opinion
from broker.applications.release_facts import COLUMNS, GRANT_FACTS_SQL, SPEND_SQL, GrantRow, grant_from_row
from broker.applications.renewals import Relation, again
from broker.applications.sealing import seal_text, unseal_text
from broker.applications.steps import Reason, ReasonCode, etag, find
from broker.applications.submission import owned, set_owners, submit, terms_of
from broker.applications.telling import remind
from broker.applications.terms import Item, Terms
from broker.applications.windows import bind, open_window, shut_window

__all__ = [
    "COLUMNS",
    "GRANT_FACTS_SQL",
    "OFFICES",
    "PREPARE",
    "SORTS",
    "SPEND_SQL",
    "Action",
    "Answer",
    "AttachmentKind",
    "Became",
    "BulkAction",
    "Chosen",
    "ConsentFactsOf",
    "EmergencyGrant",
    "EmergencyRefused",
    "Glance",
    "GrantAction",
    "GrantRegister",
    "GrantRow",
    "GrantState",
    "Holds",
    "Item",
    "Judge",
    "Listing",
    "Means",
    "Narrowing",
    "NoGrant",
    "NoSuchApplication",
    "NotNarrower",
    "Preview",
    "Reason",
    "ReasonCode",
    "Relation",
    "Sight",
    "State",
    "Terms",
    "Wanted",
    "accept_terms",
    "actions",
    "again",
    "agree",
    "agreement_versions",
    "agreements",
    "applications_about",
    "approve",
    "attach",
    "attachment_name",
    "background",
    "bind",
    "bulk",
    "by_id",
    "by_number",
    "close",
    "concur",
    "delegate",
    "delegations",
    "destroy_texts",
    "detach",
    "differences",
    "draft",
    "end_delegation",
    "endorse",
    "etag",
    "exchange",
    "expire_due",
    "find",
    "forget",
    "glance",
    "grant_from_row",
    "idempotent",
    "is_recipients",
    "latest_assessment",
    "legality",
    "lent_offices",
    "listing",
    "look",
    "look_to_decide",
    "many",
    "narrow",
    "necessity",
    "networks",
    "no_holds",
    "of_application",
    "one",
    "open_emergency",
    "open_window",
    "opened",
    "opinion",
    "opinions",
    "outlook",
    "outstanding",
    "owned",
    "parties_of",
    "patients_of",
    "people_abroad",
    "publish",
    "reassess",
    "recipients",
    "recuse",
    "refuse",
    "released_before",
    "released_under",
    "remind",
    "request_hash",
    "resume",
    "return_",
    "revoke",
    "revoke_by_clock",
    "seal_text",
    "set_network",
    "set_owners",
    "shut_window",
    "state_now",
    "steps_before",
    "submit",
    "suspend",
    "suspend_by_clock",
    "terms_of",
    "threads_between",
    "typed_patients",
    "types_within",
    "unseal_text",
    "update",
    "waiting",
    "withdraw",
]


def released_under(session: Session, person: UUID) -> list[Grant]:
    """Grants that somebody applied for, under any account of theirs, and under which data have been sent; oldest first."""
    who = people.actor(session, person)
    return list(
        session.exec(
            select(Grant)
            .where(col(Grant.requester_id).in_(people.accounts_of(session, who.natural_person)), col(Grant.first_released_at).is_not(None))
            .order_by(col(Grant.first_released_at), col(Grant.number))
        ).all()
    )


def opinions(session: Session, application: Application) -> list[tuple[UUID, str, dict[str, Any] | None]]:
    """Blinded key, effect and plan for each patient in the newest assessment, in the form's order; none before the first."""
    newest = latest_assessment(session, application)
    return [] if newest is None else [(row.patient_key, row.effect, row.plan) for row in of_patients(session, newest)]


def is_recipients(session: Session, person: UUID, application: Application) -> bool:
    """Whether somebody applied, under any account of theirs, or works for the recipient or a department of it."""
    who = people.actor(session, person)
    return application.requester_id in people.accounts_of(session, who.natural_person) or application.recipient_id in who.home.lineage


def steps_before(session: Session, ids: list[UUID], until: datetime) -> list[Decision]:
    """Every step of these applications up to a moment (not included), in each one's order."""
    query = select(Decision).where(col(Decision.application_id).in_(ids), Decision.at < until)
    return list(session.exec(query.order_by(col(Decision.application_id), col(Decision.version))).all())


def by_id(session: Session, ids: Collection[UUID]) -> list[Application]:
    """These applications, by number."""
    return list(session.exec(select(Application).where(col(Application.id).in_(ids)).order_by(col(Application.number))).all())


def by_number(session: Session, numbers: Collection[str]) -> list[Application]:
    """These applications, by number."""
    return list(session.exec(select(Application).where(col(Application.number).in_(numbers)).order_by(col(Application.number))).all())


def released_before(session: Session, until: datetime, numbers: Collection[str]) -> list[Grant]:
    """Those of the grants of these numbers under which data had been sent before a moment, by number."""
    query = select(Grant).where(col(Grant.number).in_(numbers), col(Grant.first_released_at) < until)
    return list(session.exec(query.order_by(col(Grant.number))).all())


def background() -> list[jobs.Job]:
    """What applications do by themselves: write down what has run out, forget answers that aren't given again."""

    def expire(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            expire_due(session, tools.keys)

    def forget_answers(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            forget(session)

    def remind_late(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            remind(session, tools.keys)

    return [
        jobs.Job("applications.remind", remind_late, cron="*/10 * * * *"),
        jobs.Job("applications.expire_due", expire, cron="*/5 * * * *"),
        jobs.Job("applications.forget", forget_answers, cron="7 * * * *"),
    ]
