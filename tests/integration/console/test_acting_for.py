"""A person agrees that a system of their organisation fetches for them (RS-6.2.1; RFC 6749 4.1, RFC 7636, RFC 9207, RFC 9700 2.1)."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import private_key_jwt_sign

from broker import clock
from broker.demo.client import ASSERTION
from tests.integration.console.conftest import Browser
from tests.integration.identity.test_real_clients import PerRequestPrivateKeyJWT
from tests.integration.release.conftest import agree

BACK = "https://his.example.org/back?from=broker"
OTHER = "http://127.0.0.1:8899/back"


@pytest.fixture(scope="module")
def agreed(story):
    """Two exchanges for which gao.min applied, and the hospital's system with somewhere to send people back to."""
    first, second = agree(story, "p1001"), agree(story, "p1004")
    answer = story.person("administrator").call("PATCH", "/api/v1/clients/shengli-his", body={"redirect_uris": [BACK, OTHER]})
    assert answer.json()["redirect_uris"] == [BACK, OTHER]
    return first, second


@pytest.fixture
def nurse(story, agreed, browser) -> Browser:
    return browser.sign_in("gao.min")


class App:
    """The hospital's app, with the PKCE of one attempt."""

    def __init__(self, story):
        self.story, self.key, self.verifier, self.state = story, story.cast.keys["shengli-his"], secrets.token_urlsafe(48), secrets.token_hex(8)

    def ask(self, **changes):
        challenge = urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        values = {
            "response_type": "code", "client_id": "shengli-his", "redirect_uri": BACK, "scope": "user/*.rs", "state": self.state,
            "code_challenge": challenge, "code_challenge_method": "S256", "aud": f"{self.story.base_url}/fhir",
        } | changes  # fmt: skip
        return {name: value for name, value in values.items() if value is not None}

    def form(self, code, client="shengli-his", **changes):
        endpoint, key = f"{self.story.base_url}/oauth2/token", self.story.cast.keys[client]
        header = {"kid": key.get("kid"), "typ": "JWT"}
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": self.verifier,
            "client_assertion_type": ASSERTION,
            "client_assertion": private_key_jwt_sign(key, client, endpoint, alg=key.get("alg"), header=header, expires_in=240),
        } | changes  # fmt: skip
        return {name: value for name, value in form.items() if value is not None}

    def exchange(self, code, client="shengli-his", **changes):
        return httpx2.post(f"{self.story.base_url}/oauth2/token", data=self.form(code, client, **changes), timeout=60)

    def fetch(self, token, path):
        return httpx2.get(f"{self.story.base_url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=60)


def page(browser, given):
    """What the person is shown: from the address that the app sends them to, by way of our own redirect."""
    led = browser.get(f"/oauth2/authorize?{urlencode(given)}")
    assert led.status_code == 303, led.text
    return browser.get(led.headers["location"])


def fields(text):
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text)
    return {name: unescape(value) for name, value in found if name != "csrf"}


def answered(browser, shown, application, answer="yes"):
    """The form of the page, filled in; the parameters that the app is sent."""
    sent = browser.post("/console/authorize", fields(shown.text) | {"application": application, "answer": answer})
    assert sent.status_code == 303, sent.text[:500]
    assert sent.headers["location"].startswith(BACK)
    return {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}


def code_of(browser, app, application, **changes):
    told = answered(browser, page(browser, app.ask(**changes)), application)
    assert told["state"] == app.state
    return told["code"]


def test_somebody_agrees_and_the_system_fetches_what_was_approved_and_nothing_else(story, agreed, nurse):
    first, second = agreed
    app = App(story)
    shown = page(nurse, app.ask())
    assert shown.status_code == 200
    assert first.number in shown.text
    assert second.number in shown.text
    assert "his.example.org" in shown.headers["content-security-policy"]
    told = answered(nurse, shown, first.number)
    assert told["iss"] == story.base_url
    assert told["from"] == "broker"
    answer = app.exchange(told["code"])
    assert answer.status_code == 200, answer.text
    token = answer.json()
    assert token["scope"].endswith(f"application:{first.number}")
    assert all(part.startswith(("user/", "application:")) for part in token["scope"].split())
    assert token["expires_in"] <= 300
    assert "refresh_token" not in token
    assert app.fetch(token["access_token"], "/fhir/Patient/p1001/$everything").status_code == 200
    assert app.fetch(token["access_token"], "/fhir/Patient/p1004/$everything").status_code == 403


