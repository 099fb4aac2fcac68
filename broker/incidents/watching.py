"""What opens an incident by itself: a release that the independent checker stopped (mission 3, item 6)."""

from __future__ import annotations

from sqlmodel import Session

from broker.audit import service as audit
from broker.crypto import Keys
from broker.incidents import desk
from broker.incidents.rules import Kind

#: Reasons of ``release.failed`` that say something is wrong with us, and not with what was asked.
ALARMING = frozenset({"release.check-failed", "release.broken", "record-unreadable"})


def watch(session: Session, keys: Keys) -> int:
    """Open an incident for each release that failed its check since the last look; how many. A job of the worker."""
    opened = 0
    for event in audit.follow(session, "incidents", ("release.failed",)):
        reason = event.facts.get("reason")
        if reason in ALARMING:
            desk.report(
                session,
                keys,
                "system",
                kind=Kind.CHECK_FAILED,
                summary=f"{reason}: release {event.release}, application {event.application}",
                occurred_at=event.at,
                source=f"event:{event.id}",
                event=event.id,
            )
            opened += 1
    return opened
