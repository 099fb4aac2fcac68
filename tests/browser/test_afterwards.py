"""What happens after data have left, at the desks of those who deal with it: incidents, duties, destruction, cases, requests (PI-5 to 7, RS-7.3)."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from broker import clock
from broker.demo.client import expect
from broker.demo.consents import revocation
from broker.demo.story import TREATMENT
from broker.obligations import service as obligations
from tests.browser.conftest import at, sign_in

pytestmark = pytest.mark.browser

PATIENT, OTHER = "p1001", "p1004"


@pytest.fixture(scope="module")
def lived_in(story):
    """Data were sent and called back, someone broke the glass, something happened: every page has something on it."""
    consent = story.file_consent(PATIENT, "shengli")
    number = story.apply("gao.min", "shengli-cardiology", PATIENT, "TREAT", "consent", TREATMENT)["number"]
    story.decide(number, "song.yi", "deng.li")
    token = story.system("shengli-his").token(number)["access_token"]
    sent = expect(story.system("shengli-his").fetch("POST", "/releases", token, {"application": number, "patient": PATIENT}), 200)
    story.person("deng.li").call("POST", "/fhir/Consent/$revokeConsent", body=revocation(consent, PATIENT))
    with story.installation.database.transaction() as session:
        obligations.follow(session, story.installation.keys, days=15)
    return story, number, sent.headers["release-id"]


def fill(page, form, **values):
    for name, value in values.items():
        field = page.locator(f"#{form}-{name}")
        if field.evaluate("one => one.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)


def do(desk, step, form=""):
    """Press the button of a step; ``form``: something that only the form meant has."""
    form = desk.page.locator(f"form:has(input[name=step][value={step}]){f':has({form})' if form else ''}").first
    with desk.page.expect_navigation():
        form.locator("button").first.click()
    assert desk.page.locator("#problems").count() == 0, desk.page.inner_text("#problems")


def unfold(page, form):
    """A folded form can't be filled."""
    page.locator("details:not([open]) > summary").first.wait_for(state="attached")
    for one in page.locator(f"details:not([open]):has({form}) > summary").all():
        one.click()


LANGUAGES = pytest.mark.parametrize(("language", "scripts"), [("zh", True), ("en", False)])


@LANGUAGES
def test_an_incident_from_the_report_to_its_end(chromium, lived_in, language, scripts):
    story, number, _ = lived_in
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.open("/console/incidents")
        fill(page, "report", kind="wrong-recipient", text="传真发错号码")
        do(desk, "report")
        desk.look("incident-reported")
        incident = page.url.rsplit("/", 1)[1].partition("?")[0]
        assert page.locator("input[value=assess]").count() == 0
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open("/console/incidents")
        fill(page, "contain", client="renhe-finance-system", grant=number, text="核查期间停用", incident=incident)
        do(desk, "contain")
        fill(page, "assess", severity="low", clients="shengli-his")
        do(desk, "assess")
        assert "1" in page.inner_text("dl.facts")
        desk.look("incident-assessed")
        while page.locator("form:has(input[value=notify])").count():
            page.locator("details:has(input[value=notify]) > summary").first.click()
            do(desk, "notify")
        unfold(page, "input[value=investigate]")
        do(desk, "investigate")
        fill(page, "ask", text="已更换号码簿")
        do(desk, "ask-to-lift")
        unfold(page, "input[value=close]")
        fill(page, "close", cause="号码簿过期", measures="每月核对")
        do(desk, "close")
        desk.look("incident-closed")
        desk.open("/console/incidents")
        desk.look("incidents")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "jiang.tao")
        desk.open(f"/console/incidents/{incident}")
        assert page.locator("ol.thread li").count() >= 6


@LANGUAGES
def test_both_sides_of_obligations_and_recalls(chromium, lived_in, language, scripts):
    story, _number, _ = lived_in
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.open("/console/obligations")
        desk.look("obligations-recipient")
        desk.open("/console/recalls")
        desk.look("recalls-recipient")
        if page.locator("input[value=acknowledge]").count():
            fill(page, "recall", done="deleted", method="wiped", text="清除记录 7 号")
            do(desk, "acknowledge")
        assert "清除记录 7 号" in page.inner_text("main")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        sign_in(desk, story, "deng.li")
        for path, name in (("/console/obligations", "obligations"), ("/console/recalls", "recalls")):
            desk.open(path)
            desk.look(name)


