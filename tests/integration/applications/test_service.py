"""The verbs on a real database: who may take which step on which version, and what is left behind."""

from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlmodel import col, select

from broker import clock
from broker.applications import service
from broker.applications.errors import (
    AssessmentForbids,
    AssessmentOutdated,
    FeedbackOverdue,
    FourEyes,
    MoveNotAllowed,
    NoSuchApplication,
    NotComplete,
    NotNarrower,
    NotYourMove,
    ReasonRequired,
    RecipientNotYours,
)
from broker.applications.models import Application, ApplicationPatient, Assessment, Decision, Grant, GrantPatient, PatientAssessment
from broker.applications.service import Item, Narrowing, Reason
from broker.audit.models import AuditEvent
from broker.errors import Forbidden, PreconditionFailed, PreconditionRequired
from broker.identity.models import Organization, Person, RoleHeld
from broker.policy.decision import Effect
from tests.factories import applications as make
from tests.factories import identity

WHY = Reason("病历不全，请补充说明。")


def problems(caught):
    return [(problem.path, problem.code) for problem in caught.value.problems]


def events(session):
    return [row.type for row in session.exec(select(AuditEvent).order_by(col(AuditEvent.seq))).all()]


@contextmanager
def as_owner(database):
    """Somebody who writes to the tables behind the broker's back."""
    with database.transaction() as session:
        connection = session.connection().connection.driver_connection
        connection.execute("SET ROLE NONE")
        yield connection
        connection.execute("SET ROLE broker_web")


# --- Drafts ----------------------------------------------------------------------------------------------------------


def test_a_draft_may_leave_out_anything(database, keys, people):
    with database.transaction() as session:
        row = service.draft(session, keys, people.applicant, {})
        assert (row.status, row.version, row.number, row.form) == ("draft", 1, None, {})
        changed = service.update(session, keys, people.applicant, str(row.id), {"purpose": "TREAT"}, if_match=1, whole=False)
        assert (changed.purpose, changed.version) == ("TREAT", 2)
        assert events(session) == ["application.drafted", "application.edited"]


def test_a_change_of_single_fields_keeps_the_others_and_null_clears(database, means, people):
    with database.transaction() as session:
        row = make.drafted(session, means, people)
        service.update(
            session, means.keys, people.applicant, str(row.id), {"retention_days": None, "urgency": "urgent"}, if_match=row.version, whole=False
        )
        assert "retention_days" not in row.form
        assert row.form["urgency"] == "urgent"
        assert row.form["purpose"] == "TREAT"
        assert service.typed_patients(session, means.keys, row) == [make.typed(1)]


def test_a_whole_replacement_clears_what_it_leaves_out(database, means, people):
    with database.transaction() as session:
        row = make.drafted(session, means, people)
        service.update(session, means.keys, people.applicant, str(row.id), {"purpose": "HRESCH"}, if_match=row.version, whole=True)
        assert row.form == {"purpose": "HRESCH"}
        assert row.recipient_id is None
        assert service.typed_patients(session, means.keys, row) == []
        assert row.justification_sealed is None


@pytest.mark.parametrize("recipient", ["qingyuan", "renhe-cardiology", "nowhere"])
def test_nobody_applies_for_somebody_else(database, means, people, recipient):
    with database.transaction() as session, pytest.raises(RecipientNotYours) as caught:
        make.drafted(session, means, people, recipient=recipient)
    assert problems(caught) == [("/recipient", "recipient-not-yours")]


def test_who_holds_no_role_does_not_apply(database, means, people):
    with database.transaction() as session, pytest.raises(Forbidden):
        service.draft(session, means.keys, people.auditor, {})


def test_a_draft_is_its_requesters_alone(database, means, people):
    with database.transaction() as session:
        row = make.drafted(session, means, people)
        for other in (people.head, people.manager, people.auditor, people.stranger):
            with pytest.raises(NoSuchApplication):
                service.look(session, other, str(row.id))
        assert service.look(session, people.applicant, str(row.id)).application.id == row.id
        # One that was withdrawn before anybody saw it stays so.
        service.withdraw(session, means.keys, people.applicant, str(row.id))
        assert service.many(session, people.manager).items == []
        with pytest.raises(NoSuchApplication):
            service.look(session, people.manager, str(row.id))


