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
from broker.audit import store
from broker.audit.events import Event
from broker.audit.transmissions import INTENT, OUTCOMES
from broker.database import Database, close_gate

logger = logging.getLogger(__name__)

#: Seconds that a release is left alone before anybody asks whether it is still on its way.
GRACE = 10
#: Seconds that a release which is still on its way may make this wait; it is asked again next time.
PATIENCE = "2s"
#: Intents looked at in one turn.
BATCH = 500

#: Where the last look ended: every intent up to there has an outcome. Kept like any reader's place in the log.
PLACE = "audit.orphans"

# Every event below the snapshot's xmin is complete; the newest of them is where this look ends.
_LAST = "SELECT xid::text, seq FROM audit_event WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid DESC, seq DESC LIMIT 1"

_INTENTS = """
SELECT i.xid::text AS xid_text, i.seq, i.at, i.actor, i.application, i.grant_id, i.recipient, i.purpose, i.patient_key, i.subject, i.release_id
FROM audit_event i
WHERE (i.xid, i.seq) > (%(xid)s::xid8, %(seq)s) AND (i.xid, i.seq) <= (%(last_xid)s::xid8, %(last_seq)s) AND i.type = %(intent)s
  AND NOT EXISTS (SELECT FROM audit_event o WHERE o.release_id = i.release_id AND o.type = ANY(%(outcomes)s))
ORDER BY i.xid, i.seq LIMIT %(limit)s
"""

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
        place, last, found = _open_intents(session)
    if last is None:
        return 0
    closed, reached, stuck = 0, place, False
    for intent in found:
        if clock.now() - intent.at < timedelta(seconds=GRACE):
            stuck = True
            break
        done = _close(database, record, intent)
        closed += done is True
        if done is None:
            stuck = True  # It is still on its way: the place stays before it, and those behind it are looked at again.
        if not stuck:
            reached = (intent.xid, intent.seq)
    if not stuck and len(found) < BATCH:
        reached = last
    if reached != place:
        with database.transaction() as session:
            store.raw(session).execute(
                "UPDATE log_follower SET xid = %(xid)s::xid8, seq = %(seq)s WHERE name = %(name)s AND (xid, seq) < (%(xid)s::xid8, %(seq)s)",
                {"name": PLACE, "xid": reached[0], "seq": reached[1]},
            )
    return closed


def _open_intents(session: Session) -> tuple[tuple[str, int], tuple[str, int] | None, list[_Intent]]:
    connection = store.raw(session)
    connection.execute("INSERT INTO log_follower (name, xid, seq) VALUES (%s, '0', 0) ON CONFLICT DO NOTHING", (PLACE,))
    place = connection.execute("SELECT xid::text, seq FROM log_follower WHERE name = %s", (PLACE,)).fetchone() or ("0", 0)
    last = connection.execute(_LAST).fetchone()
    if last is None:
        return place, None, []
    rows = connection.execute(
        _INTENTS,
        {"xid": place[0], "seq": place[1], "last_xid": last[0], "last_seq": last[1], "intent": INTENT, "outcomes": list(OUTCOMES), "limit": BATCH},
    )
    return place, last, [_Intent(*row) for row in rows.fetchall()]


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
