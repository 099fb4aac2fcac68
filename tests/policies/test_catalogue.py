"""The catalogue of data classes against FHIR R4 itself: every element of the released types is in one class, or is never released (RS-5.1)."""

import copy
import dataclasses

import pytest

from broker.fhir import definitions
from broker.policy.data_checks import home, problems
from broker.policy.policy_set import load
from tests.policies.conftest import ROOT

POLICIES = load(ROOT / "policies")
DATA = POLICIES.data
#: What the issue of the catalogue names, and each class that stands for it.
ASKED = {
    "clinical": (
        "demographics", "diagnoses", "medications", "laboratory", "imaging", "procedures", "encounters", "documents", "allergies", "immunizations",
        "vital-signs", "care-plans", "telemedicine",
    ),
    "financial": ("charges", "claims", "benefits", "coverage"),
    "management": ("staff", "qualifications", "equipment", "organizations"),
}  # fmt: skip


def paths(elements, above=""):
    """Every element below, by its dotted path; elements inside datatypes belong to the element that has the datatype.

    Ids and extensions inside elements have no class: keep-lists never keep them (``fhir.keeplist``).
    """
    for name, raw in elements.items():
        if above and name in ("id", "extension", "modifierExtension"):
            continue
        yield f"{above}{name}"
        if "elements" in raw:
            yield from paths(raw["elements"], f"{above}{name}.")


@pytest.mark.parametrize("resource", DATA["types"])
def test_every_element_of_r4_is_in_one_class_or_never_released(resource):
    rows = DATA["elements"][resource]
    named = [name for names in rows.values() for name in names.split(" ")]
    assert len(named) == len(set(named))
    known = {*paths(definitions.raw_elements(resource))}
    for path in known:
        above = [".".join(path.split(".")[:length]) for length in range(1, path.count(".") + 2)]
        below = {name for name in named if name.startswith(f"{path}.")}
        # A group whose parts are in different classes has none of its own.
        assert home(rows, path) if {*above} & {*named} else below, path
    for name in named:
        assert definitions.element(resource, name).path == name, "the catalogue knows no element that R4 does not"


@pytest.mark.parametrize("resource", DATA["types"])
def test_what_people_write_and_who_they_are_is_never_released(resource):
    for path in paths(definitions.raw_elements(resource)):
        element = definitions.element(resource, path)
        if {*element.types} & {"Annotation", "Narrative", "Signature", "Extension", "Resource", "markdown", "base64Binary"} and not element.choice:
            assert home(DATA["elements"][resource], path) == "never" or "." in path, path
    for always in ("contained", "text", "extension", "modifierExtension", "implicitRules"):
        assert home(DATA["elements"][resource], always) == "never"


def test_every_class_that_was_asked_for_is_there_with_level_and_names():
    for group, names in ASKED.items():
        assert group in DATA["data_classes"]
        for name in names:
            row = DATA["data_classes"][f"{group}.{name}"]
            assert 1 <= row["level"] <= 5
            assert row["name"]["zh"]
            assert row["name"]["en"]
    for row in DATA["sensitive"]["categories"].values():
        assert DATA["data_classes"][row["data_class"]]["level"] == 5


def test_categories_belong_to_one_class():
    """An Observation or a report is of one class by its category."""
    seen = {}
    for code, row in DATA["data_classes"].items():
        for part in row["parts"]:
            for category in part.get("categories", ()):
                assert seen.setdefault((part["type"], category), code) == code


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda data: data["profiles"]["treatment-referral"]["types"]["Patient"].update(elements="id photo"), "names what is never released: photo"),
        (lambda data: data["elements"]["Patient"].update({"clinical.contact": "name"}), "name is in more than one class"),
        (lambda data: data["elements"]["Patient"].update({"clinical.gossip": "active"}), "there is no class clinical.gossip"),
        (lambda data: data["elements"].pop("Patient"), "Patient must be in types.json and here"),
        (lambda data: data["data_classes"]["clinical.contact"]["parts"][0]["elements"].append("photo"), "brings Patient.photo"),
    ],
)
def test_a_table_that_breaks_the_catalogue_is_refused(change, where):
    data = copy.deepcopy(dict(DATA))
    change(data)
    broken = dataclasses.replace(POLICIES, data=data)
    assert any(where in problem.message for problem in problems(broken))
