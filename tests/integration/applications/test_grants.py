"""A grant after approval: stopped, ended, run out, counted; and what the release path and identity are told of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy.exc import OperationalError
from sqlmodel import col, select

from broker import clock
from broker.applications import service
from broker.applications.errors import FourEyes, GrantDamaged, MoveNotAllowed, NoGrant, NoSuchApplication, NotYourMove, ReasonRequired
from broker.applications.models import Decision
from broker.applications.service import COLUMNS, GRANT_FACTS_SQL, SPEND_SQL, GrantRegister, Reason, grant_from_row
from broker.audit.models import AuditEvent
from broker.database import gate_lock
from broker.errors import PreconditionFailed
from broker.identity.models import Client, Organization, Person
from tests.factories import applications as make
from tests.factories import identity

WHY = Reason("接收方违反约定。")


def raw(session):
    """The cursor of the release path, on this test's connection."""
    return session.connection().connection.driver_connection.cursor(row_factory=dict_row)


def facts_of(session, grant, *patients):
    row = raw(session).execute(GRANT_FACTS_SQL, {"grant": grant.id, "patients": list(patients)}).fetchone()
    return grant_from_row(row)


def spend(session, grant, at=None):
    return raw(session).execute(SPEND_SQL, {"grant": grant.id, "at": at or clock.now()}).fetchone()


# --- The verbs -------------------------------------------------------------------------------------------------------


def test_suspended_resumed_revoked(database, means, people, patients):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        for verb, status in ((service.suspend, "suspended"), (service.resume, "active"), (service.revoke, "revoked")):
            assert verb(session, means.keys, people.manager, grant.number, reason=WHY).status == status
            assert facts_of(session, grant).grant.status == status
        with pytest.raises(MoveNotAllowed):
            service.resume(session, means.keys, people.manager, grant.number, reason=WHY)
        happened = [
            row.type for row in session.exec(select(AuditEvent).where(AuditEvent.grant_id == str(grant.id)).order_by(col(AuditEvent.seq))).all()
        ]
        assert happened == ["application.approved", "grant.suspended", "grant.resumed", "grant.revoked"]
        assert [row.action for row in session.exec(select(Decision).order_by(col(Decision.version))).all()][-3:] == ["suspend", "resume", "revoke"]


def test_the_requester_closes_and_nobody_else(database, means, people, patients):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        for other in (people.manager, people.head):
            with pytest.raises(NotYourMove):
                service.close(session, means.keys, other, grant.number, reason=WHY)
        with pytest.raises(NoSuchApplication):
            service.close(session, means.keys, people.stranger, grant.number, reason=WHY)
        assert service.close(session, means.keys, people.applicant, grant.number, reason=WHY).status == "closed"


def test_revoking_needs_the_role_a_reason_and_a_grant(database, means, people, patients):
    with database.transaction() as session:
        row = make.endorsed(session, means, people)
        with pytest.raises(NoGrant):
            service.revoke(session, means.keys, people.manager, row.number, reason=WHY)
        grant = service.approve(session, means, people.manager, row.number, if_match=row.version)
        with pytest.raises(ReasonRequired):
            service.revoke(session, means.keys, people.manager, grant.number, reason=None)
        for other in (people.applicant, people.head, people.auditor):
            with pytest.raises(NotYourMove):
                service.revoke(session, means.keys, other, grant.number, reason=WHY)
        with pytest.raises(PreconditionFailed):
            service.revoke(session, means.keys, people.manager, grant.number, reason=WHY, if_match=1)


def test_nobody_resumes_what_they_applied_for(database, means, people, patients):
    with database.transaction() as session:
        row = make.submitted(session, means, people, by=people.manager)
        service.endorse(session, means.keys, people.head, row.number, if_match=row.version)
        service.approve(session, means, people.second_manager, row.number, if_match=row.version)
        service.suspend(session, means.keys, people.manager, row.number, reason=WHY)
        with pytest.raises(FourEyes):
            service.resume(session, means.keys, people.manager, row.number, reason=WHY)


def test_taking_away_waits_for_the_gate_and_not_for_strangers(own):
    """A release on its way holds the grant's gate shared; a revocation waits for it. Somebody without the right never does."""
    with own.database.transaction() as session:
        grant = make.approved(session, own.means, own.people)
    with psycopg.connect(own.url) as release:
        release.execute("SELECT pg_advisory_xact_lock_shared(%s)", (gate_lock("grant", str(grant.id)),))
        for who, error in ((own.people.manager, OperationalError), (own.people.applicant, NotYourMove)):
            with own.database.transaction() as session:
                session.connection().exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
                with pytest.raises(error):
                    service.revoke(session, own.keys, who, grant.number, reason=WHY)
                session.rollback()
        release.rollback()
        with own.database.transaction() as session:
            assert service.revoke(session, own.keys, own.people.manager, grant.number, reason=WHY).status == "revoked"


# --- The clock -------------------------------------------------------------------------------------------------------


