"""The hospital's own login at the console: who gets in by it, and every lie that lets nobody in (OIDC Core 3.1.3.7, RFC 9207, RFC 9700)."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pyotp
import pytest
import sqlalchemy as sa

from broker.identity import service as identity
from broker.identity import sso, sso_accounts
from broker.settings import Settings
from tests.factories import identity as make
from tests.fakes.openid_provider import openid_provider
from tests.live import hospital

MAPPING = {
    "claim": "realm_access.roles",
    "values": {
        "nurse": [{"role": "applicant", "organization": "shengli-cardiology"}],
        "boss": [{"role": "administrator", "organization": "renhe"}],
        "watcher": [{"role": "auditor", "organization": "renhe"}],
        "outside-boss": [{"role": "administrator", "organization": "shengli-cardiology"}],
    },
}


@pytest.fixture(scope="module")
def provider():
    with openid_provider() as running:
        yield running


@pytest.fixture(scope="module")
def story(module_database_url, tmp_path_factory, provider):
    settings = {"sso_issuer": provider.issuer, "sso_client_id": "broker", "sso_second_factor": "mfa", "second_factor_roles": "auditor"}
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), **settings) as running:
        with running.installation.database.transaction() as session:
            people = {row.username: row.id for row in identity.people(session)}
            administrator = identity.caller_for(session, people["peng.bo"])
            for name in ("gao.min", "cao.yan", "lu.xin"):
                identity.link(session, administrator, people[name], provider.issuer, f"subject-of-{name}")
        running.people = people
        yield running


@pytest.fixture
def honest(provider) -> Iterator[None]:
    """The provider, honest again after each lie."""
    yield provider
    provider.metadata, provider.claims, provider.header = {}, {}, {}
    provider.published = [provider.key]


@pytest.fixture
def browser(story) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=story.base_url, timeout=60, headers={"Accept-Language": "en"}) as http:
        yield http


def leave(browser, onward=""):
    answer = browser.get("/console/sso", params={"next": onward} if onward else None)
    assert answer.status_code == 303, answer.text[:300]
    return answer.headers["location"]


def come_back(browser, provider, subject="subject-of-gao.min", *, onward="", **answer):
    return browser.get("/console/sso/callback", params=provider.enters(leave(browser, onward), subject, **answer))


def is_in(browser):
    return browser.get("/console/account").status_code == 200


def refused(browser, answer, said="did not let you in"):
    assert answer.status_code in (403, 503), answer.status_code
    assert said in answer.text
    assert not is_in(browser)
    return True


def events(story, kind):
    with story.installation.database.transaction() as session:
        return [
            json.loads(leaf)["facts"]
            for leaf in session.execute(sa.text("SELECT leaf FROM audit_event WHERE type = :k ORDER BY seq"), {"k": kind}).scalars()
        ]


def test_the_browser_is_sent_with_a_challenge_and_never_sees_the_verifier(browser, provider):
    url = leave(browser)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{provider.issuer}/authorize?")
    assert (asked["response_type"], asked["scope"], asked["code_challenge_method"]) == ("code", "openid", "S256")
    assert asked["redirect_uri"].endswith("/console/sso/callback")
    assert len(asked["state"]) >= 43
    assert asked["nonce"] != asked["state"] != asked["code_challenge"]


def test_who_is_linked_gets_in_and_goes_where_they_wanted(browser, provider, story):
    answer = come_back(browser, provider, onward="/console/inbox")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/inbox")
    cookie = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("broker="))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert is_in(browser)
    assert {"method": "sso", "second_factor": False} in events(story, "session.opened")


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example", "/console/\\evil.example", "/elsewhere", "javascript:alert(1)"])
def test_nobody_is_led_elsewhere_afterwards(browser, provider, onward):
    answer = come_back(browser, provider, onward=onward)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/console/")
    assert "evil" not in answer.headers["location"]


def test_an_e_mail_or_a_name_links_nothing(browser, provider, honest, story):
    provider.claims = {"email": "gao.min@hospital.example", "email_verified": True, "preferred_username": "gao.min"}
    refused(browser, come_back(browser, provider, "somebody-new"), "no account here is linked")
    assert events(story, "login.failed")[-1] == {"method": "sso", "reason": "unlinked"}


LIES = [
    {"iss": "https://evil.example"},
    {"iss": None},
    {"aud": "another-client"},
    {"aud": ["broker", "another-client"]},
    {"azp": "another-client"},
    {"nonce": "another"},
    {"nonce": None},
    {"exp": 1_600_000_000},
    {"exp": None},
    {"iat": 4_000_000_000},
    {"iat": None},
    {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    {"sub": None},
    {"sub": ""},
    {"sub": {"a": 1}},
    {"amr": "mfa"},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_token_that_is_not_for_this_login_lets_nobody_in(browser, provider, honest, lie):
    provider.claims = lie
    refused(browser, come_back(browser, provider))


@pytest.mark.parametrize("header", [{"alg": "none"}, {"kid": "unknown"}, {"alg": "HS256"}], ids=str)
def test_a_token_that_the_issuer_did_not_sign_lets_nobody_in(browser, provider, honest, header, monkeypatch):
    provider.header = header
    if header.get("alg") == "HS256":
        # Signed with the published key's own text as a shared secret: the old confusion of two kinds of keys.
        def confused(self, claims):
            parts = (json.dumps({"alg": "HS256", "kid": self.key.kid}), json.dumps(claims))
            signed = ".".join(make.b64(part.encode()) for part in parts)
            return f"{signed}.{make.b64(hmac.digest(self.key.as_pem(private=False), signed.encode(), 'sha256'))}"

        monkeypatch.setattr(type(provider), "signed", confused)
    refused(browser, come_back(browser, provider))


def test_a_stranger_s_key_lets_nobody_in_and_a_new_key_of_the_issuer_s_does(browser, provider, honest, monkeypatch):
    monkeypatch.setattr(sso, "KEY_PAUSE", 0.0)
    right, stranger = provider.key, type(provider)()
    provider.key = stranger.key  # Signs, and is not published.
    refused(browser, come_back(browser, provider))
    provider.key = right
    provider.rotate()
    assert come_back(browser, provider).status_code == 303
    assert is_in(browser)


def test_keys_are_not_asked_for_anew_by_every_token_that_names_an_unknown_one(browser, provider, honest, monkeypatch):
    monkeypatch.setattr(sso, "KEY_PAUSE", 3600.0)
    come_back(browser, provider)
    before = provider.asked.count("/jwks")
    provider.header = {"kid": "unknown"}
    for _ in range(3):
        come_back(browser, provider)
    assert provider.asked.count("/jwks") == before


def test_the_answer_of_another_issuer_is_none(browser, provider, honest):
    """Mix-up (RFC 9207): the answer says who it is from, and a provider that says so always says so."""
    before = provider.asked.count("/token")
    for issuer in ("https://evil.example", None, "", provider.issuer + "/"):
        refused(browser, come_back(browser, provider, iss=issuer))
    assert provider.asked.count("/token") == before  # The code went nowhere.


def test_state_is_of_this_browser_good_once_and_not_for_long(browser, provider, story, honest):
    url = leave(browser)
    answer = provider.enters(url, "subject-of-gao.min")
    with httpx2.Client(base_url=story.base_url, timeout=60, headers={"Accept-Language": "en"}) as victim:
        # Login CSRF: an attacker's answer in somebody else's browser, without and with a way of their own begun.
        refused(victim, victim.get("/console/sso/callback", params=answer))
        leave(victim)
        refused(victim, victim.get("/console/sso/callback", params=answer))
    assert browser.get("/console/sso/callback", params=answer).status_code == 303
    assert is_in(browser)
    browser.cookies.clear()
    refused(browser, browser.get("/console/sso/callback", params=answer))
    with story.installation.database.transaction() as session:
        pending = leave(browser)
        session.execute(sa.text("UPDATE sso_attempt SET expires_at = now() - interval '1 second'"))
    refused(browser, browser.get("/console/sso/callback", params=provider.enters(pending, "subject-of-gao.min")))


@pytest.mark.parametrize(
    "query", ["", "state=x", "code=x", "state=x&state=y&code=z", "state=%00&code=%00", "error=access_denied", "state=" + "x" * 5000]
)
def test_an_answer_that_is_none_is_refused_kindly(browser, query):
    refused(browser, browser.get(f"/console/sso/callback?{query}"))


def test_the_provider_s_own_refusal_is_no_login(browser, provider):
    refused(browser, come_back(browser, provider, code=None, error="access_denied"))


def test_a_code_of_another_login_is_of_no_use(browser, provider):
    """Code injection: the code was given for another state, whose verifier is another."""
    other = provider.enters(leave(browser), "subject-of-gao.min")["code"]
    refused(browser, come_back(browser, provider, code=other))


def test_a_second_factor_counts_where_the_hospital_login_says_that_it_saw_one(browser, provider, honest, story):
    answer = come_back(browser, provider, "subject-of-cao.yan")
    assert answer.status_code == 303
    assert browser.get("/console/events").headers["location"] == "/console/account/security"  # An auditor without one.
    browser.cookies.clear()
    provider.claims = {"amr": ["pwd", "mfa"]}
    come_back(browser, provider, "subject-of-cao.yan")
    assert browser.get("/console/events").status_code == 200


def test_a_factor_that_was_added_here_is_asked_for_here_whatever_the_hospital_login_saw(browser, provider, honest, story):
    """Whoever may link accounts, or rules the provider, does not get past somebody's own factor."""
    database, keys = story.installation.database, story.installation.keys
    with database.transaction() as session:
        caller = identity.caller_for(session, story.people["lu.xin"])
        new = identity.add_totp(session, keys, caller, name="Telephone", issuer="renhe")
    identity.confirm_totp(database, keys, caller, new.id, pyotp.parse_uri(new.uri).now())
    provider.claims = {"amr": ["mfa"]}
    come_back(browser, provider, "subject-of-lu.xin")
    assert browser.get("/console/inbox").headers["location"].startswith("/console/second-factor")
    with database.transaction() as session:
        identity.remove_factor(session, caller, new.id, needed=False)


