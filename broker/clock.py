"""The one source of time. Tests replace ``now``; nothing else in the broker asks the machine for the time."""

from __future__ import annotations

from datetime import UTC, date, datetime


def now() -> datetime:
    """The present moment as an aware datetime in UTC."""
    return datetime.now(UTC)


def today() -> date:
    """The present day in UTC."""
    return now().date()


def epoch(moment: datetime) -> int:
    """Whole seconds since 1970-01-01T00:00:00Z; what policies compare, since Rego never parses a date."""
    return int(moment.timestamp())