def test_past_its_end_it_is_expired_everywhere(database, means, people, patients, set_clock):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        register = GrantRegister(means.keys, make.TYPES_OF)
        second = timedelta(seconds=1)
        set_clock(grant.valid_until - second)
        assert facts_of(session, grant).grant.status == "active"
        assert register.grant_by_id(session, grant.id).usable(clock.now())
        assert spend(session, grant) is not None
        set_clock(grant.valid_until)
        assert grant.status == "active"  # Nobody has written it down yet, and still:
        assert facts_of(session, grant).grant.status == "expired"
        assert not register.grant_by_id(session, grant.id).usable(clock.now())
        assert register.grant_by_id(session, grant.id).status == "expired"
        assert spend(session, grant) is None
        assert service.one(session, means.keys, service.look(session, people.applicant, grant.number)).grant.status == "expired"
        assert service.many(session, people.applicant).items[0].grant_status == "expired"
        with pytest.raises(MoveNotAllowed):
            service.revoke(session, means.keys, people.manager, grant.number, reason=WHY)


def test_the_last_day_ends_by_the_hospital_s_clocks(database, keys, people, patients):
    """RS-5.3.2: what is promised until a day in Shanghai is not good for eight hours more because a server counts in UTC."""
    means = make.means(keys, zone=ZoneInfo("Asia/Shanghai"))
    with database.transaction() as session:
        grant = make.approved(session, means, people, valid_until="2098-12-31")
        assert grant.valid_until == datetime(2098, 12, 31, 16, tzinfo=UTC)
    assert {facts.grant.valid_until for facts in means.engine.asked} == {clock.epoch(grant.valid_until)}
    assert means.today(datetime(2026, 12, 31, 17, tzinfo=UTC)).isoformat() == "2027-01-01"


def test_what_has_run_out_is_written_down_once(database, means, people, patients, set_clock):
    with database.transaction() as session:
        gone, stays = make.approved(session, means, people), make.approved(session, means, people, valid_until="2199-12-31")
        ended = make.approved(session, means, people)
        service.revoke(session, means.keys, people.manager, ended.number, reason=WHY)
        assert service.expire_due(session, means.keys) == 0
        set_clock(gone.valid_until)
        assert service.expire_due(session, means.keys) == 1
        assert service.expire_due(session, means.keys) == 0
        assert [grant.status for grant in (gone, stays, ended)] == ["expired", "active", "revoked"]
        decision = session.exec(select(Decision).where(Decision.action == "expire")).one()
        assert (decision.person_id, decision.application_id) == (None, gone.application_id)
        assert session.exec(select(AuditEvent.actor).where(AuditEvent.type == "grant.expired")).all() == ["system"]


# --- The release path ------------------------------------------------------------------------------------------------


def test_the_facts_of_a_release(database, means, people, patients):
    with database.transaction() as session:
        identity.client_with_key(session, organization_id=make.RECIPIENT)
        grant = make.approved(session, means, people, 1, 2, releases_limit=4)
        make.approved(session, means, people, 3)  # In a grant, but not in this one
        found = facts_of(session, grant, patients[1], patients[3], uuid4())
        assert (found.id, found.application, found.purpose) == (grant.id, grant.number, "TREAT")
        assert found.members == {patients[1]}
        assert found.request == service.Terms.from_json(grant.terms).request_facts()
        assert (found.grant.status, found.grant.releases_used, found.grant.releases_limit, found.grant.approved_by) == ("active", 0, 4, 2)
        assert (found.grant.valid_from, found.grant.valid_until) == (clock.epoch(grant.valid_from), clock.epoch(grant.valid_until))
        assert (found.recipient.id, found.recipient.kind, found.recipient.relationship) == (make.RECIPIENT, "department", "external")
        assert (found.recipient.status, found.recipient.key_registered) == ("active", True)
        assert found.recipient.agreement_until == clock.epoch(session.get(Organization, make.RECIPIENT).agreement_until)
        assert (found.requester.id, found.requester.roles, found.requester.active) == (str(people.applicant), ("applicant",), True)


def test_what_changed_since_the_approval_is_told(database, means, people, patients):
    with database.transaction() as session:
        client, _ = identity.client_with_key(session, organization_id=make.RECIPIENT)
        grant = make.approved(session, means, people)
        session.get(Organization, "shengli").status = "suspended"  # What the recipient belongs to
        session.get(Client, client.id).status = "suspended"
        session.get(Person, people.applicant).status = "suspended"
        session.flush()
        found = facts_of(session, grant, patients[1])
        assert (found.recipient.status, found.recipient.key_registered) == ("suspended", False)
        assert (found.requester.roles, found.requester.active) == ((), False)


def test_rows_may_be_tuples(database, means, people, patients):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        cursor = session.connection().connection.driver_connection.cursor()
        row = cursor.execute(GRANT_FACTS_SQL, {"grant": grant.id, "patients": [patients[1]]}).fetchone()
        assert [column.name for column in cursor.description] == list(COLUMNS)
        assert grant_from_row(row) == facts_of(session, grant, patients[1])


