"""The review as files: PDF/A for signing and keeping, XLSX for reckoning on. The same document gives the same bytes.

Words of people reach Typst as data alone, never as source, and cells that a spreadsheet would take for formulas are made plain text.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import typst
import xlsxwriter

from broker.printing import fonts_there
from broker.review.figures import COLUMNS
from broker.review.text import CODES, SHARES, WORDS, sections
from broker.review.words import CHECK_WORDS, REPORT_WORDS

TEMPLATE = Path(__file__).with_name("report.typ")

#: How many bars a chart shows; the table beside it has every row.
BARS = 8


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256, hex, of the document's canonical JSON: what is signed."""
    return sha256(json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


#: Who signed, by part: name and day (``workbench.signatures``).
Signed = Mapping[str, Mapping[str, str]]


def as_pdf(document: Mapping[str, Any], language: str, hospital: str, signed: Signed | None = None) -> bytes:
    """The review as PDF/A-2b. ``hospital``: its name in this language."""
    return _compiled(document, language, hospital, signed or {}, "pdf")[0]


def as_pictures(document: Mapping[str, Any], language: str, hospital: str, signed: Signed | None = None) -> list[bytes]:
    """Its pages as PNG, to be looked at."""
    return _compiled(document, language, hospital, signed or {}, "png")


def _compiled(document: Mapping[str, Any], language: str, hospital: str, signed: Signed, form: Any) -> list[bytes]:
    data = json.dumps(_page(document, language, hospital, signed), ensure_ascii=False, sort_keys=True)
    until = datetime.fromisoformat(document["until"]).replace(tzinfo=UTC)
    more: dict[str, Any] = {"pdf_standards": "a-2b", "timestamp": until} if form == "pdf" else {"ppi": 80.0}
    made = typst.compile(TEMPLATE.read_bytes(), format=form, sys_inputs={"data": data}, **more)
    return made if isinstance(made, list) else [made]


def _page(document: Mapping[str, Any], language: str, hospital: str, signed: Signed) -> dict[str, Any]:
    """Everything that the template says, in one language."""
    zh = language == "zh"
    word = {key: pair[zh] for key, pair in REPORT_WORDS.items()}
    until = datetime.fromisoformat(document["until"])
    return {
        "lang": language,
        "hospital": hospital,
        "title": f"{WORDS['title'][zh]}{_quarter(document['quarter'], zh=zh)}",
        "date": [until.year, until.month, until.day],
        "days": f"{word['number']} {document['quarter']} · " + WORDS["days"][zh].format(since=document["since"], until=document["until"]),
        "state": word[("unsigned", "signed_by_one", "signed_by_two")[min(len(signed), 2)]],
        "digest-line": f"{word['digest']} SHA-256 {digest(document)[:32]}…",
        "digest-whole": f"SHA-256 {digest(document)}",
        "words": {**{key.replace("_", "-"): text for key, text in word.items()}, "small": WORDS["small_note"][zh]},
        "summary": _summary(document, word),
        "cards": _cards(document, word),
        "charts": [_chart(document, name, column, language) for name, column in _CHARTS],
        "sections": [
            {"title": WORDS.get(section, REPORT_WORDS.get(section, (section, section)))[zh], "rows": [list(row) for row in rows]}
            for section, rows in sections(document, language)
        ],
        "breakdowns": [_table(name, rows, language, word) for name, rows in document["breakdowns"].items()],
        "sample": _sample(document, language, word),
        "findings": _listing(word, "findings_list", ("number", "severity", "text"), (0, 0, 1), document.get("findings", ()), language),
        "actions": _listing(word, "actions_list", ("for", "title", "owner", "due", "done"), (0, 1, 0, 0, 0), document.get("actions", ()), language),
        "access": _listing(word, "access_list", _ACCESS, (1, 0, 0, 0, 0), document.get("access", ()), language),
        "signatures": [
            {"role": word[role], "name": signed.get(role, {}).get("name", ""), "date": signed.get(role, {}).get("date", "")}
            for role in ("information_manager", "auditor")
        ],
    }


def _quarter(name: str, *, zh: bool) -> str:
    """A quarter as a heading says it: in Chinese by year and number in words."""
    return f"（{name[:4]}年第{'一二三四'[int(name[5]) - 1]}季度）" if zh else f" {name}"


_ACCESS = ("kind", "asked", "kept", "revoked", "unanswered")

#: Which breakdown is drawn by which column.
_CHARTS = (("department", "applications"), ("recipient", "releases"), ("purpose", "applications"), ("data", "resources"))


def _summary(document: Mapping[str, Any], word: Mapping[str, str]) -> list[str]:
    applications, releases, feedback = document["applications"], document["releases"], document["feedback"]
    sent = sum(count for outcome, count in releases["by_outcome"].items() if outcome != "failed")
    hours = applications["median_hours_to_decision"]
    said = [
        word["said_applications"].format(**{name: applications[name] for name in ("submitted", "decided", "approved", "refused")}),
        word["said_releases"].format(
            sent=sent, resources=releases["resources_sent"], held=releases["resources_held_back"], refused=releases["refused"]
        ),
        word["said_feedback"].format(**{name: feedback[name] for name in ("reports", "examinations_avoided", "overdue")}),
    ]
    if hours is not None:
        said.insert(1, word["said_time"].format(hours=f"{hours:g}"))
    if releases["unexplained"]:
        said.append(word["said_unexplained"].format(unexplained=releases["unexplained"]))
    if document.get("concerns", {}).get("raised"):
        said.append(word["said_concerns"].format(**document["concerns"]))
    return said


def _cards(document: Mapping[str, Any], word: Mapping[str, str]) -> list[dict[str, str]]:
    share = document["releases"]["minimisation"]
    agreement = document["assessment"]["agreement"]
    shown = (
        ("card_applications", str(document["applications"]["submitted"])),
        ("card_releases", str(sum(n for outcome, n in document["releases"]["by_outcome"].items() if outcome != "failed"))),
        ("card_minimisation", "–" if share is None else f"{1 - share:.1%}"),
        ("card_agreement", "–" if agreement is None else f"{agreement:.1%}"),
        ("card_refused", str(document["releases"]["refused"])),
        ("card_avoided", str(document["feedback"]["examinations_avoided"])),
        ("card_overdue", str(document["feedback"]["overdue"])),
        ("card_emergency", str(document["emergency"]["applications"])),
    )
    return [{"label": word[key], "value": value} for key, value in shown]


def _name(row: Mapping[str, Any], language: str) -> str:
    key = row["key"].removeprefix("type:")
    name: str = row.get("name", {}).get(language) or CODES.get(key, (key, key))[language == "zh"]
    return name


def _chart(document: Mapping[str, Any], name: str, column: str, language: str) -> dict[str, Any]:
    zh = language == "zh"
    rows = [row for row in document["breakdowns"][name] if row[column] is not None and row[column] > 0]
    rows.sort(key=lambda row: (-row[column], row["key"]))
    return {
        "title": REPORT_WORDS["chart"][zh].format(of=WORDS[column][zh], by=WORDS[name][zh]),
        "empty": REPORT_WORDS["nothing_shown"][zh],
        "bars": [{"label": _name(row, language), "value": row[column], "shown": str(row[column])} for row in rows[:BARS]],
    }


def _table(name: str, rows: Sequence[Mapping[str, Any]], language: str, word: Mapping[str, str]) -> dict[str, Any]:
    zh = language == "zh"
    return {
        "title": WORDS[name][zh],
        "head": ["", *(WORDS[column][zh] for column in COLUMNS)],
        "widths": [2, *([1] * len(COLUMNS))],
        "align": ["left", *(["right"] * len(COLUMNS))],
        "rows": [[_name(row, language), *("–" if row[column] is None else str(row[column]) for column in COLUMNS)] for row in rows],
        "empty": word["nothing"],
    }


def _mark(value: bool | None) -> str:
    return {True: "✓", False: "✗", None: "–"}[value]


def _sample(document: Mapping[str, Any], language: str, word: Mapping[str, str]) -> dict[str, Any]:
    zh = language == "zh"
    rows = document.get("sample", ())
    return {
        "title": word["sample_list"],
        "head": [word["number"], WORDS["releases"][zh], *(pair[zh] for pair in CHECK_WORDS.values())],
        "widths": [0, 0, *([1] * len(CHECK_WORDS))],
        "align": ["left", "right", *(["left"] * len(CHECK_WORDS))],
        "rows": [[row["number"], str(row["releases"]), *(_mark(row["checks"][check]) for check in CHECK_WORDS)] for row in rows],
        "empty": word["nothing"],
    }


def _listing(
    word: Mapping[str, str], title: str, columns: Sequence[str], widths: Sequence[int], rows: Sequence[Mapping[str, Any]], language: str
) -> dict[str, Any]:
    def shown(value: Any) -> str:
        text = "" if value is None else str(value)
        return REPORT_WORDS[text][language == "zh"] if text in REPORT_WORDS else text

    return {
        "title": word[title],
        "head": [word[column] for column in columns],
        "widths": list(widths),
        "align": ["left"] * len(columns),
        "rows": [[shown(row.get(column)) for column in columns] for row in rows],
        "empty": word["nothing"],
    }


# -- XLSX --


def plain(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection): text that begins like one gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def as_xlsx(document: Mapping[str, Any], language: str, hospital: str) -> bytes:
    """The review as a workbook: one sheet of figures, one for each breakdown, the sample, findings and actions."""
    page = _page(document, language, hospital, {})
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False})
    at = datetime.fromisoformat(document["until"])
    book.set_properties({"title": page["title"], "author": hospital, "created": at})
    head = book.add_format({"bold": True, "bottom": 1, "font_color": "#1d5f8a"})
    title = book.add_format({"bold": True, "font_size": 14})

    def sheet(name: str, heading: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        made = book.add_worksheet(name[:31])
        made.write_string(0, 0, heading, title)
        made.set_column(0, 0, 42)
        made.set_column(1, max(1, len(columns) - 1), 16)
        for place, text in enumerate(columns):
            made.write_string(2, place, text, head)
        for number, row in enumerate(rows, start=3):
            for place, value in enumerate(row):
                cell = plain(_number(value))
                if isinstance(cell, str):
                    made.write_string(number, place, cell)
                else:
                    made.write_number(number, place, cell)
        made.freeze_panes(3, 0)

    words = page["words"]
    figures = [[f"{section['title']} · {label.lstrip('…')}", value] for section in page["sections"] for label, value in section["rows"]]
    sheet(words["figures"], page["title"], (words["figure"], words["value"]), figures)
    for it in (*page["breakdowns"], page["sample"], page["findings"], page["actions"], page["access"]):
        sheet(it["title"], it["title"], it["head"], it["rows"])
    book.close()
    return out.getvalue()


def _number(value: Any) -> Any:
    """Numbers as numbers, so that they can be added up; everything else as it is."""
    try:
        return int(value)
    except ValueError:
        return value


__all__ = ["SHARES", "as_pdf", "as_pictures", "as_xlsx", "digest", "fonts_there", "plain"]
