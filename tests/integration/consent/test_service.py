"""Filing, replacing, withdrawing: what is stored, what is recorded, what is in force afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from broker import clock
from broker.consent import service
from broker.consent.errors import KeyReused, NoSuchConsent, NotEnforceable, Superseded, UnknownPatient
from broker.consent.query import read as read_query
from broker.consent.residual import Use, evaluate_base, gate_for
from broker.consent.values import Effect, ResourceFacts
from broker.records import service as records
from tests.factories import consent as factory

SHENGLI = frozenset({"Organization/shengli"})


def use(purpose="TREAT", actors=SHENGLI):
    return Use(actors, purpose, clock.epoch(clock.now()))


def events(session):
    return [
        (row.type, row.patient_key, json.loads(row.leaf))
        for row in session.execute(text("SELECT type, patient_key, leaf FROM audit_event ORDER BY seq"))
    ]


def facts_of_event(leaf):
    return leaf["facts"]


def in_force(session, keys, patient_key):
    return service.in_force(session, records.open_vault(session, keys, patient_key))


def test_a_filed_consent_is_in_force_recorded_and_moves_the_epoch(database, keys, house):
    with database.transaction() as session:
        filed = factory.file(session, keys, factory.sharing(factory.provision("deny", factory.labels("PSY"))))
        assert records.open_vault(session, keys, house["p1"]).epoch == 1
        ((kind, patient_key, leaf),) = events(session)
        residuals = in_force(session, keys, house["p1"])
    assert (kind, patient_key) == ("consent.filed", house["p1"])
    assert leaf["facts"]["consent"] == str(filed.id)
    assert "p1" not in json.dumps(leaf)
    assert evaluate_base(residuals, use()).effect is Effect.PERMIT
    assert gate_for(residuals, use()).denied_labels >= {"PSY"}
    assert evaluate_base(residuals, use(actors=frozenset({"Organization/renhe"}))).effect is Effect.SILENT


def test_nothing_of_a_consent_lies_readable_in_the_database(database, keys, house):
    given = factory.sharing(factory.provision("deny", factory.labels("HIV")), identifier=factory.identifier("K-4711"))
    with database.transaction() as session:
        factory.file(session, keys, given, evidence=b"signed by canary")
        rows = [
            str(bytes(cell) if isinstance(cell, memoryview) else cell)
            for table in ("consent", "consent_version")
            for row in session.execute(text(f"SELECT * FROM {table}"))
            for cell in row
        ]
    stored = " ".join(rows)
    for word in ("HIV", "shengli", "K-4711", "canary", "Patient", "/p1"):
        assert word not in stored


def test_what_cannot_be_enforced_is_refused_with_every_place_and_nothing_is_stored(database, keys, house):
    given = factory.sharing(
        factory.provision("deny", factory.actors("Organization/nobody"), factory.labels("PSY")),
        factory.provision(
            "permit", {"class": [factory.coding("urn:ietf:bcp:13", "application/pdf")]}, modifierExtension=[{"url": "urn:x", "valueBoolean": True}]
        ),
    )
    with pytest.raises(NotEnforceable) as refused, database.transaction() as session:
        factory.file(session, keys, given)
    assert {(problem.path, problem.code) for problem in refused.value.problems} == {
        ("Consent.provision.provision[0].actor[0].reference", "actor-unresolved"),
        ("Consent.provision.provision[1].modifierExtension", "unknown-modifier"),
        ("Consent.provision.provision[1].class[0]", "unknown-code"),
    }
    with database.transaction() as session:
        assert session.execute(text("SELECT count(*) FROM consent")).scalar() == 0
        assert events(session) == []


def test_what_is_not_fhir_is_refused_with_its_place(database, keys, house):
    with pytest.raises(NotEnforceable) as refused, database.transaction() as session:
        factory.file(session, keys, factory.sharing(category="not a list"))
    assert "Consent.category" in {problem.path for problem in refused.value.problems}


@pytest.mark.parametrize(
    "patient",
    [
        {"reference": "Patient/nobody"},
        {"reference": "Practitioner/p1"},
        {"reference": "Patient/p1/_history/1"},
        {"display": "somebody"},
        {"identifier": {"value": "1"}},
    ],
)
def test_an_unknown_patient_is_refused(database, keys, house, patient):
    with pytest.raises(UnknownPatient), database.transaction() as session:
        factory.file(session, keys, factory.sharing(patient=None) | {"patient": patient})


def test_a_patient_may_be_named_by_an_identifier_that_only_they_have(database, keys, house):
    from tests.factories import applications

    with database.transaction() as session:
        patient_key = applications.patient(session, keys, 7)
        applications.patient(session, keys, 8)
        identifier = applications.typed(7)["identifier"]
        filed = factory.file(session, keys, factory.sharing() | {"patient": {"identifier": identifier}})
        assert service.read(session, keys, filed.id).id == filed.id
        assert in_force(session, keys, patient_key)
        with pytest.raises(UnknownPatient):  # The two names must agree.
            factory.file(session, keys, factory.sharing() | {"patient": {"reference": "Patient/p-8", "identifier": identifier}})
        with pytest.raises(UnknownPatient):
            factory.file(session, keys, factory.sharing() | {"patient": {"identifier": {**identifier, "value": "MRN-9999"}}})


def test_a_group_in_the_consent_is_resolved_to_its_members(database, keys, house):
    group = {
        "resourceType": "Group",
        "id": "team",
        "type": "person",
        "actual": True,
        "member": [{"entity": {"reference": "Organization/shengli"}}, {"entity": {"reference": "Organization/renhe"}}],
    }
    with database.transaction() as session:
        factory.file(session, keys, factory.consent(factory.provision("permit", factory.actors("#team")), contained=[group]))
        residuals = in_force(session, keys, house["p1"])
        assert evaluate_base(residuals, use()).effect is Effect.PERMIT
        assert evaluate_base(residuals, use(actors=frozenset({"Organization/other"}))).effect is Effect.SILENT
        for changed in (
            {"member": [{"entity": {"reference": "Practitioner/x"}}]},
            {"member": [{"entity": {"reference": "Organization/renhe"}, "period": {"end": "2030"}}]},
        ):
            with pytest.raises(NotEnforceable):
                factory.file(session, keys, factory.consent(factory.provision("permit", factory.actors("#team")), contained=[group | changed]))
        with pytest.raises(NotEnforceable):
            factory.file(session, keys, factory.consent(factory.provision("permit", factory.actors("Group/elsewhere"))))


def test_a_denial_that_no_label_here_could_find_is_widened_or_refused(database, keys, house):
    with database.transaction() as session:
        factory.file(session, keys, factory.sharing(factory.provision("deny", factory.labels("MH"))))
        gate = gate_for(in_force(session, keys, house["p1"]), use())
        assert gate.denied_labels >= {"MH", "PSY"}
        with pytest.raises(NotEnforceable) as refused:
            factory.file(session, keys, factory.sharing(factory.provision("deny", factory.labels("DIA"))))
        assert {problem.code for problem in refused.value.problems} == {"label-not-assigned"}


def test_withdrawal_makes_it_inactive_keeps_it_and_can_be_repeated(database, keys, house):
    with database.transaction() as session:
        filed = factory.file(session, keys, factory.sharing())
    with database.transaction() as session:
        revoked = service.revoke(session, keys, filed.id, patient={"reference": "Patient/p1"}, actor="person:other", evidence=b"form")
        again = service.revoke(session, keys, filed.id, patient=None, actor="person:other")
    assert (revoked.version, revoked.again, again.version, again.again) == (2, False, 2, True)
    with database.transaction() as session:
        assert in_force(session, keys, house["p1"]) == ()
        assert [kind for kind, _, _ in events(session)] == ["consent.filed", "consent.revoked"]
        assert records.open_vault(session, keys, house["p1"]).epoch == 2
        versions = service.history(session, keys, filed.id)
        assert [(one.version, one.status, one.change) for one in versions] == [(2, "inactive", "revoked"), (1, "active", "filed")]
        assert json.loads(versions[0].body)["status"] == "inactive"
        assert json.loads(service.read(session, keys, filed.id, 1).body)["status"] == "active"


@pytest.mark.parametrize("patient", [{"reference": "Patient/p2"}, {"reference": "Patient/nobody"}, {"display": "?"}])
def test_a_withdrawal_for_another_patient_finds_nothing(database, keys, house, patient):
    with database.transaction() as session:
        filed = factory.file(session, keys, factory.sharing())
        with pytest.raises(NoSuchConsent):
            service.revoke(session, keys, filed.id, patient=patient, actor="person:x")
        with pytest.raises(NoSuchConsent):
            service.revoke(session, keys, uuid4(), patient=None, actor="person:x")
        assert in_force(session, keys, house["p1"])


def test_a_newer_consent_of_the_same_identifier_takes_the_older_ones_place(database, keys, house):
    with database.transaction() as session:
        first = factory.file(session, keys, factory.sharing(identifier=factory.identifier()))
        second = factory.file(session, keys, factory.consent(factory.provision("deny"), identifier=factory.identifier(), dateTime="2026-02-01"))
        assert second.replaced == (first.id,)
        assert [one.consent for one in in_force(session, keys, house["p1"])] == [str(second.id)]
        assert service.history(session, keys, first.id)[0].change == "replaced"
        assert [kind for kind, _, _ in events(session)] == ["consent.filed", "consent.replaced", "consent.filed"]
        assert evaluate_base(in_force(session, keys, house["p1"]), use()).refused


def test_a_consent_that_names_another_takes_its_place(database, keys, house):
    with database.transaction() as session:
        first = factory.file(session, keys, factory.sharing(identifier=factory.identifier("a")))
        other = factory.file(session, keys, factory.sharing())
        second = factory.file(session, keys, factory.sharing(sourceReference={"reference": f"Consent/{first.id}"}))
        assert second.replaced == (first.id,)
        extension = [{"url": "http://example.org/fhir/StructureDefinition/supersedes", "valueReference": {"identifier": factory.identifier("b")[0]}}]
        third = factory.file(session, keys, factory.sharing(identifier=factory.identifier("b")))
        fourth = factory.file(session, keys, factory.sharing(extension=extension))
        assert fourth.replaced == (third.id,)
        assert {one.consent for one in in_force(session, keys, house["p1"])} == {str(one.id) for one in (other, second, fourth)}


def test_without_the_same_identifier_both_stay_and_a_denial_overrides(database, keys, house):
    with database.transaction() as session:
        factory.file(session, keys, factory.consent(factory.provision("deny", factory.purposes("HRESCH")), dateTime="2025-01-01"))
        factory.file(session, keys, factory.consent(factory.provision("permit"), dateTime="2026-01-01"))
        residuals = in_force(session, keys, house["p1"])
        assert evaluate_base(residuals, use("CLINTRCH")).refused
        assert evaluate_base(residuals, use("TREAT")).effect is Effect.PERMIT


def test_another_patients_consent_is_never_replaced(database, keys, house):
    with database.transaction() as session:
        first = factory.file(session, keys, factory.sharing(identifier=factory.identifier()))
        second = factory.file(
            session,
            keys,
            factory.sharing(
                patient="p2", identifier=factory.identifier(), dateTime="2026-03-01", sourceReference={"reference": f"Consent/{first.id}"}
            ),
        )
        assert second.replaced == ()
        assert len(in_force(session, keys, house["p1"])) == 1


@pytest.mark.parametrize("given", ["2025-12-31", "2025"])
def test_an_older_copy_does_not_replace_a_newer_consent(database, keys, house, given):
    with database.transaction() as session:
        factory.file(session, keys, factory.sharing(identifier=factory.identifier(), dateTime="2026-01-02"))
        with pytest.raises(Superseded):
            factory.file(session, keys, factory.sharing(identifier=factory.identifier(), dateTime=given))


def test_a_copy_from_before_the_withdrawal_does_not_come_back(database, keys, house, set_clock):
    set_clock(datetime(2026, 5, 1, 12, tzinfo=UTC))
    given = factory.sharing(identifier=factory.identifier(), dateTime="2026-04-01")
    with database.transaction() as session:
        filed = factory.file(session, keys, given)
        service.revoke(session, keys, filed.id, patient=None, actor="person:x")
    set_clock(timedelta(days=1))
    for again in (given, {key: value for key, value in given.items() if key != "dateTime"}):
        with pytest.raises(Superseded), database.transaction() as session:
            factory.file(session, keys, again)
    with database.transaction() as session:
        assert not factory.file(session, keys, given | {"dateTime": "2026-05-02"}).replaced
        assert len(in_force(session, keys, house["p1"])) == 1


def test_a_repeated_request_is_the_same_one(database, keys, house):
    given = factory.sharing()
    with database.transaction() as session:
        first = factory.file(session, keys, given, request_key="k1")
        again = factory.file(session, keys, given, request_key="k1")
        assert (again.id, again.again) == (first.id, True)
        assert factory.file(session, keys, given, request_key="k1", actor="person:somebody-else").id != first.id
        with pytest.raises(KeyReused):
            factory.file(session, keys, given | {"dateTime": "2026-02-03"}, request_key="k1")
        with pytest.raises(KeyReused):
            factory.file(session, keys, factory.sharing(patient="p2"), request_key="k1")
        assert len(in_force(session, keys, house["p1"])) == 2


def test_a_consent_is_given_back_as_it_was_given(database, keys, house):
    raw = b'{"resourceType":"Consent","extension":[{"url":"urn:x","valueDecimal":13.20}],"meta":{"profile":["urn:p"]},"id":"mine","decision":"permit","status":"active","category":[{"text":"x"}],"subject":{"reference":"Patient/p1"},"provision":[{"resourceType":[{"system":"http://hl7.org/fhir/fhir-types","code":"Observation"}]}]}'
    with database.transaction() as session:
        filed = service.file(session, keys, json.loads(raw), raw=raw, actor="person:x", zone=UTC)
        shown = service.read(session, keys, filed.id)
    read = json.loads(shown.body)
    assert read["id"] == str(filed.id)
    assert read["meta"]["profile"] == ["urn:p"]
    assert read["meta"]["versionId"] == "1"
    assert b"13.20" in shown.body
    assert {**read, "id": "mine", "meta": {"profile": ["urn:p"]}} == json.loads(raw)
    assert str(filed.report.detected) == "r5-decision, alternating nesting"


def query(**values):
    found = read_query([(name.replace("__", "."), value) for name, value in values.items()])
    assert hasattr(found, "values"), found
    return found


def test_search(database, keys, house):
    with database.transaction() as session:
        manager = {
            "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Consent.manager",
            "valueReference": {"reference": "Organization/renhe", "identifier": {"system": "urn:o", "value": "r"}},
        }
        first = factory.file(session, keys, factory.sharing(identifier=factory.identifier(), extension=[manager])).id
        second = factory.file(
            session,
            keys,
            factory.consent(factory.provision("deny", factory.purposes("HRESCH")), dateTime="2026-06-01", performer=[{"reference": "Patient/p1"}]),
        ).id
        gone = factory.file(session, keys, factory.sharing()).id
        service.revoke(session, keys, gone, patient=None, actor="person:x")
        other = factory.file(session, keys, factory.sharing(patient="p2")).id

        def found(**values):
            return {one.id for one in service.search(session, keys, query(**values)).consents}

        assert found(patient="p1") == found(patient="Patient/p1") == {first, second, gone}
        assert found(patient="p2") == {other}
        assert found(patient="nobody") == set()
        assert found(patient="p1", status="active") == {first, second}
        assert found(patient="p1", status="inactive") == {gone}
        assert found(patient="p1", status="active,inactive") == {first, second, gone}
        assert found(patient="p1", date="ge2026-05") == {second}
        assert found(patient="p1", date="2026-01-02") == {first, gone}
        assert found(patient="p1", scope="patient-privacy", category="http://loinc.org|59284-0") == {first, second, gone}
        assert found(patient="p1", scope="research") == set()
        assert found(patient="p1", actor="Organization/shengli") == {first, gone}
        assert found(patient="p1", manager="Organization/renhe") == {first}
        assert found(patient="p1", controller="Organization/renhe") == set()
        assert found(patient="p1", organizationId="urn:o|r") == {first}
        assert found(_id=str(first)) == {first}
        assert found(_id=f"{first},{other},nonsense") == {first, other}
        assert found(identifier="https://hospital.example/fhir/sid/consent|one") == {first}
        assert found(identifier="one") == set()
        assert found(patient="p1", _id=str(other)) == set()
        page = service.search(session, keys, query(patient="p1", _count="2", _offset="2"))
        assert (len(page.consents), page.total) == (1, 3)
        assert service.search(session, keys, query(patient="p1")).consents[0].id == gone


def test_the_web_role_cannot_change_or_delete_what_was_said(database, keys, house):
    with database.transaction() as session:
        factory.file(session, keys, factory.sharing())
    for statement in ("UPDATE consent_version SET status = 'active'", "DELETE FROM consent_version", "DELETE FROM consent"):
        with pytest.raises(ProgrammingError, match="permission denied"), database.transaction() as session:
            session.execute(text(statement))


def test_a_stored_rule_that_was_tampered_with_denies(database, keys, house):
    with database.transaction() as session:
        factory.file(session, keys, factory.sharing())
        session.execute(text("UPDATE consent SET residual = set_byte(residual, 40, get_byte(residual, 40) # 1)"))
        residuals = in_force(session, keys, house["p1"])
    base = evaluate_base(residuals, use())
    assert (base.effect, base.unenforceable) == (Effect.DENY, True)
    assert not gate_for(residuals, use()).allows(ResourceFacts("Observation", "x", ("N",)), consent_required=False)


def test_what_policy_is_told_counts_the_departments_hospital(database, keys, house):
    with database.transaction() as session:
        filed = factory.file(session, keys, factory.sharing(organization="shengli"))
        told = service.consent_facts(session, keys, house["p1"], "shengli-cardiology", "COC", clock.now())
        assert (told.base, told.refused, told.unenforceable, told.epoch, told.consents) == ("permit", False, False, 1, (str(filed.id),))
        assert service.consent_facts(session, keys, house["p1"], "renhe", "TREAT", clock.now()).base == "silent"
        assert service.consent_facts(session, keys, house["p2"], "shengli", "TREAT", clock.now()).base == "silent"


def test_an_ended_consent_is_not_even_read(database, keys, house, set_clock):
    set_clock(datetime(2026, 5, 1, tzinfo=UTC))
    with database.transaction() as session:
        factory.file(session, keys, factory.consent(factory.provision("permit", period={"start": "2026-04-01", "end": "2026-05-31"})))
        assert evaluate_base(in_force(session, keys, house["p1"]), use()).effect is Effect.PERMIT
        told = service.consent_facts(session, keys, house["p1"], "renhe", "TREAT", clock.now())
        assert told.valid_until == int(datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC).timestamp())
        set_clock(datetime(2026, 6, 1, tzinfo=UTC))
        assert in_force(session, keys, house["p1"]) == ()


def test_a_consent_ends_with_its_day_where_the_hospital_is(database, keys, house, set_clock):
    """In Shanghai the last day of May ends eight hours before UTC's: not a second of a permit is left then (TM-5.2)."""
    last = datetime(2026, 5, 31, 15, 59, 59, tzinfo=UTC)
    set_clock(last - timedelta(days=20))
    with database.transaction() as session:
        given = factory.consent(factory.provision("permit", period={"start": "2026-05-11", "end": "2026-05-31"}))
        filed = factory.file(session, keys, given, zone=ZoneInfo("Asia/Shanghai"))
        told = service.consent_facts(session, keys, house["p1"], "renhe", "TREAT", clock.now())
        assert told.valid_until == int(last.timestamp())
        set_clock(last)
        assert evaluate_base(in_force(session, keys, house["p1"]), use()).effect is Effect.PERMIT
        set_clock(last + timedelta(seconds=1))
        assert in_force(session, keys, house["p1"]) == ()
        # What was sent is kept as it was sent.
        assert json.loads(service.read(session, keys, filed.id).body)["provision"]["period"] == {"start": "2026-05-11", "end": "2026-05-31"}


