"""Authlib's authorization server on Starlette, synchronous, made anew for each request.

Authlib ships servers for Flask and Django only. This adapter is small because a request's form is read before
(``oauth_form``) and because the server lives as long as one transaction: its hooks find the session on ``self``.
What Authlib does otherwise than we need is overridden here and in ``client_credentials``, ``introspection`` and
``revocation``; docs/decisions/0007 lists each with its test.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidRequestError, OAuth2Request, UnsupportedGrantTypeError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from fastapi.responses import JSONResponse
from sqlmodel import Session

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.identity import access_token, dpop, jose, login, oauth_store, published_keys, rules
from broker.identity.bearer import caller_in, token_in
from broker.identity.callers import GrantReader, NotAuthenticatedReason, ReleaseCaller, Residual
from broker.identity.client_assertion import METHOD, AssertionRefused, authenticate, unverified_client_id
from broker.identity.oauth_form import Form, FormRefused
from broker.identity.oauth_store import Registered
from broker.settings import Settings

#: Reason of a refusal that is counted like a failed authentication, since a client can bring it about without end.
TOO_OFTEN = "too-many-tokens"
#: RFC 6749 5.1 and 5.2: on every answer of these endpoints, good or bad.
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def answer(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer of an OAuth2 endpoint."""
    return JSONResponse(dict(body), status, {**(headers or {}), **NO_STORE})


def form_refused(refusal: FormRefused) -> JSONResponse:
    """The answer to something that is not a form."""
    return answer(refusal.status, {"error": "invalid_request", "error_description": refusal.reason})


class FormRequest(OAuth2Request):
    """One request as Authlib takes it. Its address is the public one, since TLS may end before us."""

    def __init__(self, uri: str, form: Form) -> None:
        super().__init__("POST", uri, headers={"Authorization": form.authorization} if form.authorization else {})
        self.payload = BasicOAuth2Payload(dict(form.values))
        self.authorization = form.authorization
        #: Why it was refused, for the record: finer than the OAuth2 error.
        self.reason: str | None = None
        #: The caller, where an access token took the place of client authentication.
        self.bearer: ReleaseCaller | None = None
        #: The claims of the assertion, once it was found good.
        self.said: dict[str, Any] = {}
        #: Thumbprint of the key that the caller proved to hold (RFC 9449), if any.
        self.jkt: str | None = None
        self.proofs = form.proofs

    @property
    def form(self) -> dict[str, str]:
        """Parameters of the body."""
        return self.payload.data  # type: ignore[no-any-return]

    @property
    def args(self) -> dict[str, str]:
        """Parameters of the address: there are none."""
        return {}


