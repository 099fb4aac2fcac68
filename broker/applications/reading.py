"""Applications as somebody may look at them: one, a list, the machine's opinion, the whole exchange."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import assessing, attachments, grants, people, sealing, steps
from broker.applications.drafts import patients_of, typed_patients
from broker.applications.errors import NoSuchApplication, NotYourMove
from broker.applications.lifecycle import Action, GrantAction, Part, State, possible, possible_with_grant
from broker.applications.models import Application, Assessment, Decision, Grant, GrantPatient
from broker.applications.people import Actor
from broker.applications.rules import can_decide, check_four_eyes
from broker.applications.schemas import (
    ApplicationOut,
    AssessmentOut,
    AttachmentOut,
    DecisionOut,
    ExchangeOut,
    GrantOut,
    ListOut,
    OpinionOut,
    PatientOut,
    PersonOut,
    SummaryOut,
    TransmissionOut,
)
from broker.audit import service as audit
from broker.crypto import Keys
from broker.identity.models import Person

#: How many sendings an exchange lists; the transmission log has them all.
LISTED = 1000


@dataclass(frozen=True)
class Sight:
    """An application that somebody may see, and in which parts they see it."""

    application: Application
    who: Actor
    parts: frozenset[Part]


def look(session: Session, person: UUID, ref: str) -> Sight:
    """Find an application for somebody. Raises NoSuchApplication, also where it is there and not theirs to see."""
    application = steps.find(session, ref)
    who = people.actor(session, person)
    parts = people.parts_of(session, who, application)
    if not steps.sees(who, parts, application):
        raise NoSuchApplication
    return Sight(application, who, parts)


def look_to_decide(session: Session, person: UUID, ref: str) -> Sight:
    """As :func:`look`, for the information manager who decides, and on record: a preview shows a patient's data.

    Raises NotYourMove for everybody else and FourEyes for the application's own requester.
    """
    sight = look(session, person, ref)
    application = sight.application
    if Part.INFORMATION_MANAGER not in sight.parts:
        raise NotYourMove("The preview is for the information manager who decides.")
    if application.round == 0:
        raise NoSuchApplication("It has not been submitted yet.")
    check_four_eyes({"request": people.natural_persons(session, [application.requester_id])[application.requester_id]}, sight.who.natural_person)
    audit.record(session, steps.event(application, sight.who, "previewed"))
    return sight


def one(session: Session, keys: Keys, sight: Sight) -> ApplicationOut:
    """One application with everything that was typed."""
    application = sight.application
    form = application.form
    grant = grants.of_application(session, application)
    return ApplicationOut(
        **_summary(application, _people(session, [application.requester_id]), assessing.latest(session, application), grant),
        lawful_basis=form.get("lawful_basis"),
        patients=[
            PatientOut(position=place, identifier=typed.get("identifier"), name=typed.get("name"), birthDate=typed.get("birthDate"))
            for place, typed in enumerate(typed_patients(session, keys, application), start=1)
        ],
        data=form.get("data") or [],
        period=_period(form.get("period")),
        channel=form.get("channel") or "api",
        valid_until=form.get("valid_until"),
        justification=sealing.unseal_text(keys, application.id, "justification", application.justification_sealed),
        retention_days=form.get("retention_days"),
        content_hash=application.content_hash,
        grant=_grant(session, sight, grant),
        needs=application.needs,
        missing=list(steps.missing(session, application)),
        attachments=[
            AttachmentOut(
                id=row.id, kind=row.kind, name=attachments.name_of(keys, row), media_type=row.media_type, size=row.size, added_at=row.added_at
            )
            for row in attachments.of_application(session, application)
        ],
        actions=actions(session, sight),
    )


def actions(session: Session, sight: Sight) -> list[str]:
    """What this person can do with it now: the lifecycle's moves, less those that the four eyes forbid."""
    application = sight.application
    moves = possible(State(application.status), sight.parts)
    if any(move.decides or move.reviews for move in moves.values()):
        taken, me = steps.steps_taken(session, application), sight.who.natural_person
        out = me in steps.recused(session, application)
        if out or not can_decide(taken, me):
            moves = {action: move for action, move in moves.items() if not move.decides}
        if out or not can_decide(steps.reviewed_by(taken), me):
            moves = {action: move for action, move in moves.items() if not move.reviews}
    if Part.REQUESTER in sight.parts:
        moves.pop(Action.RECUSE, None)  # Whoever applied has no step to keep out of.
    lacking = {need.partition(":")[0] for need in steps.missing(session, application)}
    moves = {action: move for action, move in moves.items() if action not in (Action.AGREE, Action.LEGALITY, Action.NECESSITY) or action in lacking}
    return [action.value for action in moves]


