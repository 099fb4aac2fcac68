"""The code systems that we keep as data, compared with HL7's own definitions, and with what records label."""

from __future__ import annotations

import json

import pytest

from broker.consent import codes
from broker.consent.labelled import ASSIGNED, FOUND_UNDER
from broker.consent.values import IN_TEXT, UNCLASSIFIED
from broker.records import labelling
from tests.conftest import SHARED

FHIR = SHARED / "fhir"
official = pytest.mark.skipif(not FHIR.is_dir(), reason="HL7's definitions are not on this machine")


def ancestors(name):
    """code → every code above it, as the definition nests them and says in ``subsumedBy``."""
    above: dict[str, set[str]] = {}

    def walk(concepts, parent):
        for one in concepts:
            mine = above.setdefault(one["code"], set())
            mine.update({parent} - {None})
            mine.update(entry["valueCode"] for entry in one.get("property", []) if entry["code"] == "subsumedBy")
            walk(one.get("concept", []), one["code"])

    walk(json.loads((FHIR / f"CodeSystem-{name}.json").read_text())["concept"], None)

    def up(code):
        return {code}.union(*(up(parent) for parent in above[code]))

    return {code: up(code) for code in above}


@official
@pytest.mark.parametrize(
    ("tree", "name", "root"),
    [(codes.PURPOSES, "v3-ActReason", "PurposeOfUse"), (codes.SENSITIVITY, "v3-ActCode", "_InformationSensitivityPolicy")],
)
def test_a_tree_is_the_official_one(tree, name, root):
    up = ancestors(name)
    below = {code for code in up if root in up[code]}
    assert tree.all == below
    for code in below:
        assert tree.wider(code) == up[code] & below
        assert tree.narrower(code) == {other for other in below if code in up[other]}


@official
def test_lists_are_the_official_ones():
    up = ancestors("v3-ActCode")
    assert {code for code in up if up[code] & {"ObligationPolicy", "RefrainPolicy"}} == codes.HANDLING
    assert {code for code in up if "_ActConsentDirective" in up[code]} >= set(codes.DIRECTIVES) >= codes.NEEDS_TERMS
    classification = json.loads((FHIR / "ValueSet-v3-ConfidentialityClassification.json").read_text())["compose"]["include"][0]
    assert [one["code"] for one in classification["concept"]] == list(codes.CONFIDENTIALITY)
    assert classification["system"] == codes.CONFIDENTIALITY_SYSTEM


def test_no_code_is_both_a_level_and_a_topic():
    assert not codes.CONFIDENTIALITY.keys() & codes.SENSITIVITY.all
    assert set(codes.MOVED.values()) <= codes.SENSITIVITY.all


def test_an_unknown_code_is_alone_and_not_remembered():
    assert codes.PURPOSES.wider("nothing") == {"nothing"}
    assert "nothing" not in codes.PURPOSES
    assert codes.PURPOSES.wider("nothing") == {"nothing"}


def test_what_denials_can_find_is_what_records_label():
    given = {label.code for labels, _ in labelling.lists().rules.values() for label in labels} & codes.SENSITIVITY.all
    assert given == ASSIGNED
    for code, wider in FOUND_UNDER.items():
        assert labelling.UMBRELLAS[code] == wider
        assert wider in ASSIGNED
    unassigned = {code for code in labelling.UMBRELLAS if not codes.SENSITIVITY.narrower(code) & ASSIGNED}
    assert unassigned == set(FOUND_UNDER)


def test_both_slices_mean_the_same_by_their_marks():
    assert (labelling.UNCLASSIFIED, labelling.IN_TEXT) == (UNCLASSIFIED, IN_TEXT)
