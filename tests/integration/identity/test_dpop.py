"""Tokens bound to a key (RFC 9449, DPoP): what proves possession, and what doesn't (d6; the FAPI 2.0 suite's blocks)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from broker import clock
from broker.identity import dpop
from tests.factories import identity as make
from tests.integration.identity.conftest import SCOPE

KEY = make.private_key("ES256")
OTHER = make.private_key("ES256")
RESOURCE = "https://broker.example/fhir/Patient/p1"
TOKEN = "a.b.c"


def judged(keys, proof, *, method="GET", uri=RESOURCE, token=TOKEN):
    return dpop.checked((proof,) if isinstance(proof, str) else proof, keys, method=method, uri=uri, now=clock.now(), token=token)


def good(keys, jwk=KEY, method="GET", uri=RESOURCE, token=TOKEN, **values):
    return make.proof(jwk, method, uri, token=token, **{"nonce": dpop.nonce(keys, clock.now()), **values})


def test_a_good_proof_names_its_key(keys):
    found = judged(keys, good(keys))
    assert isinstance(found, dpop.Proof)
    assert found.jkt == ECKey.import_key(KEY).thumbprint()


@pytest.mark.parametrize("alg", ["ES256", "ES384"])
def test_both_algorithms(keys, alg):
    assert isinstance(judged(keys, good(keys, make.private_key(alg))), dpop.Proof)


@pytest.mark.parametrize(
    "values",
    [
        {"at": 10}, {"at": -10}, {"nbf": 1}, {"exp": 32503680000}, {"more": {"extra": 1}}, {"uri": RESOURCE + "?patient=1#x"},
        {"uri": "HTTPS://Broker.Example/fhir/Patient/p1"}, {"uri": "https://broker.example:443/fhir/Patient/p1"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_taken(keys, values):
    assert isinstance(judged(keys, good(keys, **values)), dpop.Proof)


BAD = {
    "no typ": {"header": {"typ": None}}, "typ JWT": {"header": {"typ": "JWT"}}, "no jwk": {"header": {"jwk": None}},
    "jwk null": {"header": {"jwk": 1}}, "jwk of another key": {"header": {"jwk": make.public(OTHER)}},
    "jwk with private key": {"header": {"jwk": {name: KEY[name] for name in ("kty", "crv", "x", "y", "d")}}},
    "jwk off its curve": {"header": {"jwk": {"kty": "EC", "crv": "P-256", "x": KEY["y"], "y": KEY["x"]}}},
    "symmetric jwk": {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}}, "x5c": {"header": {"x5c": ["AA"]}},
    "no jti": {"jti": None}, "empty jti": {"jti": ""}, "long jti": {"jti": "x" * 257}, "jti not text": {"jti": 5},
    "no htm": {"htm": None}, "other htm": {"htm": "POST"}, "htm in small letters": {"htm": "get"},
    "no htu": {"htu": None}, "other path": {"uri": RESOURCE + "x"}, "other host": {"uri": "https://evil.example/fhir/Patient/p1"},
    "other scheme": {"uri": "http://broker.example/fhir/Patient/p1"}, "other port": {"uri": "https://broker.example:8443/fhir/Patient/p1"},
    "htu no address": {"uri": "http://[::1"},
    "no iat": {"iat": None}, "iat an hour ago": {"at": -3600}, "iat in an hour": {"at": 3600}, "iat text": {"iat": "now"}, "iat true": {"iat": True},
    "expired": {"exp": 1}, "not yet": {"nbf": 32503680000},
    "no ath": {"ath": None}, "ath of another token": {"ath": make.b64(b"x" * 32)}, "ath of nothing": {"ath": ""},
    "no nonce": {"nonce": None}, "made-up nonce": {"nonce": "x"}, "nonce not ASCII": {"nonce": "é"},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(keys, name):
    assert isinstance(judged(keys, good(keys, **BAD[name])), dpop.NoProof)


def test_what_is_no_proof_at_all(keys):
    proof = good(keys)
    head, body, signature = proof.split(".")
    flipped = f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    none = f"{make.b64(json.dumps({'typ': 'dpop+jwt', 'alg': 'none', 'jwk': make.public(KEY)}).encode())}.{body}."
    rsa = make.private_key("RS256")
    for bad in ((), (proof, proof), (proof, ""), "", "x", flipped, none, f"{head}.{body}", "x" * 20_000):
        assert isinstance(judged(keys, bad), dpop.NoProof), bad
    assert isinstance(judged(keys, good(keys, rsa)), dpop.NoProof)
    ps = jws.serialize_compact({"typ": "dpop+jwt", "alg": "ES512", "jwk": {}}, b"{}", ECKey.generate_key("P-521"), algorithms=["ES512"])
    assert isinstance(judged(keys, ps), dpop.NoProof)


def test_a_nonce_runs_out(keys, set_clock):
    from datetime import timedelta

    old = dpop.nonce(keys, clock.now())
    set_clock(timedelta(seconds=2 * dpop.NONCE_SECONDS + 1))
    refused = judged(keys, good(keys, nonce=old, iat=clock.epoch(clock.now())))
    assert refused == dpop.NoProof("proof-nonce", nonce=True)


# -- at the token endpoint --


def ask(house, jwk=KEY, *, scope=SCOPE, assertion=None, **values):
    """A token request with a proof; the nonce is fetched as a client does, by being refused once."""
    uri = house.token_endpoint
    nonce = (
        values.pop("nonce", "")
        or house.http.post(uri_path(uri), data=house.form(), headers={"DPoP": make.proof(jwk, "POST", uri)}).headers["dpop-nonce"]
    )
    return house.http.post(uri_path(uri), data=house.form(scope), headers={"DPoP": make.proof(jwk, "POST", uri, nonce=nonce, **values)})


def uri_path(uri):
    return "/oauth2/token"


def bound_only(house):
    with house.database.transaction() as session:
        client, jwk = make.client_with_key(session, organization_id="shengli", dpop=True)
        return client.id, jwk


def test_the_first_answer_brings_the_nonce(house):
    answer = house.http.post("/oauth2/token", data=house.form(), headers={"DPoP": make.proof(KEY, "POST", house.token_endpoint)})
    assert (answer.status_code, answer.json()["error"]) == (400, "use_dpop_nonce")
    assert answer.headers["dpop-nonce"] == dpop.nonce(house.keys, clock.now())
    assert answer.headers["cache-control"] == "no-store"


def test_a_proof_binds_the_token_and_introspection_says_so(house):
    answer = ask(house)
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "DPoP"
    thumbprint = ECKey.import_key(KEY).thumbprint()
    said = house.ask(house.assertion(), path="/oauth2/introspect", grant_type=None, token=answer.json()["access_token"]).json()
    assert said["active"] is True
    assert (said["cnf"], said["token_type"]) == ({"jkt": thumbprint}, "DPoP")
    assert house.events("token.issued")[-1]["facts"]["jkt"] == thumbprint


def test_a_client_that_must_be_bound_gets_no_token_without_a_proof(house):
    client_id, jwk = bound_only(house)
    answer = house.ask(make.assertion(client_id, jwk, house.token_endpoint))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    assert house.events("token.issued") == []


def test_a_proof_is_good_once_of_fifty_at_the_same_moment(house):
    nonce = dpop.nonce(house.keys, clock.now())
    proof = make.proof(KEY, "POST", house.token_endpoint, nonce=nonce)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: house.http.post("/oauth2/token", data=house.form(), headers={"DPoP": proof}).status_code, range(24)))
    assert sorted(set(answers)) == [200, 400]
    assert answers.count(200) == 1


def test_a_bound_token_does_not_introspect_in_place_of_the_client(house):
    """RFC 9449 7.1: a bound token is not taken as a bearer token anywhere."""
    token = ask(house).json()["access_token"]
    for scheme in ("Bearer", "DPoP"):
        assert house.http.post("/oauth2/introspect", data={"token": token}, headers={"Authorization": f"{scheme} {token}"}).status_code == 401
