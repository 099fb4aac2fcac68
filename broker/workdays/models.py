"""What the hospital entered of a year's public holidays: a new version each time, nothing overwritten."""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel


class WorkingYear(SQLModel, table=True):
    """The days off and the worked weekends of a year. The newest version speaks, and goes before what came with the software."""

    __tablename__ = "working_year"
    __table_args__ = (sa.CheckConstraint("year BETWEEN 2008 AND 2100", name="year"),)

    year: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    off: list[date] = Field(sa_type=ARRAY(sa.Date))
    worked: list[date] = Field(sa_type=ARRAY(sa.Date))
    source: str = Field(sa_type=sa.Text)  #: the notice: its title or number
    published_on: date
    entered_by: str = Field(sa_type=sa.Text)
    entered_at: datetime = Field(sa_type=sa.DateTime(timezone=True))
