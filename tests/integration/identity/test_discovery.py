"""Discovery (d1): what a client finds before it asks, and that it is true."""

from urllib.parse import urlsplit

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from tests.factories import identity as make

PATHS = ["/fhir/.well-known/smart-configuration", "/.well-known/oauth-authorization-server"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*"])
def test_discovery_needs_no_login_and_is_json_whatever_is_asked(attacked, path, accept):
    answer = attacked.http.get(path, headers={"Accept": accept, "Origin": "https://somewhere.example"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


def test_the_smart_configuration_is_complete(attacked):
    said = attacked.http.get(PATHS[0]).json()
    assert said["token_endpoint"] == "http://127.0.0.1:8000/oauth2/token"
    assert said["grant_types_supported"] == ["client_credentials", "authorization_code"]
    capabilities = {"client-confidential-asymmetric", "launch-standalone", "permission-user", "permission-v1", "permission-v2"}
    assert set(said["capabilities"]) == capabilities
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["response_types_supported"] == ["code"]
    assert said["authorization_response_iss_parameter_supported"] is True
    assert said["authorization_endpoint"] == "http://127.0.0.1:8000/oauth2/authorize"  # Required with launch capabilities.
    assert said["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert said["token_endpoint_auth_signing_alg_values_supported"] == ["ES384", "RS384"]
    assert {"issuer", "jwks_uri", "introspection_endpoint", "revocation_endpoint", "scopes_supported"} <= said.keys()


def test_both_documents_say_the_same(attacked):
    smart, oauth = (attacked.http.get(path).json() for path in PATHS)
    assert all(smart[name] == oauth[name] for name in smart.keys() & oauth.keys())
    assert smart.keys() - oauth.keys() == {"capabilities"}


def test_the_metadata_is_rfc_8414(attacked):
    """Authlib's own check."""
    metadata = AuthorizationServerMetadata(attacked.http.get(PATHS[1]).json())
    metadata.validate()
    for name in metadata.REGISTRY_KEYS:
        getattr(metadata, f"validate_{name}")()


def test_every_endpoint_that_is_named_is_served(attacked):
    said = attacked.http.get(PATHS[0]).json()
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        assert attacked.http.post(urlsplit(said[name]).path).status_code in (400, 401)
    assert attacked.http.get(urlsplit(said["jwks_uri"]).path).status_code == 200
    led = attacked.http.get(urlsplit(said["authorization_endpoint"]).path, params={"client_id": "x"}, follow_redirects=False)
    assert (led.status_code, led.headers["location"]) == (303, "/console/authorize?client_id=x")
    assert attacked.http.get(urlsplit(said["authorization_endpoint"]).path).status_code == 400


def test_every_scope_that_is_advertised_can_be_granted(attacked):
    scopes = attacked.http.get(PATHS[0]).json()["scopes_supported"]
    # Those that begin with user/ need a person: tests/integration/console/test_acting_for.py.
    assert {scope.partition("/")[0] for scope in scopes} == {"system", "user"}
    for scope in (one for one in scopes if one.startswith("system/")):
        answer = attacked.ask(attacked.assertion(), f"{scope} application:SA-2026-000001")
        assert answer.status_code == 200, scope


def test_cross_origin_reading_is_open_on_discovery_alone(attacked):
    for path, method in (("/oauth2/token", "POST"), ("/oauth2/introspect", "POST"), ("/oauth2/jwks", "GET"), ("/api/v1/me", "GET")):
        answer = attacked.http.request(method, path, headers={"Origin": "https://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")], path


def test_the_kid_of_tokens_is_the_thumbprint_of_the_published_key(attacked):
    import base64
    import json

    (key,) = attacked.http.get("/oauth2/jwks").json()["keys"]
    header = json.loads(base64.urlsafe_b64decode(attacked.token().split(".")[0] + "=="))
    assert header["kid"] == key["kid"]
    assert make.public(key) == key
