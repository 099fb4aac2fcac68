"""The rest of the workflow: owners of data, reviews as steps of their own, quorum, interests, standing in, deadlines, asking again, documents."""

from datetime import UTC, timedelta

import pytest
from sqlmodel import select

from broker import clock
from broker.applications import attachments, service, telling
from broker.applications.bulk import BulkAction
from broker.applications.errors import (
    AttachmentRefused,
    DelegationRefused,
    FourEyes,
    InterestDeclared,
    MoveNotAllowed,
    NoSuchApplication,
    NoSuchAttachment,
    NotNarrower,
    NotYourMove,
    ReasonRequired,
    StepsMissing,
)
from broker.applications.models import Attachment, Decision
from broker.applications.service import SPEND_SQL, Chosen, Narrowing, Reason, ReasonCode
from broker.audit.models import AuditEvent
from broker.identity.access import Role
from broker.identity.models import Person
from broker.identity.service import caller_for
from broker.notifications.models import Notification
from broker.workforce import service as workforce
from broker.workforce.errors import NotQualified
from tests.factories import applications as make
from tests.factories import identity

WHY = Reason("因利害关系回避。")


def step(session, its, verb, person, row, **more):
    """Take a step on the version as it stands."""
    return getattr(service, verb)(session, its.keys, person, row.number, if_match=row.version, **more)


def approve(session, its, person, row, **more):
    return service.approve(session, its, person, row.number, if_match=row.version, **more)


def lacking(error):
    return [problem.code for problem in error.value.problems]


# --- Owners, reviews, quorum -----------------------------------------------------------------------------------------


@pytest.fixture
def laboratory(database, means, people):
    """The hospital's laboratory, to which laboratory data belong, and its head."""
    with database.transaction() as session:
        identity.organization(session, "renhe-laboratory", parent_id="renhe", kind="department")
        service.set_owners(session, means, "system", {"clinical.laboratory": "renhe-laboratory"})
        return identity.person(session, "department_head", organization_id="renhe-laboratory").id


def test_the_department_to_which_the_data_belong_agrees_first(database, means, people, patients, laboratory):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        assert row.needs == ["agree:renhe-laboratory"]
        with pytest.raises(StepsMissing) as error:
            approve(session, means, people.manager, row)
        assert lacking(error) == ["agree renhe-laboratory"]
        with pytest.raises(NoSuchApplication):
            step(session, means, "agree", people.inside_head, row)
        with pytest.raises(NotYourMove):
            step(session, means, "agree", people.manager, row)
        assert [one.number for one in service.many(session, laboratory).items] == [row.number]
        assert "agree" in service.actions(session, service.look(session, laboratory, row.number))
        step(session, means, "agree", laboratory, row)
        assert "agree" not in service.actions(session, service.look(session, laboratory, row.number))
        grant = approve(session, means, people.manager, row)
        assert grant.approved_by == 3


def test_its_head_may_also_return_or_refuse_and_others_see_nothing_of_it(database, means, people, patients, laboratory):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        with pytest.raises(NoSuchApplication):
            service.look(session, people.inside_head, row.number)
        step(session, means, "return_", laboratory, row, reason=WHY)
        assert row.status == "returned"


def test_data_of_nobody_and_of_ones_own_need_nobodys_agreement(database, means, people, patients, laboratory):
    with database.transaction() as session:
        assert make.submitted(session, means, people, data=[{"data_class": "financial"}]).needs == []
        assert make.submitted(session, means, people, 2, data=[{"data_class": "clinical"}]).needs == ["agree:renhe-laboratory"]
        assert make.submitted(session, means, people, 3, data=[{"resource_type": "DiagnosticReport"}]).needs == ["agree:renhe-laboratory"]
        own = identity.person(session, "applicant", organization_id="renhe-laboratory").id
        assert make.submitted(session, means, people, by=own, recipient="renhe-laboratory").needs == []


