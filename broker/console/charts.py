"""Charts of the quarter's figures: bars drawn by the server, and the table beside them that says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.console import vocabulary
from broker.console.desk import Desk
from broker.console.language import N_, said
from broker.console.pages import text
from broker.review import service as review

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
    if all(row["applications"] is None for _, row in named):
        bars = []
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
