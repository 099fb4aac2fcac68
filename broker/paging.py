"""Long lists, cut by the database into parts that begin after (or end before) a row that somebody has seen.

Parts that are found by counting rows shift whenever a row is added in front of them: one is shown twice, another never. These don't, and
the thousandth costs what the first does. The place in a list is the key of a row and nothing else, so that no name of anybody stands in an
address.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlmodel import Session

from broker.errors import BrokerError

Row = TypeVar("Row")

#: Rows that are counted at most: nobody reads the eightieth page, and counting costs time.
COUNTED = 2_000


class NoSuchPlace(BrokerError):
    """There is no such place in this list."""

    status = 400
    code = "no-such-place"
    zh = "列表中没有这一位置。"
    help_en = "Begin again at the first page of the list."
    help_zh = "请从列表第一页重新开始。"


@dataclass(frozen=True)
class Place:
    """Where a part begins, or ends if ``before``: at the row of this key, which is not in it."""

    key: str
    before: bool = False


@dataclass(frozen=True)
class Part(Generic[Row]):
    """A part of a list. ``total`` is counted no further than :data:`COUNTED` + 1; ``earlier``, ``later``: whether there is more."""

    items: tuple[Row, ...]
    total: int
    earlier: bool = False
    later: bool = False


@dataclass(frozen=True)
class Order:
    """How a list is sorted: by a value that is never null, then by the key, both columns or expressions.

    ``parsed`` reads a key, and raises ValueError for what can't be one.
    """

    value: Any
    key: Any
    descending: bool = False
    parsed: Callable[[str], Any] = str


def cut(session: Session, rows: sa.Select[*tuple[Any, ...]], order: Order, place: Place | None, *, limit: int) -> Part[Any]:
    """The part of ``rows`` at a place; without one the first. The items are rows as the statement selects them.

    Raises NoSuchPlace where no row has the key, whether or not it is among those searched for.
    """
    few = rows.with_only_columns(order.key).limit(COUNTED + 1).subquery()
    total = session.execute(sa.select(sa.func.count()).select_from(few)).scalar_one()
    first, backwards = rows, place is not None and place.before
    if place is not None:
        rows = rows.where(_beyond(session, order, place))
    downwards = order.descending != backwards
    sorted_ = rows.order_by(*(one.desc() if downwards else one.asc() for one in (order.value, order.key)))
    found = list(session.execute(sorted_.limit(limit + 1)).all())
    more, items = len(found) > limit, found[:limit]
    if backwards and not more and place is not None:
        return cut(session, first, order, None, limit=limit)  # The first part is a whole one, whichever way it is reached.
    if backwards:
        return Part(tuple(reversed(items)), total, earlier=more, later=True)
    return Part(tuple(items), total, earlier=place is not None, later=more)


def _beyond(session: Session, order: Order, place: Place) -> sa.ColumnElement[bool]:
    try:
        key = order.parsed(place.key)
    except ValueError:
        raise NoSuchPlace from None
    anchor = session.execute(sa.select(order.value).where(order.key == key)).first()
    if anchor is None:
        raise NoSuchPlace
    here = sa.tuple_(order.value, order.key)
    there = sa.tuple_(sa.literal(anchor[0], order.value.type), sa.literal(key, order.key.type))
    return here < there if order.descending != place.before else here > there
