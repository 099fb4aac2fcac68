"""The release path's view of a caller: every way in which a token can be no good, and that it costs one query."""

import asyncio
import threading
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import ECKey
from psycopg.rows import dict_row

from broker import clock
from broker.identity import access_token, models, service
from broker.identity.access import NotAuthenticatedReason, ReleaseCaller, release_caller
from broker.settings import Settings
from tests.factories import identity as make
from tests.integration.identity.conftest import SCOPE


class Counting:
    """A cursor that counts what is asked of it."""

    def __init__(self, cursor):
        self.cursor, self.queries = cursor, 0

    async def execute(self, *arguments):
        self.queries += 1
        return await self.cursor.execute(*arguments)

    async def fetchone(self):
        return await self.cursor.fetchone()


def call(house, authorization, **options):
    async def once():
        connection = await psycopg.AsyncConnection.connect(house.database.conninfo, autocommit=True)
        async with connection, connection.cursor(**options) as cursor:
            counting = Counting(cursor)
            return await release_caller(counting, house.keys, house.settings, authorization), counting.queries

    return asyncio.run(once())


def claims(house, **changes):
    now = clock.epoch(clock.now())
    content = access_token.claims(
        house.settings,
        client_id=house.client_id,
        organization=("shengli", "示例省立医院"),
        grant=house.grant,
        scope=SCOPE,
        jti="made-here",
        issued=now,
        expires=now + 300,
    )
    return {name: value for name, value in {**content, **changes}.items() if value is not ...}


def signed(house, header=None, key=None, **changes):
    """A token with our key unless another is given; ``...`` leaves a claim or header parameter out."""
    ours = access_token.signing_key(house.keys)
    head = {"alg": "ES256", "typ": "at+jwt", "kid": ours.kid, **(header or {})}
    head = {name: value for name, value in head.items() if value is not ...}
    return jwt.encode(head, claims(house, **changes), key or ours, algorithms=["ES256"], default_type=None)


@pytest.fixture(scope="module")
def known(attacked):
    """A house in which the jti of tokens that are made here is stored as if they had been issued."""
    with attacked.database.transaction() as session:
        now = clock.now()
        session.add(models.Token(jti="made-here", client_id=attacked.client_id, grant_id=attacked.grant.id, scope="", issued_at=now, expires_at=now))
    return attacked


@pytest.mark.parametrize("options", [{}, {"row_factory": dict_row}])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_good_token_gives_a_caller_with_one_query(known, scheme, options):
    house = known
    caller, queries = call(house, f"{scheme} {house.token()}", **options)
    assert isinstance(caller, ReleaseCaller)
    assert queries == 1
    assert (caller.client_id, caller.organization_id, caller.grant_id) == (house.client_id, "shengli", house.grant.id)
    assert (caller.application, caller.purpose) == ("SA-2026-000001", "TREAT")
    assert caller.types("r") == {"Observation", "Patient"}
    assert caller.actor == "client:shengli-his"


def test_a_token_made_as_ours_and_known_is_taken(known):
    """So that each refusal below is for the one thing that it changes."""
    assert isinstance(call(known, f"Bearer {signed(known)}")[0], ReleaseCaller)
    assert isinstance(call(known, f"Bearer {signed(known, {'typ': 'application/at+jwt'})}")[0], ReleaseCaller)


