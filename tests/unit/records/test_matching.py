from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from broker.records.matching import Candidate, grade, identifiers_of, is_current, name_key, names_of
from tests.factories.records import patient

BORN = date(1980, 5, 6)


def _candidate(number: int = 1, *, by_identifier: bool = True, current: bool = True, birth_date: str | None = "1980-05-06") -> Candidate:
    return Candidate(UUID(int=number), f"p{number}", names_of(patient()), birth_date, current, by_identifier)


@pytest.mark.parametrize(
    ("candidates", "name", "birth_date", "expected"),
    [
        ([], "王小明", BORN, "none"),
        ([_candidate()], "王小明", BORN, "certain"),
        ([_candidate()], "王小明", None, "certain"),
        ([_candidate()], None, BORN, "certain"),
        ([_candidate()], None, None, "probable"),
        ([_candidate()], "", None, "probable"),
        ([_candidate()], "王大明", BORN, "possible"),
        ([_candidate()], "王小明", date(1980, 6, 5), "possible"),
        ([_candidate(birth_date=None)], "王小明", BORN, "possible"),
        ([_candidate(by_identifier=False)], "王小明", BORN, "possible"),
        ([_candidate(current=False)], "王小明", BORN, "possible"),
        ([_candidate(1), _candidate(2)], "王小明", BORN, "possible"),
    ],
)
def test_a_match_is_certain_only_on_two_facts_and_no_doubt(candidates: list[Candidate], name: str | None, birth_date: date | None, expected: str):
    match = grade(candidates, name=name, birth_date=birth_date)
    assert match.grade == expected
    assert (match.patient_key is None) == (len(candidates) != 1)


@pytest.mark.parametrize("written", ["王小明", "王 小明", "王·小明", "小明 王", " 王小明 "])
def test_chinese_names_match_however_they_are_spaced(written: str):
    assert name_key(written) in names_of(patient())


@pytest.mark.parametrize("written", ["Anna Maria Müller", "MÜLLER, Anna Maria", "Anna Müller", "anna-maria müller", "Ａｎｎａ Müller"])
def test_western_names_match_in_either_order(written: str):
    names = names_of({"name": [{"family": "Müller", "given": ["Anna", "Maria"]}]})
    assert name_key(written) in names


@pytest.mark.parametrize("written", ["Anna", "Müller", "Maria Anna Schmidt", "", "Ann Müller"])
def test_half_a_name_is_no_name(written: str):
    assert name_key(written) not in names_of({"name": [{"family": "Müller", "given": ["Anna", "Maria"]}]})


def test_identifiers_without_a_system_and_old_ones_identify_nobody():
    given = [{"system": "s", "value": "1"}, {"value": "2"}, {"system": "s"}, {"system": "s", "value": "3", "use": "old"}]
    assert identifiers_of({"identifier": given}) == (("s", "1"),)


def test_a_replaced_record_is_not_current():
    assert is_current(patient())
    assert not is_current(patient(active=False))
    assert not is_current(patient(link=[{"type": "replaced-by", "other": {"reference": "Patient/p2"}}]))
    assert is_current(patient(link=[{"type": "replaces", "other": {"reference": "Patient/p2"}}]))
