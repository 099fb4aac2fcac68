"""A grant that is good for the time of one meeting only: shut until it is opened, and shut again at its last minute (TM-5.4).

A grant with a window is suspended until somebody opens the window, and over when the window is shut or its time is up. By the
clock, whoever asks: no job has to run for it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlmodel import Session, select

from broker import clock
from broker.applications.errors import WindowTaken
from broker.applications.lifecycle import GrantState
from broker.applications.models import GrantWindow
from broker.database import close_gate
from broker.identity.access import GrantView


def bind(session: Session, grant: UUID, opens_at: datetime, closes_at: datetime) -> GrantWindow:
    """Tie the grant to a span of time; from now on nothing leaves outside of it. Raises WindowTaken where it is tied already."""
    close_gate(session, "grant", str(grant))
    if of_grant(session, grant, lock=True) is not None:
        raise WindowTaken
    row = GrantWindow(grant_id=grant, opens_at=opens_at, closes_at=closes_at)
    session.add(row)
    session.flush()
    return row


def of_grant(session: Session, grant: UUID, *, lock: bool = False) -> GrantWindow | None:
    """The window of a grant; None where it has none."""
    query = select(GrantWindow).where(GrantWindow.grant_id == grant)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.exec(query).one_or_none()


def open_window(session: Session, grant: UUID) -> None:
    """Let data leave, within the window's time."""
    row = session.exec(select(GrantWindow).where(GrantWindow.grant_id == grant).with_for_update()).one()
    row.opened_at = row.opened_at or clock.now()
    session.add(row)
    session.flush()


def shut_window(session: Session, grant: UUID) -> None:
    """Nothing leaves any more: waits for releases on their way, and holds new ones back until this commits."""
    close_gate(session, "grant", str(grant))
    row = session.exec(select(GrantWindow).where(GrantWindow.grant_id == grant).with_for_update()).one()
    row.closed_at = row.closed_at or clock.now()
    session.add(row)
    session.flush()


def narrowed(session: Session, view: GrantView) -> GrantView:
    """The grant as its window leaves it, for whoever binds tokens to it. The release path asks in SQL (``release_facts``)."""
    window = of_grant(session, view.id)
    if window is None:
        return view
    shut = window.opened_at is None or window.closed_at is not None
    status = GrantState.SUSPENDED.value if shut and view.status == GrantState.ACTIVE else view.status
    return replace(view, status=status, valid_from=max(view.valid_from, window.opens_at), valid_until=min(view.valid_until, window.closes_at))
