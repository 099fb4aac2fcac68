"""Security keys: whose answer counts, and that one made for another site, another person, another purpose or twice does not (WebAuthn 2, 7)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from broker.identity import passkeys, service
from broker.identity.callers import Proof
from broker.identity.errors import KeyRefused
from broker.identity.models import SecondFactor
from broker.identity.roles import Role
from broker.settings import Settings
from tests.factories import identity as make
from tests.factories.authenticator import PRESENT, Authenticator

AT = passkeys.Place("broker.hospital.example", "https://broker.hospital.example")
SETTINGS = Settings(base_url=AT.origin)


@pytest.fixture
def people(database):
    with database.transaction() as session:
        rows = [make.person(session, Role.APPLICANT, username=name) for name in ("gao.min", "lu.xin")]
        return [service.caller_for(session, row.id, Proof(row.created_at)) for row in rows]


@pytest.fixture
def key(database, keys, people):
    """A key of the first of the people."""
    made = Authenticator(AT.origin, AT.name)
    with database.transaction() as session:
        options = passkeys.ask_new(session, SETTINGS, AT, people[0])
        assert len(passkeys.add_key(session, keys, AT, people[0], name="Key", answer=made.made(options))) == 10
    return made


def asked(database, caller):
    with database.transaction() as session:
        return passkeys.ask_key(session, AT, caller)


def factor(database):
    """Counter, and since when it is disabled."""
    with database.transaction() as session:
        row = session.exec(select(SecondFactor)).one()
        return row.sign_count, row.disabled_at


def test_a_key_proves_its_person_and_may_be_the_whole_login(database, people, key):
    assert passkeys.prove_key(database, AT, people[0], key.got(asked(database, people[0])))
    found = passkeys.enter_with_key(database, AT, key.got(asked(database, None)))
    assert found.person_id == people[0].person_id
    assert found.proof.second_at is not None
    assert factor(database) == (2, None)


@pytest.mark.parametrize(
    "wrong", [{"origin": "https://broker.hospital.example.evil.example"}, {"origin": "http://broker.hospital.example"}, {"rp_id": "evil.example"}]
)
def test_an_answer_made_for_another_site_is_none(database, keys, people, key, wrong):
    assert not passkeys.prove_key(database, AT, people[0], key.got(asked(database, people[0]), **wrong))
    assert passkeys.enter_with_key(database, AT, key.got(asked(database, None), **wrong)) is None
    other = Authenticator(AT.origin, AT.name)
    with database.transaction() as session, pytest.raises(KeyRefused):
        passkeys.add_key(session, keys, AT, people[1], name="x", answer=other.made(passkeys.ask_new(session, SETTINGS, AT, people[1]), **wrong))


def test_an_answer_counts_once_for_five_minutes_for_its_person_and_its_purpose(database, keys, people, key, set_clock):
    one = key.got(asked(database, people[0]))
    assert passkeys.prove_key(database, AT, people[0], one)
    assert not passkeys.prove_key(database, AT, people[0], one)
    # Asked to prove, it does not open the door, nor the other way round, nor does it prove somebody else.
    assert passkeys.enter_with_key(database, AT, key.got(asked(database, people[0]))) is None
    assert not passkeys.prove_key(database, AT, people[0], key.got(asked(database, None)))
    assert not passkeys.prove_key(database, AT, people[1], key.got(asked(database, people[0])))
    with database.transaction() as session:
        theirs = passkeys.ask_new(session, SETTINGS, AT, people[1])
    with database.transaction() as session, pytest.raises(KeyRefused):
        passkeys.add_key(session, keys, AT, people[0], name="x", answer=Authenticator(AT.origin, AT.name).made(theirs))
    # A challenge that nobody gave out.
    made_up = json.dumps({"challenge": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})
    assert not passkeys.prove_key(database, AT, people[0], key.got(made_up))
    late = asked(database, people[0])
    set_clock(timedelta(minutes=5))
    assert not passkeys.prove_key(database, AT, people[0], key.got(late))


def test_a_key_of_which_there_are_two_is_disabled_and_on_record(database, people, key):
    assert passkeys.prove_key(database, AT, people[0], key.got(asked(database, people[0])))
    copy = replace(key, count=0)
    assert not passkeys.prove_key(database, AT, people[0], copy.got(asked(database, people[0])))
    assert factor(database)[1] is not None
    # Nor does the right one count from then on: nobody knows which it is. And nobody becomes somebody without a second factor by it.
    assert asked(database, people[0]) is None
    assert passkeys.enter_with_key(database, AT, key.got(asked(database, None))) is None
    with database.transaction() as session:
        assert service.caller_for(session, people[0].person_id, people[0].proof).enrolled


def test_a_key_that_does_not_count_is_no_copy(database, people, key):
    for _ in range(2):
        key.count = -1  # It says 0 each time, as keys do that are synchronised.
        assert passkeys.prove_key(database, AT, people[0], key.got(asked(database, people[0])))


def test_the_whole_login_asks_that_the_key_knows_its_user_and_a_second_factor_that_it_is_touched(database, people, key):
    key.flags = PRESENT
    assert passkeys.enter_with_key(database, AT, key.got(asked(database, None))) is None
    assert passkeys.prove_key(database, AT, people[0], key.got(asked(database, people[0])))
    key.flags = 0
    assert not passkeys.prove_key(database, AT, people[0], key.got(asked(database, people[0])))


def test_a_signature_of_another_key_under_its_name_is_none(database, people, key):
    thief = replace(Authenticator(AT.origin, AT.name), id=key.id, count=key.count)
    assert not passkeys.prove_key(database, AT, people[0], thief.got(asked(database, people[0])))
    assert passkeys.enter_with_key(database, AT, thief.got(asked(database, None))) is None


def test_a_key_belongs_to_one_account(database, keys, people, key):
    with database.transaction() as session:
        options = passkeys.ask_new(session, SETTINGS, AT, people[1])
    with database.transaction() as session, pytest.raises(KeyRefused):
        passkeys.add_key(session, keys, AT, people[1], name="x", answer=key.made(options))


@pytest.mark.parametrize(
    "answer",
    ["", "{}", "[]", "null", "1", '{"response": {"clientDataJSON": "e30"}}', '{"response": {"clientDataJSON": 5}}', "[" * 5000, "x" * 30_000],
)
def test_what_is_no_answer_is_refused_without_a_trace(database, keys, people, key, answer):
    assert not passkeys.prove_key(database, AT, people[0], answer)
    assert passkeys.enter_with_key(database, AT, answer) is None
    with database.transaction() as session, pytest.raises(KeyRefused):
        passkeys.add_key(session, keys, AT, people[0], name="x", answer=answer)


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://broker.hospital.example", "broker.hospital.example"),
        ("https://broker.hospital.example:8443", "broker.hospital.example"),
        ("http://localhost:8000", "localhost"),
        ("http://broker.hospital.example", None),
        ("https://10.1.2.3", None),
        ("http://127.0.0.1:8000", None),
        ("https://[::1]", None),
    ],
)
def test_keys_are_asked_where_there_is_a_name_and_encryption(base_url, name):
    found = passkeys.place(Settings(base_url=base_url))
    assert (found.name if found else None) == name
    assert found is None or found.origin == base_url
