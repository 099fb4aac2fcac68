"""SMART Backend Services end to end over a socket: what a token reaches, and what it takes to use it (d2 to d4, d6).

The assertion's own rules (335 to 344) are in tests/integration/identity/test_token_attacks.py, over a socket too; introspection and
discovery beside it. Here tokens are used on the FHIR API.
"""

from __future__ import annotations

import base64
import json
import secrets
from hashlib import sha256

import pytest

from tests.attacks.asking import FORM, JSON, Caller, check_form
from tests.factories import identity as make

PATIENT = "p1001"
LABORATORY = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
KEY = make.private_key("ES384")
HOLDER, THIEF = make.private_key("ES256"), make.private_key("ES256")


@pytest.fixture(scope="module")
def system(its: Caller) -> str:
    """A client of the provincial hospital itself, whose department holds the grant; registered by the information manager."""
    body = {"id": "shengli-gateway", "organization": "shengli", "name": "省立医院网关", "jwks": {"keys": [make.public(KEY)]}}
    its.story.person("deng.li").call("POST", "/api/v1/clients", expected=201, body=body)
    return body["id"]


def token(its: Caller, system: str, scope: str = "system/*.rs", *, dpop: dict | None = None, nonce: str = "") -> dict:
    endpoint = f"{its.story.base_url}/oauth2/token"
    form = make.form(system, KEY, endpoint, f"{scope} application:{its.number}")
    headers = {} if dpop is None else {"DPoP": make.proof(dpop, "POST", endpoint, nonce=nonce or None)}
    answer = its.story.http.post("/oauth2/token", data=form, headers=headers)
    if dpop is not None and not nonce:
        assert (answer.status_code, answer.json()["error"]) == (400, "use_dpop_nonce")
        return token(its, system, scope, dpop=dpop, nonce=answer.headers["dpop-nonce"])
    assert answer.status_code == 200, answer.text
    return {**answer.json(), "nonce": nonce}


def get(its: Caller, path: str, authorization: str | None, *headers: tuple[str, str]):
    signed = [("Authorization", authorization)] if authorization else []
    return its.call("GET", path, *signed, ("Accept-Language", "en"), *headers)


# -- d4: the resource server --


def test_the_system_of_a_hospital_fetches_for_its_department(its, system):
    given = token(its, system)
    answer = get(its, f"/fhir/Patient/{PATIENT}/$everything", f"Bearer {given['access_token']}")
    assert answer.status == 200, answer.text[:300]
    assert answer.json()["entry"]


def test_243_266_a_scope_that_does_not_cover_the_type_or_the_interaction_is_a_failure(its, system):
    reads = f"Bearer {token(its, system, 'system/Observation.r')['access_token']}"
    searches = f"Bearer {token(its, system, 'system/Observation.s')['access_token']}"
    search, everything = f"/fhir/Observation?patient={PATIENT}", f"/fhir/Patient/{PATIENT}/$everything"
    name = get(its, search, searches).json()["entry"][0]["resource"]["id"]
    assert get(its, f"/fhir/Observation/{name}", reads).status == 200
    check_form(get(its, search, reads), search, statuses=(403,))
    check_form(get(its, f"/fhir/Observation/{name}", searches), "/fhir/Observation", statuses=(404,))
    check_form(get(its, f"/fhir/Condition?patient={PATIENT}", searches), "/fhir/Condition", statuses=(403,))
    assert {one["resource"]["resourceType"] for one in get(its, everything, searches).json()["entry"]} == {"Observation"}


