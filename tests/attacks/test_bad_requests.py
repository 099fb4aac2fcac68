"""Bad requests beside their bodies: headers, preconditions, repeated keys, bodies without end, HTTP that is none."""

from __future__ import annotations

import json
import resource
import select
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.asking import CANARY, FHIR, FORM, JSON, Caller, caller, check_form
from tests.wire import Answer, answer_on, dial, wire

MEGABYTE = 1_000_000
SIZE = 100 * MEGABYTE


@pytest.fixture(scope="module")
def its(story) -> Caller:
    return caller(story)


# -- headers --

ODD_HEADERS = [
    ("Accept-Language", b"\xff\xfe"), ("Accept-Language", "," * 500), ("Accept-Language", "en;q=x, zh;q=NaN"), ("Accept-Language", "*;q=0"),
    ("Accept", b"\xff"), ("Accept", ""), ("If-Match", b"\xff"), ("If-None-Match", b"\xff"), ("If-Modified-Since", "yesterday"),
    ("Range", "bytes=0-1"),
    ("Cookie", f"session={CANARY}"), ("X-Request-Id", CANARY), ("X-Forwarded-Host", CANARY), ("X-Forwarded-Proto", "https"), ("Host", CANARY),
    ("X-HTTP-Method-Override", "DELETE"), ("Origin", f"https://{CANARY}"), ("Prefer", "handling=lenient, return=representation"),
    ("Upgrade", "websocket"),
    ("Content-Encoding", "gzip"), ("X-Large", "x" * 20_000), ("Expect", CANARY), ("TE", "trailers"), ("X-Security-Context", "V"),
]  # fmt: skip
READS = [
    ("client", "/fhir/Patient/p1001"), ("manager", "/fhir/Consent?patient=p1001"), ("applicant", "/api/v1/applications/{number}"),
    ("", "/fhir/metadata"), ("", "/oauth2/jwks"), ("", "/opa/bundles/broker.tar.gz"), ("", "/livez"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), ODD_HEADERS)
def test_odd_headers_change_nothing(its, name, value):
    for who, path in READS:
        answer = its.call("GET", path, (name, value), who=who)
        assert answer.status in (200, 304, 400, 406), (path, answer.status)
        assert answer.status != 400 or (name, who) == ("Accept", "client"), path
        assert CANARY not in str(answer.headers)
        assert "access-control-allow-credentials" not in answer.headers
    for path in ("/fhir/Patient/p1001", "/api/v1/me"):
        check_language_free(its.call("GET", path, (name, value)), path)


def check_language_free(answer: Answer, path: str) -> None:
    """The form, whichever of the two languages a strange Accept-Language gave."""
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in answer.text)
    check_form(answer, path, "zh" if chinese else "en", statuses=(401, 400))


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [("en", "en"), ("zh", "zh"), ("zh-Hant-TW", "zh"), ("en-US,en;q=0.9,zh;q=0.8", "en"), ("fr, en;q=0.2, zh;q=0.7", "zh"), ("fr", "zh"), ("", "zh"),
     ("zh;q=0, en;q=0.1", "en"), ("EN", "en")],
)  # fmt: skip
def test_the_language_that_is_preferred(its, asked, spoken):
    for path in ("/fhir/Patient/p1001", "/api/v1/me", "/nowhere"):
        check_form(its.call("GET", path, ("Accept-Language", asked)), path, spoken)


@pytest.mark.parametrize("headers", [[("X-Large", "x" * 200_000)], [("X-Many", "1")] * 20_000])
def test_headers_without_end(its, headers):
    with dial(its.story) as line:
        try:
            line.sendall(wire("GET", "/fhir/metadata", *headers))
            assert answer_on(line).status in (400, 431)
        except ConnectionError:
            pass  # Hung up on before all of it was sent.
    its.well()


BROKEN = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n", b"GET /fhir/metadata\r\n\r\n", b"\r\n\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-" + CANARY.encode() + b"\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("data", BROKEN)
def test_http_that_is_none(its, data):
    with dial(its.story) as line:
        line.settimeout(2)
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        told = b""
        try:
            while part := line.recv(4096):
                told += part
        except TimeoutError:
            pass
        except ConnectionError:
            return
    assert not told or 400 <= int(told[9:12]) < 500, told[:100]
    assert CANARY.encode() not in told


def test_two_requests_that_disagree_about_their_length_are_one_refusal(its):
    """Request smuggling: a body that two servers would end at different places."""
    smuggled = wire("GET", "/fhir/Patient/p1001", ("Authorization", its.credentials["client"]))
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with dial(its.story) as line:
        line.sendall(head + b"0\r\n\r\n" + smuggled)
        first = answer_on(line)
        assert 400 <= first.status < 500
        assert b"p1001" not in first.body


# -- preconditions and repeated requests --


@pytest.mark.parametrize(
    "value", ["x", "1", '"1', '"-1"', '"99999999999999999999"', 'W/"1"', '"1", "2"', "", '"0"', '"\uff11"', "x" * 5000, '"' + CANARY + '"']
)
@pytest.mark.parametrize("verb", ["suspend", "approve", "narrow", "endorse", "return"])
def test_odd_if_match(its, verb, value):
    answer = its.call(
        "POST", f"/api/v1/applications/{{number}}/{verb}", ("If-Match", value), ("Content-Type", JSON), ("Accept-Language", "en"),
        who="manager", body=b'{"reason": "a test"}',
    )  # fmt: skip
    check_form(answer, "/api/v1", statuses=(400, 403, 409, 412, 422, 428))
    assert its.call("GET", "/fhir/Patient/p1001", who="client").status == 200


