"""The life of a grant after approval: suspend, resume, revoke, close, expire.

What takes data away closes the grant's gate first (``database.close_gate``): it waits for releases on their way and holds new
ones back until it has committed, so that after its answer not a byte leaves (docs/decisions/0002).
"""

from __future__ import annotations

from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock, jobs
from broker.applications import people, steps, telling
from broker.applications.errors import NoGrant, NoSuchApplication
from broker.applications.lifecycle import GRANT_FINAL, GRANT_MOVES, GrantAction, GrantState, Part, check_grant_move, grant_state_at
from broker.applications.models import Application, Grant
from broker.applications.people import Actor
from broker.applications.rules import check_four_eyes
from broker.applications.steps import Reason, ReasonCode
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import close_gate

#: The job that is deferred when a grant comes to life, by its id; ``release`` does it.
PREPARE = "release.prepare"

#: The event of each action.
HAPPENED = {
    GrantAction.SUSPEND: "suspended",
    GrantAction.RESUME: "resumed",
    GrantAction.REVOKE: "revoked",
    GrantAction.CLOSE: "closed",
    GrantAction.EXPIRE: "expired",
    GrantAction.ACCEPT: "accepted",
    GrantAction.REPLACE: "replaced",
}


def suspend(session: Session, keys: Keys, person: UUID, ref: str, *, reason: Reason | None, if_match: int | None = None) -> Grant:
    """Stop releases for the time being. Raises NoSuchApplication, NoGrant, MoveNotAllowed, NotYourMove, ReasonRequired."""
    return _move(session, keys, person, ref, GrantAction.SUSPEND, reason, if_match)


def resume(session: Session, keys: Keys, person: UUID, ref: str, *, reason: Reason | None, if_match: int | None = None) -> Grant:
    """Let releases go on. Raises as :func:`suspend`, and FourEyes for the application's own requester."""
    return _move(session, keys, person, ref, GrantAction.RESUME, reason, if_match)


def revoke(session: Session, keys: Keys, person: UUID, ref: str, *, reason: Reason | None, if_match: int | None = None) -> Grant:
    """End it, for good. Raises as :func:`suspend`."""
    return _move(session, keys, person, ref, GrantAction.REVOKE, reason, if_match)


def close(session: Session, keys: Keys, person: UUID, ref: str, *, reason: Reason | None, if_match: int | None = None) -> Grant:
    """The requester needs it no longer. Raises as :func:`suspend`."""
    return _move(session, keys, person, ref, GrantAction.CLOSE, reason, if_match)


def accept(session: Session, keys: Keys, application: Application, who: Actor) -> Grant | None:
    """Let a grant live whose recipient has accepted the terms of use; None where it no longer waits for them."""
    seen = of_application(session, application, lock=True)
    if seen is None or state_now(seen) is not GrantState.AWAITING:
        return None
    event = _event(application, seen, who, GrantAction.ACCEPT)
    _store(session, keys, application, seen, GrantAction.ACCEPT, GrantState.ACTIVE, who=who, event=event)
    return seen


def replace(session: Session, keys: Keys, application: Application, who: Actor) -> Grant | None:
    """End what an approved renewal or amendment takes the place of; None where it has ended already."""
    seen = of_application(session, application)
    if seen is None or state_now(seen) in GRANT_FINAL:
        return None
    grant = _behind_gate(session, application, seen.id)
    if state_now(grant) in GRANT_FINAL:
        return None
    reason = Reason("Replaced.", ReasonCode.REPLACED)
    event = _event(application, grant, who, GrantAction.REPLACE, reason)
    _store(session, keys, application, grant, GrantAction.REPLACE, GrantState.CLOSED, who=who, event=event, reason=reason)
    return grant


def came_to_life(session: Session, grant: Grant) -> None:
    """Have what its recipient will fetch first prepared, if releases may be made under it now; in the transaction that lets them."""
    if grant.status == GrantState.ACTIVE:
        jobs.defer(session, PREPARE, {"grant": str(grant.id)}, once=f"{PREPARE}:{grant.id}")


