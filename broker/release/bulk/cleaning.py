"""What expired or ended exports hold goes; what was asked stays on record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

from broker import clock, jobs
from broker.release.bulk.storage import storage_of

Connection = psycopg.AsyncConnection[Any]


def clean(tools: jobs.Tools, payload: dict[str, Any]) -> None:
    """Delete what expired or ended exports hold; the rows that say what was asked stay."""
    del payload
    asyncio.run(_clean(tools))


async def _clean(tools: jobs.Tools) -> None:
    storage = storage_of(tools.settings)
    async with await psycopg.AsyncConnection.connect(tools.database.conninfo, autocommit=True) as connection:
        ended = await connection.execute(
            "UPDATE export SET status = CASE WHEN status = 'cancelled' THEN status ELSE 'expired' END"
            " WHERE (expires_at <= %s OR status = 'cancelled') AND EXISTS (SELECT FROM export_chunk c WHERE c.export_id = export.id) RETURNING id",
            (clock.now(),),
        )
        for (export,) in await ended.fetchall():
            if storage.outside:
                await storage.remove_export(export)
            await remove(connection, export)


async def remove(connection: Connection, export: UUID) -> None:
    """Delete the rows of an export's files, a chunk at a time."""
    chunks: Sequence[Any] = await (await connection.execute("SELECT number FROM export_chunk WHERE export_id = %s", (export,))).fetchall()
    for (number,) in chunks:
        async with connection.transaction():
            await connection.execute("DELETE FROM export_file WHERE export_id = %s AND chunk = %s", (export, number))
            await connection.execute("DELETE FROM export_part WHERE export_id = %s AND chunk = %s", (export, number))
            await connection.execute("DELETE FROM export_chunk WHERE export_id = %s AND number = %s", (export, number))