def many(
    session: Session, person: UUID, *, status: State | None = None, recipient: str | None = None, limit: int = 50, after: UUID | None = None
) -> ListOut:
    """A page of what this person may see, newest first. ``after`` is the draft id of the last one of the page before."""
    who = people.actor(session, person)
    query = select(Application).where(visible(session, who))
    if status is not None:
        query = query.where(Application.status == status.value)
    if recipient is not None:
        query = query.where(Application.recipient_id == recipient)
    if after is not None:
        last = session.get(Application, after)
        if last is None:
            return ListOut(items=[], next=None)
        query = query.where(sa.tuple_(col(Application.created_at), col(Application.id)) < sa.tuple_(sa.literal(last.created_at), sa.literal(last.id)))
    page = session.exec(query.order_by(col(Application.created_at).desc(), col(Application.id).desc()).limit(limit + 1)).all()
    shown = page[:limit]
    return ListOut(items=summaries(session, shown), next=shown[-1].id if len(page) > limit else None)


def summaries(session: Session, applications: Sequence[Application]) -> list[SummaryOut]:
    """Applications as lines of a list, in the order given."""
    ids = [application.id for application in applications]
    known = _people(session, {application.requester_id for application in applications})
    opinions = _latest_assessments(session, ids)
    given = {grant.application_id: grant for grant in session.exec(select(Grant).where(col(Grant.application_id).in_(ids))).all()}
    return [SummaryOut(**_summary(application, known, opinions.get(application.id), given.get(application.id))) for application in applications]


def opinion(session: Session, application: Application, assessment: Assessment | None) -> AssessmentOut:
    """The machine's opinion. Raises NoSuchApplication where none was asked for yet, a draft having none."""
    if assessment is None:
        raise NoSuchApplication("It has not been submitted yet, so that there is no assessment.")
    return AssessmentOut(
        application=application.number or str(application.id),
        ordinal=assessment.ordinal,
        at=assessment.at,
        effect=assessment.effect,
        current=assessment.content_hash == application.content_hash,
        content_hash=assessment.content_hash,
        policy_revision=assessment.revision,
        engine=assessment.engine,
        patients=[
            OpinionOut(
                position=row.position,
                effect=row.effect,
                reasons=row.reasons,
                plan=row.plan,
                obligations=row.obligations,
                necessity=row.necessity,
                consents=row.consents,
            )
            for row in assessing.of_patients(session, assessment)
        ],
    )


def exchange(session: Session, keys: Keys, sight: Sight) -> ExchangeOut:
    """The whole thread: the application, each opinion and decision, the grant, what was sent (RS-6.1)."""
    application = sight.application
    taken = session.exec(select(Decision).where(Decision.application_id == application.id).order_by(col(Decision.version))).all()
    known = _people(session, {one for row in taken for one in (row.person_id, row.on_behalf_of) if one})
    opinions = session.exec(select(Assessment).where(Assessment.application_id == application.id).order_by(col(Assessment.ordinal))).all()
    sent = audit.transmissions(session, application=application.number, limit=LISTED) if application.number else []
    shown = one(session, keys, sight)
    return ExchangeOut(
        application=shown,
        assessments=[opinion(session, application, row) for row in opinions],
        decisions=[
            DecisionOut(
                action=row.action,
                at=row.at,
                by=known[row.person_id] if row.person_id else None,
                on_behalf_of=known[row.on_behalf_of] if row.on_behalf_of else None,
                round=row.round,
                version=row.version,
                content_hash=row.content_hash,
                assessed=row.assessed,
                code=row.reason_code,
                reason=sealing.unseal_text(keys, application.id, f"reason|{row.id}", row.reason_sealed),
            )
            for row in taken
        ],
        grant=shown.grant,
        transmissions=[
            TransmissionOut(
                release=sending.release,
                at=sending.at,
                finished=sending.finished,
                client=sending.actor.removeprefix("client:"),
                outcome=sending.outcome,
                items=sending.items,
                disclosed=sending.disclosed,
            )
            for sending in sent
        ],
    )


