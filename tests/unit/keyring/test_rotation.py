"""How far the change of a key is, told from names alone: each of the steps of decision 0021 in its order (QA-5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.keyring.rotation import DUE, Known, Next, Standing, Step, Use, is_due, next_step, standing

THEN = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = Known("old", THEN), Known("new", THEN + timedelta(days=400))
ENDED = Known("old", THEN, THEN + timedelta(days=401))


@pytest.mark.parametrize(
    ("known", "held", "uses", "others", "expected"),
    [
        ([OLD], ["old"], "in-use", {}, Next(Step.SETTLED)),
        ([OLD], ["old", "new"], "in-use next", {"left": 9, "lacking": 1}, Next(Step.START_ANEW, "new")),
        ([OLD], ["old", "new"], "in-use next", {"left": 9}, Next(Step.WRAP, "new")),
        ([OLD, NEW], ["old", "new"], "in-use next", {}, Next(Step.PUT_FIRST, "new")),
        ([OLD, NEW], ["new", "old"], "former in-use", {"behind": 1}, Next(Step.START_ANEW, "new")),
        ([OLD, NEW], ["new", "old"], "former in-use", {"left": 1}, Next(Step.WRAP, "new")),
        ([OLD, NEW], ["new", "old"], "former in-use", {}, Next(Step.RETIRE, "old")),
        ([ENDED, NEW], ["new"], "retired in-use", {}, Next(Step.SETTLED)),
        ([ENDED, NEW], ["new", "old"], "retired in-use", {}, Next(Step.SETTLED)),
        ([OLD, NEW], ["old"], "in-use elsewhere", {}, Next(Step.HAND_OUT, "new")),
    ],
)
def test_each_step_of_a_change_is_told(known, held, uses, others, expected):
    found = standing(known, held)
    assert [one.use for one in found] == uses.split()
    assert next_step(found, **others) == expected


def test_a_key_is_due_after_a_year_of_use_and_never_once_it_ended():
    used = Standing("a", Use.IN_USE, THEN, None)
    assert not is_due(used, THEN + DUE - timedelta(seconds=1))
    assert is_due(used, THEN + DUE)
    assert not is_due(Standing("a", Use.RETIRED, THEN, THEN), THEN + 3 * DUE)
    assert not is_due(Standing("a", Use.NEXT, None, None), THEN)
