"""Who gets in at the console, what a form must carry, and what every page is sent with."""

from __future__ import annotations

import pytest

from broker.console.door import cookie_name
from broker.console.pages import safe_path
from broker.settings import Settings


def test_a_page_may_load_nothing_from_elsewhere_and_is_kept_by_nobody(browser):
    answer = browser.get("/console/login")
    policy = dict(one.strip().split(" ", 1) for one in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(policy)
    assert "data:" not in str(policy)
    assert answer.headers["cache-control"] == "no-store"
    assert " style=" not in answer.text
    assert "<style" not in answer.text
    assert " on" not in "".join(
        part.split(">")[0] for part in answer.text.split("<")[1:] if "on" in part and "=" in part and part.startswith("button")
    )


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(browser):
    answer = browser.post("/console/login", {"username": "gao.min", "password": browser.story.cast.passwords["gao.min"]})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert cookie_name(Settings(base_url="https://broker.hospital.example")) == "__Host-broker"


@pytest.mark.parametrize(
    ("site", "origin"),
    [("cross-site", None), ("same-site", None), (None, None), (None, "https://evil.example"), ("cross-site", "ours"), (None, "null")],
)
def test_a_form_from_another_site_is_refused(browser, site, origin):
    """Even with the right token: the browser's word on where it came from counts for itself (CWE-352)."""
    browser.sign_in("gao.min")
    token = browser.token()
    headers = {} if origin is None else {"Origin": browser.story.base_url if origin == "ours" else origin}
    answer = browser.post("/console/logout", token=token, site=site, **headers)
    assert answer.status_code == 403
    assert browser.get("/console/account").status_code == 200
    login = browser.post("/console/login", {"username": "gao.min", "password": "x" * 12}, site=site, **headers)
    assert login.status_code == 403


def test_an_old_browser_names_its_origin_instead(browser):
    browser.sign_in("gao.min")
    assert browser.post("/console/logout", site=None, Origin=browser.story.base_url).status_code == 303


@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_a_form_without_its_sessions_token_is_refused(browser, token):
    browser.sign_in("gao.min")
    answer = browser.post("/console/logout", [("csrf", token)] if token else [], token="")
    assert answer.status_code == 403
    assert browser.get("/console/account").status_code == 200


def test_the_token_of_another_session_is_none(browser, story):
    browser.sign_in("gao.min")
    others = browser.token()
    browser.http.cookies.clear()
    browser.sign_in("deng.li")
    assert browser.post("/console/logout", token=others).status_code == 403


@pytest.mark.parametrize(
    "onward",
    ["//evil.example/console/", "https://evil.example", "/console//evil.example", "/\\evil.example", "/console/\\evil", "javascript:alert(1)",
     "/api/v1/me", "/console/\r\nSet-Cookie: a=b", "/consolehouse", "/console/é"],
)  # fmt: skip
def test_the_login_leads_to_no_other_place(browser, onward):
    assert safe_path(onward) == ""
    answer = browser.post("/console/login", {"username": "gao.min", "password": browser.story.cast.passwords["gao.min"], "next": onward})
    assert answer.headers["location"].startswith("/console/")
    assert "evil" not in str(answer.headers)


def test_a_name_is_locked_after_five_wrong_passwords_and_the_page_says_for_how_long(browser):
    statuses = [browser.post("/console/login", {"username": "nobody.here", "password": "wrong wrong wrong"}).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    answer = browser.post("/console/login", {"username": "nobody.here", "password": "<b>wrong</b>"})
    assert "seconds" in answer.text
    assert "nobody.here" not in answer.text


def test_what_was_typed_is_never_markup(browser):
    browser.sign_in("gao.min")
    answer = browser.get("/console/<script>alert(1)</script>?done=<script>")
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(("media", "body", "status"), [
    ("application/json", b"{}", 400),
    ("multipart/form-data; boundary=x", b"--x--", 400),
    ("application/x-www-form-urlencoded", b"csrf=%ff", 400),
    ("application/x-www-form-urlencoded", b"csrf=a&csrf=b", 400),
    ("application/x-www-form-urlencoded", b"a=1&" * 5000 + b"a=1", 400),
])  # fmt: skip
def test_a_form_that_can_be_read_in_two_ways_is_not_read(browser, media, body, status):
    browser.sign_in("gao.min")
    answer = browser.http.post("/console/logout", content=body, headers={"Content-Type": media, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == status


def test_a_person_changes_their_password_and_is_signed_out_everywhere(browser):
    name, old = "hu.bin", browser.story.cast.passwords["hu.bin"]
    browser.sign_in(name)
    browser.post("/console/language", {"language": "en"})
    new = "correct horse 电池 staple"
    for fields, said in (
        ({"present": "wrong wrong wrong", "password": new, "again": new}, "The present password is wrong."),
        ({"present": old, "password": new, "again": new + "x"}, "The two new passwords differ."),
        ({"present": old, "password": "short", "again": "short"}, "at least 12 characters"),
    ):
        answer = browser.post("/console/account/password", fields)
        assert answer.status_code in (403, 422)
        assert said in answer.text
        assert new not in answer.text
    assert browser.post("/console/account/password", {"present": old, "password": new, "again": new}).status_code == 303
    assert browser.get("/console/account").status_code == 303
    browser.story.cast.passwords[name] = new
    browser.sign_in(name)
    assert browser.get("/console/account").status_code == 200


def test_the_language_is_the_one_switched_to_else_the_accounts_else_the_browsers(browser):
    assert 'lang="en"' in browser.get("/console/login").text
    assert 'lang="zh-Hans-CN"' in browser.get("/console/login", **{"Accept-Language": "zh-CN,zh;q=0.9"}).text
    browser.sign_in("gao.min")
    assert 'lang="zh-Hans-CN"' in browser.get("/console/account").text
    assert browser.post("/console/language", {"language": "en", "next": "/console/account"}).headers["location"] == "/console/account"
    assert 'lang="en"' in browser.get("/console/account").text
    assert browser.post("/console/language", {"language": "xx", "next": "//evil"}).headers["location"] == "/console/"


def test_static_files_are_kept_for_ever_under_the_name_of_their_content(browser):
    page = browser.get("/console/login").text
    address = page.split('href="/console/static/')[1].split('"')[0]
    answer = browser.get(f"/console/static/{address}")
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert browser.get("/console/static/000000000000/console.css").status_code == 404
    assert browser.get(f"/console/static/{address.split('/')[0]}/door.py").status_code == 404
