"""HTTP to the OAuth2 server and its discovery documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from broker.crypto import Keys
from broker.database import SessionDep
from broker.identity import access_token, discovery
from broker.identity.authorization_code import PKCE, CodeGrant
from broker.identity.callers import GrantReader, Residual
from broker.identity.client_assertion import ASSERTION_TYPE
from broker.identity.client_credentials import ApplicationGrant
from broker.identity.introspection import Introspection
from broker.identity.oauth_form import FORM, Form, FormRefused, OAuthForm
from broker.identity.oauth_server import NO_STORE, Server, answer, form_refused
from broker.identity.revocation import Revocation
from broker.identity.sso import provider
from broker.identity.sso_accounts import logged_out
from broker.settings import Settings

#: The page that asks a person, and how long what it is asked may be: it goes through the login page.
AGREE = "/console/authorize"
MAX_ASKED = 1500


def _form(fields: dict[str, str]) -> dict[str, Any]:
    """The request body for the OpenAPI document; :func:`oauth_form.oauth_form` reads it."""
    proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "Signed JWT of the client."}
    properties = {name: {"type": "string", "description": text} for name, text in (proof | fields).items()}
    schema = {"type": "object", "required": list(fields), "properties": properties}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


_TOKEN_REQUEST = _form(
    {
        "grant_type": "client_credentials, or authorization_code with code, redirect_uri and code_verifier",
        "scope": "SMART system scopes and one application:SA-YYYY-NNNNNN.",
    }
)
_ABOUT_A_TOKEN = _form({"token": "An access token."})
_LOGOUT = {
    "requestBody": {"required": True, "content": {FORM: {"schema": {"type": "object", "required": ["logout_token"], "properties": {
        "logout_token": {"type": "string", "description": "Logout token of the hospital's login."}}}}}}
}  # fmt: skip
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "RFC 6749 5.2 error."},
    401: {"description": "The client is not authenticated."},
    413: {"description": "The body is too large."},
    429: {"description": "Too many tokens were asked for."},
}


def build_oauth_router(settings: Settings, keys: Keys, grants: GrantReader, residual: Residual | None = None) -> APIRouter:
    """The routes of the authorization server."""
    router = APIRouter(tags=["oauth2"])
    hospital = provider(settings)

    def server(session: SessionDep) -> Server:
        made = Server(session, settings, keys, grants, residual)
        made.register_grant(ApplicationGrant)
        made.register_grant(CodeGrant, [PKCE])
        made.register_endpoint(Introspection)
        made.register_endpoint(Revocation)
        return made

    def answered(form: Form | FormRefused, respond: Callable[[Form], JSONResponse]) -> JSONResponse:
        return form_refused(form) if isinstance(form, FormRefused) else respond(form)

    @router.post("/oauth2/token", response_class=JSONResponse, responses=_ERRORS, openapi_extra=_TOKEN_REQUEST)
    def token(form: OAuthForm, session: SessionDep) -> JSONResponse:
        """Give a token for one approved application (RFC 6749 4.4, SMART Backend Services)."""
        return answered(form, server(session).token)

    @router.get("/oauth2/authorize", include_in_schema=False)
    def authorize(request: Request) -> Response:
        """Where a system sends a person who shall agree that it fetches for them: on to the page that asks them (RFC 6749 4.1.1)."""
        query = request.url.query
        if not query or len(query) > MAX_ASKED:
            return answer(400, {"error": "invalid_request", "error_description": "The parameters are missing, or too long."})
        return RedirectResponse(f"{AGREE}?{query}", 303, NO_STORE)

    @router.post("/oauth2/introspect", response_class=JSONResponse, responses=_ERRORS, openapi_extra=_ABOUT_A_TOKEN)
    def introspect(form: OAuthForm, session: SessionDep) -> JSONResponse:
        """Say whether a token is good at this moment, and what it says (RFC 7662)."""
        return answered(form, lambda given: server(session).endpoint("introspection", given))

    @router.post("/oauth2/revoke", response_class=JSONResponse, responses=_ERRORS, openapi_extra=_ABOUT_A_TOKEN)
    def revoke(form: OAuthForm, session: SessionDep) -> JSONResponse:
        """Give a token back (RFC 7009)."""
        return answered(form, lambda given: server(session).endpoint("revocation", given))

    @router.post("/oauth2/backchannel-logout", response_class=JSONResponse, responses=_ERRORS, openapi_extra=_LOGOUT)
    def backchannel_logout(request: Request, form: OAuthForm) -> JSONResponse:
        """Somebody signed out at the hospital's login: their sessions here end (OpenID Connect Back-Channel Logout 1.0, 2.5)."""

        def respond(given: Form) -> JSONResponse:
            token = given.values.get("logout_token", "")
            if hospital is not None and token and logged_out(request.app.state.database, hospital, token):
                return JSONResponse({}, headers={"Cache-Control": "no-store"})
            said = {"error": "invalid_request", "error_description": "This is no logout token for us."}
            return JSONResponse(said, 400, headers={"Cache-Control": "no-store"})

        return answered(form, respond)

    @router.get("/oauth2/jwks", response_class=JSONResponse)
    def jwks() -> JSONResponse:
        """The public key of access tokens."""
        return JSONResponse(access_token.public_jwks(keys), headers={"Cache-Control": discovery.HEADERS["Cache-Control"]})

    @router.get("/fhir/.well-known/smart-configuration", response_class=JSONResponse)
    def smart_configuration() -> JSONResponse:
        """Discovery as SMART App Launch asks for it."""
        return JSONResponse(discovery.smart_configuration(settings), headers=discovery.HEADERS)

    @router.get("/.well-known/oauth-authorization-server", response_class=JSONResponse)
    def authorization_server() -> JSONResponse:
        """Discovery as RFC 8414 asks for it."""
        return JSONResponse(discovery.authorization_server(settings), headers=discovery.HEADERS)

    return router
