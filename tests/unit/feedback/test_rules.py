"""When feedback is due, and which answers contradict each other."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.feedback.errors import FeedbackInconsistent
from broker.feedback.rules import Answers, check_answers, due_at, is_overdue

SENT = datetime(2026, 10, 1, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("sent", "answered", "at", "overdue"),
    [
        (None, None, SENT + timedelta(days=999), False),  # Nothing was sent
        (SENT, None, SENT + timedelta(days=30) - SECOND, False),
        (SENT, None, SENT + timedelta(days=30), True),
        (SENT, SENT + timedelta(days=31), SENT + timedelta(days=30), True),  # It came later than the moment asked about
        (SENT, SENT + timedelta(days=31), SENT + timedelta(days=31), False),
        (SENT, SENT + SECOND, SENT + timedelta(days=999), False),
    ],
)
def test_overdue(sent, answered, at, overdue):
    assert is_overdue(sent, answered, 30, at) is overdue


@given(days=st.integers(1, 400), waited=st.integers(0, 500))
def test_due_is_the_edge_of_overdue(days, waited):
    at = SENT + timedelta(days=waited)
    assert is_overdue(SENT, None, days, at) is (due_at(SENT, days) <= at)


GOOD = Answers(
    used=True,
    purpose_met="yes",
    elements_used=("Observation.value",),
    examinations_avoided=2,
    data_problems=(),
    onward_disclosure=False,
    deletion_done=True,
    comment=None,
)


def test_answers_that_fit():
    check_answers(GOOD)
    check_answers(replace(GOOD, used=False, purpose_met=None, elements_used=(), examinations_avoided=0))
    check_answers(replace(GOOD, onward_disclosure=True, comment="转交医保审核。"))


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"purpose_met": None}, ["/purpose_met"]),
        ({"used": False}, ["/purpose_met", "/elements_used", "/examinations_avoided"]),
        ({"onward_disclosure": True}, ["/comment"]),
        ({"data_problems": ("other",)}, ["/comment"]),
    ],
)
def test_answers_that_contradict_each_other(changes, paths):
    with pytest.raises(FeedbackInconsistent) as caught:
        check_answers(replace(GOOD, **changes))
    assert [problem.path for problem in caught.value.problems] == paths
