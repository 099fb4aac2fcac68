"""A remote consultation at two desks (TM-5.4): the nurse books and checks the identity, the consultant confirms, opens, ends, follows up."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from broker import clock
from broker.demo.story import TREATMENT
from tests.browser.conftest import at, sign_in

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lived_in(story):
    """A consultant with licence and training, and an approved application for each language."""
    people = {one["username"]: one["id"] for one in story.person("peng.bo").call("GET", "/api/v1/people").json()}
    for book, code in (("qualifications", "licence.practice"), ("training", "training.telemedicine")):
        body = {"person": people["song.yi"], "code": code, "number": "1104400001", "issued_on": "2024-01-01"}
        story.person("deng.li").call("POST", f"/api/v1/{book}", expected=201, body=body)
    return story


@pytest.mark.parametrize(("language", "scripts"), [("zh", True), ("en", False)])
def test_from_booking_to_follow_up(chromium, lived_in, language, scripts):
    story, base = lived_in, lived_in.base_url
    story.file_consent("p1001", "shengli", without=("PSY",))
    application = story.apply("gao.min", "shengli-cardiology", "p1001", "TREAT", "consent", TREATMENT)["number"]
    story.decide(application, "song.yi", "deng.li")
    fetch = lambda: story.http.get("/fhir/Patient/p1001", headers={"Authorization": f"Bearer {token}"})  # noqa: E731 - asked again and again
    with at(chromium, base, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.open("/console/consultations")
        choice = page.locator("#f-choice option").filter(has_text=application).filter(has_text="宋毅").first.get_attribute("value")
        page.select_option("#f-choice", choice)
        starts = clock.now().astimezone(ZoneInfo("Asia/Shanghai")) - timedelta(minutes=2)
        page.fill("#f-starts", starts.strftime("%Y-%m-%dT%H:%M"))
        page.select_option("#f-minutes", "60")
        page.fill("#f-note", "血压控制不佳，请指导用药。")
        desk.look("consultations-booking")
        desk.press("section form button")
        number = page.url.rsplit("/", 1)[1].partition("?")[0]
        assert number.startswith("TC-")
        assert page.locator("input[value=open]").count() == 0
    with at(chromium, base, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "song.yi")
        desk.open(f"/console/consultations/{number}")
        desk.press("main form:has(input[value=confirm]) button")
        desk.press("main form:has(input[value=open]) button")
        assert page.locator("#problems").is_visible()  # Nobody has made sure who the patient is.
        page.select_option("#f-method", "identity-card")
        desk.press("main form:has(input[value=identify]) button")
        desk.look("consultation-ready")
        desk.press("main form:has(input[value=open]) button")
        token = story.system("shengli-his").token(application)["access_token"]
        assert fetch().status_code == 200
        desk.look("consultation-open")
        page.fill("#f-follow_up_due", (clock.today() + timedelta(days=7)).isoformat())
        page.fill("form:has(input[value=close]) textarea", "调整剂量，一周后复查。")
        desk.press("main form:has(input[value=close]) button")
        assert fetch().status_code in (401, 404)  # A read that is refused looks like one of nothing.
        page.fill("#n-follow-up", "血压 128/78。")
        desk.press("main form:has(input[value=follow-up]) button")
        desk.look("consultation-done")
        assert page.locator("ol.thread li").count() == 6
        desk.open("/console/consultations")
        desk.look("consultations")
