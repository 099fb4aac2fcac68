"""The front door of identity: organisations, people, clients, keys and tokens. Each verb that writes records an audit event.

Who may call is in ``access``; what may be called by whom in ``roles``; the OAuth2 server behind ``routes``.
"""

from __future__ import annotations

from broker.identity.access_token import audience, issuer, public_jwks
from broker.identity.clients import change_client, client, clients, register_client, set_client_keys
from broker.identity.login import (
    LoginRefused,
    SessionGiven,
    authenticate,
    caller_for,
    caller_of_session,
    close_session,
    open_session,
    organization_active,
    sign_in,
)
from broker.identity.organizations import add_organization, below, change_organization, lineage, organization, organizations
from broker.identity.patients import PATIENT, Code, Entered, close_patient_session, enter, give_code, patient_of_session
from broker.identity.people import add_person, all_offices, bar, change_person, offices, people, person, set_password, set_roles
from broker.identity.statements import Statement, StatementRefused, read_statement
from broker.identity.tokens import revoke_token

__all__ = [
    "PATIENT",
    "Code",
    "Entered",
    "LoginRefused",
    "SessionGiven",
    "Statement",
    "StatementRefused",
    "add_organization",
    "add_person",
    "all_offices",
    "audience",
    "authenticate",
    "bar",
    "below",
    "caller_for",
    "caller_of_session",
    "change_client",
    "change_organization",
    "change_person",
    "client",
    "clients",
    "close_patient_session",
    "close_session",
    "enter",
    "give_code",
    "issuer",
    "lineage",
    "offices",
    "open_session",
    "organization",
    "organization_active",
    "organizations",
    "patient_of_session",
    "people",
    "person",
    "public_jwks",
    "read_statement",
    "register_client",
    "revoke_token",
    "set_client_keys",
    "set_password",
    "set_roles",
    "sign_in",
]
