"""Lists that the server searches, sorts and pages, and their export as CSV or a spreadsheet.

A page says what it was asked for (:class:`Ask`), fetches that part, and puts it in a :class:`Table`; the template shows it. An
exported cell that a spreadsheet would take for a formula is defused (CWE-1236).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import xlsxwriter
from fastapi import Request
from fastapi.responses import Response

from broker.console.language import N_
from broker.console.pages import HEADERS
from broker.paging import COUNTED, Part, Place

SIZE = 25
#: Rows that one export holds at most; what is older is found by a narrower search.
MOST = 10_000
FORMATS = ("csv", "xlsx")

_LONGEST = 200

#: What stands under a part of a list that is cut by its rows and not by their count.
SHOWN = N_("{shown} of {total}")


@dataclass(frozen=True)
class Ask:
    """What an address asks of a list. Whatever can't be meant is taken as not said."""

    path: str
    values: Mapping[str, str]

    @classmethod
    def of(cls, request: Request) -> Ask:
        """From a request; the first value of each name counts."""
        pairs = reversed(request.query_params.multi_items())
        return cls(request.url.path, {name: value.strip()[:_LONGEST] for name, value in pairs if value.strip() and "\x00" not in value})

    def one_of(self, name: str, known: Container[str], otherwise: str = "") -> str:
        """A value that must be one of those known."""
        value = self.values.get(name, otherwise)
        return value if value in known else otherwise

    def text(self, name: str) -> str:
        """Words that somebody searches for."""
        return self.values.get(name, "")

    @property
    def page(self) -> int:
        """Which page, from 1."""
        given = self.values.get("page", "1")
        return min(max(int(given), 1), COUNTED // SIZE + 1) if given.isascii() and given.isdigit() and len(given) < 6 else 1

    @property
    def format(self) -> str:
        """``csv`` or ``xlsx`` where the whole list is asked for as a file, else ""."""
        return self.one_of("format", FORMATS)

    @property
    def window(self) -> tuple[int, int]:
        """How many rows to fetch, and after how many."""
        return (MOST, 0) if self.format else (SIZE, (self.page - 1) * SIZE)

    @property
    def place(self) -> Place | None:
        """After, or before, which row the part begins; None for the first, and where the whole list is asked for as a file."""
        key, before = self.values.get("after", ""), self.values.get("before", "")
        return None if self.format or not (key or before) else Place(key or before, before=not key)

    @property
    def limit(self) -> int:
        """How many rows to fetch from that place on."""
        return MOST if self.format else SIZE

    def sort(self, known: Sequence[str], otherwise: str) -> str:
        """The column to sort by, with a hyphen before it for descending."""
        given = self.values.get("sort", otherwise)
        return given if given.removeprefix("-") in known else otherwise

    def address(self, **changes: str) -> str:
        """The same list, with these values changed; "" leaves one out."""
        kept = {name: value for name, value in {**self.values, **changes}.items() if value and name != "done"}
        return self.path + (f"?{urlencode(kept)}" if kept else "")


@dataclass(frozen=True)
class Cell:
    """One cell: its text, and how it is shown. ``tone`` makes it a badge."""

    text: str
    href: str = ""
    tone: str = ""
    note: str = ""
    key: str = ""  #: of the row, for forms beside the list


@dataclass(frozen=True)
class Column:
    """A column. ``key``: what to sort by, if it can be sorted by."""

    title: str
    key: str = ""
    number: bool = False
    href: str = ""
    sorted: str = ""  #: ascending or descending, for ``aria-sort``


@dataclass(frozen=True)
class Filter:
    """A field of the search. With ``options`` a choice, else an input of ``kind``."""

    key: str
    title: str
    options: Sequence[tuple[str, str]] = ()
    kind: str = "search"
    hint: str = ""
    value: str = ""


@dataclass(frozen=True)
class Table:
    """A part of a list, ready to be shown or exported."""

    path: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    filters: Sequence[Filter] = ()
    filtered: bool = False
    sort: str = ""
    span: str = ""
    previous: str = ""
    next: str = ""
    csv: str = ""
    xlsx: str = ""
    exportable: bool = field(default=True)


def made(
    ask: Ask, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], total: int, *,
    span: str, filters: Sequence[Filter] = (), sort: str = "", exportable: bool = True,
) -> Table:  # fmt: skip
    """The table of a part of a list. ``span`` is a sentence with ``{first}``, ``{last}`` and ``{total}``."""
    first = (ask.page - 1) * SIZE
    return Table(
        path=ask.path,
        columns=[_sortable(ask, column, sort) for column in columns],
        rows=rows,
        filters=[Filter(one.key, one.title, one.options, one.kind, one.hint, ask.text(one.key)) for one in filters],
        filtered=any(ask.text(one.key) for one in filters),
        sort=ask.text("sort"),
        span=span.format(first=first + 1 if rows else 0, last=first + len(rows), total=f"{COUNTED}+" if total > COUNTED else total),
        previous=ask.address(page=str(ask.page - 1)) if ask.page > 1 else "",
        next=ask.address(page=str(ask.page + 1)) if first + len(rows) < total and rows else "",
        csv=ask.address(format="csv", page=""),
        xlsx=ask.address(format="xlsx", page=""),
        exportable=exportable,
    )


