"""One step of an application: find and lock it, judge the move, write down who took it. Every verb goes through here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import people, sealing
from broker.applications.errors import FourEyes, InterestDeclared, NoSuchApplication, ReasonRequired
from broker.applications.lifecycle import Action, GrantAction, Move, Part, State, check_move
from broker.applications.models import EYES, Application, Assessment, Decision
from broker.applications.people import Actor
from broker.applications.rules import check_four_eyes
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.errors import PreconditionFailed, PreconditionRequired, Problem
from broker.workforce import service as workforce

_NUMBER = re.compile(r"SA-\d{4}-\d{6,}")


class ReasonCode(StrEnum):
    """Why an application was returned or refused, as the quarterly review counts it."""

    NOT_LAWFUL = "not-lawful"
    NOT_NECESSARY = "not-necessary"
    NO_CONSENT = "no-consent"
    RECIPIENT = "recipient"
    INCOMPLETE = "incomplete"
    DUPLICATE = "duplicate"
    SECURITY = "security"
    DONE = "done"  #: closing: the purpose is served
    NO_LONGER_NEEDED = "no-longer-needed"
    MOVED = "moved"  #: the requester has moved to another institution
    REPLACED = "replaced"  #: by a renewal or an amendment
    RECERTIFICATION = "recertification"  #: nobody confirmed in the quarterly review that it is still needed
    OTHER = "other"


@dataclass(frozen=True)
class Reason:
    """Why: a sentence for the applicant, which may name a patient and is kept sealed, and a code that is counted."""

    text: str
    code: ReasonCode = ReasonCode.OTHER


def find(session: Session, ref: str, *, lock: bool = False) -> Application:
    """By number or by the draft's uuid. ``lock``: nobody else changes it until this commits. Raises NoSuchApplication."""
    if _NUMBER.fullmatch(ref):
        wanted = col(Application.number) == ref
    else:
        try:
            wanted = col(Application.id) == UUID(ref)
        except ValueError:
            raise NoSuchApplication from None
    query = select(Application).where(wanted)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    found = session.exec(query).one_or_none()
    if found is None:
        raise NoSuchApplication
    return found


def sees(who: Actor, parts: frozenset[Part], application: Application) -> bool:
    """Who may look at it: its requester; once submitted also the heads concerned, information managers and auditors."""
    if Part.REQUESTER in parts:
        return True
    return application.status != State.DRAFT and application.round > 0 and (bool(parts) or who.audits)


def steps_taken(session: Session, application: Application) -> dict[str, str]:
    """The steps of this round that count for the four eyes, each with the natural person behind it as is known *now*.

    Two accounts that turned out to be one person's count as one, whenever that was found out.
    """
    rows = session.exec(
        select(Decision).where(
            Decision.application_id == application.id, Decision.round == application.round, col(Decision.action).in_([one.value for one in EYES])
        )
    ).all()
    ids = {row.person_id for row in rows if row.person_id} | {application.requester_id}
    known = people.natural_persons(session, ids)
    several = (Action.AGREE, Action.CONCUR)
    taken = {f"{row.action}:{row.id}" if row.action in several else row.action: known[row.person_id] for row in rows if row.person_id}
    return {**taken, "request": known[application.requester_id]}


@dataclass(frozen=True)
class Taken:
    """A move that was found allowed: the locked application, who moves it, in which parts, and the move itself."""

    application: Application
    who: Actor
    parts: frozenset[Part]
    move: Move
    on_behalf_of: UUID | None = None  #: whose office it is, where it is held by delegation


def recused(session: Session, application: Application) -> frozenset[str]:
    """The natural persons who declared an interest in this application, in whatever round."""
    rows = session.exec(select(Decision.person_id).where(Decision.application_id == application.id, Decision.action == Action.RECUSE.value)).all()
    return frozenset(people.natural_persons(session, [row for row in rows if row]).values())


def reviewed_by(taken: Mapping[str, str]) -> dict[str, str]:
    """Of the steps taken, those that keep somebody from reviewing: to have applied, endorsed or agreed."""
    return {step: person for step, person in taken.items() if step.partition(":")[0] in ("request", Action.SUBMIT, Action.ENDORSE, Action.AGREE)}


def missing(session: Session, application: Application) -> tuple[str, ...]:
    """Of the steps that this application needs besides endorsement, those not yet taken in this round."""
    rows = session.execute(
        select(Decision.action, Decision.place).where(Decision.application_id == application.id, Decision.round == application.round)
    ).all()
    taken = {f"{action}:{one}" if one else action for action, place in rows for one in (place or "").split(" ")}
    return tuple(need for need in application.needs if need not in taken)


