"""Bad input, black box, over a socket: a clear error of the right form, nothing echoed, nothing lost, never a 5xx."""

from __future__ import annotations

import json

import httpx2
import pytest

from broker.demo.story import Story

DEEP = b'{"a":' * 10_000 + b"1" + b"}" * 10_000
CANARY = "CANARY-7f3a"

BODIES = {
    "empty": b"",
    "cut off": b'{"application": "SA-2026-000001", ',
    "not json": b"<xml/>" + CANARY.encode(),
    "10,000 deep": DEEP,
    "duplicate keys": b'{"patient": "p1001", "patient": "p1006", "application": "SA-2026-000001"}',
    "not utf-8": b'{"patient": "\xff\xfe"}',
    "lone surrogate": b'{"patient": "\\ud800", "application": "x"}',
    "nul": b'{"patient": "p\\u0000", "application": "x"}',
    "nan": b'{"patient": NaN}',
    "an array": b"[1, 2, 3]",
    "a string": b'"' + CANARY.encode() + b'"',
    "wrong types": json.dumps({"application": 7, "patient": {"x": CANARY}, "types": "Observation"}).encode(),
    "unknown field": json.dumps({"application": "SA-2026-000001", "patient": "p1001", CANARY: CANARY}).encode(),
    "big number": b'{"patient": 1e999999, "application": 99999999999999999999999999999999999}',
}
POSTS = [
    "/releases",
    "/api/v1/applications",
    "/api/v1/session",
    "/fhir/Consent/$fileConsent",
    "/fhir/Consent/$revokeConsent",
    "/fhir/Observation/_search",
]


@pytest.fixture(scope="module")
def token(story: Story) -> str:
    story.file_consent("p1001", "shengli")
    application = story.apply("gao.min", "shengli-cardiology", "p1001", "TREAT", "consent", [{"data_class": "clinical.laboratory"}])
    story.decide(application["number"], "song.yi", "deng.li")
    return story.system("shengli-his").token(application["number"])["access_token"]


def check_form(answer: httpx2.Response, path: str) -> None:
    """The error's form follows the path, and it says nothing that was sent."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert CANARY not in answer.text
    document = answer.json()
    if path.startswith("/fhir"):
        assert document["resourceType"] == "OperationOutcome"
        assert document["issue"][0]["severity"] in ("error", "fatal")
    elif path.startswith("/oauth2"):
        assert document["error"]
    else:
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert {"type", "title", "detail", "code", "help", "request_id"} <= document.keys()


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_bodies(story, token, path, body):
    client = path in ("/releases", "/fhir/Observation/_search")
    headers = {"Content-Type": "application/json" if "_search" not in path else "application/x-www-form-urlencoded"}
    given = (
        {"headers": {**headers, "Authorization": f"Bearer {token}"}}
        if client
        else {"headers": headers, "auth": ("deng.li", story.cast.passwords["deng.li"])}
    )
    answer = story.http.post(path, content=body, **given)
    if answer.status_code == 201 and body == b"":  # An empty draft is a draft.
        return
    check_form(answer, path)
    assert story.http.get("/fhir/Observation?patient=p1001&_count=1", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize("path", ["/releases", "/api/v1/applications", "/fhir/Consent/$fileConsent", "/oauth2/token"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_100_megabytes(story, token, path, declared):
    def pieces():
        for _ in range(100):
            yield b"x" * 1_000_000

    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **({"Content-Length": "100000000"} if declared else {})}
    try:
        answer = httpx2.post(f"{story.base_url}{path}", content=pieces(), headers=headers, timeout=60)
    except (httpx2.WriteError, httpx2.ReadError, httpx2.RemoteProtocolError):
        return  # It is hung up on before all of it was taken.
    assert answer.status_code in (400, 401, 413)
    check_form(answer, path)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        "Basic !!!",
        "Basic " + "A" * 9000,
        "Negotiate x",
        "Bearer " + "A" * 9000,
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    ],
)
@pytest.mark.parametrize(
    "path",
    ["/fhir/Patient/p1001", "/fhir/Patient/p1001/$everything", "/releases/x", "/api/v1/applications", "/fhir/Consent", "/log/tile/entries/000"],
)
def test_credentials(story, authorization, path):
    answer = story.http.get(path, headers={"Authorization": authorization} if authorization else {})
    assert answer.status_code == 401, answer.text[:200]
    check_form(answer, path)


@pytest.mark.parametrize(
    "path",
    [
        "/fhir/Patient/%00", "/fhir/Patient/%FF%FE", "/fhir/Patient/..%2F..%2Fetc", "/fhir/Patient/p1001?_format=%FF",
        "/fhir/Observation?patient=%00",
        "/fhir/Observation?patient", "/fhir/Observation?&&&", "/fhir/Observation?" + "a=b&" * 60, "/fhir/" + "A" * 3000,
        "/fhir/Observation?patient=p1001&_page=%00",
        "/fhir/Observation?patient=p1001&_count=" + "9" * 4000, "/fhir/Patient/" + "p" * 3000, "/releases/%00", "/releases/x/receipt",
    ],
)  # fmt: skip
def test_odd_addresses(story, token, path):
    check_form(story.http.get(path, headers={"Authorization": f"Bearer {token}"}), path)


@pytest.mark.parametrize(
    "headers", [{"If-Match": "x"}, {"If-Match": '"99999999999999"'}, {"Idempotency-Key": "x" * 5000}, {"Accept-Language": ",;q"}, {}]
)
def test_odd_headers(story, headers):
    answer = story.http.post(
        "/api/v1/applications/SA-2026-000001/approve", json={}, headers=headers, auth=("deng.li", story.cast.passwords["deng.li"])
    )
    check_form(answer, "/api/v1")


@pytest.mark.parametrize(("spoken", "word"), [("zh-CN", "令牌"), ("en", "token")])
def test_errors_speak_both_languages(story, spoken, word):
    answer = story.http.get("/fhir/Patient/p1001", headers={"Accept-Language": spoken})
    assert word in answer.text


def test_an_unknown_patient_is_named_by_place_not_by_value(story):
    form = {
        "purpose": "TREAT", "lawful_basis": "consent", "recipient": "shengli-cardiology", "data": [{"data_class": "clinical.laboratory"}],
        "patients": [{"identifier": {"system": "urn:oid:2.16.156.10011.1.3", "value": CANARY}, "name": CANARY, "birthDate": "1958-03-12"}],
        "valid_until": "2099-01-01", "justification": "x",
    }  # fmt: skip
    person = story.person("gao.min")
    draft = person.call("POST", "/api/v1/applications", expected=201, body=form)
    path = f"/api/v1/applications/{draft.json()['draft_id']}/submit"
    answer = story.http.post(path, headers={"If-Match": draft.headers["etag"]}, auth=("gao.min", story.cast.passwords["gao.min"]))
    check_form(answer, path)
    assert any("/patients/0" in problem["path"] for problem in answer.json()["errors"])
