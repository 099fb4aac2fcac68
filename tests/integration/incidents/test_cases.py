"""Break-glass and what follows; cases with hearing, two deciders, effect, appeal and end (TM-5.5, RS-7.3)."""

from datetime import timedelta

import pytest
from sqlmodel import select

from broker import clock
from broker.applications import service as applications
from broker.applications.errors import Barred, NotComplete, RecipientNotYours
from broker.audit import service as audit
from broker.audit.events import Event
from broker.audit.models import AuditEvent
from broker.audit.note import Verifier
from broker.audit.receipt import check_hash
from broker.audit.sequencer import Sequencer
from broker.audit.tree import ProofInvalid
from broker.database import Database
from broker.errors import Forbidden, Invalid, NotFound
from broker.identity import service as identity
from broker.incidents import emergencies, exhibits, violations
from broker.incidents.errors import CaseMoveNotAllowed, IncidentTextRequired, NoSuchCase, SecondFactorRequired, TwoPeople
from broker.incidents.models import Incident, Violation
from broker.incidents.sanctions import CASE_MOVES, CaseAction, CaseState, Sanction, check_case_move
from broker.policy.decision import Effect
from tests.factories import applications as make


@pytest.fixture
def callers(database, people):
    names = ("applicant", "head", "manager", "second_manager", "auditor", "stranger", "inside_applicant")
    with database.transaction() as session:
        return {name: identity.caller_for(session, getattr(people, name)) for name in names}


def opened(session, means, caller, **changes):
    given = {
        "recipient": make.RECIPIENT,
        "patient": make.typed(1),
        "reason": "昏迷入院 CANARY",
        "second_factor": None,
        "minutes": 60,
        "review_hours": 72,
    }
    return emergencies.break_glass(session, means, caller, **{**given, **changes})


# --- Break-glass -------------------------------------------------------------------------------------------------------


def test_it_is_open_at_once_for_a_short_time_and_asks_the_emergency_rules(database, means, people, patients, callers):
    with database.transaction() as session:
        row = opened(session, means, callers["applicant"])
        grant = applications.of_application(session, applications.find(session, row.application))
        assert (grant.purpose, grant.lawful_basis, grant.approved_by, grant.status) == ("BTG", "vital_interests", 0, "active")
        assert timedelta(minutes=58) < grant.valid_until - grant.valid_from <= timedelta(minutes=60)
        facts = means.engine.asked[-1]
        assert (facts.request.emergency, facts.request.urgency) == (True, "emergency")
        assert 3400 < facts.grant.valid_until - facts.grant.valid_from <= 3600
        events = [event.type for event in session.exec(select(AuditEvent).where(AuditEvent.application == row.application)).all()]
        assert sorted(events) == ["application.emergency-opened", "emergency.opened"]


def test_overdue_feedback_holds_up_nobody_in_an_emergency(database, keys, people, patients, callers):
    means = make.means(keys, holds=lambda session, person: ("SA-2026-000001",))
    with database.transaction() as session:
        assert opened(session, means, callers["applicant"]).application


def test_what_policy_refuses_stays_refused_and_is_on_record(database, keys, people, patients, callers):
    means = make.means(keys, engine=make.StubEngine(effect=Effect.DENY))
    with database.transaction() as session:
        refused = opened(session, means, callers["applicant"])
        assert isinstance(refused, applications.EmergencyRefused)
        assert refused.reasons == ("consent.refused",)
        application = applications.find(session, refused.number)
        assert (application.status, applications.of_application(session, application)) == ("refused", None)
        assert session.exec(select(AuditEvent).where(AuditEvent.type == "application.emergency-refused")).one().application == refused.number


