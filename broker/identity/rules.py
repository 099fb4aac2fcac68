"""Judgements about who is asking: windows of time, locks after failed logins, who may hold which role. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from broker.identity.roles import APART, Role

#: How far a client's clock may be off. FAPI 2.0: 8 s ahead is accepted, more than 60 s refused.
CLOCK_LEEWAY = 60
#: SMART 2.2 "Client Authentication: Asymmetric": an assertion lives five minutes at most.
ASSERTION_SECONDS = 300
#: SMART 2.2 "Backend Services": ``expires_in`` SHOULD NOT exceed 300 s.
TOKEN_SECONDS = 300
#: An assertion that was used is remembered this long after it ran out, so that a clock set back does not revive it.
JTI_KEPT = timedelta(minutes=10)
#: An issued token's row is kept this long after it ran out.
TOKEN_KEPT = timedelta(days=1)
#: Tokens that one client may ask for within a minute. It needs one for each grant every five minutes.
TOKENS_PER_MINUTE = 600
#: Numeric dates are kept within the years 1970 to 9999.
_LATEST = 253_402_300_799

#: A session in which a second factor is still to be shown ends after this.
PENDING_LIFE = timedelta(minutes=10)
#: A person's session ends after this long without use, and at the latest after SESSION_LIFE.
SESSION_IDLE = timedelta(minutes=30)
SESSION_LIFE = timedelta(hours=10)


@dataclass(frozen=True)
class SessionLimits:
    """After how long without use, and after how long at all, a person's session ends (ASVS 5.0 7.3.1, 7.3.2)."""

    idle: timedelta = SESSION_IDLE
    life: timedelta = SESSION_LIFE


#: Wrong passwords under one name before it is locked for a while.
FAILURES_ALLOWED = 5
FIRST_LOCK = timedelta(minutes=1)
LONGEST_LOCK = timedelta(minutes=15)
#: After this long without a failure the count starts again.
FAILURES_FORGOTTEN = timedelta(hours=1)

#: Seconds that one code of an authenticator app stands for, and how many such steps its clock may be off (RFC 6238 5.2).
TOTP_STEP, TOTP_DRIFT = 30, 1
TOTP_DIGITS = 6
#: Codes on paper that somebody is given at a time.
RECOVERY_CODES = 10
#: A link by which somebody chooses a new password.
LINK_LIFE = timedelta(hours=24)

MIN_PASSWORD = 12
MAX_PASSWORD = 256

#: Roles that decide, audit or administer belong to the hospital that gives the data, never to an outside organisation.
INTERNAL_ONLY = frozenset({Role.INFORMATION_MANAGER, Role.AUDITOR, Role.ADMINISTRATOR})


class Lack(StrEnum):
    """What keeps somebody who is signed in from doing anything yet, the first to be mended first."""

    ROLES_APART = "roles-apart"  #: they hold two roles that one person may not hold together
    SECOND_FACTOR = "second-factor"  #: they have one and did not show it in this session
    PASSWORD = "password"  # noqa: S105  (A name.) #: somebody else knows it
    ENROLMENT = "enrolment"  #: their role needs a second factor and they have none


def lack(roles: frozenset[Role], *, enrolled: bool, proved: bool, password: bool, must_change: bool, needed_by: frozenset[Role]) -> Lack | None:
    """What somebody lacks, or None.

    ``enrolled``: they have a second factor; ``proved``: one was shown in this session, here or at the hospital's login; ``password``: this
    session was opened with a password; ``needed_by``: roles that need a second factor.
    """
    if conflicting(roles):
        return Lack.ROLES_APART
    if enrolled and not proved:
        return Lack.SECOND_FACTOR
    if must_change and password:
        return Lack.PASSWORD
    return Lack.ENROLMENT if roles & needed_by and not proved else None


def fresh(now: datetime, proved_at: datetime, minutes: int) -> bool:
    """Whether a proof is recent enough for a dangerous act."""
    return now - proved_at < timedelta(minutes=minutes)


