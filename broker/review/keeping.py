"""The figures of a quarter as the pages show them: reckoned in the background, kept with the moment of which they speak, and reckoned anew on demand.

A quarter of a large hospital takes longer to add up than a page may take. What is kept is the whole document of that moment, never a part of it
brought forward, so that it is exact; and the page says of which moment it is. What is signed, and every file, is reckoned at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.review.models import ReviewFigures
from broker.review.rules import Quarter

#: So long after a quarter's end its figures are still brought up to date by themselves: what comes late is answered in this time.
AFTER = timedelta(days=100)

#: A transaction that was under way for as long may have become visible after the figures were reckoned.
UNDER_WAY = timedelta(minutes=5)

Reckon = Callable[[Session, Quarter], dict[str, Any]]


@dataclass(frozen=True)
class Kept:
    """Figures with the moment of which they speak. ``since``: whether anything was recorded after it, so that they may differ by now."""

    document: dict[str, Any]
    at: datetime
    since: bool


def kept(session: Session, quarter: Quarter, reckon: Reckon, *, anew: bool = False) -> Kept:
    """The figures of a quarter: as they are kept, or reckoned now where there are none of it, ``anew`` is said, or it ended meanwhile."""
    row = session.get(ReviewFigures, str(quarter))
    if row is None or anew or row.at < quarter.until <= clock.now():
        return keep(session, quarter, reckon)
    return Kept(dict(row.document), row.at, audit.recorded_since(session, row.at))


def keep(session: Session, quarter: Quarter, reckon: Reckon) -> Kept:
    """Reckon the figures of a quarter now, and keep them in place of older ones."""
    now = clock.now()
    document = reckon(session, quarter)
    values = {"document": document, "at": now}
    statement = insert(ReviewFigures).values(quarter=str(quarter), **values)
    session.execute(statement.on_conflict_do_update(index_elements=["quarter"], set_=values, where=col(ReviewFigures.at) < now))
    return Kept(document, now, since=False)


def refresh(session: Session, reckon: Reckon) -> int:
    """Reckon anew what is kept, and may have changed since; how many quarters. A quarter that nobody has looked at is left alone."""
    done = 0
    for row in session.exec(select(ReviewFigures)).all():
        quarter = Quarter.parse(row.quarter)
        if clock.now() < quarter.until + AFTER and audit.recorded_since(session, row.at - UNDER_WAY):
            keep(session, quarter, reckon)
            done += 1
    return done