def test_259_a_granular_scope_reaches_its_category_by_every_way(its, system):
    """A07: search, $everything, read by id, POST /releases; what another category has is neither there nor counted."""
    whole = f"Bearer {token(its, system)['access_token']}"
    part = f"Bearer {token(its, system, f'system/Observation.rs?category={LABORATORY} system/Patient.rs')['access_token']}"

    def categories(resource: dict) -> set[str]:
        return {f"{coding['system']}|{coding['code']}" for one in resource.get("category", []) for coding in one["coding"]}

    every = [one["resource"] for one in get(its, f"/fhir/Observation?patient={PATIENT}&_count=500", whole).json()["entry"]]
    inside = {one["id"] for one in every if LABORATORY in categories(one)}
    outside = {one["id"] for one in every} - inside
    assert inside
    assert outside
    found = get(its, f"/fhir/Observation?patient={PATIENT}&_count=500&_total=accurate", part).json()
    assert ({one["resource"]["id"] for one in found["entry"]}, found["total"]) == (inside, len(inside))
    all_of_it = get(its, f"/fhir/Patient/{PATIENT}/$everything", part).json()["entry"]
    assert {one["resource"]["id"] for one in all_of_it if one["resource"]["resourceType"] == "Observation"} == inside
    assert get(its, f"/fhir/Observation/{min(inside)}", part).status == 200
    hidden, never = (get(its, f"/fhir/Observation/{name}", part) for name in (min(outside), "never-was"))
    assert hidden.status == never.status == 404
    body = json.dumps({"application": its.number, "patient": PATIENT, "types": ["Observation"]}).encode()
    released = its.call("POST", "/releases", ("Authorization", part), ("Content-Type", JSON), body=body).json()["entry"]
    assert {one["resource"]["id"] for one in released} == inside


@pytest.mark.parametrize(
    "path", [f"/fhir/Patient/{PATIENT}", f"/fhir/Patient/{PATIENT}/$everything", "/releases/00000000-0000-4000-8000-000000000000"]
)
def test_265_269_what_is_no_usable_token_is_a_401_with_a_challenge(its, system, path):
    good = token(its, system)["access_token"]
    head, body, signature = good.split(".")
    assertion = make.assertion(system, KEY, f"{its.story.base_url}/fhir")
    for bad in (
        None,
        "Bearer",
        "Bearer x",
        f"Bearer {head}.{body}.{signature[:-8]}AAAAAAAA",
        f"Bearer {assertion}",
        f"Basic {good}",
        f"DPoP {good}",
        good,
    ):
        answer = get(its, path, bad)
        check_form(answer, path, statuses=(401,))
        assert answer.headers["www-authenticate"]
    assert get(its, f"{path}?access_token={good}", None).status == 401  # RFC 6750 2.3 is not served.


def test_revoked_by_the_client_is_revoked_at_once(its, system):
    given = token(its, system)["access_token"]
    assert get(its, f"/fhir/Patient/{PATIENT}", f"Bearer {given}").status == 200
    form = {**make.form(system, KEY, f"{its.story.base_url}/oauth2/token", ""), "token": given}
    assert its.story.http.post("/oauth2/revoke", data=form).status_code == 200
    assert get(its, f"/fhir/Patient/{PATIENT}", f"Bearer {given}").status == 401


def test_tokens_asked_too_often_by_one_client_lock_nobody_else_out(its, system, monkeypatch):
    from broker.identity import rules

    monkeypatch.setattr(rules, "TOKENS_PER_MINUTE", 1)
    form = make.form(system, KEY, f"{its.story.base_url}/oauth2/token", f"system/*.rs application:{its.number}")
    answer = its.story.http.post("/oauth2/token", data=form)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    monkeypatch.setattr(rules, "TOKENS_PER_MINUTE", 10_000)
    assert token(its, system)
    for _ in range(30):  # Whoever signs in a client's name with another key changes nothing for it.
        bad = make.form(
            system, {**make.private_key("ES384"), "kid": KEY["kid"]}, f"{its.story.base_url}/oauth2/token", f"system/*.rs application:{its.number}"
        )
        assert its.story.http.post("/oauth2/token", data=bad).status_code == 400
    assert token(its, system)


# -- d6: DPoP on the API --


@pytest.fixture
def bound(its, system) -> dict:
    return token(its, system, dpop=HOLDER)


def proof(its: Caller, given: dict, method: str, path: str, jwk: dict = HOLDER, **values) -> tuple[str, str]:
    made = make.proof(jwk, method, its.story.base_url + path, **{"nonce": given["nonce"], "token": given["access_token"], **values})
    return "DPoP", made


