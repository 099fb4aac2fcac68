"""Records as pages say them: days in each habit, codes of states in words (RS-5.2, issue 7)."""

from __future__ import annotations

import pytest

from broker.console import language, readable
from broker.review.text import called

OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "effectiveDateTime": "2026-06-10T08:30:00+08:00",
    "issued": "2026-06",
    "effectivePeriod": {"start": "2026-06-10", "end": "2026-07-01T09:05:00+08:00"},
    "valueQuantity": {"value": 13.2, "unit": "g/L"},
}


@pytest.mark.parametrize(
    ("spoken", "said"),
    [("zh", ["最终结果", "2026-06-10 08:30", "2026-06", "2026-06-10 – 2026-07-01 09:05", "13.2 g/L"]),
     ("en", ["final result", "10 Jun 2026 08:30", "2026-06", "10 Jun 2026 – 1 Jul 2026 09:05", "13.2 g/L"])],
)  # fmt: skip
def test_each_element_is_said_in_the_habit_of_the_language(spoken, said):
    assert [value for _, value in readable.rows(spoken, OBSERVATION)] == said


def test_what_is_no_day_and_no_known_code_stays_as_it_is():
    rows = dict(readable.rows("en", {"status": "unheard-of", "birthDate": "2026-02-31", "note": "2026-02-01 came in"}))
    assert sorted(rows.values()) == ["2026-02-01 came in", "2026-02-31", "unheard-of"]


def test_countries_have_names():
    assert (language.country("zh", "CN"), language.country("en", "CN"), language.country("en", "QX")) == ("中国", "China", "QX")


def test_the_reviews_lines_say_why_requests_were_refused():
    assert "consent" not in called("consent.missing", "zh")
    assert called("consent.missing", "en") != "consent.missing"
    assert called("duplicate", "zh") == "重复"
    assert called("nobody.knows", "zh") == "nobody.knows"