def of_application(session: Session, application: Application, *, lock: bool = False) -> Grant | None:
    """The grant that an approval made; None where there is none."""
    query = select(Grant).where(Grant.application_id == application.id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.exec(query).one_or_none()


def state_now(grant: Grant) -> GrantState:
    """What the grant is at this moment: past its end it is expired."""
    return grant_state_at(GrantState(grant.status), grant.valid_until, clock.now())


def expire_due(session: Session, keys: Keys) -> int:
    """Write down every grant that has run out; how many. They were refused from that moment on, this only ends their record."""
    due = session.exec(
        select(Grant.id, Grant.number)
        .where(
            col(Grant.status).in_([GrantState.AWAITING.value, GrantState.ACTIVE.value, GrantState.SUSPENDED.value]), Grant.valid_until <= clock.now()
        )
        .order_by(col(Grant.valid_until), col(Grant.id))
    ).all()
    for grant_id, number in due:
        application = steps.find(session, number, lock=True)
        grant = _behind_gate(session, application, grant_id)
        if grant.status not in GRANT_FINAL:  # Revoked or closed while this waited.
            event = _event(application, grant, None, GrantAction.EXPIRE)
            _store(session, keys, application, grant, GrantAction.EXPIRE, GrantState.EXPIRED, who=None, event=event)
    return len(due)


def suspend_by_clock(session: Session, keys: Keys, number: str, *, reason: Reason) -> bool:
    """Suspend a grant because something due under it was not done; whether it was active. Raises NoSuchApplication, NoGrant."""
    application = steps.find(session, number, lock=True)
    seen = of_application(session, application)
    if seen is None:
        raise NoGrant
    grant = _behind_gate(session, application, seen.id)
    if state_now(grant) is not GrantState.ACTIVE:
        return False
    move = check_grant_move(GrantState.ACTIVE, GrantAction.SUSPEND, frozenset({Part.CLOCK}))
    event = _event(application, grant, None, GrantAction.SUSPEND, reason)
    _store(session, keys, application, grant, GrantAction.SUSPEND, GrantState(move.to), who=None, event=event, reason=reason)
    return True


def revoke_by_clock(session: Session, keys: Keys, number: str, *, reason: Reason) -> bool:
    """End a grant, for good, that nobody spoke for; whether it was there to be ended. Raises NoSuchApplication, NoGrant."""
    application = steps.find(session, number, lock=True)
    seen = of_application(session, application)
    if seen is None:
        raise NoGrant
    grant = _behind_gate(session, application, seen.id)
    state = state_now(grant)
    if (state, GrantAction.REVOKE) not in GRANT_MOVES:
        return False
    move = check_grant_move(state, GrantAction.REVOKE, frozenset({Part.CLOCK}))
    event = _event(application, grant, None, GrantAction.REVOKE, reason)
    _store(session, keys, application, grant, GrantAction.REVOKE, GrantState(move.to), who=None, event=event, reason=reason)
    return True


def _move(session: Session, keys: Keys, person: UUID, ref: str, action: GrantAction, reason: Reason | None, if_match: int | None) -> Grant:
    application = steps.find(session, ref, lock=True)
    who = people.actor(session, person)
    parts = people.parts_of(session, who, application)
    if not steps.sees(who, parts, application):
        raise NoSuchApplication
    seen = of_application(session, application)
    if seen is None:
        raise NoGrant
    # Judged twice: before the gate, so that nobody without the right makes releases wait, and after it, on what then is.
    check_grant_move(state_now(seen), action, parts)
    grant = _behind_gate(session, application, seen.id)
    move = check_grant_move(state_now(grant), action, parts)
    if move.decides:
        check_four_eyes({"request": people.natural_persons(session, [application.requester_id])[application.requester_id]}, who.natural_person)
    steps.check_version(application, if_match, exact=move.exact)
    steps.check_reason(move, reason)
    event = _event(application, grant, who, action, reason)
    _store(session, keys, application, grant, action, GrantState(move.to), who=who, event=event, reason=reason)
    return grant


def _behind_gate(session: Session, application: Application, grant_id: UUID) -> Grant:
    """The grant, locked, with no release under it on its way. Whoever holds the gate never waits for the application's row."""
    close_gate(session, "grant", str(grant_id))
    grant = of_application(session, application, lock=True)
    if grant is None:
        raise NoGrant
    return grant


def _event(application: Application, grant: Grant, who: Actor | None, action: GrantAction, reason: Reason | None = None) -> Event:
    return Event(
        type=f"grant.{HAPPENED[action]}",
        actor=who.reference if who else "system",
        application=application.number,
        grant=str(grant.id),
        recipient=grant.recipient_id,
        purpose=grant.purpose,
        facts={"content": grant.content_hash, "releases": grant.releases_used, **({"reason": reason.code.value} if reason else {})},
    )


def _store(
    session: Session,
    keys: Keys,
    application: Application,
    grant: Grant,
    action: GrantAction,
    to: GrantState,
    *,
    who: Actor | None,
    event: Event,
    reason: Reason | None = None,
) -> None:
    grant.status = to.value
    grant.status_at = clock.now()
    session.add(grant)
    steps.store(session, keys, application, action=action, who=who, event=event, reason=reason)
    telling.grant_moved(session, keys, application, grant)
    came_to_life(session, grant)
