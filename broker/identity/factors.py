"""Second factors by code: an app that makes one-time passwords (TOTP, RFC 6238), and codes on paper for the day it is lost.

The app's secret is sealed at rest under a key of its own row; codes on paper are kept as keyed hashes. A code counts once: the time step
of the last one taken is remembered, and none up to it is taken again. Failures are counted as those of passwords are, so that a
code can't be guessed, and whoever counts commits on its own.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import pyotp
import sqlalchemy as sa
from sqlmodel import Session, col, select

from broker import clock
from broker.audit import service as audit
from broker.audit.events import Event
from broker.crypto import Keys, seal, unseal
from broker.database import Database
from broker.errors import Invalid, Problem
from broker.identity import rules
from broker.identity.account import enrolled
from broker.identity.assurance import is_fresh, stepped_up
from broker.identity.callers import PersonCaller
from broker.identity.errors import EnrolFirst, FactorUnknown, FactorWrong, LastFactor
from broker.identity.login import LoginRefused, count_failure, forget_failures, locked_for
from broker.identity.models import Person, RecoveryCode, SecondFactor
from broker.identity.patients import ALPHABET
from broker.settings import Settings

#: Factors that one person may have.
MOST = 10
#: One that was begun and not confirmed is forgotten after this.
UNCONFIRMED = timedelta(hours=1)
_LETTERS = 10


@dataclass(frozen=True)
class NewTotp:
    """An app's secret, shown once: as text, and as the address that a QR code holds (Key URI Format)."""

    id: UUID
    secret: str = field(repr=False)
    uri: str = field(repr=False)


def _key(keys: Keys, id_: UUID) -> bytes:
    return keys.blind("second-factor-secret", id_.hex)


def factors(session: Session, person_id: UUID) -> list[SecondFactor]:
    """Somebody's second factors that work, the oldest first."""
    query = select(SecondFactor).where(SecondFactor.person_id == person_id, col(SecondFactor.confirmed_at).is_not(None))
    return list(session.exec(query.order_by(col(SecondFactor.added_at), col(SecondFactor.id))).all())


def room_for_another(session: Session, person_id: UUID) -> None:
    """Forget what was begun and not confirmed. Raises Invalid where somebody has as many factors as they may."""
    old = sa.and_(col(SecondFactor.confirmed_at).is_(None), col(SecondFactor.added_at) < clock.now() - UNCONFIRMED)
    session.execute(sa.delete(SecondFactor).where(col(SecondFactor.person_id) == person_id, old))
    count = session.execute(sa.select(sa.func.count()).where(col(SecondFactor.person_id) == person_id)).scalar_one()
    if count >= MOST:
        raise Invalid(problems=(Problem("/name", "too-many-factors", f"There are at most {MOST} second factors for one person."),))


def add_totp(session: Session, keys: Keys, caller: PersonCaller, *, name: str, issuer: str) -> NewTotp:
    """Begin to add an app. It counts from :func:`confirm_totp` on, which shows that it works."""
    room_for_another(session, caller.person_id)
    id_, secret = uuid4(), pyotp.random_base32(32)
    session.add(
        SecondFactor(
            id=id_, person_id=caller.person_id, kind="totp", name=name, added_at=clock.now(),
            secret_sealed=seal(_key(keys, id_), secret.encode(), b"totp"),
        )
    )  # fmt: skip
    session.flush()
    return NewTotp(id_, secret, uri_of(secret, caller.username, issuer))


def uri_of(secret: str, username: str, issuer: str) -> str:
    """The address in a QR code (Key URI Format)."""
    return pyotp.TOTP(secret, digits=rules.TOTP_DIGITS, interval=rules.TOTP_STEP).provisioning_uri(name=username, issuer_name=issuer)


def begun(session: Session, keys: Keys, caller: PersonCaller, factor_id: UUID, issuer: str) -> NewTotp:
    """An app that was begun and not confirmed, to be shown again to who began it. Raises FactorUnknown."""
    row = session.get(SecondFactor, factor_id)
    late = row is not None and clock.now() - row.added_at >= UNCONFIRMED
    if row is None or row.person_id != caller.person_id or row.secret_sealed is None or row.confirmed_at is not None or late:
        raise FactorUnknown
    secret = unseal(_key(keys, row.id), row.secret_sealed, b"totp").decode()
    return NewTotp(row.id, secret, uri_of(secret, caller.username, issuer))


def _taken(keys: Keys, row: SecondFactor, code: str) -> bool:
    """Whether this is a code of the app that was not taken yet; it is taken then."""
    if row.secret_sealed is None:
        return False
    totp = pyotp.TOTP(unseal(_key(keys, row.id), row.secret_sealed, b"totp").decode(), digits=rules.TOTP_DIGITS, interval=rules.TOTP_STEP)
    found = [step for step in rules.code_steps(clock.now(), row.last_step) if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())]
    if found:
        row.last_step, row.last_used_at = found[0], clock.now()
    return bool(found)


