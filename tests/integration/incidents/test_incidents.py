"""From a report to a closed case: who may do what, what is frozen and by whom it is let go, whom the log says it concerns (PI-7, QA-4.3)."""

from datetime import timedelta

import psycopg
import pytest
from sqlmodel import select

from broker import clock
from broker.applications import service as applications
from broker.audit import service as audit
from broker.audit.events import Event
from broker.audit.models import AuditEvent
from broker.errors import Forbidden
from broker.identity import service as identity
from broker.identity.errors import NotYourself
from broker.identity.models import Client, Token
from broker.incidents import service
from broker.incidents.errors import DutiesOpen, IncidentMoveNotAllowed, IncidentTextRequired, NoSuchIncident, TargetUnknown, TwoPeople
from broker.incidents.models import Containment, IncidentPatient
from broker.incidents.service import Kind, Scope, Severity, Target, TargetKind
from broker.records import service as records
from tests.factories import applications as make
from tests.factories import identity as who

WHY = "密钥疑似失窃 CANARY-words"


@pytest.fixture
def manager(database, people):
    with database.transaction() as session:
        return identity.caller_for(session, people.manager)


@pytest.fixture
def second(database, people):
    with database.transaction() as session:
        return identity.caller_for(session, people.second_manager)


def released(session, grant, patient_key, types=("Observation",), *, outcome="sent", client="c-1"):
    """What the log holds after a release."""
    from uuid import uuid4

    name = uuid4()
    common = {"application": grant.number, "grant": str(grant.id), "recipient": grant.recipient_id, "purpose": "TREAT", "release": name}
    audit.record(
        session, Event("release.permitted", f"client:{client}", patient=patient_key, subject="0" * 64, facts={"types": list(types)}, **common)
    )
    if outcome:
        audit.record(session, Event(f"release.{outcome}", f"client:{client}", patient=patient_key, subject="0" * 64, facts={"items": 1}, **common))
    return name


def test_anybody_reports_and_sees_their_own_and_only_the_manager_handles(database, keys, people, manager):
    with database.transaction() as session:
        stranger = identity.caller_for(session, people.stranger)
        other = identity.caller_for(session, people.applicant)
        auditor = identity.caller_for(session, people.auditor)
        row = service.report(session, keys, stranger.actor, kind=Kind.LOSS, summary=WHY)
        assert service.look(session, stranger, row.number).number == row.number
        with pytest.raises(NoSuchIncident):
            service.look(session, other, row.number)
        assert service.many(session, other) == []
        assert [one.number for one in service.many(session, auditor)] == [row.number]
        for caller in (stranger, other, auditor):
            with pytest.raises(Forbidden):
                service.investigate(session, keys, caller, row.number)
            with pytest.raises(Forbidden):
                service.contain(session, keys, caller, [Target(TargetKind.ORGANIZATION, "shengli")], reason=WHY)
        with pytest.raises(IncidentMoveNotAllowed):
            service.investigate(session, keys, manager, row.number)


def test_words_are_sealed_and_no_patient_is_in_the_log(own):
    with own.database.transaction() as session:
        manager = identity.caller_for(session, own.people.manager)
        grant = make.approved(session, own.means, own.people)
        released(session, grant, own.patients[1])
        row, _ = service.contain(session, own.keys, manager, [Target(TargetKind.PATIENT, "p-1")], reason=WHY)
        service.assess(session, own.keys, manager, row.number, severity=Severity.LOW, sensitive=False, text="CANARY-assessed")
        assert service.opened(own.keys, row, "summary", row.summary_sealed) == WHY
    with psycopg.connect(own.url) as owner:
        tables = ("incident", "incident_step", "incident_containment", "incident_notice")
        everything = "".join(str(owner.execute(f"SELECT t::text FROM {table} t").fetchall()) for table in tables)
        leaves = str(owner.execute("SELECT leaf FROM audit_event").fetchall())
    for text in (everything, leaves):
        assert "CANARY" not in text
        assert b"CANARY".hex() not in text
        assert "p-1" not in text
    assert own.patients[1].hex not in leaves


