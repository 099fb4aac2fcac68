"""Which days are worked in China, and which is the last day of a clock that counts working days. Pure.

Sources: 全国年节及纪念日放假办法 (State Council order 795, in force since 2025-01-01: thirteen public holidays) and, for each year, the notice of
the General Office of the State Council, which in the autumn before says which further weekdays are off and which weekends are worked
for them (调休). Until a year's notice is known its days are an estimate, and a clock that runs into it is shortened by as many days as
weekends have ever been worked ahead: the hospital is early rather than late, and a day that was promised never moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from broker.errors import Problem

#: Public holidays on the same day of every year; others follow the moon. (month, day): since which year.
FIXED: Mapping[tuple[int, int], int] = {(1, 1): 1950, (5, 1): 1950, (5, 2): 2025, (10, 1): 1950, (10, 2): 1950, (10, 3): 2000}
#: From this day of December on a notice for the next year may speak too, as those of 2007, 2019 and 2024 did.
NEXT_YEAR_SPEAKS = 24
#: By how many days work at weekends ever ran ahead of the days off it was for, within any span of time since 2008.
AHEAD = 2
#: A notice has about 20 days off besides weekends and 10 worked ones; a list that is longer is a mistake.
MOST_OFF, MOST_WORKED = 60, 20
#: For which years a notice may be entered.
FIRST, LAST = 2008, 2100

_RANGE = re.compile(r"(?P<first>\d{4}-\d{2}-\d{2})(?:\s*(?:\.\.|~|～|–|—|至|到|to)\s*(?P<last>\d{4}-\d{2}-\d{2}))?")


@dataclass(frozen=True)
class Year:
    """What a notice says of a year: which days are off, weekends or not, and which weekends are worked."""

    year: int
    off: frozenset[date]
    worked: frozenset[date]
    source: str


@dataclass(frozen=True)
class Due:
    """The last day of a clock. ``estimated``: a year that it runs into has no notice yet, so it may be earlier than it had to be."""

    day: date
    estimated: bool


class Calendar:
    """The years whose notices are known; every other year is an estimate."""

    def __init__(self, years: Iterable[Year]) -> None:
        self.years = {one.year: one for one in years}
        self._off = frozenset[date]().union(*(one.off for one in self.years.values()))
        self._worked = frozenset[date]().union(*(one.worked for one in self.years.values()))

    def is_known(self, day: date) -> bool:
        """Whether every notice that may speak of the day is known."""
        later = day.month == 12 and day.day >= NEXT_YEAR_SPEAKS
        return day.year in self.years and (not later or day.year + 1 in self.years)

    def is_worked(self, day: date) -> bool:
        """Whether people work that day: as the notices say, or else on weekdays that are no fixed public holiday."""
        if day in self._worked:
            return True
        fixed = FIXED.get((day.month, day.day))
        holiday = day in self._off or (day.year not in self.years and fixed is not None and day.year >= fixed)
        return day.weekday() < 5 and not holiday

    def due(self, received: date, days: int) -> Due:
        """The last day: so many working days after the day it came in, counted from the day after.

        Where it runs into a year without its notice, ``AHEAD`` days are taken off, but never all of them.
        """
        last = self._after(received, days)
        span = (last - received).days
        if all(self.is_known(received + timedelta(days=one)) for one in range(1, span + 1)):
            return Due(last, estimated=False)
        return Due(self._after(received, max(1, days - AHEAD)), estimated=True)

    def is_estimated(self, start: date, end: date) -> bool:
        """Whether a day of these is an estimate: whoever sees a clock that ends at ``end`` is told."""
        return not all(self.is_known(start + timedelta(days=one)) for one in range((end - start).days + 1))

    def _after(self, received: date, days: int) -> date:
        day = received
        while days:
            day += timedelta(days=1)
            days -= self.is_worked(day)
        return day


def problems(year: Year) -> tuple[Problem, ...]:
    """What is wrong with a year that somebody enters: days of another year, a public holiday that is missing, a working day that is none."""
    found: list[Problem] = []
    if len(year.off) > MOST_OFF or len(year.worked) > MOST_WORKED:
        found.append(Problem("/off", "too-many", "More days than any notice has had."))
    for name, days in (("off", year.off), ("worked", year.worked)):
        if any(not _may_speak(year.year, one) for one in days):
            found.append(Problem(f"/{name}", "not-of-the-year", "A day of another year."))
    if any(one.weekday() < 5 for one in year.worked):
        found.append(Problem("/worked", "no-weekend", "A day that is worked in place of another lies on a weekend."))
    if year.off & year.worked:
        found.append(Problem("/worked", "both", "A day is either off or worked."))
    fixed = {date(year.year, month, day) for (month, day), since in FIXED.items() if year.year >= since}
    if any(one.weekday() < 5 and one not in year.off for one in fixed):
        found.append(Problem("/off", "public-holiday", "A public holiday is missing: 1 January, 1 and 2 May, 1 to 3 October are off by law."))
    return tuple(found)


def _may_speak(year: int, day: date) -> bool:
    return day.year == year or (day.year == year - 1 and day.month == 12 and day.day >= NEXT_YEAR_SPEAKS)


def read_days(text: str) -> frozenset[date]:
    """Days as people write them: one or a span on each line or between commas, such as ``2027-02-05..2027-02-12`` or ``2027-02-05 至 2027-02-12``.

    Raises ValueError for anything else, and for a span of more than a month.
    """
    found: set[date] = set()
    for part in re.split(r"[\n,，、;；]+", text):
        if not part.strip():
            continue
        read = _RANGE.fullmatch(part.strip())
        if read is None:
            raise ValueError(part)
        first = date.fromisoformat(read["first"])
        last = date.fromisoformat(read["last"] or read["first"])
        if not 0 <= (last - first).days <= 31:
            raise ValueError(part)
        found |= {first + timedelta(days=one) for one in range((last - first).days + 1)}
    return frozenset(found)


def spans(days: Iterable[date]) -> list[tuple[date, date]]:
    """Days that follow one another as spans, in order: how people read them."""
    found: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if found and (day - found[-1][1]).days == 1:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found
