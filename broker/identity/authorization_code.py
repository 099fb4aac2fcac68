"""The second grant type: a person agrees, in their own session here, that a system of their organisation fetches for them.

RFC 6749 4.1 with PKCE (RFC 7636, S256 alone), exact redirect addresses and the issuer in every answer (RFC 9700 2.1, RFC 9207); the client
still proves itself with ``private_key_jwt``. What is given is the same as without a person, bound to one grant, and never more: the grant
must be one for which this very person applied, so that everything that is asked about the requester at a release is asked about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationCodeGrant, InvalidGrantError, InvalidRequestError, InvalidScopeError
from authlib.oauth2.rfc7636 import CodeChallenge
from sqlmodel import Session

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.identity import access_token, account, code_store, issuing, scopes, tokens
from broker.identity.access import Action
from broker.identity.callers import GrantReader, GrantView, PersonCaller
from broker.identity.client_assertion import METHOD
from broker.identity.client_credentials import too_often
from broker.identity.code_store import Kept
from broker.identity.models import Person
from broker.identity.oauth_form import Form
from broker.identity.oauth_server import FormRequest, Server
from broker.identity.oauth_store import Registered
from broker.identity.scopes import ScopeRefused, SmartScope
from broker.settings import Settings

#: What would carry the request in another way than we look at it (RFC 9101, RFC 9126), and so is refused and not ignored.
_ELSEWHERE = ("request", "request_uri")
_NOTHING = "There is no application of yours under which data are shared with this system's organisation now."


class CodeGrant(AuthorizationCodeGrant):
    """Both halves: what a person is asked, and what the code gets."""

    TOKEN_ENDPOINT_AUTH_METHODS = (METHOD,)
    server: Server
    request: FormRequest
    #: Applications that the person may choose from, and what of FHIR was asked.
    choices: tuple[str, ...] = ()
    smart: tuple[SmartScope, ...] = ()
    chosen: GrantView | None = None

    # -- the person's half --

    def validate_requested_scope(self) -> None:
        """Find what the person could agree to. An error goes back to the client, whose address is known to be its own by now."""
        form, person = self.request.form, self.request.user
        client = self.server.query_client(self.request.payload.client_id)
        if client is None:  # Authlib has looked before; nobody is asked for a system that isn't there.
            raise InvalidScopeError(_NOTHING)
        if "code_challenge" not in form or form.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE is needed: code_challenge, and code_challenge_method S256.")
        if any(name in form for name in _ELSEWHERE) or form.get("response_mode", "query") != "query":
            raise InvalidRequestError("The request stands in the address itself, and so does the answer.")
        if form.get("aud", access_token.audience(self.server.settings)) != access_token.audience(self.server.settings):
            raise InvalidRequestError("aud must be the FHIR base address.")
        requested = scopes.parse_request(form.get("scope", ""), context="user")
        if isinstance(requested, ScopeRefused):
            raise InvalidScopeError(requested.reason)
        held = self.server.grants.applications_of(self.server.session, person.person_id, client.organization_id)
        self.choices = tuple(number for number in held if requested.application in ("", number))
        self.smart = requested.smart
        if not self.choices:
            raise InvalidScopeError(_NOTHING)

    def choose(self, application: str) -> bool:
        """Whether the person may agree to this application; it is then what the code is for."""
        client = self.request.client
        found = (
            self.server.grants.grant_of_application(self.server.session, application, client.organization_id) if application in self.choices else None
        )
        self.chosen = found if found is not None and self._usable(found, client, self.request.user) else None
        return self.chosen is not None

    def _usable(self, grant: GrantView, client: Registered, person: PersonCaller) -> bool:
        return (
            grant.requester == person.person_id
            and issuing.belongs(self.server, grant, client)
            and issuing.lasts(grant, clock.now())
            and bool(scopes.granted(self.smart, grant.types))
        )

    def save_authorization_code(self, code: str, request: FormRequest) -> None:
        """Keep the code's hash with all that it is bound to, and record who agreed to what."""
        grant, person = self.chosen, request.user
        if grant is None:
            raise InvalidScopeError(_NOTHING)
        scope = scopes.written(grant.application, self.smart)
        code_store.keep(
            self.server.session, code, client_id=request.client.id, person_id=person.person_id, grant_id=grant.id,
            redirect_uri=request.payload.redirect_uri, code_challenge=request.form["code_challenge"], scope=scope,
        )  # fmt: skip
        _record(self.server, "client.let-act", person, request.client, grant)

    # -- the client's half --

    def authenticate_token_endpoint_client(self) -> Registered:
        """Who asks, with its proof of possession: a proof that wants a nonce is sent again with the same code, so it is looked at first."""
        client: Registered = super().authenticate_token_endpoint_client()
        self.request.client = client
        self.server.prove(self.request)
        too_often(self.server, self.request)
        return client

    def query_authorization_code(self, code: str, client: Registered) -> Kept | None:
        """Take the code, once. Shown a second time, the token that it got is taken back (RFC 6749 4.1.2)."""
        found = code_store.take(self.server.session, code, client.id)
        if found is None and (jti := code_store.used_for(self.server.session, code, client.id)) is not None:
            self.request.reason = "code-used"
            tokens.revoke_token(self.server.session, f"client:{client.id}", jti=jti[0], grant_id=jti[1])
        return found

    def validate_token_request(self) -> None:
        """Authlib looks at client, code, redirect address and verifier; here it is asked once more whether all still stands."""
        super().validate_token_request()
        kept: Kept = self.request.authorization_code
        person = account.caller_for(self.server.session, kept.person_id)
        grant = self.server.grants.grant_by_id(self.server.session, kept.grant_id)
        self.smart = scopes.parse_granted(kept.scope)
        if person is None or grant is None or not may_agree(person) or not self._usable(grant, self.request.client, person):
            self.request.reason = "grant-not-usable"
            raise InvalidGrantError("What was agreed to no longer stands.")
        self.chosen = grant
        self.request.user = person

    def create_token_response(self) -> issuing.Answer:
        """The token."""
        if self.chosen is None:
            raise InvalidGrantError("What was agreed to no longer stands.")
        person: PersonCaller = self.request.user
        row = self.server.session.get_one(Person, person.person_id)
        what = issuing.Given(
            self.chosen, scopes.granted(self.smart, self.chosen.types), person=issuing.ActingFor(row.id, row.name), facts={"person": str(row.id)}
        )
        jti, answer = issuing.issued(self.server, self.request, what, list(self.TOKEN_RESPONSE_HEADER))
        code_store.got(self.server.session, self.request.form["code"], jti)
        return answer


