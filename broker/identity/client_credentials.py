"""The one grant type: a client proves who it is and gets a token for one approved application (SMART Backend Services)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import ClientCredentialsGrant, InvalidScopeError

from broker import clock
from broker.identity import access_token, authorization_details, b2b, dpop, oauth_store, organizations, rules, scopes
from broker.identity.b2b import B2B
from broker.identity.callers import GrantView
from broker.identity.client_assertion import METHOD
from broker.identity.oauth_server import TOO_OFTEN, FormRequest, Refused, Server
from broker.identity.oauth_store import Registered
from broker.identity.scopes import RequestedScope, ScopeRefused, SmartScope


class ApplicationGrant(ClientCredentialsGrant):
    """Client credentials bound to a grant: what is given is what was asked, cut down to what was approved."""

    TOKEN_ENDPOINT_AUTH_METHODS = (METHOD,)
    server: Server
    request: FormRequest
    grant: GrantView
    smart: tuple[SmartScope, ...]
    detailed: bool  #: whether authorization_details were asked, and are answered
    said: B2B | None

    def validate_requested_scope(self) -> None:
        """Find the grant and what of the asked scope lies within it.

        Authlib would give a token without scope where nothing is left, and one with the client's whole scope where none was
        asked; both are refused here. Which applications there are is not told: unknown, another's and ended look the same.
        """
        self.server.prove(self.request)
        form = self.request.form
        detail = authorization_details.parse(form["authorization_details"]) if "authorization_details" in form else None
        if isinstance(detail, ScopeRefused):
            raise self._details_refused("details-unreadable", detail.reason)
        if detail is None or "scope" in form:
            requested = scopes.parse_request(form.get("scope", ""), None if detail is None else detail.application)
        else:
            requested = RequestedScope(detail.application, detail.scopes())
        if isinstance(requested, ScopeRefused):
            raise self._refused("scope-unreadable", requested.reason)
        said = b2b.read(self.request.said)
        if isinstance(said, str):
            raise self._b2b_refused("b2b-unreadable", said)
        client: Registered = self.request.client
        if oauth_store.asks_too_often(self.server.session, client.id):
            self.request.reason = TOO_OFTEN
            raise Refused("temporarily_unavailable", "Too many tokens were asked for; wait a minute.", 429, {"Retry-After": "60"})
        # Standard clients can't add a scope of ours: where one application alone is in force, it is the one that is meant.
        application = requested.application or self.server.grants.only_application(self.server.session, client.organization_id)
        if application is None:
            raise self._refused("scope-unreadable", scopes.ONE_APPLICATION)
        grant = self.server.grants.grant_of_application(self.server.session, application, client.organization_id)
        if grant is None or not self._belongs(grant, client) or not _lasts(grant, clock.now()):
            raise self._refused("grant-not-usable", "There is no application of this number under which data are shared with you now.")
        if said is not None and grant.purpose not in said.purposes:
            raise self._b2b_refused("b2b-purpose", "The purpose of hl7-b2b is not the one that the application was approved for.")
        smart = scopes.granted(requested.smart, grant.types)
        if detail is not None:
            location = access_token.audience(self.server.settings)
            if (detail.purpose or grant.purpose) != grant.purpose or any(one != location for one in detail.locations):
                raise self._details_refused("details-outside-grant", "Purpose or locations are not those of the application.")
            smart = detail.cut(smart)
        if not smart:
            raise self._refused("scope-outside-grant", "Nothing of the asked scope lies within the application.")
        self.grant, self.smart, self.detailed, self.said = grant, smart, detail is not None, said

    def _belongs(self, grant: GrantView, client: Registered) -> bool:
        """Whether the grant's recipient is the client's organisation or a part of it, whatever the reader of grants answered."""
        line = organizations.lineage(self.server.session, grant.organization_id)
        return client.organization_id in {one.id for one in line}

    def _details_refused(self, reason: str, description: str) -> OAuth2Error:
        self.request.reason = reason
        return Refused("invalid_authorization_details", description, 400, {})

    def _b2b_refused(self, reason: str, description: str) -> OAuth2Error:
        """UDAP Security IG 1.0: an extension that is missing something or can't be honoured is an invalid grant."""
        self.request.reason = reason
        return Refused("invalid_grant", description, 400, {})

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
        details: dict[str, Any] = {}
        if self.detailed:
            location = access_token.audience(self.server.settings)
            details["authorization_details"] = authorization_details.granted(self.grant.application, self.grant.purpose, self.smart, location)
        content |= details
        if self.said is not None:
            content["extensions"] = {**content["extensions"], b2b.NAME: dict(self.said.said)}
        if self.request.jkt is not None:
            content["cnf"] = {"jkt": self.request.jkt}
        self._store(client, jti, scope, expires - issued)
        body = {
            "access_token": access_token.signed(self.server.keys, content),
            "token_type": "Bearer" if self.request.jkt is None else "DPoP",
            "expires_in": expires - issued,
            "scope": scope,
            **details,
        }
        if self.request.jkt is None:
            return 200, body, self.TOKEN_RESPONSE_HEADER
        return 200, body, [*self.TOKEN_RESPONSE_HEADER, ("DPoP-Nonce", dpop.nonce(self.server.keys, now))]

    def _store(self, client: Registered, jti: str, scope: str, seconds: int) -> None:
        """Keep the token's row, and record that it was issued."""
        oauth_store.issue(self.server.session, client.id, jti=jti, grant_id=self.grant.id, scope=scope, seconds=seconds)
        facts: dict[str, str | int | bool | list[str]] = {
            "jti": jti,
            "seconds": seconds,
            "scopes": len(self.smart),
            "scope_sha256": hashlib.sha256(scope.encode()).hexdigest(),
        }
        if self.said is not None and self.said.subject is not None:
            facts["b2b_subject_sha256"] = self.said.subject
        if self.request.jkt is not None:
            facts["jkt"] = self.request.jkt
        self.server.record("token.issued", client.id, facts, grant=self.grant)


def _lasts(grant: GrantView, now: datetime) -> bool:
    """Whether a token under the grant would be good for a second at least."""
    return grant.usable(now) and clock.epoch(grant.valid_until) > clock.epoch(now)