def test_each_kind_is_frozen_and_let_go_by_two(database, means, keys, people, patients, manager, second):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        client, _ = who.client_with_key(session, organization_id=make.RECIPIENT, id="shengli-his")
        now = clock.now()
        session.add(Token(jti="j-1", client_id=client.id, grant_id=grant.id, scope="x", issued_at=now, expires_at=now + timedelta(minutes=5)))
        session.flush()
        targets = [
            Target(TargetKind.CLIENT, "shengli-his"), Target(TargetKind.ORGANIZATION, "shengli"), Target(TargetKind.GRANT, grant.number),
            Target(TargetKind.TOKEN, "j-1"), Target(TargetKind.PATIENT, "p-1"), Target(TargetKind.PERSON, str(people.applicant)),
        ]  # fmt: skip

        def frozen():
            session.expire_all()
            return (
                session.get(Client, "shengli-his").status == "suspended",
                identity.organization(session, "shengli").status == "suspended",
                applications.state_now(applications.of_application(session, applications.find(session, grant.number))).value == "suspended",
                session.get(Token, "j-1").revoked_at is not None,
                records.is_frozen(session, patients[1]),
                identity.person(session, people.applicant).status == "suspended",
            )

        assert frozen() == (False,) * 6
        row, contained = service.contain(session, keys, manager, targets, reason=WHY)
        assert frozen() == (True,) * 6
        assert all(one.changed for one in contained)
        assert identity.caller_for(session, people.applicant) is None
        with pytest.raises(TwoPeople):
            service.lift(session, keys, second, row.number, reason=WHY)  # Nobody asked.
        service.ask_to_lift(session, keys, manager, row.number, reason=WHY)
        with pytest.raises(TwoPeople):
            service.lift(session, keys, manager, row.number, reason=WHY)
        assert frozen() == (True,) * 6
        service.lift(session, keys, second, row.number, reason=WHY)
        assert frozen() == (False, False, False, True, False, False)  # A revoked token stays so.
        kinds = [event.type for event in session.exec(select(AuditEvent).where(AuditEvent.type.startswith("incident."))).all()]
        assert kinds == ["incident.reported", "incident.contained", "incident.lift-asked", "incident.lifted"]


def test_two_accounts_of_one_human_being_are_not_two_people(database, keys, people, manager):
    with database.transaction() as session:
        row, _ = service.contain(session, keys, manager, [Target(TargetKind.ORGANIZATION, "qingyuan")], reason=WHY)
        service.ask_to_lift(session, keys, manager, row.number, reason=WHY)
        again = who.person(session, "information_manager", organization_id="renhe-information", natural_person=manager.natural_person)
        with pytest.raises(TwoPeople):
            service.lift(session, keys, identity.caller_for(session, again.id), row.number, reason=WHY)


def test_what_another_incident_holds_stays_frozen_and_what_was_suspended_before_stays_suspended(database, keys, people, manager, second):
    target = [Target(TargetKind.ORGANIZATION, "shengli")]
    with database.transaction() as session:
        one, _ = service.contain(session, keys, manager, target, reason=WHY)
        other, _ = service.contain(session, keys, manager, target, reason=WHY)
        service.ask_to_lift(session, keys, manager, one.number, reason=WHY)
        service.lift(session, keys, second, one.number, reason=WHY)
        assert identity.organization(session, "shengli").status == "suspended"
        service.ask_to_lift(session, keys, manager, other.number, reason=WHY)
        service.lift(session, keys, second, other.number, reason=WHY)
        assert identity.organization(session, "shengli").status == "active"
        identity.change_organization(session, manager.actor, "shengli", status="suspended")
        third, _ = service.contain(session, keys, manager, target, reason=WHY)
        service.ask_to_lift(session, keys, manager, third.number, reason=WHY)
        service.lift(session, keys, second, third.number, reason=WHY)
        assert identity.organization(session, "shengli").status == "suspended"


