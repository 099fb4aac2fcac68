"""Bad input, black box, over a socket: a clear error of the right form and language, nothing echoed, nothing lost, never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.attacks.asking import CANARY, FHIR, FORM, JSON, Caller, caller, check_form


@pytest.fixture(scope="module")
def its(story) -> Caller:
    return caller(story)


@pytest.fixture(autouse=True)
def nothing_lost(its) -> Iterator[None]:
    yield
    its.well()


LANGUAGES = {"en": "en-GB,zh;q=0.5", "zh": "zh-CN,en;q=0.3"}

#: Routes that read JSON: method, path, who, content type.
ROUTES = [
    ("POST", "/api/v1/session", "", JSON),
    ("POST", "/api/v1/organizations", "administrator", JSON),
    ("PATCH", "/api/v1/organizations/shengli", "administrator", JSON),
    ("POST", "/api/v1/people", "administrator", JSON),
    ("POST", "/api/v1/clients", "administrator", JSON),
    ("PUT", "/api/v1/clients/shengli-his/keys", "administrator", JSON),
    ("POST", "/api/v1/applications", "applicant", JSON),
    ("PUT", "/api/v1/applications/{number}", "applicant", JSON),
    ("POST", "/api/v1/applications/{number}/narrow", "manager", JSON),
    ("POST", "/api/v1/applications/{number}/suspend", "manager", JSON),
    ("POST", "/api/v1/applications/{number}/feedback", "applicant", JSON),
    ("POST", "/fhir/Consent/$fileConsent", "manager", FHIR),
    ("POST", "/fhir/Consent/$revokeConsent", "manager", FHIR),
    ("POST", "/fhir/Consent", "manager", FHIR),
    ("POST", "/releases", "client", JSON),
]

#: Bodies that are no JSON, or none that can be read in one way only: 400, whatever the route.
UNREADABLE = {
    "cut off": b'{"application": "SA-2026-000001", ',
    "not json": b"<xml>" + CANARY.encode(),
    "10,000 arrays deep": b"[" * 10_000 + b"]" * 10_000,
    "10,000 objects deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "10,000 opened": b'{"a":[' * 10_000,
    "a key twice": b'{"patient": "p1001", "patient": "' + CANARY.encode() + b'", "application": "x", "username": "a", "username": "b"}',
    "a key twice, nested": b'{"purpose": "TREAT", "period": {"start": "2026-01-01", "start": "1900-01-01"}}',
    "a key twice, escaped": b'{"reason": "x", "re\\u0061son": "y"}',
    "not UTF-8": b'{"patient": "\xff\xfe", "username": "\xc0\x80"}',
    "UTF-16": '{"patient": "p1001"}'.encode("utf-16"),
    "NaN": b'{"patient": NaN, "releases_limit": Infinity}',
    "two values": b"{} {}",
    "a number of 5,000 digits": b'{"retention_days": ' + b"9" * 5000 + b"}",
    "an exponent": b'{"retention_days": 1e999999999}',
    "a comment": b'{/* */ "a": 1}',
    "a NUL byte": b'{"a": "\x00"}',
}

#: Fields that one route or another has.
FIELDS = ("application", "patient", "types", "username", "password", "id", "name", "reason", "purpose", "patients", "data", "used", "status")

#: JSON of the wrong shape: 400 or 422.
WRONG = {
    "null": b"null",
    "an array": b"[1, 2, 3]",
    "a text": json.dumps(CANARY).encode(),
    "a number": b"17",
    "true": b"true",
    "unknown fields": json.dumps({f"{CANARY} {n}": CANARY for n in range(200)}).encode(),
    "wrong types": json.dumps({name: {"x": [CANARY]} for name in FIELDS}).encode(),
    "wrong types in FHIR": json.dumps({"resourceType": "Consent", "status": [CANARY], "patient": CANARY, "provision": [CANARY]}).encode(),
    "wrong parameters": json.dumps({"resourceType": "Parameters", "parameter": [CANARY, {"name": CANARY}, {"name": "consent"}]}).encode(),
    "lone surrogates": json.dumps(dict.fromkeys(FIELDS, "\ud800") | {"resourceType": "Consent", "jwks": {"\ud800": 1}}).encode(),
    "odd names": json.dumps({"": 1, "a b": 2, "\u0000": 3, "x" * 5000: 4, f"<{CANARY}>": 5, "resourceType": "Consent"}).encode(),
    "NUL": json.dumps(dict.fromkeys(FIELDS, "a\0b") | {"jwks": {"keys": ["\0"]}}).encode(),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "who", "kind"), ROUTES, ids=[f"{route[0]} {route[1]}" for route in ROUTES])
@pytest.mark.parametrize("language", LANGUAGES)
def test_bodies(its, method, path, who, kind, language):
    before = counts(its)
    for bodies, statuses in ((UNREADABLE, (400,)), (WRONG, (400, 422))):
        for name, body in bodies.items():
            answer = its.call(method, path, ("Content-Type", kind), ("Accept-Language", LANGUAGES[language]), who=who, body=body)
            try:
                check_form(answer, path, language, statuses=statuses)
            except AssertionError as error:
                raise AssertionError(f"{name}: {answer.status} {answer.text[:500]}") from error
    assert counts(its) == before


def counts(its) -> tuple[int, ...]:
    """How much is kept of each thing that somebody can make."""
    tables = ("application", "sharing_grant", "consent", "organization", "person", "client", "feedback", "release")
    with its.story.installation.database.transaction() as session:
        rows = [session.connection().exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in tables]
    return tuple(rows[:-1])


@pytest.mark.parametrize("kind", ["", "text/plain", "application/xml", "multipart/form-data", 'application/json; charset="x', ";;;", "\xff", FORM])
def test_content_types(its, kind):
    for method, path, who, _ in ROUTES:
        body = b'{"x": "' + CANARY.encode() + b'"}'
        answer = its.call(method, path, ("Content-Type", kind.encode("latin-1")), ("Accept-Language", "en"), who=who, body=body)
        check_form(answer, path, statuses=(400, 415, 422))
    for path in ("/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"):
        check_form(its.call("POST", path, ("Content-Type", kind.encode("latin-1")), body=b"grant_type=" + CANARY.encode()), path, statuses=(400, 401))


ODD = [
    "%00", "a%00b", f"{CANARY}%00", "%FF%FE", "%C0%80", "%ED%A0%80",
    "..%2F..%2Fetc%2Fpasswd", "%2e%2e", "%", "%zz", "%E5%BC%A0", "'", "%22", "%27%3B--",
    f"%3Cscript%3E{CANARY}", "{}", "$x", "*", "-", "-1", "9" * 40, "null", "%0d%0aX-Injected:%201", "a" * 300, CANARY * 900,
]  # fmt: skip
#: Addresses with a place for something odd: who calls, and the address.
PLACES = [
    ("administrator", "/api/v1/organizations/{}"), ("administrator", "/api/v1/people/{}"), ("administrator", "/api/v1/clients/{}"),
    ("administrator", "/api/v1/people?organization={}"), ("administrator", "/api/v1/{}"), ("manager", "/api/v1/applications/{}"),
    ("manager", "/api/v1/applications/{}/preview"), ("manager", "/api/v1/applications/{}/feedback"), ("manager", "/api/v1/applications?status={}"),
    ("manager", "/api/v1/applications?recipient={}"), ("manager", "/api/v1/applications?limit={}"), ("manager", "/api/v1/applications?after={}"),
    ("manager", "/api/v1/applications?{}=1"), ("auditor", "/api/v1/transmissions?patient={}"), ("auditor", "/api/v1/transmissions?recipient={}"),
    ("auditor", "/api/v1/transmissions?application={}"), ("auditor", "/api/v1/transmissions?since={}"), ("auditor", "/api/v1/transmissions?until={}"),
    ("manager", "/fhir/Consent/{}"), ("manager", "/fhir/Consent/{}/_history/1"), ("manager", "/fhir/Consent?patient=p1001&date={}"),
    ("manager", "/fhir/Consent?patient=p1001&_count={}"), ("manager", "/fhir/Consent?patient=p1001&_offset={}"),
    ("manager", "/fhir/Consent?patient=p1001&{}=1"), ("client", "/fhir/{}"), ("client", "/fhir/{}/x"), ("client", "/fhir/Observation/{}"),
    ("client", "/fhir/Patient/{}/$everything"), ("client", "/fhir/Patient/p1001/$everything?_type={}"), ("client", "/fhir/Observation?patient={}"),
    ("client", "/fhir/Patient/p1001/$everything?_count={}"), ("client", "/fhir/Patient/p1001/$everything?_page={}"),
    ("client", "/fhir/Observation?{}"),
    ("client", "/fhir/Observation?patient=p1001&date={}"), ("client", "/fhir/Observation?patient=p1001&{}=1"),
    ("client", "/fhir/Observation?patient=p1001&_format={}"), ("client", "/releases/{}"), ("client", "/releases/{}/receipt"), ("", "/oauth2/{}"),
    ("", "/log/tile/{}/000"), ("", "/log/tile/0/{}"), ("auditor", "/log/tile/entries/{}"), ("", "/log/proof/{}"), ("", "/opa/bundles/{}"),
    ("", "/{}"),
    ("", "/console/{}"),
]  # fmt: skip


@pytest.mark.parametrize(("who", "place"), PLACES, ids=[place for _, place in PLACES])
def test_addresses(its, who, place):
    for odd in ODD:
        path = place.replace("{}", odd)
        answer = its.call("GET", path, ("Accept-Language", "en"), who=who)
        if answer.status == 200:  # A list that is empty, or a search that found nothing or simply starts at that number.
            assert place.startswith(("/api/v1/", "/fhir/Consent", "/fhir/Observation?patient=p1001", "/fhir/Patient/p1001")), path[:100]
            assert not answer.json() if place.startswith("/api/v1/people") else CANARY not in answer.text
        elif answer.status == 303:  # To the entrance, and to nowhere else.
            assert place.startswith("/console/"), path[:100]
            assert answer.headers["location"].partition("?")[0] == "/console/login"
            assert "//" not in answer.headers["location"]
            assert "\r" not in answer.headers["location"]
        else:
            check_form(answer, path)


#: Parameters that may stand once: who, method, path, body.
TWICE = [
    ("client", "GET", "/fhir/Observation?patient=p1001&patient=p1001", b""),
    ("client", "GET", "/fhir/Observation?patient=p1001&patient=p1006", b""),
    ("client", "GET", "/fhir/Patient/p1001/$everything?_count=5&_count=5", b""),
    ("client", "POST", "/fhir/Observation/_search", b"patient=p1001&patient=p1006"),
    ("client", "POST", "/fhir/Observation/_search?patient=p1001", b"patient=p1001"),
    ("manager", "GET", "/fhir/Consent?patient=p1001&patient=p1006", b""),
    ("manager", "POST", "/fhir/Consent/_search?patient=p1001", b"patient=p1006"),
    ("", "POST", "/oauth2/token", b"grant_type=client_credentials&grant_type=client_credentials"),
    ("", "POST", "/oauth2/token?grant_type=client_credentials", b"scope=x"),
    ("manager", "GET", "/api/v1/applications?limit=1&limit=2", b""),
    ("administrator", "GET", "/api/v1/people?organization=renhe&organization=shengli", b""),
    ("administrator", "GET", f"/api/v1/people?organisation={CANARY}", b""),
    ("auditor", "GET", "/api/v1/transmissions?patient=p1001&patient=p1006", b""),
]


@pytest.mark.parametrize(("who", "method", "path", "body"), TWICE)
@pytest.mark.parametrize("language", LANGUAGES)
def test_repeated_and_unknown_parameters(its, who, method, path, body, language):
    kind = [("Content-Type", FORM)] if body else []
    check_form(its.call(method, path, *kind, ("Accept-Language", LANGUAGES[language]), who=who, body=body), path, language, statuses=(400,))


FORMS = [
    b"\xff=1",
    b"a=%FF",
    b"a=%00",
    b"&".join(b"a%d=1" % n for n in range(2000)),
    b"patient=p1001&date=" + b"%" * 300,
    b"=",
    b"a" * 40_000,
    b"%00=%00",
    b"{}",
]


SEARCHES = [("client", "/fhir/Observation/_search"), ("manager", "/fhir/Consent/_search"), ("", "/oauth2/token"), ("", "/oauth2/introspect")]


@pytest.mark.parametrize(("who", "path"), SEARCHES)
def test_forms(its, who, path):
    for body in FORMS:
        check_form(its.call("POST", path, ("Content-Type", FORM), ("Accept-Language", "en"), who=who, body=body), path, statuses=(400, 401, 413))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO", "get"])
def test_methods(its, method):
    paths = ["/", "/fhir", "/fhir/", "/fhir/Patient/p1001", "/fhir/Patient/p1001/", "/fhir/Consent", "/oauth2/token", "/oauth2/token/", "/api/v1/me"]
    for path in [
        *paths,
        "/api/v1/me/",
        "/releases",
        "/log/checkpoint",
        "/opa/bundles/broker.tar.gz",
        "/console",
        "/console/",
        "/docs",
        "/redoc",
        "//fhir",
    ]:
        answer = its.call(method, path, ("Accept-Language", "en"), ("Host", CANARY), who="administrator")
        check_form(answer, path, statuses=(404, 405))
        assert "location" not in answer.headers
