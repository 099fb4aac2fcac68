"""Least-necessary profiles against FHIR R4 itself: what they name exists, what R4 demands is in them, and they can be carried out."""

import json

import pytest

from broker.fhir import definitions
from broker.fhir.minimise import compiled
from broker.fhir.plan import ReleasePlan
from broker.policy.policy_set import load
from tests.conftest import SHARED
from tests.policies.conftest import ROOT
from tests.policies.examples import as_facts, changed, release

POLICIES = load(ROOT / "policies")
PROFILES = POLICIES.data["profiles"]
TYPES = [(name, resource) for name, profile in PROFILES.items() for resource in profile["types"]]
USES = [
    (purpose, kind, relationship, name)
    for purpose, kinds in POLICIES.data["profile_index"].items()
    for kind, each in kinds.items()
    for relationship, name in each.items()
]
BASES = POLICIES.data["lawful_bases"]
HL7 = SHARED / "fhir"


def kept(profile, resource):
    return PROFILES[profile]["types"][resource]["elements"].split(" ")


@pytest.mark.parametrize(("profile", "resource"), TYPES)
def test_every_element_is_one_of_r4(profile, resource):
    for path in kept(profile, resource):
        found = definitions.element(resource, path)
        assert found.path == path, "choice elements are named by their base"


@pytest.mark.parametrize(("profile", "resource"), TYPES)
def test_what_r4_makes_mandatory_is_kept(profile, resource):
    """At the root, and inside every element of which a profile keeps parts."""
    elements = kept(profile, resource)
    above = {path.rsplit(".", 1)[0] for path in elements if "." in path}
    above |= {path.rsplit(".", 1)[0] for path in above if "." in path}
    for place in ("", *sorted(above)):
        children = definitions.raw_elements(resource) if not place else definitions.element(resource, place).children
        for name, raw in children.items():
            if raw["min"] > 0:
                path = f"{place}.{name}".lstrip(".")
                assert any(path == each or each.startswith(f"{path}.") for each in elements), path


@pytest.mark.parametrize("resource", POLICIES.data["types"])
def test_what_a_type_always_needs_holds_what_r4_makes_mandatory(resource):
    always = POLICIES.data["types"][resource]["always"].split(" ")
    for name, raw in definitions.raw_elements(resource).items():
        if raw["min"] > 0:
            assert any(name == each or each.startswith(f"{name}.") for each in always), name
    about = {path.split(".")[0] for path in definitions.compartment_paths(resource)} & {"subject", "patient", "beneficiary"}
    if resource not in ("Device", "Patient"):
        assert about <= {each.split(".")[0] for each in always}, "the reference to the patient is always kept"


@pytest.mark.parametrize("resource", POLICIES.data["types"])
def test_types_that_periods_apply_to_have_a_clinical_date(resource):
    if POLICIES.data["types"][resource]["dated"]:
        assert definitions.clinical_dates(resource)


@pytest.mark.parametrize(("purpose", "kind", "relationship", "profile"), USES)
def test_a_profile_is_found_and_can_be_carried_out(engine, purpose, kind, relationship, profile):
    """Everything is asked; what comes back is the profile itself, and the minimiser takes it."""
    emergency = POLICIES.data["purposes"][purpose]["emergency_seconds"] > 0
    facts = changed(
        release(),
        {
            "request.purpose": purpose,
            "request.lawful_basis": next(code for code, row in BASES.items() if purpose in row["purposes"]),
            "workforce": {"required": [], "held": [*POLICIES.data["workforce"]], "expired": [], "valid_until": None},
            "caller.token_purpose": purpose,
            "recipient.kind": kind,
            "recipient.relationship": relationship,
            "request.channel": "bundle",
            "request.emergency": emergency,
            "request.urgency": "emergency" if emergency else "routine",
            "grant.valid_from": release()["at"] - 60,
            "grant.valid_until": release()["at"] + 3600,
            "request.data": [{"data_class": "clinical"}, {"data_class": "financial"}, {"data_class": "management"}],
        },
    )
    decision = engine.decide(as_facts(facts))
    assert decision.reasons == ()
    assert decision.plan["profile"] == profile
    expected = PROFILES[profile]["types"]
    assert list(decision.plan["types"]) == sorted(expected)
    for resource, row in decision.plan["types"].items():
        assert " ".join(row["elements"]) == expected[resource]["elements"]
        assert row["categories"] == expected[resource]["categories"]
        assert row["transforms"] == expected[resource]["transforms"]
    compiled(ReleasePlan.from_json(decision.plan))


