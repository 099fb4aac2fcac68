"""``Idempotency-Key`` of ``POST /releases``: the same request is released once (attack E13, draft-ietf-httpapi-idempotency-key-header-07).

A repeat is answered with 409 and the number of the release that was made, never with the data again: the first sending may have
arrived, so that a second would be a second disclosure. Whoever lost the answer asks for a new release with a new key, and both are
on record. A request that was refused, or failed before its first byte, leaves the key free.
"""

from __future__ import annotations

import re
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg

from broker import clock
from broker.applications.errors import IdempotencyKeyReused, IdempotencyKeyUnusable
from broker.errors import Conflict

#: For so long a key stands for its request.
KEPT = timedelta(hours=24)
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")

_FORGET = "DELETE FROM idempotency_key WHERE actor = %(actor)s AND key = %(key)s AND created_at < %(forget)s"
_CLAIM = """
INSERT INTO idempotency_key (actor, key, request_hash, created_at) VALUES (%(actor)s, %(key)s, %(hash)s, %(at)s)
ON CONFLICT DO NOTHING RETURNING true
"""
_KEPT_ROW = "SELECT request_hash, answer_sealed FROM idempotency_key WHERE actor = %(actor)s AND key = %(key)s"
_SETTLE = "UPDATE idempotency_key SET answer_sealed = %(release)s WHERE actor = %(actor)s AND key = %(key)s"
_FREE = "DELETE FROM idempotency_key WHERE actor = %(actor)s AND key = %(key)s AND answer_sealed IS NULL"

Connection = psycopg.AsyncConnection[Any]


class ReleasedAlready(Conflict):
    """This request was made before, and its answer is not sent again."""

    code = "released-already"
    zh = "该请求此前已提交，数据不会重复发送。"
    help_en = "GET /releases/{id} of the Release-Id header says what was sent. To be sent data again, ask with a new Idempotency-Key."
    help_zh = "已发送的内容见响应头 Release-Id 对应的 GET /releases/{id}；如需再次获取，请使用新的 Idempotency-Key。"


def key_of(headers: list[str]) -> str | None:
    """The key of a request, or None where it has none. Raises IdempotencyKeyUnusable."""
    if not headers:
        return None
    name = headers[0].strip().removeprefix('"').removesuffix('"')  # The draft sends a structured-field string; most clients a bare one.
    if len(headers) > 1 or not _VISIBLE.fullmatch(name):
        raise IdempotencyKeyUnusable
    return name


class Once:
    """One request's claim to its key."""

    def __init__(self, client_id: str, key: str, request: bytes) -> None:
        self._values: dict[str, Any] = {"actor": f"client:{client_id}", "key": key, "hash": sha256(request).digest()}

    async def claim(self, connection: Connection) -> None:
        """Take the key. Of many at once one gets it. Raises ReleasedAlready, or IdempotencyKeyReused for another request."""
        now = clock.now()
        await connection.execute(_FORGET, self._values | {"forget": now - KEPT})
        claimed = await connection.execute(_CLAIM, self._values | {"at": now})
        if await claimed.fetchone() is not None:
            return
        row = await (await connection.execute(_KEPT_ROW, self._values)).fetchone()
        if row is None:  # It was let go a moment ago, or had just run out.
            raise ReleasedAlready
        if bytes(row[0]) != self._values["hash"]:
            raise IdempotencyKeyReused
        raise ReleasedAlready(headers=None if row[1] is None else {"Release-Id": str(UUID(bytes=bytes(row[1])))})

    async def settle(self, connection: Connection, release: UUID | None) -> None:
        """Remember which release was made; None: nothing left, and the key is free again."""
        if release is None:
            await connection.execute(_FREE, self._values)
        else:
            await connection.execute(_SETTLE, self._values | {"release": release.bytes})
