"""The administrator's registers and where a regulator begins, as pages in a real browser (GB/T 22239 8.1.4.2; ID-3.2)."""

from __future__ import annotations

import re

import pyotp
import pytest

from broker.console.supervision import SUBJECTS
from broker.identity import service as identity
from broker.identity.roles import Role
from broker.release.log_views import FOLLOWED
from tests.browser.conftest import at
from tests.live import hospital

pytestmark = pytest.mark.browser
PASSWORD = "four grey herons wade"


@pytest.fixture(scope="module")
def story(module_database_url, tmp_path_factory):
    """A hospital whose login is linked to another, with a regulator and a second administrator."""
    settings = {"sso_issuer": "http://127.0.0.1:9/realms/hospital", "sso_client_id": "broker"}
    with hospital(module_database_url, tmp_path_factory.mktemp("var"), **settings) as running:
        with running.installation.database.transaction() as session:
            identity.add_organization(
                session, "system", id="commission", kind="authority", relationship="external", name_zh="卫生健康委员会", name_en="Health Commission"
            )
            for name, role, where in (("wei.jian", "regulator", "commission"), ("qian.yu", "administrator", "renhe")):
                identity.add_person(
                    session, "system", username=name, name="卫健" if role == "regulator" else "钱宇", organization_id=where, password=PASSWORD,
                    roles=[(Role(role), where)],
                )  # fmt: skip
            running.people = {row.username: row.id for row in identity.people(session)}
        yield running


@pytest.mark.parametrize(("language", "phone"), [("zh", False), ("en", True)])
def test_a_regulator_begins_at_supervision_and_sees_nothing_of_one_patient(chromium, story, language, phone):
    with at(chromium, story.base_url, language, phone=phone) as desk:
        page = desk.sign_in("wei.jian", PASSWORD)
        assert page.url.endswith("/console/supervision")
        desk.look("regulator")
        desk.press("main a.button")
        desk.look("regulator-log")
        for path in ("people", "exchanges", "transmissions", "events", "reviews", "applications", "consent", "clients"):
            answer = page.goto(f"{story.base_url}/console/{path}")
            seen = page.inner_text("main")
            assert answer.status == 403 or "SA-" not in seen, path
            assert not re.search("抑郁|张伟|patient/p", seen), path


def test_the_feed_on_the_page_is_that_of_the_api():
    assert {name: set(begins) for name, (_, begins) in SUBJECTS.items()} == {
        subject.value: {pattern.removesuffix("%") for pattern in patterns} for subject, patterns in FOLLOWED.items()
    }


@pytest.mark.parametrize(("language", "phone"), [("zh", False), ("en", True)])
def test_the_registers_show_who_lacks_what(chromium, story, language, phone):
    with at(chromium, story.base_url, language, phone=phone) as desk:
        page = desk.sign_in("peng.bo", story.cast.passwords["peng.bo"])
        assert page.url.endswith("/console/people")
        desk.look("register-people")
        desk.open("/console/organizations")
        assert page.locator("td:has-text('└')").count() > 0
        desk.look("register-organizations")
        page.emulate_media(media="print")  # On paper the list stands alone.
        assert [page.locator(one).first.is_visible() for one in ("table.list", ".menu", ".filters", ".pager", "form.act")] == [True] + [False] * 4
        page.emulate_media(media="screen")
        desk.open("/console/clients/shengli-his")
        desk.look("register-client")
        desk.open(f"/console/people/{story.people['deng.li']}")
        desk.look("register-person")


def test_an_administrator_links_a_person_makes_a_link_and_takes_two_to_reset(chromium, story):
    person = story.people["gao.min"]
    with story.installation.database.transaction() as session:
        caller = identity.caller_for(session, person)
        new = identity.add_totp(session, story.installation.keys, caller, name="Telephone", issuer="renhe")
    code = pyotp.parse_uri(new.uri).now()
    identity.confirm_totp(story.installation.database, story.installation.keys, caller, new.id, code)
    with at(chromium, story.base_url, "en") as desk:
        page = desk.sign_in("peng.bo", story.cast.passwords["peng.bo"])
        desk.open(f"/console/people/{person}")
        page.fill("#f-subject", "f:1234")
        desk.press("button[name=link]")
        assert "f:1234" in page.inner_text("main")
        desk.press("button[name=password_link]")
        assert "/console/password/" in page.inner_text("main code")
        desk.look("person-link")
        desk.open(f"/console/people/{person}")
        desk.press("button[name=reset_factors]")
        assert page.locator("button[name=reset_factors]").count() == 0
        # Nobody unlinks, links or resets themselves.
        desk.open(f"/console/people/{story.people['peng.bo']}")
        assert page.locator("form[action$='/security']").count() == 0
    with at(chromium, story.base_url, "zh") as desk:
        page = desk.sign_in("qian.yu", PASSWORD)
        desk.open(f"/console/people/{person}")
        desk.look("person-reset")
        desk.press("button[name=reset_factors]")
    with story.installation.database.transaction() as session:
        assert identity.factors(session, person) == []


@pytest.mark.parametrize(("language", "phone", "scripts"), [("zh", False, False), ("en", True, True)])
def test_one_enters_a_route_abroad_and_a_colleague_confirms_it(chromium, story, language, phone, scripts):
    """PIPL 38-41, 55: an empty register teaches, whoever entered a route does not confirm it, and an end is an end."""
    place = f"harbour-{language}"
    with at(chromium, story.base_url, language, phone=phone, scripts=scripts) as desk:
        page = desk.sign_in("peng.bo", story.cast.passwords["peng.bo"])
        desk.open("/console/transfers")
        known = page.locator("main section dl.facts dt").count()
        assert known >= 6, "what each route means"
        if language == "zh":
            assert page.locator(".empty").count() == 1
            assert page.locator("#enter").count() == 0
        desk.look("transfers-empty")
        with story.installation.database.transaction() as session:
            identity.add_organization(
                session,
                "system",
                id=place,
                kind="hospital",
                relationship="external",
                name_zh="海港医院",
                name_en="Harbour Hospital",
                jurisdiction="HK",
            )
        desk.open("/console/transfers")
        page.select_option("#f-recipient", place)
        page.select_option("#f-route", "standard_contract")
        page.fill("#f-reference", "2026-12")
        page.fill("#f-impact_assessment", "PIA-4")
        page.fill("#f-valid_from", "2026-03-01")
        page.fill("#f-valid_until", "2026-02-01")
        page.check("input[name=purposes][value=TREAT]")
        page.check("input[name=classes][value='clinical.laboratory']")
        desk.press("#enter form button")
        assert page.locator("#problems").is_visible(), "it ends before it begins"
        assert page.input_value("#f-reference") == "2026-12"
        assert page.is_checked("input[name=classes][value='clinical.laboratory']")
        desk.look("transfers-wrong", picture=False)
        page.fill("#f-valid_until", "2030-02-28")
        desk.press("#enter form button")
        card = page.locator("section", has_text={"zh": "海港医院", "en": "Harbour Hospital"}[language]).first
        assert card.locator("input[value=confirm]").count() == 0, "nobody confirms their own"
        desk.look("transfers-entered")
    with at(chromium, story.base_url, language, phone=phone, scripts=scripts) as desk:
        page = desk.sign_in("qian.yu", PASSWORD)
        desk.open("/console/transfers")
        desk.press("main form:has(input[value=confirm]) button")
        desk.look("transfers-confirmed")
        desk.press("main form:has(input[value=end]) button")
        assert page.locator("form:has(input[value=end])").count() == 0
        desk.look("transfers-ended", picture=False)
