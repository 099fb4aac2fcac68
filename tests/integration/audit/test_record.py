"""Recording: one row in the caller's transaction, the same on both paths."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest

from broker.audit import leaf, service
from broker.audit.errors import NotRecordable
from tests.factories.audit import event, intent, outcome


def rows(owner):
    return owner.execute("SELECT * FROM audit_event ORDER BY seq").fetchall()


def test_it_is_kept_exactly_if_the_transaction_commits(database, owner):
    with suppress(ZeroDivisionError), database.transaction() as session:
        service.record(session, event())
        raise ZeroDivisionError
    assert rows(owner) == []
    with database.transaction() as session:
        event_id = service.record(session, event())
    assert [row[0] for row in rows(owner)] == [event_id]


def test_both_paths_write_the_same_row(database, owner, set_clock, monkeypatch):
    set_clock(datetime(2026, 11, 23, 6, 44, 50, 123_456, tzinfo=UTC))
    ids = [UUID(int=1 << 80), UUID(int=1 << 80 | 1)]
    release = UUID("b0a1f0b6-1111-4222-8333-444455556666")
    given = iter(ids)
    monkeypatch.setattr(service, "uuid7", lambda _: next(given))
    with database.transaction() as session:
        service.record(session, intent(release))

    async def raw():
        async with database.release_connection() as connection:
            await connection.execute(service.INSERT_EVENT, service.event_row(intent(release)))
        await database.close()

    asyncio.run(raw())
    one, other = rows(owner)
    names = [column.name for column in owner.execute("SELECT * FROM audit_event LIMIT 0").description]
    own = {"id", "xid", "seq", "leaf"}
    assert [pair for name, *pair in zip(names, one, other, strict=True) if name not in own and pair[0] != pair[1]] == []
    assert one[names.index("leaf")].replace(str(ids[0]), str(ids[1])) == other[names.index("leaf")]
    assert None not in one


def test_columns_and_leaf_say_the_same(database, owner, set_clock):
    set_clock(datetime(2026, 11, 23, 6, 44, 50, 123_999, tzinfo=UTC))
    sent = intent()
    with database.transaction() as session:
        event_id = service.record(session, sent)
    at, recipient, text = owner.execute("SELECT at, recipient, leaf FROM audit_event").fetchone()
    assert at == datetime(2026, 11, 23, 6, 44, 50, 123_000, tzinfo=UTC)
    document = leaf.read_leaf(text)
    assert (document["seq"], document["t"], document["recipient"]) == (str(event_id), "2026-11-23T06:44:50.123Z", recipient)
    assert text == leaf.leaf(sent, event_id, at)


@pytest.mark.parametrize("wrong", [event(facts={"name": "张伟"}), event(subject="ab"), event(type="release.permitted")])
def test_what_cannot_be_recorded_stops_the_verb(database, owner, wrong):
    with pytest.raises(NotRecordable), database.transaction() as session:
        service.record(session, wrong)
    assert rows(owner) == []


def test_an_outcome_names_its_release():
    with pytest.raises(NotRecordable):
        service.event_row(outcome(event()))
