"""A patient's one-time code: good once, for its patient, for a quarter of an hour, and not to be guessed."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlmodel import select

from broker.identity import patients, service
from broker.identity.models import PatientCode, PatientSession

NUMBER = "999999195803121262"


@pytest.fixture
def patient():
    return uuid4()


def given(database, keys, patient):
    with database.transaction() as session:
        return service.give_code(session, keys, "person:desk", patient).text


def who(database, opened):
    with database.transaction() as session:
        return service.patient_of_session(session, opened.secret)


def test_a_code_opens_one_session_for_its_patient(database, keys, patient):
    code = given(database, keys, patient)
    opened = service.enter(database, keys, patient, NUMBER, code)
    assert who(database, opened) == patient
    assert isinstance(service.enter(database, keys, patient, NUMBER, code), service.LoginRefused), "once"


def test_neither_code_nor_secret_is_kept(database, keys, patient):
    code = given(database, keys, patient)
    with database.transaction() as session:
        row = session.exec(select(PatientCode)).one()
        assert code.replace("-", "").encode() not in row.code_hash
    opened = service.enter(database, keys, patient, NUMBER, code)
    with database.transaction() as session:
        row = session.exec(select(PatientSession)).one()
        assert opened.secret.encode() not in row.secret_hash
        assert code not in repr(opened)
        assert opened.secret not in repr(opened)


def test_it_is_typed_as_people_type(database, keys, patient):
    code = given(database, keys, patient)
    assert who(database, service.enter(database, keys, patient, NUMBER, f" {code.lower().replace('-', ' ')} ")) == patient


def test_another_patients_code_opens_nothing(database, keys, patient):
    code = given(database, keys, patient)
    given(database, keys, other := uuid4())
    assert isinstance(service.enter(database, keys, other, "other", code), service.LoginRefused)
    assert isinstance(service.enter(database, keys, None, "nobody", code), service.LoginRefused)


def test_a_new_code_voids_the_one_before(database, keys, patient):
    first, second = given(database, keys, patient), given(database, keys, patient)
    assert isinstance(service.enter(database, keys, patient, NUMBER, first), service.LoginRefused)
    assert who(database, service.enter(database, keys, patient, NUMBER, second)) == patient


def test_it_runs_out(database, keys, patient, set_clock):
    code = given(database, keys, patient)
    set_clock(patients.CODE_LIFE)
    assert isinstance(service.enter(database, keys, patient, NUMBER, code), service.LoginRefused)


def test_guessing_is_locked_out_even_for_the_right_code(database, keys, patient, set_clock):
    code = given(database, keys, patient)
    for _ in range(5):
        assert service.enter(database, keys, patient, NUMBER, "2222-2222") == service.LoginRefused()
    assert service.enter(database, keys, patient, NUMBER, code).retry_after > 0
    set_clock(timedelta(minutes=2))
    assert who(database, service.enter(database, keys, patient, NUMBER, code)) == patient


def test_a_session_ends_when_it_is_left_alone_and_when_it_is_old(database, keys, patient, set_clock):
    opened = service.enter(database, keys, patient, NUMBER, given(database, keys, patient))
    for _ in range(5):
        set_clock(timedelta(minutes=6))
        assert who(database, opened) == patient
    set_clock(timedelta(minutes=10))
    assert who(database, opened) is None
    again = service.enter(database, keys, patient, NUMBER, given(database, keys, patient))
    for _ in range(6):
        set_clock(timedelta(minutes=7))
        still = who(database, again)
    assert still is None


def test_leaving_ends_it(database, keys, patient):
    opened = service.enter(database, keys, patient, NUMBER, given(database, keys, patient))
    with database.transaction() as session:
        service.close_patient_session(session, opened.secret)
    assert who(database, opened) is None


def test_what_happened_is_on_record_and_says_not_who_the_patient_is(database, keys, patient):
    service.enter(database, keys, patient, NUMBER, given(database, keys, patient))
    with database.transaction() as session:
        rows = session.connection().exec_driver_sql("SELECT type, actor, patient_key, leaf FROM audit_event ORDER BY xid, seq").all()
    assert [(row[0], row[1], row[2]) for row in rows] == [("patient.code-given", "person:desk", patient), ("patient.entered", "patient", patient)]
    assert not any(patient.hex in row[3] or str(patient) in row[3] or NUMBER in row[3] for row in rows)