def visible(session: Session, who: Actor) -> sa.ColumnElement[bool]:
    """The SQL of ``steps.sees``: which applications somebody may look at."""
    mine = col(Application.requester_id) == who.id
    if who.manages or who.audits:
        return sa.or_(mine, col(Application.round) > 0)
    concerned = people.below(session, who.head_of)
    if not concerned:
        return mine
    of_theirs = sa.or_(
        col(Application.recipient_id).in_(concerned),
        col(Application.organization_id).in_(concerned),
        col(Application.needs).bool_op("?|")(sa.cast([f"agree:{place}" for place in concerned], postgresql.ARRAY(sa.Text))),
    )
    return sa.or_(mine, sa.and_(col(Application.round) > 0, of_theirs))


def _people(session: Session, ids: Collection[UUID]) -> dict[UUID, PersonOut]:
    rows = session.exec(select(Person).where(col(Person.id).in_(ids))).all()
    return {row.id: PersonOut(id=row.id, name=row.name, organization=row.organization_id) for row in rows}


def _latest_assessments(session: Session, ids: Sequence[UUID]) -> dict[UUID, Assessment]:
    rows = session.exec(
        select(Assessment)
        .where(col(Assessment.application_id).in_(ids))
        .ext(distinct_on(col(Assessment.application_id)))
        .order_by(col(Assessment.application_id), col(Assessment.ordinal).desc())
    ).all()
    return {row.application_id: row for row in rows}


def _summary(application: Application, known: dict[UUID, PersonOut], assessment: Assessment | None, grant: Grant | None) -> dict[str, Any]:
    return {
        "id": application.number or str(application.id),
        "number": application.number,
        "draft_id": application.id,
        "status": State(application.status),
        "version": application.version,
        "requester": known[application.requester_id],
        "on_behalf": application.on_behalf,
        "purpose": application.purpose,
        "recipient": application.recipient_id,
        "urgency": application.form.get("urgency") or "routine",
        "assessed": assessment.effect if assessment else None,
        "grant_status": grants.state_now(grant).value if grant else None,
        "due_at": application.due_at,
        "late": application.due_at is not None and application.due_at <= clock.now(),
        "parent": str(application.parent_id) if application.parent_id else None,
        "relation": application.relation,
        "created_at": application.created_at,
        "changed_at": application.changed_at,
        "submitted_at": application.submitted_at,
        "decided_at": application.decided_at,
    }


def _grant(session: Session, sight: Sight, grant: Grant | None) -> GrantOut | None:
    if grant is None:
        return None
    members = set(session.exec(select(GrantPatient.patient_key).where(GrantPatient.grant_id == grant.id)).all())
    return GrantOut(
        id=grant.id,
        status=grants.state_now(grant).value,
        recipient=grant.recipient_id,
        purpose=grant.purpose,
        lawful_basis=grant.lawful_basis,
        data=grant.terms["data"],
        period=_period(grant.terms["period"]),
        retention_days=grant.terms["retention_days"],
        patients=[row.position for row in patients_of(session, sight.application) if row.patient_key in members],
        valid_from=grant.valid_from,
        valid_until=grant.valid_until,
        releases_used=grant.releases_used,
        releases_limit=grant.releases_limit,
        frequency=grant.terms.get("frequency"),
        first_released_at=grant.first_released_at,
        content_hash=grant.content_hash,
        consents=grant.consents,
        actions=[action.value for action in possible_with_grant(grants.state_now(grant), sight.parts) if action is not GrantAction.REPLACE],
    )


def _period(form: dict[str, Any] | None) -> dict[str, str | None]:
    return {"start": (form or {}).get("start"), "end": (form or {}).get("end")}
