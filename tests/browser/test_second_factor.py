"""Second factors in a real browser: an app without scripts, a key with Chromium's own virtual authenticator, and a password set by somebody else."""

from __future__ import annotations

import pyotp
import pytest

from broker import clock
from broker.identity import service as identity
from tests.browser.conftest import at
from tests.live import hospital

pytestmark = pytest.mark.browser

ROLES = "information_manager,auditor,administrator"


@pytest.fixture(scope="module")
def story(module_database_url, tmp_path_factory):
    """The hospital under a name, as keys ask for, and with second factors as a hospital has them."""
    folder = tmp_path_factory.mktemp("var")
    with hospital(module_database_url, folder, name="localhost", second_factor_roles=ROLES, step_up_minutes=120) as running:
        yield running


def password(desk, story, name, given=None):
    desk.open("/console/login")
    desk.page.fill("#username", name)
    desk.page.fill("#password", given or story.cast.passwords[name])
    return desk.press("main form button")


@pytest.mark.parametrize(("language", "phone", "who"), [("zh", False, "deng.li"), ("en", True, "cao.yan")])
def test_an_app_is_added_at_the_first_login_and_asked_for_from_then_on(chromium, story, language, phone, who):
    """Without scripts, as every page works."""
    with at(chromium, story.base_url, language, phone=phone) as desk:
        page = password(desk, story, who)
        assert page.url.endswith("/console/account/security")
        desk.look("second-factor-first")
        assert page.locator(".menu").count() == 0
        desk.open("/console/people")
        assert page.url.endswith("/console/account/security")
        desk.press("form[action$='/security/app'] button")
        desk.look("second-factor-app")
        app = pyotp.TOTP(page.locator("main code").inner_text().replace(" ", ""))
        page.fill("#code", "000000" if app.now() != "000000" else "111111")
        desk.press("main form button")
        assert page.locator("[role=alert]").count() == 1
        page.fill("#code", app.at(clock.now()))
        desk.press("main form button")
        codes = page.locator(".codes code").all_inner_texts()
        assert len(set(codes)) == 10
        desk.look("second-factor-codes")
        desk.press("main a.button")
        assert page.locator(".menu").count() == 1
        desk.look("second-factor-account")
        desk.press(".tools form:last-child button")
    with at(chromium, story.base_url, language, phone=phone, scripts=False) as desk:
        page = password(desk, story, who)
        assert "/console/second-factor" in page.url
        desk.look("second-factor-asked")
        page.fill("#code", "000000")
        desk.press("main form button")
        assert page.locator("[role=alert]").count() == 1
        page.fill("#code", codes[0])
        desk.press("main form button")
        assert "/console/second-factor" not in page.url
        desk.open("/console/account/security")
        assert page.locator(".badge.good").count() == 1


def test_a_key_in_chromium_s_own_authenticator_adds_opens_and_proves_and_its_copy_does_not(chromium, story):
    with at(chromium, story.base_url, "zh") as desk:
        page = password(desk, story, "lu.xin")
        line = page.context.new_cdp_session(page)
        line.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}
        key = line.send("WebAuthn.addVirtualAuthenticator", {"options": {**options, "automaticPresenceSimulation": True}})["authenticatorId"]
        desk.open("/console/account/security")
        desk.look("keys-none")
        desk.press("form[data-making] button")
        assert page.locator(".codes code").count() == 10
        desk.open("/console/account/security")
        desk.look("keys-one")
        desk.press(".tools form:last-child button")
        # The whole login: two factors in one.
        desk.open("/console/login?next=/console/inbox")
        desk.look("login-with-passkey")
        desk.press("form[data-key] button")
        assert page.url.endswith("/console/inbox")
        desk.press(".tools form:last-child button")
        # After the password, as the second factor.
        password(desk, story, "lu.xin")
        assert "/console/second-factor" in page.url
        desk.look("second-factor-by-key")
        desk.press("form[data-key] button")
        assert "/console/second-factor" not in page.url
        desk.press(".tools form:last-child button")
        # Somebody copied the key when it was new: the copy's counter is behind.
        (credential,) = line.send("WebAuthn.getCredentials", {"authenticatorId": key})["credentials"]
        line.send("WebAuthn.removeCredential", {"authenticatorId": key, "credentialId": credential["credentialId"]})
        line.send("WebAuthn.addCredential", {"authenticatorId": key, "credential": {**credential, "signCount": 0}})
        desk.open("/console/login")
        desk.press("form[data-key] button")
        assert page.locator("[role=alert]").count() == 1
        assert "/console/login/key" in page.url


def test_a_link_from_the_administrator_lets_somebody_choose_a_password_once(chromium, story):
    with story.installation.database.transaction() as session:
        people = {row.username: row.id for row in identity.people(session)}
        administrator = identity.caller_for(session, people["peng.bo"])
        secret = identity.make_password_link(session, administrator, people["gao.min"]).secret
    with at(chromium, story.base_url, "zh") as desk:
        page = desk.open(f"/console/password/{secret}")
        desk.look("password-link")
        page.fill("#f-password", "nine wet herons walk")
        page.fill("#f-again", "nine wet herons")
        desk.press("main form button")
        assert page.locator("[role=alert]").count() == 1
        page.fill("#f-password", "nine wet herons walk")
        page.fill("#f-again", "nine wet herons walk")
        desk.press("main form button")
        password(desk, story, "gao.min", "nine wet herons walk")
        assert "/console/login" not in page.url
        desk.open(f"/console/password/{secret}")
        desk.look("password-link-spent")
        assert page.locator("main form").count() == 0


def test_a_password_that_somebody_else_set_is_changed_first(chromium, story):
    with story.installation.database.transaction() as session:
        people = {row.username: row.id for row in identity.people(session)}
        identity.set_password(session, "system", people["song.yi"], "seven wet herons walk", temporary=True)
    with at(chromium, story.base_url, "en") as desk:
        page = password(desk, story, "song.yi", "seven wet herons walk")
        desk.open("/console/endorse")
        assert page.url.endswith("/console/account")
        desk.look("password-first")
        for field, value in (("present", "seven wet herons walk"), ("password", "eight wet herons walk"), ("again", "eight wet herons walk")):
            page.fill(f"#f-{field}", value)
        desk.press("main form button")
        password(desk, story, "song.yi", "eight wet herons walk")
        desk.open("/console/endorse")
        assert page.url.endswith("/console/endorse")
