"""The states of a remote consultation, by the table and by the clock (TM-5.4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.telemedicine import rules
from broker.telemedicine.errors import ConsultationMoveNotAllowed, NotYourConsultation
from broker.telemedicine.lifecycle import MOVES, Part, State, Step, check_move, possible, state_at

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVERYBODY = frozenset(Part)
ENDED = (State.FOLLOWED_UP, State.CANCELLED, State.MISSED)


@pytest.mark.parametrize(("state", "step"), list(product(State, Step)))
def test_what_is_not_in_the_table_is_not_allowed(state, step):
    move = MOVES.get((state, step))
    if move is None:
        with pytest.raises(ConsultationMoveNotAllowed):
            check_move(state, step, EVERYBODY)
        return
    assert check_move(state, step, EVERYBODY) is move
    for part in Part:
        if part in move.by:
            assert check_move(state, step, frozenset({part})) is move
            assert step in possible(state, frozenset({part}))
        else:
            with pytest.raises(NotYourConsultation):
                check_move(state, step, frozenset({part}))
    with pytest.raises(NotYourConsultation):
        check_move(state, step, frozenset())


def test_an_end_is_an_end():
    assert not any(state in ENDED for state, _ in MOVES)
    assert [state for (state, step) in MOVES if step is Step.OPEN] == [State.CONFIRMED]


@given(st.sampled_from(State), st.integers(-100, 100))
def test_the_clock_ends_what_nobody_ended(state, seconds):
    at = NOW + timedelta(seconds=seconds)
    found = state_at(state, NOW, at)
    if seconds < 0:
        assert found is state
    else:
        assert found not in (State.BOOKED, State.CONFIRMED, State.OPEN)
        assert found is state or (state, found) in {
            (State.OPEN, State.CLOSED), (State.BOOKED, State.MISSED), (State.CONFIRMED, State.MISSED)
        }  # fmt: skip


@given(st.integers(-2000, 600_000), st.integers(-600, 600), st.integers(0, 600_000))
def test_an_appointment_is_bounded(start, length, term):
    starts, ends, until = (NOW + timedelta(minutes=one) for one in (start, start + length, term))
    bad = list(rules.problems_of_time(starts, ends, NOW, until))
    good = 0 < length <= 240 and start + length > 0 and start <= 180 * 24 * 60 and start + length <= term
    assert (bad == []) == good


OBSERVATION = {"resourceType": "Observation", "id": "o", "subject": {"reference": "Patient/p1"}}


def holding(**changed):
    return {"resourceType": "Bundle", "entry": [{"resource": {**OBSERVATION, **changed}}]}


@pytest.mark.parametrize(
    "bundle",
    [
        None, [], {}, {"resourceType": "Bundle"}, {"resourceType": "Bundle", "entry": []}, {"resourceType": "Bundle", "entry": {}},
        {"resourceType": "Bundle", "entry": [None]}, {"resourceType": "Bundle", "entry": [{"resource": 1}]},
        holding(subject=None), holding(subject={"reference": "Patient/p2"}), holding(subject={"reference": ["Patient/p1"]}),
        holding(resourceType=["Observation"]), holding(resourceType="Patient"),
    ],
)  # fmt: skip
def test_records_of_another_shape_or_patient(bundle):
    assert list(rules.problems_of_records(bundle, "p1"))


def test_records_of_the_patient():
    bundle = {"resourceType": "Bundle", "entry": [{"resource": OBSERVATION}, {"fullUrl": "urn:uuid:1", "resource": {**OBSERVATION, "id": "q"}}]}
    assert list(rules.problems_of_records(bundle, "p1")) == []
    assert rules.references(bundle) == ["Observation/o", "urn:uuid:1"]
    assert not rules.prescribes(bundle)
    assert rules.prescribes({"entry": [{"resource": {"resourceType": "MedicationRequest"}}]})
