"""An information manager who writes no Rego narrows a list, sees what it would have changed, a colleague approves it, and there is a way back."""

from __future__ import annotations

import time

import pytest

from tests.browser.conftest import at, sign_in

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lived_in(story):
    """A hospital with a past: what is replayed are its own releases."""
    story.play()
    return story


def wait_until_in_force(desk, revision):
    """A revision begins some seconds after its approval; a slow machine may take its time."""
    for _ in range(180):
        desk.open("/console/policies")
        if revision[:12] in desk.page.locator("main > p.hint").inner_text():
            return
        time.sleep(0.5)
    pytest.fail("the revision did not come into force")


@pytest.mark.parametrize(
    ("language", "element", "phone", "scripts"), [("zh", "Condition.code", False, True), ("en", "Condition.severity", True, False)]
)
def test_a_list_is_narrowed_by_two_people_and_brought_back(chromium, lived_in, language, element, phone, scripts):
    story, base = lived_in, lived_in.base_url
    with at(chromium, base, language, phone=phone, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open("/console/policies")
        assert page.locator("tbody a[href*='/profiles/']").count() == 17
        desk.look("policies")
        before = page.locator("main > p.hint").inner_text()
        desk.open("/console/policies/profiles/treatment-referral")
        desk.look("policy-profile")
        desk.press("a[href$='/narrow']")
        desk.open("/console/policies/profiles/treatment-referral/narrow")
        page.locator("[aria-label='诊断'] summary, [aria-label='Diagnoses'] summary").click()
        page.uncheck(f"input[value='{element}']")
        page.uncheck("input[name=type][value=Device]")
        page.fill("#d1", "30")
        page.check("input[name=requires][value='training.privacy']")
        page.fill("#f-note", "会诊反馈显示无人使用。")
        desk.look("policy-narrow")
        desk.press("main form button")
        revision = page.url.rsplit("/", 1)[1].partition("?")[0]
        assert len(revision) == 64, page.locator("#problems").all_inner_texts()
        assert {"zh": "患者信息保护培训", "en": "training in protecting patient information"}[language] in page.locator("main").inner_text()
        assert page.locator("section li").filter(has_text={"zh": "器械", "en": "Devices"}[language]).count() >= 1
        desk.press("main form:has(input[value=check]) button")
        desk.look("policy-replayed")
        tiles = page.locator(".tiles li")
        changed = {one.split("\n")[-1].strip(): int(one.split("\n")[0]) for one in tiles.all_inner_texts()}
        assert sum(count for words, count in changed.items() if words not in ("不变", "unchanged")) > 0, changed
        assert page.locator("form:has(input[value=approve])").count() == 0, "nobody approves their own draft"
    with at(chromium, base, language, phone=phone, scripts=scripts) as desk:
        page = sign_in(desk, story, "jiang.tao")
        desk.open(f"/console/policies/revisions/{revision}")
        page.fill("#f-effective_at", "2020-01-01T00:00")
        desk.press("main form:has(input[value=approve]) button")
        assert page.locator("#problems").is_visible()  # Not in the past.
        page.fill("#f-effective_at", "")
        desk.press("main form:has(input[value=approve]) button")
        desk.look("policy-approved")
        wait_until_in_force(desk, revision)
        desk.open("/console/policies")
        assert page.locator("main > p.hint").inner_text() != before
        desk.open("/console/policies/profiles/treatment-referral")
        assert "30" in page.locator("dl.facts").inner_text()
        desk.open(f"/console/policies/revisions/{revision}")
        desk.press({"zh": "前一版本", "en": "The policies before it"}[language])
        desk.press("main form:has(input[value='bring-back']) button")
        desk.look("policy-brought-back", picture=False)
        shipped = page.url.rsplit("/", 1)[1].partition("?")[0]
        wait_until_in_force(desk, shipped)


def test_the_auditor_reads_and_changes_nothing(chromium, lived_in):
    with at(chromium, lived_in.base_url, "zh") as desk:
        page = sign_in(desk, lived_in, "cao.yan")
        for path in ("", "/profiles/research-deidentified", "/proposals"):
            desk.open(f"/console/policies{path}")
            desk.look("policy-auditor" + path.replace("/", "-"), picture=path == "/profiles/research-deidentified")
            assert page.locator("main form[method=post], a[href$='/narrow']").count() == 0
        answer = page.request.get(f"{lived_in.base_url}/console/policies/profiles/treatment-referral/narrow")
        assert answer.status == 403
        assert page.request.get(f"{lived_in.base_url}/console/policies/profiles/everything").status == 404


def test_feedback_suggests_a_narrower_list(chromium, lived_in):
    """Three reports that name a few elements: what else left is proposed, and the form begins without it."""
    with at(chromium, lived_in.base_url, "en") as desk:
        page = sign_in(desk, lived_in, "deng.li")
        desk.open("/console/policies/proposals")
        desk.look("policy-proposals")
        desk.open("/console/policies/profiles/treatment-referral/narrow?without=Condition.severity&without=Rumour.x")
        assert not page.is_checked("input[value='Condition.severity']")
        assert page.is_checked("input[value='Condition.onset']")
