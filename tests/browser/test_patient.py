"""A patient with a code from the desk: who saw what and why, my consents, withdraw; and the very next fetch is refused."""

from __future__ import annotations

import pytest

from tests.browser.conftest import at

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("language", "patient", "phone"), [("zh", "p1001", True), ("en", "p1004", False)])
def test_a_patient_sees_who_received_what_and_withdraws(chromium, story, language, patient, phone):
    story.file_consent(patient, "shengli", without=("PSY",))
    number = story.apply("gao.min", "shengli-cardiology", patient, "TREAT", "consent", [{"data_class": "clinical.laboratory"}])["number"]
    story.decide(number, "song.yi", "deng.li")
    system = story.system("shengli-his")
    token = system.token(number)["access_token"]
    body = {"application": number, "patient": patient}
    assert system.fetch("POST", "/releases", token, body).status_code == 200
    theirs = story.cast.patients[patient].identifier["value"]
    with at(chromium, story.base_url, language) as desk:
        page = desk.sign_in("deng.li", story.cast.passwords["deng.li"])
        desk.open("/console/patient-code")
        page.fill("#f-number", "no such number")
        desk.press(".act button")
        assert page.locator("[role=alert]").count() == 1
        page.fill("#f-number", theirs)
        desk.press(".act button")
        code = page.inner_text(".code-text")
        desk.look("patient-code")
    with at(chromium, story.base_url, language, phone=phone) as desk:
        page = desk.open("/console/patient")
        desk.look("patient-login")
        page.fill("#number", theirs)
        page.fill("#code", "ABCD-2345")
        desk.press("main form button")
        assert page.locator("[role=alert]").count() == 1
        page.fill("#number", theirs)
        page.fill("#code", code.lower())
        desk.press("main form button")
        assert number in page.inner_text("main")
        desk.look("patient")
        paper = page.context.request.get(story.base_url + page.get_attribute(".head a", "href"))
        assert (paper.status, paper.headers["content-type"], paper.body()[:5]) == (200, "application/pdf", b"%PDF-")
        desk.open("/console/patient/consents")
        desk.look("patient-consents")
        page.locator("details.sure > summary").first.click()
        desk.press("button.danger")
        assert page.locator("[role=status]").count() == 1
        assert page.locator("button.danger").count() == 0
        assert system.fetch("POST", "/releases", token, body).status_code == 403
        desk.open("/console/patient/concerns")
        page.fill("#f-application", number)
        page.fill("#f-text", "请说明为何需要我的检验结果。")
        desk.press("main form button")
        assert page.locator("[role=status]").count() == 1
        desk.look("patient-concerns")
        concern = page.inner_text("article h2").split()[0]
        desk.press(".tools form:last-child button")
        desk.open("/console/patient/consents")
        assert page.url.endswith("/console/patient/login")
    with at(chromium, story.base_url, language) as desk:
        page = desk.sign_in("deng.li", story.cast.passwords["deng.li"])
        desk.open("/console/concerns")
        desk.look("concerns")
        desk.press(f"a[href$='{concern}']")
        desk.look("concern", picture=False)
        page.select_option("#f-verdict", "not-upheld")
        page.fill("#f-text", "用于您转诊后的复诊，依据是您签署的同意书。")
        desk.press("main form button")
        assert page.locator("[role=status]").count() == 1
