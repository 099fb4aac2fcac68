"""Attacks on the token endpoint, one line each (SMART 2.2, FAPI 2.0, RFC 9700; three past holes of Authlib by number).

Every line asserts the status, the RFC 6749 error code, the form of the answer, and that no token was given.
"""

import base64
import hmac
import json
import secrets
import socket
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jwk import ECKey

from broker.identity.oauth_server import Server
from tests.factories import identity as make
from tests.integration.identity.conftest import SCOPE


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def parts(token):
    return token.split(".")


# -- what can be wrong with an assertion: name -> how to make it --


def _unsigned(house, alg):
    head, body, _ = parts(house.assertion())
    return f"{b64({**json.loads(base64.urlsafe_b64decode(head + '==')), 'alg': alg})}.{body}."


def _with_public_key_as_secret(house, alg, pem):
    key = ECKey.import_key(make.public(house.jwk))
    secret = key.as_pem(private=False) if pem else json.dumps(make.public(house.jwk)).encode()
    head = b64({"alg": alg, "kid": house.jwk["kid"], "typ": "JWT"})
    signed = f"{head}.{parts(house.assertion())[1]}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), {'HS256': 'sha256', 'HS384': 'sha384'}[alg]))}"


def _by_another_client(house):
    with house.database.transaction() as session:
        _, jwk = make.client_with_key(session, organization_id="shengli")
    return make.assertion(house.client_id, jwk, house.token_endpoint, header={"kid": house.jwk["kid"]})


def _bit_flipped(house):
    head, body, signature = parts(house.assertion())
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[10] ^= 1
    return f"{head}.{body}.{b64(bytes(raw))}"


def _claims_changed(house):
    head, body, signature = parts(house.assertion())
    claims = {**json.loads(base64.urlsafe_b64decode(body + "==")), "jti": "another"}
    return f"{head}.{b64(claims)}.{signature}"


def _der(house):
    head, body, signature = parts(house.assertion())
    raw = base64.urlsafe_b64decode(signature + "==")
    return f"{head}.{body}.{b64(encode_dss_signature(int.from_bytes(raw[:48]), int.from_bytes(raw[48:])))}"


def _fixed_signature(house, raw):
    head, body, _ = parts(house.assertion())
    return f"{head}.{body}.{b64(raw)}"


def _unknown_kid_with_own_key(house):
    """CVE-2026-27962: no key of this kid, so the one in the header was believed."""
    own = make.private_key()
    return make.assertion(house.client_id, own, house.token_endpoint, header={"jwk": make.public(own)})


def _header(house, **header):
    return make.assertion(house.client_id, house.jwk, house.token_endpoint, header=header)


def _raw_header(house, text):
    """A header of exactly these characters, properly signed."""
    return make.sign_text(text, base64.urlsafe_b64decode(parts(house.assertion())[1] + "==").decode(), house.jwk)


def _with_kid(house, text):
    return _raw_header(house, text.replace("KID", json.dumps(house.jwk["kid"])))


def _raw_claims(house, text):
    return make.sign_text(base64.urlsafe_b64decode(parts(house.assertion())[0] + "==").decode(), text, house.jwk)


def _nested(house):
    return make.sign({"alg": "ES384", "kid": house.jwk["kid"], "typ": "JWT", "cty": "JWT"}, {"jwt": house.assertion()}, house.jwk)


def _flattened_json(house):
    head, body, signature = parts(house.assertion())
    return json.dumps({"protected": head, "payload": body, "signature": signature})


def _other_algorithm(house, alg):
    """Signed with a key of the client's own that is not registered, under the kid that is."""
    jwk = make.private_key(alg, kid=house.jwk["kid"])
    return make.assertion(house.client_id, jwk, house.token_endpoint)


def _access_token(house):
    return house.token()


