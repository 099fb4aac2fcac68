"""The one grant type: a client proves who it is and gets a token for one approved application (SMART Backend Services)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from authlib.oauth2.rfc6749 import ClientCredentialsGrant, InvalidScopeError

from broker import clock
from broker.identity import access_token, oauth_store, rules, scopes
from broker.identity.callers import GrantView
from broker.identity.client_assertion import METHOD
from broker.identity.oauth_server import TOO_OFTEN, FormRequest, Refused, Server
from broker.identity.oauth_store import Registered
from broker.identity.scopes import ScopeRefused, SmartScope


class ApplicationGrant(ClientCredentialsGrant):
    """Client credentials bound to a grant: what is given is what was asked, cut down to what was approved."""

    TOKEN_ENDPOINT_AUTH_METHODS = (METHOD,)
    server: Server
    request: FormRequest
    grant: GrantView
    smart: tuple[SmartScope, ...]

    def validate_requested_scope(self) -> None:
        """Find the grant and what of the asked scope lies within it.

        Authlib would give a token without scope where nothing is left, and one with the client's whole scope where none was
        asked; both are refused here. Which applications there are is not told: unknown, another's and ended look the same.
        """
        requested = scopes.parse_request(self.request.form.get("scope", ""))
        if isinstance(requested, ScopeRefused):
            raise self._refused("scope-unreadable", requested.reason)
        client: Registered = self.request.client
        if oauth_store.asks_too_often(self.server.session, client.id):
            self.request.reason = TOO_OFTEN
            raise Refused("temporarily_unavailable", "Too many tokens were asked for; wait a minute.", 429, {"Retry-After": "60"})
        grant = self.server.grants.grant_of_application(self.server.session, requested.application, client.organization_id)
        if grant is None or grant.organization_id != client.organization_id or not _lasts(grant, clock.now()):
            raise self._refused("grant-not-usable", "There is no application of this number under which data are shared with you now.")
        smart = scopes.granted(requested.smart, grant.types)
        if not smart:
            raise self._refused("scope-outside-grant", "Nothing of the asked scope lies within the application.")
        self.grant, self.smart = grant, smart

    def _refused(self, reason: str, description: str) -> InvalidScopeError:
        self.request.reason = reason
        return InvalidScopeError(description)

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        """Issue the token. Authlib's own method writes it to a debug log, names the asked scope and asks the machine's clock."""
        client: Registered = self.request.client
        now = clock.now()
        issued = clock.epoch(now)
        expires = clock.epoch(rules.token_expiry(now, self.grant.valid_until))
        scope, jti = scopes.written(self.grant.application, self.smart), access_token.new_jti()
        content = access_token.claims(
            self.server.settings,
            client_id=client.id,
            organization=(client.organization_id, client.organization_name),
            grant=self.grant,
            scope=scope,
            jti=jti,
            issued=issued,
            expires=expires,
        )
        self._store(client, jti, scope, expires - issued)
        body = {
            "access_token": access_token.signed(self.server.keys, content),
            "token_type": "Bearer",
            "expires_in": expires - issued,
            "scope": scope,
        }
        return 200, body, self.TOKEN_RESPONSE_HEADER

    def _store(self, client: Registered, jti: str, scope: str, seconds: int) -> None:
        """Keep the token's row, and record that it was issued."""
        oauth_store.issue(self.server.session, client.id, jti=jti, grant_id=self.grant.id, scope=scope, seconds=seconds)
        facts: dict[str, str | int | bool | list[str]] = {
            "jti": jti,
            "seconds": seconds,
            "scopes": len(self.smart),
            "scope_sha256": hashlib.sha256(scope.encode()).hexdigest(),
        }
        self.server.record("token.issued", client.id, facts, grant=self.grant)


def _lasts(grant: GrantView, now: datetime) -> bool:
    """Whether a token under the grant would be good for a second at least."""
    return grant.usable(now) and clock.epoch(grant.valid_until) > clock.epoch(now)