def test_a_change_needs_the_version_that_was_looked_at(database, means, people):
    with database.transaction() as session:
        row = make.drafted(session, means, people)
        for if_match, error in ((None, PreconditionRequired), (row.version + 1, PreconditionFailed)):
            with pytest.raises(error):
                service.update(session, means.keys, people.applicant, str(row.id), {}, if_match=if_match, whole=False)


# --- Submission ------------------------------------------------------------------------------------------------------


def test_submission_numbers_assesses_and_seals(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people, 1, 2)
        assert row.number == f"SA-{clock.now().year}-000001"
        assert (row.status, row.round, row.patients_sealed) == ("submitted", 1, None)
        assert [one.patient_key for one in service.patients_of(session, row)] == [patients[1], patients[2]]
        assert service.typed_patients(session, means.keys, row) == [make.typed(1), make.typed(2)]
        assessment = service.latest_assessment(session, row)
        assert (assessment.effect, assessment.revision, assessment.content_hash) == ("permit", "test-1", row.content_hash)
        opinions = session.exec(select(PatientAssessment).order_by(col(PatientAssessment.position))).all()
        assert [(one.patient_key, one.effect, one.consent_epoch) for one in opinions] == [(patients[1], "permit", 7), (patients[2], "permit", 7)]
        assert opinions[0].necessity == {"asked": 3, "left": 2}
        assert events(session)[-1] == "application.submitted"


def test_what_policy_is_told_at_submission(database, keys, people, patients):
    means = make.means(keys)
    with database.transaction() as session:
        identity.client_with_key(session, organization_id=make.RECIPIENT)
        row = make.submitted(session, means, people)
    (facts,) = means.engine.asked
    assert facts.question == "assess"
    assert facts.caller is None
    assert (facts.grant.status, facts.grant.application, facts.grant.approved_by) == ("proposed", str(row.id), 0)
    assert facts.grant.valid_until == clock.epoch(clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=91))
    assert (facts.recipient.id, facts.recipient.relationship, facts.recipient.status, facts.recipient.key_registered) == (
        make.RECIPIENT,
        "external",
        "active",
        True,
    )
    assert (facts.requester.id, facts.requester.roles, facts.requester.active) == (str(people.applicant), ("applicant",), True)
    assert (facts.patient.key, facts.patient.match, facts.patient.in_grant) == (patients[1].hex, "certain", False)
    assert facts.request.data == ({"data_class": "clinical.laboratory"}, {"resource_type": "Observation", "elements": ["code", "value"]})
    assert facts.request.justification is True
    assert means.consent_facts.asked == [(patients[1], make.RECIPIENT, "TREAT")]


def test_a_recipient_is_as_suspended_as_what_it_belongs_to(database, keys, people, patients):
    means = make.means(keys)
    with database.transaction() as session:
        session.get(Organization, "shengli").status = "suspended"
        make.submitted(session, means, people)
    assert means.engine.asked[0].recipient.status == "suspended"


def test_a_denial_does_not_keep_it_from_being_submitted(database, keys, people, patients):
    means = make.means(keys, engine=make.StubEngine(denied={patients[2].hex}))
    with database.transaction() as session:
        row = make.submitted(session, means, people, 1, 2)
        assessment = service.latest_assessment(session, row)
        assert assessment.effect == "deny"
        shown = service.opinion(session, row, assessment)
        assert [(one.position, one.effect, [reason["code"] for reason in one.reasons]) for one in shown.patients] == [
            (1, "permit", []),
            (2, "deny", ["consent.refused"]),
        ]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "张三"},
        {"birthDate": "1950-01-01"},
        {"identifier": {"system": make.SYSTEM, "value": "MRN-9999"}},
        {"name": None, "birthDate": None},  # An identifier alone is one typing error away from somebody else
    ],
    ids=["name", "birth date", "identifier", "nothing to compare"],
)
def test_only_a_certain_patient_is_submitted(database, means, people, patients, changes):
    with database.transaction() as session, pytest.raises(NotComplete) as caught:
        make.submitted(session, means, people, patients=[make.typed(1), {**make.typed(2), **changes}])
    assert problems(caught) == [("/patients/1", "not-matched")]


def test_an_ambiguous_patient_is_answered_like_an_unknown_one(database, keys, means, people, patients):
    """Whether somebody is a patient here is itself a secret."""
    with database.transaction() as session:
        make.patient(session, keys, 1, fhir_id="p-1-again")
    said = []
    for number in (1, 77):
        with database.transaction() as session, pytest.raises(NotComplete) as caught:
            make.submitted(session, means, people, number)
        said.append(caught.value.problems)
    assert said[0] == said[1]


