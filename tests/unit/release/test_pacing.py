"""When a refusal is answered, and which formats are taken: pure parts of the FHIR face."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.fhir.negotiation import takes_json
from broker.release import pacing
from broker.release.answers import Kind, Ready


@given(st.floats(0, 60), st.floats(0.001, 1))
def test_g13_a_refusal_is_answered_on_a_whole_step_whatever_it_took(passed, step):
    told = passed + pacing.pause(passed, step)
    assert told > passed or math.isclose(told, passed)
    assert math.isclose(told / step, round(told / step), abs_tol=1e-6)
    assert told - passed <= step * (1 + 1e-9)


@given(st.lists(st.floats(0.0001, 0.0249), min_size=2, max_size=30))
def test_g13_what_takes_less_than_a_step_is_told_at_one_moment(took):
    assert len({round(passed + pacing.pause(passed, 0.025), 9) for passed in took}) == 1


def test_without_a_step_there_is_no_waiting():
    assert pacing.pause(0.3, 0) == 0


def test_refusals_behind_which_something_may_be_are_paced():
    assert {Kind.REFUSED, Kind.NOT_FOUND} == pacing.PACED


def test_the_wait_is_until_the_step(monkeypatch):
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(pacing.asyncio, "sleep", sleep)

    async def told() -> None:
        await pacing.even(asyncio.get_running_loop().time(), 10.0)

    asyncio.run(told())
    assert 9 < waited[0] <= 10


@pytest.mark.parametrize("accept", [None, "", "*/*", "APPLICATION/FHIR+JSON", "text/turtle;q=0.2, application/json ; q=0.1"])
def test_json_is_taken(accept):
    assert takes_json(accept)


@given(st.text(max_size=60))
def test_whatever_the_header_is_there_is_an_answer(accept):
    assert takes_json(accept) in (True, False)


def test_unchanged_is_said_of_one_resource_alone():
    from uuid import UUID

    search = Ready(UUID(int=1), b"{}", (), 0, "d")
    assert search.unless("*") is search
    read = Ready(UUID(int=1), b"{}", (), 0, "d", 'W/"3"')
    assert read.unless('"3"').unchanged
    assert read.unless('W/"3", W/"4"').body == b""
    assert read.unless('W/"30"') is read
    assert read.unless("") is read
