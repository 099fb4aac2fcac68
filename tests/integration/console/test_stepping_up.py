"""Dangerous acts ask again who one is, at the API and at the console; what is read does not (RFC 9470; issues 7 and 8)."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import unquote

import httpx2
import pytest

from broker import clock
from broker.identity import service as identity
from tests.live import hospital

NOBODY = "00000000-0000-4000-8000-000000000000"
PATIENT = {"system": "https://example.org/id", "value": "1", "name": "x", "birthDate": "1990-01-01"}
DANGEROUS = [
    ("deng.li", "POST", "/api/v1/containments", {"targets": [{"kind": "client", "id": "shengli-his"}], "reason": "x"}),
    ("deng.li", "POST", "/api/v1/incidents/IN-2026-000001/ask-to-lift", {"text": "x"}),
    ("deng.li", "POST", "/api/v1/incidents/IN-2026-000001/lift", {"text": "x"}),
    ("deng.li", "POST", "/api/v1/violations/VC-2026-000001/decide", {"agree": True}),
    ("deng.li", "PUT", "/api/v1/clients/shengli-his/keys", {}),
    ("deng.li", "POST", "/api/v1/destruction-orders", {}),
    ("deng.li", "POST", f"/api/v1/policies/{'0' * 64}/approve", {}),
    ("peng.bo", "POST", "/api/v1/people", {}),
    ("peng.bo", "PUT", f"/api/v1/people/{NOBODY}/roles", {}),
    ("peng.bo", "POST", f"/api/v1/people/{NOBODY}/password-link", None),
    ("peng.bo", "POST", f"/api/v1/people/{NOBODY}/factor-reset", None),
    ("peng.bo", "POST", "/api/v1/me/factors", {"name": "x"}),
]


@pytest.fixture(scope="module")
def story(module_database_url, tmp_path_factory):
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), step_up_minutes=10, emergency_second_factor=True) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(story):
    """Sessions that began a quarter of an hour ago."""
    with story.installation.database.transaction() as session, pytest.MonkeyPatch.context() as patch:
        at = clock.now() - timedelta(minutes=15)
        patch.setattr(clock, "now", lambda: at)
        people = {row.username: row.id for row in identity.people(session)}
        return {name: identity.open_session(session, identity.caller_for(session, people[name])).secret for name in ("deng.li", "peng.bo", "gao.min")}


def call(story, token, method, path, body):
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}
    return httpx2.request(method, story.base_url + path, headers=headers, json=body, timeout=60)


@pytest.mark.parametrize(("who", "method", "path", "body"), DANGEROUS, ids=lambda one: one if isinstance(one, str) and "/" in one else "")
def test_a_dangerous_act_asks_again_before_it_looks_at_anything(story, tokens, who, method, path, body):
    answer = call(story, tokens[who], method, path, body)
    assert (answer.status_code, answer.json()["code"]) == (401, "step-up-required"), answer.text
    assert "insufficient_user_authentication" in answer.headers["www-authenticate"]
    assert "/api/v1/session/second-factor" in answer.json()["help"]


def test_reading_asks_nothing(story, tokens):
    for path in ("/api/v1/clients", "/api/v1/incidents", "/api/v1/policies", "/api/v1/me"):
        assert call(story, tokens["deng.li"], "GET", path, None).status_code == 200


def test_breaking_the_glass_asks_for_a_second_factor_where_the_hospital_wants_one(story, tokens):
    body = {"recipient": "shengli-cardiology", "patient": PATIENT, "reason": "x"}
    answer = call(story, tokens["gao.min"], "POST", "/api/v1/emergencies", body)
    assert (answer.status_code, answer.json()["code"]) == (403, "second-factor-missing")


def test_the_console_leads_to_the_proof_and_back_to_the_page(story, tokens):
    with httpx2.Client(base_url=story.base_url, timeout=60, headers={"Accept-Language": "en"}) as browser:
        browser.cookies.set("broker", tokens["deng.li"])
        page = browser.get("/console/clients/shengli-his")
        csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        fields = {"csrf": csrf, "name": "changed", "status": "active"}
        answer = browser.post("/console/clients/shengli-his", data=fields, headers={"Sec-Fetch-Site": "same-origin"})
        assert (answer.status_code, unquote(answer.headers["location"])) == (303, "/console/second-factor?next=/console/clients/shengli-his")
        assert "changed" not in browser.get("/console/clients/shengli-his").text
        proof = {"csrf": csrf, "password": story.cast.passwords["deng.li"], "next": "/console/clients/shengli-his"}
        answer = browser.post("/console/second-factor", data=proof, headers={"Sec-Fetch-Site": "same-origin"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/clients/shengli-his")
        # Another secret, and so another token for its forms.
        page = browser.get("/console/clients/shengli-his")
        assert csrf not in page.text
        fields["csrf"] = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        assert browser.post("/console/clients/shengli-his", data=fields, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
        assert "changed" in browser.get("/console/clients/shengli-his").text


@pytest.mark.parametrize(
    ("path", "step"),
    [("/console/incidents", "contain"), ("/console/incidents/IN-2026-000001", "lift"), ("/console/violations/VC-2026-000001", "agree")],
)
def test_freezing_letting_go_and_sanctions_ask_again_at_the_console_too(story, tokens, path, step):
    with httpx2.Client(base_url=story.base_url, timeout=60) as browser:
        # Cookies of a session that began long ago; the test before this one changed the other's secret.
        browser.cookies.set("broker", tokens["peng.bo"])
        csrf = browser.get("/console/account").text.partition('name="csrf" value="')[2].partition('"')[0]
        answer = browser.post(path, data={"csrf": csrf, "step": step, "text": "x"}, headers={"Sec-Fetch-Site": "same-origin"})
        assert (answer.status_code, unquote(answer.headers["location"])) == (303, f"/console/second-factor?next={path}")


def test_a_proof_is_taken_from_our_own_page_alone(story, tokens):
    """A form of another site neither proves nor signs in nor ends a session (CSRF)."""
    with httpx2.Client(base_url=story.base_url, timeout=60) as browser:
        browser.cookies.set("broker", tokens["peng.bo"])
        page = browser.get("/console/account").text
        csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
        security = [f"/console/account/security/{name}" for name in ("app", "codes", "remove", "key")]
        others = ["/console/second-factor", "/console/account/sessions", "/console/account/password", f"/console/people/{NOBODY}/security"]
        for path in (*security, *others):
            for fields, site in (
                ({"csrf": csrf}, "cross-site"),
                ({"csrf": csrf}, "same-site"),
                ({"csrf": "x"}, "same-origin"),
                ({"x": "y"}, "same-origin"),
            ):
                answer = browser.post(path, data=fields, headers={"Sec-Fetch-Site": site})
                assert answer.status_code == 403, (path, site)
        for path in ("/console/login", "/console/login/key", "/console/password/x"):
            answer = browser.post(path, data={"username": "x", "password": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
            assert answer.status_code == 403
