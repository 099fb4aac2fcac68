"""Asking again: a renewal or an amendment begins as a draft with everything of the application before it, and takes its place once approved."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from sqlmodel import Session, col, select

from broker import clock
from broker.applications import drafts, grants, people, sealing, steps
from broker.applications.errors import MoveNotAllowed, NoSuchApplication, NotYourMove
from broker.applications.lifecycle import Action, Part, State
from broker.applications.models import Application
from broker.applications.people import Actor
from broker.crypto import Keys

#: What must be said anew: how long it is to last.
_ANEW = ("valid_until",)


class Relation(StrEnum):
    """How an application stands to the one before it."""

    RENEWAL = "renewal"  #: the same for longer
    AMENDMENT = "amendment"  #: something else


def again(session: Session, keys: Keys, person: UUID, ref: str, relation: Relation) -> Application:
    """Begin a renewal or an amendment of an approved application of one's own, as a draft.

    Raises NoSuchApplication, NotYourMove for everybody but the requester, MoveNotAllowed where it wasn't approved or another one is
    under way.
    """
    before = steps.find(session, ref, lock=True)
    who = people.actor(session, person)
    parts = people.parts_of(session, who, before)
    if not steps.sees(who, parts, before):
        raise NoSuchApplication
    if Part.REQUESTER not in parts:
        raise NotYourMove("To renew or amend is for: requester.")
    if before.status != State.APPROVED:
        raise MoveNotAllowed("Only what was approved can be renewed or amended.")
    open_states = [State.DRAFT.value, State.RETURNED.value, State.SUBMITTED.value, State.ENDORSED.value]
    if session.exec(select(Application.id).where(Application.parent_id == before.id, col(Application.status).in_(open_states))).first() is not None:
        raise MoveNotAllowed("Another renewal or amendment of it is under way.")
    now = clock.now()
    row = Application(
        requester_id=who.id, organization_id=who.home.id, recipient_id=before.recipient_id, on_behalf=before.on_behalf, purpose=before.purpose,
        form={name: value for name, value in before.form.items() if name not in _ANEW}, parent_id=before.id, relation=relation.value,
        created_at=now, changed_at=now, version=0,
    )  # fmt: skip
    patients = [typed for typed in drafts.typed_patients(session, keys, before) if typed]
    row.patients_sealed = sealing.seal_json(keys, row.id, "patients", patients)
    justification = sealing.unseal_text(keys, before.id, "justification", before.justification_sealed)
    row.justification_sealed = sealing.seal_text(keys, row.id, "justification", justification)
    steps.store(
        session, keys, row, action=Action.EDIT, who=who, event=steps.event(row, who, "drafted", parent=before.number or "", relation=relation.value)
    )
    return row


def replace_parent(session: Session, keys: Keys, application: Application, who: Actor) -> None:
    """Once a renewal or an amendment is approved, the grant before it ends: there are never two for one need."""
    if application.parent_id is not None:
        before = steps.find(session, str(application.parent_id), lock=True)
        grants.replace(session, keys, before, who)
