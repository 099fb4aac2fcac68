"""Policy changes: drafted in data, without Rego; tested; replayed over past decisions; approved by a colleague; undone (RS-5.2.3, E10)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlmodel import select
from starlette.testclient import TestClient

from broker import clock, edge
from broker.audit.models import AuditEvent
from broker.database import Database
from broker.feedback.models import Feedback
from broker.governance import canaries, service
from broker.governance.errors import OwnDraft, RevisionMoveNotAllowed, TooSoon
from broker.governance.proposals import proposals
from broker.governance.replay import replayed
from broker.governance.routes import build_router
from broker.identity import service as identity
from broker.identity.models import Person
from broker.policy.models import PolicyDecision
from broker.policy.service import INSERT_DECISION, embedded_engine, live_engine, loaded, row_of
from broker.records import service as records
from broker.settings import Settings
from tests.factories import applications
from tests.factories import identity as accounts

REFERRAL = "data/profiles/treatment-referral.json"


@pytest.fixture(scope="module")
def shipped():
    return loaded()


@pytest.fixture(scope="module")
def engine(shipped):
    return embedded_engine(shipped)


@pytest.fixture
def few_uses(monkeypatch):
    """The tests of a draft ask three uses of thirty; one test asks them all."""
    every = canaries.uses
    monkeypatch.setattr(canaries, "uses", lambda policies: [use for use in every(policies) if use[1] in ("insurer", "imaging")])


def facts(shipped, patient, purpose="TREAT", kind="hospital", **grant):
    good = canaries.good(shipped, purpose, kind, "external")
    return replace(good, patient=replace(good.patient, key=patient.hex), grant=replace(good.grant, **grant))


def keep(own, decision, patient):
    """As the release path keeps it."""
    with own.database.transaction() as session:
        vault = records.open_vault(session, own.keys, patient)
        cursor = session.connection().connection.driver_connection.cursor()
        cursor.execute(INSERT_DECISION, row_of(decision, patient_key=patient, data_key=vault.data_key))


@pytest.fixture
def past(own, shipped, engine):
    """Three decisions: two referrals of two patients, and a payment that was refused."""
    one, two = own.patients[1], own.patients[2]
    keep(own, engine.decide(facts(shipped, one)), one)
    keep(own, engine.decide(facts(shipped, two)), two)
    refused = facts(shipped, two, "HPAYMT", "insurer")
    keep(own, engine.decide(replace(refused, grant=replace(refused.grant, status="revoked"))), two)
    return own


def narrower(shipped, drop="MedicationRequest"):
    """The referral profile without a type: a change in data, no Rego."""
    profile = json.loads((shipped.folder / REFERRAL).read_text(encoding="utf-8"))
    del profile["types"][drop]
    return {REFERRAL: json.dumps(profile, ensure_ascii=False)}


def caller(own, session, who):
    return identity.caller_for(session, getattr(own.people, who))


def test_a_manager_narrows_a_profile_and_a_colleague_makes_it_hold(past, shipped, set_clock):
    set_clock(clock.now())
    live = live_engine(Settings())
    with past.database.transaction() as session:
        live.refresh(session)
        manager, colleague = caller(past, session, "manager"), caller(past, session, "second_manager")
        row = service.draft(session, manager, shipped, narrower(shipped), note="转诊不需要处方明细")
        assert service.differing(session, row) == ["treatment-referral: MedicationRequest taken away"]

        with pytest.raises(RevisionMoveNotAllowed):
            service.approve(session, colleague, row.revision)
        tested = service.run_tests(session, manager, row.revision).tests
        assert (tested["failed"], tested["cases"] > 300, tested["permitted"] > 20) == ([], True, True)
        with pytest.raises(RevisionMoveNotAllowed):
            service.approve(session, colleague, row.revision)

        told = service.replay(session, past.keys, manager, row.revision).replay
        assert (told["decisions"], told["patients"], told["narrowed"], told["same"]) == (3, 2, 2, 1)
        assert {(group["recipient"], group["purpose"], group["patients"], group["narrowed"]) for group in told["groups"]} == {
            ("canary", "TREAT", 2, 2),
            ("canary", "HPAYMT", 1, 0),
        }
        assert told["lost"] == {"MedicationRequest": 2}
        assert told["gained"] == {}

        with pytest.raises(OwnDraft):
            service.approve(session, manager, row.revision)
        twin = accounts.person(session, "information_manager", organization_id="renhe-information", natural_person=manager.natural_person)
        with pytest.raises(OwnDraft):
            service.approve(session, identity.caller_for(session, twin.id), row.revision)
        activation = service.approve(session, colleague, row.revision)
        live.refresh(session)
        asked = facts(shipped, past.patients[1])
        assert live.revision == shipped.revision
        assert "MedicationRequest" in live.decide(asked).plan["types"]

    since = clock.epoch(activation.effective_at)
    at = replace(asked, at=since, grant=replace(asked.grant, valid_until=since + 60), recipient=replace(asked.recipient, agreement_until=since + 60))
    assert live.decide(replace(at, at=since - 1)).revision == shipped.revision
    decision = live.decide(at)
    assert decision.revision == row.revision
    assert "MedicationRequest" not in decision.plan["types"]

    set_clock(activation.effective_at + timedelta(minutes=5))
    with past.database.transaction() as session:
        back = service.bring_back(session, caller(past, session, "manager"), shipped.revision)
        live.refresh(session)
    set_clock(back.effective_at + timedelta(seconds=1))
    assert live.revision == shipped.revision
    with past.database.transaction() as session:
        events = [event.type for event in session.exec(select(AuditEvent)).all() if event.type.startswith("policy.")]
    assert events == ["policy.drafted", "policy.tested", "policy.replayed", "policy.approved", "policy.brought-back"]


def test_a_question_that_lacks_a_fact_of_today_is_told_apart_and_is_no_permit(past, shipped, engine):
    """QA-3.3: kept before the registers of qualifications were asked."""
    patient = past.patients[1]
    decision = engine.decide(facts(shipped, patient))
    then = json.loads(decision.facts)
    del then["workforce"]
    keep(past, replace(decision, facts=json.dumps(then).encode(), input_hash="0" * 64), patient)
    with past.database.transaction() as session:
        told = replayed(session, past.keys, engine)
    assert (told["decisions"], told["same"], told["not_known"], told["unavailable"], told["absent"]) == (4, 3, 1, 0, {"workforce": 1})


def test_a_draft_that_would_let_a_refusal_pass_fails_its_tests(own, shipped):
    """By Rego: the rule consent says yes whatever the patient says."""
    path = "broker/release/rules/consent/consent.rego"
    always = shipped.modules[path].replace('satisfied if {\n\tinput.facts.consent.base == "permit"\n\tunrefused\n', "satisfied if {\n", 1)
    assert always != shipped.modules[path]
    silent = "".join(part if "deny contains" not in part else part.replace(" if {\n", " if {\n\t1 == 2\n") for part in always.split("# METADATA\n"))
    with own.database.transaction() as session:
        manager = caller(own, session, "manager")
        row = service.draft(session, manager, shipped, {path: silent.replace("# title", "# METADATA\n# title")}, note="x")
        result = service.run_tests(session, manager, row.revision)
        assert result.state == "draft"
        assert "TREAT hospital external: the patient refused" in result.tests["failed"]
        with pytest.raises(RevisionMoveNotAllowed):
            service.replay(session, own.keys, manager, row.revision)


def test_a_draft_waits_for_its_time_and_for_its_turn(past, shipped, set_clock, few_uses):
    set_clock(clock.now())
    with past.database.transaction() as session:
        manager, colleague = caller(past, session, "manager"), caller(past, session, "second_manager")
        first = service.draft(session, manager, shipped, narrower(shipped), note="a")
        second = service.draft(session, manager, shipped, narrower(shipped, "CareTeam"), note="b")
        for row in (first, second):
            service.run_tests(session, manager, row.revision)
            service.replay(session, past.keys, manager, row.revision)
        with pytest.raises(TooSoon):
            service.approve(session, colleague, first.revision, effective_at=clock.now())
        service.approve(session, colleague, first.revision, effective_at=clock.now() + timedelta(days=1))
        with pytest.raises(RevisionMoveNotAllowed):
            service.approve(session, colleague, second.revision)
        assert service.withdraw(session, manager, second.revision).state == "withdrawn"


def test_a_decision_can_be_made_again_years_later(past, shipped, engine, set_clock):
    """The same policies give the same answers to the same questions, whatever the clock says now."""
    set_clock(clock.now() + timedelta(days=4000))
    with past.database.transaction() as session:
        result = replayed(session, past.keys, engine)
        assert (result["decisions"], result["same"]) == (3, 3)
        row = session.exec(select(PolicyDecision).limit(1)).one()
        assert b"canary" not in row.sealed


def test_what_was_decided_about_a_patient_whose_key_is_gone_is_counted_and_not_guessed(past, engine):
    owner = Database(past.url, "owner", pool=1)
    with owner.transaction() as session:
        session.connection().exec_driver_sql("UPDATE patient SET wrapped_key = '' WHERE patient_key = %s", (past.patients[2],))
    owner.dispose()
    with past.database.transaction() as session:
        result = replayed(session, past.keys, engine)
    assert (result["decisions"], result["unreadable"], result["same"]) == (3, 2, 1)


def test_a_revision_that_was_changed_in_the_database_decides_nothing(past, shipped, set_clock, few_uses):
    set_clock(clock.now())
    live = live_engine(Settings())
    with past.database.transaction() as session:
        manager, colleague = caller(past, session, "manager"), caller(past, session, "second_manager")
        row = service.draft(session, manager, shipped, narrower(shipped), note="a")
        service.run_tests(session, manager, row.revision)
        service.replay(session, past.keys, manager, row.revision)
        activation = service.approve(session, colleague, row.revision)
        row.files = service.one(session, shipped.revision).files
        session.flush()
        live.refresh(session)
    asked = facts(shipped, past.patients[1])
    assert live.decide(replace(asked, at=clock.epoch(activation.effective_at))).effect == "unavailable"


def test_nobody_says_it_was_used_so_it_is_proposed_away(past, shipped, engine):
    with past.database.transaction() as session:
        grants = [applications.approved(session, past.means, past.people, number).id for number in (1, 2, 3)]
        for number, grant in zip((1, 2, 3), grants, strict=True):
            asked = facts(shipped, past.patients[number], id=str(grant))
            asked = replace(asked, caller=replace(asked.caller, token_grant=str(grant)))
            keep(past, engine.decide(asked), past.patients[number])
    with past.database.transaction() as session:
        for number, grant in zip((1, 2, 3), grants, strict=True):
            session.add(
                Feedback(
                    grant_id=grant,
                    application=f"SA-2026-00000{number}",
                    person_id=past.people.applicant,
                    at=clock.now(),
                    used=True,
                    purpose_met="yes",
                    elements_used=["Observation.value", "Condition.code"],
                    examinations_avoided=0,
                    data_problems=[],
                    onward_disclosure=False,
                    deletion_done=True,
                )
            )
        session.flush()
        found = {each.profile: each for each in proposals(session, past.keys, shipped)}
    proposal = found["treatment-referral"]
    assert proposal.reports == 3
    assert "Goal.target.measure" in proposal.unused
    assert "Observation.value" not in proposal.unused
    assert "Observation.status" not in proposal.unused, "R4 makes it mandatory"
    with past.database.transaction() as session:
        manager = caller(past, session, "manager")
        row = service.draft(session, manager, shipped, proposal.changes, note="使用反馈表明不需要")
        assert any("Goal loses" in line for line in service.differing(session, row))


def test_over_http(past, shipped, few_uses):
    app = FastAPI()
    app.state.database, app.state.settings, app.state.keys = past.database, Settings(), past.keys
    edge.install(app, max_body_bytes=4_000_000)
    app.include_router(build_router(keys=past.keys, active=lambda: shipped))
    with past.database.transaction() as session:
        headers = {
            name: accounts.signed_in(session, session.get(Person, getattr(past.people, name)))
            for name in ("manager", "second_manager", "auditor", "head")
        }
    client = TestClient(app)
    assert client.get("/api/v1/policies", headers=headers["head"]).status_code == 403
    assert client.get("/api/v1/policies", headers=headers["auditor"]).json()["active"] == shipped.revision
    files = {each["path"]: each["content"] for each in client.get("/api/v1/policies/files", headers=headers["manager"]).json()}
    assert REFERRAL in files
    body = {"changes": narrower(shipped), "note": "转诊不需要处方明细"}
    assert client.post("/api/v1/policies", headers=headers["auditor"], json=body).status_code == 403
    bad = client.post("/api/v1/policies", headers=headers["manager"], json={"changes": {REFERRAL: "{}"}, "note": "x"})
    assert (bad.status_code, bad.json()["code"]) == (422, "policy-draft-invalid")
    made = client.post("/api/v1/policies", headers=headers["manager"], json=body)
    assert made.status_code == 201
    path = f"/api/v1/policies/{made.json()['revision']}"
    assert client.post(f"{path}/test", headers=headers["manager"]).json()["state"] == "tested"
    assert client.post(f"{path}/replay", headers=headers["manager"], json={}).json()["replay"]["narrowed"] == 2
    assert client.post(f"{path}/approve", headers=headers["manager"], json={}).status_code == 403
    assert client.post(f"{path}/approve", headers=headers["second_manager"], json={}).json()["revision"] == made.json()["revision"]
    assert client.get(path, headers=headers["auditor"]).json()["differences"] == ["treatment-referral: MedicationRequest taken away"]
    assert client.get("/api/v1/policies/opa", headers=headers["auditor"]).json()["matched"] == 0
    assert client.get(f"/api/v1/policies/{'0' * 64}", headers=headers["auditor"]).status_code == 404
