"""What is kept about who is asking: organisations, people and their roles, clients, tokens, sessions, failed logins.

Neither a token nor a session secret is kept: a token is its ``jti``, a session the SHA-256 of its secret.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from broker import clock

#: What an organisation may be; ``policy.facts.RecipientFacts.kind``.
KINDS = (
    "hospital", "department", "laboratory", "imaging", "finance", "quality", "research", "pharmacy", "insurer", "authority", "nursing",
    "infection_control",
)  # fmt: skip
RELATIONSHIPS = ("internal", "external")
STATUSES = ("active", "suspended")
#: How a session was opened.
METHODS = ("password", "passkey", "sso")
#: What a second factor may be: a one-time password (RFC 6238), or a key that speaks WebAuthn.
FACTORS = ("totp", "webauthn")

_TIME = sa.DateTime(timezone=True)


def _one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


class Organization(SQLModel, table=True):
    """A hospital, one of its departments, or an outside institution (RS-3). Suspended: none of its clients gets anything."""

    __tablename__ = "organization"
    __table_args__ = (_one_of("kind", KINDS), _one_of("relationship", RELATIONSHIPS), _one_of("status", STATUSES))

    id: str = Field(sa_type=sa.Text, primary_key=True)
    parent_id: str | None = Field(default=None, sa_type=sa.Text, foreign_key="organization.id")
    kind: str = Field(sa_type=sa.Text)
    relationship: str = Field(sa_type=sa.Text)
    jurisdiction: str = Field(default="CN", sa_type=sa.Text)  #: ISO 3166-1 alpha-2
    status: str = Field(default="active", sa_type=sa.Text)
    agreement_until: datetime | None = Field(default=None, sa_type=_TIME)  #: end of the data-sharing agreement
    name_zh: str = Field(sa_type=sa.Text)
    name_en: str = Field(sa_type=sa.Text)
    created_at: datetime = Field(sa_type=_TIME)


class Person(SQLModel, table=True):
    """An account. ``natural_person`` is the same for two accounts of one human being, so that four eyes are four."""

    __tablename__ = "person"
    __table_args__ = (_one_of("status", STATUSES), _one_of("language", ("zh", "en")))

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    username: str = Field(sa_type=sa.Text, unique=True)
    password_hash: str | None = Field(default=None, sa_type=sa.Text)  #: argon2id; None: can't sign in with a password
    name: str = Field(sa_type=sa.Text)
    organization_id: str = Field(sa_type=sa.Text, foreign_key="organization.id")
    natural_person: str = Field(sa_type=sa.Text, index=True)
    status: str = Field(default="active", sa_type=sa.Text)
    language: str = Field(default="zh", sa_type=sa.Text)
    created_at: datetime = Field(sa_type=_TIME)
    barred_at: datetime | None = Field(default=None, sa_type=_TIME)  #: a sanction: since then the account neither applies nor decides
    #: Somebody else knows the password, so that nothing can be done with it but to choose another.
    must_change_password: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})


class RoleHeld(SQLModel, table=True):
    """A role that a person holds for an organisation, such as head of ``renhe-cardiology``."""

    __tablename__ = "role_held"

    person_id: UUID = Field(primary_key=True, foreign_key="person.id")
    role: str = Field(sa_type=sa.Text, primary_key=True)
    organization_id: str = Field(sa_type=sa.Text, primary_key=True, foreign_key="organization.id")


class Client(SQLModel, table=True):
    """A system of an organisation that fetches releases. It proves itself with a private key; we hold public ones alone."""

    __tablename__ = "client"
    __table_args__ = (_one_of("status", STATUSES),)

    id: str = Field(sa_type=sa.Text, primary_key=True)
    organization_id: str = Field(sa_type=sa.Text, foreign_key="organization.id", index=True)
    name: str = Field(sa_type=sa.Text)
    jwks: dict[str, Any] = Field(sa_type=JSONB)  #: RFC 7517 JWK Set of public keys, checked by client_keys
    #: The one value that ``jku`` may have. Where ``jwks`` has no key, the keys are fetched from here (``jwks_fetch``).
    jwks_uri: str | None = Field(default=None, sa_type=sa.Text)
    resource_server: bool = Field(default=False)  #: may introspect tokens of others; internal organisations alone
    dpop: bool = Field(default=False, sa_column_kwargs={"server_default": sa.false()})  #: gets tokens bound to a key of its own alone (RFC 9449)
    encryption_jwk: dict[str, Any] | None = Field(default=None, sa_type=JSONB)  #: public key that releases are encrypted to, where asked
    #: Where people may be sent back to with a code (RFC 6749 3.1.2), each to the letter; none: it never acts for a person.
    redirect_uris: list[str] = Field(default_factory=list, sa_type=JSONB, sa_column_kwargs={"server_default": sa.text("'[]'")})
    status: str = Field(default="active", sa_type=sa.Text)
    created_at: datetime = Field(sa_type=_TIME)


class FetchedJwks(SQLModel, table=True):
    """The keys that a client publishes, for as long as they may be kept; ``jwks`` null: the last attempt failed."""

    __tablename__ = "fetched_jwks"

    client_id: str = Field(sa_type=sa.Text, primary_key=True, foreign_key="client.id")
    uri: str = Field(sa_type=sa.Text)
    jwks: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    fetched_at: datetime = Field(sa_type=_TIME)
    expires_at: datetime = Field(sa_type=_TIME)


class UsedJti(SQLModel, table=True):
    """An assertion that was used, kept until nobody could use it again. The primary key is what makes it once."""

    __tablename__ = "used_jti"

    client_id: str = Field(sa_type=sa.Text, primary_key=True)
    jti: str = Field(sa_type=sa.Text, primary_key=True)
    expires_at: datetime = Field(sa_type=_TIME, index=True)


class Token(SQLModel, table=True):
    """An access token that was issued, without the token. A token that has no row here is not usable."""

    __tablename__ = "token"
    __table_args__ = (sa.Index("ix_token_client_id_issued_at", "client_id", "issued_at"),)

    jti: str = Field(sa_type=sa.Text, primary_key=True)
    client_id: str = Field(sa_type=sa.Text, foreign_key="client.id")
    grant_id: UUID
    scope: str = Field(sa_type=sa.Text)
    issued_at: datetime = Field(sa_type=_TIME)
    expires_at: datetime = Field(sa_type=_TIME, index=True)
    revoked_at: datetime | None = Field(default=None, sa_type=_TIME)
    person_id: UUID | None = None  #: for whom the client acts; no longer good once their account isn't


class AuthorizationCode(SQLModel, table=True):
    """A code by which a client gets one token for a person who agreed (RFC 6749 4.1): its SHA-256. Kept a while after it was used,
    so that a second use of it is known for what it is.
    """

    __tablename__ = "authorization_code"

    code_hash: bytes = Field(sa_type=sa.LargeBinary, primary_key=True)
    client_id: str = Field(sa_type=sa.Text, foreign_key="client.id")
    person_id: UUID = Field(foreign_key="person.id")
    grant_id: UUID
    redirect_uri: str = Field(sa_type=sa.Text)
    code_challenge: str = Field(sa_type=sa.Text)  #: S256 (RFC 7636 4.2)
    scope: str = Field(sa_type=sa.Text)
    expires_at: datetime = Field(sa_type=_TIME, index=True)
    used_at: datetime | None = Field(default=None, sa_type=_TIME)
    jti: str | None = Field(default=None, sa_type=sa.Text)  #: of the token that it got


class PersonSession(SQLModel, table=True):
    """A person who is signed in: the SHA-256 of the bearer secret that ``POST /api/v1/session`` gave.

    ``id`` names it in lists, and can be said aloud. ``proved_at``: the last time that a password or the hospital's login was shown,
    ``second_at`` the same of a second factor; None: none was, and where one is asked for nothing can be done yet.
    """

    __tablename__ = "person_session"
    __table_args__ = (_one_of("method", METHODS),)

    secret_hash: bytes = Field(sa_type=sa.LargeBinary, primary_key=True)
    id: UUID = Field(default_factory=uuid4, unique=True, sa_column_kwargs={"server_default": sa.text("gen_random_uuid()")})
    person_id: UUID = Field(foreign_key="person.id", index=True)
    created_at: datetime = Field(sa_type=_TIME)
    last_used_at: datetime = Field(sa_type=_TIME)
    expires_at: datetime = Field(sa_type=_TIME, index=True)
    proved_at: datetime = Field(default_factory=clock.now, sa_type=_TIME, sa_column_kwargs={"server_default": sa.func.now()})
    second_at: datetime | None = Field(default=None, sa_type=_TIME)
    method: str = Field(default="password", sa_type=sa.Text, sa_column_kwargs={"server_default": "password"})
    agent: str = Field(default="", sa_type=sa.Text, sa_column_kwargs={"server_default": ""})  #: such as ``Firefox, Linux``
    sid: str | None = Field(default=None, sa_type=sa.Text, index=True)  #: the session at the hospital's login (OIDC Back-Channel Logout 2.1)


class SecondFactor(SQLModel, table=True):
    """Something a person has: an app that makes one-time passwords, or a key. Without ``confirmed_at`` it was begun and never shown to work."""

    __tablename__ = "second_factor"
    __table_args__ = (_one_of("kind", FACTORS), sa.CheckConstraint("(kind = 'totp') = (secret_sealed IS NOT NULL)", name="secret"))

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    person_id: UUID = Field(foreign_key="person.id", index=True)
    kind: str = Field(sa_type=sa.Text)
    name: str = Field(sa_type=sa.Text)
    added_at: datetime = Field(sa_type=_TIME)
    confirmed_at: datetime | None = Field(default=None, sa_type=_TIME)
    last_used_at: datetime | None = Field(default=None, sa_type=_TIME)
    disabled_at: datetime | None = Field(default=None, sa_type=_TIME)  #: a key that seems to have been copied
    secret_sealed: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    last_step: int | None = Field(default=None, sa_type=sa.BigInteger)  #: time step of the last code taken: none is taken twice (RFC 6238 5.2)
    credential_id: bytes | None = Field(default=None, sa_type=sa.LargeBinary, unique=True)
    public_key: bytes | None = Field(default=None, sa_type=sa.LargeBinary)  #: COSE_Key
    sign_count: int = Field(default=0, sa_type=sa.BigInteger)


class RecoveryCode(SQLModel, table=True):
    """A code on paper for the day on which the telephone is lost: its keyed hash. It is deleted when it is used."""

    __tablename__ = "recovery_code"

    person_id: UUID = Field(primary_key=True, foreign_key="person.id")
    code_hash: bytes = Field(sa_type=sa.LargeBinary, primary_key=True)


class WebauthnChallenge(SQLModel, table=True):
    """A challenge that was given out, by its hash. Taking it deletes it, so that no answer counts twice."""

    __tablename__ = "webauthn_challenge"

    challenge_hash: bytes = Field(sa_type=sa.LargeBinary, primary_key=True)
    purpose: str = Field(sa_type=sa.Text)  #: add, prove, enter
    person_id: UUID | None = Field(default=None, foreign_key="person.id")
    expires_at: datetime = Field(sa_type=_TIME, index=True)


class PasswordLink(SQLModel, table=True):
    """A link by which somebody chooses a new password, once: the SHA-256 of its secret. A new one takes the place of the one before."""

    __tablename__ = "password_link"

    person_id: UUID = Field(primary_key=True, foreign_key="person.id")
    secret_hash: bytes = Field(sa_type=sa.LargeBinary, unique=True)
    made_by: UUID = Field(foreign_key="person.id")
    expires_at: datetime = Field(sa_type=_TIME)


class FactorReset(SQLModel, table=True):
    """Somebody lost their second factors, says one person; another has to say so too before they are taken away."""

    __tablename__ = "factor_reset"

    person_id: UUID = Field(primary_key=True, foreign_key="person.id")
    asked_by: UUID = Field(foreign_key="person.id")
    asked_at: datetime = Field(sa_type=_TIME)


class SsoLink(SQLModel, table=True):
    """Whose account a subject of the hospital's login is. Entered by an administrator; an e-mail address never makes one."""

    __tablename__ = "sso_link"

    issuer: str = Field(sa_type=sa.Text, primary_key=True)
    subject: str = Field(sa_type=sa.Text, primary_key=True)
    person_id: UUID = Field(foreign_key="person.id", index=True)
    linked_at: datetime = Field(sa_type=_TIME)


