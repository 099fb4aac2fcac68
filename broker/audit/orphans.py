"""Intents whose process died: closed as ``release.unknown``, which counts as disclosed until a person explains it (G3).

An intent is committed before the first byte, its outcome after the last; whoever is killed in between leaves the intent alone.
A release holds its patient's gate from before the intent until after the outcome, so whoever holds that gate alone knows that no
release of the patient is on its way: an intent without an outcome that is found then will never get one by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlmodel import Session

from broker import clock, jobs
from broker.audit import places, store
from broker.audit.events import Event
from broker.audit.places import Standing
from broker.audit.transmissions import INTENT, ORPHANS, OUTCOMES
from broker.database import Database, close_gate

logger = logging.getLogger(__name__)

#: Seconds that a release is left alone before anybody asks whether it is still on its way.
GRACE = 10
#: Seconds that a release which is still on its way may make this wait; it is asked again next time.
PATIENCE = "2s"
#: Intents looked at in one turn.
BATCH = 500

# Every event below the snapshot's xmin is complete; the newest of them is where this look ends.
_LAST = "SELECT xid::text, seq FROM audit_event WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid DESC, seq DESC LIMIT 1"

_INTENTS = """
SELECT e.xid::text AS xid_text, e.seq, e.at, e.actor, e.application, e.grant_id, e.recipient, e.purpose, e.patient_key, e.subject, e.release_id
FROM audit_event e
WHERE {behind} AND e.type = %(intent)s
  AND NOT EXISTS (SELECT FROM audit_event o WHERE o.release_id = e.release_id AND o.type = ANY(%(outcomes)s))
ORDER BY e.xid, e.seq LIMIT %(limit)s
"""
_UP_TO_LAST = " AND (e.xid, e.seq) <= (%(last_xid)s::xid8, %(last_seq)s)"

_HAS_OUTCOME = "SELECT FROM audit_event WHERE release_id = %s AND type = ANY(%s)"


@dataclass(frozen=True)
class _Intent:
    xid: str
    seq: int
    at: datetime
    actor: str
    application: str | None
    grant: str | None
    recipient: str | None
    purpose: str | None
    patient: UUID | None
    subject: str | None
    release: UUID


def close_orphans(database: Database, record: Callable[[Session, Event], UUID]) -> int:
    """Give every intent that was left alone its outcome; returns how many. Two at once do it once."""
    with database.transaction() as session:
        look = _look(session)
    closed, reached, stuck = 0, None, False
    for intent in look.intents:
        # What seems to come from later was stamped by a clock that has been set back since: it is not waited for.
        if abs(clock.now() - intent.at) < timedelta(seconds=GRACE):
            stuck = True
            break
        done = _close(database, record, intent)
        closed += done is True
        if done is None:
            stuck = True  # It is still on its way: the place stays before it, and those behind it are looked at again.
        if not stuck:
            reached = (intent.xid, intent.seq)
    whole = not stuck and len(look.intents) < BATCH
    if whole and not look.place.left_over:
        reached = look.last
    with database.transaction() as session:
        connection = store.raw(session)
        if reached is not None:
            places.move(connection, ORPHANS, look.place, *reached)
        if whole and look.place.left_over:
            places.rebase(connection, ORPHANS, look.place)
    return closed


@dataclass(frozen=True)
class _Look:
    """Intents without an outcome, where the look ends, and from where it was taken."""

    intents: list[_Intent]
    last: tuple[str, int] | None
    place: Standing


def _look(session: Session) -> _Look:
    connection = store.raw(session)
    places.begin(connection, ORPHANS)
    place = places.standing(connection, ORPHANS)
    last = connection.execute(_LAST).fetchone()
    if last is None and not place.left_over:
        return _Look([], None, place)
    query = _INTENTS.format(behind=places.LEFT_OVER if place.left_over else places.BEHIND + _UP_TO_LAST)
    values = {**place.parameters, "intent": INTENT, "outcomes": list(OUTCOMES), "limit": BATCH}
    if last is not None:
        values |= {"last_xid": last[0], "last_seq": last[1]}
    rows = connection.execute(query, values).fetchall()
    return _Look([_Intent(*row) for row in rows], last, place)


def _close(database: Database, record: Callable[[Session, Event], UUID], intent: _Intent) -> bool | None:
    """Whether this gave the intent its outcome; None while its release may still be on its way."""
    try:
        with database.transaction() as session:
            connection = store.raw(session)
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (PATIENCE,))
            if intent.patient is not None:
                close_gate(session, "patient", intent.patient.hex)
            if connection.execute(_HAS_OUTCOME, (intent.release, list(OUTCOMES))).fetchone() is not None:
                return False
            record(session, _unknown(intent))
    except psycopg.errors.LockNotAvailable:
        return None
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            return None
        raise
    logger.warning("release %s was cut off: it counts as disclosed until somebody explains it", intent.release)
    return True


def _unknown(intent: _Intent) -> Event:
    return Event(
        type="release.unknown",
        actor="system",
        application=intent.application,
        grant=intent.grant,
        recipient=intent.recipient,
        purpose=intent.purpose,
        patient=intent.patient,
        subject=intent.subject,
        release=intent.release,
        outcome="unknown",
        facts={"reason": "process.ended", "disclosed": True},
    )


def background(record: Callable[[Session, Event], UUID]) -> list[jobs.Job]:
    """What the log does by itself: close what was cut off, three times a minute."""

    def close(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        close_orphans(tools.database, record)

    return [jobs.Job("audit.close_orphans", close, cron="* * * * * */20")]
