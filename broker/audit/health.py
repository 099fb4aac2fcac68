"""How the log is doing: what waits to be sealed, how old the newest checkpoint is, and how far each witness is behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from broker import clock
from broker.audit import store
from broker.audit.witness_policy import WitnessPolicy

#: Seconds after which an event that is not sealed is an alarm; sealing takes one.
UNSEALED_ALARM = 10
#: Seconds after which a published checkpoint that a witness has not cosigned is an alarm.
UNWITNESSED_ALARM = 900
#: Counting further would cost more than it tells.
MOST_COUNTED = 10_000

_BACKLOG = """
SELECT (SELECT count(*) FROM (SELECT FROM audit_event e WHERE (e.xid, e.seq) > (s.cursor_xid, s.cursor_seq) LIMIT %s) counted),
       (SELECT e.at FROM audit_event e WHERE (e.xid, e.seq) > (s.cursor_xid, s.cursor_seq) ORDER BY e.xid, e.seq LIMIT 1),
       s.size, c.size, c.at
FROM log_state s LEFT JOIN LATERAL (SELECT size, at FROM log_checkpoint ORDER BY size DESC LIMIT 1) c ON true
"""


_COSIGNED = """
SELECT c.size, c.at, w.witness FROM log_checkpoint c JOIN log_cosignature w ON w.size = c.size
WHERE c.size = (SELECT max(size) FROM log_cosignature)
"""


@dataclass(frozen=True)
class WitnessStanding:
    """How far a witness has come. ``behind_seconds``: age of the oldest checkpoint that it has not cosigned; 0 when there is none."""

    name: str
    size: int
    behind_seconds: int


@dataclass(frozen=True)
class Health:
    """The log's figures; ``warnings`` are codes: ``unsealed``, ``unsigned``, ``unwitnessed``. None of them stops a release."""

    size: int
    unsealed: int
    unsealed_seconds: int
    checkpoint_size: int
    checkpoint_seconds: int | None
    cosigned_size: int  #: of the newest checkpoint that anybody outside has cosigned; 0 before the first
    cosigned_seconds: int | None  #: how old that checkpoint is
    witnesses: tuple[WitnessStanding, ...]
    quorum: bool  #: whether the newest checkpoints are cosigned as the policy demands, within the time allowed
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures for machines."""
        return asdict(self)


def health(session: Session, policy: WitnessPolicy) -> Health:
    """Look at the log as it stands now."""
    connection = store.raw(session)
    row = connection.execute(_BACKLOG, (MOST_COUNTED,)).fetchone()
    unsealed, oldest, size, checkpoint_size, checkpoint_at = row or (0, None, 0, None, None)
    seen = cosigned(session)
    standings = tuple(_standing(connection, name, witness.key.vkey) for name, witness in policy.witnesses.items())
    quorum = policy.satisfied({one.name for one in standings if one.behind_seconds < UNWITNESSED_ALARM})
    warnings = []
    if _age(oldest) > UNSEALED_ALARM:
        warnings.append("unsealed")
    if (checkpoint_size or 0) < size:
        warnings.append("unsigned")
    if not quorum:
        warnings.append("unwitnessed")
    return Health(
        size=size, unsealed=unsealed, unsealed_seconds=_age(oldest), checkpoint_size=checkpoint_size or 0,
        checkpoint_seconds=None if checkpoint_at is None else _age(checkpoint_at),
        cosigned_size=seen.size if seen else 0, cosigned_seconds=seen.seconds if seen else None,
        witnesses=standings, quorum=quorum, warnings=tuple(warnings),
    )  # fmt: skip


@dataclass(frozen=True)
class Cosigned:
    """The newest checkpoint that somebody outside has seen: its size, its age, and by whom."""

    size: int
    seconds: int
    witnesses: tuple[str, ...]


def cosigned(session: Session) -> Cosigned | None:
    """What stands even against the hospital itself; None where nobody outside has cosigned anything yet."""
    rows = store.raw(session).execute(_COSIGNED).fetchall()
    if not rows:
        return None
    return Cosigned(rows[0][0], _age(rows[0][1]), tuple(sorted(row[2].partition("+")[0] for row in rows)))


def _standing(connection: store.Connection, name: str, witness: str) -> WitnessStanding:
    size = store.newest_cosigned(connection, witness)
    row = connection.execute("SELECT at FROM log_checkpoint WHERE size > %s ORDER BY size LIMIT 1", (size,)).fetchone()
    return WitnessStanding(name, size, 0 if row is None else _age(row[0]))


def _age(at: datetime | None) -> int:
    return 0 if at is None else max(0, int((clock.now() - at).total_seconds()))