def test_a_patient_is_named_once(database, means, people, patients):
    with database.transaction() as session, pytest.raises(NotComplete) as caught:
        make.submitted(session, means, people, 1, 2, 1)
    assert problems(caught) == [("/patients/2", "duplicate")]


def test_everything_that_is_missing_is_named_at_once(database, means, people):
    with database.transaction() as session:
        data = [{"data_class": "gossip"}, {"resource_type": "Rumour"}, {"resource_type": "Observation", "elements": ["code", "gossip"]}]
        row = service.draft(session, means.keys, people.applicant, {"data": data})
        with pytest.raises(NotComplete) as caught:
            service.submit(session, means, people.applicant, str(row.id), if_match=1)
    assert set(problems(caught)) == {
        ("/purpose", "required"),
        ("/lawful_basis", "required"),
        ("/recipient", "required"),
        ("/valid_until", "required"),
        ("/justification", "required"),
        ("/patients", "required"),
        ("/data/0/data_class", "unknown"),
        ("/data/1/resource_type", "unknown"),
        ("/data/2/elements/1", "unknown"),
    }


def test_numbers_have_no_gap_where_a_submission_failed(database, means, people, patients):
    with database.transaction() as session:
        make.submitted(session, means, people)
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        assert make.submitted(session, means, people).version / 0
    with database.transaction() as session:
        assert make.submitted(session, means, people).number.endswith("-000002")


def test_each_year_counts_anew(database, means, people, patients, set_clock):
    with database.transaction() as session:
        first = make.submitted(session, means, people)
    year = clock.now().year
    set_clock(clock.now().replace(year=year + 1))
    with database.transaction() as session:
        second = make.submitted(session, means, people)
    assert (first.number, second.number) == (f"SA-{year}-000001", f"SA-{year + 1}-000001")


def test_overdue_feedback_holds_back(database, keys, people, patients):
    means = make.means(keys, holds=lambda session, person: ("SA-2026-000007",) if person == people.applicant else ())
    with database.transaction() as session:
        row = make.drafted(session, means, people)
        with pytest.raises(FeedbackOverdue, match="SA-2026-000007") as caught:
            service.submit(session, means, people.applicant, str(row.id), if_match=row.version)
    assert problems(caught) == [("/applications/SA-2026-000007/feedback", "overdue")]


def test_a_role_that_went_since_the_draft_counts_at_submission(database, means, people, patients):
    with database.transaction() as session:
        row = make.drafted(session, means, people)
        session.delete(session.get(RoleHeld, (people.applicant, "applicant", make.RECIPIENT)))
        session.flush()
        with pytest.raises(RecipientNotYours):
            service.submit(session, means, people.applicant, str(row.id), if_match=row.version)


# --- Returning -------------------------------------------------------------------------------------------------------


def test_returned_changed_submitted_again(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people, 1)
        number, first = row.number, row.content_hash
        service.return_(session, means.keys, people.head, number, if_match=row.version, reason=WHY)
        service.update(session, means.keys, people.applicant, number, {"patients": [make.typed(2)]}, if_match=row.version, whole=False)
        service.submit(session, means, people.applicant, number, if_match=row.version)
        assert (row.number, row.round, row.status) == (number, 2, "submitted")
        assert row.content_hash != first
        assert [one.patient_key for one in service.patients_of(session, row)] == [patients[2]]
        assert [one.action for one in session.exec(select(Decision).order_by(col(Decision.version))).all()] == ["submit", "return", "submit"]
        # Whoever returned it may endorse the next round: that is a new application to look at.
        service.endorse(session, means.keys, people.head, number, if_match=row.version)


def test_returned_and_submitted_unchanged_keeps_its_patients(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people, 1, 2)
        service.return_(session, means.keys, people.head, row.number, if_match=row.version, reason=WHY)
        service.submit(session, means, people.applicant, row.number, if_match=row.version)
        assert service.typed_patients(session, means.keys, row) == [make.typed(1), make.typed(2)]


@pytest.mark.parametrize("reason", [None, Reason(""), Reason("  \n")])
def test_a_no_needs_a_reason(database, means, people, patients, reason):
    with database.transaction() as session:
        row = make.submitted(session, means, people)
        for verb in (service.return_, service.refuse):
            with pytest.raises(ReasonRequired):
                verb(session, means.keys, people.head, row.number, if_match=row.version, reason=reason)