def test_a_client_that_we_did_not_write_goes_the_same_way(story, agreed, nurse):
    key, endpoint, verifier = story.cast.keys["shengli-his"], f"{story.base_url}/oauth2/token", secrets.token_urlsafe(48)
    with OAuth2Client(
        "shengli-his", key, token_endpoint_auth_method="private_key_jwt", redirect_uri=BACK, code_challenge_method="S256", timeout=60,
        scope=f"user/Observation.rs application:{agreed[0].number}",
    ) as client:  # fmt: skip
        client.register_client_auth_method(PerRequestPrivateKeyJWT(endpoint, key.get("alg"), key.get("kid")))
        address, state = client.create_authorization_url(f"{story.base_url}/oauth2/authorize", code_verifier=verifier)
        led = nurse.get(address.removeprefix(story.base_url))
        shown = nurse.get(led.headers["location"])
        assert agreed[1].number not in shown.text
        sent = nurse.post("/console/authorize", fields(shown.text) | {"application": agreed[0].number, "answer": "yes"})
        token = client.fetch_token(endpoint, authorization_response=sent.headers["location"], state=state, code_verifier=verifier)
        assert token["scope"] == f"user/Observation.rs application:{agreed[0].number}"
        assert client.get(f"{story.base_url}/fhir/Observation?patient=p1001").status_code == 200
        assert client.get(f"{story.base_url}/fhir/Condition?patient=p1001").status_code == 403


def test_no_is_told_to_the_system_and_is_on_record(story, agreed, nurse):
    app = App(story)
    told = answered(nurse, page(nurse, app.ask()), agreed[0].number, "no")
    assert (told["error"], told["state"], told["iss"]) == ("access_denied", app.state, story.base_url)
    assert "code" not in told


def test_whoever_is_not_signed_in_signs_in_first_and_comes_back(story, agreed, browser):
    app = App(story)
    led = page(browser, app.ask())
    assert led.status_code == 303
    login = browser.get(led.headers["location"])
    onward = unescape(re.findall(r'name="next" value="([^"]+)"', login.text)[-1])
    entered = browser.post("/console/login", {"username": "gao.min", "password": story.cast.passwords["gao.min"], "next": onward})
    assert browser.get(entered.headers["location"]).status_code == 200
    assert agreed[0].number in browser.get(entered.headers["location"]).text


