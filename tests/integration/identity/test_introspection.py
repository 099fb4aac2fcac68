"""Introspection and revocation: what is taken away is gone at once, and nobody sees what isn't theirs (d3, RFC 7662, RFC 7009)."""

import base64
import json
import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from broker import clock
from broker.database import gate_lock
from broker.identity import access_token, service
from tests.factories import identity as make
from tests.integration.identity.conftest import SCOPE

INACTIVE = {"active": False}


def introspect(house, token, *, client_id=None, jwk=None, **parameters):
    """Ask as the house's client, or as another."""
    assertion = make.assertion(client_id or house.client_id, jwk or house.jwk, house.token_endpoint)
    data = {"token": token, "client_assertion_type": make.ASSERTION_TYPE, "client_assertion": assertion, **parameters}
    return house.http.post("/oauth2/introspect", data={name: value for name, value in data.items() if value is not None})


def revoke(house, token, *, client_id=None, jwk=None, **parameters):
    assertion = make.assertion(client_id or house.client_id, jwk or house.jwk, house.token_endpoint)
    data = {"token": token, "client_assertion_type": make.ASSERTION_TYPE, "client_assertion": assertion, **parameters}
    return house.http.post("/oauth2/revoke", data={name: value for name, value in data.items() if value is not None})


def is_inactive(answer):
    """Exactly this and nothing more: extra members would say something about a token that is none of the asker's."""
    return answer.status_code == 200 and answer.json() == INACTIVE


def test_a_good_token_is_described(house):
    token = house.token()
    answer = introspect(house, token)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert said["active"] is True
    assert set(said["scope"].split()) == set(SCOPE.split())
    assert (said["client_id"], said["token_type"], said["grant"], said["purpose"]) == (house.client_id, "Bearer", str(house.grant.id), "TREAT")
    assert type(said["exp"]) is int
    assert said["exp"] >= clock.epoch(clock.now())
    assert said["extensions"]["ihe_iua"]["purpose_of_use"][0]["code"] == "TREAT"


@pytest.mark.parametrize("garbage", ["garbage", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "\0", "诊断", "a" * 20_000, "e30.e30.AAAA", "..", "Bearer x"])
def test_what_is_no_token_of_ours_is_inactive_and_never_null(attacked, garbage):
    """Authlib answers Python's None, which is sent as ``null`` (decision 0007)."""
    assert is_inactive(introspect(attacked, garbage))


def test_a_token_of_another_issuer_is_inactive(house, tmp_path):
    from broker.crypto import load_keys
    from broker.settings import Settings

    theirs = Settings(var=tmp_path / "theirs")
    claims = {"iss": house.base, "aud": f"{house.base}/fhir", "exp": clock.epoch(clock.now()) + 300}
    assert is_inactive(introspect(house, access_token.signed(load_keys(theirs), claims)))


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "strange"])
def test_a_hint_does_not_hide_a_token(attacked, hint):
    assert introspect(attacked, attacked.token(), token_type_hint=hint).json()["active"] is True


def test_an_expired_token_is_inactive(house, set_clock):
    token = house.token()
    set_clock(timedelta(seconds=301))
    assertion = make.assertion(house.client_id, house.jwk, house.token_endpoint, exp=clock.epoch(clock.now()) + 100)
    data = {"token": token, "client_assertion_type": make.ASSERTION_TYPE, "client_assertion": assertion}
    assert is_inactive(house.http.post("/oauth2/introspect", data=data))


@pytest.mark.parametrize("values", [{"status": "revoked"}, {"status": "suspended"}, {"valid_until": clock.now() - timedelta(seconds=1)}])
def test_a_withdrawn_grant_makes_its_tokens_inactive_at_once(house, values):
    token = house.token()
    assert introspect(house, token).json()["active"] is True
    house.grants.change(house.grant.id, **values)
    assert is_inactive(introspect(house, token))


def test_a_token_whose_grant_is_gone_is_inactive(house):
    token = house.token()
    house.grants.held.clear()
    assert is_inactive(introspect(house, token))


@pytest.mark.parametrize("what", ["client", "organization", "parent"])
def test_a_suspended_client_makes_its_tokens_inactive_at_once(house, what):
    with house.database.transaction() as session:
        watcher, jwk = make.client_with_key(session, resource_server=True)
        watcher_id = watcher.id
        make.organization(session, "group", relationship="external")
        session.execute(sa.text("UPDATE organization SET parent_id = 'group' WHERE id = 'shengli'"))
    token = house.token()
    assert introspect(house, token, client_id=watcher_id, jwk=jwk).json()["active"] is True
    with house.database.transaction() as session:
        if what == "client":
            service.change_client(session, "system", house.client_id, status="suspended")
        else:
            service.change_organization(session, "system", {"organization": "shengli", "parent": "group"}[what], status="suspended")
    assert is_inactive(introspect(house, token, client_id=watcher_id, jwk=jwk))


def test_an_outside_client_sees_its_own_tokens_alone(house):
    with house.database.transaction() as session:
        other, jwk = make.client_with_key(session, organization_id="shengli")
        other_id = other.id
    token = house.token()
    assert introspect(house, token).json()["active"] is True
    assert is_inactive(introspect(house, token, client_id=other_id, jwk=jwk))


