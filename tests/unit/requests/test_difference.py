"""A resource by its single values: what differs, and values replaced with every other digit in its place (PIPL 46)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.requests import difference
from broker.requests.difference import Change, Digits

BODY = (
    b'{"resourceType":"Observation","id":"o7","meta":{"versionId":"1"},"text":{"div":"<div>13.20</div>"},"status":"final",'
    b'"subject":{"reference":"Patient/p-1"},"valueQuantity":{"value":13.20,"unit":"mmol/L"},"note":[{"text":"a"},{"text":"b"}],"flag":true}'
)
VALUES = st.recursive(
    st.one_of(st.text(max_size=5), st.booleans(), st.sampled_from(["0", "-1", "13.20", "0.000", "1e5", "98.7"]).map(Digits)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.dictionaries(st.sampled_from(["value", "unit", "code"]), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)
RESOURCES = st.dictionaries(st.sampled_from(["status", "valueQuantity", "note", "code"]), VALUES, max_size=4)


def test_single_values_are_listed_and_what_is_fixed_is_not():
    assert [(one.place, one.value, one.kind) for one in difference.leaves(difference.read(BODY))] == [
        ("status", "final", "text"), ("valueQuantity.value", "13.20", "number"), ("valueQuantity.unit", "mmol/L", "text"),
        ("note.0.text", "a", "text"), ("note.1.text", "b", "text"), ("flag", "true", "boolean"),
    ]  # fmt: skip


def test_a_value_is_replaced_and_the_narrative_that_repeated_it_goes():
    right, problems = difference.corrected(BODY, {"valueQuantity.value": "3.20", "note.1.text": "c", "flag": "false", "status": ""})
    assert problems == ()
    assert b'"value":3.20' in right
    assert difference.changes(difference.read(BODY), difference.read(right)) == [
        Change("valueQuantity.value", "13.20", "3.20"), Change("note.1.text", "b", "c"), Change("flag", "true", "false"),
    ]  # fmt: skip
    assert "text" not in json.loads(right)
    assert json.loads(right)["subject"] == {"reference": "Patient/p-1"}


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        ("valueQuantity.value", "drei", "number"),
        ("valueQuantity.value", "1,5", "number"),
        ("valueQuantity.value", "NaN", "number"),
        ("flag", "yes", "unknown"),
    ],
)
def test_what_is_no_such_value_is_named(place, value, code):
    _, problems = difference.corrected(BODY, {place: value})
    assert [(one.path, one.code) for one in problems] == [(f"/{place}", code)]


@pytest.mark.parametrize("place", ["subject.reference", "id", "resourceType", "meta.versionId", "nothing", "note.9.text", "valueQuantity"])
def test_nobody_moves_a_record_to_another_patient_by_its_form(place):
    right, problems = difference.corrected(BODY, {place: "x"})
    assert problems == ()
    assert difference.changes(difference.read(BODY), difference.read(right)) == []


@given(RESOURCES)
def test_what_is_written_is_read_again_digit_for_digit(resource):
    assert difference.read(difference.written(resource).encode()) == resource


@given(RESOURCES, RESOURCES)
def test_changes_tell_one_from_the_other(before, after):
    found = difference.changes(before, after)
    assert (found == []) == (
        {(one.place, one.value) for one in difference.leaves(before)} == {(one.place, one.value) for one in difference.leaves(after)}
    )
    new = {one.place: one.value for one in difference.leaves(after)}
    assert all(new.get(change.place) == change.after for change in found)


@given(RESOURCES, st.data())
def test_only_what_was_named_changes(resource, data):
    texts = [one for one in difference.leaves(resource) if one.kind == "text"]
    if not texts:
        return
    leaf = data.draw(st.sampled_from(texts))
    right, _ = difference.corrected(difference.written(resource).encode(), {leaf.place: "anders"})
    expected = [] if leaf.value == "anders" else [Change(leaf.place, leaf.value, "anders")]
    assert difference.changes(resource, difference.read(right)) == expected