def test_a_drill_touches_nothing_and_is_counted_apart(database, keys, people, manager):
    since = clock.now()
    with database.transaction() as session:
        row, contained = service.contain(session, keys, manager, [Target(TargetKind.ORGANIZATION, "shengli")], reason=WHY, drill=True)
        assert row.drill
        assert not contained[0].changed
        assert identity.organization(session, "shengli").status == "active"
        figures = service.figures(session, since, clock.now() + timedelta(seconds=1))["incidents"]
        assert (figures["reported"], figures["drills"]) == (0, 1)


def test_an_unknown_target_freezes_nothing(own):
    with own.database.transaction() as session:
        manager = identity.caller_for(session, own.people.manager)
    targets = [Target(TargetKind.ORGANIZATION, "shengli"), Target(TargetKind.CLIENT, "nobody")]
    with pytest.raises(TargetUnknown), own.database.transaction() as session:
        service.contain(session, own.keys, manager, targets, reason=WHY)
    with own.database.transaction() as session:
        assert identity.organization(session, "shengli").status == "active"
        assert session.exec(select(Containment)).all() == []
    for unknown in (
        Target(TargetKind.PATIENT, "never"),
        Target(TargetKind.GRANT, "SA-2020-000001"),
        Target(TargetKind.PERSON, "x"),
        Target(TargetKind.TOKEN, "x"),
    ):
        with pytest.raises(TargetUnknown), own.database.transaction() as session:
            service.contain(session, own.keys, manager, [unknown], reason=WHY)


def test_nobody_shuts_themselves_out(database, keys, people, manager):
    with database.transaction() as session, pytest.raises(NotYourself):
        service.contain(session, keys, manager, [Target(TargetKind.ORGANIZATION, "renhe")], reason=WHY)


def test_whom_it_concerns_is_computed_from_the_log_and_makes_it_as_grave_as_it_is(database, means, keys, people, patients, manager):
    with database.transaction() as session:
        grant = make.approved(session, means, people, 1, 2, 3)
        released(session, grant, patients[1], ("Observation", "Patient"))
        released(session, grant, patients[1])
        released(session, grant, patients[2], outcome=None)  # An intent without an outcome counts as disclosed.
        released(session, grant, patients[3], outcome="failed")
        row = service.report(session, keys, manager.actor, kind=Kind.KEY_STOLEN, summary=WHY)
        service.assess(session, keys, manager, row.number, severity=Severity.LOW, sensitive=True, scope=Scope(clients=("c-1",)))
        assert (row.patients, row.releases, row.data_types, row.severity) == (2, 3, ["Observation", "Patient"], "high")
        affected = session.exec(select(IncidentPatient.patient_key).where(IncidentPatient.incident_id == row.id)).all()
        assert set(affected) == {patients[1], patients[2]}
        told = [(one.audience, one.organization_id) for one in service.notices(session, row)]
        assert sorted(told, key=str) == sorted([("authority", None), ("patients", None), ("partner", make.RECIPIENT)], key=str)
        for scope in (
            Scope(),
            Scope(clients=("c-2",)),
            Scope(clients=("c-1",), until=clock.now() - timedelta(days=1)),
            Scope(organizations=("qingyuan",)),
        ):
            assert service.affected(session, scope).patients == ()
        for scope in (Scope(organizations=("shengli",)), Scope(applications=(grant.number,))):
            assert set(service.affected(session, scope).patients) == {patients[1], patients[2]}


