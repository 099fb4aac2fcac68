"""Standing in, channels, agreements and one step for many, as pages (RS-4, RS-5.2.4, RS-5.3.2, RS-6.1)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from broker import clock
from broker.console import inbox

LABORATORY = [{"data_class": "clinical.laboratory"}]


def day(ahead: int) -> str:
    return (clock.today() + timedelta(days=ahead)).isoformat()


def apply(story, patient: str) -> str:
    return str(story.apply("gao.min", "shengli-cardiology", patient, "TREAT", "consent", LABORATORY)["number"])


def other(browser, name):
    browser.post("/console/logout")
    return browser.sign_in(name)


def test_one_step_for_many_is_judged_one_by_one(browser, story):
    story.file_consent("p1001", "shengli")
    numbers = [apply(story, "p1001"), apply(story, "p1001"), apply(story, "p1001")]
    browser.sign_in("song.yi")
    keys = dict(re.findall(r'name="chosen" value="((SA-[0-9-]+)\|\d+)"', browser.get("/console/endorse").text))
    keys = {number: key for key, number in keys.items()}
    assert set(numbers) <= keys.keys()
    assert browser.post("/console/endorse", {"action": "endorse"}).status_code == 422, "nothing is ticked"
    assert browser.post("/console/endorse", {"action": "approve", "chosen": keys[numbers[0]]}).status_code == 400, "not a step of this list"
    stale = f"{numbers[2]}|0"
    done = browser.post("/console/endorse", [("action", "endorse"), ("chosen", keys[numbers[0]]), ("chosen", keys[numbers[1]]), ("chosen", stale)])
    assert done.status_code == 200
    became = re.findall(r'<a href="/console/applications/(SA-[0-9-]+)">SA-[0-9-]+</a> <span class="badge (good|bad)"', done.text)
    assert dict(became) == {numbers[0]: "good", numbers[1]: "good", numbers[2]: "bad"}
    manager = story.person("information_manager")
    states = [manager.call("GET", f"/api/v1/applications/{number}").json()["status"] for number in numbers]
    assert states == ["endorsed", "endorsed", "submitted"]
    other(browser, "deng.li")
    page = browser.get("/console/decide").text
    two = [key for key in re.findall(r'name="chosen" value="([^"]+)"', page) if key.partition("|")[0] in numbers]
    assert len(two) == 2
    refused = browser.post("/console/decide", [("action", "refuse"), *(("chosen", key) for key in two)])
    assert refused.text.count('<span class="badge bad"') >= 2, "a refusal needs its reason"
    assert browser.post("/console/decide", [("action", "refuse"), ("reason", "Twice."), ("code", "duplicate"), *(("chosen", one) for one in two)])
    states = [manager.call("GET", f"/api/v1/applications/{number}").json()["status"] for number in numbers]
    assert states == ["refused", "refused", "submitted"]


def test_older_messages_are_a_page_further(browser, story, monkeypatch):
    monkeypatch.setattr(inbox, "SHOWN", 1)
    for _ in range(2):
        apply(story, "p1001")
    browser.sign_in("song.yi")
    first = browser.get("/console/inbox")
    older = re.search(r'href="(/console/inbox\?after=[0-9a-f-]+)"', first.text)[1]
    second = browser.get(older)
    articles = [re.findall(r"<article.*?</article>", page.text, flags=re.DOTALL) for page in (first, second)]
    assert [len(one) for one in articles] == [1, 1]
    assert articles[0] != articles[1]
    assert browser.get("/console/inbox?after=what").status_code == 200


def test_who_may_do_nothing_at_once_is_offered_nothing(browser, story):
    browser.sign_in("song.yi")
    assert 'name="chosen"' not in browser.get("/console/exchanges").text
    assert browser.post("/console/exchanges", {"action": "revoke", "chosen": "SA-2026-000001|1"}).status_code == 400
    other(browser, "gao.min")
    assert browser.post("/console/exchanges", {"action": "suspend", "chosen": "SA-2026-000001|1"}).status_code == 400


def test_an_office_is_lent_seen_in_the_menu_and_taken_back(browser, story):
    browser.sign_in("deng.li")
    page = browser.get("/console/standing-in").text
    office = re.search(r'<option value="([0-9a-f-]+\|information_manager\|[a-z-]+)"', page)[1]
    to = {name: value for value, name in re.findall(r'<option value="([0-9a-f-]{36})">([^ <]+)', page)}
    lend = {"office": office, "to": to["于芳"], "since": day(0), "until": day(7)}
    assert browser.post("/console/standing-in", {**lend, "until": day(200)}).status_code == 422
    assert browser.post("/console/standing-in", {**lend, "until": "soon"}).status_code == 422
    assert browser.post("/console/standing-in", {**lend, "to": to["曹燕"]}).status_code == 422, "an auditor doesn't decide"
    assert browser.post("/console/standing-in", lend).headers["location"].endswith("done=lent")
    other(browser, "yu.fang")
    assert '"/console/decide"' in browser.get("/console/account").text
    assert browser.get("/console/decide").status_code == 200
    given = re.search(r'action="(/console/standing-in/[0-9a-f-]+/end)"', browser.get("/console/standing-in").text)[1]
    other(browser, "gao.min")
    assert browser.post(given).status_code == 404, "not theirs"
    other(browser, "deng.li")
    assert browser.post(given).headers["location"].endswith("done=taken-back")
    other(browser, "yu.fang")
    assert '"/console/decide"' not in browser.get("/console/account").text


def test_somebody_elses_office_is_lent_by_the_administrator_alone(browser, story):
    browser.sign_in("peng.bo")
    page = browser.get("/console/standing-in").text
    office = re.search(r'<option value="([0-9a-f-]+\|department_head\|renhe-finance)"', page)[1]
    to = {name: value for value, name in re.findall(r'<option value="([0-9a-f-]{36})">([^ <]+)', page)}
    lend = {"office": office, "to": to["于芳"], "since": day(0), "until": day(3)}
    other(browser, "gao.min")
    assert browser.post("/console/standing-in", lend).status_code in (403, 422)
    other(browser, "peng.bo")
    assert browser.post("/console/standing-in", lend).status_code == 303


def test_messages_also_go_by_mail_or_to_a_webhook_whose_secret_is_told_once(browser, story):
    browser.sign_in("gao.min")
    assert browser.post("/console/channels", {"way": "mail", "address": "nobody"}).status_code == 422
    assert browser.post("/console/channels", {"way": "webhook", "address": "http://127.0.0.1/x"}).status_code == 422
    assert browser.post("/console/channels", {"way": "mail", "address": "gao.min@shengli.example"}).status_code == 303
    made = browser.post("/console/channels", {"way": "webhook", "address": "https://hooks.shengli.example/broker"})
    assert "whsec_" in made.text
    page = browser.get("/console/channels").text
    assert "whsec_" not in page
    assert "gao.min@shengli.example" in page
    assert browser.post("/console/channels", {"way": "mail", "address": "a@b.example", "organization": "renhe"}).status_code == 403
    remove = re.findall(r'action="(/console/channels/[0-9a-f-]+/remove)"', page)
    other(browser, "yu.fang")
    assert browser.post(remove[0], {"organization": ""}).status_code == 404, "not theirs"
    other(browser, "gao.min")
    for one in remove:
        assert browser.post(one, {"organization": ""}).status_code == 303
    assert "gao.min@shengli.example" not in browser.get("/console/channels").text
    other(browser, "peng.bo")
    assert browser.post("/console/channels", {"way": "mail", "address": "a@b.example", "organization": "shengli"}).status_code == 303
    assert "a@b.example" in browser.get("/console/channels?organization=shengli").text


@pytest.mark.parametrize(("who", "status"), [("cao.yan", 403), ("gao.min", 403), ("deng.li", 303)])
def test_terms_and_networks_are_published_by_who_keeps_the_registers(browser, story, who, status):
    browser.sign_in(who)
    words = {"title_zh": "条款", "title_en": "Terms", "text_zh": "用后删除。", "text_en": "Delete after use."}
    assert browser.post("/console/agreements", {"id": "network-terms", "organization": "shengli", **words}).status_code == status
    network = [("id", "stroke-network"), ("name_zh", "卒中协作网"), ("name_en", "Stroke network"), ("member", "shengli"), ("member", "renhe")]
    assert browser.post("/console/networks", network).status_code == status
    if status == 303:
        assert browser.post("/console/agreements", {"id": "Network Terms", **words}).status_code == 422
        kept = browser.post("/console/agreements", {"id": "network-terms", **words, "text_en": "", "text_zh": "第二版，尚未写完。"})
        assert kept.status_code == 422
        assert "第二版，尚未写完。" in kept.text, "what was typed stays"
        shown = browser.get("/console/agreements").text
        assert "卒中协作网" in shown or "Stroke network" in shown
