"""Feedback as it comes in and goes out over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from broker.feedback.models import DataProblem, Feedback, PurposeMet
from broker.feedback.rules import Answers


def printable(text: str) -> str:
    """A text that isn't blank and holds no control characters; raises what pydantic answers with."""
    if not text.strip() or any(ord(character) < 32 and character not in "\n\r\t" for character in text):
        raise PydanticCustomError("text", "It must not be blank and hold no control characters.")
    return text


Element = Annotated[str, Field(max_length=120, pattern=r"^[A-Z][A-Za-z]*(\.[a-z][A-Za-z0-9]*)*$", description="such as Observation.value")]


class FeedbackIn(BaseModel):
    """What was done with the data (RS-5.3.4)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    release: UUID | None = Field(None, description="the release that it is about; left out, all under the grant")
    used: StrictBool
    purpose_met: PurposeMet | None = None
    elements_used: Annotated[tuple[Element, ...], Field(max_length=500)] = ()
    examinations_avoided: Annotated[int, Field(strict=True, ge=0, le=10_000, description="examinations that need not be repeated (RS-2.2)")] = 0
    data_problems: Annotated[tuple[DataProblem, ...], Field(max_length=20)] = ()
    onward_disclosure: StrictBool
    deletion_done: StrictBool
    comment: Annotated[str, AfterValidator(printable), Field(min_length=1, max_length=4000)] | None = None

    def answers(self) -> Answers:
        """As the verb takes them."""
        return Answers(
            used=self.used,
            purpose_met=self.purpose_met.value if self.purpose_met else None,
            elements_used=self.elements_used,
            examinations_avoided=self.examinations_avoided,
            data_problems=tuple(problem.value for problem in self.data_problems),
            onward_disclosure=self.onward_disclosure,
            deletion_done=self.deletion_done,
            comment=self.comment,
            release=self.release,
        )


class FeedbackOut(BaseModel):
    """One report. ``by`` is ``person:<id>`` or ``client:<id>``."""

    id: UUID
    application: str
    release: UUID | None
    at: datetime
    by: str
    used: bool
    purpose_met: str | None
    elements_used: list[str]
    examinations_avoided: int
    data_problems: list[str]
    onward_disclosure: bool
    deletion_done: bool
    comment: str | None


class FeedbackListOut(BaseModel):
    """The reports on one application, and by when the first is or was due (None: nothing was sent yet)."""

    due: datetime | None
    overdue: bool
    items: list[FeedbackOut]


def shown(row: Feedback, comment: str | None) -> FeedbackOut:
    """One report with its words unsealed."""
    return FeedbackOut(
        id=row.id,
        application=row.application,
        release=row.release_id,
        at=row.at,
        by=f"person:{row.person_id}" if row.person_id else f"client:{row.client_id}",
        used=row.used,
        purpose_met=row.purpose_met,
        elements_used=row.elements_used,
        examinations_avoided=row.examinations_avoided,
        data_problems=row.data_problems,
        onward_disclosure=row.onward_disclosure,
        deletion_done=row.deletion_done,
        comment=comment,
    )
