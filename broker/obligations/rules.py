"""What is due by when, from the codes that travelled with the data. Pure.

Codes are HL7's (v3-ActCode, DS4P): DELAU delete after use, NORDSCLCD no re-disclosure, NOREUSE, ENCRYPT, CPLYCD …
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from broker.obligations.errors import EvidenceRequired
from broker.obligations.lifecycle import Done

#: Days after the end of a grant until the recipient confirms that it kept to what has no day of its own.
ATTEST_DAYS = 30


@dataclass(frozen=True)
class Due:
    """One obligation of a release and the day it is due."""

    code: str
    on: date


def due(codes: Iterable[str], released: datetime, grant_ends: datetime) -> tuple[Due, ...]:
    """What a release obliges to. ``DELAU:30`` is due 30 days after it; what has no days is confirmed after the grant has ended."""
    found = set()
    for code in codes:
        name, colon, days = code.partition(":")
        if colon and days.isdigit():
            found.add(Due(name, (released + timedelta(days=int(days))).date()))
        elif name:
            found.add(Due(name, (grant_ends + timedelta(days=ATTEST_DAYS)).date()))
    return tuple(sorted(found, key=lambda one: (one.on, one.code)))


def is_overdue(on: date, today: date) -> bool:
    """Whether the day has passed. The day itself is still in time."""
    return on < today


def suspends(on: date, today: date, grace_days: int) -> bool:
    """Whether an open obligation is overdue for so long that the grant is suspended."""
    return on + timedelta(days=grace_days) < today


def check_answer(done: Done, method: str, evidence: str) -> None:
    """Raises EvidenceRequired unless it says how and where it can be seen, or by which law it is kept."""
    if done is not Done.NOTHING_HELD and not (method.strip() and evidence.strip()):
        raise EvidenceRequired
