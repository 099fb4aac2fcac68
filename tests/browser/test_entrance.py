"""At the door of the console: in, out, wrong passwords, the other language, pages that are not there."""

from __future__ import annotations

import pytest

from tests.browser.conftest import at

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("phone", [False, True])
def test_the_door_in_both_languages_on_a_desk_and_a_phone(chromium, story, language, phone):
    with at(chromium, story.base_url, language, phone=phone) as desk:
        page = desk.open("/console/")
        desk.look("login")
        page.fill("#username", "gao.min")
        page.fill("#password", "not the password")
        desk.press("main form button")
        assert page.locator("[role=alert]").count() == 1
        desk.look("login-refused", picture=False)


def test_a_person_comes_back_to_the_page_they_wanted_and_leaves_for_good(chromium, story):
    with at(chromium, story.base_url) as desk:
        page = desk.open("/console/account?from=mail")
        page.fill("#username", "gao.min")
        page.fill("#password", story.cast.passwords["gao.min"])
        desk.press("main form button")
        assert page.url.endswith("/console/account?from=mail")
        desk.look("account")
        desk.press(".tools button[lang=en]")
        assert page.inner_text("h1") == "My account"
        desk.press(".tools form:last-child button")
        assert "You are signed out" in page.inner_text("main")
        desk.open("/console/account")
        assert "/console/login" in page.url


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_is_not_there_has_a_page_of_its_own(chromium, story, language):
    with at(chromium, story.base_url, language) as desk:
        desk.sign_in("lu.xin", story.cast.passwords["lu.xin"]) if language == "en" else desk.sign_in("deng.li", story.cast.passwords["deng.li"])
        answer = desk.page.goto(f"{story.base_url}/console/nowhere")
        assert answer.status == 404
        desk.look("not-there")
