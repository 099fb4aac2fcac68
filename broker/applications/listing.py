"""Lists of applications as people work through them: searched, sorted and cut into pages by the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.applications import people, reading
from broker.applications.errors import RecipientNotYours
from broker.applications.lifecycle import GrantState, State
from broker.applications.models import Application, Grant
from broker.applications.rules import Place, check_recipient
from broker.applications.schemas import SummaryOut
from broker.identity.models import Organization

#: Digits that a number of ours may end with.
_DIGITS = 12
#: The earliest year that a number may bear, also one brought over from elsewhere.
_FIRST_YEAR = 2015

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
    number: str = ""  #: the beginning of a number, with or without ``SA-``, or the digits at its end
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
        conditions.append(_one_of(col(Application.status), [state.value for state in wanted.states]))
    if wanted.purpose:
        conditions.append(col(Application.purpose) == wanted.purpose)
    if wanted.recipient:
        conditions.append(col(Application.recipient_id) == wanted.recipient)
    if wanted.urgency:
        urgency = col(Application.form).op("->>", return_type=sa.Text)(sa.literal_column("'urgency'"))
        plain = sa.or_(urgency == "routine", urgency.is_(None))
        conditions.append(plain if wanted.urgency == "routine" else urgency == wanted.urgency)
    if wanted.number:
        conditions.append(_numbered(wanted.number))
    if wanted.grant is not None:
        given = sa.select(col(Grant.application_id)).where(col(Grant.status) == wanted.grant.value)
        conditions.append(col(Application.id).in_(given))
    rows = select(Application).where(*conditions).order_by(*_order(wanted.sort)).limit(limit).offset(offset)
    page = session.exec(rows).all() if limit else []
    few = sa.select(col(Application.id)).where(*conditions).limit(counted + 1).subquery()
    total = session.execute(sa.select(sa.func.count()).select_from(few)).scalar_one()
    return Listing(tuple(reading.summaries(session, page)) if page else (), total)


def _order(sort: str) -> list[sa.ColumnElement[Any]]:
    """As an index gives them: every column in one direction, so that a page is read and not sorted. What has no value yet comes first
    when the newest do, and last when the oldest do.
    """
    columns: list[Any] = [_COLUMNS.get(sort.removeprefix("-"), _COLUMNS["created"])]
    if columns[0] is _COLUMNS["status"]:
        columns.append(_COLUMNS["submitted"])
    columns.append(col(Application.id))
    return [column.desc() for column in columns] if sort.startswith("-") else [column.asc() for column in columns]


def _one_of(column: Any, values: Sequence[str]) -> sa.ColumnElement[bool]:
    """Equal where there is one value: then an index gives the rows in their order."""
    condition: sa.ColumnElement[bool] = column == values[0] if len(values) == 1 else column.in_(values)
    return condition


def _numbered(typed: str) -> sa.ColumnElement[bool]:
    """What somebody means who types part of a number: its beginning, with or without ``SA-``, or the digits at its end."""
    text = typed.strip().upper()
    number = col(Application.number)
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        ends = [f"SA-{year}-{text.zfill(6)}" for year in range(_FIRST_YEAR, clock.today().year + 1)]
        beginning = number.startswith(f"SA-{text}", autoescape=True) if len(text) == 4 else sa.false()
        return sa.or_(number.in_(ends), beginning)
    return number.startswith(text if text.startswith("SA") else f"SA-{text}", autoescape=True)


def recipients(session: Session, person: UUID) -> list[str]:
    """Ids of the organisations that somebody may apply for, their own first."""
    who = people.actor(session, person)
    # Only of their own tree the lineage matters: a manager has thousands of outside organisations beside it, of which only the side does.
    tree = people.places(session, people.below(session, [who.home.root])) if who.applies else {}
    outside = col(Organization.relationship) == "external" if who.manages else sa.false()
    rows = session.exec(
        select(Organization.id, Organization.relationship).where(Organization.status == "active", sa.or_(outside, col(Organization.id).in_(tree)))
    ).all()
    found = [place for id_, side in rows if _may_apply_for(who, place := tree.get(id_) or Place(id_, side, (id_,)))]
    return [place.id for place in sorted(found, key=lambda place: (place.id != who.home.id, place.id))]


def _may_apply_for(who: people.Actor, place: Place) -> bool:
    try:
        check_recipient(who.home, place, applies=who.applies, manager=who.manages)
    except RecipientNotYours:
        return False
    return True


@dataclass(frozen=True)
class Glance:
    """How somebody's own applications stand, each counted no further than 1,000."""

    to_finish: int
    under_way: int
    in_force: int


def glance(session: Session, person: UUID) -> Glance:
    """One's own applications in three numbers, in one question to the database."""
    who = people.actor(session, person)
    mine = col(Application.requester_id).in_(people.accounts_of(session, who.natural_person))
    living = sa.select(col(Grant.application_id)).where(col(Grant.status) == GrantState.ACTIVE.value, col(Grant.valid_until) > clock.now())

    def counted(*conditions: sa.ColumnElement[bool]) -> Any:
        few = sa.select(col(Application.id)).where(mine, *conditions).limit(1000).subquery()
        return sa.select(sa.func.count()).select_from(few).scalar_subquery()

    row = session.execute(
        sa.select(
            counted(_one_of(col(Application.status), [State.DRAFT.value, State.RETURNED.value])),
            counted(_one_of(col(Application.status), [State.SUBMITTED.value, State.ENDORSED.value])),
            counted(col(Application.id).in_(living)),
        )
    ).one()
    return Glance(*row)


def waiting(session: Session, person: UUID, state: State) -> int:
    """How many applications in a state somebody sees that aren't their own, counted no further than 1,000."""
    return listing(session, person, Wanted(states=(state,), to_decide=True), limit=0, offset=0, counted=999).total