def test_only_for_ones_own_organisation_and_a_certain_patient_with_the_second_factor_that_one_has(database, means, people, patients, callers):
    with database.transaction() as session:
        with pytest.raises(RecipientNotYours):
            opened(session, means, callers["stranger"])
        for name in ("manager", "auditor"):
            with pytest.raises(Forbidden):
                opened(session, means, callers[name])
        with pytest.raises(NotComplete):
            opened(session, means, callers["applicant"], patient={**make.typed(1), "birthDate": "1900-01-01"})
        with pytest.raises(SecondFactorRequired):
            opened(session, means, callers["applicant"], second_factor=False)
        with pytest.raises(IncidentTextRequired):
            opened(session, means, callers["applicant"], reason=" ")
        assert opened(session, means, callers["applicant"], second_factor=True).second_factor


def test_nobody_reviews_their_own_and_a_second_review_is_none(database, means, keys, people, patients, callers):
    with database.transaction() as session:
        row = opened(session, means, callers["applicant"])
        with pytest.raises(Forbidden):
            emergencies.review(session, keys, callers["applicant"], row.application, misuse=False, text="x")
        emergencies.told_contact(session, callers["manager"], row.application)
        emergencies.review(session, keys, callers["manager"], row.application, misuse=False, text="合理")
        with pytest.raises(NoSuchCase):
            emergencies.review(session, keys, callers["second_manager"], row.application, misuse=True, text="x")
        assert emergencies.escalate(session, keys) == 0
        assert [one.application for one in emergencies.many(session, callers["applicant"])] == [row.application]
        assert emergencies.many(session, callers["stranger"]) == []


def test_what_nobody_reviews_becomes_one_incident(database, means, keys, people, patients, callers, set_clock):
    with database.transaction() as session:
        row = opened(session, means, callers["applicant"])
    set_clock(timedelta(hours=71))
    with database.transaction() as session:
        assert emergencies.escalate(session, keys) == 0
    set_clock(timedelta(hours=1, seconds=1))
    with database.transaction() as session:
        assert emergencies.escalate(session, keys) == 1
        assert emergencies.escalate(session, keys) == 0
        case = session.exec(select(Incident)).one()
        assert (case.kind, case.source) == ("emergency-unreviewed", f"emergency:{row.application}")
        late = emergencies.review(session, keys, callers["manager"], row.application, misuse=True, text="擅自调阅")
        assert late.incident == case.number
        violation = session.exec(select(Violation)).one()
        assert (violation.grounds, violation.person_id) == ("emergency-misuse", people.applicant)
        figures = emergencies.figures(session, clock.now() - timedelta(days=9), clock.now())
        assert (figures["opened"], figures["misuse"], figures["became_incidents"]) == (1, 1, 1)


# --- Cases -------------------------------------------------------------------------------------------------------------


def case(session, keys, callers, **changes):
    event = audit.record(session, Event("release.refused", "client:c-1", facts={"reasons": ["x"]}))
    given = {"person": callers["applicant"].person_id, "organization": None, "grounds": "other-purpose", "evidence": [event], "told": "CANARY"}
    return violations.open_case(session, keys, callers["manager"], **{**given, **changes})


def decided(session, keys, callers, sanction, *, days=None, **changes):
    row = case(session, keys, callers, **changes)
    accused = callers["applicant"] if row.person_id else callers["head"]
    violations.hear(session, keys, accused, row.number, text="解释")
    violations.propose(session, keys, callers["manager"], row.number, sanction=sanction, days=days, text="理由")
    return violations.decide(session, keys, callers["second_manager"], row.number, agree=True)


def test_the_accused_is_heard_before_anybody_proposes(database, keys, people, callers, set_clock):
    with database.transaction() as session:
        row = case(session, keys, callers)
        propose = {"sanction": Sanction.WARNING, "days": None, "text": "x"}
        with pytest.raises(CaseMoveNotAllowed):
            violations.propose(session, keys, callers["manager"], row.number, **propose)
        with pytest.raises(NoSuchCase):
            violations.hear(session, keys, callers["stranger"], row.number, text="x")
        with pytest.raises(NoSuchCase):
            violations.look(session, callers["stranger"], row.number)
        assert violations.words(keys, violations.look(session, callers["applicant"], row.number))["told"] == "CANARY"
        set_clock(timedelta(days=7, seconds=1))
        violations.propose(session, keys, callers["manager"], row.number, **propose)
        with pytest.raises(TwoPeople):
            violations.decide(session, keys, callers["manager"], row.number, agree=True)
        assert violations.decide(session, keys, callers["second_manager"], row.number, agree=False).status == "heard"


