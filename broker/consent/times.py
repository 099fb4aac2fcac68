"""Dates as FHIR writes them (R4 datatypes.html#dateTime), as spans of whole seconds. Pure.

A date that is not exact stands for all of its day, month or year; where it names no zone, UTC is meant. The
days of a consent's periods are the hospital's, and are made moments before they come here (``days``).
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_FORM = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)(T(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(\.\d{1,9})?(?P<zone>Z|[+-]\d\d:\d\d))?)?)?",
    re.ASCII,
)
_MAX_ZONE = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class Span:
    """From second to second, both included, since 1970-01-01T00:00:00Z; None: open on that side."""

    start: int | None = None
    end: int | None = None

    def holds(self, at: int) -> bool:
        """Whether the second lies in the span."""
        return (self.start is None or self.start <= at) and (self.end is None or at <= self.end)

    def covers(self, first: int | None, last: int | None) -> bool:
        """Whether a stretch lies in the span. One whose end isn't known, because it still lasts, lies where it began."""
        last = first if last is None else last
        return (self.start is None or (first is not None and self.start <= first)) and (self.end is None or (last is not None and last <= self.end))

    def touches(self, first: int | None, last: int | None) -> bool:
        """Whether the stretch may overlap the span. An end that isn't known is taken as open."""
        return (self.start is None or last is None or self.start <= last) and (self.end is None or first is None or first <= self.end)


def _zone(text: str) -> timedelta | None:
    if text == "Z":
        return timedelta()
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    if int(text[4:6]) > 59 or offset > _MAX_ZONE:
        return None
    return -offset if text[0] == "-" else offset


def read(value: object) -> Span | None:
    """The first and last second that a FHIR date, dateTime or instant may mean; None if it can't be read."""
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    year, month, day = (None if found[name] is None else int(found[name]) for name in ("year", "month", "day"))
    assert year is not None  # noqa: S101  (The form has a year in each of its variants.)
    try:
        if month is None or day is None or found["hour"] is None:
            last = 12 if month is None else month
            start = datetime(year, 1 if month is None else month, 1 if day is None else day, tzinfo=UTC)
            end = datetime(year, last, monthrange(year, last)[1] if day is None else day, 23, 59, 59, tzinfo=UTC)
            return Span(int(start.timestamp()), int(end.timestamp()))
        offset = _zone(found["zone"])
        if offset is None:
            return None
        second = min(int(found["second"]), 60 - (found["second"] == "60"))  # A leap second is taken as the second before it.
        local = datetime(year, month, day, int(found["hour"]), int(found["minute"]), second, tzinfo=UTC)
    except ValueError:
        return None
    moment = int(local.timestamp() - offset.total_seconds())
    return Span(moment, moment)


def read_period(value: object) -> Span | None:
    """The span of a FHIR Period; None if it has neither end, an end that can't be read, or ends before it starts."""
    if not isinstance(value, dict) or not value or set(value) - {"start", "end", "id", "extension"}:
        return None
    start, end = (read(value[name]) if name in value else Span() for name in ("start", "end"))
    if start is None or end is None or (start.start is None and end.end is None):
        return None
    if start.start is not None and end.end is not None and end.end < start.start:
        return None
    return Span(start.start, end.end)
