"""Credentials that are no good, on every family of routes: 401 in the right form, all alike, nothing released, nobody locked out."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from broker.identity.access_token import signing_key
from tests.attacks.asking import FORM, JSON, Caller, caller, check_form


@pytest.fixture(scope="module")
def its(story) -> Caller:
    return caller(story)


def b64(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict, dict, bytes]:
    """Header, claims and signature of a token."""
    head, body, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return json.loads(head), json.loads(body), signature


def good(its: Caller) -> str:
    return its.credentials["client"].removeprefix("Bearer ")


def ours(its: Caller) -> ECKey:
    """The broker's own key, so that each of these differs from a good token in one thing alone."""
    return signing_key(its.story.installation.keys)


def again(its: Caller, *, header: dict | None = None, key: ECKey | None = None, **claims: object) -> str:
    """The good token signed anew with something changed; ``...`` leaves a claim out."""
    head, body, _ = opened(good(its))
    body = {name: value for name, value in {**body, **claims}.items() if value is not ...}
    return jwt.encode({**head, **(header or {})}, body, key or ours(its), algorithms=["ES256"])


def unsigned(its: Caller, algorithm: str, signature: bytes = b"") -> str:
    head, body, _ = opened(good(its))
    return f"{b64({**head, 'alg': algorithm})}.{b64(body)}.{b64(signature)}"


def with_public_key_as_secret(its: Caller) -> str:
    head, body, _ = opened(good(its))
    text = f"{b64({**head, 'alg': 'HS256'})}.{b64(body)}"
    return f"{text}.{b64(hmac.digest(ours(its).as_pem(private=False), text.encode(), 'sha256'))}"


def flipped(its: Caller) -> str:
    head, body, signature = good(its).split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[7] ^= 1
    return f"{head}.{body}.{b64(bytes(raw))}"


def swapped(its: Caller) -> str:
    """Another grant under the good signature."""
    head, _, signature = good(its).split(".")
    return f"{head}.{b64({**opened(good(its))[1], 'grant': '00000000-0000-0000-0000-000000000000'})}.{signature}"


FORGED = {
    "nothing": lambda its: "",
    "a word": lambda its: "x",
    "three words": lambda its: "a.b.c",
    "alg none": lambda its: unsigned(its, "none"),
    "alg None with a signature": lambda its: unsigned(its, "None", b"x" * 64),
    "HS256 with the public key": with_public_key_as_secret,
    "a flipped bit": flipped,
    "claims of another grant": swapped,
    "no signature": lambda its: good(its).rpartition(".")[0] + ".",
    "zeros for a signature": lambda its: good(its).rpartition(".")[0] + "." + b64(bytes(64)),
    "a key of one's own": lambda its: again(its, key=ECKey.generate_key("P-256")),
    "a key of one's own in the header": lambda its: again(its, key=(own := ECKey.generate_key("P-256")), header={"jwk": own.as_dict(private=False)}),
    "a key id that is not ours": lambda its: again(its, header={"kid": "other"}),
    "crit": lambda its: unsigned(its, "ES256", opened(good(its))[2]).replace("x", "y", 1),
    "a type that is not ours": lambda its: again(its, header={"typ": "JWT"}),
    "expired": lambda its: again(its, exp=int(time.time()) - 1),
    "expired long ago": lambda its: again(its, exp=0),
    "exp a text": lambda its: again(its, exp="9999999999"),
    "exp beyond time": lambda its: again(its, exp=10**30, jti="other"),
    "no exp": lambda its: again(its, exp=...),
    "another audience": lambda its: again(its, aud="https://other.example/fhir"),
    "a list of audiences": lambda its: again(its, aud=[f"{its.story.base_url}/fhir"]),
    "another issuer": lambda its: again(its, iss="https://other.example"),
    "a jti that was never given": lambda its: again(its, jti=secrets.token_urlsafe(24)),
    "a jti that is no text": lambda its: again(its, jti=7),
    "no jti": lambda its: again(its, jti=...),
    "another client": lambda its: again(its, client_id="renhe-finance-system", sub="renhe-finance-system"),
    "another grant": lambda its: again(its, grant="00000000-0000-0000-0000-000000000000"),
    "a grant that is none": lambda its: again(its, grant="x"),
    "a JSON token": lambda its: json.dumps(dict(zip(("protected", "payload", "signature"), good(its).split("."), strict=True))),
    "twice": lambda its: f"{good(its)}, Bearer {good(its)}",
    "9,000 letters": lambda its: "A" * 9000,
    "a session of a person": lambda its: its.credentials["manager"].removeprefix("Bearer "),
}
GATED = [
    ("GET", "/fhir/Patient/p1001"),
    ("GET", "/fhir/Patient/p1001/$everything"),
    ("GET", "/fhir/Observation?patient=p1001"),
    ("GET", "/releases/x"),
]


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_token_that_is_no_good(its, forge):
    token = forge(its)
    told = set()
    for method, path in GATED:
        answer = its.call(method, path, ("Authorization", f"Bearer {token}"), ("Accept-Language", "en"))
        check_form(answer, path, statuses=(401,))
        assert answer.headers["www-authenticate"].startswith("Bearer")
        document = answer.json()
        told.add(json.dumps({**document, "id": "", "request_id": ""}, sort_keys=True))
    assert len(told) == 2  # One for FHIR, one for the rest: which of a token's faults it was is not said.
    body = json.dumps({"application": its.number, "patient": "p1001"}).encode()
    answer = its.call("POST", "/releases", ("Authorization", f"Bearer {token}"), ("Content-Type", JSON), ("Accept-Language", "en"), body=body)
    check_form(answer, "/releases", statuses=(401,))
    # In place of client authentication at the introspection endpoint it is no better.
    form = f"token={good(its)}".encode()
    answer = its.call("POST", "/oauth2/introspect", ("Authorization", f"Bearer {token}"), ("Content-Type", FORM), body=form)
    check_form(answer, "/oauth2/introspect", statuses=(400, 401))
    its.well()


