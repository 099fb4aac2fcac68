"""Consents that name people and roles: enforced where it is known who applied and where people work (PI-3.1, design 6.8, decision 0023)."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from broker import clock
from broker.consent import service
from broker.consent.errors import NotEnforceable
from broker.records import service as records
from broker.release.consents import consented
from tests.factories import consent as factory
from tests.factories import identity
from tests.factories.records import bundle, raw, taken_in

NURSE = "http://terminology.hl7.org/CodeSystem/practitioner-role"


@pytest.fixture
def staff(database, house):
    """Accounts by name: doctors of the hospital outside, of its cardiology, and of ours."""
    with database.transaction() as session:
        identity.organization(session, "shengli-surgery", parent_id="shengli", kind="department", relationship="external")
        places = {"he": "shengli", "gao": "shengli-cardiology", "liu": "shengli-surgery", "wang": "renhe"}
        return {
            name: str(identity.person(session, organization_id=place, natural_person=f"https://staff.example|{name}").id)
            for name, place in places.items()
        }


@pytest.fixture
def said(database, keys, house):
    """What the consents say now for an organisation on somebody's application, as a release and as an application ask; they must agree."""

    def of(recipient, requester=None, held=(), patient="p1"):
        now = clock.now()
        with database.transaction() as session:
            use = service.use_of(session, recipient, "TREAT", now)
            vault = records.open_vault(session, keys, house[patient])
            asker = service.Asker(recipient, None if requester is None else UUID(requester), frozenset(held))
            residuals, settled = service.settle(session, keys, service.in_force(session, vault), use, asker)
            told = service.facts_for(residuals, settled, vault.epoch)
            if not held:
                assert service.consent_facts(session, keys, house[patient], recipient, "TREAT", now, requester=asker.requester).base == told.base
            lineage = [one.removeprefix("Organization/") for one in use.actors]

        async def release(cursor):
            opened = await records.vault(cursor, keys, house[patient])
            found = await service.residuals(cursor, opened)
            at = clock.epoch(now)
            return (await consented(cursor, keys, opened, found, lineage=lineage, purpose="TREAT", at=at, asker=asker)).facts

        assert raw(database, release).base == told.base
        return told.base

    return of


def ingest(database, keys, *resources):
    assert not taken_in(database, keys, bundle(*resources)).refusals


def file(database, keys, *conditions, kind="permit", **more):
    with database.transaction() as session:
        return factory.file(session, keys, factory.consent(factory.provision(kind, *conditions, **more)))


def refused(database, keys, *conditions, kind="permit"):
    with pytest.raises(NotEnforceable) as found:
        file(database, keys, *conditions, kind=kind)
    return [one.code for one in found.value.report.refused]


def practitioner(name="d1", staff="gao"):
    return {"resourceType": "Practitioner", "id": name, "identifier": [{"system": "https://staff.example", "value": staff}]}


def role(name="r1", *, practitioner="Practitioner/d1", organization="shengli-cardiology", code=None, **more):
    made = {"resourceType": "PractitionerRole", "id": name}
    if practitioner:
        made["practitioner"] = {"reference": practitioner}
    if organization:
        made["organization"] = {"reference": f"Organization/{organization}"}
    if code:
        made["code"] = [factory.concept(NURSE, code)]
    return made | more


def codes(filed):
    return [one.code for one in filed.report.findings if one.path.endswith("actor[0].reference")]


def test_a_permit_of_a_person_speaks_where_that_person_applied_for_where_they_work(database, keys, staff, said):
    filed = file(database, keys, factory.actors(f"Practitioner/{staff['gao']}"))
    assert codes(filed) == ["person-at-use"]
    assert said("shengli-cardiology", staff["gao"]) == "permit"
    assert said("shengli-cardiology", staff["he"]) == "silent"
    assert said("shengli-cardiology") == "silent"
    assert said("shengli", staff["gao"]) == "silent"  # The whole hospital is more than where they work.
    assert said("renhe", staff["gao"]) == "silent"


def test_a_denial_of_a_person_speaks_wherever_they_could_come_to_see_the_data(database, keys, staff, said):
    file(database, keys, kind="permit")
    file(database, keys, factory.actors(f"Practitioner/{staff['gao']}"), kind="deny")
    assert said("shengli-cardiology", staff["he"]) == "deny"  # A colleague of the same department asks.
    assert said("shengli", staff["he"]) == "deny"  # The hospital's system is open to its departments.
    assert said("shengli-surgery", staff["liu"]) == "permit"
    assert said("renhe", staff["wang"]) == "permit"
    assert said("renhe", staff["gao"]) == "deny"  # Whoever is denied asks, for whomever.


def test_somebody_who_moves_takes_the_denial_along(database, keys, staff, said):
    file(database, keys, kind="permit")
    file(database, keys, factory.actors(f"Practitioner/{staff['gao']}"), kind="deny")
    assert said("renhe", staff["wang"]) == "permit"
    with database.transaction() as session:
        identity.person(session, organization_id="renhe", natural_person="https://staff.example|gao")  # A second account of the same person.
    assert said("renhe", staff["wang"]) == "deny"


def test_a_stored_practitioner_is_known_by_an_identifier(database, keys, staff, said):
    ingest(database, keys, practitioner())
    file(database, keys, factory.actors("Practitioner/d1"))
    assert said("shengli-cardiology", staff["gao"]) == "permit"
    assert said("shengli-cardiology", staff["he"]) == "silent"
    ingest(database, keys, practitioner(staff="somebody else"))
    assert said("shengli-cardiology", staff["gao"]) == "deny"  # Nobody can tell who it is any more (rule 8).