def _paper(keys: Keys, person_id: UUID, code: str) -> bytes:
    return keys.blind("recovery-code", person_id.hex, "".join(letter for letter in code.upper() if letter in ALPHABET))


def give_recovery_codes(session: Session, keys: Keys, caller: PersonCaller) -> list[str]:
    """Codes on paper, shown once; those before are void."""
    session.execute(sa.delete(RecoveryCode).where(col(RecoveryCode.person_id) == caller.person_id))
    codes = ["".join(secrets.choice(ALPHABET) for _ in range(_LETTERS)) for _ in range(rules.RECOVERY_CODES)]
    session.add_all(RecoveryCode(person_id=caller.person_id, code_hash=_paper(keys, caller.person_id, code)) for code in codes)
    audit.record(session, Event("second-factor.recovery-codes", caller.actor))
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def recovery_codes_left(session: Session, person_id: UUID) -> int:
    """How many codes on paper were not used yet."""
    return int(session.execute(sa.select(sa.func.count()).where(col(RecoveryCode.person_id) == person_id)).scalar_one())


def confirm_totp(database: Database, keys: Keys, caller: PersonCaller, factor_id: UUID, code: str) -> list[str]:
    """The app works: its first code says so. Gives codes on paper with the first factor, else none. Raises FactorUnknown, FactorWrong."""
    with database.transaction() as session:
        row = session.exec(select(SecondFactor).where(SecondFactor.id == factor_id).with_for_update()).one_or_none()
        if row is None or row.person_id != caller.person_id or row.kind != "totp" or row.confirmed_at is not None:
            raise FactorUnknown
        first = not enrolled(session, caller.person_id)
        if not _taken(keys, row, code):
            raise FactorWrong
        row.confirmed_at = clock.now()
        session.flush()
        audit.record(session, Event("second-factor.added", caller.actor, facts={"factor": str(row.id), "kind": row.kind}))
        return give_recovery_codes(session, keys, caller) if first else []


def prove_code(database: Database, keys: Keys, caller: PersonCaller, code: str) -> bool | LoginRefused:
    """Whether this is a code of one of the caller's apps, or one on paper; either is good once.

    Failures count under the person, and lock for a while after some, whatever comes then; whoever gets here has shown a password.
    """
    name = keys.blind("login", "second-factor", caller.person_id.hex)
    with database.transaction() as session:
        # Locked, so that of many guesses sent at once each meets the count of those before it.
        person = session.exec(select(Person).where(Person.id == caller.person_id).with_for_update()).one()
        if (wait := locked_for(session, name)) is not None:
            return LoginRefused(wait)
        rows = [row for row in factors(session, caller.person_id) if row.kind == "totp" and row.disabled_at is None]
        if any([_taken(keys, row, code) for row in rows]):  # noqa: C419  (Each is looked at, so that the time doesn't tell which.)
            forget_failures(session, name)
            return True
        paper = sa.delete(RecoveryCode).where(
            col(RecoveryCode.person_id) == caller.person_id, col(RecoveryCode.code_hash) == _paper(keys, caller.person_id, code)
        )
        if session.execute(paper.returning(col(RecoveryCode.person_id))).all():
            forget_failures(session, name)
            audit.record(session, Event("second-factor.recovery-code-used", caller.actor, facts={"left": recovery_codes_left(session, person.id)}))
            return True
        count_failure(session, name, person, "second-factor.failed")
        return False


def remove_factor(session: Session, caller: PersonCaller, factor_id: UUID, *, needed: bool) -> None:
    """Take a second factor of one's own away. ``needed``: their role can't be without. Raises FactorUnknown, LastFactor."""
    row = session.get(SecondFactor, factor_id)
    if row is None or row.person_id != caller.person_id:
        raise FactorUnknown
    last = [one.id for one in factors(session, caller.person_id)] == [row.id]
    if last and needed:
        raise LastFactor
    session.delete(row)
    if last:
        session.execute(sa.delete(RecoveryCode).where(col(RecoveryCode.person_id) == caller.person_id))
    audit.record(session, Event("second-factor.removed", caller.actor, facts={"factor": str(factor_id), "kind": row.kind}))


def proof_in_emergency(database: Database, keys: Keys, settings: Settings) -> Callable[[Session, PersonCaller, str | None], bool | None]:
    """How somebody who breaks the glass proves their second factor: True, False, or None where they have none and need none.

    A factor that was shown a short while ago counts, else a code that comes with the request. Whoever has none shows their password
    anew, unless BROKER_EMERGENCY_SECOND_FACTOR asks for a factor: EnrolFirst, StepUpFirst.
    """

    def proved(_session: Session, caller: PersonCaller, code: str | None) -> bool | None:
        if caller.proof is not None and caller.proof.second_at is not None and is_fresh(settings, caller):
            return True
        if caller.enrolled:
            return code is not None and prove_code(database, keys, caller, code) is True
        if settings.emergency_second_factor:
            raise EnrolFirst
        stepped_up(settings, caller)
        return None

    return proved
