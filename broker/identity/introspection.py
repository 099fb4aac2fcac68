"""Token introspection (RFC 7662; SMART App Launch 2.2 "Token Introspection").

Whatever is not usable at this moment is answered with exactly ``{"active": false}``: garbage, another issuer's token, a token
that ran out or was revoked, one whose grant, client or organisation is no longer active, and one that the asker may not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from broker.identity import access_token
from broker.identity.bearer import caller_in
from broker.identity.callers import NotAuthenticatedReason, ReleaseCaller
from broker.identity.client_assertion import METHOD
from broker.identity.oauth_server import FormRequest, Refused, Server
from broker.identity.oauth_store import Registered


@dataclass(frozen=True)
class LiveToken:
    """A token that is good at this moment: what it says, and for whom."""

    claims: dict[str, Any]
    caller: ReleaseCaller

    def is_expired(self) -> bool:
        """No: it would not be here."""
        return False

    def is_revoked(self) -> bool:
        """No: it would not be here."""
        return False


class Introspection(IntrospectionEndpoint):
    """The endpoint. Authlib's endpoint for JWTs answers ``null`` to what is not its own and knows no revocation."""

    CLIENT_AUTH_METHODS = (METHOD, "bearer")
    server: Server
    enforces = False  #: whether the asker is a resource server of the hospital

    def authenticate_endpoint_client(self, request: FormRequest) -> Registered:
        """The client that asks, by assertion, or by an access token of its own where there is no assertion.

        RFC 7662 2.3: who is not authenticated gets 401.
        """
        methods = ("bearer",) if request.authorization is not None and "client_assertion" not in request.form else (METHOD,)
        try:
            client: Registered = self.server.authenticate_client(request, methods, self.ENDPOINT_NAME)
        except InvalidClientError as error:
            self.server.record_refusal(request, error)
            headers = {"WWW-Authenticate": f'Bearer realm="{self.server.issuer}"'}
            raise Refused("invalid_client", error.description or "The client is not authenticated.", 401, headers) from error
        return client

    def check_params(self, request: FormRequest, _client: Registered) -> None:
        """A token must be there. The hint is ignored, as RFC 7662 2.1 allows: there is one kind of token."""
        if "token" not in request.form:
            raise InvalidRequestError("token is required.")

    def query_token(self, token_string: str, _token_type_hint: str | None) -> LiveToken | None:
        """The token if it is good at this moment."""
        claims = access_token.verified(token_string, self.server.keys, self.server.settings)
        if isinstance(claims, access_token.NotOurs):
            return None
        caller = caller_in(self.server.session, claims, self.server.settings)
        if isinstance(caller, NotAuthenticatedReason) or not self.server.grant_usable(caller.grant_id):
            return None
        return LiveToken(claims, caller)

    def check_permission(self, token: LiveToken, client: Registered, request: FormRequest) -> bool:
        """Whether the asker may see the token.

        A resource server of the hospital sees every token; anybody else its own. An access token that asks in place of the
        client opens the tokens of its own application alone: that is what it was given for.
        """
        if request.bearer is not None:
            return token.caller.client_id == request.bearer.client_id and token.caller.grant_id == request.bearer.grant_id
        self.enforces = client.resource_server
        return token.caller.client_id == client.id or client.resource_server

    def introspect_token(self, token: LiveToken) -> dict[str, Any]:
        """What the token says; to a resource server also what the patient's consents leave to be enforced (IHE PCF ``residual``).

        It says what a patient withholds, so that it stands neither in the token, which its client can read, nor in an answer to others.
        """
        claims = dict(token.claims)
        pcf = claims.get("extensions", {}).get("ihe_pcf")
        if self.enforces and pcf and self.server.residual is not None:
            left = self.server.residual(self.server.session, pcf["patient_id"], token.caller.grant_id, token.caller.purpose)
            claims["extensions"] = {**claims["extensions"], "ihe_pcf": {**pcf, "residual": left}}
        return {"active": True, "token_type": "DPoP" if "cnf" in claims else "Bearer", **claims}
