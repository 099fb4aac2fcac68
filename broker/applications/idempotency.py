"""A repeated POST is answered once and for all (draft-ietf-httpapi-idempotency-key-header-07; attack E13).

The key's row is inserted in the request's own transaction. A second request with the same key waits at that insert until the
first has committed and then gets the same answer; if the first fails, its row goes with it and the second one is the first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from broker import clock, crypto
from broker.applications.errors import IdempotencyKeyReused, IdempotencyKeyUnusable
from broker.applications.models import IdempotencyKey
from broker.crypto import Keys

#: For so long a repeated request gets the first answer; afterwards the key may be used anew.
KEPT = timedelta(hours=24)

_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer that can be given again: status, headers that belong to it, JSON body."""

    status: int
    body: Any
    headers: dict[str, str]
    replayed: bool = False


def request_hash(*parts: Any) -> bytes:
    """What makes two requests the same: method, path, body and whatever headers change their meaning, as JSON values."""
    return sha256(json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str).encode()).digest()


def idempotent(session: Session, keys: Keys, *, actor: str, key: str | None, request: bytes, act: Callable[[], Answer]) -> Answer:
    """Do ``act`` unless this actor's key has been answered; then that answer again, with ``replayed``.

    ``key`` is the Idempotency-Key header, None where it wasn't sent: then ``act`` is simply done. Raises
    IdempotencyKeyUnusable for a key that is none, IdempotencyKeyReused if the key came with another request. An answer is
    kept for :data:`KEPT`, sealed, since it may hold what somebody typed about a patient. If ``act`` raises, nothing is kept.
    """
    if key is None:
        return act()
    name = key.strip().removeprefix('"').removesuffix('"')  # The draft sends a structured-field string; most clients a bare one.
    if not _VISIBLE.fullmatch(name):
        raise IdempotencyKeyUnusable
    now = clock.now()
    mine = (col(IdempotencyKey.actor) == actor, col(IdempotencyKey.key) == name)
    session.execute(sa.delete(IdempotencyKey).where(*mine, col(IdempotencyKey.created_at) < now - KEPT))
    new = insert(IdempotencyKey).values(actor=actor, key=name, request_hash=request, created_at=now)
    inserted = session.execute(new.on_conflict_do_nothing().returning(col(IdempotencyKey.created_at))).first()
    bound = f"idempotency|{actor}|{name}".encode()
    if inserted is None:
        kept = session.exec(select(IdempotencyKey).where(*mine)).one()
        if kept.request_hash != request or kept.answer_sealed is None:
            raise IdempotencyKeyReused
        before = json.loads(crypto.unseal(keys.blind("idempotency", actor, name), kept.answer_sealed, bound))
        return Answer(before["status"], before["body"], {**before["headers"], "Idempotency-Replayed": "true"}, replayed=True)
    answer = act()
    content = json.dumps({"status": answer.status, "body": answer.body, "headers": answer.headers}, ensure_ascii=False).encode()
    sealed = crypto.seal(keys.blind("idempotency", actor, name), content, bound)
    session.execute(sa.update(IdempotencyKey).where(*mine).values(answer_sealed=sealed))
    return answer


def forget(session: Session) -> int:
    """Delete the answers that are no longer given again; how many went."""
    gone = session.execute(sa.delete(IdempotencyKey).where(col(IdempotencyKey.created_at) < clock.now() - KEPT).returning(col(IdempotencyKey.key)))
    return len(gone.all())
