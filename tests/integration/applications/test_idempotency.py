"""A repeated POST gets the first answer again (attack E13; the races are in test_races)."""

from datetime import timedelta

import pytest
from sqlmodel import select

from broker.applications.errors import IdempotencyKeyReused, IdempotencyKeyUnusable
from broker.applications.idempotency import KEPT, Answer, forget, idempotent, request_hash
from broker.applications.models import IdempotencyKey


def counting(body=None, **values):
    """An act that counts how often it was done."""
    done = []

    def act():
        done.append(1)
        return Answer(201, body or {"number": len(done)}, {"ETag": '"1"'})

    return act, done


def ask(session, keys, act, key="k-1", actor="person:1", request=("POST", "/x", {"a": 1})):
    return idempotent(session, keys, actor=actor, key=key, request=request_hash(*request), act=act)


def test_the_first_answer_again(database, keys):
    act, done = counting({"name": "张伟"})
    with database.transaction() as session:
        first, second = ask(session, keys, act), ask(session, keys, act)
    assert len(done) == 1
    assert (second.status, second.body) == (first.status, first.body) == (201, {"name": "张伟"})
    assert second.headers == {"ETag": '"1"', "Idempotency-Replayed": "true"}
    assert (first.replayed, second.replayed) == (False, True)


def test_without_a_key_it_is_done_each_time(database, keys):
    act, done = counting()
    with database.transaction() as session:
        ask(session, keys, act, key=None)
        ask(session, keys, act, key=None)
        assert session.exec(select(IdempotencyKey)).all() == []
    assert len(done) == 2


@pytest.mark.parametrize("request_", [("POST", "/x", {"a": 2}), ("POST", "/y", {"a": 1}), ("PUT", "/x", {"a": 1}), ("POST", "/x", None)])
def test_another_request_under_the_key_is_refused(database, keys, request_):
    act, done = counting()
    with database.transaction() as session:
        ask(session, keys, act)
        with pytest.raises(IdempotencyKeyReused):
            ask(session, keys, act, request=request_)
    assert len(done) == 1


def test_the_order_of_members_is_no_difference(database, keys):
    act, done = counting()
    with database.transaction() as session:
        ask(session, keys, act, request=("POST", "/x", {"a": 1, "b": 2}))
        ask(session, keys, act, request=("POST", "/x", {"b": 2, "a": 1}))
    assert len(done) == 1


def test_each_actor_has_keys_of_their_own(database, keys):
    act, done = counting()
    with database.transaction() as session:
        ask(session, keys, act, actor="person:1")
        ask(session, keys, act, actor="person:2")
    assert len(done) == 2


def test_a_structured_field_is_the_bare_key(database, keys):
    act, done = counting()
    with database.transaction() as session:
        ask(session, keys, act, key='"k-1"')
        ask(session, keys, act, key=" k-1 ")
    assert len(done) == 1


@pytest.mark.parametrize("key", ["", '""', "a b", "键", "x" * 256, "a\x00"])
def test_a_key_that_is_none(database, keys, key):
    act, done = counting()
    with database.transaction() as session, pytest.raises(IdempotencyKeyUnusable):
        ask(session, keys, act, key=key)
    assert done == []


def test_what_failed_may_be_tried_again(database, keys):
    act, done = counting()
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        ask(session, keys, lambda: 1 / 0)
    with database.transaction() as session:
        assert not ask(session, keys, act).replayed
    assert len(done) == 1


def test_after_a_day_the_key_is_free(database, keys, set_clock):
    act, done = counting()
    set_clock(timedelta())
    with database.transaction() as session:
        ask(session, keys, act)
        set_clock(KEPT)
        ask(session, keys, act)
        assert len(done) == 1
        set_clock(timedelta(seconds=1))
        assert not ask(session, keys, act, request=("POST", "/other")).replayed
    assert len(done) == 2


def test_old_answers_are_forgotten(database, keys, set_clock):
    act, _ = counting()
    with database.transaction() as session:
        ask(session, keys, act, key="old")
        set_clock(KEPT + timedelta(seconds=1))
        ask(session, keys, act, key="new")
        assert forget(session) == 1
        assert session.exec(select(IdempotencyKey.key)).all() == ["new"]
