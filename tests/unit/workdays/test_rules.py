"""Which days are worked and which is a clock's last day (PIPL 50; order 795 of the State Council and its yearly notices)."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.workdays import rules
from broker.workdays.published import published
from broker.workdays.rules import Calendar, Year, problems, read_days, spans

KNOWN = Calendar(published())
NOTICES = range(2008, 2027)


@pytest.mark.parametrize(
    ("day", "worked"),
    [
        # 国务院办公厅关于2026年部分节假日安排的通知 (2025-11-04), word for word.
        ("2026-01-01", False), ("2026-01-02", False), ("2026-01-04", True), ("2026-02-14", True), ("2026-02-16", False), ("2026-02-23", False),
        ("2026-02-24", True), ("2026-02-28", True), ("2026-04-06", False), ("2026-05-05", False), ("2026-05-09", True), ("2026-06-19", False),
        ("2026-09-20", True), ("2026-09-25", False), ("2026-10-07", False), ("2026-10-08", True), ("2026-10-10", True), ("2026-10-11", False),
        # Thirteen public holidays since 2025: New Year's Eve of the moon and 2 May joined.
        ("2025-01-28", False), ("2025-05-02", False), ("2024-02-09", True), ("2025-01-26", True),
    ],
)  # fmt: skip
def test_days_are_worked_as_the_notices_say(day, worked):
    assert KNOWN.is_worked(date.fromisoformat(day)) is worked


@pytest.mark.parametrize(
    ("received", "days", "due"),
    [
        ("2026-09-18", 15, "2026-10-15"),  # Autumn: 20 September and 10 October are worked, 25 September and 1 to 7 October are off.
        ("2026-11-23", 15, "2026-12-14"),  # Nothing is off: three weeks.
        ("2026-02-13", 1, "2026-02-14"),  # A worked Saturday counts.
        ("2026-04-30", 1, "2026-05-06"),
    ],
)
def test_a_clock_ends_on_the_day_counted_by_hand(received, days, due):
    found = KNOWN.due(date.fromisoformat(received), days)
    assert (found.day, found.estimated) == (date.fromisoformat(due), False)


@given(st.dates(date(2004, 1, 1), date(2099, 1, 1)), st.integers(1, 60))
def test_a_clock_counts_working_days_and_ends_on_one(received, days):
    found = KNOWN.due(received, days)
    counted = sum(KNOWN.is_worked(received + timedelta(days=one)) for one in range(1, (found.day - received).days + 1))
    assert KNOWN.is_worked(found.day)
    assert counted == (max(1, days - rules.AHEAD) if found.estimated else days)


@given(st.dates(date(2008, 1, 1), date(2026, 1, 31)), st.integers(1, 60), st.integers(0, 30))
def test_who_comes_later_or_has_longer_is_due_no_earlier(received, days, later):
    due = KNOWN.due(received, days)
    assert not due.estimated
    assert KNOWN.due(received + timedelta(days=later), days).day >= due.day
    assert KNOWN.due(received, days + 1).day > due.day


@pytest.mark.parametrize("year", NOTICES)
def test_without_its_notice_no_day_of_a_year_is_later_than_with_it(year):
    """Every year that there was, as if its notice were not out: whoever is promised a day is never promised one that is too late."""
    before = Calendar(one for one in published() if one.year < year)
    whole = Calendar(one for one in published() if one.year <= year + 1)
    for offset in range(390):
        received = date(year - 1, 12, 1) + timedelta(days=offset)
        for days in (1, 5, 15, 30):
            promised, right = before.due(received, days), whole.due(received, days)
            if right.estimated or not promised.estimated:
                continue
            assert promised.day <= right.day or days <= rules.AHEAD, (received, days, promised, right)


def test_the_end_of_december_waits_for_the_next_year_s_notice_too():
    only = Calendar(one for one in published() if one.year == 2018)
    assert only.is_known(date(2018, 12, 23))
    assert not only.is_known(date(2018, 12, 29)), "a Saturday that the notice of 2019 made a working day"
    assert Calendar(published()).is_worked(date(2018, 12, 29))
    assert only.due(date(2018, 12, 20), 15).estimated


def test_a_year_without_notice_has_weekends_and_fixed_public_holidays():
    nothing = Calendar(())
    assert [nothing.is_worked(date(2031, month, day)) for month, day in ((1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3))] == [False] * 6
    assert nothing.is_worked(date(2031, 10, 6))
    assert not nothing.is_worked(date(2031, 10, 4))
    assert nothing.is_worked(date(2024, 5, 2)), "2 May is off by law since 2025"
    assert nothing.is_estimated(date(2031, 3, 3), date(2031, 3, 4))


def year(off="2027-01-01", worked="", of=2027) -> Year:
    return Year(of, read_days(off), read_days(worked), "国办发明电〔2026〕1号")


FIXED = "2027-01-01, 2027-05-01..2027-05-05, 2027-10-01 至 2027-10-07"


@pytest.mark.parametrize(
    ("given_", "codes"),
    [
        (year(FIXED, "2027-05-08, 2027-10-09"), []),
        (year(FIXED, "2026-12-27"), []),
        (year(FIXED, "2027-05-10"), ["no-weekend"]),
        (year(FIXED + ",2027-05-08", "2027-05-08"), ["both"]),
        (year(FIXED + ",2028-01-01"), ["not-of-the-year"]),
        (year(FIXED, "2026-12-20"), ["not-of-the-year"]),
        (year(), ["public-holiday"]),
        (year(FIXED + "," + ",".join(f"2027-{month:02}-01..2027-{month:02}-28" for month in (3, 6, 7))), ["too-many"]),
    ],
)
def test_what_is_entered_is_held_against_the_law(given_, codes):
    assert [one.code for one in problems(given_)] == codes


def test_every_notice_that_came_with_the_software_would_be_taken():
    assert [one.year for one in published()] == list(NOTICES)
    assert {one.year: problems(one) for one in published() if problems(one)} == {}


@given(st.sets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=30))
def test_days_are_read_as_they_are_shown(days):
    shown = "\n".join(f"{first}..{last}" if first != last else str(first) for first, last in spans(days))
    # A span of more than a month is written as two.
    if all((last - first).days <= 31 for first, last in spans(days)):
        assert read_days(shown) == days
    assert {first + timedelta(days=one) for first, last in spans(days) for one in range((last - first).days + 1)} == days


@pytest.mark.parametrize("text", ["明天", "2027-13-01", "2027-02-05..2027-02-01", "2027-01-01..2027-12-31", "2027-1-1"])
def test_what_is_no_day_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read_days(text)


def test_days_may_be_written_as_people_do():
    assert read_days("2027-02-05 至 2027-02-06、2027-02-08\n2027-02-10 to 2027-02-11") == {date(2027, 2, day) for day in (5, 6, 8, 10, 11)}