def test_dpop_a_bound_token_works_with_a_proof_on_every_route(its, bound):
    authorization = f"DPoP {bound['access_token']}"
    for path in (f"/fhir/Patient/{PATIENT}", f"/fhir/Observation?patient={PATIENT}", f"/fhir/Patient/{PATIENT}/$everything"):
        assert get(its, path, authorization, proof(its, bound, "GET", path)).status == 200, path
    path, form = "/fhir/Observation/_search", f"patient={PATIENT}".encode()
    signed = [("Authorization", authorization), proof(its, bound, "POST", path), ("Content-Type", FORM)]
    assert its.call("POST", path, *signed, body=form).status == 200
    body = json.dumps({"application": its.number, "patient": PATIENT}).encode()
    released = its.call(
        "POST", "/releases", ("Authorization", authorization), proof(its, bound, "POST", "/releases"), ("Content-Type", JSON), body=body
    )
    assert released.status == 200
    for path in (f"/releases/{released.headers['release-id']}",):
        assert get(its, path, authorization, proof(its, bound, "GET", path)).status == 200
        assert get(its, path, authorization).status == 401


def test_dpop_what_a_thief_of_the_token_can_send_is_refused(its, bound, system):
    path, authorization = f"/fhir/Patient/{PATIENT}", f"DPoP {bound['access_token']}"
    other = token(its, system, dpop=HOLDER)
    cases = {
        "no proof": (authorization, []),
        "as a bearer token": (f"Bearer {bound['access_token']}", []),
        "as a bearer token with a proof": (f"Bearer {bound['access_token']}", [proof(its, bound, "GET", path)]),
        "a key of his own": (authorization, [proof(its, bound, "GET", path, THIEF)]),
        "the holder's key named, his own used": (authorization, [proof(its, bound, "GET", path, THIEF, header={"jwk": make.public(HOLDER)})]),
        "a proof for another request": (authorization, [proof(its, bound, "GET", "/fhir/Observation")]),
        "a proof for another method": (authorization, [proof(its, bound, "POST", path)]),
        "a proof for another token": (authorization, [proof(its, other, "GET", path)]),
        "no ath": (authorization, [proof(its, bound, "GET", path, token=None)]),
        "a wrong ath": (authorization, [proof(its, bound, "GET", path, ath=base64.urlsafe_b64encode(sha256(b"x").digest()).decode().rstrip("="))]),
        "two proofs": (authorization, [proof(its, bound, "GET", path), proof(its, bound, "GET", path)]),
        "no nonce": (authorization, [proof(its, bound, "GET", path, nonce=None)]),
        "garbage": (authorization, [("DPoP", "x.y.z")]),
    }  # fmt: skip
    for case, (signed, headers) in cases.items():
        answer = get(its, path, signed, *headers)
        assert answer.status == 401, case
        check_form(answer, path, statuses=(401,))
        if signed.startswith("DPoP") and case != "a key of his own":
            assert answer.headers["www-authenticate"].startswith("DPoP "), case
            assert answer.headers["dpop-nonce"], case


def test_dpop_a_proof_is_good_once(its, bound):
    path = f"/fhir/Patient/{PATIENT}"
    once = proof(its, bound, "GET", path)
    assert get(its, path, f"DPoP {bound['access_token']}", once).status == 200
    assert get(its, path, f"DPoP {bound['access_token']}", once).status == 401


def test_dpop_the_scheme_is_not_for_other_tokens(its, system):
    given = {**token(its, system), "nonce": token(its, system, dpop=HOLDER)["nonce"]}
    path = f"/fhir/Patient/{PATIENT}"
    assert get(its, path, f"DPoP {given['access_token']}", proof(its, given, "GET", path)).status == 401


def test_dpop_an_information_manager_can_demand_it(its, system):
    deng = its.story.person("deng.li")
    name = f"bound-{secrets.token_hex(3)}"
    body = {"id": name, "organization": "shengli", "name": "x", "jwks": {"keys": [make.public(KEY)]}, "dpop": True}
    assert deng.call("POST", "/api/v1/clients", expected=201, body=body).json()["dpop"] is True
    form = make.form(name, KEY, f"{its.story.base_url}/oauth2/token", f"system/*.rs application:{its.number}")
    assert its.story.http.post("/oauth2/token", data=form).json()["error"] == "invalid_dpop_proof"
    assert deng.call("PATCH", f"/api/v1/clients/{name}", body={"dpop": False}).json()["dpop"] is False
    form = make.form(name, KEY, f"{its.story.base_url}/oauth2/token", f"system/*.rs application:{its.number}")
    assert its.story.http.post("/oauth2/token", data=form).json()["token_type"] == "Bearer"
