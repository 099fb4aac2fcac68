"""The quarter's figures as charts with a table beside each, for whoever reviews and whoever supervises (RS-7.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from broker import clock
from broker.console import vocabulary
from broker.console.desk import Desk
from broker.console.door import Visitor, require
from broker.console.language import N_, said
from broker.console.pages import HEADERS, Pages, text
from broker.console.tables import Ask
from broker.database import SessionDep
from broker.identity.access import Action
from broker.review import service as review

Reader = Annotated[Visitor, Depends(require(Action.REVIEW_READ))]

#: Quarters that can be chosen, the present one and those before it.
BACK = 8

#: Bars that a chart shows; the table beside it has every row.
BARS = 12
WIDTH, ORIGIN, LINE = 560, 200, 26


@dataclass(frozen=True)
class Bar:
    """One bar of a chart, in the chart's own units."""

    label: str
    value: str
    x: int
    y: int
    width: int

    @property
    def label_x(self) -> int:
        """Where its name ends."""
        return self.x - 8

    @property
    def text_y(self) -> int:
        """The line on which its words stand."""
        return self.y + 13

    @property
    def value_x(self) -> int:
        """Where its number begins."""
        return self.x + self.width + 6


@dataclass(frozen=True)
class Chart:
    """Bars, and the table that says the same."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    bars: Sequence[Bar]
    width: int = WIDTH
    origin: int = ORIGIN

    @property
    def height(self) -> int:
        """As many lines as there are bars."""
        return max(1, len(self.bars)) * LINE


def build_router(desk: Desk, pages: Pages) -> APIRouter:
    """The page, and the document behind it."""
    router = APIRouter()

    @router.get("/console/reviews")
    def reviews(request: Request, who: Reader, session: SessionDep) -> Response:
        del who
        spoken, ask = pages.language(request), Ask.of(request)
        known = quarters()
        chosen = review.Quarter.parse(ask.one_of("quarter", known, known[0]))
        document = review.compiled(session, chosen, feedback_days=desk.settings.feedback_days)
        if ask.one_of("format", ("json",)):
            headers = {**HEADERS, "Content-Disposition": f'attachment; filename="review-{chosen}.json"'}
            return Response(review.as_json(document), media_type="application/json", headers=headers)
        figures = review.lines(document, spoken)
        return pages.show(
            request,
            "reviews.html",
            quarter=str(chosen),
            review={"since": chosen.since.date(), "until": chosen.until.date()},
            smallest=review.SMALLEST,
            quarters=[(one, one) for one in known],
            tiles=[
                (said(spoken, N_("applications")), document["applications"]["submitted"]),
                (said(spoken, N_("approved")), document["applications"]["approved"]),
                (said(spoken, N_("refused")), document["applications"]["refused"]),
                (said(spoken, N_("resources sent")), document["releases"]["resources_sent"]),
                (said(spoken, N_("resources held back")), document["releases"]["resources_held_back"]),
                (said(spoken, N_("examinations avoided")), document["feedback"]["examinations_avoided"]),
            ],
            charts=[decided(document, spoken), *(chart(desk, name, rows, spoken) for name, rows in document["breakdowns"].items())],
            figures=figures,
        )

    return router


def quarters() -> list[str]:
    """The present quarter and those before it."""
    today = clock.today()
    year, number = today.year, (today.month + 2) // 3
    found = []
    for _ in range(BACK):
        found.append(f"{year}Q{number}")
        year, number = (year - 1, 4) if number == 1 else (year, number - 1)
    return found


def decided(document: Mapping[str, Any], spoken: str) -> Chart:
    """What became of the quarter's applications: totals, which point at nobody."""
    counts = document["applications"]
    rows = [
        (said(spoken, title), counts[name] or 0)
        for title, name in (
            (N_("Submitted"), "submitted"),
            (N_("Approved"), "approved"),
            (N_("Approved in part"), "narrowed"),
            (N_("Refused"), "refused"),
        )
    ]
    most = max((count for _, count in rows), default=0) or 1
    bars = [
        Bar(label, str(count), ORIGIN, place * LINE + 4, round((WIDTH - ORIGIN - 60) * count / most)) for place, (label, count) in enumerate(rows)
    ]
    columns = [said(spoken, N_("Outcome")), said(spoken, N_("Applications"))]
    return Chart(said(spoken, N_("What became of the applications")), columns, [[label, str(count)] for label, count in rows], bars)


def _name(desk: Desk, row: Mapping[str, Any], spoken: str) -> str:
    """What a row of a breakdown is called: an organisation, a purpose, a data class or a resource type."""
    key = str(row["key"])
    if "name" in row:
        return str(row["name"].get(spoken, key))
    if key in desk.purposes:
        return text(desk.purposes[key], spoken)
    if key in desk.catalogue.classes:
        return text(desk.catalogue.classes[key].name, spoken)
    return vocabulary.kind(spoken, key.removeprefix("type:"))


def chart(desk: Desk, name: str, rows: Sequence[Mapping[str, Any]], spoken: str) -> Chart:
    """One breakdown. A number that is too small to be shown is a dash and has no bar."""
    zh = spoken == "zh"
    words = {word: review.WORDS[word][zh] for word in (name, *review.COLUMNS)}
    named = [(_name(desk, row, spoken), row) for row in rows]
    most = max((row["applications"] or 0 for _, row in named), default=0) or 1
    room = WIDTH - ORIGIN - 60
    bars = [
        Bar(_short(label), "–" if row["applications"] is None else str(row["applications"]), ORIGIN, place * LINE + 4,
            round(room * (row["applications"] or 0) / most))
        for place, (label, row) in enumerate(named[:BARS])
    ]  # fmt: skip
    cells = [[label, *("–" if row[column] is None else str(row[column]) for column in review.COLUMNS)] for label, row in named]
    return Chart(words[name], [words[name], *(words[column] for column in review.COLUMNS)], cells, bars)


def _short(label: str) -> str:
    """As much of a name as stands beside a bar; Chinese characters are twice as wide."""
    width, kept = 0, ""
    for letter in label:
        width += 2 if ord(letter) > 0x2E7F else 1
        if width > 28:
            return kept + "…"
        kept += letter
    return kept