def test_signing_out_at_the_hospital_signs_out_here(browser, provider, honest, story):
    come_back(browser, provider, "subject-of-lu.xin")
    assert is_in(browser)

    def told(token):
        return httpx2.post(f"{story.base_url}/oauth2/backchannel-logout", data={"logout_token": token}, timeout=60).status_code

    for lie in (
        {"iss": "https://evil.example"},
        {"aud": "other"},
        {"events": {}},
        {"events": None},
        {"nonce": "x"},
        {"jti": None},
        {"exp": 1},
        {"iat": None},
        {},
    ):
        named = {} if lie == {} else {"sid": "sid-subject-of-lu.xin"}
        assert told(provider.logout_token(**named, **lie)) == 400, lie
    assert told("") == told("x.y.z") == 400
    assert is_in(browser)
    assert told(provider.logout_token(sid="sid-of-somebody-else")) == 200
    assert is_in(browser)
    token = provider.logout_token(sid="sid-subject-of-lu.xin")
    assert told(token) == 200
    assert not is_in(browser)
    assert told(token) == 400  # Once.
    come_back(browser, provider, "subject-of-lu.xin")
    assert told(provider.logout_token(sub="subject-of-lu.xin")) == 200
    assert not is_in(browser)


def test_an_id_token_signs_nobody_out(browser, provider, story):
    come_back(browser, provider)
    url = leave(browser)
    about = {**{name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}, "subject": "subject-of-gao.min"}
    token = provider.id_token(about, "x")
    assert httpx2.post(f"{story.base_url}/oauth2/backchannel-logout", data={"logout_token": token}, timeout=60).status_code == 400
    assert is_in(browser)