def test_a_case_is_closed_with_cause_and_measures_after_everybody_was_told(database, means, keys, people, patients, manager, set_clock):
    with database.transaction() as session:
        released(session, make.approved(session, means, people), patients[1])
        row = service.report(session, keys, manager.actor, kind=Kind.KEY_STOLEN, summary=WHY)
        service.assess(session, keys, manager, row.number, severity=Severity.HIGH, sensitive=False, scope=Scope(clients=("c-1",)))
        service.investigate(session, keys, manager, row.number)
        with pytest.raises(DutiesOpen):
            service.close(session, keys, manager, row.number, cause="a", measures="b")
        set_clock(timedelta(hours=5))
        for one in service.notices(session, row):
            with pytest.raises(IncidentTextRequired):
                service.done(session, keys, manager, row.number, one.id, how="letter", text=" ")
            service.done(session, keys, manager, row.number, one.id, how="letter", text="CANARY", waived=one.audience == "patients")
        with pytest.raises(IncidentTextRequired):
            service.close(session, keys, manager, row.number, cause=" ", measures="b")
        service.close(session, keys, manager, row.number, cause="弱口令", measures="更换密钥")
        assert service.opened(keys, row, "cause", row.cause_sealed) == "弱口令"
        figures = service.figures(session, clock.now() - timedelta(days=1), clock.now() + timedelta(days=3))["incidents"]
        assert (figures["closed"], figures["notices_late"], figures["by_kind"]) == (1, 1, {"key-stolen": 1})
        service.reopen(session, keys, manager, row.number, text="again")
        assert row.closed_at is None


def test_a_release_that_failed_its_check_opens_one_incident(own):
    with own.database.transaction() as session:
        grant = make.approved(session, own.means, own.people)
        for reason in ("release.check-failed", "resource.withheld-or-unknown"):
            common = {"application": grant.number, "grant": str(grant.id), "recipient": grant.recipient_id, "release": own.patients[1]}
            audit.record(session, Event("release.failed", "client:c-1", facts={"reason": reason}, **common))
        assert service.watch(session, own.keys) == 0, "only what is committed has happened"
    with own.database.transaction() as session:
        assert service.watch(session, own.keys) == 1
    with own.database.transaction() as session:
        assert service.watch(session, own.keys) == 0
        auditor = identity.caller_for(session, own.people.auditor)
        assert [(one.kind, one.reported_by) for one in service.many(session, auditor)] == [("check-failed", "system")]


def test_adverse_events_risks_and_corrective_actions(database, keys, people, patients, manager):
    with database.transaction() as session:
        stranger = identity.caller_for(session, people.stranger)
        auditor = identity.caller_for(session, people.auditor)
        told = {"patient": "p-1", "category": "medication-mishap", "seriousness": "Serious", "occurred_at": clock.now(), "told": "CANARY 用药错误"}
        row = service.report_adverse_event(session, keys, stranger, **told)
        with pytest.raises(Forbidden):
            service.analyse_adverse_event(session, keys, auditor, row.id, root_cause="x")
        service.analyse_adverse_event(session, keys, manager, row.id, root_cause="交接不清")
        document = service.as_fhir(session, keys, service.adverse_events(session, auditor)[0])
        assert document["subject"] == {"reference": "Patient/p-1"}
        assert "交接不清" in document["event"]["text"]
        from fhir.resources.R4B.adverseevent import AdverseEvent

        AdverseEvent.model_validate(document)
        risk = {
            "title": "密钥",
            "treatment": "轮换",
            "likelihood": 3,
            "impact": 5,
            "owner": people.manager,
            "review_on": clock.today(),
            "status": "open",
        }
        first = service.put_risk(session, manager, risk_id=None, **risk)
        service.put_risk(session, manager, risk_id=None, **{**risk, "impact": 1})
        assert service.risks(session, auditor)[0].id == first.id
        with pytest.raises(Forbidden):
            service.put_risk(session, stranger, risk_id=None, **risk)
        due = clock.today() - timedelta(days=1)
        action = service.open_action(
            session, manager, source="incident", source_ref="IN-2026-000001", changes="training", title="培训", owner=people.applicant, due_on=due
        )
        owner = identity.caller_for(session, people.applicant)
        assert [one.id for one in service.actions(session, owner)] == [action.id]
        assert service.actions(session, stranger) == []
        with pytest.raises(Forbidden):
            service.finish_action(session, stranger, action.id, evidence="x")
        figures = service.figures(session, clock.now() - timedelta(days=1), clock.now() + timedelta(days=1))["improvement"]
        assert (figures["actions_overdue"], figures["adverse_events_analysed"], figures["risks_open"]) == (1, 1, 2)
        service.finish_action(session, owner, action.id, evidence="TR-1")
        assert service.actions(session, owner, open_only=True) == []
