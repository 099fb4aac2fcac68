"""Quarters, medians, agreement, and that a small number can't be worked out from what is shown."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.review.errors import NoSuchQuarter
from broker.review.rules import SMALLEST, Quarter, agrees, counted, median, ratio, suppressed


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026Q1", (2026, 1, 1), (2026, 4, 1)),
        ("2026Q2", (2026, 4, 1), (2026, 7, 1)),
        ("2026q3", (2026, 7, 1), (2026, 10, 1)),
        (" 2026Q4 ", (2026, 10, 1), (2027, 1, 1)),
    ],
)
def test_quarters(text, since, until):
    quarter = Quarter.parse(text)
    assert (quarter.since, quarter.until) == (datetime(*since, tzinfo=UTC), datetime(*until, tzinfo=UTC))
    assert Quarter.parse(str(quarter)) == quarter


@pytest.mark.parametrize("text", ["", "2026", "2026Q5", "2026Q0", "26Q1", "2026-Q1", "2026Q1x", "3026Q1", "２０２６Q1"])
def test_what_is_no_quarter(text):
    with pytest.raises(NoSuchQuarter):
        Quarter.parse(text)


def test_the_middle():
    assert median([]) is None
    assert median([5]) == 5
    assert median([9, 1, 5]) == 5
    assert median([1, 2, 10, 4]) == 3
    assert ratio(1, 3) == 0.3333
    assert ratio(0, 0) is None


@pytest.mark.parametrize(
    ("assessed", "action", "expected"),
    [
        ("permit", "approve", True),
        ("permit", "narrow", False),
        ("permit", "refuse", False),
        ("permit", "return", False),
        ("deny", "approve", False),
        ("deny", "narrow", False),
        ("deny", "refuse", True),
        ("deny", "return", True),
        ("unavailable", "refuse", None),
        (None, "approve", None),
        ("permit", "endorse", None),
        ("permit", "withdraw", None),
    ],
)
def test_agreement(assessed, action, expected):
    assert agrees(assessed, action) is expected


def test_counting():
    assert counted(["b", None, "a", "b"]) == {"a": 1, "b": 2}


@given(cells=st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 30), max_size=8))
def test_no_small_number_is_shown_nor_can_be_worked_out(cells):
    shown = suppressed(cells)
    assert shown.keys() == cells.keys()
    visible = {name: value for name, value in shown.items() if value is not None}
    assert all(value == cells[name] and value >= SMALLEST for name, value in visible.items())
    hidden = cells.keys() - visible.keys()
    if not hidden:
        assert all(value >= SMALLEST for value in cells.values())
        return
    # The total is published: what is left of it must be large and shared by several, unless there is nothing more to hide.
    left = sum(cells.values()) - sum(visible.values())
    assert not visible or (len(hidden) > 1 and left >= SMALLEST)


def test_no_more_is_hidden_than_must_be():
    assert suppressed({"a": 12, "b": 40}) == {"a": 12, "b": 40}
    assert suppressed({"a": 12, "b": 40, "c": 3, "d": 12}) == {"a": None, "b": 40, "c": None, "d": 12}
    assert suppressed({"a": 9, "b": 8, "c": 50}) == {"a": None, "b": None, "c": 50}
    assert suppressed({"a": 1, "b": 1, "c": 50, "d": 60}) == {"a": None, "b": None, "c": None, "d": 60}