def cut(
    ask: Ask, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], part: Part[Any], ends: tuple[str, str], *,
    span: str, filters: Sequence[Filter] = (), sort: str = "",
) -> Table:  # fmt: skip
    """The table of a part that begins at a row.

    ``ends``: the keys of its first and last row. ``span``: a sentence with ``{shown}`` and ``{total}``.
    """
    total = f"{COUNTED}+" if part.total > COUNTED else part.total
    return Table(
        path=ask.path,
        columns=[_sortable(ask, column, sort) for column in columns],
        rows=rows,
        filters=[Filter(one.key, one.title, one.options, one.kind, one.hint, ask.text(one.key)) for one in filters],
        filtered=any(ask.text(one.key) for one in filters),
        sort=ask.text("sort"),
        span=span.format(shown=len(rows), total=total),
        previous=ask.address(before=ends[0], after="") if part.earlier and rows else "",
        next=ask.address(after=ends[1], before="") if part.later else "",
        csv=ask.address(format="csv", after="", before=""),
        xlsx=ask.address(format="xlsx", after="", before=""),
    )


def _sortable(ask: Ask, column: Column, sort: str) -> Column:
    if not column.key:
        return column
    state = {column.key: "ascending", f"-{column.key}": "descending"}.get(sort, "")
    wanted = f"-{column.key}" if state == "ascending" else column.key
    return Column(column.title, column.key, column.number, ask.address(sort=wanted, page="", after="", before=""), state)


def plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP CSV Injection): an apostrophe before what could begin one."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠") else cell


def exported(table: Table, kind: str, name: str) -> Response:
    """The table as a file. CSV is UTF-8 with a mark at its beginning, or Excel would read Chinese as something else."""
    lines = [[column.title for column in table.columns]]
    lines += [[cell.text + (f" {cell.note}" if cell.note else "") for cell in row] for row in table.rows]
    out = io.BytesIO()
    if kind == "csv":
        words = io.StringIO()
        csv.writer(words, lineterminator="\r\n").writerows([[plain(cell) for cell in line] for line in lines])
        out.write(b"\xef\xbb\xbf" + words.getvalue().encode())
        media = "text/csv; charset=utf-8"
    else:
        with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
            sheet = book.add_worksheet(name[:31])
            bold = book.add_format({"bold": True, "bg_color": "#eaf0f3"})
            for number, line in enumerate(lines):
                for place, cell in enumerate(line):
                    sheet.write_string(number, place, plain(cell), bold if number == 0 else None)
            sheet.freeze_panes(1, 0)
            sheet.autofit()
        media = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return Response(out.getvalue(), media_type=media, headers=headers)
