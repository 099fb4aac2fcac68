"""The front door of the review: what happened in a quarter, gathered from the slices below and made into one document (RS-7.1)."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from sqlmodel import Session

from broker import jobs
from broker.feedback import service as feedback
from broker.incidents import service as incidents
from broker.obligations import service as obligations
from broker.requests import service as requests
from broker.retention import service as retention
from broker.review import gathering, keeping, recertifying, workbench
from broker.review.errors import AnotherDocument, NoSuchQuarter
from broker.review.figures import COLUMNS, document
from broker.review.keeping import Kept
from broker.review.report import as_pdf, as_pictures, as_xlsx, digest, fonts_there
from broker.review.rules import SMALLEST, Quarter
from broker.review.text import LANGUAGES, WORDS, as_text, lines
from broker.review.words import CHECK_WORDS
from broker.telemedicine import service as telemedicine

__all__ = [
    "CHECK_WORDS",
    "COLUMNS",
    "LANGUAGES",
    "SMALLEST",
    "WORDS",
    "AnotherDocument",
    "Kept",
    "NoSuchQuarter",
    "Quarter",
    "as_json",
    "as_pdf",
    "as_pictures",
    "as_text",
    "as_xlsx",
    "background",
    "compiled",
    "digest",
    "fonts_there",
    "hospital_names",
    "lines",
    "recertifying",
    "shown",
    "workbench",
]


def compiled(session: Session, quarter: Quarter, *, feedback_days: int) -> dict[str, Any]:
    """The review of a quarter as it stands in the database. What came after the quarter's end is not looked at."""
    unknown = gathering.unknown(session, quarter)
    inputs = gathering.gathered(session, quarter, feedback_days, unknown)
    # What happened after data had left, each slice's own figures.
    afterwards = {
        **incidents.figures(session, quarter.since, quarter.until),
        "obligations": obligations.figures(session, quarter.since, quarter.until),
        "destruction": retention.figures(session, quarter.since, quarter.until),
        "telemedicine": telemedicine.figures(session, quarter.since, quarter.until),
        "requests": requests.figures(session, quarter.since, quarter.until),
    }
    made = {**document(quarter, inputs), **afterwards}
    made["concerns"] = feedback.concerns.counted(feedback.concerns.between(session, quarter.since, quarter.until), quarter.until)
    made["sample"] = gathering.sample(session, quarter, inputs, feedback_days, unknown)
    return made


def shown(session: Session, quarter: Quarter, *, feedback_days: int, anew: bool = False) -> Kept:
    """The figures of a quarter as a page shows them, with the moment of which they speak; ``anew``: as they are at this one."""
    return keeping.kept(session, quarter, partial(compiled, feedback_days=feedback_days), anew=anew)


def as_json(review: dict[str, Any]) -> str:
    """The document as JSON with sorted keys; the same document gives the same bytes."""
    return json.dumps(review, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def hospital_names(session: Session, hospital: str) -> dict[str, str]:
    """The hospital's name in each language; its id where it isn't entered."""
    return gathering.names(session, {hospital}).get(hospital, {"zh": hospital, "en": hospital})


def background() -> list[jobs.Job]:
    """Every night access rights that nobody confirmed, or that were not to be kept, are taken away; figures that are looked at stay fresh."""

    def enforce(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            recertifying.enforce(session, tools.keys)

    def refresh(tools: jobs.Tools, payload: dict[str, Any]) -> None:
        del payload
        with tools.database.transaction() as session:
            keeping.refresh(session, partial(compiled, feedback_days=tools.settings.feedback_days))

    return [jobs.Job("review.enforce", enforce, cron="30 17 * * *"), jobs.Job("review.figures", refresh, cron="*/5 * * * *")]
