"""Sessions one can see and end, passwords that somebody else knows, and locks that don't lock out who is meant to get in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker.identity import login, rules, sessions
from broker.identity.roles import Role
from tests.factories import identity as make
from tests.integration.identity.test_second_factor import Somebody, code_of


@pytest.fixture
def nurse(house):
    one = Somebody(house, "gao.min", Role.APPLICANT)
    one.sign_in()
    return one


@pytest.fixture
def administrator(house):
    one = Somebody(house, "peng.bo", Role.ADMINISTRATOR)
    one.sign_in()
    return one


def test_one_sees_one_s_sessions_ends_one_and_then_all(nurse, administrator, set_clock):
    first = nurse.token
    nurse.house.http.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    nurse.sign_in()
    shown = nurse.call("GET", "/me/sessions").json()
    assert sorted((one["this"], one["agent"]) for one in shown) == [(False, ""), (True, "Firefox, Linux")]
    (other,) = [one["id"] for one in shown if not one["this"]]
    assert nurse.call("DELETE", f"/me/sessions/{other}").status_code == 204
    assert nurse.call("DELETE", f"/me/sessions/{other}").status_code == 404
    second, nurse.token = nurse.token, first
    assert nurse.call("GET", "/me").status_code == 401
    nurse.token = second
    nurse.sign_in()
    assert nurse.call("DELETE", "/me/sessions").status_code == 204
    for token in (nurse.token, second):
        nurse.token = token
        assert nurse.call("GET", "/me").status_code == 401
    assert [event["facts"]["sessions"] for event in nurse.house.events("session.ended")] == [1, 2]


def test_nobody_ends_or_sees_the_session_of_somebody_else_but_an_administrator(nurse, administrator):
    (theirs,) = administrator.call("GET", "/me/sessions").json()
    assert nurse.call("DELETE", f"/me/sessions/{theirs['id']}").status_code == 404
    assert nurse.call("GET", f"/people/{administrator.id}/sessions").status_code == 403
    assert nurse.call("DELETE", f"/people/{administrator.id}/sessions").status_code == 403
    assert [one["this"] for one in administrator.call("GET", f"/people/{nurse.id}/sessions").json()] == [False]
    assert administrator.call("DELETE", f"/people/{nurse.id}/sessions").status_code == 204
    assert nurse.call("GET", "/me").status_code == 401


def test_the_settings_say_when_somebody_is_signed_out_also_of_sessions_that_run(nurse, set_clock, monkeypatch):
    """ASVS 5.0 7.3.1, 7.3.2: by idleness and by age, each a setting."""
    state = nurse.house.http.app.state
    set_clock(timedelta(minutes=6))
    assert nurse.call("GET", "/me").status_code == 200
    monkeypatch.setattr(state, "settings", state.settings.model_copy(update={"session_idle_minutes": 5, "session_hours": 1}))
    set_clock(timedelta(minutes=4))
    assert nurse.call("GET", "/me").status_code == 200
    set_clock(timedelta(minutes=5))
    assert nurse.call("GET", "/me").status_code == 401, "idle"
    nurse.sign_in()
    for _ in range(14):
        set_clock(timedelta(minutes=4))
        assert nurse.call("GET", "/me").status_code == 200
    set_clock(timedelta(minutes=4))
    assert nurse.call("GET", "/me").status_code == 401, "an hour old"


def test_a_list_of_sessions_holds_no_secret(nurse):
    assert nurse.token not in nurse.call("GET", "/me/sessions").text
    assert sessions.secret_hash(nurse.token).hex() not in nurse.call("GET", "/me/sessions").text


def test_a_password_that_somebody_else_set_is_changed_before_anything_else(house, administrator):
    new = {
        "username": "new.one",
        "name": "新人",
        "organization": "renhe",
        "password": make.PASSWORD,
        "roles": [{"role": "applicant", "organization": "renhe"}],
    }
    id_ = administrator.call("POST", "/people", **new).json()["id"]
    one = Somebody.__new__(Somebody)
    one.house, one.username, one.id = house, "new.one", id_
    one.sign_in()
    for method, path in (("GET", "/me"), ("GET", "/organizations"), ("POST", "/me/factors")):
        assert code_of(one.call(method, path, **({"name": "x"} if method == "POST" else {}))) == (403, "password-change-required")
    same = one.call("PUT", f"/people/{id_}/password", password=make.PASSWORD, present=make.PASSWORD)
    assert code_of(same) == (422, "password-refused")
    assert one.call("PUT", f"/people/{id_}/password", password="nine wet herons walk", present=make.PASSWORD).status_code == 204
    assert one.call("GET", "/me").status_code == 401
    answer = house.http.post("/api/v1/session", json={"username": "new.one", "password": "nine wet herons walk"})
    one.token = answer.json()["token"]
    assert one.call("GET", "/me").status_code == 200


def test_a_link_changes_a_password_once_and_the_administrator_never_knows_it(nurse, administrator, set_clock):
    url = administrator.call("POST", f"/people/{nurse.id}/password-link").json()["url"]
    secret = url.rpartition("/")[2]

    def use(password):
        return nurse.house.http.post("/api/v1/password-link", json={"secret": secret, "password": password})

    assert use("short").status_code == 422
    assert use("nine wet herons walk").status_code == 204
    assert code_of(use("ten wet herons walk")) == (404, "link-spent")
    assert nurse.call("GET", "/me").status_code == 401
    assert nurse.sign_in().status_code == 401
    answer = nurse.house.http.post("/api/v1/session", json={"username": "gao.min", "password": "nine wet herons walk"})
    nurse.token = answer.json()["token"]
    assert nurse.call("GET", "/me").status_code == 200  # Nobody else knows it: nothing is to be changed.


def test_a_link_runs_out_a_new_one_voids_it_and_nobody_makes_their_own(nurse, administrator, set_clock):
    def link(who):
        return who.call("POST", f"/people/{nurse.id}/password-link")

    assert link(nurse).status_code == 403
    assert code_of(administrator.call("POST", f"/people/{administrator.id}/password-link")) == (403, "not-yourself")
    first, second = (link(administrator).json()["url"].rpartition("/")[2] for _ in range(2))
    use = {"password": "nine wet herons walk"}
    assert nurse.house.http.post("/api/v1/password-link", json={"secret": first, **use}).status_code == 404
    set_clock(rules.LINK_LIFE)
    assert nurse.house.http.post("/api/v1/password-link", json={"secret": second, **use}).status_code == 404


def test_whoever_locks_a_name_from_elsewhere_does_not_lock_the_person_at_their_own_desk(house, nurse):
    mark = login.device_mark(house.keys, "gao.min")

    def attempt(password, device=""):
        return login.authenticate(house.database, house.keys, "gao.min", password, device=device)

    for _ in range(3 * rules.FAILURES_ALLOWED):
        attempt("wrong password")
    assert attempt(make.PASSWORD).retry_after > 0
    assert not isinstance(attempt(make.PASSWORD, mark), login.LoginRefused)
    # The mark is of one name, can't be made up, and gives a thief with the browser no more tries than anybody.
    other = login.device_mark(house.keys, "lu.xin")
    for device in (other, "x" + mark, mark.replace(".", ".0"), "." + mark.partition(".")[2], "é.é"):
        assert isinstance(attempt(make.PASSWORD, device), login.LoginRefused)
    for _ in range(rules.FAILURES_ALLOWED):
        attempt("wrong password", mark)
    assert attempt(make.PASSWORD, mark).retry_after > 0


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (None, ""),
        ("curl/8", ""),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36 Edg/150.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1", "Safari, iPhone"),
        ("<script>alert(1)</script>", ""),
    ],
)
def test_what_is_kept_of_a_browser_is_its_kind(header, told):
    assert sessions.agent_of(header) == told


def test_a_session_waiting_for_its_second_factor_does_not_wait_long(house, set_clock):
    one = Somebody(house, "deng.li", Role.APPLICANT)
    one.sign_in()
    one.enrol()
    one.sign_in()
    set_clock(rules.PENDING_LIFE - timedelta(seconds=1))
    assert code_of(one.call("GET", "/me")) == (401, "second-factor-required")
    set_clock(timedelta(seconds=1))
    assert code_of(one.call("GET", "/me")) == (401, "not-authenticated")
