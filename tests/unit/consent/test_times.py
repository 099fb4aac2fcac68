"""FHIR dates as spans of seconds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from broker.consent.times import Span, read, read_period


def at(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", at(2024, 1, 1), at(2024, 12, 31, 23, 59, 59)),
        ("2024-02", at(2024, 2, 1), at(2024, 2, 29, 23, 59, 59)),
        ("2023-02", at(2023, 2, 1), at(2023, 2, 28, 23, 59, 59)),
        ("2024-02-29", at(2024, 2, 29), at(2024, 2, 29, 23, 59, 59)),
        ("2024-02-29T10:11:12Z", at(2024, 2, 29, 10, 11, 12), at(2024, 2, 29, 10, 11, 12)),
        ("2024-02-29T10:11:12.999+08:00", at(2024, 2, 29, 2, 11, 12), at(2024, 2, 29, 2, 11, 12)),
        ("2024-02-29T22:11:12-05:30", at(2024, 3, 1, 3, 41, 12), at(2024, 3, 1, 3, 41, 12)),
        ("2016-12-31T23:59:60Z", at(2016, 12, 31, 23, 59, 59), at(2016, 12, 31, 23, 59, 59)),
        ("2024-02-29T00:00:00+14:00", at(2024, 2, 28, 10), at(2024, 2, 28, 10)),
    ],
)
def test_read(text, start, end):
    assert read(text) == Span(start, end)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "2024-13",
        "2024-00",
        "2024-01-00",
        "2023-02-29",
        "0000",
        "0000-01-01",
        "2024-02-29T10:11",
        "2024-02-29T10:11:12",
        "2024-02-29T24:00:00Z",
        "2024-02-29T10:61:00Z",
        "2024-02-29T10:11:61Z",
        "2024-02-29T10:11:12+15:00",
        "2024-02-29T10:11:12+14:01",
        "2024-02-29T10:11:12+01:60",
        "2024-02-29 10:11:12Z",
        " 2024",
        "2024\n",
        "２０２４",
        None,
        2024,
        ["2024"],
    ],
)
def test_unreadable(text):
    assert read(text) is None


def test_periods():
    assert read_period({"start": "2024", "end": "2025"}) == Span(at(2024, 1, 1), at(2025, 12, 31, 23, 59, 59))
    assert read_period({"start": "2024"}) == Span(at(2024, 1, 1), None)
    assert read_period({"end": "2024", "id": "x"}) == Span(None, at(2024, 12, 31, 23, 59, 59))
    assert read_period({"start": "2024-03-01", "end": "2024-03-01"}).start == at(2024, 3, 1)
    for wrong in ({}, {"start": "2025", "end": "2024"}, {"start": "x"}, {"end": None}, {"start": "2024", "_end": {}}, {"id": "x"}, [], None, "2024"):
        assert read_period(wrong) is None


def test_spans():
    span = Span(10, 20)
    assert [span.holds(one) for one in (9, 10, 20, 21)] == [False, True, True, False]
    assert span.covers(10, 20)
    assert span.covers(10, None)  # It began within and lasts.
    assert not span.covers(9, 20)
    assert not span.covers(10, 21)
    assert not span.covers(None, 15)
    assert not span.covers(None, None)
    assert not span.covers(21, None)
    assert Span(None, 20).covers(None, 20)
    assert Span(10, None).covers(10, None)
    assert not Span(10, None).covers(None, 15)
    assert span.touches(0, 10)
    assert span.touches(20, 30)
    assert span.touches(None, None)
    assert span.touches(15, None)
    assert not span.touches(21, None)
    assert not span.touches(None, 9)
    assert not span.touches(0, 9)
    assert Span().holds(0)
