"""Second factors at the API: who needs one, what it takes, what guessing and repeating come to (MLPS 8.1.4.1; A41-A44)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pyotp
import pytest
import sqlalchemy as sa

from broker import clock
from broker.identity import factors, rules, service
from broker.identity.roles import Role
from broker.settings import Settings
from tests.factories import identity as make
from tests.integration.identity.conftest import build


@pytest.fixture
def strict(database, keys, tmp_path):
    """A house as a hospital gets it: managers, auditors and administrators need a second factor."""
    settings = Settings(
        var=tmp_path / "var", second_factor_roles="information_manager,auditor,administrator", step_up_minutes=10, emergency_second_factor=True
    )
    yield from build(database, keys, settings)


class Somebody:
    """A person at the API, with a password, a session, and an app on their telephone."""

    def __init__(self, house, username, *roles, **values):
        self.house, self.username = house, username
        with house.database.transaction() as session:
            self.id = make.person(session, *roles, username=username, **values).id
        self.app: pyotp.TOTP | None = None
        self.token = ""

    def sign_in(self, **more):
        answer = self.house.http.post("/api/v1/session", json={"username": self.username, "password": make.PASSWORD, **more})
        if answer.status_code == 201:
            self.token = answer.json()["token"]
        return answer

    def call(self, method, path, **body):
        headers = {"Authorization": f"Bearer {self.token}", "Accept-Language": "en"}
        return self.house.http.request(method, f"/api/v1{path}", headers=headers, **({"json": body} if body else {}))

    def code(self, later=0):
        return self.app.at(clock.now(), counter_offset=later)

    def enrol(self):
        """Add an app and confirm it; the codes on paper."""
        new = self.call("POST", "/me/factors", name="Telephone").json()
        self.app = pyotp.parse_uri(new["uri"])
        assert self.app.secret == new["secret"]
        answer = self.call("POST", f"/me/factors/{new['id']}/confirm", code=self.code())
        assert answer.status_code == 200, answer.text
        return answer.json()["recovery_codes"]


@pytest.fixture
def manager(strict):
    one = Somebody(strict, "wu.lan", Role.INFORMATION_MANAGER)
    assert one.sign_in().status_code == 201
    return one


@pytest.fixture
def enrolled(manager, set_clock):
    """A manager with an app, whose session began with a password alone."""
    set_clock(clock.now())
    manager.paper = manager.enrol()
    set_clock(timedelta(seconds=60))  # The code that confirmed the app is used up.
    assert manager.sign_in().status_code == 201
    return manager


def code_of(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_who_needs_a_factor_and_has_none_can_do_nothing_but_add_one(manager):
    for method, path in (("GET", "/me"), ("GET", "/people"), ("POST", "/organizations"), ("GET", "/me/sessions"), ("POST", "/me/recovery-codes")):
        answer = manager.call(method, path)
        assert code_of(answer) == (403, "second-factor-missing")
        assert "/api/v1/me/factors" in answer.json()["help"]
    assert len(manager.enrol()) == rules.RECOVERY_CODES
    # The session that was opened with the password alone is not one of two factors because a factor was added.
    assert code_of(manager.call("GET", "/me")) == (401, "second-factor-required")


def test_a_role_that_needs_none_works_with_a_password_and_asks_for_what_was_added(strict, set_clock):
    nurse = Somebody(strict, "gao.min", Role.APPLICANT)
    nurse.sign_in()
    assert nurse.call("GET", "/me").status_code == 200
    nurse.enrol()
    assert code_of(nurse.call("GET", "/me")) == (401, "second-factor-required")


def test_password_and_code_open_a_session_and_a_password_alone_does_not(enrolled):
    assert code_of(enrolled.call("GET", "/me")) == (401, "second-factor-required")
    assert 'error="insufficient_user_authentication"' in enrolled.call("GET", "/me").headers["www-authenticate"]  # RFC 9470 3
    assert enrolled.sign_in(code=enrolled.code()).status_code == 201
    assert enrolled.call("GET", "/me").status_code == 200
    # Nor does the password that comes with each request, which no code ever accompanies.
    basic = enrolled.house.http.get("/api/v1/me", auth=("wu.lan", make.PASSWORD))
    assert code_of(basic) == (401, "second-factor-required")


def test_the_secret_of_the_session_is_another_after_the_factor(enrolled):
    """Session fixation: whoever knew the session before it was worth anything does not know it after."""
    before = enrolled.token
    answer = enrolled.call("POST", "/session/second-factor", code=enrolled.code())
    assert answer.status_code == 200
    after = answer.json()["token"]
    assert after != before
    assert code_of(enrolled.call("GET", "/me")) == (401, "not-authenticated")
    enrolled.token = after
    assert enrolled.call("GET", "/me").status_code == 200


def test_a_code_is_good_once_within_its_window_even_for_two_at_the_same_moment(enrolled):
    code = enrolled.code()
    assert enrolled.sign_in(code=code).status_code == 201
    assert code_of(enrolled.sign_in(code=code)) == (403, "second-factor-wrong")
    # The code of the step before is in the window too, and is older than the one that was taken.
    assert code_of(enrolled.sign_in(code=enrolled.code(-1))) == (403, "second-factor-wrong")
    fresh = enrolled.code(1)
    with enrolled.house.database.transaction() as session:
        caller = service.caller_for(session, enrolled.id)
    with ThreadPoolExecutor(4) as many:
        answers = list(many.map(lambda _: factors.prove_code(enrolled.house.database, enrolled.house.keys, caller, fresh), range(4)))
    assert answers.count(True) == 1


def test_guessing_codes_locks_and_the_right_code_does_not_help_then(enrolled, set_clock):
    for _ in range(rules.FAILURES_ALLOWED):
        wrong = f"{(int(enrolled.code()) + 1) % 1_000_000:06}"
        answer = enrolled.call("POST", "/session/second-factor", code=wrong)
        assert code_of(answer) == (403, "second-factor-wrong")
        assert wrong not in answer.text
    answer = enrolled.call("POST", "/session/second-factor", code=enrolled.code())
    assert code_of(answer) == (429, "login-locked")
    assert int(answer.headers["retry-after"]) > 0
    # A new session of the same person meets the same count: the count is of the person.
    assert code_of(enrolled.sign_in(code=enrolled.code())) == (429, "login-locked")
    assert len(enrolled.house.events("second-factor.failed")) == rules.FAILURES_ALLOWED
    set_clock(rules.FIRST_LOCK + timedelta(seconds=31))
    assert enrolled.sign_in(code=enrolled.code()).status_code == 201


def test_a_code_on_paper_opens_once(enrolled):
    paper = enrolled.paper[3]
    assert enrolled.sign_in(code=paper.lower()).status_code == 201
    assert enrolled.call("GET", "/me").status_code == 200
    assert code_of(enrolled.sign_in(code=paper)) == (403, "second-factor-wrong")
    (event,) = enrolled.house.events("second-factor.recovery-code-used")
    assert event["facts"]["left"] == rules.RECOVERY_CODES - 1


def test_new_codes_on_paper_void_the_old(enrolled):
    enrolled.sign_in(code=enrolled.code())
    new = enrolled.call("POST", "/me/recovery-codes").json()["recovery_codes"]
    assert not set(new) & set(enrolled.paper)
    assert code_of(enrolled.sign_in(code=enrolled.paper[0])) == (403, "second-factor-wrong")
    assert enrolled.sign_in(code=new[0]).status_code == 201


def test_neither_the_app_s_secret_nor_a_code_on_paper_is_kept_as_it_is(enrolled):
    with enrolled.house.database.transaction() as session:
        kept = b"".join(session.execute(sa.text("SELECT secret_sealed FROM second_factor")).scalars())
        kept += b"".join(session.execute(sa.text("SELECT code_hash FROM recovery_code")).scalars())
    assert enrolled.app.secret.encode() not in kept
    assert not [code for code in enrolled.paper if code.replace("-", "").encode() in kept]
    # Sealed for its own row: moved to another, it doesn't open.
    with enrolled.house.database.transaction() as session:
        session.execute(sa.text("UPDATE second_factor SET id = gen_random_uuid()"))
    answer = enrolled.call("POST", "/session/second-factor", code=enrolled.code())
    assert answer.status_code >= 400


def test_a_dangerous_act_asks_for_the_factor_again_and_reading_does_not(enrolled, set_clock):
    enrolled.sign_in(code=enrolled.code())
    body = {"id": "spare", "organization": "renhe", "name": "Spare", "jwks": {"keys": [make.public(make.private_key())]}}
    assert enrolled.call("POST", "/clients", **body).status_code == 201
    set_clock(timedelta(minutes=10))
    answer = enrolled.call("PUT", "/clients/spare/keys", jwks=body["jwks"])
    assert code_of(answer) == (401, "step-up-required")
    assert 'max_age="600"' in answer.headers["www-authenticate"]
    assert enrolled.call("GET", "/clients/spare").status_code == 200
    # A password alone is no fresh proof for somebody who has a second factor.
    assert enrolled.call("POST", "/session/second-factor", password=make.PASSWORD).status_code == 422
    enrolled.token = enrolled.call("POST", "/session/second-factor", code=enrolled.code()).json()["token"]
    assert enrolled.call("PUT", "/clients/spare/keys", jwks=body["jwks"]).status_code == 200


def test_who_has_no_second_factor_proves_with_the_password(house, set_clock):
    one = Somebody(house, "deng.li", Role.ADMINISTRATOR)
    one.sign_in()
    set_clock(timedelta(minutes=20))
    one.house.settings.__dict__["step_up_minutes"] = 10
    new = {"username": "new.one", "name": "New", "organization": "renhe"}
    assert code_of(one.call("POST", "/people", **new)) == (401, "step-up-required")
    assert one.call("POST", "/session/second-factor", password="wrong password").status_code == 403
    one.token = one.call("POST", "/session/second-factor", password=make.PASSWORD).json()["token"]
    assert one.call("POST", "/people", **new).status_code == 201


def test_a_factor_is_taken_away_but_not_the_last_where_the_role_needs_one(enrolled):
    enrolled.sign_in(code=enrolled.code())
    (only,) = enrolled.call("GET", "/me/factors").json()
    assert code_of(enrolled.call("DELETE", f"/me/factors/{only['id']}")) == (409, "second-factor-last")
    enrolled.enrol()
    assert enrolled.call("DELETE", f"/me/factors/{only['id']}").status_code == 204
    assert code_of(enrolled.call("DELETE", f"/me/factors/{uuid4()}")) == (404, "second-factor-unknown")


def test_nobody_confirms_or_takes_away_the_factor_of_somebody_else(enrolled, strict):
    enrolled.sign_in(code=enrolled.code())
    (theirs,) = enrolled.call("GET", "/me/factors").json()
    thief = Somebody(strict, "lu.xin", Role.APPLICANT)
    thief.sign_in()
    assert code_of(thief.call("DELETE", f"/me/factors/{theirs['id']}")) == (404, "second-factor-unknown")
    assert code_of(thief.call("POST", f"/me/factors/{theirs['id']}/confirm", code=enrolled.code())) == (404, "second-factor-unknown")


def test_lost_factors_go_when_two_people_say_so_and_neither_is_the_person(enrolled, strict):
    first, second = Somebody(strict, "peng.bo", Role.ADMINISTRATOR), Somebody(strict, "qian.yu", Role.ADMINISTRATOR)
    nurse = Somebody(strict, "gao.min", Role.APPLICANT)
    for one in (first, second):
        one.sign_in()
        one.enrol()
        one.sign_in(code=one.code(1))
    nurse.sign_in()
    enrolled.sign_in(code=enrolled.code())
    path = f"/people/{enrolled.id}/factor-reset"
    assert code_of(enrolled.call("POST", path)) == (403, "not-yourself")
    assert code_of(nurse.call("POST", path)) == (403, "forbidden")
    assert first.call("POST", path).json() == {"done": False}
    assert code_of(first.call("POST", path)) == (403, "second-person")
    assert enrolled.call("GET", "/me").status_code == 200
    assert second.call("POST", path).json() == {"done": True}
    assert enrolled.call("GET", "/me").status_code == 401
    enrolled.sign_in()
    assert code_of(enrolled.call("GET", "/me")) == (403, "second-factor-missing")
    assert [event["facts"]["asked_by"] for event in strict.events("second-factor.reset")] == [str(first.id)]


def test_roles_that_nobody_may_hold_together_are_of_no_use_however_they_came_there(strict):
    """MLPS three roles apart, also where the assignment went past us."""
    both = Somebody(strict, "cao.yan", Role.APPLICANT)
    both.sign_in()
    with strict.database.transaction() as session:
        session.execute(sa.text("INSERT INTO role_held VALUES (:who, 'administrator', 'renhe'), (:who, 'auditor', 'renhe')"), {"who": both.id})
    assert code_of(both.call("GET", "/me")) == (403, "roles-together")
    assert code_of(both.call("POST", "/me/factors", name="x")) == (403, "roles-together")


@pytest.mark.parametrize("code", ["", "12345", "1" * 17, "12 456\x00", "１２３４５６", "123456;"])
def test_what_can_t_be_a_code_is_refused_as_such(enrolled, code):
    assert enrolled.call("POST", "/session/second-factor", code=code).status_code == 422
    assert not enrolled.house.events("second-factor.failed")


def test_a_factor_that_was_begun_is_none(strict):
    nurse = Somebody(strict, "gao.min", Role.APPLICANT)
    nurse.sign_in()
    new = nurse.call("POST", "/me/factors", name="Telephone").json()
    assert nurse.sign_in().status_code == 201
    assert nurse.call("GET", "/me").status_code == 200
    with strict.database.transaction() as session:
        caller = service.caller_for(session, nurse.id)
        with pytest.raises(Exception, match="no such second factor"):
            factors.begun(session, strict.keys, caller, UUID(int=0), "renhe")
        assert factors.begun(session, strict.keys, caller, UUID(new["id"]), strict.settings.hospital).uri == new["uri"]
