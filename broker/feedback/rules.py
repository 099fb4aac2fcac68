"""When feedback, and the answer to a complaint, is due, and which answers belong together. Pure.

Complaints: 医疗机构投诉管理办法 (国家卫生健康委员会令第3号, 2019) has a hospital tell the complainant within 5 working days of the complaint
where it must be looked into, and within 10 where several departments must agree first (5 and 10 are also what hospitals' own rules in
public say). The article is counsel's to confirm. For suggestions no law names a time; their days are the hospital's own, and calendar days.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from broker.errors import Problem
from broker.feedback.errors import FeedbackInconsistent
from broker.workdays.service import Calendar


@dataclass(frozen=True)
class Clocks:
    """By when suggestions and complaints are answered. ``zone``: by whose days."""

    complaint: int = 5  #: working days
    shared: int = 10  #: working days of a complaint that several departments must agree on
    suggestion: int = 30  #: calendar days
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))

    def last_moment(self, calendar: Calendar, raised: datetime, *, complaint: bool, shared: bool = False) -> datetime:
        """The last second of the last day, by the hospital's clocks; the day on which it was raised doesn't count."""
        day = raised.astimezone(self.zone).date()
        last = calendar.due(day, self.shared if shared else self.complaint).day if complaint else day + timedelta(days=self.suggestion)
        return datetime.combine(last, time(23, 59, 59), self.zone)


@dataclass(frozen=True)
class Answers:
    """What a recipient reports. ``purpose_met`` is yes, partly or no; ``data_problems`` are codes of ``models.DataProblem``."""

    used: bool
    purpose_met: str | None
    elements_used: tuple[str, ...]
    examinations_avoided: int
    data_problems: tuple[str, ...]
    onward_disclosure: bool
    deletion_done: bool
    comment: str | None
    release: UUID | None = None  #: the one that it is about; None: all under the grant


def due_at(first_released: datetime, days: int) -> datetime:
    """When feedback on a grant is due: so many days after data were first sent under it (RS-5.3.4)."""
    return first_released + timedelta(days=days)


def is_overdue(first_released: datetime | None, answered: datetime | None, days: int, at: datetime) -> bool:
    """Whether, at a moment, feedback should have come and had not. Nothing sent: nothing due."""
    if first_released is None or (answered is not None and answered <= at):
        return False
    return due_at(first_released, days) <= at


def check_answers(answers: Answers) -> None:
    """Raises FeedbackInconsistent naming every answer that contradicts another."""
    found = []
    if answers.used and answers.purpose_met is None:
        found.append(Problem("/purpose_met", "required", "Say whether the data served their purpose."))
    if not answers.used:
        found += [
            Problem(f"/{name}", "unused", "The data are said not to have been used.")
            for name, given in (
                ("purpose_met", answers.purpose_met is not None),
                ("elements_used", bool(answers.elements_used)),
                ("examinations_avoided", answers.examinations_avoided > 0),
            )
            if given
        ]
    if (answers.onward_disclosure or _says_nothing_of(answers.data_problems)) and not answers.comment:
        found.append(Problem("/comment", "required", "Say in words to whom the data went on, or what was wrong with them."))
    if found:
        raise FeedbackInconsistent(problems=tuple(found))


def _says_nothing_of(problems: Collection[str]) -> bool:
    return "other" in problems