ASSERTIONS = {
    # signature
    "signature flipped": ("signature", _bit_flipped),
    "signature cut": ("signature", lambda house: house.assertion()[:-8]),
    "signature of another client": ("signature", _by_another_client),
    "claims changed after signing": ("signature", _claims_changed),
    "signature in DER": ("signature", _der),
    "r and s zero": ("signature", lambda house: _fixed_signature(house, bytes(96))),
    "r and s the order": ("signature", lambda house: _fixed_signature(house, bytes.fromhex("ff" * 96))),
    "alg none": ("assertion-unreadable", lambda house: _unsigned(house, "none")),
    "alg None": ("assertion-unreadable", lambda house: _unsigned(house, "None")),
    "alg NONE": ("assertion-unreadable", lambda house: _unsigned(house, "NONE")),
    "alg nOnE": ("assertion-unreadable", lambda house: _unsigned(house, "nOnE")),
    "alg none with a signature": ("algorithm", lambda house: _with_kid(house, '{"alg":"none","typ":"JWT","kid":KID}')),
    "HS256 with the public key as PEM": ("algorithm", lambda house: _with_public_key_as_secret(house, "HS256", pem=True)),
    "HS384 with the public key as JWK": ("algorithm", lambda house: _with_public_key_as_secret(house, "HS384", pem=False)),
    "RS256": ("algorithm", lambda house: _other_algorithm(house, "RS256")),
    "PS256": ("algorithm", lambda house: _other_algorithm(house, "PS256")),
    "PS384": ("algorithm", lambda house: _other_algorithm(house, "PS384")),
    "ES256": ("algorithm", lambda house: _other_algorithm(house, "ES256")),
    "ES384 by an unregistered key of the same kid": ("signature", lambda house: _other_algorithm(house, "ES384")),
    # header
    "kid unknown, key embedded (CVE-2026-27962)": ("header", _unknown_kid_with_own_key),
    "kid known, key embedded": ("header", lambda house: _header(house, jwk=make.public(house.jwk))),
    "kid unknown": ("key-unknown", lambda house: _header(house, kid="another")),
    "kid missing": ("kid-missing", lambda house: _header(house, kid=...)),
    "kid empty": ("kid-missing", lambda house: _header(house, kid="")),
    "kid a number": ("kid-missing", lambda house: _raw_header(house, '{"alg":"ES384","typ":"JWT","kid":1}')),
    "kid a path": ("key-unknown", lambda house: _header(house, kid="../../etc/passwd")),
    "x5c embedded": ("header", lambda house: _header(house, x5c=["MIIB"])),
    "x5u": ("header", lambda house: _header(house, x5u="https://evil.example/key.pem")),
    "crit b64 (CVE-2025-59420)": ("header", lambda house: _with_kid(house, '{"alg":"ES384","typ":"JWT","crit":["b64"],"b64":false,"kid":KID}')),
    "crit unknown (CVE-2025-59420)": ("header", lambda house: _with_kid(house, '{"alg":"ES384","typ":"JWT","crit":["x"],"x":1,"kid":KID}')),
    "typ of an access token": ("typ", lambda house: _header(house, typ="at+jwt")),
    "typ a number": ("typ", lambda house: _with_kid(house, '{"alg":"ES384","typ":7,"kid":KID}')),
    "unknown parameter": ("header", lambda house: _header(house, zip="DEF")),
    "header 20 kB (CVE-2025-61920)": ("assertion-unreadable", lambda house: f"{b64(b'{' + b' ' * 15_000 + b'}')}.e30.AAAA"),
    "header 2 kB": ("assertion-unreadable", lambda house: _header(house, x5t="a" * 2000)),
    "signature 20 kB": ("assertion-unreadable", lambda house: _fixed_signature(house, bytes(20_000))),
    "claims 20 kB": ("assertion-unreadable", lambda house: make.assertion(house.client_id, house.jwk, house.token_endpoint, padding="a" * 20_000)),
    "claims 2,500 deep": ("assertion-unreadable", lambda house: _raw_claims(house, '{"a":' + "[" * 2500 + "]" * 2500 + "}")),
    "alg twice": ("assertion-unreadable", lambda house: _with_kid(house, '{"alg":"none","alg":"ES384","typ":"JWT","kid":KID}')),
    "alg a list": ("algorithm", lambda house: _with_kid(house, '{"alg":["ES384"],"typ":"JWT","kid":KID}')),
    "sub twice": ("assertion-unreadable", lambda house: _raw_claims(house, '{"sub":"someone","sub":"shengli-his"}')),
    "header an array": ("assertion-unreadable", lambda house: _raw_header(house, '["ES384"]')),
    "header not UTF-8": ("assertion-unreadable", lambda house: f"{b64(bytes([0xFF, 0xFE]))}.e30.AAAA"),
    "nested JWS": ("header", _nested),
    "JSON serialization": ("assertion-unreadable", _flattened_json),
    "four parts": ("assertion-unreadable", lambda house: house.assertion() + ".AAAA"),
    "empty": ("assertion-unreadable", lambda house: " "),
    "an access token of ours": ("algorithm", _access_token),
    # who
    "iss unknown": ("iss", lambda house: house.assertion(iss="not_a_valid_iss")),
    "iss and sub unknown": ("client-unknown", lambda house: house.assertion(iss="nobody", sub="nobody")),
    "iss missing": ("iss", lambda house: house.assertion(iss=...)),
    "sub missing": ("client-unknown", lambda house: house.assertion(sub=...)),
    "sub a number": ("client-unknown", lambda house: house.assertion(sub=1)),
    "sub with NUL": ("client-unknown", lambda house: house.assertion(sub="shengli-his\0", iss="shengli-his\0")),
    "sub with a surrogate": ("client-unknown", lambda house: house.assertion(sub="\ud800", iss="\ud800")),
    "sub in other case": ("client-unknown", lambda house: house.assertion(sub="SHENGLI-HIS", iss="SHENGLI-HIS")),
    # for whom
    "aud missing": ("aud", lambda house: house.assertion(aud=...)),
    "aud another host": ("aud", lambda house: house.assertion(aud="https://other.example/oauth2/token")),
    "aud a list with ours": ("aud", lambda house: house.assertion(aud=[house.token_endpoint])),
    "aud a list with another's": ("aud", lambda house: house.assertion(aud=[house.token_endpoint, "https://other.example"])),
    "aud another endpoint": ("aud", lambda house: house.assertion(aud=f"{house.base}/oauth2/introspect")),
    "aud the FHIR API": ("aud", lambda house: house.assertion(aud=f"{house.base}/fhir")),
    "aud with a slash": ("aud", lambda house: house.assertion(aud=f"{house.token_endpoint}/")),
    "aud in other case": ("aud", lambda house: house.assertion(aud=house.token_endpoint.upper())),
    "aud a prefix": ("aud", lambda house: house.assertion(aud=f"{house.base}.evil.example")),
    # when
    "exp missing": ("window", lambda house: house.assertion(exp=...)),
    "exp text": ("window", lambda house: house.assertion(exp=str(int(time.time()) + 100))),
    "exp a fraction": ("window", lambda house: house.assertion(exp=time.time() + 100.5)),
    "exp true": ("window", lambda house: house.assertion(exp=True)),
    "exp negative": ("window", lambda house: house.assertion(exp=-1)),
    "exp five minutes ago": ("window", lambda house: house.assertion(exp=int(time.time()) - 300)),
    "exp a second ago": ("window", lambda house: house.assertion(exp=int(time.time()) - 1)),
    "exp too far": ("window", lambda house: house.assertion(exp=int(time.time()) + 400)),
    "exp huge": ("window", lambda house: house.assertion(exp=10**300)),
    "exp infinite": (
        "window",
        lambda house: _raw_claims(
            house, '{"sub":"shengli-his","iss":"shengli-his","aud":"%s","jti":"i","exp":1e999}'.replace("%s", house.token_endpoint)
        ),
    ),
    "exp NaN": ("assertion-unreadable", lambda house: _raw_claims(house, '{"sub":"shengli-his","iss":"shengli-his","exp":NaN}')),
    "exp of 5,000 digits": (
        "assertion-unreadable",
        lambda house: _raw_claims(house, '{"sub":"shengli-his","exp":' + "9" * 5000 + "}"),
    ),
    "nbf 90 s ahead": ("window", lambda house: house.assertion(nbf=int(time.time()) + 90)),
    "iat 90 s ahead": ("window", lambda house: house.assertion(iat=int(time.time()) + 90)),
    "iat text": ("window", lambda house: house.assertion(iat="now")),
    "nbf null": (
        "window",
        lambda house: _raw_claims(
            house,
            json.dumps(
                {"iss": house.client_id, "sub": house.client_id, "aud": house.token_endpoint, "exp": int(time.time()) + 300, "jti": "n", "nbf": None}
            ),
        ),
    ),
    # once
    "jti missing": ("jti", lambda house: house.assertion(jti=...)),
    "jti empty": ("jti", lambda house: house.assertion(jti="")),
    "jti a number": ("jti", lambda house: house.assertion(jti=5)),
    "jti with NUL": ("jti", lambda house: house.assertion(jti="a\0b")),
    "jti too long": ("jti", lambda house: house.assertion(jti="a" * 300)),
}


