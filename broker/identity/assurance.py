"""How sure we are of who is there: what somebody lacks before they may do anything, and what a dangerous act asks for again.

Errors follow RFC 9470: a challenge ``insufficient_user_authentication`` says how fresh a proof must be.
"""

from __future__ import annotations

from broker import clock
from broker.errors import BrokerError
from broker.identity import rules
from broker.identity.callers import PersonCaller
from broker.identity.errors import EnrolFirst, PasswordFirst, RolesTogether, SecondFactorFirst, StepUpFirst
from broker.identity.roles import Action, Role
from broker.identity.rules import Lack
from broker.settings import Settings

#: What can't be undone, or opens more than it shows: each change under one of these asks for a fresh proof. Containment, the lifting of it,
#: and breaking the glass have verbs of their own that ask.
DANGEROUS = frozenset({Action.CLIENT_WRITE, Action.PERSON_WRITE, Action.DESTRUCTION_ORDER, Action.POLICY_WRITE})


def _challenge(settings: Settings) -> dict[str, str]:
    seconds = settings.step_up_minutes * 60
    said = "A fresh proof or a second factor is needed"
    return {"WWW-Authenticate": f'Bearer realm="broker", error="insufficient_user_authentication", error_description="{said}", max_age="{seconds}"'}


def lack(settings: Settings, caller: PersonCaller) -> Lack | None:
    """What keeps this caller from doing anything yet."""
    proof = caller.proof
    return rules.lack(
        caller.roles,
        enrolled=caller.enrolled,
        proved=proof is not None and proof.second_at is not None,
        password=proof is None or proof.method == "password",
        must_change=caller.must_change_password,
        needed_by=frozenset(Role(role) for role in settings.second_factor_needed_by),
    )


def lacking(settings: Settings, found: Lack) -> BrokerError:
    """The error that says what is lacking and how to mend it."""
    match found:
        case Lack.ROLES_APART:
            return RolesTogether()
        case Lack.SECOND_FACTOR:
            return SecondFactorFirst(headers=_challenge(settings))
        case Lack.PASSWORD:
            return PasswordFirst()
        case Lack.ENROLMENT:
            return EnrolFirst()


def demand(settings: Settings, caller: PersonCaller) -> None:
    """Raises where the caller lacks something: SecondFactorFirst, PasswordFirst, EnrolFirst, RolesTogether."""
    if found := lack(settings, caller):
        raise lacking(settings, found)


def is_fresh(settings: Settings, caller: PersonCaller) -> bool:
    """Whether the caller proved who they are within BROKER_STEP_UP_MINUTES, with their second factor where they have one."""
    proof = caller.proof
    return proof is not None and rules.fresh(clock.now(), proof.freshest, settings.step_up_minutes)


def stepped_up(settings: Settings, caller: PersonCaller) -> None:
    """What a dangerous act asks of its caller. Raises StepUpFirst unless they proved a short while ago who they are."""
    if not is_fresh(settings, caller):
        raise StepUpFirst(headers=_challenge(settings))


def demand_for(settings: Settings, caller: PersonCaller, action: Action, method: str) -> None:
    """What ``require(action)`` asks beside the role: a fresh proof where ``method`` changes something dangerous. Raises StepUpFirst."""
    if action in DANGEROUS and method not in ("GET", "HEAD", "OPTIONS"):
        stepped_up(settings, caller)
