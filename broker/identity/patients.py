"""Patients at their own page: a code given at the desk, good once and for a short while, opens a short session.

Whoever gives the code has looked at the person in front of them; the code proves nothing more than that. It is kept as a keyed
hash, since it is short enough to be guessed from a plain one. Failures are counted under the number that was typed.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys
from broker.database import Database
from broker.identity.login import LoginRefused, count_failure, locked_for
from broker.identity.models import FailedLogin, PatientCode, PatientSession
from broker.identity.sessions import secret_hash

#: Letters and digits that nobody takes for each other when they are read aloud or copied.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
LETTERS = 8
CODE_LIFE = timedelta(minutes=15)
#: The page is left open on shared machines: shorter than a member of staff's.
IDLE = timedelta(minutes=10)
LIFE = timedelta(minutes=40)

#: Who acts where a patient does. Which patient, the event's blinded key says, and nothing else.
PATIENT = "patient"


@dataclass(frozen=True)
class Code:
    """A code that was just made; it is shown once."""

    text: str = field(repr=False)  #: such as ``K7QP-3M9X``
    expires_at: datetime


@dataclass(frozen=True)
class Entered:
    """A session that was opened; ``secret`` goes into the patient's cookie and is not kept."""

    secret: str = field(repr=False)
    patient_key: UUID
    expires_at: datetime


def _hash(keys: Keys, patient_key: UUID, code: str) -> bytes:
    return keys.blind("desk-code", patient_key.hex, "".join(letter for letter in code.upper() if letter in ALPHABET))


def give_code(session: Session, keys: Keys, actor: str, patient_key: UUID) -> Code:
    """Make a code for a patient who stands at the desk. The one before it is void."""
    text, now = "".join(secrets.choice(ALPHABET) for _ in range(LETTERS)), clock.now()
    session.execute(sa.delete(PatientCode).where(sa.or_(col(PatientCode.patient_key) == patient_key, col(PatientCode.expires_at) < now)))
    session.add(PatientCode(patient_key=patient_key, code_hash=_hash(keys, patient_key, text), given_at=now, expires_at=now + CODE_LIFE))
    session.flush()
    audit.record(session, Event("patient.code-given", actor, patient=patient_key))
    return Code(f"{text[:4]}-{text[4:]}", now + CODE_LIFE)


def enter(database: Database, keys: Keys, patient_key: UUID | None, number: str, code: str) -> Entered | LoginRefused:
    """Open a patient's session with a code, which is used up by it.

    ``patient_key``: who the typed number names, None for nobody; the answer is the same. A failure counts although the request fails,
    so that this takes the database and commits on its own.
    """
    name = keys.blind("login", "patient", number)
    with database.transaction() as session:
        if (wait := locked_for(session, name)) is not None:
            return LoginRefused(wait)
        key = patient_key or UUID(int=0)
        row = session.exec(select(PatientCode).where(PatientCode.patient_key == key).with_for_update()).one_or_none()
        right = hmac.compare_digest(row.code_hash if row else bytes(32), _hash(keys, key, code))
        if row is None or not right or row.expires_at <= clock.now():
            count_failure(session, name, None)
            return LoginRefused()
        session.delete(row)
        session.execute(sa.delete(FailedLogin).where(col(FailedLogin.name) == name))
        now, secret = clock.now(), secrets.token_urlsafe(32)
        session.execute(sa.delete(PatientSession).where(col(PatientSession.expires_at) < now))
        session.add(PatientSession(patient_key=key, secret_hash=secret_hash(secret), last_used_at=now, expires_at=now + LIFE))
        audit.record(session, Event("patient.entered", PATIENT, patient=key))
        return Entered(secret, key, now + LIFE)


def patient_of_session(session: Session, secret: str) -> UUID | None:
    """The patient whose session this secret opens, if it still runs."""
    row = session.exec(select(PatientSession).where(PatientSession.secret_hash == secret_hash(secret))).one_or_none()
    now = clock.now()
    if row is None or now >= row.expires_at or now - row.last_used_at >= IDLE:
        return None
    if now - row.last_used_at >= timedelta(minutes=1):
        row.last_used_at = now
    return row.patient_key


def close_patient_session(session: Session, secret: str) -> None:
    """End a patient's session; nothing happens where there is none."""
    session.execute(sa.delete(PatientSession).where(col(PatientSession.secret_hash) == secret_hash(secret)))
