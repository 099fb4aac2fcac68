"""The notices of the State Council as the package ``chinesecalendar`` keeps them, which has a new release each autumn; no network is asked."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from chinese_calendar.constants import holidays, workdays

from broker.workdays.rules import FIRST, Year


@cache
def published() -> tuple[Year, ...]:
    """The years whose notices came with this release."""
    source = f"chinesecalendar {version('chinesecalendar')}"
    return tuple(
        Year(
            year,
            off=frozenset(day for day in holidays if day.year == year),
            worked=frozenset(day for day in workdays if day.year == year),
            source=source,
        )
        for year in sorted({day.year for day in holidays})
        if year >= FIRST
    )
