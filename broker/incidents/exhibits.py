"""What proves a case (RS-7.3): events of the log, kept with their place, their hash and their receipt.

The hash is known when a case is opened. Place and receipt come a second later, when the log is signed, and a job of the worker adds them.
They let the accused, and whoever decides an appeal, check the evidence with the log's public key alone, even if this server were lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Session, col, select

from broker.audit import receipt
from broker.audit import service as audit
from broker.audit.errors import NotSealedYet
from broker.audit.models import AuditEvent
from broker.audit.tree import leaf_hash
from broker.errors import NotFound
from broker.incidents.models import Violation

_NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Exhibit:
    """One event as evidence. ``index`` and ``receipt`` are None in the second before the log is signed."""

    event: UUID
    hash: str  #: of the entry in the log (RFC 6962 leaf hash), 64 hexadecimal digits
    index: int | None
    receipt: str | None  #: C2SP tlog-proof
    at: datetime
    type: str
    actor: str
    application: str | None
    recipient: str | None


def gathered(session: Session, events: Sequence[UUID]) -> list[dict[str, Any]]:
    """What a case keeps of these events, oldest first. Raises NotFound where one of them is none."""
    rows = session.exec(select(AuditEvent).where(col(AuditEvent.id).in_(list(events))).order_by(col(AuditEvent.id))).all()
    if len(rows) != len(set(events)):
        raise NotFound
    return [_kept(session, row) for row in rows]


def complete(session: Session, *, most: int = 200) -> int:
    """Add place and receipt where the log was not signed yet when a case was opened; how many cases. A job of the worker."""
    waiting = sa.cast([{"index": None}], JSONB)
    found = select(Violation).where(col(Violation.entries).op("@>")(waiting)).order_by(col(Violation.number)).limit(most).with_for_update()
    changed = 0
    for row in session.exec(found).all():
        now = gathered(session, [UUID(str(one["event"])) for one in row.entries])
        if now != row.entries:
            row.entries = now
            session.add(row)
            changed += 1
    session.flush()
    return changed


def shown(session: Session, row: Violation) -> list[Exhibit]:
    """The evidence of a case, oldest first. What a case of an earlier version lacks is worked out from the log."""
    return looked_up(session, [UUID(one) for one in row.evidence], {str(one["event"]): one for one in row.entries})


def looked_up(session: Session, events: Sequence[UUID], kept: Mapping[str, Mapping[str, Any]] = _NOTHING) -> list[Exhibit]:
    """These events as evidence, oldest first; ``kept``: what a case holds of them already."""
    rows = session.exec(select(AuditEvent).where(col(AuditEvent.id).in_(list(events))).order_by(col(AuditEvent.id))).all()
    return [_exhibit(event, kept.get(str(event.id)) or _kept(session, event)) for event in rows]


def _exhibit(event: AuditEvent, kept: Mapping[str, Any]) -> Exhibit:
    place = (event.at, event.type, event.actor, event.application, event.recipient)
    return Exhibit(event.id, kept["hash"], kept["index"], kept["receipt"], *place)


def _kept(session: Session, row: AuditEvent) -> dict[str, Any]:
    """A receipt that was given stays what it is: a later one would prove the same from a larger tree."""
    try:
        text: str | None = audit.proof(session, row.id)
    except NotSealedYet:
        text = None
    index = None if text is None else receipt.parse(text).index
    return {"event": str(row.id), "hash": leaf_hash(row.leaf.encode()).hex(), "index": index, "receipt": text}
