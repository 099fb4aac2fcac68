"""Years of the working calendar as they come in and go out over HTTP."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from broker.edge import Printable


class WorkingYearIn(BaseModel):
    """A year's notice. ``off``: every day that is off, weekends within a holiday may be left out. ``worked``: weekends that are worked."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    off: Annotated[tuple[date, ...], Field(min_length=1, max_length=60)]
    worked: Annotated[tuple[date, ...], Field(max_length=20)] = ()
    source: Annotated[Printable, Field(min_length=4, max_length=300, description="Title and number of the State Council's notice.")]
    published_on: date


class WorkingYearOut(BaseModel):
    """A year as clocks count it. ``entered``: by this hospital, and not with the software."""

    year: int
    off: list[date]
    worked: list[date]
    source: str
    entered: bool
    published_on: date | None = None
    entered_by: str | None = None
    entered_at: datetime | None = None


class WorkingYearsOut(BaseModel):
    """Every known year. ``missing``: one whose notice should be out and is not entered."""

    years: list[WorkingYearOut]
    missing: int | None


class DueOut(BaseModel):
    """The last day of a clock. ``estimated``: it runs into a year without notice, so it is taken early."""

    received: date
    days: int
    due: date
    estimated: bool
