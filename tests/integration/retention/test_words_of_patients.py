"""Words that name a patient lie under the patient's key or go with it: complaints, evidence, holds, notes, incidents, cases (PI-3.5)."""

import pytest
from sqlmodel import select

from broker import crypto
from broker.app import destruction
from broker.applications import service as applications
from broker.database import Database
from broker.feedback import service as feedback
from broker.feedback.models import Concern, ConcernAnswer, ConcernKind, ConcernPatient
from broker.identity import service as identity
from broker.incidents import emergencies, forgetting, violations
from broker.incidents import service as incidents
from broker.incidents.models import EmergencyAccess, Incident, IncidentPatient, IncidentStep, Violation
from broker.obligations import evidence
from broker.obligations import service as obligations
from broker.obligations.models import Obligation, RecallNotice
from broker.records import service as records
from broker.retention import service as retention
from broker.retention.models import RetentionHold
from tests.factories import applications as make
from tests.integration.obligations.test_obligations import sent

CANARY = "CANARY 张伟1 的血型"


@pytest.fixture
def callers(own):
    with own.database.transaction() as session:
        return {name: identity.caller_for(session, getattr(own.people, name)) for name in ("manager", "second_manager", "applicant")}


def under_house(keys, owner, text=CANARY):
    """As an earlier version sealed the words of concerns."""
    return crypto.seal(keys.blind("concern-text", owner.hex), text.encode(), b"text")


def test_what_an_earlier_version_wrote_is_sealed_anew_once(own, callers):
    keys, key = own.keys, own.patients[1]
    with own.database.transaction() as session:
        concern = feedback.concerns.raise_concern(session, keys, kind=ConcernKind.COMPLAINT, text="x", patient=key)
        grant = make.approved(session, own.means, own.people, 1)
        sent(session, grant, key)
        hold = retention.hold(session, keys, callers["manager"], patient="p-1", kind="legal", reason="x")
    with own.database.transaction() as session:
        obligations.follow(session, keys, days=15)
    with own.database.transaction() as session:
        gone = obligations.Answer(obligations.Done.DELETED, "wiped", CANARY)
        obligations.answer(session, keys, callers["applicant"], grant.number, (), gone)
    owner = Database(own.url, "owner", pool=0)
    with owner.transaction() as session:  # As they lay before.
        row = session.get(Concern, concern.id)
        session.delete(session.exec(select(ConcernPatient)).one())
        row.text_sealed = under_house(keys, row.id)
        owed = session.exec(select(Obligation)).first()
        owed.evidence_sealed = applications.seal_text(keys, owed.id, "obligation|evidence", CANARY)
        kept = session.exec(select(RetentionHold)).one()
        kept.reason_sealed = applications.seal_text(keys, kept.id, "hold", CANARY)
        session.add_all([row, owed, kept])
    owner.dispose()
    for again in (False, True):
        with own.database.transaction() as session:
            counts = (feedback.concerns.reseal(session, keys), evidence.reseal(session, keys), retention.reseal_holds(session, keys))
            assert counts == ((0, 0, 0) if again else (1, 1, 1))
            row, owed = session.get(Concern, concern.id), session.exec(select(Obligation)).first()
            kept = session.exec(select(RetentionHold).where(RetentionHold.id == hold.id)).one()
            assert all(records.under_patient(one) for one in (row.text_sealed, owed.evidence_sealed, kept.reason_sealed))
            assert feedback.concerns.text_of(session, keys, row) == CANARY
            assert obligations.evidence_of(session, keys, owed) == CANARY
            assert retention.reason_of(session, keys, kept) == CANARY


def test_with_the_key_every_word_goes_and_what_is_about_others_stays(own, callers):
    keys, key, manager = own.keys, own.patients[1], callers["manager"]
    with own.database.transaction() as session:
        grant = make.approved(session, own.means, own.people, 1)
        raise_ = lambda **given: feedback.concerns.raise_concern(session, keys, kind=ConcernKind.COMPLAINT, text=CANARY, **given)  # noqa: E731
        mine, about, other = raise_(patient=key), raise_(person=own.people.applicant, application=grant.number), raise_(patient=own.patients[2])
        feedback.concerns.answer(session, keys, manager, about.number, text=CANARY, verdict=feedback.concerns.Verdict.UPHELD)
        case = incidents.report(session, keys, manager.actor, kind=incidents.Kind.OTHER, summary=CANARY)
        shared = incidents.report(session, keys, manager.actor, kind=incidents.Kind.OTHER, summary="两名患者")
        session.add_all(
            [
                IncidentPatient(patient_key=key, incident_id=case.id),
                *(IncidentPatient(patient_key=own.patients[n], incident_id=shared.id) for n in (1, 2)),
            ]
        )
        session.flush()
        glass = emergencies.break_glass(
            session, own.means, callers["applicant"], recipient=make.RECIPIENT, patient=make.typed(1), reason=CANARY, second_factor=None, minutes=60,
            review_hours=72,
        )  # fmt: skip
        emergencies.review(session, keys, manager, glass.application, misuse=True, text=CANARY)
        sent(session, grant, key)
    with own.database.transaction() as session:
        obligations.follow(session, keys, days=15)
        (violation,) = violations.many(session, manager)
        assert violations.words(keys, violation)["told"] == CANARY
    with own.database.transaction() as session:
        obligations.answer(session, keys, callers["applicant"], grant.number, (), obligations.Answer(obligations.Done.DELETED, "wiped", CANARY))
        order = retention.propose(
            session, keys, actor=manager.actor, natural_person=manager.natural_person, kind="shred", reason="request", method="crypto-shredding",
            patients=[key],
        )  # fmt: skip
        retention.approve(session, keys, destruction(), callers["second_manager"], order.number)
    with own.database.transaction() as session:
        found = lambda row: feedback.concerns.text_of(session, keys, session.get(Concern, row.id))  # noqa: E731
        assert (found(mine), found(about), found(other)) == ("", "", CANARY)
        assert [one.text_sealed for one in session.exec(select(ConcernAnswer)).all()] == [b""]
        assert incidents.opened(keys, case, "summary", session.get(Incident, case.id).summary_sealed) is None
        assert incidents.opened(keys, shared, "summary", session.get(Incident, shared.id).summary_sealed) == "两名患者"
        assert all(one.text_sealed is None for one in session.exec(select(IncidentStep).where(IncidentStep.incident_id == case.id)).all())
        row = session.exec(select(Violation)).one()
        assert violations.words(keys, row) == dict.fromkeys(("told", "heard", "reasons", "appeal"))
        assert obligations.evidence_of(session, keys, session.exec(select(Obligation)).first()) is None
        assert emergencies.note_of(session, keys, manager, session.exec(select(EmergencyAccess)).one()) is None
        assert session.exec(select(RecallNotice)).all() == []
        assert forgetting.reseal(session, keys) == 0
    with own.database.transaction() as session:
        obligations.follow(session, keys, days=15)  # The destruction calls back; what is answered after it is readable by the hospital.
        (notice,) = session.exec(select(RecallNotice)).all()
        number = obligations.many_recalls(session, manager)[0][0].number
        obligations.acknowledge(
            session, keys, callers["applicant"], number, notice.application, obligations.Answer(obligations.Done.DELETED, "wiped", "清除")
        )
        assert obligations.recall_evidence_of(session, keys, notice) == "清除"
