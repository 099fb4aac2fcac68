"""Prepared statements in one round trip: values, order, errors, cancelling, forgetting (RS-5.3.3)."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus

from broker.wire import BEGIN, COMMIT, Statement, run

Connection = psycopg.AsyncConnection[Any]

CASTS = ("uuid", "text", "timestamptz", "bytea", "int8", "bool", "text[]", "int8[]", "uuid[]", "bytea[]")
ECHO = Statement("SELECT " + ", ".join(f"%({cast.replace('[]', '_list')})s::{cast}" for cast in CASTS))
ONE = Statement("SELECT %s::int8 + 1, '%%'")

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  (given with a zone)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


def on(url: str, work: Callable[[Connection], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            return await work(connection)

    return asyncio.run(connected())


@given(
    st.tuples(
        st.none() | st.uuids(), st.none() | TEXTS, st.none() | MOMENTS, st.none() | st.binary(max_size=20),
        st.none() | INTEGERS, st.none() | st.booleans(),
        st.lists(st.none() | TEXTS, max_size=3), st.lists(st.none() | INTEGERS, max_size=3), st.lists(st.uuids(), max_size=3),
        st.lists(st.binary(max_size=5), max_size=3),
    )
)  # fmt: skip
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_sent_comes_back(module_database_url: str, values: tuple[Any, ...]):
    named = dict(zip(ECHO.names, values, strict=True))
    (rows,) = on(module_database_url, lambda connection: run(connection, (ECHO, named)))
    assert rows == [values]


def test_another_zone_is_the_same_moment(module_database_url: str):
    moment = datetime(2026, 5, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    statement = Statement("SELECT %s::timestamptz")
    (rows,) = on(module_database_url, lambda connection: run(connection, (statement, (moment,))))
    assert rows == [(moment,)]


def test_what_has_no_form_is_refused_and_the_connection_closed(module_database_url: str):
    async def work(connection: Connection) -> bool:
        with pytest.raises(TypeError):
            await run(connection, (ONE, ({"a": 1},)))
        return connection.closed

    assert on(module_database_url, work)


def test_answers_come_in_order_and_statements_stay_prepared(module_database_url: str):
    async def work(connection: Connection) -> Any:
        found = [await run(connection, (BEGIN, ()), (ONE, (1,)), (ONE, (2,)), (COMMIT, ())) for _ in range(3)]
        prepared = await (await connection.execute("SELECT count(*) FROM pg_prepared_statements")).fetchone()
        return found, prepared

    found, prepared = on(module_database_url, work)
    assert found == [[[], [(2, "%")], [(3, "%")], []]] * 3
    assert prepared == (3,)


def test_what_follows_a_failure_is_not_done_and_the_connection_is_good(module_database_url: str, owner: psycopg.Connection):
    owner.execute("CREATE TABLE IF NOT EXISTS wired (n int PRIMARY KEY)")
    insert, divide = Statement("INSERT INTO wired VALUES (%s)"), Statement("SELECT 1 / %s::int")

    async def work(connection: Connection) -> Any:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await run(connection, (BEGIN, ()), (insert, (1,)), (divide, (0,)), (insert, (2,)), (COMMIT, ()))
        assert connection.info.transaction_status == TransactionStatus.INERROR
        await connection.rollback()
        return await run(connection, (BEGIN, ()), (insert, (3,)), (divide, (1,)), (COMMIT, ()))

    assert on(module_database_url, work) == [[], [], [(1,)], []]
    assert owner.execute("SELECT n FROM wired").fetchall() == [(3,)]


def test_who_is_cancelled_leaves_no_lock_behind(module_database_url: str, owner: psycopg.Connection):
    lock, wait = Statement("SELECT pg_advisory_xact_lock(%s::int8)"), Statement("SELECT pg_sleep(%s::int)")

    def until(held: int) -> None:
        for _ in range(3000):
            if owner.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711").fetchone() == (held,):
                return
            time.sleep(0.02)
        pytest.fail("the lock is not as it should be")

    async def work(connection: Connection) -> bool:
        task = asyncio.ensure_future(run(connection, (BEGIN, ()), (lock, (4711,)), (wait, (600,))))
        await asyncio.sleep(0)
        await asyncio.to_thread(until, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return connection.closed

    assert on(module_database_url, work)
    until(0)


def test_a_connection_that_lost_its_statements_is_good_again_after_one_error(module_database_url: str):
    async def work(connection: Connection) -> Any:
        await run(connection, (ONE, (1,)))
        await connection.execute("DEALLOCATE ALL")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            await run(connection, (BEGIN, ()), (ONE, (1,)))
        await connection.rollback()
        return await run(connection, (ONE, (1,)))

    assert on(module_database_url, work) == [[(2, "%")]]


def test_undoing_a_transaction_of_psycopg_takes_no_statement_away(module_database_url: str):
    """psycopg answers a rollback with DEALLOCATE ALL where it has prepared anything itself; so it may not."""

    async def work(connection: Connection) -> Any:
        await run(connection, (ONE, (1,)))
        await connection.execute("BEGIN")
        await connection.execute("SELECT %s::int8", (str(uuid.uuid4().int % 1000),), prepare=True)
        await connection.rollback()
        await connection.execute("SELECT 1")
        return await run(connection, (ONE, (1,)))

    assert on(module_database_url, work) == [[(2, "%")]]


@pytest.fixture
def owner(module_database_url: str):
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        yield connection
