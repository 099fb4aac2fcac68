"""What certificates amount to at a moment (TM-5.1, PI-4)."""

from hypothesis import given
from hypothesis import strategies as st

from broker.workforce.codes import CODES, ENTERED, SCOPE, Register
from broker.workforce.rules import Entry, demanded, standing

CODE = st.sampled_from(sorted(ENTERED[Register.QUALIFICATION] | ENTERED[Register.TRAINING]))
ENTRY = st.builds(
    Entry,
    code=CODE,
    status=st.sampled_from(["active", "suspended", "withdrawn"]),
    valid_until=st.none() | st.integers(0, 100),
    scoped=st.booleans(),
)


def test_every_code_has_two_names_and_one_book():
    assert all(en.isascii() and any("\u4e00" <= one <= "\u9fff" for one in zh) for en, zh in CODES.values())
    assert ENTERED[Register.QUALIFICATION] | ENTERED[Register.TRAINING] | {SCOPE} == CODES.keys()
    assert not ENTERED[Register.QUALIFICATION] & ENTERED[Register.TRAINING]


@given(st.lists(ENTRY, max_size=8), st.integers(0, 100))
def test_one_in_force_is_enough_and_none_is_not(entries, at):
    found = standing(entries, at)
    for code in {entry.code for entry in entries}:
        in_force = any(entry.code == code and entry.status == "active" and (entry.valid_until is None or entry.valid_until > at) for entry in entries)
        assert (code in found.held) == in_force
        assert (code in found.expired) == (not in_force)
    assert not set(found.held) & set(found.expired)


@given(st.lists(ENTRY, max_size=8), st.integers(0, 99))
def test_nothing_changes_before_the_moment_that_is_named(entries, at):
    """Policy remembers its answer until then."""
    found = standing(entries, at)
    for later in range(at + 1, found.valid_until or 101):
        assert standing(entries, later).held == found.held


@given(st.lists(ENTRY, max_size=8), st.sets(CODE, max_size=4), st.integers(0, 100))
def test_what_is_demanded_and_not_held_is_lacking(entries, demands, at):
    required = demanded(entries, demands)
    assert demands <= set(required)
    lacking = standing(entries, at).lacking(required)
    assert {code for code, _ in lacking} == set(required) - set(standing(entries, at).held)
    known = {entry.code for entry in entries}
    assert all((how == "expired") == (code in known) for code, how in lacking)


def test_a_training_once_given_is_to_be_kept_up_and_a_licence_is_not():
    entries = [Entry("training.privacy", "active", 10), Entry("licence.practice", "active", 10), Entry("training.security", "withdrawn")]
    assert demanded(entries, ()) == ("training.privacy",)
    assert standing(entries, 10).lacking(demanded(entries, ())) == (("training.privacy", "expired"),)
    assert standing(entries, 9).lacking(demanded(entries, ())) == ()


def test_a_licence_with_a_scope_is_a_scope_of_practice():
    assert SCOPE in standing([Entry("licence.practice", "active", 10, scoped=True)], 9).held
    assert SCOPE in standing([Entry("licence.practice", "active", 10, scoped=True)], 10).expired
    assert SCOPE not in standing([Entry("licence.practice", "active", 10)], 9).held


def test_the_codes_are_those_of_policy():
    """A profile can only require what the registers can hold, under the same name."""
    import json
    from pathlib import Path

    data = json.loads((Path(__file__).resolve().parents[3] / "policies" / "data" / "workforce.json").read_text(encoding="utf-8"))
    assert {code: (one["name"]["en"], one["name"]["zh"]) for code, one in data.items()} == CODES
