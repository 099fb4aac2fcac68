"""A real Chromium at the console of a hospital that really serves: pages are opened, looked at by axe, and photographed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from broker.demo.story import Story
from tests.live import hospital

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--font-render-hinting=none",
]  # fmt: skip
PICTURES = Path("reports/console")
DESK, PHONE = {"width": 1366, "height": 768}, {"width": 390, "height": 844}
#: A machine that does much else may take its time.
PATIENCE = 30_000

#: Latin words that Chinese pages may hold: names of systems and formats, identifiers, what patients and clients are called there.
HAN = re.compile(r"[\u4e00-\u9fff]")
LATIN = re.compile(r"^[A-Za-z ]{4,}$")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser, or a skip that says what is missing. For one file only: while Playwright runs, nobody else can have an event loop."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here (browser)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def story(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The demo's hospital on a socket of its own."""
    with hospital(module_database_url, tmp_path_factory.mktemp("var")) as running:
        yield running


@pytest.fixture(scope="module")
def lived_in(story: Story) -> Story:
    """A hospital where something has happened already."""
    story.play()
    story.standing_grants()
    return story


@dataclass
class Desk:
    """Somebody at a browser."""

    page: Page
    base_url: str
    language: str
    scripts: bool
    size: str

    def open(self, path: str) -> Page:
        """Go to an address of the console."""
        self.page.goto(self.base_url + path)
        return self.page

    def sign_in(self, username: str, password: str) -> Page:
        """Through the login page."""
        self.open("/console/login")
        self.page.fill("#username", username)
        self.page.fill("#password", password)
        self.press("main form button")
        assert "/console/login" not in self.page.url, self.page.inner_text("main")
        return self.page

    def press(self, what: str) -> Page:
        """Press a button or follow a link, by selector or by its words, and wait for the next page."""
        selector = what if re.match(r"[a-z\[#.]*[\[#. ]", what) else f"button:text-is('{what}'), a:text-is('{what}')"
        with self.page.expect_navigation():
            self.page.locator(selector).first.click()
        return self.page

    def look(self, name: str, *, picture: bool = True) -> None:
        """Ask axe about the page, look for the other language, and take its picture."""
        words = self.page.inner_text("main")
        assert bool(HAN.search(self.page.inner_text(".foot"))) == (self.language == "zh"), words[:200]
        for place in ("title", ".menu", "h2", "th", "label", "dt", "main button"):
            said = self.page.locator(place).all_text_contents()
            if place in ("h2", "title", "label"):  # Names of people and places stand there too.
                continue
            other = [one for one in said if HAN.search(one)] if self.language == "en" else [one for one in said if LATIN.search(one)]
            assert not other, (name, place, other)
        assert self.page.get_attribute("html", "lang") == {"zh": "zh-Hans-CN", "en": "en"}[self.language]
        # Nothing is wider than the window: a page that scrolls sideways is no page for a phone.
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.page.viewport_size["width"] + 1 if self.scripts else True, name
        if picture:
            PICTURES.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=PICTURES / f"{name}.{self.language}.{self.size}.png", full_page=True)
        if self.scripts:
            found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
            serious = [
                (one["id"], one["impact"], [node["html"][:160] for node in one["nodes"][:4]])
                for one in found
                if one["impact"] in ("serious", "critical", "moderate")
            ]
            assert serious == [], (name, serious)


@contextmanager
def at(chromium: Browser, base_url: str, language: str = "zh", *, phone: bool = False, scripts: bool = True) -> Iterator[Desk]:
    """A fresh browser, with no cookies, that prefers a language."""
    context: BrowserContext = chromium.new_context(
        viewport=PHONE if phone else DESK, locale={"zh": "zh-CN", "en": "en-GB"}[language], java_script_enabled=scripts, base_url=base_url
    )
    context.set_default_timeout(PATIENCE)
    context.add_cookies([{"name": "broker-language", "value": language, "domain": urlsplit(base_url).hostname, "path": "/console"}])
    complaints: list[str] = []
    page = context.new_page()

    def heard(said) -> None:
        # Axe and the photographer try styles of their own; whether ours has any, tests/unit/console asks.
        if "Content Security Policy" in said.text and not said.text.startswith("Applying inline style"):
            complaints.append(f"{said.text} at {page.url}")

    page.on("console", heard)
    try:
        if scripts is False:
            context.route("**/*.js", lambda route: route.abort())
        yield Desk(page, base_url, language, scripts, "phone" if phone else "desk")
        assert complaints == []
    finally:
        context.close()


def sign_in(desk: Desk, story: Story, name: str) -> Page:
    """One of the demo's people, with their own password."""
    return desk.sign_in(name, story.cast.passwords[name])
