"""The review's workbench as pages: findings, corrective actions, access rights, two signatures, and files that are the API's (RS-7.1, PI-3.2b)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlmodel import select
from typer.testing import CliRunner

from broker import clock
from broker.cli import app
from broker.console.reviewing import quarters
from broker.review.models import Recertification, ReviewSignature
from broker.settings import settings


@pytest.fixture(scope="module")
def lived_in(story):
    story.play()
    story.standing_grants()
    return story


def past() -> str:
    return quarters()[1]


def test_a_finding_an_action_and_two_signatures_and_then_nothing_more(browser, lived_in):
    page, path = f"/console/reviews?quarter={past()}", f"/console/reviews/{past()}"
    browser.sign_in("cao.yan")
    text = "CANARY: the reason says too little."
    assert browser.post(f"{path}/findings", {"severity": "medium", "text": text}).headers["location"].endswith("done=finding")
    assert browser.post(f"{path}/findings", {"severity": "grave", "text": text}).status_code == 422
    assert browser.post(f"{path}/findings", {"severity": "low", "text": text, "application": "SA-1999-000001"}).status_code == 422
    assert browser.post(f"{path}/actions", {"finding": f"{past()}-01"}).status_code == 403, "the auditor finds, the information manager mends"
    shown = browser.get(page).text
    assert text in shown
    browser.post("/console/logout")
    browser.sign_in("deng.li")
    action = {"finding": f"{past()}-01", "changes": "process", "title": "A template", "owner": "song.yi"}
    late = (clock.today() - timedelta(days=1)).isoformat()
    assert browser.post(f"{path}/actions", {**action, "due_on": late}).status_code == 422
    soon = (clock.today() + timedelta(days=30)).isoformat()
    assert browser.post(f"{path}/actions", {**action, "due_on": soon, "owner": "nobody"}).status_code == 422
    assert browser.post(f"{path}/actions", {**action, "due_on": soon}).headers["location"].endswith("done=action")
    assert browser.post(f"{path}/findings", {"severity": "low", "text": "x"}).status_code == 403
    digest = re.search(r'name="digest" value="([0-9a-f]{64})"', browser.get(page).text)[1]
    assert browser.post(f"{path}/signatures", {"digest": "0" * 64}).status_code == 409
    assert browser.post(f"{path}/signatures", {"digest": digest}).headers["location"].endswith("done=signed")
    assert browser.post(f"{path}/signatures", {"digest": digest}).status_code == 409, "nobody signs twice"
    browser.post("/console/logout")
    browser.sign_in("cao.yan")
    assert browser.post(f"{path}/findings", {"severity": "low", "text": "too late"}).status_code == 409
    assert browser.post(f"{path}/signatures", {"digest": digest}).status_code == 303
    assert 'name="digest"' not in browser.get(page).text
    with lived_in.installation.database.transaction() as session:
        assert {row.role: row.digest for row in session.exec(select(ReviewSignature)).all()} == dict.fromkeys(
            ("auditor", "information_manager"), digest
        )


def test_a_quarter_that_goes_on_is_signed_by_nobody(browser, lived_in):
    browser.sign_in("deng.li")
    assert 'name="digest"' not in browser.get("/console/reviews").text
    assert browser.post(f"/console/reviews/{quarters()[0]}/signatures", {"digest": "0" * 64}).status_code == 409


@pytest.mark.parametrize("form", ["pdf", "xlsx", "json"])
def test_page_api_and_command_line_give_the_same_file(browser, lived_in, form, tmp_path, monkeypatch):
    """Findings, actions and signatures too: one document, whoever asks for it."""
    chosen = lived_in.installation.settings
    browser.sign_in("cao.yan")
    browser.post(f"/console/reviews/{quarters()[0]}/findings", {"severity": "low", "text": f"For the {form} file."})
    page = browser.get(f"/console/reviews/{quarters()[0]}/report?form={form}")
    assert page.status_code == 200
    assert "attachment" in page.headers["content-disposition"]
    if form != "json":
        auditor = lived_in.person("cao.yan")
        answer = auditor.call("GET", f"/api/v1/reviews/{quarters()[0]}/report?form={form}&language=zh")
        assert answer.content == page.content
    monkeypatch.setenv("BROKER_VAR", str(chosen.var))
    monkeypatch.setenv("BROKER_DATABASE_URL", chosen.database_url.get_secret_value())
    monkeypatch.setenv("BROKER_HOSPITAL", chosen.hospital)
    settings.cache_clear()
    try:
        done = CliRunner().invoke(app, ["review", quarters()[0], "--out", str(tmp_path), "--lang", "zh"])
    finally:
        settings.cache_clear()
    assert done.exit_code == 0, done.output
    name = f"review-{quarters()[0]}.json" if form == "json" else f"review-{quarters()[0]}.zh.{form}"
    assert (tmp_path / name).read_bytes() == page.content


def test_each_access_right_is_kept_or_taken_away_by_whoever_answers_for_it(browser, lived_in):
    now = quarters()[0]
    browser.sign_in("cao.yan")
    assert browser.post(f"/console/reviews/{now}/access").headers["location"].endswith("done=access-begun")
    assert 'type="radio"' not in browser.get("/console/access").text, "the auditor looks and answers for nothing"
    browser.post("/console/logout")
    browser.sign_in("song.yi")
    rights = re.findall(r'name="(right-[0-9a-f-]+)" value="keep"', browser.get("/console/access").text)
    assert rights
    assert browser.post("/console/access", {"quarter": now}).status_code == 422, "nothing chosen"
    assert browser.post("/console/access", {"quarter": now, rights[0]: "perhaps"}).status_code == 422
    assert browser.post("/console/access", {"quarter": now, "right-00000000-0000-0000-0000-000000000000": "keep"}).status_code == 404
    assert browser.post("/console/access", {"quarter": now, rights[0]: "keep"}).status_code == 303
    with lived_in.installation.database.transaction() as session:
        answered = [row for row in session.exec(select(Recertification)).all() if row.answer]
    assert [(str(row.id), row.answer) for row in answered] == [(rights[0].removeprefix("right-"), "keep")]
    for name in ("csv", "xlsx"):
        assert browser.get(f"/console/access?format={name}").status_code == 200


def test_the_review_is_for_those_who_review(browser, lived_in):
    browser.sign_in("gao.min")
    assert browser.get("/console/reviews").status_code == 403
    assert browser.get(f"/console/reviews/{past()}/report").status_code == 403
    browser.post("/console/logout")
    browser.sign_in("cao.yan")
    assert browser.get("/console/reviews/2026Q9/report").status_code == 422