#: What no profile may hold: free text, narrative, pictures, documents, and ways to reach a person.
NEVER = {
    "note",
    "text",
    "photo",
    "contained",
    "extension",
    "modifierExtension",
    "meta",
    "presentedForm",
    "content.attachment.data",
    "content.attachment.url",
}
REACH = {"telecom", "address", "contact", "identifier", "maritalStatus", "link", "generalPractitioner", "communication"}


@pytest.mark.parametrize(("profile", "resource"), TYPES)
def test_what_no_profile_holds(profile, resource):
    assert not NEVER & {*kept(profile, resource)}
    assert not {
        each for each in kept(profile, resource) if each.rsplit(".", 1)[-1] in ("note", "extension", "contained", "comment", "patientInstruction")
    }


@pytest.mark.parametrize("profile", ["treatment-referral", "treatment-emergency", "recognition-laboratory", "recognition-imaging", "payment-insurer"])
def test_a_referral_hospital_is_not_told_how_to_reach_the_patient(profile):
    assert not REACH & {each.split(".")[0] for each in kept(profile, "Patient")}


@pytest.mark.parametrize("resource", ["Practitioner", "Organization", "Location"])
def test_nobody_is_told_how_to_reach_the_staff(resource):
    for profile, types in PROFILES.items():
        if resource in types["types"]:
            assert not {"telecom", "address", "photo", "gender", "birthDate", "identifier"} & {*kept(profile, resource)}, profile


@pytest.mark.parametrize("profile", ["research-deidentified", "quality-audit"])
def test_a_pseudonymous_profile_names_nobody(profile):
    """No name, no free text; ids are replaced for every type that belongs to a patient; births are years."""
    types = PROFILES[profile]["types"]
    assert "name" not in kept(profile, "Patient")
    assert {"path": "birthDate", "do": "year"} in types["Patient"]["transforms"]
    for resource, row in types.items():
        if (definitions.compartment_paths(resource) and resource not in ("Practitioner", "Device")) or resource == "Patient":
            assert {"path": "id", "do": "pseudonym"} in row["transforms"], resource


def test_research_knows_no_date_but_the_year():
    for resource, row in PROFILES["research-deidentified"]["types"].items():
        years = {each["path"] for each in row["transforms"] if each["do"] == "year"}
        for path in row["elements"].split(" "):
            found = definitions.element(resource, path)
            dated = any(each in ("date", "dateTime", "instant", "Period", "Timing") for each in found.types)
            assert not dated or path in years, f"{resource}.{path}"


@pytest.mark.skipif(not HL7.exists(), reason="the HL7 code systems in ../shared/data are not here")
def test_purposes_and_labels_are_hl7s():
    def walk(concepts, above):
        for concept in concepts:
            yield concept["code"], above
            yield from walk(concept.get("concept", []), [concept["code"], *above])

    reasons = json.loads((HL7 / "CodeSystem-v3-ActReason.json").read_text(encoding="utf-8"))
    uses = {code: above[: above.index("PurposeOfUse") + 1] for code, above in walk(reasons["concept"], []) if "PurposeOfUse" in above}
    assert {code: row["ancestors"] for code, row in POLICIES.data["purposes"].items()} == uses
    acts = json.loads((HL7 / "CodeSystem-v3-ActCode.json").read_text(encoding="utf-8"))
    codes = dict(walk(acts["concept"], []))
    for label in POLICIES.data["sensitive"]["deny"]:
        assert "_InformationSensitivityPolicy" in codes[label], label
    for profile in PROFILES.values():
        for obligation in profile["obligations"]:
            assert {"ObligationPolicy", "RefrainPolicy"} & {*codes[obligation["code"]]}, obligation
