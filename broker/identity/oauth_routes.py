"""HTTP to the OAuth2 server and its discovery documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from broker.crypto import Keys
from broker.database import SessionDep
from broker.identity import access_token, discovery
from broker.identity.callers import GrantReader, Residual
from broker.identity.client_assertion import ASSERTION_TYPE
from broker.identity.client_credentials import ApplicationGrant
from broker.identity.introspection import Introspection
from broker.identity.oauth_form import FORM, Form, FormRefused, OAuthForm
from broker.identity.oauth_server import Server, form_refused
from broker.identity.revocation import Revocation
from broker.settings import Settings


def _form(fields: dict[str, str]) -> dict[str, Any]:
    """The request body for the OpenAPI document; :func:`oauth_form.oauth_form` reads it."""
    proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": "Signed JWT of the client."}
    properties = {name: {"type": "string", "description": text} for name, text in (proof | fields).items()}
    schema = {"type": "object", "required": list(fields), "properties": properties}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


_TOKEN_REQUEST = _form({"grant_type": "client_credentials", "scope": "SMART system scopes and one application:SA-YYYY-NNNNNN."})
_ABOUT_A_TOKEN = _form({"token": "An access token."})
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "RFC 6749 5.2 error."},
    401: {"description": "The client is not authenticated."},
    413: {"description": "The body is too large."},
    429: {"description": "Too many tokens were asked for."},
}


def build_oauth_router(settings: Settings, keys: Keys, grants: GrantReader, residual: Residual | None = None) -> APIRouter:
    """The routes of the authorization server."""
    router = APIRouter(tags=["oauth2"])

    def server(session: SessionDep) -> Server:
        made = Server(session, settings, keys, grants, residual)
        made.register_grant(ApplicationGrant)
        made.register_endpoint(Introspection)
        made.register_endpoint(Revocation)
        return made

    def answered(form: Form | FormRefused, respond: Callable[[Form], JSONResponse]) -> JSONResponse:
        return form_refused(form) if isinstance(form, FormRefused) else respond(form)

    @router.post("/oauth2/token", response_class=JSONResponse, responses=_ERRORS, openapi_extra=_TOKEN_REQUEST)
    def token(form: OAuthForm, session: SessionDep) -> JSONResponse:
        """Give a token for one approved application (RFC 6749 4.4, SMART Backend Services)."""
        return answered(form, server(session).token)

    @router.post("/oauth2/introspect", response_class=JSONResponse, responses=_ERRORS, openapi_extra=_ABOUT_A_TOKEN)
    def introspect(form: OAuthForm, session: SessionDep) -> JSONResponse:
        """Say whether a token is good at this moment, and what it says (RFC 7662)."""
        return answered(form, lambda given: server(session).endpoint("introspection", given))

    @router.post("/oauth2/revoke", response_class=JSONResponse, responses=_ERRORS, openapi_extra=_ABOUT_A_TOKEN)
    def revoke(form: OAuthForm, session: SessionDep) -> JSONResponse:
        """Give a token back (RFC 7009)."""
        return answered(form, lambda given: server(session).endpoint("revocation", given))

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