def test_a_person_named_by_identifier_alone(database, keys, staff, said):
    who = {
        "actor": [
            {"role": factory.actors("x/1")["actor"][0]["role"], "reference": {"identifier": {"system": "https://staff.example", "value": "gao"}}}
        ]
    }
    file(database, keys, who)
    assert said("shengli-cardiology", staff["gao"]) == "permit"
    assert said("shengli-cardiology", staff["he"]) == "silent"


def test_a_role_is_a_person_in_an_organisation(database, keys, staff, said):
    ingest(database, keys, practitioner(), role())
    file(database, keys, factory.actors("PractitionerRole/r1"))
    assert said("shengli-cardiology", staff["gao"]) == "permit"
    assert said("shengli-cardiology", staff["he"]) == "silent"
    over = {"start": "2020-01-01", "end": (clock.now() - timedelta(days=1)).date().isoformat()}
    ingest(database, keys, role(period=over))
    assert said("shengli-cardiology", staff["gao"]) == "silent"
    ingest(database, keys, role(active=False))
    assert said("shengli-cardiology", staff["gao"]) == "silent"


def test_a_denial_of_a_role_outlives_the_role(database, keys, staff, said):
    ingest(database, keys, practitioner(staff="liu"), role())
    file(database, keys, kind="permit")
    file(database, keys, factory.actors("PractitionerRole/r1"), kind="deny")
    ingest(database, keys, role(active=False))
    assert said("shengli-cardiology", staff["gao"]) == "deny"  # Where the role was.
    assert said("shengli-surgery", staff["he"]) == "deny"  # Where the person is.
    assert said("renhe", staff["wang"]) == "permit"


def test_a_role_by_its_code_permits_whoever_has_it(database, keys, staff, said):
    ingest(database, keys, role(practitioner=None, code="nurse"), role("r2", practitioner=None, organization=None, code="nurse"))
    file(database, keys, factory.actors("PractitionerRole/r1"))
    assert said("shengli-cardiology", staff["gao"], {"licence.nursing"}) == "permit"
    assert said("shengli-cardiology", staff["gao"], {"licence.practice"}) == "silent"
    assert said("shengli-surgery", staff["liu"], {"licence.nursing"}) == "silent"
    assert refused(database, keys, factory.actors("PractitionerRole/r2"), kind="deny") == ["not-deniable"]
    file(database, keys, factory.actors("PractitionerRole/r1"), kind="deny")
    assert said("shengli-cardiology", staff["gao"], {"licence.practice"}) == "deny"
    assert said("shengli-surgery", staff["liu"], {"licence.nursing"}) == "silent"


def test_people_of_a_team_count_as_long_as_they_are_members(database, keys, staff, said):
    team = {"resourceType": "CareTeam", "id": "t1", "status": "active", "subject": {"reference": "Patient/p1"}}
    member = [{"member": {"reference": one}} for one in (f"Practitioner/{staff['gao']}", "Patient/p1")]
    ingest(database, keys, team | {"participant": member})
    file(database, keys, kind="permit")
    file(database, keys, factory.actors("CareTeam/t1"), kind="deny")
    assert said("shengli-cardiology", staff["he"]) == "deny"
    assert said("shengli-surgery", staff["liu"]) == "permit"
    ingest(database, keys, team | {"participant": [*member, {"member": {"reference": "Practitioner/unknown"}}]})
    assert said("shengli-surgery", staff["liu"]) == "deny"  # Of whom not all is known (rule 8).
    ingest(database, keys, team | {"participant": [{"member": {"reference": "Organization/renhe"}}]})
    assert said("shengli-cardiology", staff["gao"]) == "permit"


def test_a_denial_of_a_department_holds_for_the_hospital_whose_system_it_uses(database, keys, staff, said):
    file(database, keys, kind="permit")
    file(database, keys, factory.actors("Organization/shengli-cardiology"), kind="deny")
    assert said("shengli-cardiology") == "deny"
    assert said("shengli") == "deny"
    assert said("shengli-surgery") == "permit"
    assert said("renhe") == "permit"


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("Practitioner/nobody", "actor-unresolved"),
        ("PractitionerRole/nobody", "actor-unresolved"),
        ("Patient/p1", "actor-kind"),
        ("RelatedPerson/x", "actor-kind"),
        ("Device/x", "actor-kind"),
        ("Practitioner/00000000-0000-0000-0000-000000000000", "actor-unresolved"),
    ],
)
def test_who_can_not_be_told_is_refused_with_the_reason(database, keys, house, named, code):
    for kind in ("permit", "deny"):
        assert refused(database, keys, factory.actors(named), kind=kind) == [code]


@pytest.mark.parametrize(
    "stored",
    [
        role(practitioner=None),
        role(practitioner=None, code="nurse", specialty=[factory.concept("http://snomed.info/sct", "394579002")]),
        role(practitioner=None, code="ict"),
        role(organization=None, practitioner="Practitioner/elsewhere"),
        role(organization=None, practitioner=None, code="nurse", modifierExtension=[{"url": "https://example.org/not", "valueBoolean": True}]),
    ],
)
def test_a_role_that_is_narrower_than_is_understood_is_refused(database, keys, house, stored):
    report = taken_in(database, keys, bundle(stored))
    if not report.refusals:  # What the door of the records refuses is not there to be named.
        assert refused(database, keys, factory.actors("PractitionerRole/r1")) == ["actor-unresolved"]


def test_introspection_is_told_for_the_person_who_applied(database, keys, staff):
    file(database, keys, factory.actors(f"Practitioner/{staff['gao']}"))
    with database.transaction() as session:
        of = {name: service.residual_for(session, keys, "p1", "shengli-cardiology", "TREAT", requester=UUID(staff[name])) for name in staff}
    assert of["gao"] == []
    assert of["he"] == of["liu"] == of["wang"] == [{"type": "forbid"}]