class SsoAttempt(SQLModel, table=True):
    """A way to the hospital's login that somebody set out on: the SHA-256 of ``state``, and of what their browser keeps. Good once."""

    __tablename__ = "sso_attempt"

    state_hash: bytes = Field(sa_type=sa.LargeBinary, primary_key=True)
    browser_hash: bytes = Field(sa_type=sa.LargeBinary)
    onward: str = Field(sa_type=sa.Text)
    expires_at: datetime = Field(sa_type=_TIME, index=True)


class FailedLogin(SQLModel, table=True):
    """How often somebody was refused under one name lately. The name is blinded, since people type passwords there."""

    __tablename__ = "failed_login"

    name: bytes = Field(sa_type=sa.LargeBinary, primary_key=True)
    failures: int
    last_at: datetime = Field(sa_type=_TIME, index=True)
    locked_until: datetime | None = Field(default=None, sa_type=_TIME)


class PatientCode(SQLModel, table=True):
    """The one-time code that a patient was given at the desk: its keyed hash. A new one takes the place of the one before."""

    __tablename__ = "patient_code"

    patient_key: UUID = Field(primary_key=True)
    code_hash: bytes = Field(sa_type=sa.LargeBinary)
    given_at: datetime = Field(sa_type=_TIME)
    expires_at: datetime = Field(sa_type=_TIME, index=True)


class PatientSession(SQLModel, table=True):
    """A patient who is looking at their own page: the SHA-256 of the secret in their cookie."""

    __tablename__ = "patient_session"

    patient_key: UUID = Field(primary_key=True)
    secret_hash: bytes = Field(sa_type=sa.LargeBinary, primary_key=True, index=True)
    last_used_at: datetime = Field(sa_type=_TIME)
    expires_at: datetime = Field(sa_type=_TIME, index=True)