@LANGUAGES
def test_two_people_destroy_paper_and_the_certificate_is_there(chromium, lived_in, language, scripts):
    story, _, _ = lived_in
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open("/console/destruction")
        fill(page, "propose", kind="paper", reason="retention", method="cross-cut", what="2019 年纸质申请单 3 箱")
        do(desk, "propose")
        path = page.url.removeprefix(story.base_url).partition("?")[0]
        assert page.locator("input[value=approve]").count() == 0
        desk.look("order-proposed")
        desk.open("/console/destruction")
        fill(page, "hold", patients=story.cast.patients[OTHER].identifier["value"], kind="legal", text="诉讼")
        do(desk, "hold")
        desk.look("destruction")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "jiang.tao")
        desk.open(path)
        do(desk, "approve")
        for _ in range(60):
            if page.locator("pre").count():
                break
            page.wait_for_timeout(500)
            page.reload()
        desk.look("order-executed")
        paper = page.request.get(f"{path}/certificate.pdf")
        assert paper.body().startswith(b"%PDF")
        assert "proof" in json.loads(page.request.get(f"{path}/certificate.json").body())


@LANGUAGES
def test_break_glass_its_review_and_the_case(chromium, lived_in, language, scripts):
    story, _, _ = lived_in
    patient = story.cast.patients["p1006" if language == "zh" else OTHER]
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.open("/console/emergencies")
        fill(page, "open", recipient="shengli-cardiology", system=patient.identifier["system"], value=patient.identifier["value"], name=patient.name,
             birth=patient.birth_date, text="患者昏迷入院")  # fmt: skip
        desk.look("emergencies-open")
        do(desk, "open")
        path = page.url.removeprefix(story.base_url).partition("?")[0]
        desk.look("emergency-open")
        assert page.locator("input[value=review]").count() == 0
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open(path)
        fill(page, "review", verdict="misuse", text="患者当日未到急诊")
        do(desk, "review")
        desk.look("emergency-reviewed")
        desk.open("/console/emergencies")
        desk.look("emergencies")
        desk.open("/console/violations")
        desk.look("violations")
        case = page.locator("table.list a").first.get_attribute("href")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.open(case)
        fill(page, "hear", text="我误填了患者")
        do(desk, "hear")
        desk.look("violation-heard")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open(case)
        fill(page, "propose", sanction="warning", text="首次")
        do(desk, "propose")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "jiang.tao")
        desk.open(case)
        do(desk, "agree")
        desk.look("violation-decided")


@LANGUAGES
def test_a_case_is_opened_from_the_transmission_log_by_ticking(chromium, lived_in, language, scripts):
    """RS-7.3: who may not read the log itself picks the evidence from what was sent, and the accused sees it in words with its receipt."""
    story, number, _ = lived_in
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open("/console/violations")
        desk.press("a[href='/console/violations/new']")
        desk.look("violation-new")
        fill(page, "f", text="超出用途使用", person="gao.min", grounds="purpose-breach")
        fill(page, "search", application="SA-2020-000009")
        desk.press("button[value=search]")
        assert page.locator("input[name=evidence]").count() == 0
        fill(page, "search", application=number, recipient="shengli-cardiology")
        desk.press("button[value=search]")
        assert page.input_value("#f-text") == "超出用途使用", "a search loses nothing that was typed"
        page.locator("table input[name=evidence]").first.check()
        fill(page, "search", application="SA-2020-000009")
        desk.press("button[value=search]")
        assert page.locator("input[name=evidence]:checked").count() == 1, "a search loses no tick"
        desk.look("violation-new-ticked")
        page.locator("input[name=evidence]").uncheck()
        desk.press("button[value=open]")
        assert page.locator("#problems").count() == 1, "without evidence there is no case"
        fill(page, "search", application=number, patient=story.cast.patients[PATIENT].identifier["value"])
        desk.press("button[value=search]")
        assert story.cast.patients[PATIENT].identifier["value"] not in page.url
        page.locator("table input[name=evidence]").first.check()
        desk.press("button[value=open]")
        case = page.url.removeprefix(story.base_url).partition("?")[0]
        assert number in page.inner_text("dl.facts")
    with at(chromium, story.base_url, language, scripts=scripts, phone=True) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.open(case)
        desk.look("violation-accused")
        for _ in range(60):
            if page.locator("a[href*='/receipts/']").count():
                break
            page.wait_for_timeout(500)
            page.reload()
        receipt = page.request.get(story.base_url + page.locator("a[href*='/receipts/']").first.get_attribute("href"))
        assert receipt.text().startswith("c2sp.org/tlog-proof@v1")
        assert page.request.get(f"{story.base_url}/console/violations/new").status == 403


