"""Whose account a subject of the hospital's login is, which roles its claims give, and when it has signed out there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from authlib.common.errors import AuthlibBaseError
from authlib.oidc.core import IDToken
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.database import Database
from broker.errors import BrokerError, Conflict, Invalid, Problem
from broker.identity import rules
from broker.identity.account import caller_for
from broker.identity.callers import PersonCaller, Proof
from broker.identity.errors import NotYourself
from broker.identity.models import PersonSession, SsoLink, UsedJti
from broker.identity.people import Office, offices, person, set_roles
from broker.identity.roles import Role
from broker.identity.sessions import SessionGiven, limits_of, open_session
from broker.identity.sso import LEEWAY, Provider, SsoRefused, Told, Unreachable
from broker.settings import Settings

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
#: Logout tokens are remembered under this name, beside the assertions of clients.
_USED_UNDER = "sso-logout"


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    organization: str


class RoleMapping(BaseModel):
    """Which values of one claim give which roles. ``claim`` may be a path with dots, such as ``realm_access.roles``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str = Field(min_length=1)
    values: dict[str, tuple[_Given, ...]]

    def roles(self, claims: dict[str, Any]) -> frozenset[Office]:
        """The roles that these claims give; none where the claim is missing or isn't text."""
        found: Any = claims
        for step in self.claim.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        said = [found] if isinstance(found, str) else found if isinstance(found, list) else []
        return frozenset((one.role, one.organization) for value in said if isinstance(value, str) for one in self.values.get(value, ()))


def role_mapping(path: Path | None) -> RoleMapping | None:
    """The mapping in BROKER_SSO_ROLES. Raises ValueError, which names the place: a mapping that can't be read gives nobody anything."""
    if path is None:
        return None
    try:
        return RoleMapping.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValidationError, ValueError) as error:
        raise ValueError(f"BROKER_SSO_ROLES: {error}") from error


def second_factor_shown(settings: Settings, claims: dict[str, Any]) -> bool:
    """Whether the hospital's login says that it saw a second factor (RFC 8176 ``amr``; ``acr``)."""
    said = claims.get("amr")
    values = {value for value in said if isinstance(value, str)} if isinstance(said, list) else set()
    if isinstance(claims.get("acr"), str):
        values.add(claims["acr"])
    return bool(values & settings.sso_second_factor_values)


def link(session: Session, caller: PersonCaller, person_id: UUID, issuer: str, subject: str) -> None:
    """Say whose account a subject is. Nobody links their own. Raises NotYourself, Conflict where it is linked already, Invalid."""
    row = person(session, person_id)
    if row.natural_person == caller.natural_person:
        raise NotYourself
    if not 0 < len(subject) <= 255 or not subject.isascii() or not subject.isprintable():
        raise Invalid(problems=(Problem("/subject", "subject", "A subject has 1 to 255 printable ASCII characters (OpenID Connect Core 2)."),))
    new = insert(SsoLink).values(issuer=issuer, subject=subject, person_id=person_id, linked_at=clock.now()).on_conflict_do_nothing()
    if session.execute(new.returning(col(SsoLink.subject))).scalar_one_or_none() is None:
        raise Conflict("This subject is linked already.")
    audit.record(session, Event("sso.linked", caller.actor, recipient=row.organization_id, facts={"person": str(person_id)}))


def unlink(session: Session, caller: PersonCaller, person_id: UUID, issuer: str, subject: str) -> None:
    """Undo a link; the sessions that came of it end."""
    gone = sa.delete(SsoLink).where(col(SsoLink.issuer) == issuer, col(SsoLink.subject) == subject, col(SsoLink.person_id) == person_id)
    if session.execute(gone.returning(col(SsoLink.subject))).all():
        session.execute(sa.delete(PersonSession).where(col(PersonSession.person_id) == person_id, col(PersonSession.method) == "sso"))
        audit.record(session, Event("sso.unlinked", caller.actor, facts={"person": str(person_id)}))


def links(session: Session, person_id: UUID) -> list[SsoLink]:
    """The subjects that are this account."""
    return list(session.exec(select(SsoLink).where(SsoLink.person_id == person_id).order_by(SsoLink.issuer, SsoLink.subject)).all())


def arrive(session: Session, settings: Settings, mapping: RoleMapping | None, told: Told, *, agent: str) -> SessionGiven | SsoRefused:
    """Open a session for who the hospital's login says is there, with the roles that its claims give."""
    linked = session.exec(select(SsoLink).where(SsoLink.issuer == told.issuer, SsoLink.subject == told.subject)).one_or_none()
    if linked is None:
        return SsoRefused("unlinked")
    if mapping is not None and (wanted := mapping.roles(told.claims)) != offices(session, linked.person_id):
        try:
            with session.begin_nested():
                set_roles(session, "system", linked.person_id, wanted)
        except BrokerError:
            return SsoRefused("roles")
    caller = caller_for(session, linked.person_id, Proof(clock.now(), method="sso"))
    if caller is None:
        return SsoRefused("account")
    # A factor that was added here is asked for here: whoever links an account, or rules the hospital's login, does not get past it.
    second = second_factor_shown(settings, told.claims) and not caller.enrolled
    sid = told.claims.get("sid")
    return open_session(
        session, caller, method="sso", second=second, agent=agent, sid=sid if isinstance(sid, str) else None, limits=limits_of(settings)
    )


def refused(session: Session, why: SsoRefused) -> None:
    """Put on record that somebody came back from the hospital's login and was not let in."""
    audit.record(session, Event("login.failed", "system", facts={"method": "sso", "reason": why.reason}))


def logged_out(database: Database, provider: Provider, token: str) -> bool:
    """The hospital's login says that somebody signed out there (OpenID Connect Back-Channel Logout 1.0, 2.6): their sessions here end.

    False where the token is none of the issuer's for us, names nobody, carries a nonce, or came before.
    """
    try:
        signed = provider.verified(token)
        options = {"iss": {"essential": True, "value": provider.issuer}, "aud": {"essential": True, "value": provider.client_id}}
        claims = IDToken({"sub": "", **signed.claims}, signed.header, options, {})
        claims.validate(now=int(clock.now().timestamp()), leeway=LEEWAY)
    except (AuthlibBaseError, JoseError, ValueError, TypeError, KeyError, Unreachable, RecursionError):
        return False
    said = signed.claims
    subject, sid, events, jti = said.get("sub"), said.get("sid"), said.get("events"), said.get("jti")
    named = [one for one in (subject, sid) if isinstance(one, str) and one]
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict) or "nonce" in said or not named or not isinstance(jti, str):
        return False
    with database.transaction() as session:
        until = clock.now() + rules.JTI_KEPT + rules.PENDING_LIFE
        once = insert(UsedJti).values(client_id=_USED_UNDER, jti=jti[:200], expires_at=until).on_conflict_do_nothing()
        if session.execute(once.returning(col(UsedJti.jti))).scalar_one_or_none() is None:
            return False
        which = [col(PersonSession.method) == "sso"]
        if isinstance(sid, str) and sid:
            which.append(col(PersonSession.sid) == sid)
        else:
            who = sa.select(col(SsoLink.person_id)).where(col(SsoLink.issuer) == provider.issuer, col(SsoLink.subject) == subject)
            which.append(col(PersonSession.person_id).in_(who))
        ended = session.execute(sa.delete(PersonSession).where(*which).returning(col(PersonSession.person_id))).scalars().all()
        audit.record(session, Event("sso.logged-out", "system", facts={"sessions": len(ended)}))
    return True
