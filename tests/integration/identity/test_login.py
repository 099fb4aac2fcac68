"""Signing in: who gets in, how long, and what guessing comes to."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from fastapi import Request

from broker.database import Database
from broker.errors import Forbidden
from broker.identity import login, passwords, rules, service
from broker.identity.access import Action, PersonCaller, Role, require
from tests.factories import identity as make


@pytest.fixture
def alice(house):
    with house.database.transaction() as session:
        return make.person(session, Role.APPLICANT, username="alice", organization_id="renhe-cardiology")


@pytest.fixture(scope="module")
def with_alice(attacked):
    """A house that a table of failures shares."""
    with attacked.database.transaction() as session:
        make.person(session, username="alice")
    return attacked


def sign_in(house, username="alice", password=make.PASSWORD):
    return house.http.post("/api/v1/session", json={"username": username, "password": password})


def test_a_session_opens_serves_and_ends(house, alice):
    answer = sign_in(house)
    assert answer.status_code == 201
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    me = house.http.get("/api/v1/me", headers=headers)
    assert me.status_code == 200
    assert me.json() == {
        "id": str(alice.id),
        "username": "alice",
        "organization": "renhe-cardiology",
        "language": "zh",
        "roles": [{"role": "applicant", "organization": "renhe-cardiology"}],
        "actions": ["application.write", "feedback.write", "patient.match"],
    }
    assert house.http.delete("/api/v1/session", headers=headers).status_code == 204
    assert house.http.get("/api/v1/me", headers=headers).status_code == 401
    assert [event["type"] for event in house.events()] == ["session.opened", "session.closed"]


def test_basic_serves_too_and_user_names_know_no_case(house, alice):
    assert house.http.get("/api/v1/me", auth=("ALICE", make.PASSWORD)).status_code == 200


def test_a_session_secret_is_kept_as_a_hash(house, alice):
    token = sign_in(house).json()["token"]
    with house.database.transaction() as session:
        (kept,) = session.execute(sa.text("SELECT person_session::text FROM person_session")).scalars()
    assert token not in kept
    assert len(token) >= 43  # 256 bits in base64url.


HEADERS = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer guess"},
    {"Authorization": "Bearer " + "a" * 20_000},
    {"Authorization": "Basic"},
    {"Authorization": "Basic !!!"},
    {"Authorization": "Basic YWxpY2U="},  # no colon
    {"Authorization": "Basic /////w=="},  # not UTF-8
    {"Authorization": "Basic YQBiOmMA"},  # NUL in name and password
    {"Authorization": "Digest username=alice"},
    {"Cookie": "token=guess"},
]


@pytest.mark.parametrize("headers", HEADERS)
def test_who_does_not_prove_who_they_are_is_told_so(attacked, headers):
    answer = attacked.http.get("/api/v1/me", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "not-authenticated"


def test_two_authorization_headers_are_none(house, alice):
    good = ("Authorization", f"Bearer {sign_in(house).json()['token']}")
    assert house.http.get("/api/v1/me", headers=[good]).status_code == 200
    assert house.http.get("/api/v1/me", headers=[good, ("Authorization", "Basic YTpi")]).status_code == 401
    basic = ("Authorization", "Basic " + base64.b64encode(f"alice:{make.PASSWORD}".encode()).decode())
    assert house.http.get("/api/v1/me", headers=[basic]).status_code == 200
    assert house.http.get("/api/v1/me", headers=[basic, ("Authorization", "Bearer x")]).status_code == 401


def test_an_access_token_of_a_client_signs_nobody_in(house):
    assert house.http.get("/api/v1/me", headers={"Authorization": f"Bearer {house.token()}"}).status_code == 401


BODIES = [
    {"username": "alice", "password": "wrong"},
    {"username": "nobody", "password": make.PASSWORD},
    {"username": "alice\0", "password": make.PASSWORD},
    {"username": "ali%", "password": make.PASSWORD},
    {"username": "' OR 1=1 --", "password": make.PASSWORD},
]


@pytest.mark.parametrize("body", BODIES)
def test_a_wrong_name_and_a_wrong_password_look_the_same(with_alice, body):
    answer = with_alice.http.post("/api/v1/session", json=body, headers={"Accept-Language": "en"})
    assert answer.status_code == 401
    said = {name: value for name, value in answer.json().items() if name != "request_id"}
    assert said == {
        "type": "urn:broker:problem:not-authenticated",
        "title": "You are not signed in, or the credentials are wrong.",
        "status": 401,
        "detail": "You are not signed in, or the credentials are wrong.",
        "code": "not-authenticated",
        "help": "Sign in again or ask for a new token.",
    }


@pytest.mark.parametrize("body", [{}, {"username": "alice"}, {"username": 1, "password": []}, {"username": "alice", "password": "x", "more": 1}, []])
def test_a_body_of_another_form_is_named(attacked, body):
    assert attacked.http.post("/api/v1/session", json=body).status_code == 422


def test_a_lone_surrogate_is_no_500(attacked):
    answer = attacked.http.post(
        "/api/v1/session", content=b'{"username": "\\ud800", "password": "\\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)


def test_an_unknown_name_costs_the_same_work(house, alice, monkeypatch):
    """The time an answer takes must not tell which names there are: argon2 runs in both cases, and as much is written."""
    checked = []
    real = passwords._HASHES.verify_and_update
    monkeypatch.setattr(type(passwords._HASHES), "verify_and_update", lambda self, *arguments: checked.append(arguments[1][:31]) or real(*arguments))
    sign_in(house, "alice", "wrong password")
    sign_in(house, "nobody", "wrong password")
    assert len(checked) == 2
    assert checked[0] == checked[1]  # The same algorithm and parameters.
    assert len(house.events("login.failed")) == 2


def test_a_suspended_account_and_one_of_a_suspended_organisation_are_none(house, alice):
    headers = {"Authorization": f"Bearer {sign_in(house).json()['token']}"}
    with house.database.transaction() as session:
        make.organization(session, "renhe")
        session.execute(sa.text("UPDATE organization SET parent_id = 'renhe' WHERE id = 'renhe-cardiology'"))
        service.change_organization(session, "system", "renhe", status="suspended")
    assert house.http.get("/api/v1/me", headers=headers).status_code == 401
    assert sign_in(house).status_code == 401
    with house.database.transaction() as session:
        service.change_organization(session, "system", "renhe", status="active")
    assert house.http.get("/api/v1/me", headers=headers).status_code == 200
    with house.database.transaction() as session:
        service.change_person(session, "system", alice.id, status="suspended")
    assert house.http.get("/api/v1/me", headers=headers).status_code == 401
    assert sign_in(house).status_code == 401


def test_an_account_without_a_password_lets_nobody_in(house):
    with house.database.transaction() as session:
        make.person(session, username="robot", password_hash=None)
    assert sign_in(house, "robot", "").status_code == 422
    assert sign_in(house, "robot", "a password that nobody has").status_code == 401


def test_a_session_ends_by_idleness_and_by_age(house, alice, set_clock):
    headers = {"Authorization": f"Bearer {sign_in(house).json()['token']}"}
    for _ in range(19):
        set_clock(rules.SESSION_IDLE - timedelta(seconds=1))
        assert house.http.get("/api/v1/me", headers=headers).status_code == 200
    set_clock(rules.SESSION_IDLE)
    assert house.http.get("/api/v1/me", headers=headers).status_code == 401
    headers = {"Authorization": f"Bearer {sign_in(house).json()['token']}"}
    for _ in range(int(rules.SESSION_LIFE / timedelta(minutes=20)) - 1):
        set_clock(timedelta(minutes=20))
        assert house.http.get("/api/v1/me", headers=headers).status_code == 200
    set_clock(timedelta(minutes=20))
    assert house.http.get("/api/v1/me", headers=headers).status_code == 401


# -- guessing --


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_after_five_failures_a_name_is_locked_whether_or_not_it_exists(house, alice, set_clock, name):
    set_clock(timedelta(0))
    for _ in range(rules.FAILURES_ALLOWED):
        assert sign_in(house, name, "wrong").status_code == 401
    locked = sign_in(house, name)
    assert (locked.status_code, locked.json()["code"]) == (429, "login-locked")
    assert 0 < int(locked.headers["retry-after"]) <= 61
    assert house.http.get("/api/v1/me", auth=(name, make.PASSWORD)).status_code == 429
    set_clock(rules.FIRST_LOCK + timedelta(seconds=1))
    assert sign_in(house, name).status_code == (201 if name == "alice" else 401)


def test_each_further_failure_locks_longer_and_success_forgets(house, alice, set_clock):
    set_clock(timedelta(0))
    for _ in range(rules.FAILURES_ALLOWED):
        sign_in(house, password="wrong")
    set_clock(timedelta(seconds=61))
    assert sign_in(house, password="wrong").status_code == 401
    set_clock(timedelta(seconds=61))
    assert sign_in(house).status_code == 429  # Two minutes now.
    set_clock(timedelta(seconds=61))
    assert sign_in(house).status_code == 201
    for _ in range(rules.FAILURES_ALLOWED - 1):
        assert sign_in(house, password="wrong").status_code == 401
    assert sign_in(house).status_code == 201


def test_failures_are_forgotten_after_an_hour(house, alice, set_clock):
    set_clock(timedelta(0))
    for _ in range(rules.FAILURES_ALLOWED - 1):
        sign_in(house, password="wrong")
    set_clock(rules.FAILURES_FORGOTTEN + timedelta(seconds=1))
    sign_in(house, password="wrong")
    assert sign_in(house).status_code == 201


def test_a_lock_is_of_one_name(house, alice):
    for _ in range(rules.FAILURES_ALLOWED):
        sign_in(house, "bob", "wrong")
    assert sign_in(house).status_code == 201


def test_failures_count_although_the_request_fails_and_survive_a_restart(house, alice):
    """Kept in PostgreSQL: another process, and this one after a restart, knows of them."""
    for _ in range(rules.FAILURES_ALLOWED):
        house.http.get("/api/v1/me", auth=("alice", "wrong"))
    other = Database(house.database.url, pool=0)
    assert login.authenticate(other, house.keys, "alice", make.PASSWORD).retry_after > 0
    other.dispose()


def test_of_many_guesses_at_once_the_right_one_does_not_get_in_after_the_lock(house, alice, monkeypatch):
    """All pass the first look together; the right password comes last and must find the name locked."""
    gate, lock = threading.Barrier(12), threading.Lock()
    wrong_done = threading.Event()
    failures = []

    def slow(password, _hash):
        gate.wait()
        if password == "right":
            wrong_done.wait(5)
            return True, None
        return False, None

    monkeypatch.setattr(passwords, "matches", slow)

    def guess(password):
        answer = login.authenticate(house.database, house.keys, "alice", password)
        if password != "right":
            with lock:
                failures.append(answer)
                if len(failures) == 11:
                    wrong_done.set()
        return answer

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(guess, ["right", *("wrong" for _ in range(11))]))
    assert not [answer for answer in answers if isinstance(answer, PersonCaller)]
    assert answers[0].retry_after is not None


def test_the_name_that_was_typed_is_not_kept(house):
    sign_in(house, "mypassword1", "wrong")
    with house.database.transaction() as session:
        assert "mypassword1" not in str(session.execute(sa.text("SELECT failed_login::text FROM failed_login")).all())
    assert "mypassword1" not in str(house.events())


def test_a_failure_is_recorded_with_the_account_and_no_password(house, alice):
    sign_in(house, password="wrong password 1")
    (event,) = house.events("login.failed")
    assert event["actor"] == f"person:{alice.id}"
    assert "wrong" not in str(event)


# -- who may --


def test_require_lets_through_by_role_alone(house):
    request = Request({"type": "http", "method": "POST", "app": house.app})
    applicant = PersonCaller(uuid4(), "a", "a", "renhe", frozenset({Role.APPLICANT}), "zh")
    assert require(Action.APPLICATION_WRITE)(request, applicant) is applicant
    with pytest.raises(Forbidden):
        require(Action.APPLICATION_DECIDE)(request, applicant)
    assert require(Action.LOG_READ) is require(Action.LOG_READ)  # One dependency, so that FastAPI asks once.