# --- Four eyes -------------------------------------------------------------------------------------------------------


def another_account(session, person_id, *roles, organization):
    """A second account of the same human being."""
    natural_person = session.get(Person, person_id).natural_person
    return identity.person(session, *roles, organization_id=organization, natural_person=natural_person).id


def test_nobody_endorses_their_own_under_another_account(database, means, people, patients):
    with database.transaction() as session:
        other = another_account(session, people.applicant, "department_head", organization=make.RECIPIENT)
        row = make.submitted(session, means, people)
        for verb in (service.endorse, service.return_, service.refuse):
            with pytest.raises(FourEyes):
                verb(session, means.keys, other, row.number, if_match=row.version, reason=WHY)


def test_nobody_endorses_and_approves(database, means, people, patients):
    with database.transaction() as session:
        other = another_account(session, people.head, "information_manager", organization="renhe-information")
        row = make.endorsed(session, means, people)
        with pytest.raises(FourEyes):
            service.approve(session, means, other, row.number, if_match=row.version)


def test_that_two_accounts_are_one_person_may_be_found_out_later(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        session.get(Person, people.head).natural_person = session.get(Person, people.manager).natural_person
        session.flush()
        with pytest.raises(FourEyes):
            service.approve(session, means, people.manager, row.number, if_match=row.version)


def test_the_database_holds_the_four_eyes_too(database, means, people, patients):
    """Even where every rule of ours is gone round: two steps of one person can't commit."""
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        first = session.exec(select(Decision).where(Decision.action == "endorse")).one()
        session.add(
            Decision(
                application_id=row.id,
                round=1,
                action="approve",
                at=clock.now(),
                person_id=people.manager,
                natural_person=first.natural_person,
                version=9,
                content_hash="",
            )
        )
        with pytest.raises(Exception, match="uq_application_decision_four_eyes"):
            session.flush()


def test_a_manager_applies_for_somebody_outside_and_does_not_decide(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people, by=people.manager)
        assert row.on_behalf
        service.endorse(session, means.keys, people.head, row.number, if_match=row.version)
        with pytest.raises(FourEyes):
            service.approve(session, means, people.manager, row.number, if_match=row.version)
        # And is not offered what can't be done.
        offered = {who: service.actions(session, service.look(session, who, row.number)) for who in (people.manager, people.second_manager)}
        assert offered == {
            people.manager: ["assess", "withdraw"],
            people.second_manager: ["assess", "concur", "recuse", "approve", "narrow", "return", "refuse"],
        }
        assert service.approve(session, means, people.second_manager, row.number, if_match=row.version).status == "active"


def test_who_was_removed_decides_nothing(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        session.get(Person, people.manager).status = "suspended"
        session.flush()
        with pytest.raises(Forbidden):
            service.approve(session, means, people.manager, row.number, if_match=row.version)


def test_an_outside_information_manager_decides_nothing_here(database, means, people, patients):
    with database.transaction() as session:
        theirs = identity.person(session, "information_manager", organization_id="shengli").id
        row = make.endorsed(session, means, people)
        with pytest.raises(NoSuchApplication):
            service.approve(session, means, theirs, row.number, if_match=row.version)


def test_a_head_of_another_department_does_not_see_it(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people)
        with pytest.raises(NoSuchApplication):
            service.endorse(session, means.keys, people.inside_head, row.number, if_match=row.version)
        above = identity.person(session, "department_head", organization_id="shengli").id
        assert service.endorse(session, means.keys, above, row.number, if_match=row.version).status == "endorsed"


@pytest.mark.parametrize(
    ("who", "error"), [("applicant", NotYourMove), ("head", NotYourMove), ("auditor", NotYourMove), ("stranger", NoSuchApplication)]
)
def test_only_the_manager_approves(database, means, people, patients, who, error):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        with pytest.raises(error):
            service.approve(session, means, getattr(people, who), row.number, if_match=row.version)


# --- Approval --------------------------------------------------------------------------------------------------------


def test_approval_makes_the_grant(database, keys, people, patients):
    means = make.means(keys, engine=make.StubEngine(limit=10))
    with database.transaction() as session:
        grant = make.approved(session, means, people, 1, 2)
        assert (grant.status, grant.purpose, grant.recipient_id, grant.approved_by) == ("active", "TREAT", make.RECIPIENT, 2)
        assert (grant.releases_limit, grant.releases_used, grant.first_released_at) == (10, 0, None)
        assert set(session.exec(select(GrantPatient.patient_key)).all()) == {patients[1], patients[2]}
        assert grant.consents == sorted(f"c-{patients[number].hex[:6]}" for number in (1, 2))
        application = session.get(Application, grant.application_id)
        assert (application.status, application.decided_at is not None) == ("approved", True)
        decision = session.exec(select(Decision).where(Decision.action == "approve")).one()
        assert decision.assessed == "permit"
        # It rests on the opinion that was asked for at approval, not on the older one.
        assert decision.assessment_id == service.latest_assessment(session, application).id
        event = session.exec(select(AuditEvent).where(AuditEvent.type == "application.approved")).one()
        assert event.grant_id == str(grant.id)
        assert grant.content_hash in event.leaf
    assert [facts.grant.approved_by for facts in means.engine.asked] == [0, 0, 2, 2]


def test_the_stricter_limit_holds(database, keys, people, patients):
    means = make.means(keys, engine=make.StubEngine(limit=10))
    with database.transaction() as session:
        assert make.approved(session, means, people, releases_limit=3).releases_limit == 3
        assert make.approved(session, means, people, releases_limit=30).releases_limit == 10


def test_approval_needs_the_version_that_was_looked_at(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        for if_match, error in ((None, PreconditionRequired), (row.version - 1, PreconditionFailed)):
            with pytest.raises(error):
                service.approve(session, means, people.manager, row.number, if_match=if_match)


@pytest.mark.parametrize("effect", [Effect.DENY, Effect.UNAVAILABLE])
def test_approval_asks_policy_again(database, keys, people, patients, effect):
    """Between the assessment and the approval the patient may have withdrawn, and the policies may have changed."""
    means = make.means(keys)
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
    means.engine.effect = effect
    with pytest.raises(AssessmentForbids) as caught, database.transaction() as session:
        service.approve(session, means, people.manager, row.number, if_match=row.version)
    assert problems(caught) == [("/patients/0", "consent.refused")]
    with database.transaction() as session:
        assert service.find(session, row.number).status == "endorsed"
        assert session.exec(select(Grant)).all() == []


def test_approval_is_of_what_was_assessed(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
    with as_owner(database) as owner:
        owner.execute("UPDATE application SET form = jsonb_set(form, '{data}', '[{\"data_class\": \"clinical\"}]')")
    with database.transaction() as session, pytest.raises(AssessmentOutdated):
        service.approve(session, means, people.manager, row.number, if_match=row.version)


def test_a_patient_slipped_in_is_noticed(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
    with as_owner(database) as owner:
        owner.execute("INSERT INTO application_patient VALUES (%s, %s, 2, '')", (patients[2], row.id))
    with database.transaction() as session, pytest.raises(AssessmentOutdated):
        service.approve(session, means, people.manager, row.number, if_match=row.version)


def test_what_has_run_out_is_not_approved(database, means, people, patients, set_clock):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
    set_clock(timedelta(days=91))
    with database.transaction() as session, pytest.raises(NotComplete) as caught:
        service.approve(session, means, people.manager, row.number, if_match=row.version)
    assert problems(caught) == [("/valid_until", "past")]


def test_narrowing(database, keys, people, patients):
    means = make.means(keys, engine=make.StubEngine(denied={patients[2].hex}))
    with database.transaction() as session:
        row = make.endorsed(session, means, people, 1, 2)
        with pytest.raises(AssessmentForbids):
            service.approve(session, means, people.manager, row.number, if_match=row.version)
    narrowing = Narrowing(
        data=(Item(resource_type="Observation", elements=("code",)),), valid_until=clock.today() + timedelta(days=7), releases_limit=2, patients=(1,)
    )
    with database.transaction() as session:
        grant = service.narrow(session, means, people.manager, row.number, narrowing, if_match=row.version, reason=WHY)
        assert grant.terms["data"] == [{"resource_type": "Observation", "elements": ["code"]}]
        assert grant.terms["period"] == row.form["period"]
        assert (grant.releases_limit, grant.valid_until.date()) == (2, clock.today() + timedelta(days=8))
        assert session.exec(select(GrantPatient.patient_key)).all() == [patients[1]]
        assert grant.content_hash != row.content_hash
        assert means.engine.asked[-1].request.data == ({"resource_type": "Observation", "elements": ["code"]},)
        decision = session.exec(select(Decision).where(Decision.action == "narrow")).one()
        # The opinion on what was asked stays on the record beside the decision that went another way.
        assert decision.assessed == "deny"


def test_narrowing_never_widens(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people, 1)
        wider = Narrowing(data=(Item(data_class="clinical"),), patients=(1, 2))
        with pytest.raises(NotNarrower) as caught:
            service.narrow(session, means, people.manager, row.number, wider, if_match=row.version, reason=WHY)
        assert problems(caught) == [("/data/0", "wider"), ("/data", "wider"), ("/patients", "wider")]
        with pytest.raises(NotNarrower):
            service.narrow(session, means, people.manager, row.number, Narrowing(), if_match=row.version, reason=WHY)
        with pytest.raises(ReasonRequired):
            service.narrow(session, means, people.manager, row.number, Narrowing(releases_limit=1), if_match=row.version, reason=None)


def test_a_new_assessment_on_request(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people)
        before = row.version
        means.engine.effect = Effect.DENY
        assert service.reassess(session, means, people.manager, row.number).effect == "deny"
        assert [one.ordinal for one in session.exec(select(Assessment).order_by(col(Assessment.ordinal))).all()] == [1, 2]
        assert row.version == before
        with pytest.raises(NotYourMove):
            service.reassess(session, means, people.applicant, row.number)


def test_a_withdrawal_needs_no_version(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        assert service.withdraw(session, means.keys, people.applicant, row.number).status == "withdrawn"
        with pytest.raises(MoveNotAllowed):
            service.approve(session, means, people.manager, row.number, if_match=row.version)


# --- What is kept, and how -------------------------------------------------------------------------------------------


def test_nothing_that_was_typed_lies_in_plain_sight(own):
    """Names, birth dates, identifiers and free text, as text or hidden in bytes: none is in any table."""
    with own.database.transaction() as session:
        make.drafted(session, own.means, own.people, justification="CANARY-draft")
        row = make.endorsed(session, own.means, own.people, justification="CANARY-submitted")
        service.refuse(session, own.keys, own.people.manager, row.number, if_match=row.version, reason=Reason("CANARY-reason"))
        make.approved(session, own.means, own.people, 2)
        answer = service.Answer(201, {"patients": [make.typed(3)]}, {})
        service.idempotent(session, own.keys, actor="person:x", key="k", request=b"r", act=lambda: answer)
    with psycopg.connect(own.url) as owner:
        tables = [name for (name,) in owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()]
        everything = "".join(str(owner.execute(f'SELECT t::text FROM "{name}" t').fetchall()) for name in tables)
    assert "sharing_grant" in tables
    assert str(own.people.applicant) in everything
    for number in (1, 2, 3):
        said = make.typed(number)
        for secret in (said["name"], said["birthDate"], said["identifier"]["value"]):
            assert secret not in everything
            assert secret.encode().hex() not in everything
    assert "CANARY" not in everything
    assert b"CANARY".hex() not in everything


def test_the_web_process_can_not_change_what_was_decided(own):
    with own.database.transaction() as session:
        make.approved(session, own.means, own.people)
    for statement in (
        "UPDATE application_decision SET action = 'refuse'",
        "DELETE FROM application_decision",
        "UPDATE application_assessment SET effect = 'permit'",
        "UPDATE application_assessment_patient SET effect = 'permit'",
        "UPDATE sharing_grant SET terms = '{}'",
        "UPDATE sharing_grant SET valid_until = now()",
        "DELETE FROM sharing_grant",
        "UPDATE grant_patient SET grant_id = gen_random_uuid()",
        "DELETE FROM grant_patient",
        "DELETE FROM application",
    ):
        with pytest.raises(Exception, match="permission denied"), own.database.transaction() as session:
            session.connection().exec_driver_sql(statement)


def test_shredding_a_patients_key_takes_what_was_typed_with_it(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people)
        sealed = session.exec(select(ApplicationPatient.typed_sealed)).one()
        assert row.patients_sealed is None
    with as_owner(database) as owner:
        owner.execute("UPDATE patient SET wrapped_key = ''")
    with database.transaction() as session:
        assert sealed
        assert service.typed_patients(session, means.keys, service.find(session, row.number)) == [{}]
