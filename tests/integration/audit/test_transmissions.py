"""The transmission log: time, sender, receiver, content, purpose, application; and what has no outcome. (PI-3.3)"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from broker.audit import service
from tests.factories.audit import event, intent, outcome

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.fixture
def at(set_clock, record):
    """Record events a number of minutes after eight o'clock."""

    def record_at(minutes, *events):
        set_clock(START + timedelta(minutes=minutes))
        return record(*events)

    return record_at


@pytest.fixture
def transmissions(database):
    def ask(**wanted):
        with database.transaction() as session:
            return service.transmissions(session, **wanted)

    return ask


def test_one_release(at, transmissions):
    sent = intent()
    (intent_event,) = at(0, sent)
    (outcome_event,) = at(1, outcome(sent))
    at(2, event(), event(type="release.refused", recipient="yihe", patient=sent.patient, outcome="deny"))
    (found,) = transmissions()
    assert found == service.Transmission(
        release=sent.release,
        at=START,
        finished=START + timedelta(minutes=1),
        sender="renhe",
        receiver="yihe",
        actor="client:yihe-his",
        application="SA-2026-000001",
        grant="5c7d",
        purpose="TREAT",
        patient=UUID(int=1),
        manifest="ab" * 32,
        items=42,
        outcome="sent",
        disclosed=True,
        intent_event=intent_event,
        outcome_event=outcome_event,
    )


def test_what_was_sent_is_told_by_the_outcome(at, transmissions):
    sent = intent()
    at(0, sent, outcome(sent, "partial", facts={"items": 7, "manifest": "ef" * 32, "bytes": 10}))
    (found,) = transmissions()
    assert (found.items, found.manifest, found.outcome, found.sender) == (7, "ef" * 32, "partial", "renhe")


@pytest.mark.parametrize(
    ("kind", "facts", "shown", "disclosed"),
    [
        ("sent", {}, "sent", True),
        ("partial", {}, "partial", True),
        ("failed", {}, "failed", False),
        ("failed", {"bytes": 0}, "failed", False),
        ("failed", {"bytes": 1}, "failed", True),
        (None, {}, "unknown", True),
    ],
)
def test_whether_it_counts_as_disclosed(at, transmissions, database, kind, facts, shown, disclosed):
    of = intent()
    at(0, of, *([outcome(of, kind, facts=facts)] if kind else []))
    (found,) = transmissions()
    assert (found.outcome, found.disclosed, found.finished is None) == (shown, disclosed, kind is None)
    with database.transaction() as session:
        assert len(service.unfinished(session, timedelta(0))) == 0
        assert len(service.unfinished(session, timedelta(seconds=-1))) == (kind is None)


def test_a_later_explanation_replaces_an_outcome(at, transmissions):
    of = intent()
    at(0, of, outcome(of, "partial"))
    at(5, outcome(of, "sent"))
    (found,) = transmissions()
    assert (found.outcome, found.finished) == ("sent", START + timedelta(minutes=5))


def test_filters_order_and_limit(at, transmissions):
    intents = [
        intent(recipient="yihe"),
        intent(recipient="minkang", application="SA-2026-000002"),
        intent(patient=UUID(int=2), subject="ee" * 32),
        intent(),
    ]
    for minute, each in enumerate(intents):
        at(minute, each)

    def which(**wanted):
        return [[each.release for each in intents].index(found.release) for found in transmissions(**wanted)]

    assert which() == [3, 2, 1, 0]
    assert which(limit=2) == [3, 2]
    assert which(recipient="minkang") == [1]
    assert which(application="SA-2026-000001") == [3, 2, 0]
    assert which(patient=UUID(int=2)) == [2]
    assert which(since=START + timedelta(minutes=1), until=START + timedelta(minutes=3)) == [2, 1]
    assert which(patient=UUID(int=1), recipient="minkang", application="SA-2026-000002") == [1]
    assert which(patient=UUID(int=3)) == []


def test_intents_without_outcome_are_named_until_explained(at, database, set_clock):
    explained, open_one, fresh = intent(), intent(), intent()
    at(0, explained, outcome(explained))
    (wanted,) = at(1, open_one)
    at(10, fresh)
    set_clock(START + timedelta(minutes=10, seconds=30))
    with database.transaction() as session:
        (found,) = service.unfinished(session, timedelta(minutes=1))
    assert (found.release, found.intent_event, found.receiver) == (open_one.release, wanted, "yihe")
    at(11, outcome(open_one, "failed"))
    with database.transaction() as session:
        assert [each.release for each in service.unfinished(session, timedelta(seconds=-100))] == [fresh.release]