#: S256 alone: ``plain`` is refused where it is asked for (RFC 9700 2.1.1).
PKCE = CodeChallenge(required=True)


def may_agree(person: PersonCaller) -> bool:
    """Whether somebody's roles let them have data fetched at all."""
    return person.may(Action.APPLICATION_WRITE)


def asked(server: Server, parameters: Mapping[str, str], person: PersonCaller) -> CodeGrant | OAuth2Error:
    """What a person is asked by these parameters of an address, or what is wrong with them.

    An error with a ``redirect_uri`` is the client's to hear (:func:`sent_back`); one without is shown to the person, since nobody may be
    sent to an address that the client did not register.
    """
    try:
        grant: CodeGrant = server.get_consent_grant(Form(dict(parameters), None), person)
    except OAuth2Error as error:
        return error
    return grant


def agreed(server: Server, grant: CodeGrant) -> str:
    """The address to go on to with the code; ``grant`` has chosen."""
    _, _, headers = grant.create_authorization_response(grant.redirect_uri, grant.request.user)
    return _named(server, dict(headers)["Location"])


def denied(server: Server, grant: CodeGrant) -> str:
    """The address to go back to when the person said no."""
    _record(server, "client.not-let-act", grant.request.user, grant.request.client, None)
    parameters = [("error", "access_denied"), *([("state", grant.request.payload.state)] if grant.request.payload.state else [])]
    return _named(server, add_params_to_uri(grant.redirect_uri, parameters))


def sent_back(server: Server, error: OAuth2Error) -> str | None:
    """The address that tells the client what was wrong; None where there is none that is known to be its own."""
    if not error.redirect_uri:
        return None
    return _named(server, dict(error()[2])["Location"])


def _named(server: Server, address: str) -> str:
    """With our name, by which a client that asks several servers knows whose answer it has (RFC 9207 2)."""
    named: str = add_params_to_uri(address, {"iss": server.issuer})
    return named


def _record(server: Server, event: str, person: PersonCaller, client: Registered, grant: GrantView | None) -> None:
    terms: dict[str, Any] = {}
    if grant is not None:
        terms = {"application": grant.application, "grant": str(grant.id), "recipient": grant.organization_id, "purpose": grant.purpose}
    audit.record(server.session, Event(event, person.actor, facts={"client": client.id}, **terms))


def authorization_server(session: Session, settings: Settings, keys: Keys, grants: GrantReader) -> Server:
    """The server as a page asks it: it knows this grant type alone."""
    made = Server(session, settings, keys, grants)
    made.register_grant(CodeGrant, [PKCE])
    return made