def test_a_resource_server_of_the_hospital_sees_them_and_an_ordinary_client_of_it_does_not(house):
    with house.database.transaction() as session:
        server, server_key = make.client_with_key(session, resource_server=True)
        plain, plain_key = make.client_with_key(session)
        server_id, plain_id = server.id, plain.id
    token = house.token()
    assert introspect(house, token, client_id=server_id, jwk=server_key).json()["active"] is True
    assert is_inactive(introspect(house, token, client_id=plain_id, jwk=plain_key))


def test_what_the_consents_leave_to_be_enforced_is_told_to_a_resource_server_and_to_nobody_else(house):
    """IHE PCF ``residual`` says what the patient withholds: neither the token nor an answer to its own client may."""
    with house.database.transaction() as session:
        server, server_key = make.client_with_key(session, resource_server=True)
        server_id = server.id
    token = house.token()
    told = introspect(house, token, client_id=server_id, jwk=server_key).json()["extensions"]["ihe_pcf"]
    assert told["residual"] == [{"type": "forbid", "asked": [told["patient_id"], str(house.grant.id), house.grant.purpose]}]
    assert "residual" not in introspect(house, token).json()["extensions"]["ihe_pcf"]
    payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert "residual" not in payload["extensions"]["ihe_pcf"]


def test_who_is_not_authenticated_gets_401(house):
    token = house.token()
    for data in (
        {"token": token},
        {"token": token, "client_assertion_type": make.ASSERTION_TYPE, "client_assertion": "garbage"},
        {"token": token, "client_id": house.client_id},
    ):
        answer = house.http.post("/oauth2/introspect", data=data)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Bearer realm=")
    assert house.http.post("/oauth2/introspect", data={"token": token}, auth=(house.client_id, "x")).status_code == 401


def test_a_token_may_ask_in_place_of_its_client_about_its_own_application(house):
    """SMART 2.2: a bearer token is taken where it is good enough; here, for what it was given for."""
    mine, again = house.token(), house.token()
    house.grants.add(make.grant("shengli", "SA-2026-000002"))
    other_application = house.token("system/Patient.rs application:SA-2026-000002")

    def ask(token, bearer):
        return house.http.post("/oauth2/introspect", data={"token": token}, headers={"Authorization": f"Bearer {bearer}"})

    assert ask(mine, mine).json()["active"] is True
    assert ask(again, mine).json()["active"] is True
    assert is_inactive(ask(other_application, mine))
    assert ask(mine, "garbage").status_code == 401
    revoke(house, mine)
    assert ask(again, mine).status_code == 401


def test_a_token_of_another_client_is_not_opened_by_ones_own(house):
    with house.database.transaction() as session:
        other, jwk = make.client_with_key(session, organization_id="shengli")
        other_id = other.id
    theirs = house.ask(make.assertion(other_id, jwk, house.token_endpoint)).json()["access_token"]
    answer = house.http.post("/oauth2/introspect", data={"token": house.token()}, headers={"Authorization": f"Bearer {theirs}"})
    assert is_inactive(answer)


def test_a_token_is_required(house):
    answer = introspect(house, None)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = revoke(house, None)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_an_assertion_is_good_once_over_all_endpoints(house):
    assertion = house.assertion()
    assert house.ask(assertion).status_code == 200
    data = {"token": "x", "client_assertion_type": make.ASSERTION_TYPE, "client_assertion": assertion}
    assert house.http.post("/oauth2/introspect", data=data).status_code == 401
    assert house.http.post("/oauth2/revoke", data=data).status_code == 400


def test_a_revoked_token_is_inactive_and_it_is_recorded(house):
    """Authlib's revocation of JWTs refuses every one of them (decision 0007)."""
    token = house.token()
    for _ in range(2):  # RFC 7009 2.2: revoking again is no error.
        answer = revoke(house, token, token_type_hint="refresh_token")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert is_inactive(introspect(house, token))
    (event,) = house.events("token.revoked")
    assert (event["actor"], event["grant"]) == (f"client:{house.client_id}", str(house.grant.id))


def test_revoking_what_is_no_token_is_no_error(house):
    assert revoke(house, "garbage").status_code == 200


def test_nobody_revokes_the_token_of_another(house):
    with house.database.transaction() as session:
        other, jwk = make.client_with_key(session, organization_id="shengli")
        other_id = other.id
    token = house.token()
    answer = revoke(house, token, client_id=other_id, jwk=jwk)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert introspect(house, token).json()["active"] is True
    assert house.http.post("/oauth2/revoke", data={"token": token}).status_code == 400


def test_revocation_waits_for_a_release_on_its_way(house):
    """What leaves after the answer would have left after the withdrawal was acknowledged."""
    token, answers = house.token(), []
    with house.database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_advisory_lock_shared(%s)", (gate_lock("grant", str(house.grant.id)),))
        asking = threading.Thread(target=lambda: answers.append(revoke(house, token).status_code))
        asking.start()
        time.sleep(0.3)
        assert answers == []
        connection.exec_driver_sql("SELECT pg_advisory_unlock_shared(%s)", (gate_lock("grant", str(house.grant.id)),))
        asking.join(5)
    assert answers == [200]
