"""The registers as pages: entering, importing with each bad line named, ending; demands; and one's own (PI-4, TM-5.1, QA-1)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlmodel import select

from broker import clock
from broker.workforce.models import Credential

TODAY = clock.today


def send(browser, path, content: bytes, **fields: str):
    parts = {name: (None, value) for name, value in {"csrf": browser.token(), **fields}.items()}
    return browser.http.post(path, files={**parts, "file": ("names.csv", content, "text/csv")}, headers={"Sec-Fetch-Site": "same-origin"})


def held(story):
    with story.installation.database.transaction() as session:
        return {row.number: row for row in session.exec(select(Credential)).all()}


def test_a_licence_is_entered_found_suspended_and_seen_by_its_holder(browser, story):
    browser.sign_in("deng.li")
    licence = {"person": "gao.min", "code": "licence.nursing", "number": "N-77", "issued_on": "2024-03-01", "scope": "护理；急诊"}
    assert browser.post("/console/qualifications", {**licence, "person": "nobody"}).status_code == 422
    assert browser.post("/console/qualifications", {**licence, "institution": "shengli"}).status_code == 422, "one holder"
    assert browser.post("/console/qualifications", {**licence, "issued_on": "soon"}).status_code == 422
    assert browser.post("/console/qualifications", {**licence, "code": "training.privacy"}).status_code == 422
    assert browser.post("/console/qualifications", licence).headers["location"].endswith("done=entered")
    row = held(story)["N-77"]
    assert row.scope == ["急诊", "护理"]
    assert "N-77" in browser.get("/console/qualifications?q=gao.min&state=in-force").text
    assert "N-77" not in browser.get("/console/qualifications?state=expired").text
    assert "N-77" in browser.get("/console/qualifications?format=csv").text
    assert browser.post(f"/console/qualifications/{row.id}", {"status": "suspended"}).status_code == 303
    assert browser.post(f"/console/training/{row.id}", {"status": "active"}).status_code == 404, "the other register"
    browser.post("/console/logout")
    browser.sign_in("gao.min")
    assert browser.get("/console/qualifications").status_code == 403
    mine = browser.get("/console/credentials").text
    assert "N-77" in mine
    assert held(story)["N-77"].status == "suspended"


def test_a_file_from_a_chinese_spreadsheet_goes_in_and_its_bad_lines_are_named(browser, story):
    browser.sign_in("deng.li")
    later = (TODAY() + timedelta(days=400)).strftime("%Y/%-m/%-d")
    lines = [
        "持有人,证书类别,证书编号,发证日期,有效期至",
        f"gao.min,患者信息保护培训,T-1,2025/3/1,{later}",
        f"nobody,training.privacy,T-2,2025-03-01,{later}",
        "song.yi,training.unheard,T-3,2025-03-01,",
        "song.yi,training.security,T-4,2025-02-30,",
    ]
    content = "\r\n".join(lines).encode("gb18030")
    checked = send(browser, "/console/training/import", content, check="1")
    assert checked.status_code == 200
    assert re.findall(r'<td class="number" data-title="[^"]*">(\d+)</td>', checked.text) == ["3", "4", "5"]
    assert "T-1" not in held(story), "checking keeps nothing"
    done = send(browser, "/console/training/import", content, **{"import": "1"})
    assert re.findall(r"<strong>(\d+)</strong>", done.text)[:3] == ["1", "0", "3"]
    assert held(story)["T-1"].code == "training.privacy"
    again = send(browser, "/console/training/import", content, **{"import": "1"})
    assert re.findall(r"<strong>(\d+)</strong>", again.text)[:3] == ["0", "1", "3"]
    assert send(browser, "/console/training/import", b"\xff\xfe\x00", check="1").status_code == 400
    assert send(browser, "/console/training/import", b"", check="1").status_code in (400, 422)
    empty = browser.get("/console/workforce/template")
    assert empty.content.startswith("\ufeff持有人".encode())


@pytest.mark.parametrize("who", ["cao.yan", "gao.min"])
def test_who_may_not_write_changes_nothing(browser, story, who):
    browser.sign_in(who)
    form = {"person": "gao.min", "code": "licence.nursing", "number": "N-99", "issued_on": "2024-03-01"}
    assert browser.post("/console/qualifications", form).status_code == 403
    assert send(browser, "/console/training/import", b"holder", check="1").status_code == 403
    assert browser.post("/console/workforce/demands", {"step": "apply"}).status_code == 403
    assert "N-99" not in held(story)


def test_what_a_step_demands_is_said_and_whoever_lacks_it_is_told(browser, story):
    browser.sign_in("deng.li")
    assert browser.post("/console/workforce/demands", [("step", "endorse"), ("code", "training.security")]).status_code == 303
    assert browser.post("/console/workforce/demands", [("step", "endorse"), ("code", "training.nothing")]).status_code == 422
    assert browser.post("/console/workforce/demands", [("step", "sleep")]).status_code == 422
    browser.post("/console/logout")
    browser.sign_in("song.yi")
    shown = browser.get("/console/credentials").text
    assert "notice bad" in shown
    browser.post("/console/logout")
    browser.sign_in("deng.li")
    assert browser.post("/console/workforce/demands", [("step", "endorse")]).status_code == 303