def refused(answer, status, error):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error"] == error
    assert "access_token" not in body
    assert answer.headers["content-type"].startswith("application/json")
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    # RFC 6749 5.2: %x20-21 / %x23-5B / %x5D-7E
    assert all(0x20 <= ord(letter) <= 0x7E and letter not in '"\\' for letter in body.get("error_description", ""))


@pytest.mark.parametrize("name", ASSERTIONS)
def test_an_assertion_that_is_no_good(attacked, name, monkeypatch):
    """Refused, and for the reason it is meant to be refused for: an attack that stumbles over something else proves nothing."""
    reason, attack = ASSERTIONS[name]
    seen = []
    monkeypatch.setattr(Server, "record_refusal", lambda self, request, error: seen.append(getattr(error, "reason", None)))
    refused(attacked.ask(attack(attacked)), 400, "invalid_client")
    assert seen == [reason]


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("as Inferno sends it", {}),
        ("exp rounded up", {"exp": 310}),
        ("nbf 8 s ahead", {"nbf": 8}),
        ("iat 8 s ahead", {"iat": 8}),
        ("more claims than are needed", {"extra": {"a": [1]}}),
    ],
)
def test_an_assertion_within_the_windows_is_taken(attacked, name, claims):
    times = {claim: int(time.time()) + value if isinstance(value, int) else value for claim, value in claims.items()}
    assert attacked.ask(attacked.assertion(**times)).status_code == 200


