"""Quarters, medians, what counts as agreement, and which numbers are too small to be shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from broker.review.errors import NoSuchQuarter

#: A breakdown shows no number below this (attack D19): a small cell may point at a person.
SMALLEST = 10

_QUARTER = re.compile(r"(?P<year>[12]\d{3})Q(?P<number>[1-4])")


@dataclass(frozen=True)
class Quarter:
    """Three months, as UTC days."""

    year: int
    number: int  #: 1 to 4

    @classmethod
    def parse(cls, text: str) -> Quarter:
        """From ``2026Q4``. Raises NoSuchQuarter."""
        found = _QUARTER.fullmatch(text.strip().upper())
        if found is None:
            raise NoSuchQuarter
        return cls(int(found["year"]), int(found["number"]))

    @property
    def since(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, 3 * self.number - 2, 1, tzinfo=UTC)

    @property
    def until(self) -> datetime:
        """The first moment after it."""
        following = Quarter(self.year + 1, 1) if self.number == 4 else Quarter(self.year, self.number + 1)
        return following.since

    def __str__(self) -> str:
        return f"{self.year}Q{self.number}"


def median(values: Sequence[float]) -> float | None:
    """The middle of the values, the mean of the two middle ones where their number is even; None without values."""
    if not values:
        return None
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def ratio(part: int, whole: int) -> float | None:
    """``part`` of ``whole`` to four places; None where there is nothing to divide."""
    return round(part / whole, 4) if whole else None


def agrees(assessed: str | None, action: str) -> bool | None:
    """Whether a person decided as the machine's opinion said; None where it had none or the action says neither yes nor no.

    A permit agrees with an approval as it was asked; a narrowed one is less than the machine would have allowed. A denial
    agrees with refusing and with returning.
    """
    if assessed not in ("permit", "deny") or action not in ("approve", "narrow", "refuse", "return"):
        return None
    return (assessed == "permit" and action == "approve") or (assessed == "deny" and action in ("refuse", "return"))


def suppressed(cells: Mapping[str, int]) -> dict[str, int | None]:
    """The cells of one column with every number below SMALLEST left out (None), and more where that would not hide it.

    The column's total stands elsewhere in the review, so that a single hidden cell could be worked out by subtraction, and
    several could where together they are small. Then the next smallest is hidden as well, by size and then by name.
    """
    hidden = {name for name, value in cells.items() if value < SMALLEST}
    if hidden:
        for name, value in sorted(cells.items(), key=lambda cell: (cell[1], cell[0])):
            if len(hidden) > 1 and sum(cells[one] for one in hidden) >= SMALLEST:
                break
            if value >= SMALLEST:
                hidden.add(name)
    return {name: None if name in hidden else value for name, value in cells.items()}


def counted(values: Iterable[str | None]) -> dict[str, int]:
    """How often each value occurs, by name; None is not counted."""
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))
