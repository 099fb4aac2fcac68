"""Groups and CareTeams of the records that consents name: who is a member is asked at each use (PI-3.1, design 6.8)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from broker import clock
from broker.consent import service
from broker.consent.errors import NotEnforceable
from broker.records import service as records
from broker.release.consents import consented
from tests.factories import consent as factory
from tests.factories.records import bundle, raw, taken_in


def team(*members, **more):
    return {
        "resourceType": "CareTeam",
        "id": "t1",
        "status": "active",
        "subject": {"reference": "Patient/p1"},
        "participant": [{"member": {"reference": one}} if isinstance(one, str) else one for one in members],
    } | more


def group(*members, name="g1"):
    return {"resourceType": "Group", "id": name, "type": "person", "actual": True, "member": [{"entity": {"reference": one}} for one in members]}


@pytest.fixture
def said(database, keys, house):
    """What the consents say to an organisation now, as a release asks and as an application asks; they must agree."""

    def of(recipient="shengli", patient="p1"):
        with database.transaction() as session:
            asked = service.consent_facts(session, keys, house[patient], recipient, "TREAT", clock.now())
            lineage = [one.removeprefix("Organization/") for one in service.use_of(session, recipient, "TREAT", clock.now()).actors]

        async def release(cursor):
            vault = await records.vault(cursor, keys, house[patient])
            found = await service.residuals(cursor, vault)
            at, asker = clock.epoch(clock.now()), service.Asker(recipient)
            return (await consented(cursor, keys, vault, found, lineage=lineage, purpose="TREAT", at=at, asker=asker)).facts

        assert raw(database, release) == asked
        return asked.base

    return of


def ingest(database, keys, *resources):
    report = taken_in(database, keys, bundle(*resources))
    assert not report.refusals


def file(database, keys, *conditions, kind="permit"):
    with database.transaction() as session:
        return factory.file(session, keys, factory.consent(factory.provision(kind, *conditions)))


def test_members_are_those_at_the_time_of_the_release(database, keys, house, said):
    ingest(database, keys, team("Organization/shengli"))
    filed = file(database, keys, factory.actors("CareTeam/t1"))
    assert [one.code for one in filed.report.findings if one.path.endswith("actor[0].reference")] == ["members-at-use"]
    assert said("shengli") == "permit"
    assert said("shengli-cardiology") == "permit"  # A part of a member.
    assert said("renhe") == "silent"
    ingest(database, keys, team("Organization/renhe"))
    assert said("shengli") == "silent"
    assert said("renhe") == "permit"


def test_a_member_whose_time_is_over_is_none_any_more(database, keys, house, said):
    until = (clock.now() - timedelta(days=1)).date().isoformat()
    ended = {"member": {"reference": "Organization/renhe"}, "period": {"start": "2020-01-01", "end": until}}
    ingest(database, keys, team("Organization/shengli", ended))
    file(database, keys, factory.actors("CareTeam/t1"))
    assert said("shengli") == "permit"
    assert said("renhe") == "silent"


def test_groups_within_groups(database, keys, house, said):
    ingest(database, keys, group("Organization/shengli", name="inner"), group("Group/inner", name="outer"))
    file(database, keys, factory.actors("Group/outer"), kind="deny")
    assert said("shengli") == "deny"
    assert said("renhe") == "silent"


@pytest.mark.parametrize(
    "later",
    [
        team("Organization/shengli", status="inactive"),
        team("Organization/shengli", {"member": {"display": "somebody"}}),
        team("Organization/shengli", "CareTeam/elsewhere"),
    ],
)
def test_a_team_that_can_no_longer_be_told_denies(database, keys, house, said, later):
    """Rule 8, at the time of use."""
    ingest(database, keys, team("Organization/shengli"))
    file(database, keys, factory.actors("CareTeam/t1"))
    assert said("shengli") == "permit"
    ingest(database, keys, later)
    assert said("shengli") == said("renhe") == "deny"


def test_people_among_the_members_of_a_denied_team_deny_all_and_of_a_permitted_one_add_nobody(database, keys, house, said):
    """A release goes to an organisation: that one person of it may not see the data could not be enforced."""
    ingest(database, keys, team("Organization/shengli"))
    file(database, keys, factory.actors("CareTeam/t1"))
    ingest(database, keys, team("Organization/shengli", "Practitioner/x"))
    assert (said("shengli"), said("renhe")) == ("permit", "silent")
    ingest(database, keys, team("Organization/shengli", name="later"))
    file(database, keys, factory.actors("CareTeam/t1"), kind="deny")
    assert (said("shengli"), said("renhe")) == ("deny", "silent")
    ingest(database, keys, team("Organization/shengli", "Practitioner/x", name="later still"))
    assert said("renhe") == "deny"


@pytest.mark.parametrize("named", ["CareTeam/none", "Group/g1", "https://elsewhere.example/fhir/CareTeam/t1"])
def test_a_team_that_is_not_stored_or_names_others_than_organisations_is_refused_at_filing(database, keys, house, named):
    ingest(database, keys, group("Practitioner/x"), team("Organization/shengli"))
    with pytest.raises(NotEnforceable) as refused:
        file(database, keys, factory.actors(named))
    assert [one.code for one in refused.value.report.refused] == ["actor-unresolved"]
