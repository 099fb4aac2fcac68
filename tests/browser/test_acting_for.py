"""A system asks to fetch for a nurse: the page in a real browser, both languages, desk and phone (RS-6.2.1)."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlencode

import pytest

from tests.browser.conftest import at, sign_in
from tests.integration.console.test_acting_for import App
from tests.integration.release.conftest import agree

pytestmark = pytest.mark.browser


class Back(BaseHTTPRequestHandler):
    """The system, to which people come back."""

    arrived: list[str] = []  # noqa: RUF012  (What arrived, for the one test of this file.)

    def do_GET(self):
        self.arrived.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"back")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def back():
    """Where the system serves: the address that people are sent back to."""
    with HTTPServer(("127.0.0.1", 0), Back) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/back"
        server.shutdown()


@pytest.fixture(scope="module")
def agreed(story, back):
    exchanges = agree(story, "p1001"), agree(story, "p1004")
    story.person("administrator").call("PATCH", "/api/v1/clients/shengli-his", body={"redirect_uris": [back]})
    return exchanges


@pytest.mark.parametrize(("language", "phone"), [("zh", False), ("en", False), ("zh", True), ("en", True)])
def test_the_nurse_sees_who_asks_chooses_and_is_led_back(chromium, story, agreed, back, language, phone):
    app = App(story)
    with at(chromium, story.base_url, language, phone=phone) as desk:
        sign_in(desk, story, "gao.min")
        desk.open(f"/oauth2/authorize?{urlencode(app.ask(redirect_uri=back))}")
        desk.look("authorize")
        desk.page.check(f"input[value='{agreed[1].number}']")
        desk.press("button[value=yes]")
    came = next(one for one in Back.arrived if f"state={app.state}" in one)
    code = came.partition("code=")[2].partition("&")[0]
    assert app.exchange(code, redirect_uri=back).json()["scope"].endswith(agreed[1].number)
