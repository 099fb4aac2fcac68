"""The document of a quarter: the right figures, and the same bytes in whatever order its inputs come."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from broker.feedback.concerns import counted
from broker.review.figures import Case, Inputs, Report, Sent, Step, document
from broker.review.rules import SMALLEST, Quarter
from broker.review.text import CODES, WORDS, as_text

QUARTER = Quarter(2026, 4)
START = datetime(2026, 10, 5, 9, tzinfo=UTC)


def step(action, hours, assessed="permit", code=None):
    return Step(action, START + timedelta(hours=hours), assessed, code)


def case(number, *steps, **changes):
    given = {"department": "shengli-cardiology", "recipient": "shengli-cardiology", "purpose": "TREAT", "urgency": "routine", "data": ("clinical",)}
    return Case(number=f"SA-2026-{number:06d}", steps=steps, **{**given, **changes})


APPROVED = (step("submit", 0), step("endorse", 2), step("approve", 10))
CASES = [
    case(1, *APPROVED),
    case(2, step("submit", 0), step("endorse", 1), step("narrow", 20)),
    case(3, step("submit", 0, "deny"), step("refuse", 4, "deny", "no-consent"), department="renhe-finance", purpose="HPAYMT", data=("financial",)),
    case(4, step("submit", 0), step("return", 3, "permit", "incomplete")),
    case(5, step("submit", 0), urgency="emergency", purpose="ETREAT"),
    # Submitted before the quarter, decided in it
    case(6, step("submit", -24 * 40), step("endorse", -24 * 39), step("approve", 6)),
    # Decided before the quarter, released in it
    case(7, step("submit", -24 * 40), step("approve", -24 * 39)),
]
SENT = [Sent("SA-2026-000001", "sent", 12, 300, 20), Sent("SA-2026-000001", "failed", 1, 0, 9), Sent("SA-2026-000007", "partial", 2, 30, 0)]
REPORTS = [
    Report(used=True, purpose_met="yes", examinations_avoided=3, onward_disclosure=False, deletion_done=True, data_problems=("outdated",)),
    Report(used=False, purpose_met=None, examinations_avoided=0, onward_disclosure=True, deletion_done=False, data_problems=()),
]
INPUTS = Inputs(
    cases=CASES,
    sent=SENT,
    reports=REPORTS,
    overdue=2,
    unexplained=1,
    refused_releases={"consent.refused": 4, "grant.expired": 2},
    names={"shengli-cardiology": {"zh": "示例省立医院心内科", "en": "Cardiology"}},
)


def test_the_figures():
    review = document(QUARTER, INPUTS)
    assert (review["quarter"], review["since"], review["until"]) == ("2026Q4", "2026-10-01", "2027-01-01")
    assert review["applications"] == {
        "submitted": 5,
        "by_state": {"approved": 2, "refused": 1, "returned": 1, "submitted": 1},
        "decided": 4,
        "approved": 3,
        "narrowed": 1,
        "refused": 1,
        "median_hours_to_decision": 15.0,  # 10, 20, 4 and forty days and six hours
        "refused_by_reason": {"no-consent": 1},
        "returned_by_reason": {"incomplete": 1},
    }
    assert review["assessment"] == {
        "compared": 5,
        "agreed": 3,  # two approvals and the refusal; the narrowed and the returned one are less than the machine allowed
        "agreement": 0.6,
        "by_opinion": {"deny": {"refuse": 1}, "permit": {"approve": 2, "narrow": 1, "return": 1}},
    }
    assert review["releases"] == {
        "by_outcome": {"failed": 1, "partial": 2, "sent": 12},
        "unexplained": 1,
        "resources_sent": 330,
        "resources_held_back": 20,
        "minimisation": 0.9429,
        "refused": 6,
        "refused_by_reason": {"consent.refused": 4, "grant.expired": 2},
    }
    assert review["emergency"] == {"applications": 1, "releases": 0}
    assert review["feedback"] == {
        "reports": 2,
        "used": 1,
        "purpose_met": {"yes": 1},
        "examinations_avoided": 3,
        "onward_disclosures": 1,
        "deletions_done": 1,
        "data_problems": {"outdated": 1},
        "overdue": 2,
    }


def test_breakdowns_name_places_and_hide_small_numbers():
    rows = document(QUARTER, INPUTS)["breakdowns"]["department"]
    assert [row["key"] for row in rows] == ["renhe-finance", "shengli-cardiology"]
    assert rows[1]["name"] == {"zh": "示例省立医院心内科", "en": "Cardiology"}
    assert all(
        row[name] is None or row[name] >= SMALLEST for row in rows for name in ("applications", "approved", "refused", "releases", "resources")
    )
    large = replace(INPUTS, cases=[*CASES, *(case(number, *APPROVED, recipient=f"r{number % 2}") for number in range(10, 40))])
    recipients = document(QUARTER, large)["breakdowns"]["recipient"]
    shown = {row["key"]: row["applications"] for row in recipients}
    # Five of shengli's are hidden, and with them the smaller of the others: 35 less 15 and 15 would tell.
    assert shown == {"r0": None, "r1": 15, "shengli-cardiology": None}


def test_an_empty_quarter():
    empty = Inputs(cases=[], sent=[], reports=[], overdue=0, unexplained=0, refused_releases={}, names={})
    review = document(QUARTER, empty)
    assert review["applications"]["submitted"] == 0
    assert review["applications"]["median_hours_to_decision"] is None
    assert review["releases"]["minimisation"] is None
    for language in ("zh", "en"):
        assert as_text(review, language)


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_changes_no_byte(random):
    def mixed(values):
        return random.sample(values, len(values))

    other = replace(
        INPUTS,
        cases=mixed(CASES),
        sent=mixed(SENT),
        reports=mixed(REPORTS),
        refused_releases=dict(reversed(INPUTS.refused_releases.items())),
    )
    assert json.dumps(document(QUARTER, other)) == json.dumps(document(QUARTER, INPUTS))


# --- As a page -------------------------------------------------------------------------------------------------------


def test_the_page_says_every_figure_in_both_languages():
    review = document(QUARTER, INPUTS)
    chinese, english = as_text(review, "zh"), as_text(review, "en")
    assert "数据共享季度审计 2026Q4" in chinese
    assert "Quarterly review of data sharing 2026Q4" in english
    assert "示例省立医院心内科" in chinese
    assert "60.0%" in chinese
    assert "拒绝原因：无知情同意" in chinese
    assert "Refused because: no consent" in english
    for page in (chinese, english):
        for number in ("330", "94.3%", "15.0"):
            assert number in page
        assert "consent.refused" not in page, "policy's reasons stand in words"
        assert all(line == line.rstrip() for line in page.splitlines())
        assert "{" not in page


def test_every_figure_has_its_words():
    review = document(QUARTER, INPUTS) | {"concerns": counted([], QUARTER.until)}
    # What other slices count has its own words; tests/journeys/test_quarter_after_release.py holds that each of their figures is said.
    said = {path for path in WORDS if "." in path and path.partition(".")[0] in review}
    assert said == {f"{section}.{name}" for section in review if isinstance(review[section], dict) for name in review[section]} - {
        f"breakdowns.{name}" for name in review["breakdowns"]
    } - {"assessment.by_opinion"}
    assert all(len(words) == 2 and all(words) for words in [*WORDS.values(), *CODES.values()])