def test_evidence_stands_in_the_log_and_a_suspension_names_its_days(database, keys, people, callers):
    from uuid import uuid4

    with database.transaction() as session:
        with pytest.raises(NotFound):
            case(session, keys, callers, evidence=[uuid4()])
        with pytest.raises(Invalid):
            case(session, keys, callers, organization="shengli")
        row = case(session, keys, callers)
        violations.hear(session, keys, callers["applicant"], row.number, text="x")
        for sanction, days in ((Sanction.SUSPENDED, None), (Sanction.WARNING, 3)):
            with pytest.raises(Invalid):
                violations.propose(session, keys, callers["manager"], row.number, sanction=sanction, days=days, text="x")
        organization = case(session, keys, callers, person=None, organization="shengli")
        violations.hear(session, keys, callers["head"], organization.number, text="x")
        with pytest.raises(Invalid):
            violations.propose(session, keys, callers["manager"], organization.number, sanction=Sanction.RETRAINING, days=None, text="x")


def test_the_case_keeps_the_hash_of_its_evidence_and_its_receipt_once_the_log_is_signed(own, test_settings):
    """RS-7.3: whoever decides an appeal checks the evidence with the log's public key alone."""
    with own.database.transaction() as session:
        names = ("manager", "applicant", "auditor")
        callers = {name: identity.caller_for(session, getattr(own.people, name)) for name in names}
        number = case(session, own.keys, callers).number
        row = violations.find(session, number)
        (before,) = row.entries
        assert (before["index"], before["receipt"]) == (None, None)
        assert exhibits.complete(session) == 0, "nothing is signed yet"
    log = Database(own.url, "broker_log", pool=2)
    Sequencer(log, test_settings, own.keys).seal_once()
    log.dispose()
    with own.database.transaction() as session:
        assert exhibits.complete(session) == 1
        assert exhibits.complete(session) == 0
    with own.database.transaction() as session:
        row = violations.find(session, number)
        (shown,) = exhibits.shown(session, row)
        assert (shown.hash, str(shown.event)) == (before["hash"], row.evidence[0])
        verifier = Verifier.of(test_settings.log_origin, own.keys.log_signer)
        assert check_hash(shown.receipt, bytes.fromhex(shown.hash), verifier).size > shown.index
        with pytest.raises(ProofInvalid):
            check_hash(shown.receipt, bytes(32), verifier)
        row.entries = []  # As the previous version opened it.
        assert exhibits.shown(session, row)[0].hash == shown.hash


def test_one_alone_does_not_shorten_what_two_decided_and_an_appeal_gives_back_the_agreement(database, keys, people, callers, set_clock):
    with database.transaction() as session:
        until = identity.organization(session, "shengli").agreement_until
        row = decided(session, keys, callers, Sanction.CLOSED, person=None, organization="shengli")
        with pytest.raises(CaseMoveNotAllowed):
            violations.end(session, callers["manager"], row.number, text="x")
        violations.appeal(session, keys, callers["head"], row.number, text="不服")
        violations.decide_appeal(session, callers["auditor"], row.number, uphold=False)
        place = identity.organization(session, "shengli")
        assert (place.status, place.agreement_until) == ("active", until)


def test_whoever_is_suspended_appeals_by_letter(database, keys, people, callers):
    with database.transaction() as session:
        row = decided(session, keys, callers, Sanction.SUSPENDED, days=30)
        for name in ("stranger", "head"):
            with pytest.raises(NoSuchCase):
                violations.appeal(session, keys, callers[name], row.number, text="x")
        violations.appeal(session, keys, callers["manager"], row.number, text="来信：不服")
        assert violations.decide_appeal(session, callers["auditor"], row.number, uphold=False).status == "dismissed"
        assert identity.caller_for(session, people.applicant) is not None
        warned = decided(session, keys, callers, Sanction.WARNING)
        with pytest.raises(NoSuchCase):
            violations.appeal(session, keys, callers["second_manager"], warned.number, text="x")