@LANGUAGES
def test_learning_and_access_rights(chromium, lived_in, language, scripts):
    story, _, _ = lived_in
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open("/console/improvement?source=incident&ref=IN-2026-000001")
        fill(page, "action", title="号码簿每月核对", due=(clock.today() - timedelta(days=1)).isoformat())
        do(desk, "action")
        unfold(page, "#risk-title")
        fill(page, "risk", title="密钥保管", likelihood="4", impact="5", review=clock.today().isoformat(), treatment="每半年轮换")
        do(desk, "risk", "#risk-title")
        unfold(page, "#event-patient")
        fill(page, "event", patient=story.cast.patients[OTHER].identifier["value"], occurred="2026-11-20T08:00", text="共享的过敏史缺失")
        do(desk, "event")
        desk.look("improvement")
        desk.open("/console/decide")
        assert page.locator("a[href^='/console/improvement']").count() >= 2, "what is open stands on the start page too"
        desk.look("decide-workload")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        sign_in(desk, story, "cao.yan")
        today = clock.today()
        story.person("cao.yan").call("POST", f"/api/v1/reviews/{today.year}Q{(today.month + 2) // 3}/access")
        desk.open("/console/access")
        desk.look("access-auditor")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "song.yi")
        desk.open("/console/access")
        desk.look("access-head")
        page.locator("input[value=keep]").first.check()
        with page.expect_navigation():
            page.locator("form:has(input[value=keep]) button").first.click()
        assert page.locator("input[value=keep]:checked").count() >= 1


@LANGUAGES
def test_a_patient_asks_and_is_answered(chromium, lived_in, language, scripts):
    story, _, _ = lived_in
    patient = story.cast.patients[PATIENT]
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open("/console/patient-code")
        page.fill("main input[name=number]", patient.identifier["value"])
        desk.press("main form button")
        code = page.inner_text(".code-text")
    with at(chromium, story.base_url, language, scripts=scripts, phone=True) as own:
        page = own.open("/console/patient/login")
        page.fill("input[name=number]", patient.identifier["value"])
        page.fill("input[name=code]", code)
        own.press("main form button")
        own.open("/console/patient/requests")
        page.check("input[name=kind][value=copy]")
        fill(page, "ask", text="请给我一份副本")
        own.look("patient-requests-asking")
        do(own, "ask")
        with at(chromium, story.base_url, language, scripts=scripts) as desk:
            manager = sign_in(desk, story, "deng.li")
            desk.open("/console/requests")
            desk.look("requests")
            desk.press("table.list a")
            fill(manager, "fulfil", text="请在本人页面下载")
            desk.look("request-received")
            do(desk, "fulfil")
            desk.look("request-fulfilled")
            answer = manager.request.get(manager.url.partition("?")[0] + "/copy.json")
            assert len(json.loads(answer.body())["entry"]) > 20
        own.open("/console/patient/requests")
        own.look("patient-requests")
        own.press("a[href$='/copy']")
        own.look("patient-copy")
        own.open("/console/patient")
        own.look("patient-sendings")
        own.open("/console/patient/requests")
        page.check("input[name=kind][value=deletion]")
        fill(page, "ask", text="请删除")
        do(own, "ask")
    with at(chromium, story.base_url, language, scripts=scripts) as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open("/console/requests?status=received")
        desk.press("table.list a")
        unfold(page, "#refuse-text")
        fill(page, "refuse", ground="kept-by-law", text="病历须依法保存")
        do(desk, "refuse")
        desk.look("request-refused")


