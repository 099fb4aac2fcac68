"""The front door of identity: organisations, people, clients, keys and tokens. Each verb that writes records an audit event.

Who may call is in ``access``; what may be called by whom in ``roles``; the OAuth2 server behind ``routes``.
"""

from __future__ import annotations

from broker.identity.access_token import audience, issuer, public_jwks
from broker.identity.account import caller_for, organization_active, people_with_factor
from broker.identity.assurance import demand, demand_for, is_fresh, lack, lacking, stepped_up
from broker.identity.clients import change_client, client, clients, register_client, set_client_keys
from broker.identity.factors import (
    NewTotp,
    add_totp,
    begun,
    confirm_totp,
    factors,
    give_recovery_codes,
    proof_in_emergency,
    prove_code,
    recovery_codes_left,
    remove_factor,
)
from broker.identity.known_people import STANDING_SQL, WITHIN_SQL, People, Standing, known_people, people_from_rows
from broker.identity.login import LoginRefused, authenticate, device_mark, sign_in
from broker.identity.organizations import add_organization, below, change_organization, lineage, organization, organizations
from broker.identity.passkeys import add_key, ask_key, ask_new, enter_with_key, place, prove_key
from broker.identity.patients import PATIENT, Code, Entered, close_patient_session, enter, give_code, patient_of_session
from broker.identity.people import add_person, all_offices, bar, change_person, offices, people, person, set_password, set_roles
from broker.identity.resets import (
    Link,
    factor_reset,
    keep_factors,
    link_is_good,
    make_password_link,
    reset_factors,
    use_password_link,
)
from broker.identity.rules import Lack
from broker.identity.sessions import (
    SessionGiven,
    agent_of,
    caller_of_session,
    close_session,
    end_session,
    end_sessions,
    limits_of,
    open_session,
    raise_proof,
    sessions_of,
)
from broker.identity.sso import SsoRefused, Unreachable, attempt, depart, provider, told
from broker.identity.sso_accounts import arrive, link, links, logged_out, role_mapping, unlink
from broker.identity.sso_accounts import refused as sso_refused
from broker.identity.statements import Statement, StatementRefused, read_statement
from broker.identity.tokens import revoke_token

__all__ = [
    "PATIENT",
    "STANDING_SQL",
    "WITHIN_SQL",
    "Code",
    "Entered",
    "Lack",
    "Link",
    "LoginRefused",
    "NewTotp",
    "People",
    "SessionGiven",
    "SsoRefused",
    "Standing",
    "Statement",
    "StatementRefused",
    "Unreachable",
    "add_key",
    "add_organization",
    "add_person",
    "add_totp",
    "agent_of",
    "all_offices",
    "arrive",
    "ask_key",
    "ask_new",
    "attempt",
    "audience",
    "authenticate",
    "bar",
    "begun",
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
    "confirm_totp",
    "demand",
    "demand_for",
    "depart",
    "device_mark",
    "end_session",
    "end_sessions",
    "enter",
    "enter_with_key",
    "factor_reset",
    "factors",
    "give_code",
    "give_recovery_codes",
    "is_fresh",
    "issuer",
    "keep_factors",
    "known_people",
    "lack",
    "lacking",
    "limits_of",
    "lineage",
    "link",
    "link_is_good",
    "links",
    "logged_out",
    "make_password_link",
    "offices",
    "open_session",
    "organization",
    "organization_active",
    "organizations",
    "patient_of_session",
    "people",
    "people_from_rows",
    "people_with_factor",
    "person",
    "place",
    "proof_in_emergency",
    "prove_code",
    "prove_key",
    "provider",
    "public_jwks",
    "raise_proof",
    "read_statement",
    "recovery_codes_left",
    "register_client",
    "remove_factor",
    "reset_factors",
    "revoke_token",
    "role_mapping",
    "sessions_of",
    "set_client_keys",
    "set_password",
    "set_roles",
    "sign_in",
    "sso_refused",
    "stepped_up",
    "told",
    "unlink",
    "use_password_link",
]
