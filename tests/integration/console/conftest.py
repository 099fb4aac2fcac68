"""The console of a demo hospital, spoken to as a browser speaks, without one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx2
import pytest

from broker.demo.story import Story
from tests.live import hospital


@pytest.fixture(scope="module")
def story(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with hospital(module_database_url, tmp_path_factory.mktemp("var")) as running:
        yield running


@dataclass
class Browser:
    """Keeps cookies and sends forms, and says of itself what it is told to say."""

    http: httpx2.Client
    story: Story

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.http.get(path, headers={"Accept-Language": "en", **headers})

    def token(self, path: str = "/console/account") -> str:
        return re.search(r'name="csrf" value="([^"]+)"', self.get(path).text)[1]

    def post(self, path: str, fields=(), *, token: str | None = None, site: str | None = "same-origin", **headers: str) -> httpx2.Response:
        """Send a form; with the token of the session unless another is given ("" for none)."""
        pairs = list(fields.items()) if isinstance(fields, dict) else list(fields)
        if token is None and "/login" not in path and "/language" not in path:
            token = self.token()
        if token:
            pairs.append(("csrf", token))
        marks = {"Sec-Fetch-Site": site} if site else {}
        return self.http.post(
            path, content=urlencode(pairs), headers={"Content-Type": "application/x-www-form-urlencoded", "Accept-Language": "en", **marks, **headers}
        )

    def sign_in(self, name: str) -> Browser:
        answer = self.post("/console/login", {"username": name, "password": self.story.cast.passwords[name]})
        assert answer.status_code == 303, answer.text[:300]
        return self


@pytest.fixture
def browser(story: Story) -> Iterator[Browser]:
    with httpx2.Client(base_url=story.base_url, timeout=60) as http:
        yield Browser(http, story)
