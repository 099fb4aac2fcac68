"""Consents explained at the desk: what a recipient could see and why, who else, what a consent would change; withdrawals acknowledged."""

from __future__ import annotations

import json

import pytest

from broker import clock
from broker.demo.consents import revocation, sharing_consent
from tests.browser.conftest import at

pytestmark = pytest.mark.browser
PATIENT = "p1005"


@pytest.fixture(scope="module")
def shared(story):
    """A consent, and something sent under it."""
    consent = story.file_consent(PATIENT, "shengli", without=("PSY",))
    number = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", [{"data_class": "clinical.laboratory"}])["number"]
    story.decide(number, "song.yi", "deng.li")
    token = story.system("shengli-his").token(number)["access_token"]
    assert story.system("shengli-his").fetch("POST", "/releases", token, {"application": number, "patient": PATIENT}).status_code == 200
    return consent


def asked(page, story, recipient="shengli"):
    page.fill("#f-number", story.cast.patients[PATIENT].identifier["value"])
    page.select_option("#f-recipient", recipient)
    page.select_option("#f-purpose", "TREAT")


@pytest.mark.parametrize(("language", "phone"), [("zh", False), ("en", False), ("zh", True)])
def test_who_could_see_what_and_which_provision_says_so(chromium, story, shared, language, phone):
    with at(chromium, story.base_url, language, phone=phone, scripts=not phone) as desk:
        page = desk.sign_in("deng.li", story.cast.passwords["deng.li"])
        desk.open("/console/explain")
        desk.look("explain")
        asked(page, story)
        desk.press("button[value=see]")
        assert shared in page.inner_text("main")
        assert "Consent.provision" in page.inner_text("main")
        assert page.locator("tbody .badge.good").count() > 3
        desk.look("explain-seen")
        desk.press("tbody tr:has(.badge.good) button[name=resource]")
        good, every = page.locator("tbody tr .badge.good").count(), page.locator("tbody tr").count()
        assert 2 <= good < every, "the hospital with its departments, and nobody else"
        desk.look("explain-resource")
        refusal = sharing_consent(PATIENT, "shengli", at=clock.now())
        refusal["provision"] = {"type": "deny", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]}
        page.locator("form.act details summary").first.click()
        page.fill("#f-consent", json.dumps(refusal))
        desk.press("button[value=foresee]")
        assert page.locator("tbody tr .badge.bad").count() > 1
        desk.look("explain-foreseen")
        page.fill("#f-consent", "{")
        desk.press("button[value=foresee]")
        assert page.locator("[role=alert]").count() == 1
        desk.press("button[value=asked]")
        desk.look("explain-asked")


def test_a_withdrawal_is_acknowledged_by_whoever_received_data(chromium, story, shared):
    story.person("deng.li").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(shared, PATIENT))
    with at(chromium, story.base_url, "zh", phone=True) as desk:
        page = desk.sign_in("gao.min", story.cast.passwords["gao.min"])
        desk.open("/console/withdrawals")
        assert page.locator(".badge.waiting").count() == 1
        desk.look("withdrawals")
        desk.press("button[value=yes]")
        assert page.locator("[role=status]").count() == 1
        assert page.locator(".badge.good").count() == 1
    with at(chromium, story.base_url, "en") as desk:
        page = desk.sign_in("he.wenbo", story.cast.passwords["he.wenbo"])
        desk.open("/console/withdrawals")
        assert page.locator(".badge").count() == 0, "it is nobody else's to see"
        page = desk.sign_in("deng.li", story.cast.passwords["deng.li"])
        desk.open("/console/withdrawals")
        desk.look("withdrawals")
        assert shared in page.inner_text("main")
