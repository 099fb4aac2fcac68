"""Second factors that are keys: WebAuthn (W3C Web Authentication 2), by the library ``webauthn``.

A key is a second factor after the password, or, where it knows its user by a finger or a PIN and keeps the account itself (a passkey), the
whole login. Each challenge is good once and for five minutes, for one purpose and one person. A counter that does not grow means that
there are two of the key: it is refused and disabled.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from urllib.parse import urlsplit
from uuid import UUID

import sqlalchemy as sa
import webauthn
from sqlmodel import Session, col, select
from webauthn.helpers import base64url_to_bytes, options_to_json, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import Database
from broker.identity import rules
from broker.identity.account import caller_for, enrolled
from broker.identity.callers import PersonCaller, Proof
from broker.identity.errors import KeyRefused
from broker.identity.factors import factors, give_recovery_codes, room_for_another
from broker.identity.models import SecondFactor, WebauthnChallenge
from broker.settings import Settings

LIFE = timedelta(minutes=5)
#: What a challenge was given for.
ADD, PROVE, ENTER = "add", "prove", "enter"
#: Bytes of an answer that is looked at.
MOST_BYTES = 20_000

_ENTERED = UserVerificationRequirement.REQUIRED


@dataclass(frozen=True)
class Place:
    """Where keys are asked: the name they are bound to, and the address that pages come from."""

    name: str  #: relying party id
    origin: str


def place(settings: Settings) -> Place | None:
    """Where keys can be asked; None where the broker has no name, or no encrypted way to it: keys are bound to names alone."""
    parts = urlsplit(settings.base_url)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        good = parts.scheme == "https" or host == "localhost"
        return Place(host, f"{parts.scheme}://{parts.netloc}") if good and host else None
    return None


def _challenge(session: Session, challenge: bytes, purpose: str, person_id: UUID | None) -> None:
    now = clock.now()
    old = select(WebauthnChallenge.challenge_hash).where(WebauthnChallenge.expires_at < now).limit(50).with_for_update(skip_locked=True)
    session.execute(sa.delete(WebauthnChallenge).where(col(WebauthnChallenge.challenge_hash).in_(old)))
    session.add(WebauthnChallenge(challenge_hash=sha256(challenge).digest(), purpose=purpose, person_id=person_id, expires_at=now + LIFE))
    session.flush()


def _taken(session: Session, answer: str, purpose: str, person_id: UUID | None) -> tuple[dict[str, object], bytes]:
    """The answer and its challenge, which is used up. Raises KeyRefused where it is none of ours for this purpose and person."""
    try:
        credential = json.loads(answer) if len(answer) <= MOST_BYTES else None
        challenge = parse_client_data_json(base64url_to_bytes(credential["response"]["clientDataJSON"])).challenge  # type: ignore[index]
    except (WebAuthnException, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise KeyRefused from None
    if not isinstance(credential, dict):
        raise KeyRefused
    gone = sa.delete(WebauthnChallenge).where(
        col(WebauthnChallenge.challenge_hash) == sha256(challenge).digest(),
        col(WebauthnChallenge.purpose) == purpose,
        col(WebauthnChallenge.person_id).is_not_distinct_from(person_id),
    )
    expires_at = session.execute(gone.returning(col(WebauthnChallenge.expires_at))).scalar_one_or_none()
    if expires_at is None or expires_at <= clock.now():
        raise KeyRefused
    return credential, challenge


def _descriptors(session: Session, person_id: UUID) -> list[PublicKeyCredentialDescriptor]:
    keys = [row for row in factors(session, person_id) if row.credential_id is not None and row.disabled_at is None]
    return [PublicKeyCredentialDescriptor(id=row.credential_id) for row in keys if row.credential_id is not None]


def ask_new(session: Session, settings: Settings, at: Place, caller: PersonCaller) -> str:
    """What the browser asks a new key (PublicKeyCredentialCreationOptions as JSON). Raises Invalid where there are too many."""
    room_for_another(session, caller.person_id)
    options = webauthn.generate_registration_options(
        rp_id=at.name,
        rp_name=settings.hospital,
        user_name=caller.username,
        user_id=caller.person_id.bytes,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.PREFERRED
        ),
        exclude_credentials=_descriptors(session, caller.person_id),
    )
    _challenge(session, options.challenge, ADD, caller.person_id)
    return options_to_json(options)


def add_key(session: Session, keys: Keys, at: Place, caller: PersonCaller, *, name: str, answer: str) -> list[str]:
    """Keep a key by its answer. Gives codes on paper with the first factor, else none. Raises KeyRefused."""
    credential, challenge = _taken(session, answer, ADD, caller.person_id)
    try:
        found = webauthn.verify_registration_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=at.name, expected_origin=at.origin
        )
    except (WebAuthnException, ValueError, KeyError, TypeError):
        raise KeyRefused from None
    if session.exec(select(SecondFactor.id).where(SecondFactor.credential_id == found.credential_id)).first() is not None:
        raise KeyRefused
    first, now = not enrolled(session, caller.person_id), clock.now()
    row = SecondFactor(
        person_id=caller.person_id, kind="webauthn", name=name, added_at=now, confirmed_at=now,
        credential_id=found.credential_id, public_key=found.credential_public_key, sign_count=found.sign_count,
    )  # fmt: skip
    session.add(row)
    session.flush()
    facts: dict[str, str | int | bool | list[str]] = {"factor": str(row.id), "kind": row.kind, "synced": found.credential_backed_up}
    audit.record(session, Event("second-factor.added", caller.actor, facts=facts))
    return give_recovery_codes(session, keys, caller) if first else []


def ask_key(session: Session, at: Place, caller: PersonCaller | None) -> str | None:
    """What the browser asks a key: one of the caller's, or any that keeps an account of ours. None where the caller has no key."""
    allowed = [] if caller is None else _descriptors(session, caller.person_id)
    if caller is not None and not allowed:
        return None
    options = webauthn.generate_authentication_options(
        rp_id=at.name,
        allow_credentials=allowed or None,
        user_verification=_ENTERED if caller is None else UserVerificationRequirement.PREFERRED,
    )
    _challenge(session, options.challenge, ENTER if caller is None else PROVE, None if caller is None else caller.person_id)
    return options_to_json(options)


