"""One exchange through every desk: a nurse applies, the head endorses, the information manager decides, the nurse reports back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import clock
from broker.demo.story import TREATMENT
from tests.browser.conftest import at, sign_in

pytestmark = pytest.mark.browser


def fill_in(page, patient, days=60):
    page.select_option("#f-purpose", "TREAT")
    page.select_option("#f-lawful_basis", "consent")
    page.fill("#f-justification", "转诊后复诊，需了解既往诊断、用药与检验结果。")
    page.fill("#pv1", patient.identifier["value"])
    page.fill("#pn1", patient.name)
    page.fill("#pb1", patient.birth_date)
    for one in TREATMENT:
        page.check(f'input[value="{one["data_class"]}"]')
    page.fill("#f-valid_until", (clock.today() + timedelta(days=days)).isoformat())
    page.fill("#f-retention_days", "30")


@pytest.mark.parametrize(("language", "scripts"), [("zh", True), ("en", True), ("zh", False)])
def test_from_a_wish_to_feedback(chromium, lived_in, language, scripts):
    story, base = lived_in, lived_in.base_url
    story.file_consent("p1004", "shengli")
    with at(chromium, base, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.look("applications")
        desk.press(".head a.button")
        fill_in(page, story.cast.patients["p1004"])
        desk.press("button[name=save]")
        assert page.locator(".stay .badge").first.inner_text() == {"zh": "策略允许", "en": "Policy permits"}[language]
        assert page.locator(".stay .cuts dt").count() > 0
        desk.look("apply")
        desk.press("button[name=submit]")
        number = page.url.rsplit("/", 1)[1].partition("?")[0]
        assert number.startswith("SA-")
        desk.look("exchange-submitted")
    with at(chromium, base, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "song.yi")
        desk.look("endorse")
        desk.press(f"a[href*='{number}']")
        desk.look("exchange-endorsing")
        desk.press("button[value=endorse]")
        assert page.locator("[role=status]").count() == 1
    with at(chromium, base, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.look("decide-list")
        desk.press(f"a[href*='{number}']")
        assert page.locator(".kind").count() > 3
        desk.look("decide")
        for kind in page.locator(".kind > summary").all()[:2]:
            kind.click()
        desk.look("decide-open")
        page.locator("details summary", has_text={"zh": "部分批准", "en": "Approve a part"}[language]).click()
        page.uncheck("input[name=keep_data][value='4']")
        desk.press("button[value=narrow]")
        assert page.locator("[role=alert]").count() == 1
        desk.look("decide-without-reason", picture=False)
        page.locator("details summary", has_text={"zh": "部分批准", "en": "Approve a part"}[language]).click()
        page.uncheck("input[name=keep_data][value='4']")
        page.fill("#f-reason", "就诊记录非复诊所必需。")
        desk.press("button[value=narrow]")
        assert page.locator("[role=status]").count() == 1
        desk.open("/console/exchanges")
        desk.look("exchanges")
    system = story.system("shengli-his")
    token = system.token(number)
    assert system.fetch("POST", "/releases", token["access_token"], {"application": number, "patient": "p1004"}).status_code == 200
    with at(chromium, base, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.open(f"/console/applications/{number}")
        page.select_option("#f-purpose_met", "yes")
        page.fill("#f-examinations_avoided", "2")
        page.fill("#f-comment", "免做糖化血红蛋白。")
        desk.press("#feedback form button")
        assert page.locator("[role=status]").count() == 1
        assert "免做糖化血红蛋白。" in page.inner_text("#feedback")
        desk.look("exchange")


@pytest.mark.parametrize("path", ["/console/applications", "/console/applications/new"])
def test_on_a_phone(chromium, lived_in, path):
    with at(chromium, lived_in.base_url, "zh", phone=True) as desk:
        sign_in(desk, lived_in, "gao.min")
        desk.open(path)
        desk.look(path.removeprefix("/console/").replace("/", "-"))


def test_a_head_accepts_terms_and_what_waited_for_them_begins_to_live(chromium, lived_in):
    story = lived_in
    manager = story.person("information_manager")
    words = {
        "title_zh": "数据使用条款",
        "title_en": "Terms of use",
        "text_zh": "用后删除，不得转交。",
        "text_en": "Delete after use and pass nothing on.",
    }
    manager.call("POST", "/api/v1/agreements/terms", expected=201, body={"organization": "shengli-cardiology", **words})
    for language in ("zh", "en"):
        with at(chromium, story.base_url, language) as desk:
            page = sign_in(desk, story, "song.yi")
            desk.open("/console/terms")
            desk.look("terms")
            if language == "en":
                desk.press("form.act button")
                assert page.locator("[role=status]").count() == 1
                assert page.locator("form.act").count() == 0
