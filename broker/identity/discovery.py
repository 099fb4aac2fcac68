"""What a client needs to know before it asks: SMART configuration and RFC 8414 metadata. Public, the same facts in both."""

from __future__ import annotations

from typing import Any

from broker.identity import authorization_details, dpop
from broker.identity.access_token import ALGORITHM, issuer
from broker.identity.client_assertion import METHOD
from broker.identity.client_keys import KEY_OF_ALGORITHM
from broker.settings import Settings

#: Open to every origin and short-lived: nothing in it is secret, and a changed key or address should be found within minutes.
HEADERS = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}
#: Every one of these can be granted. The third part of a scope, ``application:SA-YYYY-NNNNNN``, names an application and can't be listed.
SCOPES = ["system/*.rs", "system/*.read", "user/*.rs", "user/*.read"]


def _common(settings: Settings) -> dict[str, Any]:
    base, algorithms = issuer(settings), sorted(KEY_OF_ALGORITHM)
    return {
        "issuer": base,
        "jwks_uri": f"{base}/oauth2/jwks",
        "authorization_endpoint": f"{base}/oauth2/authorize",
        "token_endpoint": f"{base}/oauth2/token",
        "token_endpoint_auth_methods_supported": [METHOD],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "grant_types_supported": ["client_credentials", "authorization_code"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "authorization_response_iss_parameter_supported": True,
        "scopes_supported": SCOPES,
        "code_challenge_methods_supported": ["S256"],
        "authorization_details_types_supported": [authorization_details.TYPE],
        "dpop_signing_alg_values_supported": sorted(dpop.KEY_OF_ALGORITHM),
        "introspection_endpoint": f"{base}/oauth2/introspect",
        "introspection_endpoint_auth_methods_supported": [METHOD, "Bearer"],
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint": f"{base}/oauth2/revoke",
        "revocation_endpoint_auth_methods_supported": [METHOD],
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
    }


def smart_configuration(settings: Settings) -> dict[str, Any]:
    """``/fhir/.well-known/smart-configuration`` (SMART App Launch 2.2, "Conformance").

    An app is launched by itself (``launch-standalone``), for a person who chooses the application here; there is no launch context.
    """
    capabilities = ["client-confidential-asymmetric", "launch-standalone", "permission-user", "permission-v1", "permission-v2"]
    return {**_common(settings), "capabilities": capabilities}


def authorization_server(settings: Settings) -> dict[str, Any]:
    """``/.well-known/oauth-authorization-server`` (RFC 8414 2)."""
    return {
        **_common(settings),
        "access_token_signing_alg_values_supported": [ALGORITHM],
    }
