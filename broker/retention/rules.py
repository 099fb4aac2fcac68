"""When what is kept has come to its end, and who may order its destruction. Pure; the schedule itself is data (``schedule.json``).

PIPL 19: the shortest time that the purpose needs. PIPL 47: at its end the data are deleted without being asked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from broker.retention.errors import TwoForDestruction

Standing = Literal["house", "counsel", "confirmed"]
FILE = Path(__file__).with_name("schedule.json")


@dataclass(frozen=True)
class Law:
    """Which rule a figure comes from, in the words of each language."""

    zh: str
    en: str


@dataclass(frozen=True)
class Line:
    """How long one class of data is kept on one lawful basis after it was last used, and why.

    ``standing``: ``house`` where no law names the figure and the hospital chose it; ``counsel`` where a law names it, as read in secondary
    sources and to be confirmed by the hospital's counsel; ``confirmed`` once they did.
    """

    data_class: str
    lawful_basis: str
    days: int
    law: Law
    standing: Standing = "counsel"


class ScheduleUnusable(ValueError):
    """The schedule is not one: the message says which line."""


def read_schedule(path: Path = FILE) -> tuple[Line, ...]:
    """The schedule of a file. Raises ScheduleUnusable for a line that is none, stands twice or keeps for no time at all."""
    lines: list[Line] = []
    for number, given in enumerate(json.loads(path.read_text(encoding="utf-8")), 1):
        fields = {"data_class": str, "lawful_basis": str, "days": int, "law": dict, "standing": str}
        if not isinstance(given, dict) or given.keys() != fields.keys() or any(type(given[name]) is not kind for name, kind in fields.items()):
            raise ScheduleUnusable(f"line {number}: data_class, lawful_basis, days, law and standing, and nothing else")
        if given["law"].keys() != {"zh", "en"} or not all(isinstance(words, str) and words.strip() for words in given["law"].values()):
            raise ScheduleUnusable(f"line {number}: the law is said in zh and en")
        line = Line(**{**given, "law": Law(**given["law"])})
        if (
            line.standing not in get_args(Standing)
            or line.days < 1
            or any((one.data_class, one.lawful_basis) == (line.data_class, line.lawful_basis) for one in lines)
        ):
            raise ScheduleUnusable(f"line {number}: it stands twice, says not who confirmed it, or keeps for less than a day")
        lines.append(line)
    return tuple(lines)


def grouped(schedule: Iterable[Line]) -> list[tuple[Line, list[str]]]:
    """Lines that differ in the lawful basis alone together, with their bases: how people read the schedule."""
    found: dict[Line, list[str]] = {}
    for one in schedule:
        found.setdefault(replace(one, lawful_basis=""), []).append(one.lawful_basis)
    return list(found.items())


def ends(schedule: Iterable[Line], data_class: str, last_used: Mapping[str, datetime]) -> datetime | None:
    """When data that were last used on these bases come to their end: the latest end that any basis gives.

    ``last_used``: by lawful basis (``none``: never shared). None where the schedule doesn't speak of one of them: such data are kept
    until it does.
    """
    days = {line.lawful_basis: line.days for line in schedule if line.data_class == data_class}
    if not last_used or not days.keys() >= last_used.keys():
        return None
    return max(at + timedelta(days=days[basis]) for basis, at in last_used.items())


def approved(approvals: Collection[str], who: str) -> bool:
    """Whether ``who`` makes it two natural persons. Raises TwoForDestruction where they approved before."""
    if who in approvals:
        raise TwoForDestruction
    return len(set(approvals) | {who}) >= 2
