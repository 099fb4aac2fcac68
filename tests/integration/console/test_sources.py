"""The page of the sources: how far each server is, why a round failed, and asking for one (decision 0027, RS-2.4)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import clock
from broker.records import service as records
from broker.records.models import UpstreamServer
from broker.settings import Settings


@pytest.fixture
def source(story, tmp_path):
    chosen = Settings(var=tmp_path / "var", upstream_hosts="fhir.example")
    with story.installation.database.transaction() as session:
        if session.get(UpstreamServer, "his") is None:
            given = records.Upstream(
                "his", "shengli", "https://fhir.example/fhir", types=("Patient", "Observation"), client_id="broker", max_age_hours=48
            )
            records.add_upstream(session, chosen, "system", given)


def changed(story, **values):
    with story.installation.database.transaction() as session:
        row = session.get_one(UpstreamServer, "his")
        for name, value in values.items():
            setattr(row, name, value)
        session.add(row)


def asked(story):
    with story.installation.database.transaction() as session:
        jobs = "SELECT count(*) FROM procrastinate_jobs WHERE args::text LIKE '%%his%%' AND status = 'todo'"
        events = "SELECT actor FROM audit_event WHERE type = 'upstream.asked'"
        return session.connection().exec_driver_sql(jobs).scalar_one(), [row[0] for row in session.connection().exec_driver_sql(events)]


def test_states_are_said_in_words(story, browser, source):
    seen = browser.sign_in("cao.yan")
    page = seen.get("/console/sources").text
    assert "https://fhir.example/fhir" in page
    assert "等待首轮采集" in page
    assert "立即采集一轮" not in page  # An auditor looks.
    changed(story, error="upstream.lost-most", tried_at=clock.now())
    page = seen.get("/console/sources").text
    assert "上一轮失败" in page
    assert "不予采信" in page
    changed(story, error="upstream.unreadable")
    assert "无法读取" in seen.get("/console/sources").text
    changed(story, error="", succeeded_at=clock.now(), stale_after=clock.now() - timedelta(hours=1))
    assert "暂不放行" in seen.get("/console/sources").text
    changed(story, stale_after=clock.now() + timedelta(hours=1))
    assert "已是最新" in seen.get("/console/sources").text
    changed(story, began_at=clock.now(), done=["Patient"])
    page = seen.get("/console/sources").text
    assert "正在进行一轮采集" in page
    assert "1／2" in page


@pytest.mark.parametrize("name", ["deng.li", "peng.bo"])
def test_manager_and_administrator_ask_for_a_round_and_it_is_on_record(story, browser, source, name):
    before, told = asked(story)
    page = browser.sign_in(name).post("/console/sources/his/pull")
    assert page.status_code in (200, 303)
    jobs, events = asked(story)
    assert jobs <= max(before, 1)  # Asked twice it is done once.
    assert jobs >= 1
    assert len(events) == len(told) + 1
    assert browser.post("/console/sources/nobody/pull").status_code == 404


@pytest.mark.parametrize("name", ["gao.min", "song.yi"])
def test_nobody_else(browser, source, name):
    assert browser.sign_in(name).get("/console/sources").status_code == 403
