"""SMART scopes: what is read, what is refused, and that nothing granted lies outside what was asked or approved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.identity.scopes import RequestedScope, ScopeRefused, SmartScope, granted, parse_granted, parse_request, parse_smart, written

READ = [
    ("system/Observation.rs", SmartScope("system", "Observation", "rs")),
    ("system/Observation.read", SmartScope("system", "Observation", "rs", v1=True)),
    ("system/Observation.write", SmartScope("system", "Observation", "cud", v1=True)),
    ("system/Observation.*", SmartScope("system", "Observation", "cruds", v1=True)),
    ("system/*.cruds", SmartScope("system", "*", "cruds")),
    ("user/*.s", SmartScope("user", "*", "s")),
    ("patient/Patient.r", SmartScope("patient", "Patient", "r")),
    ("system/*.*", SmartScope("system", "*", "cruds", v1=True)),
]


@pytest.mark.parametrize(("text", "scope"), READ)
def test_both_spellings_are_read_and_written_back_as_they_were(text, scope):
    assert parse_smart(text) == scope
    assert str(scope) == text


@pytest.mark.parametrize(
    "text",
    [
        "system/Observation",
        "system/Observation.",
        "system/Observation.sr",
        "system/Observation.dus",
        "system/Observation.rr",
        "system/Observation.x",
        "system/Observation.READ",
        "system/observation.rs",
        "System/Observation.rs",
        "system/.rs",
        "system/**.rs",
        "system/Obs*.rs",
        "system/Observation.rs?code=lab",
        "system/Observation.rs?category:in=lab",
        "system/Observation.rs?category=lab&status=final",
        "system/Observation.rs?category=",
        "system/Observation.rs?category=a|b|c",
        "system/Observation.read?category=lab",
        "system/*.rs?category=lab",
        "system/Patient.rs?category=lab",
        "system/Observation.rs ",
        "system//Observation.rs",
        "launch/patient",
        "openid",
        "application:SA-2026-000001",
        "",
    ],
)
def test_what_is_no_smart_scope(text):
    assert parse_smart(text) is None


def test_a_request_names_one_application():
    asked = parse_request("system/Observation.rs  system/Patient.read application:SA-2026-000001")
    assert asked == RequestedScope("SA-2026-000001", (SmartScope("system", "Observation", "rs"), SmartScope("system", "Patient", "rs", v1=True)))
    # The same one twice is one.
    assert isinstance(parse_request("application:SA-2026-000001 system/*.rs application:SA-2026-000001"), RequestedScope)


def test_an_application_may_be_left_unnamed():
    """Whether one alone is in force, is asked of the grants."""
    assert parse_request("system/*.rs") == RequestedScope("", (SmartScope("system", "*", "rs"),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "application:SA-2026-000001",
        "system/*.rs application:SA-2026-1",
        "system/*.rs application:SA-2026-000001x",
        "system/*.rs application:sa-2026-000001",
        "system/*.rs application:SA-２０２６-000001",
        "system/*.rs application:SA-2026-000001 application:SA-2026-000002",
        "system/*.rs application:SA-2026-000001 openid",
        "system/*.rs application:SA-2026-000001 user/*.rs",
        "system/*.rs?code=1 application:SA-2026-000001",
        "system/*.rs\tapplication:SA-2026-000001",
        'system/*.rs application:SA-2026-000001 "',
        "system/*.rs application:SA-2026-000001 \\",
        "system/*.rs application:SA-2026-000001 \x7f",
        "system/*.rs " * 400 + "application:SA-2026-000001",
    ],
)
def test_what_can_not_be_granted_is_refused_without_repeating_it(text):
    refusal = parse_request(text)
    assert isinstance(refusal, ScopeRefused)
    assert refusal.reason.isascii()
    assert '"' not in refusal.reason


TYPES = ["Patient", "Observation", "Condition", "Encounter"]
smart = st.builds(
    lambda resource_type, kind: SmartScope("system", resource_type, kind[0], v1=kind[1]),
    st.sampled_from([*TYPES, "*"]),
    st.sampled_from([("rs", True), ("cud", True), ("cruds", True), ("r", False), ("s", False), ("rs", False), ("cruds", False), ("cd", False)]),
)


@given(st.lists(smart, max_size=8), st.sets(st.sampled_from(TYPES)))
def test_what_is_granted_was_asked_and_approved_and_only_reads(asked, types):
    given_scopes = granted(asked, types)
    for scope in given_scopes:
        assert scope.resource_type in types
        assert set(scope.letters) <= set("rs")
        assert all(any(one.covers(scope.resource_type, letter) for one in asked) for letter in scope.letters)
    # And nothing of that was left out.
    for resource_type in types:
        for letter in "rs":
            wanted = any(scope.covers(resource_type, letter) for scope in asked)
            assert any(scope.covers(resource_type, letter) for scope in given_scopes) == wanted
    assert len(set(given_scopes)) == len(given_scopes)


@given(st.lists(smart, max_size=8), st.sets(st.sampled_from(TYPES)))
def test_a_token_reads_back_what_was_written_into_it(asked, types):
    given_scopes = granted(asked, types)
    assert parse_granted(written("SA-2026-000001", given_scopes)) == given_scopes


@given(st.text())
def test_any_text_is_read_or_refused(text):
    assert isinstance(parse_request(text), RequestedScope | ScopeRefused)


def test_an_empty_grant_gives_nothing_whatever_is_asked():
    """An empty list must never read as "no limit"."""
    assert granted([SmartScope("system", "*", "cruds")], ()) == ()