def test_who_is_to_be_trained_neither_applies_nor_breaks_the_glass_until_it_is_done(database, means, keys, people, patients, callers):
    with database.transaction() as session:
        row = decided(session, keys, callers, Sanction.RETRAINING)
        with pytest.raises(Barred):
            make.drafted(session, means, people)
        with pytest.raises(Barred):
            opened(session, means, callers["applicant"])
        violations.end(session, callers["manager"], row.number, text="TR-9")
        make.drafted(session, means, people)


def test_who_is_to_be_trained_neither_endorses_nor_approves(database, means, keys, people, patients):
    """RS-7.3: what waits for them stays where it is."""
    with database.transaction() as session:
        waits = make.submitted(session, means, people)
        identity.bar(session, "system", people.head, barred=True)
        with pytest.raises(Barred):
            applications.endorse(session, keys, people.head, waits.number, if_match=waits.version)
        identity.bar(session, "system", people.head, barred=False)
        row = applications.endorse(session, keys, people.head, waits.number, if_match=waits.version)
        identity.bar(session, "system", people.manager, barred=True)
        with pytest.raises(Barred):
            applications.approve(session, means, people.manager, row.number, if_match=row.version)
        identity.bar(session, "system", people.manager, barred=False)
        assert applications.approve(session, means, people.manager, row.number, if_match=row.version).status == "active"


def test_who_is_suspended_can_not_sign_in_for_so_long_and_then_can(database, keys, people, callers, set_clock):
    with database.transaction() as session:
        row = decided(session, keys, callers, Sanction.SUSPENDED, days=10)
        assert row.in_force
        assert identity.caller_for(session, people.applicant) is None
        assert violations.expire(session) == 0
    set_clock(timedelta(days=10, seconds=1))
    with database.transaction() as session:
        assert violations.expire(session) == 1
        assert identity.caller_for(session, people.applicant) is not None
        assert violations.find(session, row.number).status == "ended"


def test_an_organisation_gets_nothing_more(database, keys, people, callers):
    with database.transaction() as session:
        row = decided(session, keys, callers, Sanction.CLOSED, person=None, organization="shengli")
        place = identity.organization(session, "shengli")
        assert (place.status, place.agreement_until <= clock.now()) == ("suspended", True)
        assert violations.figures(session, clock.now() - timedelta(days=1), clock.now() + timedelta(days=1))["sanctions"] == {"closed": 1}
        assert row.ends_at is None


def test_somebody_who_took_no_part_decides_the_appeal_and_gives_back(database, keys, people, callers, set_clock):
    with database.transaction() as session:
        row = decided(session, keys, callers, Sanction.RETRAINING)
        with pytest.raises(NoSuchCase):
            violations.appeal(session, keys, callers["stranger"], row.number, text="x")
        violations.appeal(session, keys, callers["applicant"], row.number, text="不服")
        for name in ("manager", "second_manager", "applicant"):
            with pytest.raises(Forbidden):
                violations.decide_appeal(session, callers[name], row.number, uphold=False)
        violations.decide_appeal(session, callers["auditor"], row.number, uphold=False)
        assert identity.person(session, people.applicant).barred_at is None
        late = decided(session, keys, callers, Sanction.WARNING)
        set_clock(timedelta(days=16))
        with pytest.raises(CaseMoveNotAllowed):
            violations.appeal(session, keys, callers["applicant"], late.number, text="x")


@pytest.mark.parametrize("state", CaseState)
@pytest.mark.parametrize("action", CaseAction)
def test_only_what_the_table_names_is_possible(state, action):
    if (state, action) in CASE_MOVES:
        check_case_move(state, action)
    else:
        with pytest.raises(CaseMoveNotAllowed):
            check_case_move(state, action)