def begin(session: Session, person: UUID, ref: str, action: Action, *, if_match: int | None) -> Taken:
    """Lock the application and check that this person may take this step on this version of it.

    In this order, so that nobody learns more than they may see: NoSuchApplication, MoveNotAllowed or NotYourMove, FourEyes,
    PreconditionRequired, PreconditionFailed. ``if_match`` is the version that was looked at, None if it wasn't said.
    """
    application = find(session, ref, lock=True)
    who = people.actor(session, person)
    parts = people.parts_of(session, who, application)
    if not sees(who, parts, application):
        raise NoSuchApplication
    move = check_move(State(application.status), action, parts)
    if move.decides or move.reviews:
        taken = steps_taken(session, application)
        check_four_eyes(taken if move.decides else reviewed_by(taken), who.natural_person)
        if who.natural_person in recused(session, application) or _of_the_recipient(session, who, parts & move.by, application):
            raise InterestDeclared
        workforce.check(session, who.id, workforce.Step.ENDORSE if action in (Action.ENDORSE, Action.AGREE) else workforce.Step.DECIDE)
    check_version(application, if_match, exact=move.exact)
    return Taken(application, who, parts, move, who.on_behalf_of(parts & move.by, people.answerable(session, application)))


def _of_the_recipient(session: Session, who: Actor, parts: frozenset[Part], application: Application) -> bool:
    """Whether somebody who decides for the hospital has an account, under whatever name, at the outside institution that would receive."""
    if parts.isdisjoint({Part.INFORMATION_MANAGER, Part.OWNING_HEAD}) or Part.DEPARTMENT_HEAD in parts or application.recipient_id is None:
        return False
    recipient = people.places(session, [application.recipient_id])[application.recipient_id]
    return recipient.relationship == "external" and recipient.root in people.houses_of(session, who.natural_person)


def check_version(application: Application, if_match: int | None, *, exact: bool) -> None:
    """Raises PreconditionRequired where the move needs the version and PreconditionFailed where it is another one."""
    if if_match is None:
        if exact:
            raise PreconditionRequired
    elif if_match != application.version:
        raise PreconditionFailed(headers={"ETag": etag(application)})


def etag(application: Application) -> str:
    """The entity tag: the version, quoted."""
    return f'"{application.version}"'


def check_reason(move: Move, reason: Reason | None) -> None:
    """Raises ReasonRequired where the move must be explained and isn't."""
    if move.reason and (reason is None or not reason.text.strip()):
        raise ReasonRequired(problems=(Problem("/reason", "required", "Say in a sentence why."),))


def store(
    session: Session,
    keys: Keys,
    application: Application,
    *,
    action: Action | GrantAction,
    who: Actor | None,
    event: Event,
    to: State | None = None,
    reason: Reason | None = None,
    assessment: Assessment | None = None,
    assessed: str | None = None,
    place: str | None = None,
    on_behalf_of: UUID | None = None,
) -> Decision | None:
    """Write the step down: the application's new state and version, the decision, the event. Returns the decision.

    A draft that was never submitted has no decisions; its changes are events alone. ``to`` is None where the application
    keeps its state. ``who`` is None for the clock. ``assessment`` is what the step rests on; ``assessed`` the effect of the one
    that lay on the table. Raises FourEyes where the database finds that one person takes two steps.
    """
    now = clock.now()
    application.version += 1
    application.changed_at = now
    if to is not None:
        application.status = to.value
        if to in (State.APPROVED, State.REFUSED, State.WITHDRAWN):
            application.decided_at = now
        if to not in (State.SUBMITTED, State.ENDORSED):
            application.due_at = None
    session.add(application)
    session.flush()
    decision = None
    if application.round > 0 and action is not Action.EDIT:
        decision = Decision(
            application_id=application.id,
            round=application.round,
            action=action.value,
            at=now,
            person_id=who.id if who else None,
            natural_person=who.natural_person if who else None,
            on_behalf_of=on_behalf_of,
            place=place,
            version=application.version,
            content_hash=application.content_hash or "",
            assessment_id=assessment.id if assessment else None,
            assessed=assessed,
            reason_code=reason.code.value if reason else None,
        )
        decision.reason_sealed = sealing.seal_text(keys, application.id, f"reason|{decision.id}", reason.text if reason else None)
        session.add(decision)
        try:
            session.flush()
        except IntegrityError as error:
            if "uq_application_decision_four_eyes" in str(error.orig):
                raise FourEyes from error
            raise
    audit.record(session, event)
    return decision


def event(application: Application, who: Actor | None, happened: str, **facts: str | int | bool | list[str]) -> Event:
    """As :func:`event_by`, of a person or of the clock."""
    return event_by(application, who.reference if who else "system", happened, **facts)


def event_by(application: Application, actor: str, happened: str, **facts: str | int | bool | list[str]) -> Event:
    """``application.<happened>`` by this person on the version that they saw; a draft is named by its uuid, having no number yet."""
    named: dict[str, str | int | bool | list[str]] = {"draft": str(application.id)} if application.number is None else {}
    return Event(
        type=f"application.{happened}",
        actor=actor,
        application=application.number,
        recipient=application.recipient_id,
        purpose=application.purpose,
        facts={**named, "version": application.version, **facts},
    )
