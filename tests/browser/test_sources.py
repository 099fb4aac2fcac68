"""The page of the sources of records in a real browser: looked at by axe in both languages, at a desk and on a phone (RS-2.4)."""

from __future__ import annotations

import pytest

from broker import clock
from broker.records import service as records
from broker.records.models import UpstreamServer
from broker.settings import Settings
from tests.browser.conftest import at, sign_in

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("language", "phone"), [("zh", False), ("en", False), ("zh", True), ("en", True)])
def test_sources_are_seen_and_a_round_is_asked_for(chromium, story, tmp_path, language, phone):
    with story.installation.database.transaction() as session:
        if not records.upstreams(session):
            chosen = Settings(var=tmp_path / "var", upstream_hosts="fhir.example")
            for name in ("ward", "his"):
                given = records.Upstream(
                    name, "shengli", f"https://fhir.example/{name}", types=("Patient", "Observation"), client_id="b", max_age_hours=48
                )
                records.add_upstream(session, chosen, "system", given)
            row = session.get_one(UpstreamServer, "his")
            row.error, row.tried_at, row.succeeded_at, row.accepted, row.refused = "upstream.unreachable", clock.now(), clock.now(), 4210, 3
            session.add(row)
    with at(chromium, story.base_url, language, phone=phone) as desk:
        sign_in(desk, story, "peng.bo")
        desk.open("/console/sources")
        desk.look("sources")
        desk.press("form[action='/console/sources/his/pull'] button")
        assert desk.page.locator("[role=status]").count() >= 1
