"""The first grant type: a client proves who it is and gets a token for one approved application (SMART Backend Services)."""

from __future__ import annotations

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import ClientCredentialsGrant, InvalidScopeError

from broker import clock
from broker.identity import access_token, authorization_details, b2b, issuing, oauth_store, scopes
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
        too_often(self.server, self.request)
        # Standard clients can't add a scope of ours: where one application alone is in force, it is the one that is meant.
        application = requested.application or self.server.grants.only_application(self.server.session, client.organization_id)
        if application is None:
            raise self._refused("scope-unreadable", scopes.ONE_APPLICATION)
        grant = self.server.grants.grant_of_application(self.server.session, application, client.organization_id)
        if grant is None or not issuing.belongs(self.server, grant, client) or not issuing.lasts(grant, clock.now()):
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

    def create_token_response(self) -> issuing.Answer:
        """Issue the token."""
        what = issuing.Given(self.grant, self.smart, self.detailed, self.said)
        return issuing.issued(self.server, self.request, what, list(self.TOKEN_RESPONSE_HEADER))[1]


def too_often(server: Server, request: FormRequest) -> None:
    """Raises Refused, with 429, where the client was given as many tokens within a minute as it may."""
    if oauth_store.asks_too_often(server.session, request.client.id):
        request.reason = TOO_OFTEN
        raise Refused("temporarily_unavailable", "Too many tokens were asked for; wait a minute.", 429, {"Retry-After": "60"})
