"""Every page of everybody's menu, in a hospital where something has happened: axe, the other language, the width of a phone (issue 7's rule for
all pages, also for those that come later: the menu is one table).
"""

from __future__ import annotations

import pytest

from broker.console.navigation import ENTRIES
from tests.browser.conftest import at, sign_in

pytestmark = pytest.mark.browser

#: Administrator, auditor, information manager, head, applicant.
PEOPLE = ("peng.bo", "cao.yan", "deng.li", "song.yi", "gao.min")


@pytest.mark.parametrize(("language", "phone"), [("zh", True), ("en", False)])
def test_every_page_of_the_menu_can_be_read_by_everybody(chromium, lived_in, language, phone):
    seen: set[str] = set()
    wrong: list[str] = []
    for name in PEOPLE:
        with at(chromium, lived_in.base_url, language, phone=phone) as desk:
            sign_in(desk, lived_in, name)
            paths = {link.get_attribute("href") for link in desk.page.locator(".menu a").all()}
            for path in sorted(path for path in paths if path is not None and path.startswith("/console/") and path not in seen):
                seen.add(path)
                answer = desk.page.goto(lived_in.base_url + path)
                assert answer is not None
                try:
                    assert answer.status == 200, path
                    desk.look(f"menu{path.replace('/', '-')}")
                except AssertionError as error:  # All of them are told, not the first alone.
                    wrong.append(f"{path}: {error}")
    assert wrong == []
    assert {entry.path for entry in ENTRIES} <= seen