@pytest.mark.parametrize("forge", [FORGED["alg none"], FORGED["expired"], FORGED["another audience"], good], ids=["none", "expired", "other", "good"])
def test_a_clients_token_is_no_persons(its, forge):
    for path in ("/api/v1/me", "/api/v1/applications", "/fhir/Consent?patient=p1001", "/log/tile/entries/000", "/api/v1/transmissions"):
        answer = its.call("GET", path, ("Authorization", f"Bearer {forge(its)}"), ("Accept-Language", "zh"))
        check_form(answer, path, "zh", statuses=(401,))
        assert answer.headers["www-authenticate"]


def test_two_authorization_headers_are_none(its):
    for path, who in (("/fhir/Patient/p1001", "client"), ("/api/v1/me", "manager")):
        both = (("Authorization", its.credentials[who]), ("Authorization", its.credentials[who]))
        check_form(its.call("GET", path, *both, ("Accept-Language", "en")), path, statuses=(401,))


USERS = [b"a:b", b"deng.li:\xff\xfe", b"a\0:b\0", b"x" * 40_000 + b":y", b"deng.li:" + b"x" * 2000, b"no colon", "邓丽:密码".encode()]
BASIC = ["", "!!!", "A" * 9000, "YQ", *(base64.b64encode(user).decode() for user in USERS)]


@pytest.mark.parametrize("given", BASIC, ids=range(len(BASIC)))
def test_a_password_that_is_none(its, given):
    for path in ("/api/v1/me", "/fhir/Consent?patient=p1001"):
        check_form(its.call("GET", path, ("Authorization", f"Basic {given}"), ("Accept-Language", "en")), path, statuses=(401, 429))
    its.well()


@pytest.mark.parametrize("scheme", ["Negotiate", "Digest", "bearer", "BEARER ", "Token", "\u00ff"])
def test_another_scheme(its, scheme):
    for path in ("/api/v1/me", "/fhir/Patient/p1001", "/oauth2/introspect"):
        method, kind = ("POST", [("Content-Type", FORM)]) if path.startswith("/oauth2") else ("GET", [])
        answer = its.call(method, path, ("Authorization", f"{scheme} x".encode()), ("Accept-Language", "en"), *kind, body=b"token=x" if kind else b"")
        check_form(answer, path, statuses=(400, 401))


def test_an_assertion_is_good_once(its):
    """A reused jti, also by two at once; the attacks on assertions one by one are in tests/integration/identity/test_token_attacks.py."""
    system = its.story.system("shengli-his")
    now = int(time.time())
    claims = {
        "iss": system.client_id,
        "sub": system.client_id,
        "aud": f"{its.story.base_url}/oauth2/token",
        "exp": now + 200,
        "jti": secrets.token_hex(8),
    }
    header = {"alg": system.key.get("alg"), "kid": system.key.get("kid"), "typ": "JWT"}
    form = {
        "grant_type": "client_credentials",
        "scope": f"system/*.rs application:{its.number}",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(header, claims, system.key, algorithms=["ES384"]),
    }
    first = its.story.http.post("/oauth2/token", data=form)
    assert first.status_code == 200, first.text
    again = its.story.http.post("/oauth2/token", data=form)
    assert again.status_code in (400, 401)  # RFC 6749 5.2: 401 where the Authorization header was used.
    assert again.json()["error"] == "invalid_client"
    assert "access_token" not in again.text
    its.well()
