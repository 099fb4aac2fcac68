"""Several people at once, on real connections: one of them wins, the others find it taken (attack E12, E13)."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlmodel import select

from broker import clock
from broker.applications import service
from broker.applications.models import Application, Decision, Grant
from broker.applications.service import SPEND_SQL, Reason
from broker.errors import BrokerError, Conflict, PreconditionFailed
from tests.factories import applications as make

WHY = Reason("不符合最小必要原则。")


def at_once(own, *acts):
    """Each act in a transaction of its own, all started together; results or the errors they ended with, in order."""
    start = threading.Barrier(len(acts))

    def run(act):
        start.wait()
        try:
            with own.database.transaction() as session:
                return act(session)
        except BrokerError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_approve_refuse_return_and_withdraw_at_once(own):
    people, means = own.people, own.means
    for _ in range(4):
        with own.database.transaction() as session:
            row = make.endorsed(session, means, people)
            number, version = row.number, row.version
        ended = at_once(
            own,
            lambda session: service.approve(session, means, people.manager, number, if_match=version),  # noqa: B023
            lambda session: service.refuse(session, own.keys, people.second_manager, number, if_match=version, reason=WHY),  # noqa: B023
            lambda session: service.return_(session, own.keys, people.manager, number, if_match=version, reason=WHY),  # noqa: B023
            lambda session: service.withdraw(session, own.keys, people.applicant, number),  # noqa: B023
            lambda session: service.approve(session, means, people.second_manager, number, if_match=version),  # noqa: B023
        )
        lost = [one for one in ended if isinstance(one, BrokerError)]
        assert all(isinstance(one, Conflict | PreconditionFailed) for one in lost), lost
        with own.database.transaction() as session:
            application = service.find(session, number)
            decisive = session.exec(
                select(Decision.action).where(
                    Decision.application_id == application.id, Decision.action.in_(["approve", "refuse", "return", "withdraw"])
                )
            ).all()
            grants = session.exec(select(Grant).where(Grant.application_id == application.id)).all()
        # A withdrawal may follow a return; nothing follows anything else.
        assert len(ended) - len(lost) == len(decisive)
        assert len(decisive) == 1 or set(decisive) == {"return", "withdraw"}
        assert (
            application.status
            == {
                "approve": "approved",
                "refuse": "refused",
                "return": "returned",
                "withdraw": "withdrawn",
            }["withdraw" if "withdraw" in decisive else decisive[0]]
        )
        assert len(grants) == ("approve" in decisive)


def test_revoke_and_suspend_after_approve_win(own):
    people = own.people
    with own.database.transaction() as session:
        grant = make.approved(session, own.means, people)
    ended = at_once(
        own,
        lambda session: service.suspend(session, own.keys, people.manager, grant.number, reason=WHY),
        lambda session: service.revoke(session, own.keys, people.second_manager, grant.number, reason=WHY),
        lambda session: service.close(session, own.keys, people.applicant, grant.number, reason=WHY),
    )
    with own.database.transaction() as session:
        status = service.of_application(session, service.find(session, grant.number)).status
    assert status in ("revoked", "closed")
    assert sum(not isinstance(one, BrokerError) for one in ended) in (1, 2)


def test_numbers_are_each_given_once_and_without_a_gap(own):
    people, means = own.people, own.means
    with own.database.transaction() as session:
        drafts = [make.drafted(session, means, people) for _ in range(8)]
    ended = at_once(
        own, *(lambda session, row=row: service.submit(session, means, people.applicant, str(row.id), if_match=row.version) for row in drafts)
    )
    numbers = sorted(row.number for row in ended)
    assert numbers == [f"SA-{clock.now().year}-{number:06d}" for number in range(1, 9)]
    assert all(re.fullmatch(r"SA-\d{4}-\d{6}", number) for number in numbers)


def test_one_draft_submitted_by_two_hands_is_submitted_once(own):
    people, means = own.people, own.means
    with own.database.transaction() as session:
        row = make.drafted(session, means, people)
    ended = at_once(own, *[lambda session: service.submit(session, means, people.applicant, str(row.id), if_match=row.version)] * 4)
    assert sum(isinstance(one, Application) for one in ended) == 1
    with own.database.transaction() as session:
        assert len(session.exec(select(Decision)).all()) == 1


@pytest.mark.parametrize("same", [True, False])
def test_a_repeated_request_at_once(own, same):
    """The same body: one application and one answer. Another body under the key: refused."""
    people, done = own.people, []

    def post(session, urgency):
        def act():
            row = service.draft(session, own.keys, people.applicant, make.form(urgency=urgency))
            done.append(row.id)
            return service.Answer(201, {"id": str(row.id), "urgency": urgency}, {"ETag": '"1"'})

        request = service.request_hash("POST", "/api/v1/applications", urgency)
        return service.idempotent(session, own.keys, actor=f"person:{people.applicant}", key="once", request=request, act=act)

    urgencies = ["routine"] * 5 if same else ["routine", "urgent"]
    ended = at_once(own, *(lambda session, urgency=urgency: post(session, urgency) for urgency in urgencies))
    with own.database.transaction() as session:
        kept = session.exec(select(Application.id)).all()
    assert len(kept) == 1
    answers = [one for one in ended if not isinstance(one, BrokerError)]
    assert {one.body["id"] for one in answers} == {str(kept[0])}
    assert [one.replayed for one in answers].count(False) == 1
    if same:
        assert len(answers) == 5
    else:
        assert [one.code for one in ended if isinstance(one, BrokerError)] == ["idempotency-key-reused"]


def test_a_frequency_is_never_overspent_by_many_at_once(own):
    """Eight fetches at once, on connections of their own, under a limit of three an hour and of five in all (use budget, spent atomically)."""
    with own.database.transaction() as session:
        row = make.endorsed(session, own.means, own.people)
        grant = service.approve(session, own.means, own.people.manager, row.number, if_match=row.version, frequency=(3, 3600), releases_limit=5)
    at = clock.now()

    def spend(moment):
        return lambda session: session.connection().exec_driver_sql(SPEND_SQL, {"grant": grant.id, "at": moment}).first() is not None

    assert sum(outcome is True for outcome in at_once(own, *([spend(at)] * 8))) == 3
    assert sum(outcome is True for outcome in at_once(own, *([spend(at + timedelta(hours=1))] * 8))) == 2
    with own.database.transaction() as session:
        stored = session.get(Grant, grant.id)
        assert (stored.releases_used, stored.frequency_used) == (5, 2)
