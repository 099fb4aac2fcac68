"""Windows of time, locks and roles: the edges of each."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from broker.identity import rules
from broker.identity.roles import APART, NAMES_ZH, PERMISSIONS, Action, Role, permitted

NOW = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)
AT = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"exp": AT + 1}, True),
        ({"exp": AT + 300}, True),
        ({"exp": AT + 310}, True),
        ({"exp": AT + 360}, True),
        ({"exp": AT + 361}, False),
        ({"exp": AT}, False),
        ({"exp": AT - 1}, False),
        ({}, False),
        ({"exp": None}, False),
        ({"exp": True}, False),
        ({"exp": float(AT + 100)}, False),
        ({"exp": str(AT + 100)}, False),
        ({"exp": [AT + 100]}, False),
        ({"exp": -(10**400)}, False),
        ({"exp": 10**400}, False),
        ({"exp": AT + 300, "iat": AT + 8, "nbf": AT + 8}, True),
        ({"exp": AT + 300, "iat": AT + 60}, True),
        ({"exp": AT + 300, "iat": AT + 61}, False),
        ({"exp": AT + 300, "nbf": AT + 61}, False),
        ({"exp": AT + 300, "iat": AT - 86_400}, True),
        ({"exp": AT + 300, "iat": 1.5}, False),
        ({"exp": AT + 300, "nbf": None}, False),
        ({"exp": AT + 300, "iat": False}, False),
    ],
)
def test_the_window_of_an_assertion(claims, good):
    assert (rules.assertion_window_problem(claims, NOW) is None) is good


def test_a_token_runs_out_with_its_grant_at_the_latest():
    assert rules.token_expiry(NOW, NOW + timedelta(days=1)) == NOW + timedelta(seconds=300)
    assert rules.token_expiry(NOW, NOW + timedelta(seconds=10)) == NOW + timedelta(seconds=10)


def test_a_used_jti_is_remembered_longer_than_anybody_could_use_it():
    assert rules.JTI_KEPT.total_seconds() > rules.ASSERTION_SECONDS + rules.CLOCK_LEEWAY


def test_locks_grow_and_end():
    assert [rules.lock_after(failures) for failures in range(5)] == [None] * 5
    assert [rules.lock_after(failures).total_seconds() for failures in range(5, 12)] == [60, 120, 240, 480, 900, 900, 900]
    assert rules.lock_after(10**9) == rules.LONGEST_LOCK


def test_what_is_recorded_of_many_failures_is_few():
    assert [failures for failures in range(1, 1000) if rules.worth_recording(failures)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]


@pytest.mark.parametrize(
    ("idle", "left", "ended"),
    [
        (timedelta(0), timedelta(hours=1), False),
        (rules.SESSION_IDLE - timedelta(seconds=1), timedelta(seconds=1), False),
        (rules.SESSION_IDLE, timedelta(hours=1), True),
        (timedelta(0), timedelta(0), True),
    ],
)
def test_when_a_session_ends(idle, left, ended):
    assert rules.session_ended(NOW, NOW - idle, NOW + left) is ended


def test_who_decides_who_audits_and_who_administers_are_different_people():
    for pair in combinations((Role.INFORMATION_MANAGER, Role.AUDITOR, Role.ADMINISTRATOR), 2):
        assert rules.conflicting(frozenset(pair)) == tuple(sorted(pair))
    assert rules.conflicting(frozenset({Role.APPLICANT, Role.DEPARTMENT_HEAD})) is None
    assert rules.conflicting(frozenset()) is None
    assert rules.conflicting(frozenset(Role)) is not None


def test_outside_organisations_only_ask():
    assert {role for role in Role if rules.may_be_held_in(role, "external")} == {Role.APPLICANT, Role.DEPARTMENT_HEAD, Role.REGULATOR}
    assert all(rules.may_be_held_in(role, "internal") for role in Role)


def test_the_table_of_permissions_is_whole():
    """The matrix as it is read aloud: role × action, written out so that a change is seen."""
    assert PERMISSIONS.keys() == set(Role) == NAMES_ZH.keys()
    assert permitted(frozenset()) == frozenset()
    assert permitted(frozenset(Role)) == frozenset(Action)  # No action that nobody may do.
    holders = {action: {role for role in Role if action in PERMISSIONS[role]} for action in Action}
    assert holders[Action.APPLICATION_DECIDE] == {Role.INFORMATION_MANAGER}
    assert holders[Action.APPLICATION_ENDORSE] == {Role.DEPARTMENT_HEAD}
    assert holders[Action.GRANT_REVOKE] == {Role.INFORMATION_MANAGER}
    assert holders[Action.LOG_READ] == {Role.AUDITOR}
    assert holders[Action.PERSON_WRITE] == {Role.ADMINISTRATOR}
    assert holders[Action.CLIENT_WRITE] == {Role.INFORMATION_MANAGER, Role.ADMINISTRATOR}
    # Who administers sees no data and decides nothing.
    assert not [action for action in PERMISSIONS[Role.ADMINISTRATOR] if action.startswith(("application", "consent", "patient", "records", "grant"))]
    # Who audits changes nothing but the review.
    assert [action for action in PERMISSIONS[Role.AUDITOR] if action.endswith("write")] == [Action.REVIEW_WRITE]
    assert all(len(pair) == 2 for pair in APART)


@pytest.mark.parametrize(
    ("password", "good"),
    [
        ("four grey herons wade", True),
        ("密码要足够长才算安全可靠", True),
        ("elevenchars", False),
        ("a" * 257, False),
        ("abababababababab", False),
        ("my alice password", False),
        ("ALICE in the lake", False),
    ],
)
def test_passwords(password, good):
    assert (rules.password_problem(password, "alice") is None) is good
