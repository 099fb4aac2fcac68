"""Token revocation (RFC 7009): a client gives a token back before it runs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint

from broker.identity import access_token, tokens
from broker.identity.client_assertion import METHOD
from broker.identity.oauth_server import FormRequest, Server
from broker.identity.oauth_store import Registered


@dataclass(frozen=True)
class OurToken:
    """A token that we signed and that has not run out."""

    claims: dict[str, Any]

    def check_client(self, client: Registered) -> bool:
        """Whether it was given to this client."""
        return bool(self.claims["client_id"] == client.id)


class Revocation(RevocationEndpoint):
    """The endpoint. Authlib's endpoint for JWTs refuses every one of them; here the ``jti`` is marked in the table."""

    CLIENT_AUTH_METHODS = (METHOD,)
    server: Server

    def check_params(self, request: FormRequest, _client: Registered) -> None:
        """A token must be there. The hint is ignored, as RFC 7009 2.1 allows."""
        if "token" not in request.form:
            raise InvalidRequestError("token is required.")

    def query_token(self, token_string: str, _token_type_hint: str | None) -> OurToken | None:
        """The token, or None for what can't be used anyway; RFC 7009 2.2 answers 200 to that too."""
        claims = access_token.verified(token_string, self.server.keys, self.server.settings)
        return None if isinstance(claims, access_token.NotOurs) else OurToken(claims)

    def revoke_token(self, token: OurToken, request: FormRequest) -> None:
        """Mark it, once no release under its grant is on its way."""
        tokens.revoke_token(self.server.session, f"client:{request.client.id}", jti=token.claims["jti"], grant_id=UUID(token.claims["grant"]))
