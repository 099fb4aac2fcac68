"""Who may call, as types: a person at the API or console, a client with a token, and nobody, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

from sqlmodel import Session

from broker.identity.roles import Action, Role, permitted
from broker.identity.scopes import SmartScope


@dataclass(frozen=True)
class Proof:
    """How and when a caller proved who they are."""

    at: datetime  #: the last time that a password, a passkey or the hospital's login was shown
    second_at: datetime | None = None  #: the same of a second factor
    session: UUID | None = None  #: None where the password comes with each request
    method: str = "password"

    @property
    def freshest(self) -> datetime:
        """The moment that a dangerous act asks for: of the second factor where there is one."""
        return self.second_at or self.at


@dataclass(frozen=True)
class PersonCaller:
    """A person who is signed in, with the account, the roles and the organisation active at this moment."""

    person_id: UUID
    username: str
    natural_person: str  #: the same for every account of one human being
    organization_id: str
    roles: frozenset[Role]
    language: str  #: zh or en
    offices: frozenset[tuple[Role, str]] = field(default=frozenset())  #: each role with the organisation it is held for
    must_change_password: bool = False
    enrolled: bool = False  #: whether they have a second factor, which is then asked for
    proof: Proof | None = None  #: None where nobody is there, such as when somebody else's rights are looked at

    @property
    def actor(self) -> str:
        """The person as audit events name them."""
        return f"person:{self.person_id}"

    def may(self, action: Action) -> bool:
        """Whether one of the roles permits the action."""
        return action in permitted(self.roles)

    def holds(self, role: Role, organization_id: str) -> bool:
        """Whether the person holds the role for this very organisation, such as head of this department."""
        return (role, organization_id) in self.offices


@dataclass(frozen=True)
class ReleaseCaller:
    """A client whose token is good at this moment. The token is bound to one grant and one purpose."""

    client_id: str
    organization_id: str
    grant_id: UUID
    application: str  #: SA-YYYY-NNNNNN
    purpose: str
    scopes: tuple[SmartScope, ...]
    jti: str
    expires_at: int  #: epoch seconds
    encryption_jwk: dict[str, Any] | None = field(default=None, compare=False)  #: pinned public key that single Bundles are encrypted to

    @property
    def actor(self) -> str:
        """The client as audit events name it."""
        return f"client:{self.client_id}"

    def types(self, letter: str) -> frozenset[str]:
        """Resource types that the token lets be read (``r``) or searched (``s``) whole; ``*`` stands for every type.

        Types of which a granular scope reaches some categories alone are not among them, but in :meth:`narrowed`.
        """
        if letter not in self._whole:  # It is asked several times for one release.
            self._whole[letter] = frozenset([one.resource_type for one in self.scopes if letter in one.letters and not one.category])
        return self._whole[letter]

    @cached_property
    def _whole(self) -> dict[str, frozenset[str]]:
        return {}

    def narrowed(self, letter: str) -> dict[str, tuple[str, ...]]:
        """Types that the token reaches in part, each with the categories (``system|code`` or ``code``) it reaches."""
        whole, found = self.types(letter), dict[str, tuple[str, ...]]()
        for scope in self.scopes:
            if letter in scope.letters and scope.category and not {"*", scope.resource_type} & whole:
                found[scope.resource_type] = (*found.get(scope.resource_type, ()), scope.category)
        return found


@dataclass(frozen=True)
class NotAuthenticatedReason:
    """No usable token: answered with 401 and ``headers``. ``code`` is for the record; outside all failures look alike."""

    code: str  #: token-missing, token-unreadable, token-signature, token-claims, token-expired, token-unknown, token-revoked, caller-suspended
    www_authenticate: str
    status: int = 401

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer (RFC 6750 3)."""
        return {"WWW-Authenticate": self.www_authenticate}


@dataclass(frozen=True)
class GrantView:
    """What a token says of the grant it is bound to."""

    id: UUID
    application: str  #: SA-YYYY-NNNNNN
    organization_id: str  #: the recipient
    purpose: str
    status: str  #: ``active`` is the one status under which tokens are given and good
    valid_from: datetime
    valid_until: datetime
    types: tuple[str, ...]  #: resource types that may be read under it
    patients: tuple[str, ...] = ()  #: FHIR ids, for ihe_pcf; a second one is enough to know that there are several
    consents: tuple[str, ...] = ()  #: ids of the consents it stands on
    requester: UUID | None = None  #: account of the person who applied

    def usable(self, at: datetime) -> bool:
        """Whether tokens may be given and are good under it at this moment."""
        return self.status == "active" and self.valid_from <= at < self.valid_until


#: (session, FHIR id of the patient, grant, purpose) → IHE PCF ``residual``: what the patient's consents leave to be enforced under the grant.
Residual = Callable[[Session, str, UUID, str], list[dict[str, Any]]]


class GrantReader(Protocol):
    """How identity asks for grants, which live above it. A module with these functions is one."""

    def only_application(self, session: Session, organization_id: str) -> str | None:
        """Number of the one application under which data are shared with this organisation or a part of it now; None for none or several."""

    def applications_of(self, session: Session, person_id: UUID, organization_id: str) -> list[str]:
        """Numbers of the applications of this person under which data are shared with this organisation or a part of it now."""

    def grant_of_application(self, session: Session, application: str, organization_id: str) -> GrantView | None:
        """The grant of the application whose recipient is this organisation or a part of it, whatever its status."""

    def grant_by_id(self, session: Session, grant_id: UUID) -> GrantView | None:
        """The grant, whatever its status."""