def code_steps(now: datetime, last_step: int | None) -> range:
    """The time steps whose codes are taken at ``now``: this one and its neighbours, and none up to the last that was taken (RFC 6238 5.2)."""
    step = int(now.timestamp()) // TOTP_STEP
    first = step - TOTP_DRIFT
    return range(first if last_step is None else max(first, last_step + 1), step + TOTP_DRIFT + 1)


def copied(before: int, after: int) -> bool:
    """Whether a key's counter did not grow, so that there seem to be two of it (WebAuthn 2, 6.1.1). A key that doesn't count says 0."""
    return after <= before and (before > 0 or after > 0)


def _moment(value: object) -> int | None:
    """A NumericDate as whole seconds, or None. ``true`` is an int in Python and no date here."""
    return value if type(value) is int and 0 <= value <= _LATEST else None


def assertion_window_problem(claims: Mapping[str, Any], now: datetime) -> str | None:
    """What is wrong with ``exp``, ``iat`` and ``nbf`` of a client assertion at ``now``; None: nothing.

    ``exp`` is required, whole seconds, in the future, at most ASSERTION_SECONDS and the leeway ahead (a reference client
    rounds up). ``iat`` and ``nbf`` may be missing; where they stand they may lie at most the leeway ahead (FAPI 2.0).
    """
    at = now.timestamp()
    expires = _moment(claims.get("exp"))
    if expires is None:
        return "exp must be given in whole seconds."
    if expires <= at:
        return "The assertion has expired."
    if expires > at + ASSERTION_SECONDS + CLOCK_LEEWAY:
        return "exp must be at most 300 seconds ahead."
    for name in ("iat", "nbf"):
        if name not in claims:
            continue
        moment = _moment(claims[name])
        if moment is None:
            return f"{name} must be given in whole seconds."
        if moment > at + CLOCK_LEEWAY:
            return f"{name} lies in the future."
    return None


def token_expiry(now: datetime, grant_until: datetime) -> datetime:
    """When a token that is issued now runs out: after TOKEN_SECONDS, and never after the grant itself."""
    return min(now + timedelta(seconds=TOKEN_SECONDS), grant_until)


def lock_after(failures: int) -> timedelta | None:
    """How long a name is locked after this many failures in a row: 1, 2, 4 … up to 15 minutes; None: not yet."""
    if failures < FAILURES_ALLOWED:
        return None
    return min(FIRST_LOCK * (1 << min(failures - FAILURES_ALLOWED, 10)), LONGEST_LOCK)


def worth_recording(failures: int) -> bool:
    """Whether the n-th failure of a client is put on record: 1, 2, 4, 8 …, so that nobody can flood the log."""
    return failures & (failures - 1) == 0


def session_ended(now: datetime, last_used_at: datetime, expires_at: datetime, idle: timedelta = SESSION_IDLE) -> bool:
    """Whether a session is over, by age or by idleness."""
    return now >= expires_at or now - last_used_at >= idle


def conflicting(roles: frozenset[Role]) -> tuple[Role, Role] | None:
    """Two of these roles that one human being may not hold together, or None."""
    for pair in sorted(APART, key=sorted):
        if pair <= roles:
            first, second = sorted(pair)
            return first, second
    return None


def may_be_held_in(role: Role, relationship: str) -> bool:
    """Whether an ``internal`` or ``external`` organisation may have somebody in this role."""
    return relationship == "internal" or role not in INTERNAL_ONLY


def password_problem(password: str, username: str) -> str | None:
    """Why a password can't be used, or None (ASVS 5.0 6.2: length counts, composition does not)."""
    if len(password) < MIN_PASSWORD:
        return f"A password has at least {MIN_PASSWORD} characters."
    if len(password) > MAX_PASSWORD:
        return f"A password has at most {MAX_PASSWORD} characters."
    if username.lower() in password.lower() or len(set(password)) < 5:
        return "A password must not hold the user name or a few characters repeated."
    return None
