"""A token is given: to whom, for what, and what stands in it."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import KeySet

from broker import clock
from broker.identity import rules
from tests.factories import identity as make
from tests.integration.identity.conftest import SCOPE


def claims(house, token):
    keys = KeySet.import_key_set(house.http.get("/oauth2/jwks").json())
    return jwt.decode(token, keys, algorithms=["ES256"])


def test_a_token_says_whose_it_is_and_what_it_is_for(house):
    answer = house.http.post("/oauth2/token", data=house.form(), headers={"Accept": "application/json"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 300, SCOPE)
    token = claims(house, body["access_token"])
    assert (token.header["alg"], token.header["typ"]) == ("ES256", "at+jwt")
    said = token.claims
    assert said["exp"] - said["iat"] == 300
    assert len(said["jti"]) >= 32  # 192 bits in base64url.
    assert {name: value for name, value in said.items() if name not in ("iat", "exp", "jti")} == {
        "iss": "http://127.0.0.1:8000",
        "sub": "shengli-his",
        "client_id": "shengli-his",
        "aud": "http://127.0.0.1:8000/fhir",
        "scope": SCOPE,
        "grant": str(house.grant.id),
        "application": "SA-2026-000001",
        "purpose": "TREAT",
        "extensions": {
            "ihe_iua": {
                "subject_organization": "示例省立医院",
                "subject_organization_id": "shengli",
                "purpose_of_use": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
            },
            "ihe_pcf": {"patient_id": "p-1", "doc_id": ["c-1"]},
        },
    }


def test_ihe_pcf_stands_only_where_it_can_be_told(house):
    """PCF asks for exactly one patient and at least one consent."""
    for values in ({"patients": ("p-1", "p-2")}, {"consents": ()}):
        house.grants.change(house.grant.id, **{"patients": ("p-1",), "consents": ("c-1",), **values})
        assert "ihe_pcf" not in claims(house, house.token()).claims["extensions"]


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_both_algorithms_of_smart_are_taken_and_the_issuer_as_audience(attacked, alg):
    """Authlib refuses both by default (decision 0007)."""
    house = attacked
    with house.database.transaction() as session:
        client, jwk = make.client_with_key(session, alg, organization_id="shengli")
        client_id = client.id
    for audience in (house.token_endpoint, house.base):
        answer = house.ask(make.assertion(client_id, jwk, audience))
        assert answer.status_code == 200, answer.text


def test_a_token_is_never_kept(house, database_url, caplog):
    caplog.set_level("DEBUG")
    assertion = house.assertion()
    signatures = [token.rsplit(".", 1)[1] for token in (assertion, house.ask(assertion).json()["access_token"])]
    with psycopg.connect(database_url) as connection:
        for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            kept = str(connection.execute(f'SELECT array_agg(t::text) FROM "{table}" t').fetchone())
            assert not [signature for signature in signatures if signature in kept], table
    assert not [signature for signature in signatures if signature in caplog.text]  # Authlib logs tokens at DEBUG.


def test_issuing_is_recorded_with_the_grant_and_without_the_token(house):
    token = house.token()
    (event,) = house.events("token.issued")
    assert (event["actor"], event["app"], event["grant"], event["recipient"], event["purpose"]) == (
        "client:shengli-his",
        "SA-2026-000001",
        str(house.grant.id),
        "shengli",
        "TREAT",
    )
    assert token not in json.dumps(event)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("system/Observation.rs", "system/Observation.rs"),
        ("system/Observation.read", "system/Observation.read"),  # v1 stays v1
        ("system/*.rs", "system/Observation.rs system/Patient.rs"),  # no further than the approval
        ("system/*.read", "system/Observation.read system/Patient.read"),
        ("system/*.cruds", "system/Observation.rs system/Patient.rs"),  # nothing but reading
        ("system/*.*", "system/Observation.read system/Patient.read"),
        ("system/Patient.s system/Patient.r", "system/Patient.s system/Patient.r"),
        ("system/Observation.rs system/Observation.rs", "system/Observation.rs"),
        ("system/Observation.rs system/Condition.rs", "system/Observation.rs"),
        ("system/Observation.rs system/Patient.write", "system/Observation.rs"),
    ],
)
def test_the_scope_is_cut_down_to_the_approval(attacked, asked, given):
    house = attacked
    answer = house.ask(house.assertion(), f"{asked} application:SA-2026-000001")
    assert answer.json()["scope"] == f"{given} application:SA-2026-000001"
    assert claims(house, answer.json()["access_token"]).claims["scope"] == answer.json()["scope"]


def test_a_token_never_outlives_its_grant(house):
    house.grants.change(house.grant.id, valid_until=clock.now() + timedelta(seconds=90))
    answer = house.ask(house.assertion()).json()
    assert 0 < answer["expires_in"] <= 90


@pytest.mark.parametrize(
    "values",
    [
        {"status": "revoked"},
        {"status": "suspended"},
        {"valid_until": clock.now() - timedelta(seconds=1)},
        {"valid_from": clock.now() + timedelta(days=1)},
        {"organization_id": "renhe"},
        {"application": "SA-2026-000002"},
        {"types": ()},
        {"types": ("Condition",)},
    ],
)
def test_no_token_without_a_grant_that_is_good_now_and_ones_own(house, values):
    house.grants.change(house.grant.id, **values)
    answer = house.ask(house.assertion())
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert [event["facts"]["reason"] for event in house.events("token.refused")] in (["grant-not-usable"], ["scope-outside-grant"])


def test_of_fifty_at_once_one_gets_in(house):
    """A jti is good once for a client: the primary key decides, not a look beforehand."""
    assertion, gate = house.assertion(), threading.Barrier(50)

    def send(_):
        gate.wait()
        return house.ask(assertion)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 49
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {"invalid_client"}
    assert len(house.events("token.issued")) == 1


def test_a_jti_stays_used_when_the_request_failed_for_another_reason(house):
    assertion = house.assertion()
    assert house.ask(assertion, "system/Observation.rs application:SA-2026-999999").json()["error"] == "invalid_scope"
    assert house.ask(assertion).json()["error"] == "invalid_client"


def test_the_same_jti_of_another_client_is_another(house):
    with house.database.transaction() as session:
        other, jwk = make.client_with_key(session, organization_id="shengli")
        other_id = other.id
    assert house.ask(house.assertion(jti="one")).status_code == 200
    assert house.ask(make.assertion(other_id, jwk, house.token_endpoint, jti="one")).status_code == 200


def test_used_jtis_are_let_go_when_nobody_could_use_them(house, set_clock):
    house.ask(house.assertion(jti="old"))
    set_clock(timedelta(seconds=330) + rules.JTI_KEPT)
    house.ask(house.assertion(jti="new", exp=clock.epoch(clock.now()) + 300))
    with house.database.transaction() as session:
        assert session.execute(sa.text("SELECT jti FROM used_jti")).scalars().all() == ["new"]


def test_a_client_that_asks_without_end_is_told_to_wait_and_others_are_not(house, monkeypatch):
    monkeypatch.setattr(rules, "TOKENS_PER_MINUTE", 3)
    with house.database.transaction() as session:
        other, jwk = make.client_with_key(session, organization_id="shengli")
        other_id = other.id
    for _ in range(3):
        house.token()
    answer = house.ask(house.assertion())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert house.ask(make.assertion(other_id, jwk, house.token_endpoint)).status_code == 200


def test_keys_rotate_and_a_removed_key_stops_at_once(house):
    from broker.identity import service

    new = make.private_key()
    with house.database.transaction() as session:
        service.set_client_keys(session, "system", house.client_id, jwks={"keys": [make.public(house.jwk), make.public(new)]})
    assert house.ask(make.assertion(house.client_id, new, house.token_endpoint)).status_code == 200
    assert house.ask(house.assertion()).status_code == 200
    with house.database.transaction() as session:
        service.set_client_keys(session, "system", house.client_id, jwks={"keys": [make.public(new)]})
    assert house.ask(house.assertion()).json()["error"] == "invalid_client"


def test_the_public_address_counts_when_tls_ends_before_us(house):
    """Behind a proxy the request comes as plain http under another name; Authlib would answer 500 (decision 0007)."""
    answer = house.http.post("http://broker.internal:8000/oauth2/token", data=house.form())
    assert answer.status_code == 200


def test_plain_http_as_public_address_is_an_error_and_no_500(house, database, keys, tmp_path):
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from broker.identity.routes import build_router
    from broker.settings import Settings

    settings = Settings(var=tmp_path, base_url="http://broker.example")
    app = FastAPI()
    app.state.database = database
    app.include_router(build_router(settings=settings, keys=keys, grants=house.grants))
    answer = TestClient(app).post("/oauth2/token", data=house.form())
    assert (answer.status_code, answer.json()["error"]) == (400, "insecure_transport")


def test_jwks_hold_the_public_half_alone(house):
    (key,) = house.http.get("/oauth2/jwks").json()["keys"]
    assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert base64.urlsafe_b64decode(key["x"] + "==")
