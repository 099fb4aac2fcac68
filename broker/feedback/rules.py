"""When feedback is due, and which answers belong together. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from broker.errors import Problem
from broker.feedback.errors import FeedbackInconsistent


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
