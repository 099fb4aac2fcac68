"""A patient is asked at the desk: the notice first, a separate consent ticked with them, a witness; then the consent is in force."""

from __future__ import annotations

import pytest

from tests.browser.conftest import at

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("language", "patient"), [("zh", "p1005"), ("en", "p1007")])
def test_a_consent_is_taken_with_notice_and_witness(chromium, story, language, patient):
    with at(chromium, story.base_url, language) as desk:
        page = desk.sign_in("deng.li", story.cast.passwords["deng.li"])
        desk.open("/console/consent")
        desk.look("asking")
        page.fill("#f-number", story.cast.patients[patient].identifier["value"])
        page.select_option("#f-recipient", "shengli")
        page.select_option("#f-purpose", "TREAT")
        assert all("-" not in one for one in page.locator("#f-notice option").all_inner_texts()), "titles, not identifiers"
        page.select_option("#f-notice", value="share-with-hospital|1")
        page.check("input[value='clinical.laboratory']")
        desk.press("form.act button")
        assert story.cast.hospital["organizations"][17]["name"][language] in page.inner_text("article")
        desk.look("asking-notice")
        desk.press("button[value=yes]")
        assert page.locator("[role=alert] li").count() >= 3, "two separate consents and the proof are missing"
        for box in page.locator("input[name=separate]").all():
            box.check()
        page.fill("#f-witness", "周宁 N1234")
        desk.press("button[value=yes]")
        assert page.locator("[role=status]").count() == 1, page.inner_text("main")[:600]
    number = story.apply("gao.min", "shengli-cardiology", patient, "TREAT", "consent", [{"data_class": "clinical.laboratory"}])["number"]
    story.decide(number, "song.yi", "deng.li")
    token = story.system("shengli-his").token(number)["access_token"]
    released = story.system("shengli-his").fetch("POST", "/releases", token, {"application": number, "patient": patient})
    assert released.status_code == 200
