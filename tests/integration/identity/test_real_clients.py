"""Clients that we did not write, over ASGI and over a real socket."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import httpx2
import pytest
import uvicorn
from authlib.common.urls import add_params_to_qs
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client
from authlib.oauth2.rfc7523 import private_key_jwt_sign
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from broker.settings import Settings
from tests.factories import identity as make
from tests.integration.identity.conftest import SCOPE, build


class PerRequestPrivateKeyJWT:
    """Authlib's ``PrivateKeyJWT`` with a new assertion for each request: its own shares one claims dictionary, and so one jti."""

    name = "private_key_jwt"

    def __init__(self, token_endpoint, alg, kid):
        self.token_endpoint, self.alg, self.kid = token_endpoint, alg, kid

    def __call__(self, auth, method, uri, headers, body):
        signed = private_key_jwt_sign(auth.client_secret, auth.client_id, self.token_endpoint, alg=self.alg, header={"kid": self.kid}, expires_in=240)
        return uri, headers, add_params_to_qs(body or "", [("client_assertion_type", make.ASSERTION_TYPE), ("client_assertion", signed)])


def configured(kind, token_endpoint, client_id, jwk, **options):
    key = (RSAKey if jwk["kty"] == "RSA" else ECKey).import_key({name: value for name, value in jwk.items() if name not in ("alg", "kid")})
    client = kind(client_id, key, token_endpoint_auth_method="private_key_jwt", revocation_endpoint_auth_method="private_key_jwt", **options)
    client.register_client_auth_method(PerRequestPrivateKeyJWT(token_endpoint, jwk["alg"], jwk["kid"]))
    return client


@pytest.mark.parametrize("alg", ["ES384", "RS384"])
def test_authlibs_client_over_asgi(house, alg):
    with house.database.transaction() as session:
        row, jwk = make.client_with_key(session, alg, organization_id="shengli")
        client_id = row.id

    async def fetch():
        options = {"transport": httpx2.ASGITransport(house.app), "base_url": house.base}
        async with configured(AsyncOAuth2Client, house.token_endpoint, client_id, jwk, **options) as client:
            return [await client.fetch_token(house.token_endpoint, grant_type="client_credentials", scope=SCOPE) for _ in range(2)]

    first, second = asyncio.run(fetch())
    assert first["access_token"] != second["access_token"]
    assert first["scope"] == SCOPE


@contextmanager
def served(app, port):
    """The app behind a real socket."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def over_a_socket(database, keys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for house in build(database, keys, Settings(var=tmp_path, base_url=f"http://127.0.0.1:{port}")):
        with served(house.app, port):
            yield house


def test_authlibs_client_over_a_socket_from_discovery_to_revocation(over_a_socket):
    """It knows the address of the FHIR API, its own key, and nothing else of us."""
    base = over_a_socket.settings.base_url
    smart = httpx2.get(f"{base}/fhir/.well-known/smart-configuration").json()
    with configured(OAuth2Client, smart["token_endpoint"], over_a_socket.client_id, over_a_socket.jwk) as client:
        token = client.fetch_token(smart["token_endpoint"], grant_type="client_credentials", scope="system/*.rs application:SA-2026-000001")
        published = KeySet.import_key_set(httpx2.get(smart["jwks_uri"]).json())
        assert jwt.decode(token["access_token"], published, algorithms=["ES256"]).claims["aud"] == f"{base}/fhir"

        def described():
            return client.introspect_token(smart["introspection_endpoint"], token=token["access_token"]).json()

        assert described()["active"] is True
        assert client.revoke_token(smart["revocation_endpoint"], token=token["access_token"]).status_code == 200
        assert described() == {"active": False}