def mapped(story, provider, name, **claims):
    mapping = sso_accounts.RoleMapping.model_validate(MAPPING)
    told = sso.Told(provider.issuer, f"subject-of-{name}", claims, "")
    with story.installation.database.transaction() as session:
        opened = sso_accounts.arrive(session, story.installation.settings, mapping, told, agent="")
        return opened if isinstance(opened, sso.SsoRefused) else sorted(role.value for role in opened.caller.roles)


def test_claims_give_roles_and_take_them_and_never_two_that_one_person_may_not_hold(story, provider):
    assert mapped(story, provider, "gao.min", realm_access={"roles": ["nurse", "unknown"]}) == ["applicant"]
    assert mapped(story, provider, "gao.min") == []
    assert mapped(story, provider, "gao.min", realm_access={"roles": "nurse"}) == ["applicant"]
    for wrong in (["boss", "watcher"], ["outside-boss"]):
        assert mapped(story, provider, "gao.min", realm_access={"roles": wrong}).reason == "roles"
    for odd in (5, [5, {"a": 1}], {"nurse": True}, None):
        assert mapped(story, provider, "gao.min", realm_access={"roles": odd}) == []
    mapped(story, provider, "gao.min", realm_access={"roles": ["nurse"]})


def test_a_mapping_that_can_t_be_read_stops_the_broker_and_gives_nobody_anything(tmp_path):
    file = tmp_path / "roles.json"
    for wrong in (
        "",
        "[]",
        '{"claim": "groups", "values": {"x": [{"role": "boss", "organization": "renhe"}]}}',
        '{"claim": "g", "values": {}, "more": 1}',
    ):
        file.write_text(wrong)
        with pytest.raises(ValueError, match="BROKER_SSO_ROLES"):
            sso_accounts.role_mapping(file)
    file.write_text(json.dumps(MAPPING))
    assert sso_accounts.role_mapping(file).claim == "realm_access.roles"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": 5},
        {"authorization_endpoint": "file:///etc/passwd"},
    ],
)
def test_a_provider_that_names_another_issuer_or_an_open_way_is_not_asked(provider, honest, metadata):
    provider.metadata = metadata
    with pytest.raises(sso.Unreachable):
        _ = sso.Provider(Settings(sso_issuer=provider.issuer, sso_client_id="broker")).metadata


def test_a_provider_that_is_away_lets_nobody_in_and_the_page_says_so(story):
    away = sso.Provider(Settings(sso_issuer="http://127.0.0.1:9", sso_client_id="broker"))
    assert sso.told(story.installation.keys, away, {"state": "x", "code": "y"}, "") == sso.SsoRefused("unreachable")


def test_nobody_links_their_own_account_and_a_subject_is_of_one(story, provider):
    with story.installation.database.transaction() as session:
        administrator = identity.caller_for(session, story.people["peng.bo"])
        with pytest.raises(Exception, match="own rights"):
            identity.link(session, administrator, story.people["peng.bo"], provider.issuer, "mine")
        with pytest.raises(Exception, match="linked already"):
            identity.link(session, administrator, story.people["song.yi"], provider.issuer, "subject-of-gao.min")
        for odd in ("", "x" * 256, "é", "a\nb"):
            with pytest.raises(Exception, match="not valid"):
                identity.link(session, administrator, story.people["song.yi"], provider.issuer, odd)


def test_the_login_page_offers_it_and_leads_on(browser):
    page = browser.get("/console/login?next=/console/inbox").text
    assert re.search(r'href="/console/sso\?next=/console/inbox"', page)
