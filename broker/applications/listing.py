"""Lists of applications as people work through them: searched, sorted and cut into pages by the database."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker.applications import people, reading
from broker.applications.errors import RecipientNotYours
from broker.applications.lifecycle import GrantState, State
from broker.applications.models import Application, Grant
from broker.applications.rules import Place, check_recipient
from broker.applications.schemas import SummaryOut
from broker.identity.models import Organization

#: What a list may be sorted by; a hyphen before it for descending.
SORTS = ("created", "changed", "number", "status", "submitted")

_COLUMNS = {
    "created": col(Application.created_at),
    "changed": col(Application.changed_at),
    "number": col(Application.number),
    "status": col(Application.status),
    "submitted": col(Application.submitted_at),
}


@dataclass(frozen=True)
class Wanted:
    """What somebody looks for. Empty: everything that they may see."""

    states: tuple[State, ...] = ()
    grant: GrantState | None = None
    purpose: str = ""
    urgency: str = ""
    recipient: str = ""
    number: str = ""  #: the beginning of a number, or any part of it
    mine: bool = False  #: what the person applied for
    to_decide: bool = False  #: what waits for this person's own decision: not what they applied for
    sort: str = "-created"


@dataclass(frozen=True)
class Listing:
    """A part of a list. ``total`` is counted no further than ``counted``."""

    items: tuple[SummaryOut, ...]
    total: int


def listing(session: Session, person: UUID, wanted: Wanted, *, limit: int, offset: int, counted: int) -> Listing:
    """A part of what somebody may see and looks for. Totals stop at ``counted`` + 1, so that counting stays cheap."""
    who = people.actor(session, person)
    conditions = [reading.visible(session, who)]
    if wanted.mine:
        conditions.append(col(Application.requester_id).in_(people.accounts_of(session, who.natural_person)))
    if wanted.to_decide:
        conditions.append(col(Application.requester_id).not_in(people.accounts_of(session, who.natural_person)))
    if wanted.states:
        conditions.append(col(Application.status).in_([state.value for state in wanted.states]))
    if wanted.purpose:
        conditions.append(col(Application.purpose) == wanted.purpose)
    if wanted.recipient:
        conditions.append(col(Application.recipient_id) == wanted.recipient)
    if wanted.urgency:
        asked = sa.func.coalesce(col(Application.form)["urgency"].astext, "routine")
        conditions.append(asked == wanted.urgency)
    if wanted.number:
        conditions.append(col(Application.number).contains(wanted.number.upper(), autoescape=True))
    if wanted.grant is not None:
        given = sa.select(col(Grant.application_id)).where(col(Grant.status) == wanted.grant.value)
        conditions.append(col(Application.id).in_(given))
    name = wanted.sort.removeprefix("-")
    column = _COLUMNS.get(name, _COLUMNS["created"])
    order = column.desc().nulls_last() if wanted.sort.startswith("-") else column.asc().nulls_last()
    rows = select(Application).where(*conditions).order_by(order, col(Application.id)).limit(limit).offset(offset)
    page = session.exec(rows).all() if limit else []
    few = sa.select(col(Application.id)).where(*conditions).limit(counted + 1).subquery()
    total = session.execute(sa.select(sa.func.count()).select_from(few)).scalar_one()
    return Listing(tuple(reading.summaries(session, page)) if page else (), total)


def recipients(session: Session, person: UUID) -> list[str]:
    """Ids of the organisations that somebody may apply for, their own first."""
    who = people.actor(session, person)
    active = session.exec(select(Organization.id).where(Organization.status == "active").order_by(Organization.id)).all()
    found = [place for place in people.places(session, active).values() if _may_apply_for(who, place)]
    return [place.id for place in sorted(found, key=lambda place: (place.id != who.home.id, place.id))]


def _may_apply_for(who: people.Actor, place: Place) -> bool:
    try:
        check_recipient(who.home, place, applies=who.applies, manager=who.manages)
    except RecipientNotYours:
        return False
    return True


def waiting(session: Session, person: UUID, state: State) -> int:
    """How many applications in a state somebody sees that aren't their own, counted no further than 1,000."""
    return listing(session, person, Wanted(states=(state,), to_decide=True), limit=0, offset=0, counted=999).total
