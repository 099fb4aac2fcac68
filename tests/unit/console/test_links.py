"""Every message leads to a page that is there."""

from __future__ import annotations

import re

import pytest

from broker.notifications.kinds import KINDS
from tests.attacks.test_route_inventory import TABLE

PAGES = [re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(route.removeprefix("GET ")))) for route in TABLE if route.startswith("GET /console/")]
#: Answers for whatever is not there.
PAGES = [page for page in PAGES if "rest:path" not in page.pattern and page.pattern != "/console/[^/]+"]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_message_leads_somewhere(kind):
    path = KINDS[kind].path.partition("?")[0]
    assert any(page.fullmatch(re.sub(r"\{\w+\}", "x", path)) for page in PAGES), path