def test_a_correction_is_proposed_by_one_compared_by_another_and_recipients_are_told(chromium, lived_in):
    """PIPL 46, RS-5.4: before beside after; whoever brought it can't agree to it; the recipient finds what to correct."""
    story, number, _ = lived_in
    asked = {"patient": PATIENT, "kind": "correction", "text": "化验值抄错了"}
    path = f"/console/requests/{story.person('deng.li').call('POST', '/api/v1/patient-requests', expected=201, body=asked).json()['number']}"
    with at(chromium, story.base_url, "zh") as desk:
        page = sign_in(desk, story, "deng.li")
        desk.open(path)
        desk.press(f"main a[href='{path}/correct']")
        desk.look("correction-which", picture=False)
        page.locator("main summary:has-text('检查检验结果')").click()
        with page.expect_navigation():
            page.locator("main a[href*='resource=Observation']").first.click()
        field = page.locator("input[inputmode=decimal]").first
        before = field.input_value()
        desk.press("form[action$='/correct'] button")
        assert page.locator("#problems").count() == 1, "what changes nothing is no correction"
        page.locator("input[inputmode=decimal]").first.fill("98.7")
        desk.look("correction-filled")
        labels = [one.text_content() for one in page.locator("form[action$='/correct'] label").all()]
        assert [one for one in labels if re.search("[a-z]{3}", one)] == [], "no names of FHIR"
        desk.press("form[action$='/correct'] button")
        assert page.locator("input[value=agree]").count() == 0, "who brought it doesn't agree to it"
    with at(chromium, story.base_url, "en", scripts=False) as desk:
        page = sign_in(desk, story, "jiang.tao")
        desk.open(path)
        (row,) = page.locator("main table.list tbody tr").all()
        assert (row.locator("del").inner_text(), row.locator("ins").inner_text()) == (before, "98.7")
        desk.look("correction-compared")
        fill(page, "agree", text="已更正")
        do(desk, "agree")
    with story.installation.database.transaction() as session:
        obligations.follow(session, story.installation.keys, days=15)
    with at(chromium, story.base_url, "zh", phone=True) as desk:
        page = sign_in(desk, story, "gao.min")
        desk.open("/console/recalls?open=yes")
        assert page.locator(f"tbody tr:has-text('{number}'):has-text('数据已更正')").count() == 1
        desk.look("recalls-corrected")


