"""The review's workbench, registers, standing in, agreements, many at once, in Chromium; and with the keyboard alone (RS-7.1, PI-4)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import clock
from broker.console.reviewing import quarters
from tests.browser.conftest import at, sign_in

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("language", "quarter"), [("zh", 0), ("en", 1)])
def test_the_auditor_reviews_and_two_people_sign(chromium, lived_in, language, quarter):
    """In Chinese a quarter that goes on, in English one that is over and is signed, each from login to the end."""
    path = f"/console/reviews?quarter={quarters()[quarter]}"
    with at(chromium, lived_in.base_url, language) as desk:
        page = sign_in(desk, lived_in, "cao.yan")
        desk.open(path)
        page.fill("#f-text", "申请理由过于笼统，未说明为何不能更少。")
        desk.press("form[action$=findings] button")
        assert page.locator("[role=status]").count() == 1
        desk.press("form[action$='/access'] button")
        assert page.locator("#rights tbody tr").count() >= 1
    with at(chromium, lived_in.base_url, language) as desk:
        page = sign_in(desk, lived_in, "deng.li")
        desk.open(path)
        page.fill("#f-title", "修订申请理由填写范例")
        page.select_option("#f-owner", "song.yi")
        page.fill("#f-due_on", (clock.today() + timedelta(days=30)).isoformat())
        desk.press("form[action$=actions] button")
        desk.look("workbench")
        if quarter:
            desk.press("form[action$=signatures] button")
        else:
            assert page.locator("form[action$=signatures]").count() == 0
        desk.open(f"/console/access?quarter={quarters()[quarter]}")
        page.locator("tbody input[value=keep]").first.check()
        desk.press("main form.act button")
        assert page.locator("[role=status]").count() == 1
        desk.look("access")
    if quarter:
        with at(chromium, lived_in.base_url, language) as desk:
            page = sign_in(desk, lived_in, "cao.yan")
            desk.open(path)
            desk.press("form[action$=signatures] button")
            assert page.locator("form[action$=signatures]").count() == 0
            assert page.locator(".signature strong").count() == 2
            page.emulate_media(media="print")
            assert page.locator(".menu").is_hidden()
            desk.look("workbench-signed", picture=False)


@pytest.mark.parametrize(("language", "scripts"), [("zh", True), ("en", False)])
def test_the_personnel_departments_file_goes_into_the_register(chromium, lived_in, language, scripts):
    with at(chromium, lived_in.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, lived_in, "deng.li")
        desk.open("/console/training")
        lines = [
            "持有人,证书类别,证书编号,发证日期,有效期至",
            f"gao.min,信息共享培训,B-{language},2026/3/1,2028/2/28",
            "nobody,信息共享培训,B-0,2026-03-01,",
        ]
        for button in ("check", "import"):
            page.set_input_files("#f-file", {"name": "names.csv", "mimeType": "text/csv", "buffer": "\r\n".join(lines).encode("gb18030")})
            desk.press(f"button[name={button}]")
            assert page.locator("#outcome tbody tr").count() == 1
        desk.look("training")
        desk.open("/console/qualifications")
        desk.look("qualifications", picture=False)
    with at(chromium, lived_in.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, lived_in, "gao.min")
        desk.open("/console/credentials")
        assert f"B-{language}" in page.inner_text("main")
        desk.look("credentials")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_an_office_is_lent_and_messages_are_led_elsewhere(chromium, lived_in, language):
    with at(chromium, lived_in.base_url, language) as desk:
        page = sign_in(desk, lived_in, "deng.li")
        desk.open("/console/standing-in")
        page.select_option("#f-to", label=next(one for one in page.locator("#f-to option").all_text_contents() if "于芳" in one or "Yu" in one))
        page.fill("#f-until", (clock.today() + timedelta(days=5)).isoformat())
        desk.press("form[action='/console/standing-in'] button")
        assert page.locator("tbody tr").count() >= 1
        desk.look("standing-in")
        desk.open("/console/channels")
        page.fill("#f-address", "deng.li@renhe.example")
        desk.press("form.act[action='/console/channels'] button")
        desk.look("channels", picture=False)
        desk.press("form[action$=remove] button")
        desk.open("/console/agreements")
        desk.look("agreements", picture=False)
        desk.open("/console/inbox")
        desk.look("inbox")


def test_on_a_phone_the_menu_unfolds(chromium, lived_in):
    with at(chromium, lived_in.base_url, "zh", phone=True, scripts=False) as desk:
        page = sign_in(desk, lived_in, "deng.li")
        assert page.locator(".menu").is_hidden()
        page.click("a[href='#menu']")
        assert page.locator(".menu").is_visible()
        desk.press(".menu a[href='/console/reviews']")
        assert page.locator(".menu").is_hidden()
        desk.look("workbench")


def tab_to(page, what, most=80):
    """Press Tab until the focus is on what is meant; whatever can't be reached can't be used without a mouse."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("what => document.activeElement.matches(what)", what):
            return
    raise AssertionError(f"{what} is out of the keyboard's reach")


def test_a_head_endorses_with_the_keyboard_alone(chromium, lived_in):
    lived_in.file_consent("p1005", "shengli")
    number = lived_in.apply("gao.min", "shengli-cardiology", "p1005", "TREAT", "consent", [{"data_class": "clinical.laboratory"}])["number"]
    with at(chromium, lived_in.base_url, "zh") as desk:
        page = desk.page
        desk.open("/console/login")
        tab_to(page, "#username")
        page.keyboard.type("song.yi")
        tab_to(page, "#password")
        page.keyboard.type(lived_in.cast.passwords["song.yi"])
        with page.expect_navigation():
            page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        tab_to(page, f"a[href='/console/applications/{number}']")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        tab_to(page, "button[value=endorse]")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.locator("[role=status]").count() == 1


@pytest.mark.parametrize("language", ["zh", "en"])
def test_many_are_endorsed_at_once_and_a_new_one_is_begun_like_an_earlier_one(chromium, lived_in, language):
    lived_in.file_consent("p1004", "shengli")
    for _ in range(2):
        lived_in.apply("gao.min", "shengli-cardiology", "p1004", "TREAT", "consent", [{"data_class": "clinical.laboratory"}])
    with at(chromium, lived_in.base_url, language) as desk:
        page = sign_in(desk, lived_in, "song.yi")
        for box in page.locator("input[name=chosen]").all()[:2]:
            box.check()
        page.locator("details summary").last.click()
        desk.press("#at-once button[value=endorse]")
        assert page.locator(".became .badge.good").count() == 2
        desk.look("many-at-once")
    with at(chromium, lived_in.base_url, language) as desk:
        page = sign_in(desk, lived_in, "gao.min")
        desk.open("/console/applications/new")
        with page.expect_navigation():
            page.select_option("#f-like", index=1)
        assert page.locator("input[name=data]:checked").count() >= 1
        assert page.input_value("#f-purpose")
        assert page.input_value("#pv1") == "", "never its patients"