FEEDBACK = b'{"used": true, "purpose_met": "yes", "onward_disclosure": false, "deletion_done": false}'


@pytest.mark.parametrize(
    "keys", [[""], ['""'], ["a b"], ["键"], [b"\xff"], ["x" * 256], ["x" * 5000], ["a", "b"], ["a", "a"], [f"{CANARY} "* 3]]
)  # fmt: skip
@pytest.mark.parametrize(
    ("who", "path", "kind", "body"),
    [
        ("applicant", "/api/v1/applications", JSON, b"{}"),
        ("applicant", "/api/v1/applications/{number}/feedback", JSON, FEEDBACK),
        ("manager", "/fhir/Consent", FHIR, b'{"resourceType": "Consent"}'),
    ],
    ids=["applications", "feedback", "consent"],
)  # fmt: skip
def test_odd_idempotency_keys(its, who, path, kind, body, keys):
    headers = [("Idempotency-Key", key) for key in keys]
    answer = its.call("POST", path, *headers, ("Content-Type", kind), ("Accept-Language", "en"), who=who, body=body)
    check_form(answer, path, statuses=(400, 422))


def test_a_key_that_came_with_another_request(its):
    headers = (("Idempotency-Key", "k-1"), ("Content-Type", JSON), ("Accept-Language", "en"))
    first = its.call("POST", "/api/v1/applications", *headers, who="applicant", body=b'{"purpose": "TREAT"}')
    assert first.status == 201
    check_form(its.call("POST", "/api/v1/applications", *headers, who="applicant", body=b'{"purpose": "HPAYMT"}'), "/api/v1", statuses=(409, 422))
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: its.call("POST", "/api/v1/applications", *headers, who="applicant", body=b'{"purpose": "TREAT"}'), range(8)))
    assert {answer.status for answer in again} == {201}
    assert {answer.json()["id"] for answer in again} == {first.json()["id"]}


# -- bodies without end --


class Flood:
    """100 MB on one connection, read and written as the other side lets us."""

    def __init__(self, its: Caller, method: str, path: str, who: str, kind: str, *, declared: bool) -> None:
        signed = [("Authorization", its.credentials[who])] if who else []
        length = ("Content-Length", str(SIZE)) if declared else ("Transfer-Encoding", "chunked")
        self.declared, self.line = declared, dial(its.story)
        self.line.sendall(wire(method, path, *signed, ("Content-Type", kind), ("Accept-Language", "en"), length, length=False))

    def pour(self) -> bytes:
        """Send it all; what came back meanwhile."""
        told, sent, piece = b"", 0, b""
        self.line.setblocking(False)
        data = b"a" * MEGABYTE
        while sent < SIZE or piece:
            if not piece:
                piece = data if self.declared else b"%x\r\n" % len(data) + data + b"\r\n"
                sent += len(data)
                if sent == SIZE and not self.declared:
                    piece += b"0\r\n\r\n"
            readable, writable, _ = select.select([self.line], [self.line], [], 10)
            assert readable or writable, "stuck"
            if readable:
                part = self.line.recv(65_536)
                assert part, "hung up on"
                told += part
            if writable:
                piece = piece[self.line.send(piece) :]
        self.line.setblocking(True)
        self.line.settimeout(20)
        return told


FLOODED = [
    ("POST", "/api/v1/session", "", JSON),
    ("POST", "/api/v1/applications", "applicant", JSON),
    ("POST", "/fhir/Consent/$fileConsent", "manager", FHIR),
    ("POST", "/fhir/Observation/_search", "client", FORM),
    ("POST", "/releases", "client", JSON),
    ("POST", "/oauth2/token", "", FORM),
]


@pytest.mark.parametrize(("method", "path", "who", "kind"), FLOODED, ids=[path for _, path, _, _ in FLOODED])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_100_megabytes(its, method, path, who, kind, declared):
    """413 in the right form; the connection is good for the next request, and none of it was kept in memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flood = Flood(its, method, path, who, kind, declared=declared)
    told = flood.pour()
    head, _, body = told.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
    check_form(Answer(int(first.split(" ")[1]), headers, body), path, statuses=(413,))
    flood.line.sendall(wire("GET", "/fhir/Patient/p1001", ("Authorization", its.credentials["client"])))
    assert answer_on(flood.line).json()["id"] == "p1001"
    flood.line.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000  # kB; the sending end's megabytes included


@pytest.mark.parametrize("path", ["/fhir/Patient/p1001", "/fhir/Patient/p1001/$everything", "/api/v1/me", "/log/checkpoint"])
def test_a_read_that_announces_100_megabytes_is_refused_before_anything_is_released(its, path):
    def events() -> int:
        with its.story.installation.database.transaction() as session:
            return session.connection().exec_driver_sql("SELECT count(*) FROM audit_event").scalar_one()

    before = events()
    with dial(its.story) as line:
        line.sendall(
            wire("GET", path, ("Authorization", its.credentials["client"]), ("Accept-Language", "en"), ("Content-Length", str(SIZE)), length=False)
        )
        check_form(answer_on(line), path, statuses=(413,))
    assert events() == before


def test_a_body_that_never_comes_holds_up_nobody(its):
    lines = [dial(its.story) for _ in range(40)]
    for line in lines:
        line.sendall(wire("POST", "/api/v1/session", ("Content-Type", JSON), ("Content-Length", "100"), length=False) + json.dumps("x").encode())
    its.well()
    for line in lines:
        line.close()
    its.well()