def test_legality_and_necessity_are_steps_of_their_own_where_the_hospital_wants_them(database, keys, people, patients):
    means = make.means(keys, reviews=True)
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        with pytest.raises(StepsMissing) as error:
            approve(session, means, people.manager, row)
        assert lacking(error) == ["legality", "necessity"]
        step(session, means, "legality", people.manager, row)
        step(session, means, "necessity", people.second_manager, row)
        approve(session, means, people.second_manager, row)
        actions = [one.action for one in session.exec(select(Decision).order_by(Decision.version)).all()]
        assert actions == ["submit", "endorse", "legality", "necessity", "approve"]


def test_a_returned_application_is_reviewed_anew(database, keys, people, patients):
    means = make.means(keys, reviews=True)
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        step(session, means, "legality", people.manager, row)
        step(session, means, "return_", people.manager, row, reason=WHY)
        service.submit(session, means, people.applicant, row.number, if_match=row.version)
        step(session, means, "endorse", people.head, row)
        with pytest.raises(StepsMissing) as error:
            approve(session, means, people.manager, row)
        assert lacking(error) == ["legality", "necessity"]


def test_whoever_applied_or_endorsed_does_not_review(database, keys, people, patients):
    means = make.means(keys, reviews=True)
    with database.transaction() as session:
        row = make.submitted(session, means, people, by=people.manager)
        step(session, means, "endorse", people.head, row)
        for verb in ("legality", "necessity", "concur"):
            with pytest.raises(FourEyes):
                step(session, means, verb, people.manager, row)


def test_a_quorum_counts_natural_persons(database, keys, people, patients):
    means = make.means(keys, quorum=3)
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        with pytest.raises(StepsMissing) as error:
            approve(session, means, people.manager, row)
        assert lacking(error) == ["concur"]
        step(session, means, "concur", people.manager, row)
        with pytest.raises(FourEyes):
            approve(session, means, people.manager, row)
        again = identity.person(
            session, "information_manager", organization_id="renhe", natural_person=session.get(Person, people.manager).natural_person
        )
        with pytest.raises(FourEyes):
            approve(session, means, again.id, row)
        assert approve(session, means, people.second_manager, row).approved_by == 3


# --- Interests -------------------------------------------------------------------------------------------------------