class Refused(OAuth2Error):
    """A refusal with an HTTP status and headers of its own."""

    def __init__(self, error: str, description: str, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(description, status_code=status, error=error)
        self._headers = headers

    def get_headers(self) -> list[tuple[str, str]]:
        """Authlib's headers and these."""
        return [*super().get_headers(), *self._headers.items()]


class Server(AuthorizationServer):
    """The authorization server of one request: who asks is proved with ``private_key_jwt`` and nothing else."""

    def __init__(self, session: Session, settings: Settings, keys: Keys, grants: GrantReader, residual: Residual | None = None) -> None:
        super().__init__()  # scopes_supported stays None: exact strings can't say application:SA-… (scopes.py judges).
        self.session, self.settings, self.keys, self.grants = session, settings, keys, grants
        self.residual = residual
        self.issuer = access_token.issuer(settings)
        self.token_endpoint = f"{self.issuer}/oauth2/token"
        self.register_client_auth_method(METHOD, self._by_assertion)
        self.register_client_auth_method("bearer", self._by_bearer)

    # -- the adapter proper: four hooks of Authlib --

    def create_oauth2_request(self, request: Form | FormRequest) -> FormRequest:
        """Take a form in; endpoints hand back what was taken in already."""
        return request if isinstance(request, FormRequest) else FormRequest(self.token_endpoint, request)

    def handle_response(self, status: int, body: Mapping[str, Any], headers: list[tuple[str, str]]) -> JSONResponse:
        """Give an answer out."""
        return answer(status, body, {name: value for name, value in headers if name != "Content-Type"})

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nothing: what happens is recorded where it happens, in the same transaction."""

    def query_client(self, client_id: str) -> Registered | None:
        """The registered client of this id, with whether it may act at this moment."""
        return oauth_store.registered(self.session, client_id)

    # -- the three endpoints --

    def token(self, form: Form) -> JSONResponse:
        """POST /oauth2/token."""
        return self._answered(form, self.create_token_response)

    def endpoint(self, name: str, form: Form) -> JSONResponse:
        """POST /oauth2/introspect and /oauth2/revoke."""
        return self._answered(form, lambda request: self.create_endpoint_response(name, request))

    def _answered(self, form: Form, respond: Any) -> JSONResponse:
        try:
            request = self.create_oauth2_request(form)
        except OAuth2Error as error:
            # Authlib checks for https while the request is built, outside its own error handling: it would be a 500.
            return self.handle_response(*error())
        response: JSONResponse = respond(request)
        return response

    def get_token_grant(self, request: FormRequest) -> Any:
        """The grant for ``grant_type``. A missing one is an invalid request (RFC 6749 5.2); Authlib calls it unsupported."""
        if "grant_type" not in request.form:
            raise _MissingGrantType
        try:
            return super().get_token_grant(request)
        except UnsupportedGrantTypeError as error:
            raise _OtherGrantType from error

    def handle_error_response(self, request: FormRequest, error: OAuth2Error) -> JSONResponse:
        """Answer a refusal, and record it where a client that we know is concerned."""
        self.record_refusal(request, error)
        return self.handle_response(*error())

    def record_refusal(self, request: FormRequest, error: OAuth2Error) -> None:
        """Record a refusal of a client that we know: each one after it proved who it is, before that 1, 2, 4, 8 … in a row."""
        reason = getattr(error, "reason", None) or request.reason or str(error.error)
        if request.client is not None and reason != TOO_OFTEN:
            self.record("token.refused", request.client.get_client_id(), {"reason": reason})
            return
        claimed = unverified_client_id(request.form) if isinstance(error, AssertionRefused) or reason == TOO_OFTEN else None
        if claimed is None or self.query_client(claimed) is None:
            return  # Nobody that we know; anybody can send such requests without end.
        failures = login.count(self.session, self.keys.blind("client", claimed, reason))
        if rules.worth_recording(failures):
            self.record("client.refused", claimed, {"reason": reason, "failures": failures})

    def record(self, event: str, client_id: str, facts: Mapping[str, str | int | bool | list[str]], *, grant: Any = None) -> None:
        """Record an event of a client, with the grant it is about."""
        terms = (
            {"application": grant.application, "grant": str(grant.id), "recipient": grant.organization_id, "purpose": grant.purpose} if grant else {}
        )
        audit.record(self.session, Event(event, f"client:{client_id}", facts=facts, **terms))

    # -- client authentication --

    def _by_assertion(self, find: Any, request: FormRequest) -> Registered | None:
        if request.authorization is not None:
            if "client_assertion" in request.form:
                raise InvalidRequestError("Only one way of client authentication may be used.")
            raise _wrong_scheme(request.authorization, self.issuer)
        use_once = partial(oauth_store.use_once, self.session)
        published = published_keys.reader(self.session, self.settings)
        audiences = (self.token_endpoint, self.issuer)
        client = authenticate(request.form, audiences=audiences, find=find, use_once=use_once, published=published)
        request.client = client
        if client is not None:
            request.said = jose.read(request.form["client_assertion"]).claims
        return client

    def prove(self, request: FormRequest) -> None:
        """Bind the request to the key of its DPoP proof, where there is one or the client must have one (RFC 9449 5)."""
        client: Registered = request.client
        if not request.proofs and not client.dpop:
            return
        now = clock.now()
        found = dpop.checked(request.proofs, self.keys, method="POST", uri=self.token_endpoint, now=now)
        if isinstance(found, dpop.Proof):
            values = found.once(client.id, now)
            if oauth_store.use_once(self.session, values["client"], values["jti"], values["until"]):
                request.jkt = found.jkt
                return
            found = dpop.NoProof("proof-used")
        request.reason = found.code
        error = "use_dpop_nonce" if found.nonce else "invalid_dpop_proof"
        raise Refused(error, "The DPoP proof is missing or not usable.", 400, {"DPoP-Nonce": dpop.nonce(self.keys, now)})

    def _by_bearer(self, find: Any, request: FormRequest) -> Registered | None:
        """An access token in place of an assertion, for introspection alone (SMART 2.2)."""
        token = token_in(request.authorization)
        claims = access_token.verified(token, self.keys, self.settings) if token is not None else access_token.NotOurs("token-missing")
        if isinstance(claims, access_token.NotOurs):
            return None
        caller = caller_in(self.session, claims, self.settings)
        if isinstance(caller, NotAuthenticatedReason) or not self.grant_usable(caller.grant_id) or "cnf" in claims:
            return None
        request.bearer = caller
        client: Registered | None = find(caller.client_id)
        request.client = client
        return client

    def grant_usable(self, grant_id: Any) -> bool:
        """Whether tokens are good under this grant at this moment."""
        grant = self.grants.grant_by_id(self.session, grant_id)
        return grant is not None and grant.usable(clock.now())


class _MissingGrantType(UnsupportedGrantTypeError):
    error = "invalid_request"
    description = "grant_type is required."

    def __init__(self) -> None:
        super().__init__("")


class _OtherGrantType(UnsupportedGrantTypeError):
    description = "grant_type must be client_credentials or authorization_code."

    def __init__(self) -> None:
        super().__init__("")


def _wrong_scheme(authorization: str, realm: str) -> OAuth2Error:
    """RFC 6749 5.2: who tried the Authorization header gets 401 and a challenge of the scheme that was tried."""
    scheme = "Basic" if authorization[:6].lower() == "basic " else "Bearer"
    return Refused("invalid_client", f"Clients authenticate with {METHOD}.", 401, {"WWW-Authenticate": f'{scheme} realm="{realm}"'})
