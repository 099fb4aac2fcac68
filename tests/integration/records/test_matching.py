from __future__ import annotations

from datetime import date

import pytest

from broker.crypto import Keys
from broker.database import Database
from broker.records import service as records
from tests.factories.records import MRN, bundle, patient, practitioner, taken_in

BORN = date(1980, 5, 6)


@pytest.fixture
def filled(database: Database, keys: Keys) -> Database:
    twin = patient("p3", identifier=[{"system": "urn:insurance", "value": "I-1"}])
    other = patient("p4", identifier=[{"system": "urn:insurance", "value": "I-1"}], name=[{"text": "赵四"}])
    staff = practitioner(identifier=[{"system": MRN, "value": "MRN-staff"}])
    report = taken_in(database, keys, bundle(patient("p1"), patient("p2", name=[{"text": "钱二"}], birthDate="1990-01-01"), twin, other, staff))
    assert report.refused == 0
    return database


def _match(database: Database, keys: Keys, identifier: dict | None, name: str | None = None, birth_date: date | None = None) -> records.Match:
    with database.transaction() as session:
        return records.match(session, keys, identifier, name, birth_date)


def test_identifier_and_name_or_birth_date_are_certain(filled: Database, keys: Keys):
    found = _match(filled, keys, {"system": MRN, "value": "mrn-P1"}, "王 小明", BORN)
    assert (found.grade, found.fhir_id, found.patient_key) == ("certain", "p1", keys.patient_key("p1"))
    assert _match(filled, keys, {"system": MRN, "value": "MRN-p1"}).grade == "probable"
    assert _match(filled, keys, {"system": MRN, "value": "MRN-p1"}, "钱二", BORN).grade == "possible"


@pytest.mark.parametrize(
    "identifier", [{"system": MRN, "value": "MRN-p9"}, {"system": "urn:other", "value": "MRN-p1"}, {"system": MRN, "value": "MRN-staff"}]
)
def test_an_identifier_of_no_patient_finds_nobody(filled: Database, keys: Keys, identifier: dict):
    assert _match(filled, keys, identifier, "王小明", BORN) == records.Match("none")


def test_one_identifier_of_two_patients_is_nobodys(filled: Database, keys: Keys):
    found = _match(filled, keys, {"system": "urn:insurance", "value": "I-1"}, "赵四", BORN)
    assert (found.grade, found.patient_key) == ("possible", None)


def test_name_and_birth_date_alone_are_never_more_than_possible(filled: Database, keys: Keys):
    assert _match(filled, keys, None, "钱二", date(1990, 1, 1)).grade == "possible"
    assert _match(filled, keys, None, "王小明", BORN).patient_key is None  # Two of that name and day.
    assert _match(filled, keys, None, "王小明").grade == "none"
    assert _match(filled, keys, {"value": "MRN-p1"}).grade == "none"
