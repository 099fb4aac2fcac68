"""Terms of use: versioned, binding organisations and networks, accepted before a grant lives."""

import pytest
from sqlmodel import select

from broker import clock
from broker.applications import service
from broker.applications.errors import AgreementInvalid, NoSuchAgreement
from broker.applications.models import Decision
from broker.applications.service import SPEND_SQL, GrantRegister
from broker.audit.models import AuditEvent
from broker.errors import Forbidden
from broker.identity.service import caller_for
from broker.notifications.models import Notification
from tests.factories import applications as make

TITLE, TEXT = ("数据使用条款", "Terms of use"), ("仅用于所批准的目的。", "For the approved purpose alone.")


def publish(session, people, name="terms", organization=None, network=None):
    return service.publish(session, caller_for(session, people.manager), id=name, organization=organization, network=network, title=TITLE, text=TEXT)


def accept(session, means, person, name="terms", version=1, organization=make.RECIPIENT):
    return service.accept_terms(session, means.keys, caller_for(session, person), name, version, organization)


def test_a_grant_waits_until_the_recipients_head_accepts(database, means, people, patients):
    with database.transaction() as session:
        publish(session, people, organization="shengli")
        grant = make.approved(session, means, people)
        assert grant.status == "awaiting"
        view = GrantRegister(means.keys, make.TYPES_OF).grant_by_id(session, grant.id)
        assert not view.usable(clock.now())
        assert session.connection().exec_driver_sql(SPEND_SQL, {"grant": grant.id, "at": clock.now()}).first() is None
        told = session.exec(select(Notification).where(Notification.kind == "terms.to-accept")).one()
        assert told.recipient == f"organization:{make.RECIPIENT}"
        for nobody in (people.applicant, people.manager, people.stranger, people.inside_head):
            with pytest.raises(Forbidden):
                accept(session, means, nobody)
        accept(session, means, people.head)
        session.refresh(grant)
        assert grant.status == "active"
        assert session.connection().exec_driver_sql(SPEND_SQL, {"grant": grant.id, "at": clock.now()}).first() is not None
        last = session.exec(select(Decision).order_by(Decision.version.desc())).first()
        assert (last.action, last.person_id) == ("accept", people.head)
        assert make.approved(session, means, people, 2).status == "active"
        happened = set(session.exec(select(AuditEvent.type)).all())
        assert {"agreement.published", "agreement.accepted", "grant.accepted"} <= happened


def test_the_newest_version_of_every_agreement_is_what_binds(database, means, people, patients):
    with database.transaction() as session:
        service.set_network(session, "system", id="consortium", name_zh="医联体", name_en="Consortium", members=["shengli"])
        publish(session, people, "general")
        publish(session, people, "network-terms", network="consortium")
        publish(session, people, "others", organization="qingyuan")
        assert [row.id for row in service.outstanding(session, make.RECIPIENT)] == ["general", "network-terms"]
        assert [row.id for row in service.outstanding(session, "renhe-cardiology")] == []
        grant = make.approved(session, means, people)
        accept(session, means, people.head, "general")
        session.refresh(grant)
        assert grant.status == "awaiting"
        publish(session, people, "network-terms", network="consortium")
        with pytest.raises(NoSuchAgreement):
            accept(session, means, people.head, "network-terms")
        accept(session, means, people.head, "network-terms", 2)
        session.refresh(grant)
        assert grant.status == "active"
        assert [row.version for row in service.agreement_versions(session, "network-terms")] == [2, 1]


def test_what_is_no_agreement(database, means, people, patients):
    with database.transaction() as session:
        for wrong in ({"name": "Not an id"}, {"network": "unheard-of"}, {"network": "n", "organization": "shengli"}):
            with pytest.raises(AgreementInvalid):
                publish(session, people, **wrong)
        with pytest.raises(AgreementInvalid):
            service.set_network(session, "system", id="No", name_zh="x", name_en="x", members=[])
        with pytest.raises(NoSuchAgreement):
            service.agreement_versions(session, "unheard-of")


def test_a_grant_that_waits_can_be_revoked_and_runs_out(database, means, people, patients, set_clock):
    with database.transaction() as session:
        publish(session, people)
        first, second = make.approved(session, means, people), make.approved(session, means, people, 2)
        service.revoke(session, means.keys, people.manager, first.number, reason=service.Reason("不再需要。"))
        set_clock(second.valid_until)
        assert service.expire_due(session, means.keys) == 1
        accept(session, means, people.head)
        session.refresh(first)
        session.refresh(second)
        assert (first.status, second.status) == ("revoked", "expired")
