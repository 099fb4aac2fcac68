"""Whether the dates that a released resource shows lie in the plan's period: the checker's own reading (``fhir.checker``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from broker.fhir import definitions

_DATE_PARTS = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?", re.ASCII)
_is_day = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII).fullmatch

#: Local times differ from UTC by up to fourteen hours; a date without offset is given the benefit of that.
_ANYWHERE = 14 * 3600

#: A day that is written so far inside the window is in it wherever on earth it was written; offsets in dates are below one day.
_MARGIN = timedelta(days=2)

#: JSON name, name of its ``_`` sibling, whether it may be a Period.
_Path = tuple[str, str, bool]


class Period:
    """The window of one type in epoch seconds, both ends included, and the properties that the plan shows."""

    __slots__ = ("_after", "_before", "_ends", "_starts", "start", "until")

    def __init__(self, resource_type: str, start: int | None, until: int | None, shown: frozenset[str]) -> None:
        self.start = -inf if start is None else start
        self.until = inf if until is None else until
        self._after = _day(self.start, _MARGIN, "0000-00-00")
        self._before = _day(self.until, -_MARGIN, "9999-99-99")
        span = definitions.table()["spans"].get(resource_type)
        self._starts = _paths(definitions.table()["dates"].get(resource_type, ()) if span is None else span["start"], shown)
        self._ends = self._starts if span is None else _paths(span["end"], shown)

    def holds(self, resource: dict[str, Any]) -> bool:
        """False only if what can be seen lies outside the window for sure; a hidden date can't be judged."""
        first = self._best(resource, self._starts)
        last = first if self._ends is self._starts else self._best(resource, self._ends)
        # Nearly always they are days or moments deep inside the window; then their digits say so.
        if (first is None or self._deep(first)) and (last is first or last is None or self._deep(last)):
            return True
        return (first is None or _bounds(first)[0] <= self.until) and (last is None or _bounds(last)[1] >= self.start)

    def reach(self, resources: Iterable[dict[str, Any]]) -> tuple[float, float]:
        """The latest of the first seconds and the earliest of the last that their dates may mean: :meth:`holds` is True for each of them
        where the window begins no later than the one and ends no earlier than the other.
        """
        latest, earliest, seen = -inf, inf, set[str]()
        for resource in resources:
            first = self._best(resource, self._starts)
            last = first if self._ends is self._starts else self._best(resource, self._ends)
            if isinstance(first, str) and last is first:  # Many have the moment of one encounter.
                if first in seen:
                    continue
                seen.add(first)
            if first is not None:
                latest = max(latest, _bounds(first)[0])
            if last is not None:
                earliest = min(earliest, _bounds(last)[1])
        return latest, earliest

    def _deep(self, value: str | dict[str, Any]) -> bool:
        """Whether a date is so far inside the window that nothing but its day need be read; of a Period, both ends."""
        if isinstance(value, dict):
            return self._deep(value.get("start", "")) and self._deep(value.get("end", ""))
        day = value[:10]
        return self._after < day < self._before and _is_day(day) is not None

    @staticmethod
    def _best(resource: dict[str, Any], paths: Sequence[_Path]) -> str | dict[str, Any] | None:
        """The best date, or Period, that the type has; None if that is hidden or absent."""
        for name, sibling, spans in paths:
            if not name or sibling in resource:
                return None
            value = resource.get(name)
            if isinstance(value, str) or (spans and isinstance(value, dict)):
                return value
        return None


def _paths(paths: Sequence[str], shown: frozenset[str]) -> tuple[_Path, ...]:
    """The paths to look at, best first. Where one is not shown, an empty name ends the search: what follows is only the second best."""
    found: list[_Path] = []
    for path in paths:
        name, _, end = path.partition(".")
        if name not in shown:
            return (*found, ("", "", False))
        found.append((name, f"_{name}", bool(end)))
    return tuple(found)


def _day(epoch: float, shift: timedelta, otherwise: str) -> str:
    """The day of a moment, shifted, as it is written; ``otherwise`` for a moment that has none."""
    try:
        return (datetime.fromtimestamp(epoch, UTC) + shift).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return otherwise


def _bounds(value: str | dict[str, Any]) -> tuple[float, float]:
    """First and last second that a FHIR date or Period may mean; all of time for a text that is none."""
    if isinstance(value, dict):
        return _bounds(value.get("start", ""))[0], _bounds(value.get("end", ""))[1]
    text = value
    parts = _DATE_PARTS.match(text)
    if parts is None:
        return -inf, inf
    try:
        if "T" in text:
            moment = datetime.fromisoformat(text)
            return (moment.timestamp(), moment.timestamp()) if moment.tzinfo is not None else (-inf, inf)
        year, month, day = int(parts[1]), int(parts[2] or 0), int(parts[3] or 0)
        low = datetime(year, month or 1, day or 1, tzinfo=UTC)
        high = low + timedelta(days=1) if day else datetime(year + (month in (0, 12)), month % 12 + 1 if month else 1, 1, tzinfo=UTC)
        return low.timestamp() - _ANYWHERE, high.timestamp() + _ANYWHERE
    except (ValueError, OverflowError):
        return -inf, inf
