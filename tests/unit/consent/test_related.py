"""Groups, teams, parents, authors, anchors: resolved from what is given, and denied where they can't be."""

from __future__ import annotations

import pytest

from tests.factories.consent import actors, consent, data, observation, provision
from tests.unit.consent.asking import effect

PERMIT, DENY, SILENT = "permit", "deny", "silent"
SYSTEM = {"system": "urn:orgs", "value": "7"}

PARTS = [
    {"resourceType": "Organization", "id": "dept", "partOf": {"reference": "Organization/hospital"}},
    {"resourceType": "Organization", "id": "hospital", "identifier": [SYSTEM], "partOf": {"identifier": {"system": "urn:orgs", "value": "net"}}},
    {"resourceType": "Organization", "id": "network", "identifier": [{"system": "urn:orgs", "value": "net"}]},
    {
        "resourceType": "PractitionerRole",
        "id": "role",
        "practitioner": {"reference": "Practitioner/x"},
        "organization": {"reference": "Organization/dept"},
    },
]


def to(*references, kind="permit", **more):
    return consent(provision(kind, actors(*references), **more))


def group(*members, **more):
    return {
        "resourceType": "Group",
        "id": "g",
        "type": "practitioner",
        "actual": True,
        "member": [{"entity": {"reference": one}} for one in members],
    } | more


def test_a_caller_is_meant_by_everything_it_is_part_of():
    for named in ("dept", "hospital", "network"):
        assert effect(to(f"Organization/{named}"), observation(), actor="Organization/dept", related=PARTS) == PERMIT
    assert effect(to("Organization/dept"), observation(), actor="Organization/hospital", related=PARTS) == SILENT
    assert effect(to("Organization/hospital"), observation(), actor="Organization/dept") == SILENT
    assert effect(to("Practitioner/x", kind="deny"), observation(), actor="PractitionerRole/role", related=PARTS) == DENY
    assert effect(to("Organization/hospital"), observation(), actor="PractitionerRole/role", related=PARTS) == PERMIT


def test_an_actor_named_by_identifier_is_looked_up():
    given = consent(provision("permit", {"actor": [{"reference": {"identifier": SYSTEM}}]}))
    assert effect(given, observation(), actor="Organization/hospital", related=PARTS) == PERMIT
    assert effect(given, observation(), actor="Organization/hospital") == DENY
    twin = {"resourceType": "Organization", "id": "twin", "identifier": [SYSTEM]}
    assert effect(given, observation(), actor="Organization/hospital", related=[*PARTS, twin]) == DENY


def test_members_of_a_group_and_of_groups_in_it():
    inner = group("Practitioner/y") | {"id": "inner"}
    outer = group("Practitioner/x", "Group/inner")
    for actor, expected in (("Practitioner/x", PERMIT), ("Practitioner/y", PERMIT), ("Practitioner/z", SILENT), ("Group/g", PERMIT)):
        assert effect(to("Group/g"), observation(), actor=actor, related=[outer, inner]) == expected
    assert effect(to("Group/g"), observation(), actor="Practitioner/x", related=[outer]) == DENY
    assert effect(to("Group/g", kind="deny"), observation(), actor="Practitioner/y", related=[outer, inner]) == DENY


@pytest.mark.parametrize(
    "changed",
    [
        {"actual": False},
        {"characteristic": [{"exclude": False}]},
        {"member": []},
        {"modifierExtension": [{"url": "urn:x"}]},
        {"member": [{"entity": {"reference": "Practitioner/x"}}, {"entity": {"display": "somebody"}}]},
        {"member": [{"entity": {"reference": "Practitioner/x"}, "period": {"start": "soon"}}]},
        {"member": [{"entity": {"reference": "Practitioner/x"}, "modifierExtension": []}]},
        {"member": ["Practitioner/x"]},
        {"member": [{"entity": {"reference": "Group/g"}}]},
    ],
)
def test_a_group_whose_members_are_not_certain_denies(changed):
    assert effect(to("Group/g"), observation(), actor="Practitioner/x", related=[group("Practitioner/x")]) == PERMIT
    assert effect(to("Group/g"), observation(), actor="Practitioner/x", related=[group("Practitioner/x") | changed]) == DENY


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"period": {"end": "2026-01-31"}}, SILENT),
        ({"inactive": True}, SILENT),
        ({"period": {"start": "2026-01-01"}}, PERMIT),
        ({"inactive": False}, PERMIT),
    ],
)
def test_membership_is_asked_for_at_the_time_of_use(member, expected):
    team = group() | {"member": [{"entity": {"reference": "Practitioner/x"}} | member]}
    assert effect(to("Group/g"), observation(), actor="Practitioner/x", related=[team]) == expected


