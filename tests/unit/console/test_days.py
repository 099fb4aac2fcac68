"""What people type and see at the console are the hospital's days (TM-5.2)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from broker import clock
from broker.console.desk import Desk
from broker.console.door import Form
from broker.console.registry import _until
from broker.errors import Invalid

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("Asia/Shanghai", datetime(2026, 2, 28, 16, 0, tzinfo=UTC), date(2026, 3, 1)),
        ("Asia/Shanghai", datetime(2026, 2, 28, 15, 59, tzinfo=UTC), date(2026, 2, 28)),
        ("UTC", datetime(2026, 2, 28, 16, 0, tzinfo=UTC), date(2026, 2, 28)),
    ],
)
def test_today_is_the_hospitals_today(monkeypatch, zone, at, day):
    monkeypatch.setattr(clock, "now", lambda: at)
    assert Desk.today.fget(SimpleNamespace(settings=SimpleNamespace(time_zone=zone))) == day


def test_the_last_day_of_an_agreement_ends_with_the_hospitals_day():
    until = _until(Form((("agreement_until", "2027-06-30"),)), SHANGHAI)
    assert until.astimezone(UTC) == datetime(2027, 6, 30, 15, 59, 59, tzinfo=UTC)
    assert until.date() == date(2027, 6, 30)
    assert _until(Form(()), SHANGHAI) is None
    with pytest.raises(Invalid):
        _until(Form((("agreement_until", "30.6.2027"),)), SHANGHAI)