def test_an_unknown_grant_has_no_row(database):
    with database.transaction() as session:
        assert raw(session).execute(GRANT_FACTS_SQL, {"grant": uuid4(), "patients": []}).fetchone() is None


@pytest.mark.parametrize(
    "change",
    [
        "terms = jsonb_set(terms, '{purpose}', '\"HRESCH\"')",
        "terms = jsonb_set(terms, '{data}', '[{\"data_class\": \"financial\"}]')",
        "terms = jsonb_set(terms, '{valid_until}', '\"2199-01-01\"')",
        "patients_digest = repeat('0', 64)",
    ],
)
def test_terms_that_were_changed_behind_our_back_release_nothing(database, means, people, patients, change):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        raw(session).execute("SET ROLE NONE")
        raw(session).execute(f"UPDATE sharing_grant SET {change}")
        with pytest.raises(GrantDamaged):
            facts_of(session, grant, patients[1])


def test_releases_are_counted_and_end(database, means, people, patients):
    with database.transaction() as session:
        grant = make.approved(session, means, people, releases_limit=2)
        first = clock.now()
        assert spend(session, grant, first) == {"releases_used": 1}
        assert spend(session, grant, first + timedelta(hours=1)) == {"releases_used": 2}
        assert spend(session, grant) is None
        session.refresh(grant)
        assert (grant.releases_used, grant.first_released_at) == (2, first)


@pytest.mark.parametrize("verb", [service.suspend, service.revoke])
def test_a_grant_that_was_stopped_is_not_spent(database, means, people, patients, verb):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        verb(session, means.keys, people.manager, grant.number, reason=WHY)
        assert spend(session, grant) is None


def test_before_it_begins_it_is_not_spent(database, means, people, patients):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        assert spend(session, grant, grant.valid_from - timedelta(seconds=1)) is None


async def _spend_once(own, grant):
    async with own.database.release_connection() as connection:
        cursor = await connection.execute(SPEND_SQL, {"grant": grant.id, "at": clock.now()})
        return await cursor.fetchone()


def test_many_at_once_do_not_spend_more_than_there_is(own):
    with own.database.transaction() as session:
        grant = make.approved(session, own.means, own.people, releases_limit=3)

    async def all_at_once():
        try:
            return await asyncio.gather(*(_spend_once(own, grant) for _ in range(12)))
        finally:
            await own.database.close()

    spent = [row for row in asyncio.run(all_at_once()) if row is not None]
    assert sorted(number for (number,) in spent) == [1, 2, 3]


# --- Identity --------------------------------------------------------------------------------------------------------


def test_what_identity_is_told(database, means, people, patients):
    with database.transaction() as session:
        grant = make.approved(session, means, people, 1, 2, 3, data=[{"data_class": "clinical"}, {"resource_type": "Patient"}])
        register = GrantRegister(means.keys, make.TYPES_OF)
        view = register.grant_of_application(session, grant.number, make.RECIPIENT)
        assert view == register.grant_by_id(session, grant.id)
        assert (view.id, view.application, view.organization_id, view.purpose, view.status) == (
            grant.id,
            grant.number,
            make.RECIPIENT,
            "TREAT",
            "active",
        )
        assert view.types == ("Condition", "DiagnosticReport", "ImagingStudy", "Observation", "Patient")
        assert len(view.patients) == 2  # A second one is enough to know that there are several.
        assert set(view.patients) <= {"p-1", "p-2", "p-3"}
        assert set(view.consents) == {f"c-{key.hex[:6]}" for key in patients.values()}


def test_where_one_application_alone_is_in_force_it_needs_no_name(database, means, people, patients):
    """Clients of standard make can't add a scope of ours; with two in force nothing is guessed."""
    with database.transaction() as session:
        register = GrantRegister(means.keys, make.TYPES_OF)
        assert register.only_application(session, make.RECIPIENT) is None
        first = make.approved(session, means, people)
        assert register.only_application(session, make.RECIPIENT) == register.only_application(session, "shengli") == first.number
        assert register.only_application(session, "qingyuan") is None
        second = make.approved(session, means, people)
        assert register.only_application(session, make.RECIPIENT) is None
        second.status = "revoked"
        session.add(second)
        session.flush()
        assert register.only_application(session, make.RECIPIENT) == first.number


def test_a_grant_is_its_recipients_and_of_those_that_it_is_part_of(database, means, people, patients):
    with database.transaction() as session:
        grant = make.approved(session, means, people)
        register = GrantRegister(means.keys, make.TYPES_OF)
        above = register.grant_of_application(session, grant.number, "shengli")  # Whose department the recipient is.
        assert above is not None
        assert above.organization_id == make.RECIPIENT
        for other in ("qingyuan", "renhe"):
            assert register.grant_of_application(session, grant.number, other) is None
        assert register.grant_of_application(session, "SA-2026-999999", make.RECIPIENT) is None
        assert register.grant_by_id(session, uuid4()) is None