def _judged(session: Session, at: Place, row: SecondFactor | None, credential: dict[str, object], challenge: bytes, *, whole: bool) -> bool:
    """Whether the key's answer is right. A key whose counter did not grow is disabled, and on record."""
    if row is None or row.public_key is None or row.disabled_at is not None:
        return False
    try:
        found = webauthn.verify_authentication_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=at.name, expected_origin=at.origin,
            # The counter is judged below: the library's refusal does not say that it was the counter.
            credential_public_key=row.public_key, credential_current_sign_count=0, require_user_verification=whole,
        )  # fmt: skip
    except (WebAuthnException, ValueError, KeyError, TypeError):
        return False
    facts: dict[str, str | int | bool | list[str]] = {"factor": str(row.id)}
    if rules.copied(row.sign_count, found.new_sign_count):
        row.disabled_at = clock.now()
        audit.record(session, Event("second-factor.copied", f"person:{row.person_id}", facts=facts))
        return False
    row.sign_count, row.last_used_at = found.new_sign_count, clock.now()
    return True


def _row(session: Session, credential: dict[str, object]) -> SecondFactor | None:
    try:
        id_ = base64url_to_bytes(str(credential.get("rawId", "")))
    except ValueError:
        return None
    return session.exec(select(SecondFactor).where(SecondFactor.credential_id == id_).with_for_update()).one_or_none()


def prove_key(database: Database, at: Place, caller: PersonCaller, answer: str) -> bool:
    """Whether this is the answer of one of the caller's keys. Commits on its own, so that a copied key stays disabled."""
    with database.transaction() as session:
        try:
            credential, challenge = _taken(session, answer, PROVE, caller.person_id)
        except KeyRefused:
            return False
        row = _row(session, credential)
        right = row is not None and row.person_id == caller.person_id and _judged(session, at, row, credential, challenge, whole=False)
        if not right:
            audit.record(session, Event("second-factor.failed", caller.actor, facts={"kind": "webauthn"}))
        return right


def enter_with_key(database: Database, at: Place, answer: str) -> PersonCaller | None:
    """Who signs in with a passkey that knows its user: two factors in one. None for nobody."""
    with database.transaction() as session:
        try:
            credential, challenge = _taken(session, answer, ENTER, None)
        except KeyRefused:
            return None
        row = _row(session, credential)
        if row is None or not _judged(session, at, row, credential, challenge, whole=True):
            audit.record(session, Event("login.failed", f"person:{row.person_id}" if row else "system", facts={"method": "passkey"}))
            return None
        now = clock.now()
        return caller_for(session, row.person_id, Proof(now, now, method="passkey"))