def test_one_query_by_primary_key_reads_what_is_in_force(database, keys, house):
    with database.transaction() as session:
        for name in range(30):
            factory.file(session, keys, factory.sharing(patient=["p1", "p2"][name % 2]))
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(row[0] for row in session.connection().exec_driver_sql("EXPLAIN " + service.RESIDUALS_SQL, (house["p1"], clock.now())))
    assert "pk_consent" in plan


def test_a_release_reads_the_same_on_its_raw_connection(database, keys, house):
    import asyncio

    async def read():
        async with database.release_connection() as connection:
            cursor = connection.cursor()
            vault = await records.vault(cursor, keys, house["p1"])
            found = await service.residuals(cursor, vault)
        await database.close()
        return found

    with database.transaction() as session:
        filed = factory.file(session, keys, factory.sharing())
        expected = in_force(session, keys, house["p1"])
    assert asyncio.run(read()) == expected
    assert UUID(expected[0].consent) == filed.id


def test_a_consent_of_r5_is_filed_enforced_and_kept_as_given(database, keys, house):
    """PI-3.1: ``decision`` and a list of provisions; what comes back is what was given, with the registry's id, version and status."""
    given = factory.r5("permit", factory.labels("PSY"), factory.actors("Organization/renhe"), controller=[{"reference": "Organization/shengli"}])
    with database.transaction() as session:
        filed = factory.file(session, keys, given)
        assert filed.report.detected.dialect.value == "r5-decision"
        shown = json.loads(service.read(session, keys, filed.id).body)
        residuals = in_force(session, keys, house["p1"])
    assert {name: value for name, value in shown.items() if name not in ("id", "meta")} == given
    assert evaluate_base(residuals, use()).effect is Effect.PERMIT
    assert evaluate_base(residuals, use(actors=frozenset({"Organization/renhe"}))).effect is Effect.DENY  # The opposite of its decision.
    assert gate_for(residuals, use()).verdict(ResourceFacts("Condition", "c", ("R", "PSY"))).effect is Effect.DENY


def test_what_is_left_to_enforce_is_that_of_the_consents_in_force(database, keys, house):
    """``ihe_pcf.residual``, by the registry: by recipient and purpose, and nothing for whom it does not know."""
    with database.transaction() as session:
        filed = factory.file(session, keys, factory.sharing(factory.provision("deny", factory.labels("HIV"))))
        (rule,) = service.residual_for(session, keys, "p1", "shengli-cardiology", "TREAT")
        assert (rule["type"], rule["securityLabel"][0]["code"]) == ("forbid", "HIV")
        for patient, recipient, purpose in (
            ("p1", "renhe", "TREAT"),
            ("p1", "shengli", "HRESCH"),
            ("nobody", "shengli", "TREAT"),
            ("p1", "nobody", "TREAT"),
        ):
            assert service.residual_for(session, keys, patient, recipient, purpose) == [{"type": "forbid"}]
        service.revoke(session, keys, filed.id, patient=None, actor="person:test")
        assert service.residual_for(session, keys, "p1", "shengli", "TREAT") == [{"type": "forbid"}]