@pytest.fixture(scope="module")
def details(lived_in):
    """One instance of each page that an entry of a list leads to, with who looks at it."""
    story, number, _ = lived_in
    manager, second, nurse = (story.person(one) for one in ("deng.li", "jiang.tao", "gao.min"))
    target = [{"kind": "person", "id": story.person("yu.fang").call("GET", "/api/v1/me").json()["id"]}, {"kind": "patient", "id": "p1002"}]
    drill = manager.call("POST", "/api/v1/containments", expected=201, body={"targets": target, "reason": "演练", "drill": True}).json()["number"]
    real = manager.call("POST", "/api/v1/containments", expected=201, body={"targets": target, "reason": "核查"}).json()["number"]
    body = {"severity": "high", "sensitive": True, "applications": [number]}
    manager.call("POST", f"/api/v1/incidents/{real}/assess", body=body)
    manager.call("POST", f"/api/v1/incidents/{real}/ask-to-lift", body={"text": "已核实"})
    patient = story.cast.patients["p1005"]
    said = {**patient.identifier, "name": patient.name, "birthDate": patient.birth_date}
    glass = {"recipient": "shengli-cardiology", "patient": said, "reason": "昏迷入院"}
    opened = nurse.call("POST", "/api/v1/emergencies", expected=201, body=glass).json()["application"]
    manager.call("POST", f"/api/v1/emergencies/{opened}/review", body={"verdict": "misuse", "text": "未到急诊"})
    case = next(one["number"] for one in nurse.call("GET", "/api/v1/violations").json() if one["grounds"] == "emergency-misuse")
    nurse.call("POST", f"/api/v1/violations/{case}/hear", body={"text": "误填"})
    manager.call("POST", f"/api/v1/violations/{case}/propose", body={"sanction": "suspended", "days": 30, "text": "理由"})
    order = {"kind": "media", "reason": "end-of-agreement", "method": "degaussed", "what": "移动硬盘 2 块"}
    ordered = manager.call("POST", "/api/v1/destruction-orders", expected=201, body=order).json()["number"]
    second.call("POST", f"/api/v1/destruction-orders/{ordered}/approve")
    people = {one["username"]: one["id"] for one in story.person("peng.bo").call("GET", "/api/v1/people").json()}
    now = clock.now()
    times = {"starts_at": (now + timedelta(days=1)).isoformat(), "ends_at": (now + timedelta(days=1, hours=1)).isoformat()}
    live = story.file_consent(OTHER, "shengli", without=("PSY",))
    other = story.apply("gao.min", "shengli-cardiology", OTHER, "TREAT", "consent", TREATMENT)["number"]
    story.decide(other, "song.yi", "deng.li")
    assert live
    body = {"application": other, "consultant": people["song.yi"], **times}
    booked = nurse.call("POST", "/api/v1/consultations", expected=201, body=body).json()["number"]
    asked = manager.call("POST", "/api/v1/patient-requests", expected=201, body={"patient": PATIENT, "kind": "explanation", "text": "请解释"}).json()
    raised = nurse.call("POST", "/api/v1/concerns", expected=201, body={"kind": "complaint", "text": "答复太慢"}).json()["number"]
    return [
        ("deng.li", f"/console/incidents/{drill}", "incident-drill"),
        ("deng.li", f"/console/incidents/{real}", "incident-asked-to-lift"),
        ("deng.li", f"/console/emergencies/{opened}", "emergency-misused"),
        ("deng.li", f"/console/violations/{case}", "violation-proposed"),
        ("deng.li", f"/console/destruction/{ordered}", "certificate"),
        ("deng.li", f"/console/requests/{asked['number']}", "request-explanation"),
        ("deng.li", f"/console/concerns/{raised}", "concern"),
        ("deng.li", "/console/inbox", "inbox-after"),
        ("jiang.tao", f"/console/incidents/{real}", "incident-second"),
        ("jiang.tao", f"/console/violations/{case}", "violation-second"),
        ("gao.min", f"/console/violations/{case}", "violation-mine"),
        ("gao.min", f"/console/emergencies/{opened}", "emergency-mine"),
        ("gao.min", f"/console/consultations/{booked}", "consultation-booked"),
        ("gao.min", "/console/inbox", "inbox-recipient"),
        ("cao.yan", f"/console/incidents/{real}", "incident-auditor"),
    ]


#: What only a machine says: an id (but of a sending, which the recipient's system knows), a code with a hyphen in Chinese, an hour of UTC.
RAW = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\bperson:|\bclient:|T\d\d:\d\dZ|\(UTC\)|（UTC）")
ENGLISH = re.compile(r"(?<![\w./-])(?:[a-z]+-)+[a-z]+(?![\w./-])")


@pytest.mark.parametrize(("language", "phone"), [("zh", True), ("en", False)])
def test_each_detail_page_is_in_words_and_fits(chromium, lived_in, details, language, phone):
    """RS-7.3, PI-3.5, PI-7, TM-5.4: axe on the phone in Chinese; no identifiers and no codes in either language."""
    story = lived_in[0]
    wrong: list[str] = []
    for name in dict.fromkeys(one[0] for one in details):
        with at(chromium, story.base_url, language, phone=phone, scripts=phone) as desk:
            page = sign_in(desk, story, name)
            for path, called in ((path, called) for who, path, called in details if who == name):
                desk.open(path)
                try:
                    desk.look(called)
                    words = page.locator("main").evaluate(
                        "one => [...one.querySelectorAll('pre, code, textarea')].forEach(x => x.remove()) || one.innerText"
                    )
                    raw = RAW.findall(words)
                    assert raw == [], f"{called}: {raw} in {words}"
                    known = {"shengli-his", "renhe-finance-system"}
                    assert language == "en" or set(ENGLISH.findall(words)) <= known, f"{called}: {ENGLISH.findall(words)}"
                except AssertionError as error:
                    wrong.append(f"{name} {path}: {error}")
    assert wrong == [], "\n\n".join(wrong)
