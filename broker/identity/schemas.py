"""What the registry's HTTP routes take in and give out. Unknown members are refused, so that a misspelt one is not lost."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from broker.edge import Moment
from broker.identity.roles import Action, Role

Status = Literal["active", "suspended"]
Kind = Literal[
    "hospital", "department", "laboratory", "imaging", "finance", "quality", "research", "pharmacy", "insurer", "authority", "nursing",
    "infection_control",
]  # fmt: skip
#: A name as people write it: no control characters, no leading or trailing space.
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Password = Annotated[str, StringConstraints(min_length=1, max_length=256)]


#: Six digits of an app, or a code on paper as it is printed.
Code = Annotated[str, StringConstraints(min_length=6, max_length=16, pattern=r"^[0-9A-Za-z -]+$", strip_whitespace=True)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LoginIn(_In):
    """User name and password."""

    username: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    password: Password
    code: Code | None = None  #: of the second factor, where there is one


class ProofIn(_In):
    """Who you are, shown again: the code of a second factor; where there is none, the password."""

    code: Code | None = None
    password: Password | None = None


class SessionOut(BaseModel):
    """A session: send ``token`` as ``Authorization: Bearer …``. It is shown once."""

    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  (The kind of token, not one.)
    expires_at: datetime


class Office(BaseModel):
    """A role and the organisation it is held for."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    organization: Identifier


class Me(BaseModel):
    """Who is signed in, and what they may do."""

    id: UUID
    username: str
    organization: str
    language: str
    roles: list[Office]
    actions: list[Action]


class RunningOut(BaseModel):
    """A session that still runs. Its secret is not known here."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    method: str
    second_factor: bool
    agent: str
    this: bool


class AppIn(_In):
    """A new authenticator app."""

    name: Name


class NewFactorOut(BaseModel):
    """An app's secret, shown once. Give it to the app, then confirm with its first code."""

    id: UUID
    secret: str
    uri: str


class FactorOut(BaseModel):
    """A second factor."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    kind: str
    name: str
    added_at: datetime
    last_used_at: datetime | None
    disabled_at: datetime | None


class CodeIn(_In):
    """A code of an app."""

    code: Code


class CodesOut(BaseModel):
    """Codes on paper, shown once; none where there were some already."""

    recovery_codes: list[str]


class LinkOut(BaseModel):
    """A link to choose a password by, shown once. Hand it to the person and to nobody else."""

    url: str
    expires_at: datetime


class LinkIn(_In):
    """A new password, and the secret of the link."""

    secret: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    password: Password


class ResetOut(BaseModel):
    """Whether the second factors are gone; if not, a second person has to agree."""

    done: bool


class OrganizationIn(_In):
    """A new organisation."""

    id: Identifier
    parent_id: Identifier | None = None
    kind: Kind
    relationship: Literal["internal", "external"]
    jurisdiction: Country = "CN"
    agreement_until: Moment | None = None
    name_zh: Name
    name_en: Name


class OrganizationChange(_In):
    """What to change of an organisation; what is left out stays."""

    status: Status | None = None
    agreement_until: Moment | None = None
    name_zh: Name | None = None
    name_en: Name | None = None


class OrganizationOut(BaseModel):
    """An organisation."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    parent_id: str | None
    kind: str
    relationship: str
    jurisdiction: str
    status: str
    agreement_until: datetime | None
    name_zh: str
    name_en: str


class PersonIn(_In):
    """A new account."""

    username: Annotated[str, StringConstraints(min_length=2, max_length=64)]
    name: Name
    organization: Identifier
    password: Password | None = None
    natural_person: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")] | None = None
    language: Literal["zh", "en"] = "zh"
    roles: Annotated[list[Office], Field(max_length=50)] = []


class PersonChange(_In):
    """What to change of an account; what is left out stays."""

    status: Status | None = None
    name: Name | None = None
    language: Literal["zh", "en"] | None = None


class RolesIn(_In):
    """The roles an account shall hold, and no others."""

    roles: Annotated[list[Office], Field(max_length=50)]


class PasswordIn(_In):
    """A new password. Who changes their own proves the present one."""

    password: Password
    present: Password | None = None


class PersonOut(BaseModel):
    """An account. Its password is never shown, not even hashed."""

    id: UUID
    username: str
    name: str
    organization: str
    natural_person: str
    status: str
    language: str
    roles: list[Office]


class ClientIn(_In):
    """A new client with its public keys."""

    id: Identifier
    organization: Identifier
    name: Name
    jwks: dict[str, Any] | None = None
    jwks_uri: Annotated[str, StringConstraints(max_length=500)] | None = None
    resource_server: StrictBool = False
    dpop: StrictBool = False
    encryption_jwk: dict[str, Any] | None = None
    redirect_uris: Annotated[list[Annotated[str, StringConstraints(max_length=500)]], Field(max_length=10)] = []


class ClientChange(_In):
    """What to change of a client; what is left out stays."""

    status: Status | None = None
    name: Name | None = None
    dpop: StrictBool | None = None
    redirect_uris: Annotated[list[Annotated[str, StringConstraints(max_length=500)]], Field(max_length=10)] | None = None


class KeysIn(_In):
    """The client's new public keys; a key that is left out stops working at once."""

    jwks: dict[str, Any] | None = None
    jwks_uri: Annotated[str, StringConstraints(max_length=500)] | None = None
    encryption_jwk: dict[str, Any] | None = None


class ClientOut(BaseModel):
    """A client. Its keys are public."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    organization_id: str
    name: str
    jwks: dict[str, Any]
    jwks_uri: str | None
    resource_server: bool
    dpop: bool
    encryption_jwk: dict[str, Any] | None
    redirect_uris: list[str]
    status: str