def test_a_replay_is_refused(attacked):
    assertion = attacked.assertion()
    assert attacked.ask(assertion).status_code == 200
    refused(attacked.ask(assertion), 400, "invalid_client")


FORMS = {
    "grant type another": (400, "unsupported_grant_type", {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}),
    "grant type refresh": (400, "unsupported_grant_type", {"grant_type": "refresh_token", "refresh_token": "x"}),
    "a code without anywhere to send people back to": (400, "unauthorized_client", {"grant_type": "authorization_code", "code": "x"}),
    "grant type password": (400, "unsupported_grant_type", {"grant_type": "password"}),
    "grant type strange": (400, "unsupported_grant_type", {"grant_type": '\r\n\x00诊断"'}),
    "grant type missing": (400, "invalid_request", {"grant_type": None}),
    "assertion type wrong": (400, "invalid_client", {"client_assertion_type": "not_an_assertion_type"}),
    "assertion type missing": (400, "invalid_client", {"client_assertion_type": None}),
    "assertion missing": (400, "invalid_client", {"client_assertion": None}),
    "client_id of another": (400, "invalid_client", {"client_id": "another"}),
    "client_secret besides": (400, "invalid_request", {"client_secret": "secret"}),
    "scope missing": (400, "invalid_scope", {"scope": None}),
    "scope empty": (400, "invalid_scope", {"scope": ""}),
    "scope unknown": (400, "invalid_scope", {"scope": "openid application:SA-2026-000001"}),
    "scope of application alone": (400, "invalid_scope", {"scope": "application:SA-2026-000001"}),
    "scope of two applications": (400, "invalid_scope", {"scope": f"{SCOPE} application:SA-2026-000002"}),
    "scope of an unknown application": (400, "invalid_scope", {"scope": "system/Observation.rs application:SA-2099-000001"}),
    "scope of a user": (400, "invalid_scope", {"scope": "user/Observation.rs application:SA-2026-000001"}),
    "scope of a patient": (400, "invalid_scope", {"scope": "patient/Observation.rs application:SA-2026-000001"}),
    "scope granular": (400, "invalid_scope", {"scope": "system/Observation.rs?code=laboratory application:SA-2026-000001"}),
    "scope out of order": (400, "invalid_scope", {"scope": "system/Observation.sr application:SA-2026-000001"}),
    "scope without letters": (400, "invalid_scope", {"scope": "system/Observation. application:SA-2026-000001"}),
    "scope to write": (400, "invalid_scope", {"scope": "system/Observation.cud application:SA-2026-000001"}),
    "scope beyond the approval": (400, "invalid_scope", {"scope": "system/Condition.rs application:SA-2026-000001"}),
    "scope with a line break": (400, "invalid_scope", {"scope": "system/Observation.rs\napplication:SA-2026-000001"}),
    "scope with a quotation mark": (400, "invalid_scope", {"scope": f'{SCOPE} "'}),
    "scope of 1 kB too much": (400, "invalid_scope", {"scope": f"{SCOPE} {'system/Observation.rs ' * 300}"}),
    "assertion of 1 MB (CVE-2025-61920)": (413, "invalid_request", {"client_assertion": f"{'A' * 1_000_000}.e30.AAAA"}),
    "form of 40 kB": (413, "invalid_request", {"padding": "a" * 40_000}),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_no_good(attacked, name):
    status, error, parameters = FORMS[name]
    data = {**attacked.form(), **parameters}
    refused(attacked.http.post("/oauth2/token", data={key: value for key, value in data.items() if value is not None}), status, error)


@pytest.mark.parametrize("name", ["grant_type", "scope", "client_assertion", "client_assertion_type", "client_id", "anything"])
def test_a_repeated_parameter_is_refused(attacked, name):
    from urllib.parse import urlencode

    pairs = [*attacked.form().items(), ("client_id", attacked.client_id), ("anything", "x")]
    pairs.append(next(pair for pair in pairs if pair[0] == name))
    answer = attacked.http.post("/oauth2/token", content=urlencode(pairs), headers={"Content-Type": "application/x-www-form-urlencoded"})
    refused(answer, 400, "invalid_request")


def test_a_json_body_is_refused(attacked):
    refused(attacked.http.post("/oauth2/token", json=attacked.form()), 400, "invalid_request")


def test_a_multipart_body_is_refused(attacked):
    refused(attacked.http.post("/oauth2/token", files={name: (None, value) for name, value in attacked.form().items()}), 400, "invalid_request")


def test_a_body_without_a_type_is_refused(attacked):
    refused(attacked.http.post("/oauth2/token", content=b"grant_type=client_credentials"), 400, "invalid_request")


@pytest.mark.parametrize("body", [b"\xff\xfe", b"grant_type=%FF", b"&".join(b"a%d=1" % number for number in range(40)), b"=&=", b"%"])
def test_a_form_that_is_no_form_is_refused(attacked, body):
    answer = attacked.http.post("/oauth2/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("where", ["all", "client_assertion", "nothing of ours"])
def test_credentials_in_the_address_are_refused(attacked, where):
    form = attacked.form()
    query = {"all": form, "client_assertion": {"client_assertion": form.pop("client_assertion")}, "nothing of ours": {"x": "1"}}[where]
    refused(attacked.http.post("/oauth2/token", params=query, data=form if where != "all" else {}), 400, "invalid_request")


def test_two_ways_of_authentication_are_refused(attacked):
    refused(attacked.http.post("/oauth2/token", data=attacked.form(), auth=(attacked.client_id, "secret")), 400, "invalid_request")


def test_basic_authentication_is_answered_with_its_challenge(attacked):
    """RFC 6749 5.2: 401 and the scheme that was tried."""
    data = {"grant_type": "client_credentials", "scope": SCOPE}
    answer = attacked.http.post("/oauth2/token", data=data, auth=(attacked.client_id, "secret"))
    refused(answer, 401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


def test_two_authorization_headers_are_refused(attacked):
    headers = [("Authorization", "Basic YTpi"), ("Authorization", "Bearer x")]
    refused(attacked.http.post("/oauth2/token", data=attacked.form(), headers=headers), 400, "invalid_request")


def test_other_methods_are_not_served(attacked):
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert attacked.http.request(method, "/oauth2/token").status_code == 405


@pytest.mark.parametrize("suffix", ["", "/", "?x=1", ":443"])
def test_jku_is_refused_and_nothing_is_fetched(attacked, suffix):
    """An outbound request to the address in the header would be a hole of its own (C22)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json{suffix}"
        refused(attacked.ask(_header(attacked, jku=address)), 400, "invalid_client")
        listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_jku_may_repeat_the_registered_address_and_only_that(attacked):
    registered = "https://client.example/jwks.json"
    with attacked.database.transaction() as session:
        client, jwk = make.client_with_key(session, organization_id="shengli", jwks_uri=registered)
        client_id = client.id
    assert attacked.ask(make.assertion(client_id, jwk, attacked.token_endpoint, header={"jku": registered})).status_code == 200
    for other in (
        registered.upper(),
        f"{registered}?a",
        f"{registered}#a",
        f"{registered}.evil.example",
        "https://client.example:443/jwks.json",
        "https://u@client.example/jwks.json",
        "http://client.example/jwks.json",
        "https://client.example.evil.example/jwks.json",
    ):
        refused(attacked.ask(make.assertion(client_id, jwk, attacked.token_endpoint, header={"jku": other})), 400, "invalid_client")


def _with_keys(attacked, keys, **values):
    with attacked.database.transaction() as session:
        client, jwk = make.client_with_key(session, organization_id="shengli", **values)
        client.jwks = {"keys": keys(jwk)}
        return client.id, jwk


def test_a_kid_that_two_keys_have_is_not_one(attacked):
    client_id, jwk = _with_keys(attacked, lambda jwk: [make.public(jwk), {**make.public(make.private_key()), "kid": jwk["kid"]}])
    refused(attacked.ask(make.assertion(client_id, jwk, attacked.token_endpoint)), 400, "invalid_client")


def test_a_kid_that_keys_of_two_kinds_have_is_one_for_each_kind(attacked):
    client_id, jwk = _with_keys(attacked, lambda jwk: [make.public(jwk), {**make.public(make.private_key("RS384")), "kid": jwk["kid"]}])
    assert attacked.ask(make.assertion(client_id, jwk, attacked.token_endpoint)).status_code == 200


def test_a_set_of_one_key_is_no_reason_to_ignore_the_kid(attacked):
    client_id, jwk = _with_keys(attacked, lambda jwk: [{**make.public(jwk), "kid": "renamed"}])
    refused(attacked.ask(make.assertion(client_id, jwk, attacked.token_endpoint)), 400, "invalid_client")


@pytest.mark.parametrize("life", [("exp", -1), ("nbf", 3600)])
def test_a_key_that_is_not_valid_now_is_none(attacked, life):
    claim, ahead = life
    client_id, jwk = _with_keys(attacked, lambda jwk: [{**make.public(jwk), claim: int(time.time()) + ahead}])
    refused(attacked.ask(make.assertion(client_id, jwk, attacked.token_endpoint)), 400, "invalid_client")


@pytest.mark.parametrize("table", ["client", "organization", "parent"])
def test_a_suspended_client_gets_nothing(attacked, table):
    with attacked.database.transaction() as session:
        make.organization(session, f"above-{table}", status="suspended" if table == "parent" else "active")
        make.organization(session, f"closed-{table}", parent_id=f"above-{table}", status="suspended" if table == "organization" else "active")
        client, jwk = make.client_with_key(session, organization_id=f"closed-{table}", status="suspended" if table == "client" else "active")
        client_id = client.id
    attacked.grants.add(make.grant(f"closed-{table}", "SA-2026-000009"))
    answer = attacked.ask(make.assertion(client_id, jwk, attacked.token_endpoint), "system/Patient.rs application:SA-2026-000009")
    refused(answer, 400, "invalid_client")


def test_another_tenants_application_looks_like_none(attacked):
    attacked.grants.add(make.grant("renhe", "SA-2026-000077"))
    answers = [attacked.ask(attacked.assertion(), f"system/Patient.rs application:{number}") for number in ("SA-2026-000077", "SA-2026-999999")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(400, answers[0].text)}
    refused(answers[0], 400, "invalid_scope")


def test_before_the_signature_nothing_is_told_about_who_is_known(attacked):
    unknown = attacked.ask(attacked.assertion(iss="nobody", sub="nobody"))
    forged = attacked.ask(make.assertion(attacked.client_id, make.private_key(kid=attacked.jwk["kid"]), attacked.token_endpoint))
    other_kid = attacked.ask(_header(attacked, kid="another"))
    assert unknown.text == forged.text == other_kid.text


def test_failures_of_a_known_client_are_recorded_and_can_not_flood_the_log(attacked):
    before = len(attacked.events("client.refused"))
    for _ in range(20):
        attacked.ask(_fixed_signature(attacked, secrets.token_bytes(96)))
    recorded = attacked.events("client.refused")[before:]
    assert len(recorded) <= 5
    assert all(event["facts"]["reason"] == "signature" for event in recorded)


def test_failures_of_unknown_clients_leave_nothing(attacked):
    before = len(attacked.events())
    for number in range(5):
        attacked.ask(attacked.assertion(iss=f"nobody{number}", sub=f"nobody{number}"))
    assert len(attacked.events()) == before