def test_who_declares_an_interest_takes_no_step_in_any_round_under_any_account(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        with pytest.raises(ReasonRequired):
            step(session, means, "recuse", people.manager, row, reason=None)
        step(session, means, "recuse", people.manager, row, reason=WHY)
        natural = session.get(Person, people.manager).natural_person
        again = identity.person(session, "information_manager", organization_id="renhe", natural_person=natural).id
        for who in (people.manager, again):
            assert service.actions(session, service.look(session, who, row.number)) == ["assess", "recuse"]
            for verb in ("concur", "return_", "refuse"):
                with pytest.raises(InterestDeclared):
                    step(session, means, verb, who, row, **({} if verb == "concur" else {"reason": WHY}))
        step(session, means, "return_", people.second_manager, row, reason=WHY)
        service.submit(session, means, people.applicant, row.number, if_match=row.version)
        with pytest.raises(InterestDeclared):
            step(session, means, "return_", people.manager, row, reason=WHY)


def test_who_has_an_account_at_the_recipient_does_not_decide_for_the_hospital(database, means, people, patients):
    with database.transaction() as session:
        natural = session.get(Person, people.manager).natural_person
        identity.person(session, "applicant", organization_id="shengli", natural_person=natural)
        row = make.endorsed(session, means, people)
        with pytest.raises(InterestDeclared):
            approve(session, means, people.manager, row)
        approve(session, means, people.second_manager, row)


# --- Standing in -----------------------------------------------------------------------------------------------------


def lend(session, person, to, role=Role.DEPARTMENT_HEAD, organization=make.RECIPIENT, days=7, by=None, since=None):
    since = since or clock.now()
    return service.delegate(
        session, caller_for(session, by or person), person=person, to=to, role=role, organization=organization, since=since,
        until=since + timedelta(days=days),
    )  # fmt: skip


def test_a_colleague_stands_in_for_a_while_and_it_is_on_record(database, means, people, patients, set_clock):
    set_clock(clock.now())
    with database.transaction() as session:
        colleague = identity.person(session, organization_id=make.RECIPIENT).id
        row = make.submitted(session, means, people)
        with pytest.raises(NoSuchApplication):
            step(session, means, "endorse", colleague, row)
        lend(session, people.head, colleague)
        step(session, means, "endorse", colleague, row)
        decision = session.exec(select(Decision).where(Decision.action == "endorse")).one()
        assert (decision.person_id, decision.on_behalf_of) == (colleague, people.head)
        thread = service.exchange(session, means.keys, service.look(session, people.manager, row.number))
        assert [one.on_behalf_of.id for one in thread.decisions if one.on_behalf_of] == [people.head]
        other = make.submitted(session, means, people, 2)
        set_clock(timedelta(days=7))
        with pytest.raises(NoSuchApplication):
            step(session, means, "endorse", colleague, other)


def test_whose_own_office_it_is_acts_as_themselves(database, means, people, patients):
    with database.transaction() as session:
        lend(session, people.manager, people.second_manager, Role.INFORMATION_MANAGER, "renhe-information")
        row = make.endorsed(session, means, people)
        approve(session, means, people.second_manager, row)
        assert session.exec(select(Decision).where(Decision.action == "approve")).one().on_behalf_of is None


def test_standing_in_never_makes_two_eyes_of_four(database, means, people, patients):
    with database.transaction() as session:
        lend(session, people.head, people.applicant)
        row = make.submitted(session, means, people)
        with pytest.raises(FourEyes):
            step(session, means, "endorse", people.applicant, row)


def test_an_office_taken_back_or_lost_is_no_longer_lent(database, means, people, patients):
    with database.transaction() as session:
        colleague = identity.person(session, organization_id=make.RECIPIENT).id
        row = make.submitted(session, means, people)
        lent = lend(session, people.head, colleague)
        service.end_delegation(session, caller_for(session, people.head), lent.id)
        with pytest.raises(NoSuchApplication):
            step(session, means, "endorse", colleague, row)
        lend(session, people.head, colleague)
        session.get(Person, people.head).status = "suspended"
        session.flush()
        with pytest.raises(NoSuchApplication):
            step(session, means, "endorse", colleague, row)


def test_what_can_not_be_lent(database, means, people, patients):
    with database.transaction() as session:
        administrator = identity.person(session, "administrator", organization_id="renhe").id
        colleague = identity.person(session, organization_id="renhe-information").id
        manager, role, office = people.manager, Role.INFORMATION_MANAGER, "renhe-information"
        for wrong in (
            lambda: lend(session, manager, people.auditor, role, office),  # Roles apart.
            lambda: lend(session, manager, administrator, role, office),
            lambda: lend(session, manager, people.stranger, role, office),  # Another house.
            lambda: lend(session, manager, manager, role, office),
            lambda: lend(session, manager, colleague, Role.DEPARTMENT_HEAD, office),  # Not held.
            lambda: lend(session, manager, colleague, role, office, by=people.second_manager),  # Not theirs.
            lambda: lend(session, manager, colleague, role, office, days=400),
            lambda: lend(session, manager, colleague, role, office, days=3, since=clock.now() - timedelta(days=5)),
        ):
            with pytest.raises(DelegationRefused):
                wrong()
        assert lend(session, manager, colleague, role, office, by=administrator).created_by == administrator


# --- Deadlines -------------------------------------------------------------------------------------------------------


def told(session, kind):
    return [row.recipient for row in session.exec(select(Notification).where(Notification.kind == kind).order_by(Notification.at)).all()]


def test_each_step_tells_those_for_whom_it_waits(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people)
        assert set(told(session, "application.to-endorse")) == {f"person:{people.head}"}
        step(session, means, "endorse", people.head, row)
        assert set(told(session, "application.to-decide")) == {f"person:{people.manager}", f"person:{people.second_manager}"}
        step(session, means, "return_", people.manager, row, reason=WHY)
        assert told(session, "application.returned") == [f"person:{people.applicant}"]
        everything = str([row.facts for row in session.exec(select(Notification)).all()])
        assert "张" not in everything
        assert "MRN" not in everything


@pytest.mark.parametrize(("urgency", "hours"), [("routine", 120), ("urgent", 24), ("emergency", 2)])
def test_a_late_step_is_reminded_of_and_then_goes_one_up(database, means, people, patients, set_clock, urgency, hours):
    start = clock.now()
    set_clock(start)
    with database.transaction() as session:
        row = make.submitted(session, means, people, urgency=urgency)
        assert row.due_at == start + timedelta(hours=hours / 2)
        set_clock(start + timedelta(hours=hours / 2) - timedelta(seconds=1))
        assert telling.remind(session, means.keys) == 0
        set_clock(start + timedelta(hours=hours / 2))
        assert telling.remind(session, means.keys) == 1
        assert telling.remind(session, means.keys) == 0
        assert told(session, "application.overdue") == [f"person:{people.head}"]
        set_clock(start + timedelta(hours=hours))
        assert telling.remind(session, means.keys) == 2
        step(session, means, "endorse", people.head, row)
        assert row.due_at == start + timedelta(hours=hours)
        assert service.one(session, means.keys, service.look(session, people.manager, row.number)).late
        approve(session, means, people.manager, row)
        assert row.due_at is None
        assert telling.remind(session, means.keys) == 0


def test_a_grant_that_ends_soon_is_told(database, means, people, patients, set_clock):
    start = clock.now()
    set_clock(start)
    with database.transaction() as session:
        grant = make.approved(session, means, people, valid_until=(clock.today() + timedelta(days=40)).isoformat())
        for days in range(42):
            set_clock(start + timedelta(days=days))
            telling.remind(session, means.keys)
        assert told(session, "grant.expiring") == [f"person:{people.applicant}"] * 2
        assert service.expire_due(session, means.keys) == 1
        assert told(session, "grant.ended") == [f"person:{people.applicant}", f"organization:{grant.recipient_id}"]


# --- Asking again ----------------------------------------------------------------------------------------------------


def test_a_renewal_begins_with_everything_and_takes_the_place_of_what_it_renews(database, means, people, patients):
    with database.transaction() as session:
        old = make.approved(session, means, people, 1, 2)
        draft = service.again(session, means.keys, people.applicant, old.number, service.Relation.RENEWAL)
        shown = service.one(session, means.keys, service.look(session, people.applicant, str(draft.id)))
        assert (shown.relation, shown.status.value, shown.valid_until) == ("renewal", "draft", None)
        assert [patient.name for patient in shown.patients] == ["张伟1", "张伟2"]
        assert shown.justification == make.form()["justification"]
        with pytest.raises(MoveNotAllowed):
            service.again(session, means.keys, people.applicant, old.number, service.Relation.AMENDMENT)
        until = (clock.today() + timedelta(days=200)).isoformat()
        service.update(session, means.keys, people.applicant, str(draft.id), {"valid_until": until}, if_match=draft.version, whole=False)
        service.submit(session, means, people.applicant, str(draft.id), if_match=draft.version)
        step(session, means, "endorse", people.head, draft)
        assert old.status == "active"
        new = approve(session, means, people.manager, draft)
        session.refresh(old)
        assert (old.status, new.status) == ("closed", "active")
        last = session.exec(select(Decision).where(Decision.application_id == old.application_id).order_by(Decision.version.desc())).first()
        assert (last.action, last.reason_code) == ("replace", ReasonCode.REPLACED)


def test_only_the_requester_and_only_what_was_approved(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people)
        with pytest.raises(MoveNotAllowed):
            service.again(session, means.keys, people.applicant, row.number, service.Relation.RENEWAL)
        grant = make.approved(session, means, people, 2)
        with pytest.raises(NotYourMove):
            service.again(session, means.keys, people.manager, grant.number, service.Relation.RENEWAL)
        with pytest.raises(NoSuchApplication):
            service.again(session, means.keys, people.stranger, grant.number, service.Relation.RENEWAL)


def test_what_a_resubmission_changed_is_marked(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people, 1, 2)
        assert service.differences(session, means.keys, row) == []
        step(session, means, "return_", people.manager, row, reason=WHY)
        changes = {"patients": [make.typed(1), make.typed(3)], "retention_days": 10, "justification": "只需化验结果。",
                   "data": [{"data_class": "clinical.laboratory"}]}  # fmt: skip
        service.update(session, means.keys, people.applicant, row.number, changes, if_match=row.version, whole=False)
        service.submit(session, means, people.applicant, row.number, if_match=row.version)
        found = {one.path: (one.before, one.after) for one in service.differences(session, means.keys, row)}
        assert found == {
            "/data": ([{"resource_type": "Observation", "elements": ["code", "value"]}], None),
            "/retention_days": (30, 10),
            "/patients": ({"removed": 1}, {"added": 1}),
            "/justification": (make.form()["justification"], "只需化验结果。"),
        }


# --- Documents -------------------------------------------------------------------------------------------------------

PDF = b"%PDF-1.7 CANARY-content"


def attach(session, its, person, row, content=PDF, media_type="application/pdf", **more):
    given = {"kind": attachments.AttachmentKind.ETHICS_APPROVAL, "name": "CANARY-张伟.pdf", "max_bytes": 1000, **more}
    return service.attach(session, its.keys, person, str(row.id), content=content, media_type=media_type, **given)


def test_documents_are_sealed_and_opened_on_record(database, means, people, patients):
    with database.transaction() as session:
        row = make.drafted(session, means, people)
        made = attach(session, means, people.applicant, row)
        stored = session.get(Attachment, made.id)
        assert b"CANARY" not in stored.name_sealed + stored.body_sealed
        assert "CANARY" not in stored.digest
        service.submit(session, means, people.applicant, str(row.id), if_match=row.version)
        shown = service.one(session, means.keys, service.look(session, people.manager, row.number))
        assert [(one.kind, one.name, one.size) for one in shown.attachments] == [("ethics-approval", "CANARY-张伟.pdf", len(PDF))]
        application = service.look(session, people.manager, row.number).application
        assert service.opened(session, means.keys, application, made.id, f"person:{people.manager}")[1] == PDF
        leaves = session.exec(select(AuditEvent.leaf).where(AuditEvent.type == "application.attachment-opened")).all()
        assert len(leaves) == 1
        assert "CANARY" not in leaves[0]
        with pytest.raises(MoveNotAllowed):
            attach(session, means, people.applicant, row)
        with pytest.raises(MoveNotAllowed):
            service.detach(session, people.applicant, row.number, made.id)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(b"<html>", "application/pdf"), (PDF, "text/html"), (b"", "application/pdf"), (PDF + b"x" * 1000, "application/pdf"), (PDF, "image/png"),
     (b"MZ", "application/octet-stream")],
)  # fmt: skip
def test_what_is_no_document_is_refused(database, means, people, patients, content, media_type):
    with database.transaction() as session, pytest.raises(AttachmentRefused):
        attach(session, means, people.applicant, make.drafted(session, means, people), content, media_type)