#: What the system is told, since the address is its own.
TOLD = {
    "no PKCE": ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    "plain PKCE": ({"code_challenge_method": "plain"}, "invalid_request"),
    "no method": ({"code_challenge_method": None}, "invalid_request"),
    "short challenge": ({"code_challenge": "abc"}, "invalid_request"),
    "token in the address": ({"response_type": "token"}, "unsupported_response_type"),
    "code and token": ({"response_type": "code id_token"}, "unsupported_response_type"),
    "a form instead of the address": ({"response_mode": "form_post"}, "invalid_request"),
    "a request object": ({"request": "eyJ"}, "invalid_request"),
    "another server": ({"aud": "https://elsewhere.example/fhir"}, "invalid_request"),
    "no scope": ({"scope": None}, "invalid_scope"),
    "a system's scope": ({"scope": "system/*.rs"}, "invalid_scope"),
    "a patient's scope": ({"scope": "patient/*.rs"}, "invalid_scope"),
    "an application that never was": ({"scope": "user/*.rs application:SA-2026-999999"}, "invalid_scope"),
    "openid": ({"scope": "openid user/*.rs"}, "invalid_scope"),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_cannot_be_asked_is_told_to_the_system(story, agreed, nurse, name):
    changes, error = TOLD[name]
    app = App(story)
    led = page(nurse, app.ask(**changes))
    assert led.status_code == 303, led.text[:300]
    told = {key: values[0] for key, values in parse_qs(urlsplit(led.headers["location"]).query).items()}
    assert led.headers["location"].startswith(BACK)
    assert (told["error"], told["state"], told["iss"]) == (error, app.state, story.base_url)


#: Where nobody may be led, whatever else is right.
NOWHERE = {
    "another's address": {"redirect_uri": "https://evil.example/back"},
    "a longer path": {"redirect_uri": BACK + "/more"},
    "another port": {"redirect_uri": "http://127.0.0.1:8898/back"},
    "no address": {"redirect_uri": None},
    "a script": {"redirect_uri": "javascript:alert(1)"},
    "a system that has none": {"client_id": "renhe-finance-system"},
    "nobody's system": {"client_id": "nobody"},
    "no system": {"client_id": None},
    "another's address and a wrong type": {"redirect_uri": "https://evil.example/back", "response_type": "token"},
}


@pytest.mark.parametrize("name", NOWHERE)
def test_nobody_is_led_to_an_address_that_is_not_the_systems_own(story, agreed, nurse, name):
    shown = page(nurse, App(story).ask(**NOWHERE[name]))
    assert shown.status_code == 400
    assert "location" not in shown.headers
    assert "evil.example" not in shown.headers["content-security-policy"]
    assert not re.search(r'(href|action)="https://evil', shown.text)


def test_a_parameter_that_stands_twice_is_no_request(story, agreed, nurse):
    query = urlencode(App(story).ask()) + "&redirect_uri=https%3A%2F%2Fevil.example"
    led = nurse.get(f"/oauth2/authorize?{query}")
    assert nurse.get(led.headers["location"]).status_code == 400
    assert nurse.get("/oauth2/authorize").status_code == 400
    assert nurse.get(f"/oauth2/authorize?state={'x' * 2000}").status_code == 400


def test_nobody_agrees_for_another_and_no_page_of_another_site_agrees_for_them(story, agreed, nurse):
    app = App(story)
    shown = page(nurse, app.ask())
    given = fields(shown.text) | {"application": agreed[0].number, "answer": "yes"}
    assert nurse.post("/console/authorize", given, site="cross-site").status_code == 403
    assert nurse.post("/console/authorize", given, token="x").status_code == 403
    # Not what was shown, but what is true is what counts: fields that were changed on the way are judged anew.
    for changed in ({"redirect_uri": "https://evil.example/"}, {"application": "SA-2026-000099"}, {"application": ""}, {"client_id": "nobody"}):
        answer = nurse.post("/console/authorize", given | changed)
        assert answer.status_code == 400, changed
        assert "location" not in answer.headers
    with httpx2.Client(base_url=story.base_url, timeout=60) as http:
        head = Browser(http, story).sign_in("song.yi")
        led = page(head, app.ask(scope=f"user/*.rs application:{agreed[0].number}"))  # Somebody else's.
        assert parse_qs(urlsplit(led.headers["location"]).query)["error"] == ["invalid_scope"]
    with httpx2.Client(base_url=story.base_url, timeout=60) as http:
        assert page(Browser(http, story).sign_in("deng.li"), app.ask()).status_code == 403


WRONG = {
    "another verifier": {"code_verifier": "y" * 64},
    "no verifier": {"code_verifier": None},
    "another address": {"redirect_uri": OTHER},
    "no address": {"redirect_uri": None},
    "another code": {"code": "z" * 48},
    "no code": {"code": None},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_code_gets_nothing_without_all_that_it_is_bound_to(story, agreed, nurse, name):
    app = App(story)
    code = code_of(nurse, app, agreed[0].number)
    answer = app.exchange(WRONG[name].get("code", code), **{key: value for key, value in WRONG[name].items() if key != "code"})
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_grant", "invalid_request")
    assert "access_token" not in answer.text


def test_a_code_of_one_system_is_nothing_to_another(story, agreed, nurse):
    app = App(story)
    code = code_of(nurse, app, agreed[0].number)
    assert app.exchange(code, client="renhe-finance-system").json()["error"] in ("unauthorized_client", "invalid_grant")
    assert app.exchange(code).status_code == 200


def test_a_code_is_good_once_and_a_second_use_takes_the_token_back(story, agreed, nurse):
    app = App(story)
    code = code_of(nurse, app, agreed[0].number)
    token = app.exchange(code).json()["access_token"]
    assert app.fetch(token, "/fhir/Patient/p1001").status_code == 200
    again = app.exchange(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert app.fetch(token, "/fhir/Patient/p1001").status_code == 401


def test_a_code_runs_out_after_a_minute(story, agreed, nurse, monkeypatch):
    from broker.identity import code_store

    app = App(story)
    code = code_of(nurse, app, agreed[0].number)
    then = clock.now()
    monkeypatch.setattr(code_store.clock, "now", lambda: then + code_store.LASTS)
    assert app.exchange(code).json()["error"] == "invalid_grant"


def test_what_ended_since_ends_the_code_and_the_token(story, agreed, nurse):
    """The person's account, or the grant: asked when the code is shown, and at every fetch."""
    app = App(story)
    code = code_of(nurse, app, agreed[1].number)
    token = app.exchange(code).json()["access_token"]
    waiting = App(story)
    unused = code_of(nurse, waiting, agreed[1].number)
    assert app.fetch(token, "/fhir/Patient/p1004").status_code == 200
    people = story.person("administrator").call("GET", "/api/v1/people").json()
    who = next(one["id"] for one in people if one["username"] == "gao.min")
    story.person("administrator").call("PATCH", f"/api/v1/people/{who}", body={"status": "suspended"})
    try:
        assert app.fetch(token, "/fhir/Patient/p1004").status_code == 401
        assert waiting.exchange(unused).json()["error"] == "invalid_grant"
    finally:
        story.person("administrator").call("PATCH", f"/api/v1/people/{who}", body={"status": "active"})


@pytest.mark.parametrize(
    "address",
    ["http://his.example.org/back", "https://his.example.org/#x", "https://*.example.org/", "javascript:alert(1)", "/back", "https://u:p@his.example.org/",
     "https://his.example.org/ x", "http://127.0.0.1/", "x" * 501, ""],
)  # fmt: skip
def test_only_an_address_that_is_safe_to_send_people_to_is_registered(story, address):
    answer = story.person("administrator").http.patch(
        "/api/v1/clients/renhe-finance-system", json={"redirect_uris": [address]}, auth=("peng.bo", story.cast.passwords["peng.bo"])
    )
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
