"""How grave, who is told by when, who may undo (PI-7, PIPL 57)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.incidents.errors import IncidentMoveNotAllowed, TwoPeople
from broker.incidents.lifecycle import MOVES, OPEN, Action, State, check_move, possible
from broker.incidents.rules import HOURS, ORDER, Audience, NoticeFacts, Severity, check_two, duties, graver, least_severity, may_close, overdue
from broker.incidents.wording import LANGUAGES, Told, notice

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("action", Action)
def test_only_what_the_table_names_is_possible(state, action):
    if (state, action) in MOVES:
        assert check_move(state, action).to in State
        assert action in possible(state)
    else:
        with pytest.raises(IncidentMoveNotAllowed):
            check_move(state, action)


def test_something_can_be_frozen_while_anything_is_open_and_every_state_is_reached():
    assert {state for state, action in MOVES if action is Action.CONTAIN} == OPEN
    assert {move.to for move in MOVES.values()} == set(State)
    assert all(MOVES[state, Action.CONTAIN].to is state for state in OPEN)


@given(st.integers(0, 20_000), st.integers(0, 20_000), st.booleans())
def test_more_patients_are_never_less_grave(one, other, sensitive):
    few, many = sorted((one, other))
    assert ORDER.index(least_severity(patients=few, sensitive=sensitive)) <= ORDER.index(least_severity(patients=many, sensitive=sensitive))
    assert ORDER.index(least_severity(patients=many, sensitive=False)) <= ORDER.index(least_severity(patients=many, sensitive=True))
    assert (least_severity(patients=few, sensitive=sensitive) is Severity.LOW) is (few == 0)


@pytest.mark.parametrize("severity", Severity)
def test_graver_means_sooner(severity):
    for audience in Audience:
        hours = [HOURS[one].get(audience, 10**6) for one in ORDER]
        assert hours == sorted(hours, reverse=True)
    assert graver(severity, Severity.LOW) is severity
    assert graver(Severity.CRITICAL, severity) is Severity.CRITICAL


def test_everybody_concerned_is_told_and_nobody_else():
    found = duties(Severity.HIGH, AT - timedelta(hours=1), AT, patients=3, partners=("shengli", "qingyuan"))
    assert [(one.audience, one.organization) for one in found] == [
        (Audience.AUTHORITY, None), (Audience.PATIENTS, None), (Audience.PARTNER, "qingyuan"), (Audience.PARTNER, "shengli"),
    ]  # fmt: skip
    assert found[0].due_at == AT + timedelta(hours=3), "four hours since it was known, not since somebody assessed it"
    assert found[1].due_at == AT + timedelta(hours=24)
    assert Audience.PATIENTS not in {one.audience for one in duties(Severity.HIGH, AT, AT, patients=0, partners=())}
    assert duties(Severity.LOW, AT, AT, patients=0, partners=("shengli",)) == ()


def test_a_case_is_closed_when_every_notice_is_done():
    due = AT + timedelta(hours=1)
    assert may_close([])
    assert not may_close([NoticeFacts(True, due), NoticeFacts(False, due)])
    assert overdue([NoticeFacts(False, due), NoticeFacts(True, due)], due) == 1
    assert overdue([NoticeFacts(False, due)], due - timedelta(seconds=1)) == 0


def test_one_person_is_not_two():
    check_two("a", "b")
    for first in (None, "b"):
        with pytest.raises(TwoPeople):
            check_two(first, "b")


@pytest.mark.parametrize("audience", Audience)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_notice_holds_what_pipl_57_lists(audience, language):
    told = Told(
        "IN-2026-000001", {"zh": "仁和医院", "en": "Renhe Hospital"}, "key-stolen", AT, ("Condition", "Observation"), 7, 9, True, "CONTACT", False
    )
    text = notice(audience, told, language)
    kinds = {"zh": ("诊断", "检查检验结果"), "en": ("diagnoses", "observations and results")}[language]
    for part in ("IN-2026-000001", *kinds, "7", "9", "CONTACT", told.hospital[language]):
        assert part in text
    assert "Observation" not in text, "a patient reads no names of FHIR"
    assert ("失窃" if language == "zh" else "theft") in text
    assert ("冻结" if language == "zh" else "frozen") in text
    drill = notice(audience, Told(**{**told.__dict__, "drill": True}), language)
    assert drill.startswith("【演练】" if language == "zh" else "DRILL")