def test_documents_belong_to_the_requesters_draft_and_are_few(database, means, people, patients):
    with database.transaction() as session:
        row, other = make.drafted(session, means, people), make.drafted(session, means, people, 2)
        with pytest.raises(NoSuchApplication):
            attach(session, means, people.stranger, row)
        made = [attach(session, means, people.applicant, row, content=PDF + str(one).encode()) for one in range(attachments.MOST)]
        with pytest.raises(AttachmentRefused):
            attach(session, means, people.applicant, row)
        with pytest.raises(NoSuchAttachment):
            service.detach(session, people.applicant, str(other.id), made[0].id)
        service.detach(session, people.applicant, str(row.id), made[0].id)
        attach(session, means, people.applicant, row)


# --- Limits ----------------------------------------------------------------------------------------------------------


def spent(session, grant, at):
    return session.connection().exec_driver_sql(SPEND_SQL, {"grant": grant.id, "at": at}).first() is not None


def test_a_frequency_holds_within_each_window(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        grant = approve(session, means, people.manager, row, frequency=(2, 3600), releases_limit=5)
        start = clock.now()
        times = [0, 10, 20, 3599, 3600, 3601, 3700, 7200, 7201]
        assert [spent(session, grant, start + timedelta(seconds=at)) for at in times] == [
            True, True, False, False, True, True, False, True, False,
        ]  # fmt: skip
        session.refresh(grant)
        assert (grant.releases_used, grant.terms["frequency"]) == (5, {"releases": 2, "seconds": 3600})


def test_a_narrowed_frequency_is_kept_and_a_wider_one_refused(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        given = {"if_match": row.version, "reason": WHY}
        grant = service.narrow(session, means, people.manager, row.number, Narrowing(frequency=(1, 86_400)), **given)
        assert (grant.frequency_limit, grant.frequency_seconds) == (1, 86_400)
        second = make.endorsed(session, means, people, 2)
        with pytest.raises(NotNarrower):
            service.narrow(session, means, people.manager, second.number, Narrowing(), if_match=second.version, reason=WHY)


# --- The register of qualifications ----------------------------------------------------------------------------------


def test_a_training_that_ran_out_keeps_everybody_from_their_step(database, means, people, patients):
    with database.transaction() as session:
        for stepped in (workforce.Step.APPLY, workforce.Step.ENDORSE, workforce.Step.DECIDE):
            workforce.set_demands(session, "system", stepped, ["training.privacy"])
        draft = make.drafted(session, means, people)

        def train(person):
            today = clock.today()
            workforce.add(session, "system", workforce.Register.TRAINING, person=person, code="training.privacy", number="1", zone=UTC,
                          issued_on=today, valid_until=today + timedelta(days=1))  # fmt: skip

        with pytest.raises(NotQualified):
            service.submit(session, means, people.applicant, str(draft.id), if_match=draft.version)
        train(people.applicant)
        row = service.submit(session, means, people.applicant, str(draft.id), if_match=draft.version)
        with pytest.raises(NotQualified):
            step(session, means, "endorse", people.head, row)
        train(people.head)
        step(session, means, "endorse", people.head, row)
        with pytest.raises(NotQualified):
            approve(session, means, people.manager, row)
        train(people.manager)
        approve(session, means, people.manager, row)


# --- Many at once ----------------------------------------------------------------------------------------------------


def test_one_step_for_many_takes_each_by_itself(database, means, people, patients):
    with database.transaction() as session:
        rows = [make.endorsed(session, means, people, number) for number in (1, 2)]
        own = make.submitted(session, means, people, 3, by=people.manager)
        chosen = [Chosen(rows[1].number, rows[1].version), Chosen(own.number, own.version), Chosen("SA-2026-999999", 1), Chosen(rows[0].number, 1)]
        became = service.bulk(session, means, people.manager, BulkAction.APPROVE, chosen, None)
        assert [(one.ref, one.error.code if one.error else None) for one in became] == [
            (rows[1].number, None),
            (own.number, "application-state"),
            ("SA-2026-999999", "application-not-found"),
            (rows[0].number, "precondition-failed"),
        ]
        assert service.of_application(session, rows[1]).status == "active"
        assert service.of_application(session, rows[0]) is None
