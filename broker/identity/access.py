"""Who may call: what a route writes in its signature to say who it is for.

``caller: Person`` takes anybody who is signed in; ``Annotated[PersonCaller, Depends(require(Action.APPLICATION_DECIDE))]`` those
whose roles permit the action. The release path calls :func:`release_caller` on its own connection.

The app keeps ``database``, ``settings`` and ``keys`` in ``app.state``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import cache
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.openapi.models import HTTPBase
from fastapi.security.base import SecurityBase

from broker.crypto import Keys
from broker.database import Database
from broker.errors import Forbidden, NotAuthenticated
from broker.identity import assurance, login, sessions
from broker.identity.access_token import signing_key
from broker.identity.bearer import Unproven, caller_for, caller_from, claims_of, proof_of, release_caller, standing_query, token_in
from broker.identity.callers import GrantReader, GrantView, NotAuthenticatedReason, PersonCaller, ReleaseCaller
from broker.identity.errors import LoginLocked
from broker.identity.roles import NAMES_ZH, Action, Role
from broker.identity.scopes import SmartScope
from broker.identity.standing import STANDING

__all__ = [
    "NAMES_ZH",
    "STANDING",
    "Action",
    "Arriving",
    "GrantReader",
    "GrantView",
    "NotAuthenticatedReason",
    "Person",
    "PersonCaller",
    "ReleaseCaller",
    "Role",
    "SmartScope",
    "Unproven",
    "arriving",
    "caller_for",
    "caller_from",
    "claims_of",
    "person",
    "proof_of",
    "release_caller",
    "require",
    "signing_key",
    "standing_query",
]

#: Said with every 401 outside the release path.
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="broker", Basic realm="broker", charset="UTF-8"'}


class _Declared(SecurityBase):
    """Declares an HTTP authentication scheme in the OpenAPI document; :func:`person` does the checking."""

    def __init__(self, scheme: str, description: str) -> None:
        self.model = HTTPBase(scheme=scheme, description=description)
        self.scheme_name = f"person-{scheme}"

    def __call__(self) -> None:
        """Nothing: both schemes are read in one place."""


_BASIC = _Declared("basic", "User name and password of a person.")
_SESSION = _Declared("bearer", "Session token from POST /api/v1/session.")


def _basic(encoded: str) -> tuple[str, str] | None:
    """User name and password of a Basic header (RFC 7617), or None."""
    try:
        username, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    return (username, password) if colon else None


def raise_locked(refused: login.LoginRefused) -> None:
    """Raise LoginLocked where the name is locked for a while."""
    if refused.retry_after is not None:
        raise LoginLocked(headers={"Retry-After": str(refused.retry_after)})


def arriving(
    request: Request, _basic_scheme: Annotated[None, Security(_BASIC)], _session_scheme: Annotated[None, Security(_SESSION)]
) -> PersonCaller:
    """The person who calls, whatever they still lack: for the few routes by which that is mended. Raises NotAuthenticated, LoginLocked."""
    given = request.headers.getlist("authorization")
    scheme, _, rest = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    database: Database = request.app.state.database
    caller: PersonCaller | login.LoginRefused | None = None
    if scheme.lower() == "basic" and (pair := _basic(rest)):
        keys: Keys = request.app.state.keys
        caller = login.authenticate(database, keys, *pair)
    elif secret := token_in(given[0]) if len(given) == 1 else None:
        with database.transaction() as session:
            caller = sessions.caller_of_session(session, secret, sessions.limits_of(request.app.state.settings))
    if isinstance(caller, login.LoginRefused):
        raise_locked(caller)
    if not isinstance(caller, PersonCaller):
        raise NotAuthenticated(headers=CHALLENGE)
    return caller


#: Anybody who has shown a password or has a session.
Arriving = Annotated[PersonCaller, Depends(arriving)]


def person(request: Request, caller: Arriving) -> PersonCaller:
    """The person who calls, with all that their role asks for. Raises NotAuthenticated, LoginLocked, and what ``assurance.demand`` does."""
    assurance.demand(request.app.state.settings, caller)
    return caller


#: Anybody who is signed in.
Person = Annotated[PersonCaller, Depends(person)]


@cache
def require(action: Action) -> Callable[[Request, PersonCaller], PersonCaller]:
    """A dependency that lets through whoever may do the action, and raises Forbidden for everybody else.

    A change under a dangerous action asks for a fresh proof beside: StepUpFirst.
    """

    def permitted_person(request: Request, caller: Person) -> PersonCaller:
        if not caller.may(action):
            raise Forbidden
        assurance.demand_for(request.app.state.settings, caller, action, request.method)
        return caller

    return permitted_person