HEADERS = {
    "none": (None, "token-missing"),
    "empty": ("", "token-missing"),
    "another scheme": ("Basic YTpi", "token-unreadable"),
    "no token": ("Bearer ", "token-unreadable"),
    "two tokens": ("Bearer a b", "token-unreadable"),
    "two schemes": ("Bearer a, Bearer b", "token-unreadable"),
    "garbage": ("Bearer garbage", "token-unreadable"),
    "20 kB": ("Bearer " + "a" * 20_000, "token-unreadable"),
    "not ASCII": ("Bearer ünïcode", "token-unreadable"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_holds_no_token_costs_no_query(known, name):
    header, code = HEADERS[name]
    refusal, queries = call(known, header)
    assert isinstance(refusal, NotAuthenticatedReason)
    assert (refusal.code, refusal.status, queries) == (code, 401, 0)
    assert refusal.headers["WWW-Authenticate"].startswith('Bearer realm="http://127.0.0.1:8000"')


TOKENS = {
    "another key of the same kid": ("token-signature", lambda house: signed(house, key=ECKey.generate_key("P-256"))),
    "kid missing": ("token-signature", lambda house: signed(house, {"kid": ...})),
    "kid another": ("token-signature", lambda house: signed(house, {"kid": "x"})),
    "typ JWT": ("token-signature", lambda house: signed(house, {"typ": "JWT"})),
    "typ missing": ("token-signature", lambda house: signed(house, {"typ": ...})),
    "key embedded": ("token-signature", lambda house: signed(house, {"jwk": access_token.public_jwks(house.keys)["keys"][0]})),
    "an assertion": ("token-signature", lambda house: house.assertion()),
    "iss another": ("token-claims", lambda house: signed(house, iss="https://other.example")),
    "aud another": ("token-claims", lambda house: signed(house, aud="https://other.example/fhir")),
    "aud the issuer": ("token-claims", lambda house: signed(house, aud=house.base)),
    "aud a list": ("token-claims", lambda house: signed(house, aud=[f"{house.base}/fhir"])),
    "aud missing": ("token-claims", lambda house: signed(house, aud=...)),
    "exp missing": ("token-claims", lambda house: signed(house, exp=...)),
    "exp text": ("token-claims", lambda house: signed(house, exp="9999999999")),
    "exp now": ("token-expired", lambda house: signed(house, exp=clock.epoch(clock.now()))),
    "grant missing": ("token-claims", lambda house: signed(house, grant=...)),
    "grant no UUID": ("token-claims", lambda house: signed(house, grant="x")),
    "scope a list": ("token-claims", lambda house: signed(house, scope=["system/*.rs"])),
    "purpose missing": ("token-claims", lambda house: signed(house, purpose=...)),
    "jti unknown": ("token-unknown", lambda house: signed(house, jti="never-issued")),
    "grant of another token": ("token-unknown", lambda house: signed(house, grant=str(uuid4()))),
    "client of another token": ("token-unknown", lambda house: signed(house, client_id="another")),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_that_is_no_good(known, name):
    code, make_token = TOKENS[name]
    refusal, _ = call(known, f"Bearer {make_token(known)}")
    assert isinstance(refusal, NotAuthenticatedReason)
    assert refusal.code == code
    # Outside, all of them look the same.
    assert refusal.headers == {
        "WWW-Authenticate": 'Bearer realm="http://127.0.0.1:8000", error="invalid_token", error_description="The access token is not usable"'
    }


def test_a_token_runs_out_although_its_signature_is_remembered(house, set_clock):
    token = house.token()
    assert isinstance(call(house, f"Bearer {token}")[0], ReleaseCaller)
    set_clock(timedelta(seconds=301))
    assert call(house, f"Bearer {token}")[0].code == "token-expired"


@pytest.mark.parametrize("what", ["token", "client", "organization", "parent"])
def test_what_is_taken_away_is_gone_at_once_although_the_signature_is_remembered(house, what):
    token = house.token()
    caller, _ = call(house, f"Bearer {token}")
    with house.database.transaction() as session:
        if what == "token":
            assert service.revoke_token(session, "system", jti=caller.jti, grant_id=caller.grant_id)
        elif what == "client":
            service.change_client(session, "system", house.client_id, status="suspended")
        elif what == "organization":
            service.change_organization(session, "system", "shengli", status="suspended")
        else:
            make.organization(session, "group", relationship="external", status="suspended")
            session.execute(sa.text("UPDATE organization SET parent_id = 'group' WHERE id = 'shengli'"))
    assert call(house, f"Bearer {token}")[0].code == ("token-revoked" if what == "token" else "caller-suspended")


def test_the_signature_is_checked_once_and_a_bad_one_never_remembered(house, monkeypatch):
    checked = []
    real = access_token._checked
    monkeypatch.setattr(access_token, "_checked", lambda *arguments: checked.append(1) or real(*arguments))
    token, forged = house.token(), signed(house, key=ECKey.generate_key("P-256"))
    for _ in range(3):
        call(house, f"Bearer {token}")
    assert len(checked) == 1
    for _ in range(3):
        assert call(house, f"Bearer {forged}")[0].code == "token-signature"
    assert len(checked) == 4


def test_what_is_remembered_is_bounded_and_of_one_installation(house, tmp_path):
    remembered = access_token._Remembered(3)
    for number in range(10):
        remembered.put(bytes([number]), {})
    assert len(remembered._claims) == 3
    token = house.token()
    call(house, f"Bearer {token}")
    other = Settings(var=tmp_path / "other", base_url="https://other.example")
    assert access_token.verified(token, house.keys, other) == access_token.NotOurs("token-claims")


def test_the_memory_is_safe_for_threads():
    remembered, errors = access_token._Remembered(50), []

    def work(start):
        try:
            for number in range(2000):
                key = ((start + number) % 100).to_bytes(2)
                remembered.put(key, {})
                remembered.get(key)
                remembered.drop(key)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