def test_a_care_team_and_one_in_the_consent_itself():
    team = {"resourceType": "CareTeam", "id": "t", "participant": [{"member": {"reference": "Practitioner/x"}, "period": {"start": "2026"}}]}
    assert effect(to("CareTeam/t"), observation(), actor="Practitioner/x", related=[team]) == PERMIT
    assert effect(to("CareTeam/t"), observation(), actor="Practitioner/x", related=[team | {"status": "inactive"}]) == DENY
    assert effect(to("#t") | {"contained": [team]}, observation(), actor="Practitioner/x") == PERMIT
    assert effect(to("#t") | {"contained": [team, team]}, observation(), actor="Practitioner/x") == DENY
    assert effect(to("#t") | {"contained": "t"}, observation(), actor="Practitioner/x") == DENY
    assert effect(to("#o") | {"contained": [{"resourceType": "Organization", "id": "o"}]}, observation(), actor="Organization/o") == DENY


def test_names_that_a_bundle_gives():
    urn = "urn:uuid:6b6a4c5e-0000-4c5e-8b6a-4c5e6b6a4c5e"
    resource = observation(encounter={"reference": urn})
    given = consent(provision("permit", data("dependents", "Encounter/e1")))
    assert effect(given, resource) == SILENT
    assert effect(given, resource, aliases={urn: "Encounter/e1"}) == PERMIT
    assert effect(to(urn), observation(), actor="Organization/o", aliases={urn: "Organization/o"}) == PERMIT
    versioned = observation(encounter={"reference": "Encounter/e1/_history/3"})
    assert effect(given, versioned) == PERMIT
    assert effect(consent(provision("permit")) | {"patient": {"reference": urn}}, observation(), aliases={urn: "Patient/p1"}) == PERMIT


def test_related_as_r4_means_it_is_what_the_named_resource_refers_to():
    report = {"resourceType": "DiagnosticReport", "id": "r", "result": [{"reference": "Observation/o1"}]}
    permit, deny = (consent(provision(kind, data("related", "DiagnosticReport/r"))) for kind in (PERMIT, DENY))
    assert effect(permit, observation("o1"), related=[report]) == PERMIT
    assert effect(permit, observation("o2"), related=[report]) == SILENT
    assert effect(deny, observation("o1"), related=[report]) == DENY
    assert effect(deny, observation("o2"), related=[report]) == SILENT
    # What it refers to can't be told: a denial may mean any resource, a permit surely means the named one alone.
    assert effect(permit, observation("o1")) == SILENT
    assert effect(deny, observation("o2")) == DENY


def test_related_to_an_encounter_in_an_untyped_consent_is_read_as_r4_does():
    encounter = {"resourceType": "Encounter", "id": "e1", "diagnosis": [{"condition": {"reference": "Observation/o1"}}]}
    nested = [provision("deny", data("related", "Encounter/e1"))]
    untyped = consent(provision(None, nested=nested), directive="OPTIN")
    assert effect(untyped, observation("o1"), related=[encounter]) == DENY
    assert effect(untyped, observation("o2", encounter={"reference": "Encounter/e1"}), related=[encounter]) == PERMIT


def test_data_named_by_identifier():
    encounter = {"resourceType": "Encounter", "id": "e1", "identifier": [SYSTEM]}
    given = consent(provision("permit", {"data": [{"meaning": "dependents", "reference": {"identifier": SYSTEM}}]}))
    inside = observation(encounter={"reference": "Encounter/e1"})
    assert effect(given, inside, related=[encounter]) == PERMIT
    assert effect(given, inside) == DENY


def test_authors_by_role_and_by_provenance():
    given = consent(provision("permit", data("authoredby", "Organization/dept")))
    by_role = observation(performer=[{"reference": "PractitionerRole/role"}])
    assert effect(given, by_role, related=PARTS) == PERMIT
    assert effect(given, by_role) == SILENT
    agent = {"type": {"coding": [{"code": "author"}]}, "who": {"reference": "Organization/dept"}}
    provenance = {"resourceType": "Provenance", "id": "v", "target": [{"reference": "Observation/o1"}], "agent": [agent]}
    assert effect(given, observation("o1"), related=[provenance]) == PERMIT
    assert effect(given, observation("o2"), related=[provenance]) == SILENT
    assert effect(given, observation("o1"), related=[provenance | {"agent": [agent | {"type": {"coding": [{"code": "enterer"}]}}]}]) == SILENT
    assert effect(given, observation("o1"), related=[provenance | {"agent": ["x"], "target": "y"}]) == SILENT


def test_organisations_that_are_part_of_each_other_end_somewhere():
    ring = [{"resourceType": "Organization", "id": one, "partOf": {"reference": f"Organization/{other}"}} for one, other in ("ab", "ba")]
    assert effect(to("Organization/b"), observation(), actor="Organization/a", related=ring) == PERMIT
    assert effect(to("Organization/c"), observation(), actor="Organization/a", related=ring) == SILENT


def test_a_resource_without_an_id_can_not_be_named():
    nameless = {"resourceType": "Organization", "identifier": [SYSTEM]}
    given = consent(provision("permit", {"actor": [{"reference": {"identifier": SYSTEM}}]}))
    assert effect(given, observation(), actor="Organization/a", related=[nameless]) == DENY
    # The dangerous side: a refusal of somebody who can't be told must not be taken for a refusal of nobody.
    refusal = consent(provision("permit") | {"provision": [provision("deny", {"actor": [{"reference": {"identifier": SYSTEM}}]})]})
    assert effect(refusal, observation(), actor="Organization/a", related=[nameless]) == DENY
