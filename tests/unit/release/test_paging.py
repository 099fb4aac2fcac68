"""Page links: only their receiver can follow them, and only while nothing has changed (attacks B03, B05)."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from broker.release import paging
from broker.release.paging import Bound

BOUND = Bound("client-1", UUID(int=7), "Observation?patient=p1", 3, "plan-a")
PLACE = ("Observation", UUID(int=99))


def test_the_receiver_can_follow_it(keys):
    assert paging.opened(keys, BOUND, paging.link(keys, BOUND, PLACE)) == PLACE


@pytest.mark.parametrize(
    "other",
    [
        replace(BOUND, client="client-2"),
        replace(BOUND, grant=uuid4()),
        replace(BOUND, query="Condition?patient=p1"),
        replace(BOUND, epoch=4),
        replace(BOUND, plan="plan-b"),
    ],
    ids=["another client", "another grant", "another query", "after a withdrawal", "after a policy change"],
)
def test_nobody_else_can(keys, other):
    assert paging.opened(keys, other, paging.link(keys, BOUND, PLACE)) is None


def test_a_changed_link_is_no_link(keys):
    link = paging.link(keys, BOUND, PLACE)
    for position in range(0, len(link), 7):
        changed = link[:position] + ("A" if link[position] != "A" else "B") + link[position + 1 :]
        assert paging.opened(keys, BOUND, changed) is None
    for garbage in ("", "x", "é", "=" * 10, "A" * 500):
        assert paging.opened(keys, BOUND, garbage) is None


def test_a_link_says_nothing(keys):
    assert "Observation" not in paging.link(keys, BOUND, PLACE)
