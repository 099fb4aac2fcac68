"""Whether a window of now holds all rows that lie prepared is what the database would say of each (C16): by their extent, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.fhir.plan import TypePlan
from broker.records.release_reads import Extent, Window
from broker.release.prepared import _holds, _within

DAY = datetime(2026, 1, 1, tzinfo=UTC)
Row = tuple[datetime | None, datetime | None]
moments = st.integers(0, 6).map(lambda days: DAY + timedelta(days=days))
windows = st.builds(Window, st.none() | moments, st.none() | moments).filter(lambda window: window != Window())
rows = st.lists(st.tuples(st.none() | moments, st.none() | moments), min_size=1, max_size=5)


def inside(window: Window, row: Row) -> bool:
    """One row, as ``release_reads._WITHIN`` asks."""
    since, until = row
    return (
        since is not None
        and (window.end is None or since <= window.end)
        and (window.start is None or until is None or until >= window.start)
    )  # fmt: skip


def extent(found: list[Row]) -> Extent:
    """All rows, as ``release_reads._EXTENTS`` sums them up: aggregates pass over what is null."""
    begins = [since for since, _ in found if since is not None]
    ends = [until for _, until in found if until is not None]
    return Extent(max(begins, default=None), min(ends, default=None), all(since is not None for since, _ in found))


@given(windows, rows)
@settings(max_examples=200, deadline=None)
def test_the_extent_says_what_each_row_would(window: Window, found: list[Row]):
    assert _holds(window, extent(found)) == all(inside(window, row) for row in found)


@pytest.mark.parametrize("window", [Window(DAY, None), Window(None, DAY), Window(DAY, DAY)])
def test_a_row_whose_date_is_hidden_is_in_no_bounded_window(window: Window):
    """Beside rows that lie in the window as well: one without a date that can be read makes the whole anew."""
    assert _holds(window, Extent(DAY, DAY, dated=True))
    assert not _holds(window, Extent(DAY, DAY, dated=False))
    assert not _holds(window, Extent(None, None, dated=False))
    assert not _holds(window, Extent(None, DAY, dated=True))


def test_a_type_of_which_nothing_was_found_is_held_by_any_window():
    assert _holds(Window(DAY, DAY), None)


@given(st.none() | st.integers(0, 5), st.none() | st.integers(0, 5), st.none() | st.integers(0, 5), st.none() | st.integers(0, 5))
def test_a_window_within_one_that_was_looked_through_shows_nothing_that_was_not(since, until, then_since, then_until):
    """Both ends: a moment of the window of now is one of the window of then."""
    if (since is None) == (then_since is None) and (until is None) == (then_until is None):
        now = {at for at in range(-1, 8) if (since is None or at >= since) and (until is None or at <= until)}
        then = {at for at in range(-1, 8) if (then_since is None or at >= then_since) and (then_until is None or at <= then_until)}
        if _within(TypePlan((), since, until), (then_since, then_until)):
            assert now <= then
