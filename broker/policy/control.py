"""What OPA tells of itself: its decision log, compared with what the broker recorded, and its status.

Format: OPA documentation, "Decision Logs" and "Status". The log comes gzipped, a list of events; an event that can't be read is passed
over and counted, since OPA would send it again for ever. Questions and plans are masked before they leave OPA (``bundle``).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlmodel import Session, col, select

from broker import clock
from broker.errors import Invalid
from broker.policy.models import OpaDecision, OpaStatus, PolicyDecision

#: Bytes of one upload, unpacked.
MAX_UNPACKED = 32 * 1024 * 1024

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)


def unzipped(body: bytes, encoding: str) -> bytes:
    """The body as it was before ``Content-Encoding``. Raises Invalid for one that can't be read or is too large."""
    if encoding.strip().lower() not in ("", "identity", "gzip"):
        raise Invalid("The body must be plain or gzipped.")
    if not encoding or encoding == "identity":
        return body
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(body, MAX_UNPACKED)
    except zlib.error:
        raise Invalid("The body is not gzipped, as it says.") from None
    if reader.unconsumed_tail or not reader.eof:
        raise Invalid("The body is too large or breaks off.")
    return content


def take_log(session: Session, content: bytes) -> tuple[int, int]:
    """Keep the events of a decision log; how many were taken and how many could not be read. Taken twice they stand once."""
    events = _json(content)
    if not isinstance(events, list):
        raise Invalid("A decision log is a list of events.")
    rows = list(_rows(events))
    for start in range(0, len(rows), 500):
        session.execute(postgresql.insert(OpaDecision).values(rows[start : start + 500]).on_conflict_do_nothing())
    return len(rows), len(events) - len(rows)


def _rows(events: list[Any]) -> Iterator[dict[str, Any]]:
    now = clock.now()
    for event in events:
        try:
            bundles, asked, said = event["bundles"], event["input"], event["result"]
            row = {
                "decision_id": event["decision_id"],
                "input_hash": asked["input_hash"],
                "revision": next(iter(bundles.values()))["revision"],
                "allow": said["allow"],
                "at": datetime.fromisoformat(event["timestamp"]),
                "received_at": now,
            }
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
            continue
        named = isinstance(row["decision_id"], str) and _NAME.fullmatch(row["decision_id"])
        hashed = all(isinstance(row[name], str) and _HASH.fullmatch(row[name]) for name in ("input_hash", "revision"))
        if named and hashed and isinstance(row["allow"], bool) and row["at"].tzinfo is not None:
            yield row


def take_status(session: Session, content: bytes) -> None:
    """Keep what an OPA says of its bundle. Raises Invalid for what is no status."""
    status = _json(content)
    try:
        instance, bundle = status["labels"]["id"], status["bundles"]["broker"]
        revision, problem = bundle.get("active_revision", ""), bundle.get("code", "")
    except (KeyError, TypeError, AttributeError):
        raise Invalid("This is no status of an OPA with the bundle `broker`.") from None
    if not all(isinstance(each, str) for each in (instance, revision, problem)) or not _NAME.fullmatch(instance):
        raise Invalid("This is no status of an OPA with the bundle `broker`.")
    row = {"instance": instance, "revision": revision[:64], "problem": problem[:64], "at": clock.now()}
    insert = postgresql.insert(OpaStatus).values(row)
    session.execute(insert.on_conflict_do_update(index_elements=["instance"], set_={name: row[name] for name in ("revision", "problem", "at")}))


@dataclass(frozen=True)
class Comparison:
    """OPA's log beside the broker's record, since a moment: matched, said otherwise, or not recorded by the broker at all."""

    matched: int
    contradicted: int
    unrecorded: int
    instances: tuple[Mapping[str, str], ...]


def compared(session: Session, since: datetime) -> Comparison:
    """What both sides say of the decisions that OPA made since a moment. The health check's canary is recorded by nobody."""
    same = sa.select(sa.func.bool_or(col(PolicyDecision.effect) == "permit")).where(
        col(PolicyDecision.input_hash) == col(OpaDecision.input_hash), col(PolicyDecision.revision) == col(OpaDecision.revision)
    )
    ours = same.correlate(OpaDecision).scalar_subquery()
    matched, contradicted, unrecorded = session.execute(
        sa.select(
            sa.func.count().filter(ours == col(OpaDecision.allow)),
            sa.func.count().filter(ours != col(OpaDecision.allow)),
            sa.func.count().filter(ours.is_(None)),
        )
        .select_from(OpaDecision)
        .where(col(OpaDecision.received_at) >= since)
    ).one()
    said = session.exec(select(OpaStatus).order_by(col(OpaStatus.instance))).all()
    instances = tuple({"instance": each.instance, "revision": each.revision, "problem": each.problem, "at": each.at.isoformat()} for each in said)
    return Comparison(matched, contradicted, unrecorded, instances)


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        raise Invalid("The body is not JSON.") from None
