"""The report as files: words of people are data, the same document gives the same bytes, cells are never formulas."""

import io

import openpyxl
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.review import report, sampling
from broker.review.figures import Inputs, document
from broker.review.rules import Quarter
from broker.review.words import CHECK_WORDS, REPORT_WORDS

QUARTER = Quarter.parse("2026Q4")
HOSTILE = '#panic("x") $1+1$ @label <b> *x* \\ "]} // =1+1'
needs_fonts = pytest.mark.skipif(not report.fonts_there(), reason="no font with Chinese (fonts-noto-cjk)")


def a_review(**more):
    made = document(QUARTER, Inputs(cases=[], sent=[], reports=[], overdue=0, unexplained=0, refused_releases={"=cmd|x": 3}, names={}))
    made |= {"concerns": {"raised": 1, "answered": 1, "answered_late": 0, "late": 0}, "sample": [], **more}
    return made


FULL = a_review(
    findings=[{"number": "2026Q4-01", "severity": "high", "text": HOSTILE}],
    actions=[{"for": "2026Q4-01", "title": "=HYPERLINK(1)", "owner": "@王敏", "due": "2027-01-31", "done": None}],
    access=[{"kind": "role", "asked": 4, "kept": 3, "revoked": 1, "unanswered": 1}],
    sample=sampling.sample(
        "2026Q4", [sampling.Exchange("SA-2026-000001", "x", "TREAT", ("submit", "endorse", "approve"), 3, True, 2, 1, 0, "overdue")]
    ),
)


def test_every_word_has_two_languages():
    for en, zh in (*REPORT_WORDS.values(), *CHECK_WORDS.values()):
        assert en.isascii() or "✓" in en or "–" in en
        assert any("\u4e00" <= one <= "\u9fff" for one in zh) or zh.startswith("{")
    assert tuple(CHECK_WORDS) == sampling.CHECKS


@needs_fonts
@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_pdf_says_what_people_wrote_and_runs_none_of_it(language):
    signed = {"auditor": {"name": HOSTILE, "date": "2027-01-12"}}
    made = report.as_pdf(FULL, language, "仁和医院 #x", signed)
    assert made == report.as_pdf(FULL, language, "仁和医院 #x", signed)
    reader = pypdf.PdfReader(io.BytesIO(made))
    text = "".join(page.extract_text() for page in reader.pages).replace("\n", "")
    assert '#panic("x")' in text
    assert report.digest(FULL) in text.replace(" ", ""), "whole: whoever signs on paper signs exactly this"
    assert ("2026年第四季度" if language == "zh" else "2026Q4") in text
    assert f"{len(reader.pages)} / {len(reader.pages)}" in reader.pages[-1].extract_text()
    assert "pdfaid" in reader.xmp_metadata.stream.get_data().decode()
    assert reader.metadata.creation_date.year == 2027


@needs_fonts
def test_empty_quarters_are_printed_too():
    assert pypdf.PdfReader(io.BytesIO(report.as_pdf(a_review(), "zh", "仁和医院"))).pages


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_workbook_holds_no_formula_and_is_the_same_twice(language):
    made = report.as_xlsx(FULL, language, "仁和医院")
    assert made == report.as_xlsx(FULL, language, "仁和医院")
    book = openpyxl.load_workbook(io.BytesIO(made))
    cells = [cell for sheet in book.worksheets for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert all(cell.data_type != "f" for cell in cells)
    values = {cell.value for cell in cells}
    assert {"'=HYPERLINK(1)", "'@王敏", HOSTILE} <= values
    assert any(isinstance(value, int) for value in values)


@given(st.text(max_size=20))
def test_a_cell_that_begins_like_a_formula_does_no_more(text):
    assert report.plain(text)[:1] not in {"=", "+", "-", "@", "\t", "\r"}


@given(st.lists(st.integers(1, 400), unique=True, max_size=60), st.randoms())
def test_the_sample_depends_on_the_quarter_and_the_exchanges_alone(numbers, chance):
    def exchange(number):
        return sampling.Exchange(f"SA-2026-{number:06d}", "d", "TREAT", (), 0, None, 0, None, 0, "none")

    first = sampling.drawn("2026Q4", map(exchange, numbers))
    chance.shuffle(numbers)
    assert sampling.drawn("2026Q4", map(exchange, numbers)) == first
    assert len(first) == min(sampling.SIZE, len(numbers))
    gone = [number for number in numbers if f"SA-2026-{number:06d}" not in {one.number for one in first}]
    if gone:  # What was not drawn makes no difference.
        assert sampling.drawn("2026Q4", [exchange(number) for number in numbers if number != gone[0]]) == first


def test_the_checklist():
    def checks(**more):
        given = {"number": "n", "department": "d", "purpose": "TREAT", "actions": ("submit", "endorse", "approve"), "people": 3, "agreed": True,
                 "releases": 2, "limit": 2, "unknown": 0, "feedback": "given", **more}  # fmt: skip
        return sampling.checked(sampling.Exchange(**given))

    assert set(checks().values()) == {True}
    assert checks(people=2)["decided-by-another"] is False
    assert checks(actions=("submit", "approve"))["endorsed"] is False
    assert checks(releases=3)["within-grant"] is False
    assert checks(unknown=1)["all-outcomes-known"] is False
    assert checks(feedback="overdue")["feedback-given"] is False
    assert set(checks(actions=("submit", "refuse"), releases=0, agreed=None, feedback="none").values()) == {None}
